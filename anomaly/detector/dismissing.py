"""Call a stretch of rows normal: keep its scores and the signatures of its events with the detector, or take that back."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from anomaly.bundle.bundle import Bundle
from anomaly.bundle.dismissals import Dismissals
from anomaly.config import AGGREGATIONS
from anomaly.detector.detector import Detector
from anomaly.errors import ConfigError, DataError
from anomaly.events.dismissed import EventLike, Signatures
from anomaly.events.event import Event
from anomaly.fitting.recalibration import recalibrated
from anomaly.scoring.scorer import OnRows, pushed
from anomaly.scoring.scores import Scores
from anomaly.series import Floats, Ints, TimeSeries

# How far from a dismissed event another one may be that is not raised; `anomaly.events.dismissed` says what that means.
REACH = 1.0
# A dismissed event is looked at by cuts so many times as high, one after the other; so many windows around it tell where it ends.
_HIGHER, _AROUND, _MOST_SIGNATURES = 1.25, 4, 32


def rows_of_event(scores: Scores, events: list[Event], number: int) -> tuple[int, int]:
    """Return the rows of an event, half-open, with the flagged rows next to it: those that its windows flag too.

    Args:
        scores: of the series.
        events: of the series, in order.
        number: of the event, from 1.

    Raises:
        ConfigError: if there is no such event.
    """
    if not 1 <= number <= len(events):
        raise ConfigError(
            f"--event must be the number of an event, 1 to {len(events):,}. Received: {number}. See `anomaly detect`."
        )
    start, stop = events[number - 1].start, events[number - 1].stop
    while start and scores.flags[start - 1]:
        start -= 1
    while stop < len(scores) and scores.flags[stop]:
        stop += 1
    return start, stop


def with_dismissal(
    detector: Detector,
    series: TimeSeries,
    rows: tuple[int, int],
    *,
    reach: float = REACH,
    keep_rows: bool = False,
    scores: Scores | None = None,
    on_rows: OnRows | None = None,
) -> Bundle:
    """Return the state of a detector to which some rows are normal.

    Their scores count for the thresholds from now on, and events like those that overlap them are not raised. A threshold
    that came from further data or by hand keeps its value.

    Args:
        detector: a fitted detector, which stays as it is.
        series: the data with these rows.
        rows: the first one, and the one behind the last.
        reach: how far an event may be that is not raised; 0 mutes none.
        keep_rows: whether the rows themselves are kept with those around them that share a window with one, so that a training
            that goes on from the detector learns them; those of other events are left out.
        scores: of the series, by the detector; None: they are computed.
        on_rows: as for `Detector.score`.

    Raises:
        DataError: if none of the rows has a score, or the series is refused by `score`.
        ConfigError: if the rows are dismissed already, or a detector would hold more than 256 stretches, a million rows, or 1,024
            events.
    """
    series, bundle = detector.taken(series), detector.bundle_
    scores = detector.score(series, on_rows=on_rows) if scores is None else scores
    of_rows = _by_aggregation(detector, series, rows, on_rows)
    if not np.isfinite(of_rows).any():
        raise DataError(
            f"A dismissed stretch must have a row with a score. Received: rows {rows[0]} to {rows[1] - 1} of {len(series):,}, "
            f"without one ({series.name}). Name others."
        )
    before = bundle.dismissed or Dismissals.none(bundle.columns, bundle.context.n_judged)
    none = Signatures.of(bundle.judged_columns, [], reach)
    if bundle.time_column is not None:
        _refuse_again(before, series.times[slice(*rows)])
    times, by_name = series.times[slice(*rows)], dict(zip(AGGREGATIONS, of_rows, strict=True))
    try:
        counted = recalibrated(replace(bundle, dismissed=before.and_one(times, by_name, none)), {})
        signatures = none if reach == 0 else _signatures(detector, scores, rows, reach, counted)
        kept = _rows_to_train_on(detector, series, scores, rows) if keep_rows else None
        after = before.and_one(times, by_name, signatures, kept)
    except ValueError as error:
        raise ConfigError(f"A detector holds only so much that is dismissed. Received: {error}. Train on such rows.") from error
    return replace(counted, dismissed=after)


def _by_aggregation(detector: Detector, series: TimeSeries, rows: tuple[int, int], on_rows: OnRows | None) -> Floats:
    """Return the scores of some rows by every aggregation, `(n_aggregations, n)`; what lies behind them is not scored."""
    parts: list[Floats] = []
    for found in pushed(detector.row_scorer(*AGGREGATIONS), series.times, series.values, on_rows):
        parts.append(found.score)
        if sum(part.shape[1] for part in parts) >= rows[1]:
            break
    return np.concatenate(parts, axis=1)[:, slice(*rows)]


def _refuse_again(before: Dismissals, times: Ints) -> None:
    """Refuse rows that are dismissed already: their scores would count twice."""
    for number, (own, _) in enumerate(before.parts(AGGREGATIONS[0]) if len(before) else [], start=1):
        if np.isin(times, own).all():
            raise ConfigError(
                f"Rows are dismissed once. Received: {len(times):,} that are dismissed already, as number {number} of "
                f"`anomaly inspect`. Name others, or take that back first with --undo {number}."
            )


def _rows_to_train_on(detector: Detector, series: TimeSeries, scores: Scores, rows: tuple[int, int]) -> tuple[Ints, Floats]:
    """Return times and values of some rows and of those that share a window with one; those of other events are missing."""
    reach = detector.window_size_ - 1
    first, stop = max(0, rows[0] - reach), min(len(series), rows[1] + reach)
    values = series.values.astype(np.float64)
    for event in detector.detect(scores):
        if event.stop <= rows[0] or event.start >= rows[1]:
            values[event.start : event.stop] = np.nan
    return series.times[first:stop], values[first:stop]


def _signatures(detector: Detector, scores: Scores, rows: tuple[int, int], reach: float, counted: Bundle) -> Signatures:
    """Return the signatures of the events that overlap some rows: cut by the threshold before, by that after, and by higher ones.

    A higher cut leaves less of an event, which may then be unlike what was dismissed.
    """
    cuts = (scores.threshold, counted.thresholds[detector.aggregation_name(None)].value)
    found: list[EventLike] = []
    for cut in cuts:
        found += _unlike(found, detector.detect(scores, threshold=cut), rows, counted, reach)
    first, stop = max(0, rows[0] - _AROUND * detector.window_size_), rows[1] + _AROUND * detector.window_size_
    near, own = scores[first:stop], (rows[0] - first, rows[1] - first)
    peak = float(np.nanmax(scores.score[slice(*rows)]))
    cut = max(cuts) * _HIGHER
    while cut < peak and len(found) < _MOST_SIGNATURES:
        found += _unlike(found, detector.detect(near, threshold=cut), own, counted, reach)
        cut *= _HIGHER
    return Signatures.of(counted.judged_columns, found, reach)


def _unlike(
    found: list[EventLike], events: Sequence[EventLike], rows: tuple[int, int], counted: Bundle, reach: float
) -> list[EventLike]:
    """Return the events that overlap some rows and are unlike those that were found."""
    new: list[EventLike] = []
    for event in events:
        overlaps = event.start < rows[1] and event.stop > rows[0]
        if overlaps and not Signatures.of(counted.judged_columns, [*found, *new], reach).hold(event):
            new.append(event)
    return new


def without_dismissal(bundle: Bundle, number: int) -> Bundle:
    """Return the state of a detector without a dismissed stretch; a threshold from the stored scores is set anew.

    Args:
        bundle: the state.
        number: of the stretch, from 1, as `anomaly inspect` lists them.

    Raises:
        ConfigError: if there is no such stretch.
    """
    n = 0 if bundle.dismissed is None else len(bundle.dismissed)
    if bundle.dismissed is None or not 1 <= number <= n:
        known = f"1 to {n}" if n else "and this detector has none"
        raise ConfigError(f"--undo must be the number of a dismissed stretch, {known}. Received: {number}. See `anomaly inspect`.")
    left = bundle.dismissed.without(number - 1)
    return recalibrated(replace(bundle, dismissed=left if len(left) else None), {})
