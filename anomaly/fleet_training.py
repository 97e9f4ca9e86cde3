"""Train the detectors of many series: a network for each, or one for all of them.

With one network, every series keeps its own scaler, error units, calibration scores and thresholds; only the weights are the
same. Each series counts alike in the training: a pass takes the same number of windows from each, the median of the numbers
that they have, so that those of a longer series are thinned out evenly and those of a shorter one come again.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.bundle import Bundle
from anomaly.config import DetectorConfig
from anomaly.errors import AnomalyError, ConfigError, DataError, joint_exit_code
from anomaly.executors import Executor, here
from anomaly.fitting import Ready, Trained, fit_bundle, measured, train_network
from anomaly.fleet import Index, Member, replaced_fleet, series_name, write_member
from anomaly.ingest import CsvReader
from anomaly.inputs import Input
from anomaly.order import in_order
from anomaly.reading import read_csv, read_joined
from anomaly.series import Ints, TimeSeries
from anomaly.split import Split
from anomaly.tolerance import Tolerance
from anomaly.training import Progress

# Of all series together in one pass of a shared training, and held out to see how far it is: each has at least one.
MOST_WINDOWS, MOST_HELD_OUT = 4_000_000, 4_096


def _say_nothing(name: str, outcome: object) -> None:
    """Take what came of a series."""


@dataclass(frozen=True, eq=False)
class Source:
    """A series to train on: in a file of its own, or already read."""

    name: str
    rows: str | TimeSeries


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is the same for all series of a training.

    Attributes:
        config: all settings of a detector.
        reading: how files are read, by the names of `read_csv`.
        id_column: name of the column that says which series a record belongs to; None if each has a file of its own.
        train_end: row, share or time to stop at, see `TimeSeries.cut_row`; None takes all rows.
        executor: what runs the tasks.
        on_end: called with name and outcome of each series, as soon as they are known.
        on_step: called after every step of a shared training.
    """

    config: DetectorConfig
    reading: dict[str, Any]
    id_column: str | None = None
    train_end: str | None = None
    executor: Executor = here
    on_end: Callable[[str, "Success | AnomalyError"], None] = _say_nothing
    on_step: Callable[[Progress], None] | None = None


@dataclass(frozen=True)
class Success:
    """What came of one series: where its detector is, and what to say about it."""

    member: Member
    columns: tuple[str, ...]
    time_column: str | None
    described: dict[str, Any]


