"""What a detector file holds of stretches that somebody has called normal: their scores, and signatures of their events.

The header says how many rows and signatures each has; the arrays hold those of all, one behind the other.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from anomaly.config import AGGREGATIONS
from anomaly.scoring.dismissed import Signatures
from anomaly.series import Floats, Ints

MOST_DISMISSED, MOST_DISMISSED_ROWS, MOST_SIGNATURES = 256, 1_000_000, 1_024
_LARGEST_TIME, _LARGEST_DEVIATION = 2**62, 1e200
_PARTS = ("shares", "deviations", "shape", "reach")


@dataclass(frozen=True, eq=False)
class Dismissals:
    """Stretches that count as normal, in the order in which they were dismissed.

    Attributes:
        n_rows: rows of each.
        n_signatures: events of each whose like is not raised.
        times: of the rows of all, `(n,)`.
        scores: for each aggregation their scores, `(n,)`, NaN where a row has none.
        signatures: of the events of all.
    """

    n_rows: tuple[int, ...]
    n_signatures: tuple[int, ...]
    times: Ints
    scores: dict[str, Floats]
    signatures: Signatures

    @classmethod
    def none(cls, columns: tuple[str, ...]) -> "Dismissals":
        """Return what there is before anything is dismissed."""
        nothing = np.empty(0)
        return cls((), (), np.empty(0, np.int64), dict.fromkeys(AGGREGATIONS, nothing), Signatures.of(columns, [], 0))

    def __len__(self) -> int:
        """Return how many stretches there are."""
        return len(self.n_rows)

    def described(self) -> list[dict[str, int]]:
        """Return what the header of a file says of them."""
        pairs = zip(self.n_rows, self.n_signatures, strict=True)
        return [{"n_rows": rows, "n_signatures": signatures} for rows, signatures in pairs]

    def and_one(self, times: Ints, scores: dict[str, Floats], signatures: Signatures) -> "Dismissals":
        """Return these and another stretch behind them.

        Args:
            times: of its rows, `(m,)`.
            scores: for each aggregation, `(m,)`.
            signatures: of its events.

        Raises:
            ValueError: if they are too many for a file.
        """
        arrays: dict[str, Any] = {
            name: np.concatenate([getattr(self.signatures, name), getattr(signatures, name)]) for name in _PARTS
        }
        found = Dismissals(
            (*self.n_rows, len(times)),
            (*self.n_signatures, len(signatures)),
            np.concatenate([self.times, times]),
            {name: np.concatenate([self.scores[name], scores[name]]) for name in AGGREGATIONS},
            replace(self.signatures, **arrays),
        )
        checked_counts(found.described())
        return found

    def without(self, place: int) -> "Dismissals":
        """Return these but for the one at a place, from 0."""
        rows, signatures = (np.repeat(np.arange(len(self)), counts) != place for counts in (self.n_rows, self.n_signatures))
        parts: dict[str, Any] = {name: getattr(self.signatures, name)[signatures] for name in _PARTS}
        kept = [i for i in range(len(self)) if i != place]
        return Dismissals(
            tuple(self.n_rows[i] for i in kept),
            tuple(self.n_signatures[i] for i in kept),
            self.times[rows],
            {name: array[rows] for name, array in self.scores.items()},
            replace(self.signatures, **parts),
        )

    def parts(self, aggregation: str) -> list[tuple[Ints, Floats]]:
        """Return times and scores of each."""
        bounds = np.cumsum(self.n_rows)[:-1]
        return list(zip(np.split(self.times, bounds), np.split(self.scores[aggregation], bounds), strict=True))

    def spans(self) -> list[tuple[int, int]]:
        """Return first and last time of each."""
        return [(int(times[0]), int(times[-1])) for times, _ in self.parts(AGGREGATIONS[0])]

    def reaches(self) -> list[float]:
        """Return how far away an event may be that each mutes; 0 where it mutes none."""
        bounds = np.cumsum([0, *self.n_signatures]).tolist()
        return [float(self.signatures.reach[a]) if b > a else 0.0 for a, b in pairwise(bounds)]

    def tensors(self) -> dict[str, Any]:
        """Return all arrays by their names in a file."""
        scores = {f"dismissed/{name}": array for name, array in self.scores.items()}
        parts = {f"dismissed/{name}": getattr(self.signatures, name) for name in _PARTS}
        return {"dismissed/times": self.times} | scores | parts

    @classmethod
    def of_tensors(cls, described: list[dict[str, int]], columns: tuple[str, ...], tensors: dict[str, Any]) -> "Dismissals":
        """Return what a file holds; `ValueError` says which number is wrong."""
        found = cls(
            tuple(one["n_rows"] for one in described),
            tuple(one["n_signatures"] for one in described),
            tensors["dismissed/times"],
            {name: tensors[f"dismissed/{name}"] for name in AGGREGATIONS},
            Signatures(columns, *(tensors[f"dismissed/{name}"] for name in _PARTS)),
        )
        signatures = found.signatures
        if len(found.times) and not (np.abs(found.times) <= _LARGEST_TIME).all():
            raise ValueError("times of dismissed rows")
        if any(np.isinf(array).any() or (array < 0).any() for array in found.scores.values()):
            raise ValueError("scores of dismissed rows must be finite and not negative")
        within = (signatures.shares >= 0).all() and (signatures.shares <= 1).all() and np.isfinite(signatures.reach).all()
        if not within or (signatures.reach < 0).any() or not (np.abs(signatures.deviations) <= _LARGEST_DEVIATION).all():
            raise ValueError("signatures of dismissed events")
        length, place = signatures.shape.T
        if not ((length >= 1) & (length <= MOST_DISMISSED_ROWS) & (place >= 0) & (place <= 1)).all():
            raise ValueError("shapes of dismissed events")
        return found


def checked_counts(described: Any) -> list[dict[str, int]]:
    """Return what a header says of dismissed stretches; `TypeError` or `ValueError` say what is wrong with it."""
    if not isinstance(described, list) or not 1 <= len(described) <= MOST_DISMISSED:
        raise ValueError(f"dismissed stretches that are not 1 to {MOST_DISMISSED}")
    for one in described:
        if not isinstance(one, dict) or set(one) != {"n_rows", "n_signatures"}:
            raise ValueError("a dismissed stretch")
        for name, least in (("n_rows", 1), ("n_signatures", 0)):
            if type(one[name]) is not int or not least <= one[name] <= MOST_DISMISSED_ROWS:
                raise ValueError(f"{name}={one[name]!r} of a dismissed stretch")
    totals = {name: sum(one[name] for one in described) for name in ("n_rows", "n_signatures")}
    if totals["n_rows"] > MOST_DISMISSED_ROWS or totals["n_signatures"] > MOST_SIGNATURES:
        raise ValueError(f"more than {MOST_DISMISSED_ROWS:,} dismissed rows, or {MOST_SIGNATURES:,} events among them")
    return described


def shapes_of(described: list[dict[str, int]] | None, n_features: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return name, type and shape of every array of dismissed stretches; none if there is none.

    Args:
        described: as `checked_counts` returned it.
        n_features: of the detector.
    """
    if described is None:
        return {}
    n, k = (sum(one[name] for one in described) for name in ("n_rows", "n_signatures"))
    found: dict[str, tuple[str, tuple[int, ...]]] = {"dismissed/times": ("I64", (n,))}
    found |= {f"dismissed/{name}": ("F64", (n,)) for name in AGGREGATIONS}
    found |= {f"dismissed/{name}": ("F64", (k, n_features)) for name in ("shares", "deviations")}
    return found | {"dismissed/shape": ("F64", (k, 2)), "dismissed/reach": ("F64", (k,))}
