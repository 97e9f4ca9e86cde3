"""Files that are pieces of one series: they follow one another, as a logger leaves them that writes a file a day.

Taken for a series each, they would be trained on apart, and what comes tomorrow would be a series that nobody has heard of.
Machines that are watched at the same time overlap. Pieces hardly do, whatever they are called: one goes on where another ends,
or they begin at a beat, such as every morning, of which some days may be lost.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from anomaly.errors import AnomalyError, DataError
from anomaly.ingest.reading import read_csv
from anomaly.series import STEP_TOLERANCE, longest_step, median_step
from anomaly.sources.inputs import STANDARD_INPUT, Input

# Of the shorter of two pieces so much may lie in the other, as a share.
_MOST_OVERLAP = 0.1
# Of the pairs of files so many, as a share, may be none that follow one another.
_MOST_OTHER = 0.2
# Of so many files some may be lost between others; of fewer all must touch.
_FEWEST_AT_A_BEAT = 4
# Files begin at a beat if the times between them are whole numbers of it, within this share of it.
_OFF_BEAT = 0.05


class _Span(NamedTuple):
    name: str
    columns: tuple[str, ...]
    first: int
    last: int
    step: int
    longest: int


def refuse_pieces(inputs: Sequence[Input], reading: Mapping[str, Any]) -> None:
    """Refuse inputs that hardly overlap and go on from one another at the same pace, in the order of their times.

    Args:
        inputs: at least one; one alone is no piece. Of many, few more are read than it takes to find that they overlap.
        reading: how they are read, by the names of `read_csv`.

    Raises:
        DataError: if they are pieces of one series. What else is wrong with them is left to those who train on them.
    """
    if len(inputs) < 2 or inputs[0].path == STANDARD_INPUT:
        return
    spans: list[_Span] = []
    for n_read, item in enumerate(inputs, 1):
        try:
            span = _span_of(item, reading)
        except AnomalyError:
            span = None
        spans += [] if span is None else [span]
        if n_read & (n_read - 1) == 0 and _n_other(spans, n_read) > _allowed(max(n_read, _FEWEST_AT_A_BEAT + 1)):
            return
    spans.sort(key=lambda span: span.first)
    if _n_other(spans, len(inputs)) > _allowed(len(inputs)) or (first := _that_go_on(spans)) is None:
        return
    raise DataError(
        "Each file must hold a series of its own. "
        f"Received: {len(inputs):,} files that go on from one another, such as {first[1].name} after {first[0].name}. "
        "If they are pieces of one series, join them into one file; if not, train with --per-series."
    )


def _span_of(item: Input, reading: Mapping[str, Any]) -> _Span | None:
    options = {name: value for name, value in reading.items() if name != "rejects"}
    series = read_csv(item.path, **options)
    if series.time_column is None or len(series) < 2:
        return None
    times = np.sort(series.times)  # some have the newest row first
    step, longest = median_step(times), longest_step(times, "auto")
    return _Span(item.name, series.columns, int(times[0]), int(times[-1]), step, longest)


def _n_other(spans: Sequence[_Span], n_read: int) -> int:
    """Return how many files of those that were read have no times, overlap the one before, or are of another kind than it."""
    ordered = sorted(spans, key=lambda span: span.first)
    return n_read - len(spans) + sum(not _may_follow(before, after) for before, after in pairwise(ordered))


def _allowed(n_files: int) -> float:
    """Return how many of so many files may be other than pieces, such as copies."""
    return max(_MOST_OTHER * (n_files - 1), 1) if n_files > _FEWEST_AT_A_BEAT else 0


def _may_follow(before: _Span, after: _Span) -> bool:
    """Tell whether two have the same columns, about the same step, and hardly a time in common."""
    alike = before.columns == after.columns and 1 / STEP_TOLERANCE <= after.step / before.step <= STEP_TOLERANCE
    shorter = min(before.last - before.first, after.last - after.first)
    return alike and before.last - after.first <= max(_MOST_OVERLAP * shorter, 0)


def _that_go_on(spans: Sequence[_Span]) -> tuple[_Span, _Span] | None:
    """Return two of which one goes on where the other ends, or at the next beat; None if too few of the files do."""
    pairs = [pair for pair in pairwise(spans) if _may_follow(*pair)]
    touching = [(before, after) for before, after in pairs if after.first - before.last <= before.longest]
    if len(touching) == len(spans) - 1 > 0:
        return touching[0]
    if len(spans) < _FEWEST_AT_A_BEAT:
        return None
    if len(touching) >= (1 - _MOST_OTHER) * (len(spans) - 1):
        return touching[0]
    apart = np.array([after.first - before.first for before, after in pairs], np.float64)
    beats = apart / np.median(apart)
    on_beat = (np.abs(beats - np.rint(beats)) <= _OFF_BEAT) & (beats > _OFF_BEAT)
    return pairs[0] if on_beat.sum() >= (1 - _MOST_OTHER) * (len(spans) - 1) else None
