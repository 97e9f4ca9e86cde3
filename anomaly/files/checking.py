"""Look for everything that is wrong with an input, without scoring it and without TensorFlow."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np

from anomaly.bundle.bundle import Bundle
from anomaly.columns.label_values import may_be_labels
from anomaly.config import DetectorConfig
from anomaly.errors import ConfigError, DataError, shorten
from anomaly.fitting.ready import Ready
from anomaly.fitting.shortcomings import notes_before
from anomaly.ingest.chunks import Chunk
from anomaly.ingest.csv_rows import CsvReader
from anomaly.ingest.order import LATE_STEPS, RowOrder, Stacked, refuse_far_times, sorted_order
from anomaly.meaning.decisions import Decision, in_words, of_rows
from anomaly.meaning.footers import refuse_footer
from anomaly.meaning.sentinels import refuse_sentinels
from anomaly.scoring.drift import DriftResult
from anomaly.series import (
    STEP_TOLERANCE,
    Floats,
    Ints,
    TimeSeries,
    format_time,
    longest_step,
    median_step,
    other_pace,
    row_step,
    segments,
)
from anomaly.sources.lines import shown_name
from anomaly.sources.tolerance import Tolerance
from anomaly.windowing.missing import unjudged_shares, used_starts
from anomaly.windowing.missing_rows import with_missing_rows
from anomaly.windowing.unjudged import too_few_known, unjudged_text, unusual
from anomaly.windowing.windows import starts_in

# A value more than so many training sigmas away is clipped before it is scored.
_FAR = 1e4


@dataclass
class InputCheck:
    """What a check found.

    Attributes:
        name: of the input.
        faults: why the input would be refused, a sentence each; none if it would be taken.
        tolerance: what would be tolerated.
        notes: what is worth knowing, a sentence each.
        n_rows: records that could be read.
        first_time: of the first row, as text; None without rows.
        last_time: of the last row, as text; None without rows.
        columns: names of the features.
        drift: their values against those in training; None without a detector, or without rows.
        decisions: how it is read, and why.
        n_series: how many series there are; of several it is not said which features teach little.
    """

    name: str
    faults: list[str] = field(default_factory=list)
    tolerance: Tolerance = field(default_factory=Tolerance)
    notes: list[str] = field(default_factory=list)
    n_rows: int = 0
    first_time: str | None = None
    last_time: str | None = None
    columns: tuple[str, ...] = ()
    drift: DriftResult | None = None
    decisions: list[Decision] = field(default_factory=list)
    n_series: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "input": self.name,
            "faults": self.faults,
            "tolerated": self.tolerance.counts,
            "places": self.tolerance.places,
            "notes": self.notes,
            "rows": self.n_rows,
            "first_time": self.first_time,
            "last_time": self.last_time,
            "columns": list(self.columns),
            "reading": {found.about: found._asdict() for found in self.decisions},
        } | ({} if self.drift is None else {"drift": self.drift.to_dict()})

    def __str__(self) -> str:
        """Say all of it, a line each."""
        about = f"{self.name}: {self.n_rows:,} rows of {shorten(self.columns) or 'no column'}"
        span = f", {self.first_time} to {self.last_time}" if self.n_rows else ""
        lines = [f"{about}{span}.", *([in_words(self.decisions)] if self.decisions else [])]
        lines += [f"Fault: {sentence}" for sentence in self.faults]
        lines += [str(self.tolerance)] if self.tolerance.counts else []
        lines += [f"Note: {sentence}" for sentence in self.notes]
        lines.append("It would be refused." if self.faults else "It would be taken.")
        return "\n".join(lines) + "\n"


def check_input(
    path: str | Path, bundle: Bundle | None = None, *, strict: bool = False, on_chunk: Callable[[Chunk], None] | None = None,
    **columns: Any,
) -> InputCheck:  # fmt: skip
    """Read an input to its end and gather what is wrong with it, and what would be tolerated.

    Args:
        path: a CSV file, plain or gzip-compressed, or "-" for standard input.
        bundle: the detector that is to score it; None if it is to be trained on.
        strict: whether what is otherwise tolerated is a fault.
        on_chunk: called with each chunk of records as it is read.
        columns: as for `read_csv`; with a bundle its own features and, unless another one is named, its time column.

    Raises:
        StorageError: if the input cannot be read.
    """
    found = InputCheck(shown_name(path))
    if bundle is not None:
        own = {"time_column": bundle.time_column} | bundle.reading
        columns = own | columns | {"value_columns": bundle.judged_columns}
    try:
        with CsvReader(path, collect=True, sorts=bundle is None, **columns) as reader:
            found.columns, found.tolerance = tuple(reader.value_columns), reader.tolerance
            found.decisions, chunks = reader.decisions(), list[Chunk]()
            try:
                for chunk in reader:
                    chunks.append(chunk)
                    if on_chunk is not None:
                        on_chunk(chunk)
            finally:
                found.faults += reader.faults
            found.notes += reader.tolerance.reading
            _look_at_series(found, chunks, reader.time_column, bundle, columns.get("missing_values"))
            if bundle is None and not columns.get("value_columns") and chunks:
                found.notes += may_be_labels(np.concatenate([chunk.values for chunk in chunks]), found.columns)
    except DataError as error:  # beyond which nothing can be read
        found.faults.append(str(error))
    if strict:
        counted = found.tolerance.refused()
        found.faults += [f"With --strict the input must have nothing to tolerate. Received: {words}." for words in counted]
    return found


def _look_at_series(
    found: InputCheck, chunks: list[Chunk], time_column: str | None, bundle: Bundle | None, named: str | None
) -> None:
    """Look at the rows of each series for themselves."""
    times = np.concatenate([np.empty(0, np.int64), *(chunk.times for chunk in chunks)])
    values = np.concatenate([np.empty((0, len(found.columns))), *(chunk.values for chunk in chunks)])
    ids = np.concatenate([chunk.ids for chunk in chunks if chunk.ids is not None] or [np.empty(0, np.object_)])
    found.n_rows = len(times)
    if not len(times):
        if not found.faults:  # which say why no record could be read
            found.faults.append(f"The file must have at least one record after its header. Received: 0 ({found.name}).")
        return
    names = list(dict.fromkeys(ids.tolist()))
    if not names:
        _look_at_rows(found, times, values, time_column, bundle, named)
        return
    found.n_series = len(names)
    for name in names:
        rows = np.flatnonzero(ids == name)
        before = len(found.faults), len(found.notes)
        _look_at_rows(found, times[rows], values[rows], time_column, bundle, named)
        found.faults[before[0] :] = [f"{name}: {sentence}" for sentence in found.faults[before[0] :]]
        found.notes[before[1] :] = [f"{name}: {sentence}" for sentence in found.notes[before[1] :]]
    found.notes.append(f"Series: {len(names):,}, such as {shorten(names)}.")
    ends = (times.min(), times.max()) if time_column is not None else (times[0], times[-1])
    found.first_time, found.last_time = (format_time(int(end), time_column) for end in ends)


def _look_at_rows(
    found: InputCheck, times: Ints, values: Floats, time_column: str | None, bundle: Bundle | None, named: str | None
) -> None:
    """Look at the rows of one series: order, gaps, step, room for a window, values."""
    if not any(decision.about == "order" for decision in found.decisions):
        found.decisions += of_rows(times, time_column)
    if bundle is None and time_column is not None:
        order = sorted_order(times, values, found.name, found.tolerance, columns=found.columns)
        times, values = (times, values) if order is None else (times[order], values[order])
    found.first_time, found.last_time = (format_time(int(times[i]), time_column) for i in (0, -1))
    step = median_step(times)
    longest = longest_step(times, "auto") if bundle is None else bundle.longest_step
    regular = row_step(times, "auto") if bundle is None else bundle.row_step
    if time_column is not None:
        RowOrder(LATE_STEPS * step, found.tolerance, longest, regular).take(times, values)
    if bundle is None:
        _look_as_training(found, times, values, time_column, named)
        return
    with _told(found):
        Stacked(found.name, timed=time_column is not None).refuse(times)
        refuse_footer(values, found.name)
    _compare(found, times, values, step, bundle)


def _look_as_training(found: InputCheck, times: Ints, values: Floats, time_column: str | None, named: str | None) -> None:
    """Look at the rows of one series that is to be trained on: times, features without numbers, footers, marks, room."""
    if time_column is not None:
        with _told(found):
            refuse_far_times(times, found.name)
    empty = [name for name, column in zip(found.columns, values.T, strict=True) if np.isnan(column).all()]
    constant = [name for name, column in zip(found.columns, values.T, strict=True) if _is_constant(column)]
    if empty:
        found.faults.append(
            f"Every value column must hold numbers. Received: nothing but missing values in {shorten(empty)}. "
            f"Leave them out with --ignore-columns {quote(','.join(empty))}."
        )
    with _told(found):
        refuse_footer(values, found.name)
        found.notes += refuse_sentinels(values, found.columns, found.name, named)
    if not found.faults:
        _prepare(found, times, values, time_column)
    if constant:
        found.notes.append(f"Constant columns: {shorten(constant)}. In training a column needs variance to be told from noise.")


@contextmanager
def _told(found: InputCheck) -> Iterator[None]:
    """Put what the block refuses among the faults."""
    try:
        yield
    except DataError as error:
        found.faults.append(str(error))


def _prepare(found: InputCheck, times: Ints, values: Floats, time_column: str | None) -> None:
    """Do with rows what a training with all defaults does before its first step, which refuses what it cannot use."""
    series = TimeSeries(times, values, found.columns, name=found.name, time_column=time_column, reading={})
    try:
        Ready.of(DetectorConfig(), series)
    except (DataError, ConfigError) as error:
        what, small, _ = str(error).partition(" Use a smaller --window-size")  # which is no option of a check
        found.faults.append(
            f"{what} Leave columns out, train with smaller windows, or allow more with --max-missing." if small else what
        )
    else:
        found.notes += notes_before(series) if found.n_series == 1 else []


def _is_constant(column: Floats) -> bool:
    known = column[~np.isnan(column)]
    return len(known) > 0 and float(known.min()) == float(known.max())


def _compare(found: InputCheck, times: Ints, values: Floats, step: int, bundle: Bundle) -> None:
    """Compare rows with what the detector was trained on."""
    timed = bundle.time_column is not None and len(times) > 2
    if timed and not 1 / STEP_TOLERANCE <= step / bundle.step <= STEP_TOLERANCE:
        found.faults.append(
            f"Rows must come about as often as in training, every {bundle.step / 1e6:g} s. Received: every {step / 1e6:g} s."
        )
    elif timed and bundle.only_pace and (other := other_pace(times, bundle.only_pace, bundle.window_size)) is not None:
        first, n, own = other
        found.faults.append(
            f"Rows must come about as often as in training, every {bundle.step / 1e6:g} s. Received: every {own / 1e6:g} s, for "
            f"{n:,} rows from {format_time(int(times[first]), bundle.time_column)} on."
        )
    filled, known, _ = with_missing_rows(times, values, bundle.row_step, bundle.longest_step)
    stretches = segments(filled, bundle.longest_step)
    longest = max((b - a for a, b in stretches), default=0)
    starts = starts_in(stretches, bundle.window_size, 1)
    if longest < bundle.window_size:
        found.faults.append(
            f"A series must hold a stretch of `window_size` rows ({bundle.window_size}) without a gap. Received: {longest} at most."
        )
    elif not len(used_starts(known[:, : bundle.context.n_judged], starts, bundle.window_size, bundle.config.windows.max_missing)):
        shares, most = np.isfinite(values).mean(axis=0)[: bundle.context.n_judged], bundle.config.windows.max_missing
        few = too_few_known(bundle.judged_columns, shares, most)
        rule = f"A series must hold a window of {bundle.window_size} rows with few missing values."
        found.faults.append(f"{few}." if few else f"{rule} Received: none in {len(starts):,}.")
    else:
        _look_at_missing(found, known[:, : bundle.context.n_judged], starts, bundle)
    with np.errstate(over="ignore", invalid="ignore"):
        judged = bundle.judged_scaler
        sigmas = np.abs(values[:, : bundle.context.n_judged] - judged.center) / judged.scale
    far = int((sigmas > _FAR).any(axis=1).sum())
    if far:
        found.notes.append(f"Rows with a value more than 10,000 training sigmas away: {far:,}; they will be flagged, out_of_range.")
    drift = bundle.drift(bundle.config.scoring.aggregation)
    drift.push(values=values)
    found.drift = drift.result()
    if found.drift.warning is not None:
        counting = found.drift.counting(bundle.training.get("rising", []))
        retraining = "`anomaly train --from` goes on from the detector with rows like these"
        found.notes.append(f"Drift: {found.drift.warning}{f'; {counting}' if counting else f'. {retraining}'}.")


def _look_at_missing(found: InputCheck, values: Floats, starts: Ints, bundle: Bundle) -> None:
    """Tell of features that could not be judged on more of the rows than in training."""
    shares = unjudged_shares(values, starts, bundle.window_size, bundle.config.windows.max_missing)
    by_name = dict(zip(bundle.judged_columns, shares.tolist(), strict=True))
    silent = [name for name, column in zip(bundle.judged_columns, values.T, strict=True) if np.isnan(column).all()]
    text = unjudged_text(unusual(by_name, bundle.training.get("unjudged", {}), silent))
    found.notes += [text] if text else []
