"""A picture of a series, its scores, the threshold and the events."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from anomaly.drawing import BLUE, GREY, RED, draw_line, new_figure
from anomaly.events.event import Event
from anomaly.scoring.scores import Scores
from anomaly.series import (
    TimeSeries,
    breaks_between,
    labelled_ranges,
    longest_step,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_MOST_PANELS = 6


def plot_scores(series: TimeSeries, scores: Scores, events: list[Event], *, known: list[tuple[int, int]] | None = None) -> "Figure":
    """Draw the series, its scores, the threshold and the events.

    Args:
        series: what was scored; at most six features are drawn, those with the largest scores.
        scores: of the same rows.
        events: found in them.
        known: half-open row ranges of labelled events; default: those of `series.labels`, if it has any.

    Raises:
        ConfigError: if matplotlib is not installed.
    """
    series, x = series.of_columns(scores.columns), series.stamps
    broken = np.append(breaks_between(series.times, longest_step(series.times, "auto")), False)
    features = features_to_draw(scores)
    heights = [*[2.0] * len(features), 1.6]
    figure, axes = new_figure(heights)
    for axis, feature in zip(axes, features, strict=False):
        draw_line(axis, x, series.values[:, feature], broken, BLUE)
        axis.set_ylabel(series.columns[feature], parse_math=False)
    draw_line(axes[-1], x, scores.score, broken, GREY)
    axes[-1].set_yscale("log")
    axes[-1].axhline(scores.threshold, color=RED, linewidth=1, linestyle="--", label=f"threshold {scores.threshold:.3g}")
    axes[-1].set_ylabel("score")
    known = labelled_ranges(series) if known is None else known
    for axis in axes:  # a range of one row has no width but that of its line
        for i, event in enumerate(events):
            label = "event found" if i == 0 else None
            axis.axvspan(x[event.start], x[event.stop - 1], color=RED, alpha=0.18, linewidth=1, label=label)
        for i, (start, stop) in enumerate(known):
            label = "labelled" if i == 0 else None
            axis.axvspan(x[start], x[stop - 1], ymin=0.96, color="black", alpha=0.7, linewidth=1, label=label)
    figure.legend(handles=axes[-1].get_legend_handles_labels()[0], loc="outside upper right", ncols=3, frameon=False)
    return figure


def features_to_draw(scores: Scores, most: int = _MOST_PANELS) -> list[int]:
    """Return the `most` features that contribute most to the flagged rows, or to all if none is flagged."""
    rows = scores.flags if scores.flags.any() else np.isfinite(scores.score)
    order = np.argsort(-np.nan_to_num(scores.by_feature[rows]).sum(axis=0), kind="stable")
    return [int(i) for i in order[:most]]


def plot_rows(series: TimeSeries, scores: Scores, events: list[Event], start: int, stop: int) -> tuple["Figure", int]:
    """Draw some of the rows; return the picture, and how many events lie in it, whole or in part.

    Args:
        series: what was scored.
        scores: of the same rows.
        events: found in them.
        start: the first row to draw.
        stop: the one behind the last.

    Raises:
        ConfigError: if matplotlib is not installed.
    """
    drawn = events_within(events, start, stop)
    return plot_scores(series[start:stop], scores[start:stop], drawn), len(drawn)


def events_within(events: Sequence[Event], start: int, stop: int) -> list[Event]:
    """Return what lies of some events in a range of rows, by the numbers that these have in it.

    Args:
        events: of a series.
        start: the first row of the range.
        stop: the one behind the last.
    """
    return [
        replace(event, start=max(event.start, start) - start, stop=min(event.stop, stop) - start)
        for event in events
        if event.start < stop and event.stop > start
    ]


def around(event: Event, window_size: int, n_rows: int) -> tuple[int, int]:
    """Return the rows of an event with as many before and behind it, two windows at least, half-open.

    Args:
        event: the event.
        window_size: rows.
        n_rows: of the series.
    """
    margin = max(len(event), 2 * window_size)
    return max(0, event.start - margin), min(n_rows, event.stop + margin)
