"""What a detector file holds of stretches that somebody has called normal: their scores, signatures of their events, their rows.

The header says how many rows and signatures each has; the arrays hold those of all, one behind the other. Rows are kept only
where that was asked for.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from anomaly.config import AGGREGATIONS
from anomaly.events.dismissed import Signatures
from anomaly.series import Floats, Ints

MOST_DISMISSED, MOST_DISMISSED_ROWS, MOST_SIGNATURES = 256, 1_000_000, 1_024
MOST_KEPT_VALUES = 20_000_000
_LARGEST_TIME, _LARGEST_DEVIATION, _LARGEST_VALUE = 2**62, 1e200, 1e100
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
        n_kept: rows of each that are kept to be trained on, with those around them that share a window with it; 0 for none.
        kept_times: of these rows, `(m,)`.
        kept_values: `(m, n_columns)`, in units of the data, the context behind the features; NaN = missing.
    """

    n_rows: tuple[int, ...]
    n_signatures: tuple[int, ...]
    times: Ints
    scores: dict[str, Floats]
    signatures: Signatures
    n_kept: tuple[int, ...]
    kept_times: Ints
    kept_values: Floats

    @classmethod
    def none(cls, columns: tuple[str, ...], n_judged: int) -> "Dismissals":
        """Return what there is before anything is dismissed; the first columns are the features that are judged."""
        nothing, times = np.empty(0), np.empty(0, np.int64)
        signatures, values = Signatures.of(columns[:n_judged], [], 0), np.empty((0, len(columns)))
        return cls((), (), times, dict.fromkeys(AGGREGATIONS, nothing), signatures, (), times, values)

    def __len__(self) -> int:
        """Return how many stretches there are."""
        return len(self.n_rows)

    def described(self) -> list[dict[str, int]]:
        """Return what the header of a file says of them."""
        counts = zip(self.n_rows, self.n_signatures, self.n_kept, strict=True)
        return [
            {"n_rows": rows, "n_signatures": signatures} | ({"n_kept": kept} if kept else {}) for rows, signatures, kept in counts
        ]

    def and_one(
        self, times: Ints, scores: dict[str, Floats], signatures: Signatures, kept: tuple[Ints, Floats] | None = None
    ) -> "Dismissals":
        """Return these and another stretch behind them.

        Args:
            times: of its rows, `(m,)`.
            scores: for each aggregation, `(m,)`.
            signatures: of its events.
            kept: times and values of the rows to keep; None for none.

        Raises:
            ValueError: if they are too many for a file.
        """
        arrays: dict[str, Any] = {
            name: np.concatenate([getattr(self.signatures, name), getattr(signatures, name)]) for name in _PARTS
        }
        kept_times, kept_values = kept or (self.kept_times[:0], self.kept_values[:0])
        found = Dismissals(
            (*self.n_rows, len(times)),
            (*self.n_signatures, len(signatures)),
            np.concatenate([self.times, times]),
            {name: np.concatenate([self.scores[name], scores[name]]) for name in AGGREGATIONS},
            replace(self.signatures, **arrays),
            (*self.n_kept, len(kept_times)),
            np.concatenate([self.kept_times, kept_times]),
            np.concatenate([self.kept_values, kept_values]),
        )
        checked_counts(found.described())
        if found.kept_values.size > MOST_KEPT_VALUES:
            raise ValueError(f"more than {MOST_KEPT_VALUES:,} values of kept rows")
        return found

    def without(self, place: int) -> "Dismissals":
        """Return these but for the one at a place, from 0."""
        counts = self.n_rows, self.n_signatures, self.n_kept
        rows, signatures, kept_rows = (np.repeat(np.arange(len(self)), each) != place for each in counts)
        parts: dict[str, Any] = {name: getattr(self.signatures, name)[signatures] for name in _PARTS}
        kept = [i for i in range(len(self)) if i != place]
        return Dismissals(
            tuple(self.n_rows[i] for i in kept),
            tuple(self.n_signatures[i] for i in kept),
            self.times[rows],
            {name: array[rows] for name, array in self.scores.items()},
            replace(self.signatures, **parts),
            tuple(self.n_kept[i] for i in kept),
            self.kept_times[kept_rows],
            self.kept_values[kept_rows],
        )

    def kept(self) -> list[tuple[Ints, Ints, Floats]]:
        """Return of each stretch whose rows are kept its times, and times and values of the rows to train on."""
        bounds = np.cumsum(self.n_kept)[:-1]
        rows = zip(self.parts(AGGREGATIONS[0]), np.split(self.kept_times, bounds), np.split(self.kept_values, bounds), strict=True)
        return [(own, times, values) for (own, _), times, values in rows if len(times)]

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
        kept = {"dismissed/kept_times": self.kept_times, "dismissed/kept_values": self.kept_values} if any(self.n_kept) else {}
        return {"dismissed/times": self.times} | scores | parts | kept

    @classmethod
    def of_tensors(
        cls, described: list[dict[str, int]], columns: tuple[str, ...], n_judged: int, tensors: dict[str, Any]
    ) -> "Dismissals":
        """Return what a file holds; `ValueError` says which number is wrong."""
        found = cls(
            tuple(one["n_rows"] for one in described),
            tuple(one["n_signatures"] for one in described),
            tensors["dismissed/times"],
            {name: tensors[f"dismissed/{name}"] for name in AGGREGATIONS},
            Signatures(columns[:n_judged], *(tensors[f"dismissed/{name}"] for name in _PARTS)),
            tuple(one.get("n_kept", 0) for one in described),
            tensors.get("dismissed/kept_times", np.empty(0, np.int64)),
            tensors.get("dismissed/kept_values", np.empty((0, len(columns)))),
        )
        signatures = found.signatures
        if not all((np.abs(times) <= _LARGEST_TIME).all() for times in (found.times, found.kept_times)):
            raise ValueError("times of dismissed rows")
        if not (np.isnan(found.kept_values) | (np.abs(found.kept_values) <= _LARGEST_VALUE)).all():
            raise ValueError(f"values of dismissed rows must be within {_LARGEST_VALUE:g}")
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
        if not isinstance(one, dict) or set(one) - {"n_kept"} != {"n_rows", "n_signatures"}:
            raise ValueError("a dismissed stretch")
        for name, least in (("n_rows", 1), ("n_signatures", 0), *((("n_kept", 1),) if "n_kept" in one else ())):
            if type(one[name]) is not int or not least <= one[name] <= MOST_DISMISSED_ROWS:
                raise ValueError(f"{name}={one[name]!r} of a dismissed stretch")
    totals = {name: sum(one.get(name, 0) for one in described) for name in ("n_rows", "n_signatures", "n_kept")}
    if max(totals["n_rows"], totals["n_kept"]) > MOST_DISMISSED_ROWS or totals["n_signatures"] > MOST_SIGNATURES:
        raise ValueError(f"more than {MOST_DISMISSED_ROWS:,} dismissed rows, or {MOST_SIGNATURES:,} events among them")
    return described


def shapes_of(described: list[dict[str, int]] | None, n_features: int, n_columns: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return name, type and shape of every array of dismissed stretches; none if there is none.

    Args:
        described: as `checked_counts` returned it.
        n_features: of the detector, that are judged.
        n_columns: these and the context.
    """
    if described is None:
        return {}
    n, k, m = (sum(one.get(name, 0) for one in described) for name in ("n_rows", "n_signatures", "n_kept"))
    found: dict[str, tuple[str, tuple[int, ...]]] = {"dismissed/times": ("I64", (n,))}
    found |= {f"dismissed/{name}": ("F64", (n,)) for name in AGGREGATIONS}
    found |= {f"dismissed/{name}": ("F64", (k, n_features)) for name in ("shares", "deviations")}
    if m:
        found |= {"dismissed/kept_times": ("I64", (m,)), "dismissed/kept_values": ("F64", (m, n_columns))}
    return found | {"dismissed/shape": ("F64", (k, 2)), "dismissed/reach": ("F64", (k,))}
