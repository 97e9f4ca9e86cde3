"""Scores and events of a detector against labels, beside what trivial detectors reach on the same rows.

Labels are used here and nowhere else. Nothing is chosen by them: the threshold is the detector's own.
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from anomaly.errors import ConfigError, DataError
from anomaly.evaluation import baselines
from anomaly.evaluation.affiliation import Affiliation, affiliation, affiliation_of_chance
from anomaly.evaluation.metrics import (
    EventScores,
    average_precision,
    detection_delays,
    event_ranges,
    event_scores,
    point_adjusted_f1,
    roc_auc,
    volume_under_surface,
)
from anomaly.events.event import Event
from anomaly.scoring.references import References
from anomaly.scoring.scores import Scores
from anomaly.series import Bools, Floats, Ints, TimeSeries, breaks_between, longest_step, segments
from anomaly.windowing.missing import fill_missing
from anomaly.windowing.scaling import Scaler
from anomaly.windowing.windows import choose_window_size, dominant_period
from anomaly.words import duration_text

BASELINE_NAMES = {
    "random": "random",
    "amplitude": "amplitude",
    "difference": "absolute difference",
    "sub_pca": "Sub-PCA",
    "nearest_shape": "nearest window, shape",
    "nearest_course": "nearest window, course",
    "nearest_change": "nearest window, change",
}
# A buffer longer than this, or than a tenth of the rows, forgives almost any place.
LONGEST_BUFFER, _LARGEST_BUFFER_SHARE = 1_000, 10
_COUNTED = {4: "four", 6: "six", 7: "seven"}
_MICROSECONDS, _SECONDS_A_DAY = 1e6, 86_400


@dataclass(frozen=True)
class Evaluation:
    """What scores and events are worth against labels. NaN = undefined, None = not applicable or not asked for.

    Attributes:
        n_rows: rows that are compared: all of the series, or those that were asked for.
        n_scored: rows with a score, whether or not a value of them is missing; the curve metrics know only these.
        n_labelled: labelled rows among the scored ones.
        buffer: the largest buffer of the volumes, in rows.
        vus_pr, vus_roc: volumes under the surfaces, see `anomaly.evaluation.metrics.volume_under_surface`.
        auc_pr, auc_roc: areas under the curves of single rows.
        events: found against known events.
        affiliation: how near they are.
        affiliation_chance: the same for the found events in random places.
        delays: for each known event the rows from its first to the first flagged one of a found event in it; NaN if
            there is none.
        median_delay: their median over the others, in rows; NaN if there are none.
        median_delay_seconds: the same in time; None where rows are counted.
        n_false_alarms: found events that share no row with a known one.
        false_alarms_per_1000_rows: of the scored rows.
        false_alarms_per_day: of the time the scored rows stand for; None where rows are counted.
        baselines: name -> vus_pr, vus_roc and auc_pr of a trivial detector on the scored rows.
        beats_baselines: whether vus_pr is above that of every one of them.
        point_adjusted_f1: see `anomaly.evaluation.metrics.point_adjusted_f1` for why it must not be read alone.
        n_trained: rows that the detector was trained on, among those that were asked for; None if nobody said.
        trained_counted: whether these are compared too.
    """

    n_rows: int
    n_scored: int
    n_labelled: int
    buffer: int
    vus_pr: float
    vus_roc: float
    auc_pr: float
    auc_roc: float
    events: EventScores
    affiliation: Affiliation
    affiliation_chance: Affiliation
    delays: tuple[float, ...]
    median_delay: float
    median_delay_seconds: float | None
    n_false_alarms: int
    false_alarms_per_1000_rows: float
    false_alarms_per_day: float | None
    baselines: dict[str, dict[str, float]]
    point_adjusted_f1: float | None = None
    n_trained: int | None = None
    trained_counted: bool = False

    @property
    def best_baseline(self) -> str:
        """Name of the trivial detector with the highest VUS-PR."""
        return max(self.baselines, key=lambda name: self.baselines[name]["vus_pr"])

    @property
    def beats_baselines(self) -> bool:
        """Whether `vus_pr` is above that of every trivial detector."""
        return self.vus_pr > self.baselines[self.best_baseline]["vus_pr"]

    @property
    def verdict(self) -> str:
        """One sentence: does the detector beat the best trivial one?"""
        verb = "beats" if self.beats_baselines else "does not beat"
        best = f"{BASELINE_NAMES[self.best_baseline]}, {self.baselines[self.best_baseline]['vus_pr']:.3f}"
        return f"VUS-PR {self.vus_pr:.3f} {verb} the best of {_COUNTED[len(self.baselines)]} trivial baselines ({best})."

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; what is undefined is None."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain | {"beats_baselines": self.beats_baselines, "verdict": self.verdict}

    def rows(self) -> list[tuple[str, ...]]:
        """Return names and values as text, for a table of two columns."""
        found, near, chance = self.events, self.affiliation, self.affiliation_chance
        rows: list[tuple[str, ...]] = [
            ("rows", f"{self.n_scored:,} scored of {self.n_rows:,}, {self.n_labelled:,} of them labelled"),
            *([("training rows", self._trained_text())] if self.n_trained else []),
            ("VUS-PR", f"{self.vus_pr:.3f} (buffer {self.buffer} rows)"),
            ("VUS-ROC", f"{self.vus_roc:.3f}"),
            ("AUC-PR", f"{self.auc_pr:.3f}"),
            ("AUC-ROC", f"{self.auc_roc:.3f}"),
            ("known events", f"{found.n_hit} of {found.n_known} found (recall {found.recall:.3f})"),
            ("found events", f"{found.n_found}, {found.n_false} of them false (precision {_text(found.precision)})"),
            ("event F1", f"{found.f1:.3f}"),
            ("affiliation precision", f"{_text(near.precision)} (chance {_text(chance.precision)})"),
            ("affiliation recall", f"{near.recall:.3f} (chance {chance.recall:.3f})"),
            ("median delay", self._delay_text()),
            ("false alarms", self._alarms_text()),
        ]
        if self.point_adjusted_f1 is not None:
            rows.append(("point-adjusted F1", f"{self.point_adjusted_f1:.3f} (flatters: one row credits a whole event)"))
        return rows

    def comparison_rows(self) -> list[tuple[str, ...]]:
        """Return the detector and the trivial ones as text, for a table of four columns with a head; best first."""
        own = {"vus_pr": self.vus_pr, "vus_roc": self.vus_roc, "auc_pr": self.auc_pr}
        named = [("this detector", own), *((BASELINE_NAMES[name], values) for name, values in self.baselines.items())]
        named.sort(key=lambda pair: -pair[1]["vus_pr"])
        return [("", "VUS-PR", "VUS-ROC", "AUC-PR"), *((name, *(f"{value:.3f}" for value in v.values())) for name, v in named)]

    def _trained_text(self) -> str:
        how = "counted above: these flatter the detector" if self.trained_counted else "left out of all figures"
        return f"{self.n_trained:,} {how}"

    def _delay_text(self) -> str:
        if math.isnan(self.median_delay):
            return "none: no flag within a known event"
        seconds = "" if self.median_delay_seconds is None else f" ({duration_text(round(self.median_delay_seconds * 1e6))})"
        return f"{self.median_delay:g} rows{seconds}"

    def _alarms_text(self) -> str:
        daily = "" if self.false_alarms_per_day is None else f", {self.false_alarms_per_day:.3g} a day"
        return f"{self.n_false_alarms} ({self.false_alarms_per_1000_rows:.3g} in 1,000 rows{daily})"


def evaluate(
    series: TimeSeries,
    scores: Scores,
    events: list[Event],
    *,
    buffer: int | None = None,
    seed: int = 0,
    scaler: Scaler | None = None,
    references: tuple[References, ...] | None = None,
    point_adjust: bool = False,
    compared: Bools | None = None,
    trained: Bools | None = None,
    count_training: bool = False,
) -> Evaluation:
    """Compare scores and events with the labels of a series.

    Rows without a score are left out of the curve metrics, for the detector and the trivial ones alike, and no others: a row
    with a missing value counts by its score. What lies on both sides of them then counts as neighbours. Events are compared
    on all rows, so that a known one without a single score is missed. Known events are the runs of label 1.

    Rows that are not compared, and those of the training unless they are to count, are taken out before all else: of an event that
    lies in them in part the rest is left, and what lies on both sides of them counts as neighbours.

    Args:
        series: with labels.
        scores: of the same rows.
        events: found in them at the threshold of the scores.
        buffer: largest buffer of the volumes, in rows; default: the dominant period of the series, as in TSB-AD that of all
            its rows and not only of those that are compared, or else the median length of the known events; at most 1,000
            rows and a tenth of the scored rows that are compared.
        seed: of the random detector and the random places of events.
        scaler: the detector's; default: one fitted on the scored rows, which a live detector would not have.
        references: the detector's windows of training, in units of its scaler, to which two further trivial detectors compare
            the rows; without them, or without a scaler, there are four.
        point_adjust: whether to compute the point-adjusted F1 too.
        compared: `(n_timesteps,)` which rows are compared; default: all.
        trained: `(n_timesteps,)` which rows the detector was trained on, see `Detector.trained_on`; default: none that is known.
        count_training: whether these are compared all the same.

    Raises:
        DataError: if the series has no labels, the rows do not match, or the scored rows are not partly labelled.
        ConfigError: if `buffer` is negative, or larger than the number of scored rows.
    """
    labels = _labels(series, scores, events)
    period, window_size = _period_and_window(series, scores, scaler)  # of the series, whichever rows of it are compared
    asked = np.ones(len(series), np.bool_) if compared is None else compared
    n_trained = None if trained is None else int((trained & asked).sum())
    kept = asked if trained is None or count_training else asked & ~trained
    if not kept.all():
        series, scores, events, labels = *_rows_at(kept, series, scores, events), labels[kept]
    _require_both(series, scores, labels, 0 if count_training else n_trained)
    n_scored, known = int((~np.isnan(scores.score)).sum()), event_ranges(labels)
    buffer = _default_buffer(period, known, n_scored) if buffer is None else _checked_buffer(buffer, n_scored)
    found = _compared(series, scores, events, labels, scaler, references, buffer, window_size, seed, point_adjust=point_adjust)
    return replace(found, n_trained=n_trained, trained_counted=count_training)


def _compared(
    series: TimeSeries, scores: Scores, events: list[Event], labels: Bools, scaler: Scaler | None,
    references: tuple[References, ...] | None, buffer: int, window_size: int, seed: int, *, point_adjust: bool,
) -> Evaluation:  # fmt: skip
    """Compare scores and events with labels, all rows of them."""
    usable = ~np.isnan(scores.score)
    scored_labels, score = labels[usable], scores.score[usable]
    known, found = event_ranges(labels), [(event.start, event.stop) for event in events]
    references = None if scaler is None else references
    values = _scaled(series, usable, scaler)
    curves = _curve_metrics(scored_labels, score, buffer)
    raised = scores.flags & _rows_of(found, len(series))  # a flag that the event rules drop raises no alarm
    return Evaluation(
        n_rows=len(series),
        n_scored=len(score),
        n_labelled=int(scored_labels.sum()),
        buffer=buffer,
        vus_pr=curves["vus_pr"],
        vus_roc=curves["vus_roc"],
        auc_pr=curves["auc_pr"],
        auc_roc=roc_auc(scored_labels, score),
        **_event_metrics(series, found, known, raised, len(score)),
        affiliation=affiliation(found, known, len(series)),
        affiliation_chance=affiliation_of_chance(found, known, len(series), seed=seed),
        baselines=_baselines(values[usable], scored_labels, buffer, window_size, seed, references),
        point_adjusted_f1=point_adjusted_f1(raised, labels) if point_adjust else None,
    )


def _rows_at(kept: Bools, series: TimeSeries, scores: Scores, events: list[Event]) -> tuple[TimeSeries, Scores, list[Event]]:
    """Return some of the rows, one behind the other, and what is left in them of the events."""
    values = ("times", "values", "labels")
    arrays = ("score", "by_feature", "deviation", "status", "times")
    before = np.concatenate([[0], np.cumsum(kept)])
    places = [(event, int(before[event.start]), int(before[event.stop])) for event in events]
    return (
        replace(series, **{name: getattr(series, name)[kept] for name in values}),
        replace(scores, **{name: getattr(scores, name)[kept] for name in arrays}, index=None, measured=None, bands=None),
        [replace(event, start=start, stop=stop) for event, start, stop in places if start < stop],
    )


def _require_both(series: TimeSeries, scores: Scores, labels: Bools, n_left_out: int | None) -> None:
    """Refuse rows that are all labelled, or all not; of the rows of the training so many were left out."""
    scored = labels[~np.isnan(scores.score)]
    if not scored.any() or scored.all():
        why = f" The {n_left_out:,} rows of the training are left out; --count-training counts them." if n_left_out else ""
        raise DataError(
            "Evaluation needs labelled and other rows among those with a score. "
            f"Received: {int(scored.sum())} labelled of {len(scored)} scored rows ({series.name}).{why}"
        )


def _curve_metrics(labels: Bools, score: Floats, buffer: int) -> dict[str, float]:
    volume = volume_under_surface(labels, score, buffer)
    return {"vus_pr": volume.pr, "vus_roc": volume.roc, "auc_pr": average_precision(labels, score)}


def _event_metrics(
    series: TimeSeries, found: list[tuple[int, int]], known: list[tuple[int, int]], raised: Bools, n_scored: int
) -> dict[str, Any]:
    counts, delays = event_scores(found, known), detection_delays(raised, known)
    return {
        "events": counts,
        "delays": tuple(delays.tolist()),
        "median_delay": _median(delays),
        "median_delay_seconds": _delay_seconds(series, known, delays),
        "n_false_alarms": counts.n_false,
        "false_alarms_per_1000_rows": 1000 * counts.n_false / n_scored,
        "false_alarms_per_day": _per_day(series, counts.n_false, n_scored),
    }


def _labels(series: TimeSeries, scores: Scores, events: list[Event]) -> Bools:
    """Return the labels as bool; refuse what cannot be compared."""
    if series.labels is None:
        raise DataError(f"Evaluation needs labels. Received: none ({series.name}). Name their column with --label-column.")
    if len(scores) == len(series) and not np.array_equal(scores.times, series.times):
        raise DataError(f"Scores must be of the rows of the series. Received: those of other times ({series.name}). Score it.")
    if len(scores) != len(series) or any(event.stop > len(series) for event in events):
        last = max((event.stop for event in events), default=0)
        raise DataError(
            f"Scores and events must be of the rows of the series ({len(series)}). "
            f"Received: {len(scores)} scores, events up to row {last} ({series.name})."
        )
    if not (series.labels == 1).any():
        raise DataError(
            f"Evaluation needs at least one row with label 1. Received: none in {len(series)} rows ({series.name}). "
            "Use a stretch that holds a known event."
        )
    return np.asarray(series.labels == 1)


def _rows_of(ranges: list[tuple[int, int]], n_rows: int) -> Bools:
    inside = np.zeros(n_rows, np.bool_)
    for start, stop in ranges:
        inside[start:stop] = True
    return inside


def _scaled(series: TimeSeries, usable: Bools, scaler: Scaler | None) -> Floats:
    """Return the values of all rows in units of the scaler, or of one that is fitted on the usable rows; none is missing."""
    scaler = scaler or Scaler.fit(np.where(np.isfinite(series.values), series.values, np.nan)[usable])
    scaled: Floats = fill_missing(scaler.transform(series.values)[0][None])[0].astype(np.float64)
    return scaled


def _period_and_window(series: TimeSeries, scores: Scores, scaler: Scaler | None) -> tuple[int | None, int]:
    """Return the dominant period of a series, None if it has none, and a window that suits it, in rows."""
    usable = ~np.isnan(scores.score)
    if not usable.any():
        return None, 1  # such rows are refused
    stretch = _scaled(series, usable, scaler)[_longest_stretch(series)]
    return dominant_period(stretch), choose_window_size(stretch)


def _longest_stretch(series: TimeSeries) -> slice:
    """Return the longest run of rows without a gap."""
    runs = segments(series.times, longest_step(series.times, "auto"))
    return slice(*max(runs, key=lambda run: run[1] - run[0]))


def _checked_buffer(buffer: int, n_scored: int) -> int:
    if buffer > n_scored:
        raise ConfigError(f"`buffer` must be at most the number of scored rows ({n_scored:,}). Received: buffer={buffer:,}.")
    return int(buffer)


def _default_buffer(period: int | None, known: list[tuple[int, int]], n_scored: int) -> int:
    length = float(np.median([stop - start for start, stop in known]))
    return int(min(period or length, LONGEST_BUFFER, n_scored // _LARGEST_BUFFER_SHARE))


def _baselines(
    values: Floats, labels: Bools, buffer: int, window_size: int, seed: int, references: tuple[References, ...] | None
) -> dict[str, dict[str, float]]:
    scores = {
        "random": baselines.random_scores(len(values), seed),
        "amplitude": baselines.amplitude(values),
        "difference": baselines.absolute_difference(values),
        "sub_pca": baselines.sub_pca(values, min(window_size, len(values))),
    }
    if references is not None:
        scores |= {f"nearest_{form}": score for form, score in baselines.nearest_window(values, references).items()}
    return {name: _curve_metrics(labels, score, buffer) for name, score in scores.items()}


def _median(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _delay_seconds(series: TimeSeries, known: list[tuple[int, int]], delays: Floats) -> float | None:
    if series.time_column is None:
        return None
    hit = np.isfinite(delays)
    starts: Ints = np.array(known)[hit, 0]
    waited = series.times[starts + delays[hit].astype(np.int64)] - series.times[starts]
    return _median(waited / _MICROSECONDS)


def _per_day(series: TimeSeries, n_alarms: int, n_scored: int) -> float | None:
    """Divide by the scored rows times the mean step between rows without a gap; None if no time passes."""
    if series.time_column is None:
        return None
    steps = np.diff(series.times)[~breaks_between(series.times, longest_step(series.times, "auto"))]
    days = n_scored * float(steps.mean()) / _MICROSECONDS / _SECONDS_A_DAY if len(steps) else 0.0
    return n_alarms / days if days else None


def _plain(value: Any) -> Any:
    """Replace NaN by None and tuples by lists, at any depth."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _text(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.3f}"
