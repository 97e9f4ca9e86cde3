"""Files that are pieces of one series: each begins where the one before ends, as a logger leaves them that writes a file a day.

Taken for a series each, they would be trained on apart, and what comes tomorrow would be a series that nobody has heard of.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from anomaly.errors import AnomalyError, DataError
from anomaly.ingest.reading import read_csv
from anomaly.series import STEP_TOLERANCE, longest_step, median_step
from anomaly.sources.inputs import STANDARD_INPUT, Input


class _Span(NamedTuple):
    columns: tuple[str, ...]
    first: int
    last: int
    step: int
    longest: int


def refuse_pieces(inputs: Sequence[Input], reading: Mapping[str, Any]) -> None:
    """Refuse inputs of which each, in the order of their names, goes on where the one before ends, at the same pace.

    Args:
        inputs: at least one; one alone is no piece. Of many, no more are read than it takes to find one that does not go on.
        reading: how they are read, by the names of `read_csv`.

    Raises:
        DataError: if they are pieces of one series. What else is wrong with them is left to those who train on them.
    """
    if len(inputs) < 2 or inputs[0].path == STANDARD_INPUT:
        return
    before: _Span | None = None
    for item in inputs:
        try:
            span = _span_of(item, reading)
        except AnomalyError:
            return
        if span is None or (before is not None and not _goes_on(before, span)):
            return
        before = span
    first, second = next(pairwise(inputs))
    raise DataError(
        "Each file must hold a series of its own. "
        f"Received: {len(inputs):,} files that go on from one another, such as {second.name} after {first.name}. "
        "If they are pieces of one series, join them into one file; if not, train with --per-series."
    )


def _span_of(item: Input, reading: Mapping[str, Any]) -> _Span | None:
    options = {name: value for name, value in reading.items() if name != "rejects"}
    series = read_csv(item.path, **options)
    if series.time_column is None or len(series) < 2:
        return None
    times = series.times
    return _Span(series.columns, int(times.min()), int(times.max()), median_step(times), longest_step(times, "auto"))


def _goes_on(before: _Span, after: _Span) -> bool:
    """Tell whether one begins at most ten steps after the other ends, with the same columns and about the same step."""
    alike = before.columns == after.columns and 1 / STEP_TOLERANCE <= after.step / before.step <= STEP_TOLERANCE
    return alike and 0 < after.first - before.last <= before.longest
