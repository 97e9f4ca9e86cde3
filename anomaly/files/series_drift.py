"""Whether the rows of several series still look like those of their training, each for itself.

Rows of many series come mixed and a few at a time: they wait until there are enough of them, and are then counted series by
series. A series takes a few kilobytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from anomaly.bundle.bundle import Bundle
from anomaly.ingest.chunks import Names
from anomaly.quick_start import pd
from anomaly.scoring.drift import Drift, DriftResult, joint_warning
from anomaly.series import Floats, Ints

# So many values and scores wait, of all series together.
_MOST_WAITING = 1 << 16


@dataclass(frozen=True)
class SeriesDriftResult:
    """What has changed since the training.

    Attributes:
        series: of each series, by its name.
    """

    series: dict[str, DriftResult]

    @property
    def extents(self) -> dict[str, float]:
        """How far the series have gone that are no longer as in training."""
        return {name: found.extent for name, found in self.series.items() if found.warning is not None}

    @property
    def warning(self) -> str | None:
        """How many these are and which the most, in a clause; None if there is none."""
        return joint_warning(self.extents, len(self.series))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        found = {name: self.series[name].to_dict() for name in sorted(self.series)}
        return {"series": found, "drifted": len(self.extents), "warning": self.warning}


class SeriesDrift:
    """Count values and scores of several series as they come.

    Args:
        memories: what `memories` of another one returned, to go on from.
    """

    def __init__(self, memories: dict[str, Ints] | None = None) -> None:
        self._memories = dict(memories or {})
        self._drifts: dict[str, Drift] = {}
        self._template: tuple[Bundle, str, Drift] | None = None
        self._values: list[tuple[Names, Floats]] = []
        self._scores: dict[str, list[tuple[Floats, Ints]]] = {}
        self._n_waiting = 0

    @property
    def memories(self) -> dict[str, Ints]:
        """All counts of each series, see `Drift.memory`."""
        self._settle()
        return {name: drift.memory() for name, drift in self._drifts.items()}

    def begin(self, series: str, bundle: Bundle, aggregation: str) -> None:
        """Compare a series from now on; one that is compared stays as it is.

        Args:
            series: its name.
            bundle: of its detector.
            aggregation: how its scores come about.
        """
        if series in self._drifts:
            return
        if self._template is None or self._template[0] is not bundle or self._template[1] != aggregation:
            self._template = bundle, aggregation, bundle.drift(aggregation)
        drift = self._drifts[series] = self._template[2].anew()
        if series in self._memories:
            drift.go_on(self._memories.pop(series))

    def forget(self, series: str) -> None:
        """Compare a series no more, and forget what was counted."""
        self._drifts.pop(series, None)

    def push(self, ids: Names, values: Floats) -> None:
        """Take the values of further rows; those of a series that is not compared are left.

        Args:
            ids: `(n,)` names of the series that the rows belong to.
            values: `(n, n_features)`, unscaled; NaN = missing.
        """
        if len(ids):
            self._values.append((ids, values))
            self._waits(values.size)

    def push_scores(self, series: str, scores: Floats, times: Ints) -> None:
        """Take scores of a series that have become final.

        Args:
            series: its name.
            scores: `(n,)`, NaN where a row has none.
            times: of their rows.
        """
        if len(scores):
            self._scores.setdefault(series, []).append((scores, times))
            self._waits(len(scores))

    def result(self) -> SeriesDriftResult:
        """Return what has changed so far."""
        self._settle()
        return SeriesDriftResult({name: drift.result() for name, drift in self._drifts.items()})

    def _waits(self, n: int) -> None:
        self._n_waiting += n
        if self._n_waiting >= _MOST_WAITING:
            self._settle()

    def _settle(self) -> None:
        """Count what waits."""
        for series, values in self._grouped():
            if series in self._drifts:
                self._drifts[series].push(values=values)
        for series, parts in self._scores.items():
            if series in self._drifts:
                scores, times = (np.concatenate(of_parts) for of_parts in zip(*parts, strict=True))
                self._drifts[series].push(scores=scores, times=times)
        for series in {*self._scores, *(name for ids, _ in self._values for name in ids.tolist())} & self._drifts.keys():
            self._drifts[series].settle()
        self._values, self._scores, self._n_waiting = [], {}, 0

    def _grouped(self) -> list[tuple[str, Floats]]:
        """Return the values that wait, series by series."""
        if not self._values:
            return []
        codes, names = pd.factorize(np.concatenate([ids for ids, _ in self._values]))
        order = np.argsort(codes, kind="stable")
        values = np.concatenate([values for _, values in self._values])[order]
        parts = np.split(values, np.flatnonzero(np.diff(codes[order])) + 1)
        return list(zip((str(name) for name in names), parts, strict=True))
