"""Cuts chosen on further data: with labels, or without them on data that may hold anomalies."""

import math
from collections.abc import Sequence

import numpy as np

from anomaly.errors import ConfigError, DataError
from anomaly.events.alarms import AlarmCurve, EventRules
from anomaly.series import Floats, Ints
from anomaly.thresholds.conformal import discoveries

Range = tuple[int, int]
MOST_BETA = 1_000
_MOST_CUTS = 400


def best_f_beta(
    score: Floats, times: Ints, known: Sequence[Range], rules: EventRules, beta: float = 1.0, slack: int = 0
) -> tuple[float, float]:
    """Return the cut with the best F-beta over events, and that F-beta; see `f_beta`.

    Without `min_severity` F can only change where an event appears or grows, so the cuts halfway between such places are
    tried: all, or some 400 of them, the higher the denser. Of the stretches where F is best the widest is taken, as a
    ratio, and its geometric middle.

    Args:
        score: `(n,)`, NaN where there is none.
        times: `(n,)`, as in `TimeSeries`.
        known: half-open row ranges of the known events.
        rules: from flagged rows to events; `direction` and `cool_down` are not looked at.
        beta: how much more recall counts than precision, above 0 and at most 1,000.
        slack: rows by which an event may lie beside a known one.

    Raises:
        ConfigError: if `beta` is out of its range.
        DataError: if there is no known event with a score, or none is found at any cut.
    """
    if not 0 < beta <= MOST_BETA:
        raise ConfigError(f"`beta` must be above 0 and at most {MOST_BETA:,}. Received: beta={beta:g}.")
    scored = [(a, b) for a, b in known if np.isfinite(score[a:b]).any()]
    if not scored:
        told = f"{len(known)} labelled events, none of them with a score" if known else "none"
        raise DataError(
            f"Labels must mark at least one event among the rows with a score. Received: {told}. Use data that hold a known event."
        )
    others = np.isfinite(score)
    for a, b in scored:
        others[a:b] = False
    if not others.any():
        raise DataError(
            "Labels must leave rows with a score that are in no event. Received: labels on all. Check that 1 means an event."
        )
    curve = AlarmCurve(score, times, rules)
    gaps = _gaps(curve.heights())
    values = [f_beta(curve.events((low + high) / 2), scored, len(score), beta, slack) for low, high in gaps]
    best = max(values, default=0.0)
    if best == 0:
        raise DataError(
            "At some threshold a labelled event must be found. Received: "
            f"{len(scored)} labelled events, and none of them is what the scores are high at. Check the labels and the event rules."
        )
    stretches: list[tuple[float, float]] = []
    for number, ((low, high), value) in enumerate(zip(gaps, values, strict=True)):  # from the highest cut down
        if value == best and number and values[number - 1] == best:
            stretches[-1] = (low, stretches[-1][1])
        elif value == best:
            stretches.append((low, high))
    low, high = max(stretches, key=lambda ends: ends[1] / ends[0])
    return math.sqrt(low * high), best


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


def discovery_cut(p: Floats, score: Floats, rate: float, spacing: int) -> float | None:
    """Return the cut that keeps the expected share of false ones among the flagged rows of `score` within `rate`.

    Needs no labels. The p-values of every `spacing`-th row go through Benjamini and Hochberg's procedure; the cut is just
    below the lowest score it rejects. It is then fixed, like any other: it does not move with the rows that are scored
    later.

    Args:
        p: p-values of data as it comes, with whatever anomalies it has, `(m,)`, NaN where there is none.
        score: the scores behind them, `(m,)`.
        rate: false-discovery rate, above 0 and below 1.
        spacing: the window size, so that no two rows taken share a window.

    Returns:
        The cut; None if nothing is rejected.

    Raises:
        ConfigError: if `rate` is out of its range.
    """
    if not 0 < rate < 1:
        raise ConfigError(f"The rate of false discoveries must be above 0 and below 1. Received: {rate:g}.")
    rejected = discoveries(p[::-1][::spacing], rate, dependent=False)
    if not rejected.any():
        return None
    return float(np.nextafter(score[::-1][::spacing][rejected].min(), -np.inf))


def _gaps(changes: Floats) -> list[tuple[float, float]]:
    """Return neighbouring places of change, lower and upper, for all or for some 400, the higher the denser."""
    places = changes[changes > 0][::-1]
    if len(places) < 2:
        return []
    chosen = np.unique(np.geomspace(1, len(places) - 1, _MOST_CUTS).round().astype(int))
    return [(float(places[i]), float(places[i - 1])) for i in chosen]
