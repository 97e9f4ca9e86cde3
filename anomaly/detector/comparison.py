"""A detector and the one it went on from: how their scores differ, on old rows and on new ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from anomaly.bundle.bundle import Bundle
from anomaly.config import THRESHOLD_METHODS
from anomaly.detector.detector import Detector
from anomaly.errors import DataError
from anomaly.fitting.cleaned import fingerprint_of
from anomaly.fitting.measuring import calibration_rows
from anomaly.ingest.order import in_order
from anomaly.quick_start import pd
from anomaly.report.tables import aligned
from anomaly.scoring.scorer import score_series
from anomaly.scoring.scores import flags
from anomaly.series import Floats, TimeSeries

# "99 %": the score that one row of a hundred exceeds.
_HIGH = 0.99


@dataclass(frozen=True)
class Spread:
    """Scores of some rows by one detector.

    Attributes:
        rows: that have a score.
        median: of the scores; None without rows.
        high: what one of a hundred exceeds; None without rows.
        threshold: of the detector.
        above: share of them above it; None without rows.
    """

    rows: int
    median: float | None
    high: float | None
    threshold: float
    above: float | None

    @classmethod
    def of(cls, scores: Floats, threshold: float) -> Spread:
        """Summarise scores `(n,)`, NaN where a row has none."""
        known = scores[np.isfinite(scores)]
        if not len(known):
            return cls(0, None, None, threshold, None)
        median, high = (float(x) for x in np.quantile(known, [0.5, _HIGH]))
        return cls(len(known), median, high, threshold, float(flags(known, threshold).mean()))

    def cells(self) -> tuple[str, ...]:
        """Return the numbers as text."""
        shown = (f"{x:.3g}" if x is not None else "-" for x in (self.median, self.high, self.threshold))
        return (f"{self.rows:,}", *shown, "-" if self.above is None else f"{self.above:.2%}")


@dataclass(frozen=True)
class Moved:
    """The same rows, scored by the old detector and by the new one.

    Attributes:
        rows: that have a score from both.
        ratio: median of new score / old score; None without rows.
        rank_correlation: Spearman's, 1 where both rank the rows alike; None where one of them ranks nothing.
        newly_flagged: rows that only the new detector flags.
        no_longer_flagged: rows that only the old one flags.
    """

    rows: int
    ratio: float | None
    rank_correlation: float | None
    newly_flagged: int
    no_longer_flagged: int

    @classmethod
    def between(cls, old: Floats, new: Floats, old_threshold: float, new_threshold: float) -> Moved:
        """Compare scores `(n,)` of the same rows, NaN where a row has none.

        Args:
            old: by the old detector.
            new: by the new one.
            old_threshold: of the old detector.
            new_threshold: of the new one.
        """
        both = np.isfinite(old) & np.isfinite(new)
        old, new = old[both], new[both]
        before, after = flags(old, old_threshold), flags(new, new_threshold)
        ratios = new[old > 0] / old[old > 0]
        return cls(
            rows=len(old),
            ratio=float(np.median(ratios)) if len(ratios) else None,
            rank_correlation=_rank_correlation(old, new),
            newly_flagged=int((after & ~before).sum()),
            no_longer_flagged=int((before & ~after).sum()),
        )

    def __str__(self) -> str:
        """Say it in a sentence."""
        ratio = "-" if self.ratio is None else f"{self.ratio:.3g}"
        ranks = "-" if self.rank_correlation is None else f"{self.rank_correlation:.3f}"
        return (
            f"scores times {ratio} (median), rank correlation {ranks}, {self.newly_flagged:,} of {self.rows:,} rows newly "
            f"flagged, {self.no_longer_flagged:,} no longer"
        )


@dataclass(frozen=True)
class Comparison:
    """How scores moved with a training that went on from another detector.

    Attributes:
        aggregation: by which the scores were made.
        old_held_out: the rows that calibrated the old detector, by the old detector.
        new_held_out: the rows that calibrate the new detector, by the new detector.
        before: the new rows, trained on and held out, by the old detector.
        after: the same by the new detector.
        new_rows: row by row on these.
        old_held_out_after: `old_held_out` by the new detector; None where these rows are not at hand.
        old_rows: row by row on these.
        old_threshold: where the old threshold came from, if no setting says it; else None.
    """

    aggregation: str
    old_held_out: Spread
    new_held_out: Spread
    before: Spread
    after: Spread
    new_rows: Moved
    old_held_out_after: Spread | None
    old_rows: Moved | None
    old_threshold: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        """Return a table, and what it comes to row by row."""
        rows = [
            ("old rows held out, old detector", self.old_held_out),
            ("old rows held out, new detector", self.old_held_out_after),
            ("new rows held out, new detector", self.new_held_out),
            ("all new rows, old detector", self.before),
            ("all new rows, new detector", self.after),
        ]
        table: list[tuple[str, ...]] = [(f"Scores ({self.aggregation})", "rows", "median", "99 %", "threshold", "above")]
        table += [(name, *spread.cells()) for name, spread in rows if spread is not None]
        told = [f"On the new rows: {self.new_rows}."]
        told += [] if self.old_rows is None else [f"On the old rows held out: {self.old_rows}."]
        if self.old_threshold is not None:
            told += [f"The old threshold ({self.old_threshold}) was not taken over; `anomaly threshold` sets it anew."]
        return aligned(table, right=(1, 2, 3, 4, 5)) + "\n".join(told)


def compare(old: Detector, new: Detector, series: TimeSeries, old_rows: TimeSeries | None = None) -> Comparison:
    """Compare a detector with the one it went on from, by the new one's aggregation.

    Args:
        old: the detector before.
        new: the detector that went on from it.
        series: what the new one was trained on; of long ones the rows that its thresholds are made from are compared.
        old_rows: the held-out rows of the old one, see `held_out_rows`; default: they are not at hand.
    """
    name = new.aggregation_name(None)
    cuts = [detector.bundle_.thresholds[name] for detector in (old, new)]
    values = [cut.value for cut in cuts]
    series = in_order(old.taken(series))
    _, parts = calibration_rows(series, len(series) - new.bundle_.training["n_held_out_rows"])
    before, after = _scores(old, name, parts), new.bundle_.calibration_scores[name]
    calibrated = [detector.bundle_.calibration_scores[name] for detector in (old, new)]
    old_held_out, new_held_out = (
        scores[-detector.bundle_.training["n_held_out_rows"] :] for scores, detector in zip(calibrated, (old, new), strict=True)
    )
    again = None if old_rows is None else _scores(new, name, [old_rows])
    return Comparison(
        aggregation=name,
        old_held_out=Spread.of(old_held_out, values[0]),
        new_held_out=Spread.of(new_held_out, values[1]),
        before=Spread.of(before, values[0]),
        after=Spread.of(after, values[1]),
        new_rows=Moved.between(before, after, *values),
        old_held_out_after=None if again is None else Spread.of(again, values[1]),
        old_rows=None if again is None else Moved.between(old_held_out, again, *values),
        old_threshold=None if cuts[0].method in THRESHOLD_METHODS else cuts[0].asked_text(),
    )


def held_out_rows(bundle: Bundle, series: TimeSeries) -> TimeSeries:
    """Return the rows of a detector's training series that were held out.

    Args:
        bundle: of the detector.
        series: what it was trained on; rows may follow.

    Raises:
        DataError: if these are not the rows it was trained on.
    """
    n = bundle.training["n_rows"]
    series = series.of_columns(bundle.columns) if set(bundle.columns) == set(series.columns) else series
    found = in_order(series)[:n]
    if len(found) < n or fingerprint_of(found) != bundle.fingerprint:
        raise DataError(
            f"The old data must begin with the {n:,} rows that the old detector was trained on, {bundle.training['first_time']} to "
            f"{bundle.training['last_time']}. Received: other rows ({series.name}). Give that file, or leave --old-data out."
        )
    return found[n - bundle.training["n_held_out_rows"] :]


def _scores(detector: Detector, aggregation: str, parts: Iterable[TimeSeries]) -> Floats:
    """Return the scores of several stretches, each scored for itself."""
    scored = [score_series(detector.row_scorer(aggregation), part.times, part.values)[0] for part in parts]
    return np.concatenate(scored)


def _rank_correlation(x: Floats, y: Floats) -> float | None:
    """Return Spearman's rank correlation, ties by their mean rank; None where all of one are the same."""
    if len(x) < 2 or x.min() == x.max() or y.min() == y.max():
        return None
    ranks = np.stack([pd.Series(values).rank().to_numpy() for values in (x, y)])
    return float(np.asarray(np.corrcoef(ranks))[0, 1])