@dataclass
class Outcomes:
    """What came of all series, by name."""

    trained: dict[str, Success] = field(default_factory=dict)
    failed: dict[str, AnomalyError] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 if all went well, that of the errors if all failed alike, else 3."""
        return joint_exit_code(self.failed.values(), some_went_well=bool(self.trained))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        failed = {name: {"error": str(error), "exit_code": error.exit_code} for name, error in self.failed.items()}
        trained = {name: {"file": found.member.file} | found.described for name, found in self.trained.items()}
        return {"series": trained | failed, "trained": len(trained), "failed": len(failed)}

    def __str__(self) -> str:
        """Say in one line what came out."""
        n = len(self.trained) + len(self.failed)
        return f"{len(self.trained):,} of {n:,} series trained{f', {len(self.failed):,} failed' if self.failed else ''}."


@dataclass(frozen=True)
class _Task:
    """What another process needs to train, or to measure, one series."""

    name: str
    folder: str
    config: DetectorConfig
    rows: str | TimeSeries
    reading: dict[str, Any]
    train_end: str | None
    trained: Trained | None = None


def find_sources(inputs: Sequence[Input], plan: Plan) -> tuple[list[Source], Plan]:
    """Return the series in some inputs, and the plan with the columns that all of them must have.

    Without an id column each input is a series, and the first one that has a header says which columns they have, unless the
    plan does. With one, the inputs are read, and the rows of a series that is in several of them are joined in this order.

    Raises:
        DataError: if an input with an id column is refused.
        StorageError: if such an input cannot be read.
    """
    if plan.id_column is None:
        return [Source(item.name, item.path) for item in inputs], replace(plan, reading=plan.reading | _columns(inputs, plan))
    rows = read_joined([item.path for item in inputs], plan.id_column, **plan.reading | _columns(inputs, plan))
    return [Source(name, series) for name, series in rows.items()], plan


def train_each(folder: str | Path, sources: Sequence[Source], plan: Plan) -> Outcomes:
    """Train a detector for each series; the fleet in a folder is replaced if at least one comes out.

    Args:
        folder: a new or empty one, or one with a fleet.
        sources: the series.
        plan: the rest.

    Raises:
        ConfigError, BundleError, StorageError: as `replaced_fleet`.
    """
    tasks = (_Task(s.name, str(folder), plan.config, s.rows, plan.reading, plan.train_end) for s in sources)
    return _train(folder, plan, lambda: plan.executor(_train_one, tasks), Outcomes())


def train_shared(folder: str | Path, sources: Sequence[Source], plan: Plan) -> Outcomes:
    """Train one network on the windows of all series, and from it a detector for each.

    Where the window size is "auto", it is the median of those that the series would choose.

    Args:
        folder: a new or empty one, or one with a fleet.
        sources: the series.
        plan: the rest.

    Raises:
        DivergedError: if the loss stops being finite.
        ConfigError, BundleError, StorageError: as `replaced_fleet`.
    """
    outcomes = Outcomes()

    def work() -> Iterator[tuple[_Task, Success | AnomalyError]]:
        config, ready = _all_ready(sources, plan, outcomes)
        if not ready:
            return
        trained = train_network(config, *_pooled(list(ready.values())), on_step=plan.on_step)
        tasks = (_Task(name, str(folder), config, found.series, plan.reading, None, trained) for name, found in ready.items())
        yield from plan.executor(_measure_one, tasks)

    return _train(folder, plan, work, outcomes)


def _train(
    folder: str | Path, plan: Plan, work: Callable[[], Iterator[tuple[_Task, Success | AnomalyError]]], outcomes: Outcomes
) -> Outcomes:
    """Collect what comes of each series, and write the index."""
    with replaced_fleet(folder) as new:
        with closing(work()) as found:  # type: ignore[type-var]
            for task, outcome in found:
                _note(outcomes, plan, task.name, outcome)
        if outcomes.trained:
            one = next(iter(outcomes.trained.values()))
            members = {name: success.member for name, success in sorted(outcomes.trained.items())}
            new.finish(Index(plan.id_column, one.time_column, one.columns, members))
    return outcomes


def _note(outcomes: Outcomes, plan: Plan, name: str, outcome: Success | AnomalyError) -> None:
    if isinstance(outcome, AnomalyError):
        outcomes.failed[name] = outcome
    else:
        outcomes.trained[name] = outcome
    plan.on_end(name, outcome)


def _train_one(task: _Task) -> Success:
    series, tolerance = _rows(task.name, task.rows, task.reading, task.train_end)
    bundle, _ = fit_bundle(task.config, series, on_step=None, checkpoint=None, checkpoint_seconds=0, resume=False)
    return _saved(task, bundle, tolerance)


def _measure_one(task: _Task) -> Success:
    if task.trained is None:
        raise ConfigError("A network must be trained before a series is measured. Received: none. Please report this.")
    series, tolerance = _rows(task.name, task.rows, task.reading, task.train_end)
    return _saved(task, measured(Ready.of(task.config, series), task.trained)[0], tolerance)


def _saved(task: _Task, bundle: Bundle, tolerance: Tolerance) -> Success:
    own = bundle.thresholds[bundle.config.scoring.aggregation]
    described = tolerance.to_dict(bundle.training["n_rows"]) | {
        "training": bundle.training, "window_size": bundle.window_size, "threshold": own.value,
    }  # fmt: skip
    return Success(write_member(task.folder, task.name, bundle), bundle.columns, bundle.time_column, described)


def _rows(name: str, rows: str | TimeSeries, reading: dict[str, Any], train_end: str | None) -> tuple[TimeSeries, Tolerance]:
    """Return the rows that a series is trained on."""
    try:
        series_name(name)
    except ValueError as error:
        raise DataError(
            f"A series must have a name of at most 1,024 characters without a control character. Received: {error}. Rename it."
        ) from error
    tolerance = Tolerance(reading.get("strict", False), name)
    series = read_csv(rows, **reading, tolerance=tolerance) if isinstance(rows, str) else rows
    series = in_order(series, tolerance)
    return (series if train_end is None else series[: series.cut_row(train_end)]), tolerance


def _columns(inputs: Sequence[Input], plan: Plan) -> dict[str, Any]:
    """Return the columns that all inputs must have: those of the first that has any."""
    if inputs[0].path == "-":  # it can be read only once, and is alone
        return {}
    for item in inputs:
        try:
            with CsvReader(item.path, id_column=plan.id_column, keep_lines=False, **plan.reading) as reader:
                return {"time_column": reader.time_column, "value_columns": tuple(reader.value_columns)}
        except AnomalyError:  # it will be said of its series
            continue
    return {}


def _all_ready(sources: Sequence[Source], plan: Plan, outcomes: Outcomes) -> tuple[DetectorConfig, dict[str, Ready]]:
    """Return the settings with a window size that is the same for all series, and the series that can be trained on with it."""
    ready: dict[str, Ready] = {}

    def attempt(name: str, rows: Callable[[], TimeSeries], config: DetectorConfig) -> None:
        try:
            ready[name] = Ready.of(config, rows())
        except AnomalyError as error:
            ready.pop(name, None)
            _note(outcomes, plan, name, error)

    for source in sources:
        attempt(source.name, lambda source=source: _rows(source.name, source.rows, plan.reading, plan.train_end)[0], plan.config)  # type: ignore[misc]
    if not ready or plan.config.windows.window_size != "auto":
        return plan.config, ready
    size = statistics.median_low(found.split.window_size for found in ready.values())
    config = replace(plan.config, windows=replace(plan.config.windows, window_size=size))
    for name, found in list(ready.items()):
        attempt(name, lambda found=found: found.series, config)  # type: ignore[misc]
    return config, ready


def _pooled(ready: list[Ready]) -> tuple[Split, Any]:
    """Return windows of all series, the same number of each, and the rows that they are cut from."""
    firsts = np.cumsum([0, *(len(found.scaled) for found in ready)])
    train = [first + found.split.train_starts for first, found in zip(firsts, ready, strict=False)]
    held_out = [first + found.split.validation_starts for first, found in zip(firsts, ready, strict=False)]
    split = ready[0].split
    starts = np.concatenate(alike(train, MOST_WINDOWS)), np.concatenate(alike(held_out, MOST_HELD_OUT))
    return Split(split.window_size, split.stride, 0, *starts), np.concatenate([found.scaled for found in ready])


def alike(starts: Sequence[Ints], most: int) -> list[Ints]:
    """Take the same number of windows from each series: the median of the numbers that there are.

    Args:
        starts: for each series the first rows of its windows, at least one.
        most: windows in all, as far as each series has one.

    Returns:
        For each series as many starts: evenly spread over those it has, or all of them again and again.
    """
    number = max(1, min(round(statistics.median(len(found) for found in starts)), most // len(starts)))
    return [
        found[np.arange(number) * len(found) // number if len(found) > number else np.arange(number) % len(found)]
        for found in starts
    ]
