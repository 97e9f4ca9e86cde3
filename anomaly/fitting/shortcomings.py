"""What a training series lacks: too short, too long a period, a trend, features that say nothing, odd or uneven rows.

Nothing here refuses a series. Each sentence names what cannot be relied on, and what would mend it.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from anomaly.bundle.bundle import Bundle
from anomaly.bundle.header import MOST_NOTES
from anomaly.errors import shorten
from anomaly.fitting.set_aside import SetAside
from anomaly.scoring.row_scores import RowScores
from anomaly.series import MICROSECONDS_A_DAY, Bools, Floats, TimeSeries, format_time, other_pace, segments
from anomaly.thresholds.calibration import rates_by_part
from anomaly.windowing.context import PERIODS
from anomaly.windowing.missing import fill_missing, unjudged_shares
from anomaly.windowing.missing_rows import fill_series
from anomaly.windowing.unjudged import Unjudged
from anomaly.windowing.wild_cells import FACTOR
from anomaly.windowing.windows import NEARLY, clear_period, starts_in, strong_periods

# Fewer windows one after the other, or fewer rows, are little to learn from, or to take a threshold from.
FEWEST_WINDOWS, FEWEST_ROWS = 5, 300
# A value that fills such a share of a feature makes it nearly constant.
NEARLY_CONSTANT = 0.99
# A feature that never falls only rises, if it has so many values and such a share of its steps go up.
_FEWEST_VALUES, _LEAST_RISES = 50, 0.1
RISING = "only rising"
# A history drifts if the medians of so many parts of it, each of so many values, only go up or only down, and so many times
# as far as the values of a part vary. Of red noise (.99 from row to row) no series in 150 does, of random walks one in ten.
_PARTS, _FEWEST_OF_A_PART, LEAST_TREND = 6, 20, 1.0
# Between these shares of its values a normal distribution has so many sigmas.
_MIDDLE, _SIGMAS = (0.1, 0.9), 2.56
# Among more features a score that is a mean over them all no longer shows one that is wrong alone.
MOST_WATCHED = 100
# Training rows are told of where a larger share of them lies above the threshold.
MOST_ANOMALOUS = 0.01
# A training row so many thresholds high is no chance.
HIGH_ALARM = 1.5
# So are held-out rows of which one is so many thresholds high, or a larger share above it, in however few alarms.
HIGHEST_HELD_OUT, MOST_ABOVE = 3.0, 0.1
# A promise that is extrapolated from fewer windows is a rough one, and so is one that a part of the history breaks so many times.
FEW_WINDOWS, MOST_BROKEN = 10, 4.0
# Periods are looked for in so many means of rows, at least so many in a window, of so many features.
_MOST_MEANS, _MEANS_A_WINDOW, _MOST_FEATURES = 6_000, 16, 64
_LARGEST_WINDOW = 10_000
# A day or a week, within a fiftieth; so many times stronger than a shorter period is such a one, and any other.
_CALENDAR, _NEAR = (MICROSECONDS_A_DAY, 7 * MICROSECONDS_A_DAY), 0.02
_STRONGER, _MUCH_STRONGER, _LEAST_SEEN = 1.05, 1.25, 3
# A period of fewer rows is lost.
_LEAST_A_PERIOD = 8
# A smaller share of rows is none, as kept with four digits.
_LEAST_TOLD = 0.0001
# A note stays short whatever the columns are called.
_LONGEST_NAME = 40
# Steps to resample to, seconds: what divides a minute, an hour or a day.
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, 86_400)


def with_notes(
    bundle: Bundle,
    series: TimeSeries,
    aside: SetAside,
    wild: Sequence[tuple[str, int, float]] = (),
    begun: Sequence[str] = (),
) -> Bundle:
    """Return a bundle whose training summary says what the series lacks: `notes`, `unjudged`, `rising`; absent where it is nothing.

    Args:
        bundle: the detector, with its thresholds.
        series: what it was trained on, in order, the held-out rows included.
        aside: rows that are no example of what is normal.
        wild: column, row and value of cells that count as missing, see `wild_cells`.
        begun: features that stand still in the training rows and move in the held-out ones.
    """
    found = [_wild(wild), _paces(bundle, series), _history(bundle, series), _period(bundle, series)]
    found += [_features(series), _trend(series), _width(bundle, series)]
    found += [_begun(begun), _changed(bundle, series), _set_aside(bundle, series, aside)]
    found += [_anomalous_rows(bundle), _high_rows(bundle), _promise(bundle)]
    notes, unjudged = [sentence for sentence in found if sentence][:MOST_NOTES], _unjudged(bundle, series)
    rising = [name for name in series.columns if kind_of(known_of(series, name)) == RISING]
    told = {"notes": notes, "unjudged": unjudged, "rising": rising}
    told = {name: found for name, found in told.items() if found}
    return replace(bundle, training=bundle.training | told) if told else bundle


def _unjudged(bundle: Bundle, series: TimeSeries) -> dict[str, float]:
    """Return the share of the rows on which too much of a feature is missing, of features of which it is any."""
    if not np.isnan(series.values).any():
        return {}
    filled, _ = fill_series(series, bundle.row_step, bundle.longest_step)
    starts = starts_in(segments(filled.times, bundle.longest_step), bundle.window_size, 1)
    shares = unjudged_shares(filled.values, starts, bundle.window_size, bundle.config.windows.max_missing)
    return {name: round(share, 4) for name, share in zip(series.columns, shares.tolist(), strict=True) if share >= _LEAST_TOLD}


def unjudged_of(bundle: Bundle) -> Unjudged:
    """Return what counts the features of new rows that cannot be judged."""
    return Unjudged(bundle.judged_columns, bundle.training.get("unjudged", {}))


def notes_on_rows(bundle: Bundle, aggregation: str, series: TimeSeries, rows: RowScores) -> tuple[str, ...]:
    """Return what is to be said of rows that were scored: features without values or with few, and other rows than in training.

    Args:
        bundle: the detector.
        aggregation: how windows became scores.
        series: the rows; its columns may come in any order.
        rows: their scores, of a single aggregation.
    """
    values = series.of_columns(bundle.columns).values
    drift = bundle.drift(aggregation)
    drift.push(values=values, scores=rows.score[0], times=series.times)
    warning, silent = drift.result().warning, np.isnan(values).all(axis=0)
    mute = [bundle.columns[i] for i in np.flatnonzero(silent)]
    notes, unjudged = [f"Missing throughout: {shorten(mute)}."] if mute else [], unjudged_of(bundle)
    unjudged.take(rows.score[0], rows.by_feature[0])
    notes += [text] if (text := unjudged.text(mute)) else []
    remedy = drift.result().counting(bundle.training.get("rising", [])) or "if that is normal, train on a history that has seen it"
    return (*notes, *([f"Drift: {warning}; {remedy}."] if warning else []))


def _paces(bundle: Bundle, series: TimeSeries) -> str:
    found = other_pace(series.times, bundle.row_step, bundle.window_size) if bundle.row_step else None
    if found is None:
        return ""
    first, n, step = found
    when = format_time(int(series.times[first]), series.time_column)
    return (
        f"Several paces: {n:,} rows every {step / 1e6:g} s from {when} on, others every {bundle.step / 1e6:g} s. New rows at "
        "another pace are not refused. Resample the data if that is not meant."
    )


def _wild(cells: Sequence[tuple[str, int, float]]) -> str:
    if not cells:
        return ""
    column, row, value = cells[0]
    more = f" and {len(cells) - 1:,} more" * (len(cells) > 1)
    return (
        f"Wild cells: {value:g} in {column[:_LONGEST_NAME]!r} on row {row:,}{more}, {FACTOR:,.0f} times as far from the median as "
        "all others, counted as missing. Mend them, or train on a history that has more of them if they are normal."
    )


def _history(bundle: Bundle, series: TimeSeries) -> str:
    windows = len(series) / bundle.window_size
    if windows >= FEWEST_WINDOWS and len(series) >= FEWEST_ROWS:
        return ""
    remedy = "Give a longer history" + (", or a smaller --window-size." if windows < FEWEST_WINDOWS else ".")
    return (
        f"Short history: {len(series):,} rows are {windows:.1f} windows of {bundle.window_size}; fewer than {FEWEST_WINDOWS} "
        f"windows or {FEWEST_ROWS} rows are little to learn from. {remedy}"
    )


def _period(bundle: Bundle, series: TimeSeries) -> str:
    periods = [rows for rows in long_periods(bundle, series) if not _is_read(bundle, rows)]
    if not periods:
        return ""
    timed = bundle.time_column is not None
    named = " and every ".join(f"{rows:,} rows" + (f" ({_duration(rows * bundle.step)})" if timed else "") for rows in periods)
    wider = (
        f"Use --window-size {periods[0]:d}, or " if periods[0] <= min(_LARGEST_WINDOW, bundle.training["n_held_out_rows"]) else ""
    )
    short = [rows for rows, _ in short_period(_longest_stretch(bundle, series))]  # none where single rows are mostly noise
    remedy = wider + _coarser(bundle, periods[-1], min(short + periods))
    return (
        f"Long period: the series repeats every {named}, and a window has {bundle.window_size}, so what depends on the period "
        f"cannot be seen. {remedy[0].upper()}{remedy[1:]}."
    )


def _is_read(bundle: Bundle, rows: int) -> bool:
    """Tell whether the network reads where it stands in a period, so that a window need not hold it."""
    return any(abs(rows * bundle.step / period - 1) <= _NEAR for period in PERIODS[bundle.config.context.calendar])


def long_periods(bundle: Bundle, series: TimeSeries) -> list[int]:
    """Return the strong periods of a series that are longer than a window, rows, at most two; no mere multiples.

    Beside a shorter period a longer one is a day or a week that is stronger, or much stronger, seen three times: a multiple is as
    strong by chance. So it must be stronger than where rows are out of step with it, too.

    Args:
        bundle: the detector, for its window and its steps.
        series: what it was trained on, in order.
    """
    values = _longest_stretch(bundle, series)
    if not values.shape[1]:
        return []
    factor = max(1, min(-(-len(values) // _MOST_MEANS), bundle.window_size // _MEANS_A_WINDOW))
    means = values[: len(values) // factor * factor].reshape(-1, factor, values.shape[1]).mean(axis=1)
    found = [(rows * factor, height) for rows, height in strong_periods(means)]
    within = [period for period in (*short_period(values), *found[:1]) if period[0] <= bundle.window_size]
    long = [(rows, height) for rows, height in found if rows > bundle.window_size]
    if long and (within or len(long) > 1):
        shorter = within or long[:1]
        rows, height, clear = clear_period(means, long[-1][0] // factor)
        rows, first = rows * factor, max(height for _, height in shorter)
        calendar = bundle.time_column is not None and any(abs(rows * bundle.step / unit - 1) <= _NEAR for unit in _CALENDAR)
        seen = rows > bundle.window_size and _LEAST_SEEN * (rows - factor) <= len(values)
        told = seen and min(height / first, clear) >= (_STRONGER if calendar else _MUCH_STRONGER)
        long = ([] if within else long[:1]) + ([(rows, height)] if told else [])
    return [rows for rows, _ in long]


def short_period(values: Floats) -> list[tuple[int, float]]:
    """Return the shortest strong period and its height; none if there is none.

    Where a much longer one is stronger, a multiple of a short period, and not itself, may reach half of it by chance.

    Args:
        values: `(n_timesteps, n_features)`, without NaN.
    """
    some = values[: _MOST_MEANS * 2]
    return [clear_period(some, rows, NEARLY)[:2] for rows, _ in strong_periods(some)[:1]]


def _longest_stretch(bundle: Bundle, series: TimeSeries) -> Floats:
    """Return the rows of the longest segment without a missing value, of features that say something, `_MOST_FEATURES` at most."""
    telling = [i for i, cells in enumerate(series.values.T) if kind_of(cells[np.isfinite(cells)]) == ""]
    columns = telling[:: -(-len(telling) // _MOST_FEATURES)] if telling else []
    filled, _ = fill_series(series, bundle.row_step, bundle.longest_step)
    start, stop = max(segments(filled.times, bundle.longest_step), key=lambda rows: rows[1] - rows[0])
    values: Floats = fill_missing(filled.values[None, start:stop][:, :, columns])[0]
    return values


def _duration(microseconds: int) -> str:
    seconds = microseconds / 1e6
    for name, size in (("days", MICROSECONDS_A_DAY / 1e6), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.3g} seconds"


def _coarser(bundle: Bundle, longest: int, shortest: int) -> str:
    """Say how much coarser rows would be, of which two periods have room in a window of as many."""
    factor = max(2.0, 2 * longest / bundle.window_size)
    if bundle.time_column is None:
        n, told = -(-factor // 1), f"make one row of every {-(-factor // 1):,.0f}"
    else:
        wanted = factor * bundle.step / 1e6
        seconds = next((step for step in _STEPS if step >= wanted), None)
        n = (wanted if seconds is None else seconds) * 1e6 / bundle.step
        told = f"resample to a row every {_duration(int(wanted * 1e6)) if seconds is None else _step(seconds)}"
    if shortest > bundle.window_size or _LEAST_A_PERIOD * n <= shortest:
        return told
    return f"{told} for a second detector beside this one: what repeats every {shortest:,} rows would be lost in them"


def _step(seconds: int) -> str:
    name, size = next((pair for pair in (("hour", 3_600), ("minute", 60)) if seconds % pair[1] == 0), ("second", 1))
    return name if seconds == size else f"{seconds // size} {name}s"


def notes_before(series: TimeSeries) -> list[str]:
    """Return what is told of features before any training, but for constant ones: which only rise or hardly vary, a trend."""
    return [sentence for sentence in (_features(series, constant=False), _trend(series)) if sentence]


def _features(series: TimeSeries, *, constant: bool = True) -> str:
    """Name the features that say nothing of what is normal; not the constant ones where these are told elsewhere."""
    kinds: dict[str, list[str]] = {"constant": [], "nearly constant": [], RISING: []}
    for column in series.columns:
        kind = kind_of(known_of(series, column))
        if kind and (constant or kind != "constant"):
            kinds[kind].append(column)
    found = [f"{kind}: {shorten([name[:_LONGEST_NAME] for name in names], 3)}" for kind, names in kinds.items() if names]
    if not found:
        return ""
    remedy = "With --value-columns leave out what is no sensor, and give a counter as differences."
    return f"Features that teach little: {'; '.join(found)}. {remedy}"


def _trend(series: TimeSeries) -> str:
    """Name the features that have only gone up, or down, from one part of the history to the next."""
    moves = {name: trend_of(cells) for name, cells in zip(series.columns, series.values.T, strict=True) if _varies(cells)}
    found = sorted((name for name, move in moves.items() if abs(move) >= LEAST_TREND), key=lambda name: -abs(moves[name]))
    if not found:
        return ""
    first, way = found[0][:_LONGEST_NAME], "up" if moves[found[0]] > 0 else "down"
    return (
        f"Trend: {shorten([name[:_LONGEST_NAME] for name in found], 3)}. From sixth to sixth of the history {first!r} "
        f"goes {way}, in all {abs(moves[found[0]]):.2g} times as far as it varies within one: rows that go on so will be flagged. "
        "Give the feature as differences or without its trend, or train anew, with --from, as it goes on."
    )


def _varies(cells: Floats) -> bool:
    """Tell whether a feature says something, which is told for itself where it does not."""
    return kind_of(cells[np.isfinite(cells)]) == ""


def trend_of(cells: Floats) -> float:
    """Return how far a feature has gone up in the course of its history, in standard deviations within a part of it; else 0.

    Args:
        cells: `(n,)` in the order of time; NaN = missing.
    """
    parts = [part[np.isfinite(part)] for part in np.array_split(cells, _PARTS)]
    if min(map(len, parts)) < _FEWEST_OF_A_PART:
        return 0.0
    steps = np.diff([np.median(part) for part in parts])
    if not ((steps > 0).all() or (steps < 0).all()):
        return 0.0
    low, high = np.transpose([np.quantile(part, _MIDDLE) for part in parts])
    spread = float(np.median(high - low)) / _SIGMAS
    return float(steps.sum()) / spread if spread > 0 else 0.0


def known_of(series: TimeSeries, column: str) -> Floats:
    """Return the finite values of a feature, in the order of time."""
    cells: Floats = series.values[:, series.columns.index(column)]
    return cells[np.isfinite(cells)]


def kind_of(cells: Floats) -> str:
    """Tell whether a feature is "constant", "nearly constant", "only rising", or none of these, "".

    Args:
        cells: `(n,)` finite values in the order of time.
    """
    if not len(cells):
        return ""
    _, counts = np.unique(cells, return_counts=True)
    if len(counts) == 1:
        return "constant"
    if counts.max() >= NEARLY_CONSTANT * len(cells):
        return "nearly constant"
    steps = np.diff(cells)
    rises = len(cells) >= _FEWEST_VALUES and (steps >= 0).all() and (steps > 0).mean() >= _LEAST_RISES
    return RISING if rises else ""


def _width(bundle: Bundle, series: TimeSeries) -> str:
    if series.n_features <= MOST_WATCHED or bundle.recipe is not None:  # whose odd terms watch them one by one
        return ""
    return (
        f"Many features: {series.n_features:,}; among more than {MOST_WATCHED} one that is wrong alone is diluted in the score. "
        "Leave out --nearest-windows 0, or train detectors of groups of them with --value-columns."
    )


def _begun(names: Sequence[str]) -> str:
    """Name the features of which nothing is learnt but that they move."""
    if not names:
        return ""
    return (
        f"Begun late: {shorten([name[:_LONGEST_NAME] for name in names], 3)}. Constant in the rows that train, moving in those "
        "held out: how it moves is not learnt, its scale is that of all rows, and the threshold comes from the few rows since. "
        "Give a history in which it moves earlier, or leave it out with --value-columns."
    )


def _changed(bundle: Bundle, series: TimeSeries) -> str:
    """Say in which held-out rows a feature is another that was constant before."""
    first = len(series) - bundle.training["n_held_out_rows"]
    scaler = bundle.scaler.first(series.n_features)
    rows = {i: np.flatnonzero(replace(scaler, constant=(i,)).changed(series.values)) for i in scaler.constant}
    rows = {i: found for i, found in rows.items() if len(found) and found[0] >= first}
    if not rows:
        return ""
    every = np.unique(np.concatenate(list(rows.values())))
    start, stop = (format_time(int(series.times[i]), bundle.time_column) for i in (every[0], every[-1]))
    return (
        f"Changed constants: {shorten([series.columns[i][:_LONGEST_NAME] for i in rows], 3)}, on {len(every):,} held-out rows from "
        f"{start} to {stop}. They set no threshold, and rows like them will be flagged. If they are normal, give a longer history."
    )


def _set_aside(bundle: Bundle, series: TimeSeries, aside: SetAside) -> str:
    """Say which rows are no example of what is normal."""
    n_rows = [int(((series.times >= first) & (series.times <= last)).sum()) for first, last in aside.stretches.tolist()]
    if not n_rows:
        return ""
    first, last = (format_time(time, bundle.time_column) for time in aside.stretches[int(np.argmax(n_rows))].tolist())
    longest = "" if len(n_rows) == 1 else f"{max(n_rows):,} of them "
    return (
        f"Set aside: {sum(n_rows):,} rows that are unlike all others, {longest}from {first} to {last}, are no example "
        "of what is normal. If they are, there will be false alarms where they come again; use --set-aside none."
    )


def _anomalous_rows(bundle: Bundle) -> str:
    own = bundle.config.scoring.aggregation
    n_training = len(bundle.calibration_times) - bundle.training["n_held_out_rows"]
    flags: Bools = bundle.calibration_scores[own][:n_training] > bundle.thresholds[own].value
    n_flagged = int(flags.sum())
    if n_flagged <= MOST_ANOMALOUS * n_training:
        return ""
    rows = np.flatnonzero(flags)
    pieces = np.split(rows, np.flatnonzero(np.diff(rows) > bundle.window_size) + 1)
    if _are_promised(bundle, len(pieces), n_training):
        return ""
    most = max(pieces, key=len)
    first, last = (format_time(int(bundle.calibration_times[i]), bundle.time_column) for i in (most[0], most[-1]))
    return (
        f"Anomalies in training: {n_flagged:,} of {n_training:,} training rows ({n_flagged / n_training:.1%}) lie above the "
        f"threshold themselves, {len(most):,} of them from {first} to {last}. "
        "Look at them with `anomaly detect`; its events as CSV, given to `anomaly train --exclude`, are left out of a training."
    )


def _high_rows(bundle: Bundle) -> str:
    """Say where held-out rows, which stretch the units and the threshold, are so high that they may be no example."""
    own = bundle.config.scoring.aggregation
    threshold, scores = bundle.thresholds[own], bundle.calibration_scores[own]
    first = len(scores) - bundle.training["n_held_out_rows"]
    held_out, n_held_out = scores[first:], int(np.isfinite(scores[first:]).sum())
    high, most = np.flatnonzero(held_out > threshold.value), np.nanmax(held_out) / threshold.value
    if not len(high) or (most <= HIGHEST_HELD_OUT and len(high) <= MOST_ABOVE * n_held_out):
        return ""
    start, stop = (format_time(int(bundle.calibration_times[first + i]), bundle.time_column) for i in (high[0], high[-1]))
    return (
        f"High held-out rows: {len(high):,} of {n_held_out:,} ({len(high) / n_held_out:.1%}), from {start} to {stop}, lie above "
        f"the threshold, the highest at {most:.3g} times it. They make the detector less sensitive; where they are no example of "
        "what is normal, leave them out with `anomaly train --exclude`."
    )


def _are_promised(bundle: Bundle, n_alarms: int, n_training: int) -> bool:
    """Tell whether training rows have no more alarms than the threshold lets through (and two deviations of chance), no high one.

    One alarm takes many rows where windows are long beside the history: their share says nothing then.
    """
    own = bundle.config.scoring.aggregation
    threshold = bundle.thresholds[own]
    promised = threshold.expected * n_training / 1000
    highest = np.nanmax(bundle.calibration_scores[own][:n_training])
    return bool(n_alarms <= promised + 2 * np.sqrt(promised) and highest <= HIGH_ALARM * threshold.value)


def _promise(bundle: Bundle) -> str:
    """Say where more false alarms may come than the threshold promises: few windows, or parts of the history that differ."""
    own = bundle.config.scoring.aggregation
    threshold, calibration = bundle.thresholds[own], bundle.calibration(own)
    n_windows = threshold.n_scores / bundle.window_size
    if threshold.expected <= 0 or n_windows < FEWEST_WINDOWS:  # which is told already
        return ""
    if n_windows < FEW_WINDOWS:
        told = f"{np.floor(10 * n_windows) / 10:.1f} windows of {bundle.window_size} rows; from fewer than {FEW_WINDOWS}"
        rough = f"Rough threshold: it is extrapolated from {told} there may be several times as many false alarms as expected."
        return "" if threshold.reached else f"{rough} Give a longer history."
    rows, rate = max(rates_by_part(calibration, threshold.value), key=lambda part: part[1], default=(slice(0), 0.0))
    if rate <= MOST_BROKEN * threshold.expected:
        return ""
    first, last = (format_time(int(calibration.times[i]), bundle.time_column) for i in (rows.start, rows.stop - 1))
    return (
        f"Uneven history: where rows are as from {first} to {last}, false alarms come {rate / threshold.expected:.0f} times "
        "as often as expected. Give a longer history, or set a higher threshold."
    )
