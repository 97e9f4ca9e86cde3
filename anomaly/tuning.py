"""Cuts chosen on further data: with labels, or without them on data that may hold anomalies."""

from collections.abc import Sequence

import numpy as np

from anomaly.alarms import AlarmCurve, EventRules
from anomaly.conformal import discoveries, p_values
from anomaly.errors import ConfigError, DataError
from anomaly.series import Floats, Ints

Range = tuple[int, int]
_MOST_CUTS = 400


def best_f_beta(
    score: Floats, times: Ints, known: Sequence[Range], rules: EventRules, beta: float = 1.0, slack: int = 0
) -> tuple[float, float]:
    """Return the cut with the best F-beta over events, and that F-beta; see `f_beta`.

    F can only change where an event appears or grows, so the cuts halfway between such places are tried: all, or some
    400 of them, the higher the denser. Of equally good ones the one with most room around it is taken.

    Args:
        score: `(n,)`, NaN where there is none.
        times: `(n,)`, as in `TimeSeries`.
        known: half-open row ranges of the known events.
        rules: from flagged rows to events; `direction` and `cool_down` are not looked at.
        beta: how much more recall counts than precision, above 0.
        slack: rows by which an event may lie beside a known one.

    Raises:
        ConfigError: if `beta` is not above 0.
        DataError: if there is no known event with a score.
    """
    if not beta > 0:
        raise ConfigError(f"`beta` must be above 0. Received: beta={beta:g}.")
    scored = [(a, b) for a, b in known if np.isfinite(score[a:b]).any()]
    if not scored:
        raise DataError(f"Labels must mark at least one event among the rows with a score. Received: {len(known)} without.")
    curve = AlarmCurve(score, times, rules)
    gaps = _gaps(curve.heights())
    if not gaps:  # no event is long enough at any cut
        return float(np.nanmax(score)), 0.0
    values = [f_beta(curve.events((low + high) / 2), scored, len(score), beta, slack) for low, high in gaps]
    equally_good = [gap for gap, value in zip(gaps, values, strict=True) if value == max(values)]
    low, high = max(equally_good, key=lambda gap: gap[1] / (gap[0] + gap[1]))
    return (low + high) / 2, max(values)


def f_beta(found: Sequence[Range], known: Sequence[Range], n_rows: int, beta: float = 1.0, slack: int = 0) -> float:
    """Return F-beta over events, 0 if none is right.

    F = (1 + beta^2) * precision * recall / (beta^2 * precision + recall) (van Rijsbergen 1979, ch. 7). A found event is
    right if it touches a known one and at least half of its rows lie in known ones or within `slack` rows of one;
    touching alone would call a single event over the whole series right. Precision is the share of found events that
    are right, recall the share of known events that a right one touches.

    Args:
        found: half-open row ranges.
        known: half-open row ranges, at least one.
        n_rows: rows of the series.
        beta: how much more recall counts than precision, above 0.
        slack: rows by which an event may lie beside a known one.
    """
    if not found:
        return 0.0
    starts, stops = np.array(found).T
    inside, near = _rows_before(known, n_rows, 0), _rows_before(known, n_rows, slack)
    right = (inside[stops] > inside[starts]) & (2 * (near[stops] - near[starts]) >= stops - starts)
    if not right.any():
        return 0.0
    touched = _rows_before([(a, b) for (a, b), is_right in zip(found, right, strict=True) if is_right], n_rows, 0)
    precision, recall = right.mean(), np.mean([touched[b] > touched[a] for a, b in known])
    return float((1 + beta**2) * precision * recall / (beta**2 * precision + recall))


def _rows_before(ranges: Sequence[Range], n_rows: int, slack: int) -> Ints:
    """Count, for every row and the one after the last, the rows before it that lie in one of the ranges, `(n_rows + 1,)`."""
    inside = np.zeros(n_rows, np.bool_)
    for start, stop in ranges:
        inside[max(0, start - slack) : stop + slack] = True
    return np.append(0, np.cumsum(inside))


def discovery_cut(calibration: Floats, score: Floats, rate: float, spacing: int) -> tuple[float, bool]:
    """Return the cut that keeps the expected share of false ones among the flagged rows of `score` within `rate`.

    Needs no labels. The p-values of every `spacing`-th row of `score` against `calibration` go through Benjamini and
    Yekutieli's procedure; the cut is just below the lowest score it rejects. It is then fixed, like any other: it does
    not move with the rows that are scored later.

    Args:
        calibration: scores of normal rows, `(n,)` finite, see `anomaly.conformal.spaced`.
        score: scores of data as it comes, with whatever anomalies it has, `(m,)`, NaN where there is none.
        rate: false-discovery rate, above 0 and below 1.
        spacing: the window size, so that no two rows taken share a window.

    Returns:
        The cut, and whether anything was rejected; if not the cut is the highest score of both.
    """
    if not 0 < rate < 1:
        raise ConfigError(f"The rate of false discoveries must be above 0 and below 1. Received: {rate:g}.")
    taken = score[::-1][::spacing]
    rejected = discoveries(p_values(calibration, taken), rate)
    if not rejected.any():
        return float(np.nanmax(np.concatenate([calibration, score]))), False
    return float(np.nextafter(taken[rejected].min(), -np.inf)), True


def _gaps(changes: Floats) -> list[tuple[float, float]]:
    """Return neighbouring places of change, lower and upper, for all or for some 400, the higher the denser."""
    places = np.unique(np.append(0.0, changes))[::-1]
    if len(places) < 2:
        return []
    chosen = np.unique(np.geomspace(1, len(places) - 1, _MOST_CUTS).round().astype(int))
    return [(float(places[i]), float(places[i - 1])) for i in chosen]
