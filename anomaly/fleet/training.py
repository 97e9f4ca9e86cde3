"""Train the detectors of many series: a network for each, or one for all of them.

With one network, every series keeps its own scaler, error units, calibration scores and thresholds; only the weights are the
same. What was trained before from the same is not trained again, see `anomaly.fleet.progress`.
"""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from anomaly.bundle.bundle import Bundle
from anomaly.config import DetectorConfig
from anomaly.engines.pool import Executor, here
from anomaly.errors import AnomalyError, ConfigError, DataError, joint_exit_code, shorten
from anomaly.fitting.fit import fit_bundle
from anomaly.fitting.left_out import without_known_trouble
from anomaly.fitting.measuring import measured
from anomaly.fitting.ready import Ready
from anomaly.fitting.trained import Trained, train_network
from anomaly.fleet.folder import CHECKPOINT, Index, Member, NewFleet, replaced_fleet, series_name, write_member
from anomaly.fleet.progress import (
    KIND,
    Ends,
    Origin,
    bundles_in,
    described_options,
    network_of,
    origin_of,
    refuse_losses,
    rows_fingerprint,
)
from anomaly.ingest.csv_rows import CsvReader
from anomaly.ingest.order import in_order
from anomaly.ingest.reading import read_csv, read_joined
from anomaly.meaning.sentinels import refuse_sentinels
from anomaly.ranges import training_part
from anomaly.series import TimeSeries
from anomaly.sources.inputs import Input
from anomaly.sources.tolerance import Tolerance
from anomaly.storage.addresses import ObjectUri
from anomaly.storage.manifest import Manifest, kept_manifest, read_entries
from anomaly.training.checkpoint import CheckpointFile
from anomaly.training.loop import Progress
from anomaly.windowing.split import pooled


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
        train_start: row, share or time to begin at, see `anomaly.ranges.training_part`; None begins with the first row.
        train_end: the same of where to stop; None takes all rows.
        executor: what runs the tasks.
        on_end: called with name and outcome of each series, as soon as they are known.
        on_step: called after every step of a shared training.
        on_stage: told what begins before it and after it.
        anew: whether to train again what was trained before from the same.
        overwrite: whether detectors may be dropped, or replaced though more than their rows has changed.
        checkpoint_seconds: least time between checkpoints of a shared training.
    """

    config: DetectorConfig
    reading: dict[str, Any]
    id_column: str | None = None
    train_start: str | None = None
    train_end: str | None = None
    executor: Executor = here
    on_end: Callable[[str, "Success | AnomalyError"], None] = _say_nothing
    on_step: Callable[[Progress], None] | None = None
    on_stage: Callable[[str], None] | None = None
    anew: bool = False
    overwrite: bool = False
    checkpoint_seconds: float = 10.0

    @property
    def ends(self) -> Ends:
        """Where the rows to train on begin and end."""
        return self.train_start, self.train_end


@dataclass(frozen=True)
class Success:
    """What came of one series: where its detector is, what to say about it, and what to remember."""

    member: Member
    columns: tuple[str, ...]
    time_column: str | None
    described: dict[str, Any]
    entry: dict[str, Any]
    unchanged: bool = False


@dataclass
class Outcomes:
    """What came of all series, by name.

    Attributes:
        trained: what came out.
        failed: why nothing did.
        kept: of those that failed, which keep the detector that the fleet had.
        dropped: which the fleet had, and have no input any more.
    """

    trained: dict[str, Success] = field(default_factory=dict)
    failed: dict[str, AnomalyError] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 if all went well, that of the errors if all failed alike, else 3."""
        return joint_exit_code(self.failed.values(), some_went_well=bool(self.trained))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        failed = {name: {"error": str(error), "exit_code": error.exit_code} for name, error in self.failed.items()}
        trained = {name: {"file": found.member.file} | found.described for name, found in self.trained.items()}
        found = {"series": trained | failed, "trained": len(trained), "unchanged": self.n_unchanged, "failed": len(failed)}
        others = {"kept": list(self.kept), "dropped": list(self.dropped)}
        return found | {what: names for what, names in others.items() if names}

    def __str__(self) -> str:
        """Say in one line what came out."""
        counts = {"unchanged": self.n_unchanged, "failed": len(self.failed)}
        rest = "".join(f", {count:,} {what}" for what, count in counts.items() if count)
        said = f"{len(self.trained):,} of {len(self.trained) + len(self.failed):,} series trained{rest}."
        said += f" They keep the detectors of before: {shorten(self.kept)}." if self.kept else ""
        return said + (f" Without an input any more, and dropped: {shorten(self.dropped)}." if self.dropped else "")

    @property
    def n_unchanged(self) -> int:
        """Series whose detectors were there already."""
        return sum(success.unchanged for success in self.trained.values())


@dataclass(frozen=True)
class _Task:
    """What another process needs to train, or to measure, one series."""

    name: str
    folder: str
    config: DetectorConfig
    rows: str | TimeSeries
    reading: dict[str, Any]
    ends: Ends
    before: dict[str, Any] | None  # what the manifest says of it
    placed: Member | None  # its detector in the index
    trained: Trained | None = None
    origin: Origin | None = None


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
        ConfigError: if a detector would be lost, see `refuse_losses`; or as `replaced_fleet`.
        BundleError, StorageError: as `replaced_fleet`.
    """

    def work(done: Mapping[str, Any], new: NewFleet) -> Iterator[tuple[_Task, Success | AnomalyError]]:
        options = described_options(plan.config, plan.reading, plan.ends)
        _refuse_losses(new, plan, sources, {s.name: partial(origin_of, s.rows, options) for s in sources}, shared=False)
        tasks = (
            _Task(s.name, str(folder), plan.config, s.rows, plan.reading, plan.ends, done.get(s.name), new.placed(s.name))
            for s in sources
        )
        return plan.executor(_train_one, tasks)

    return _train(folder, plan, work, Outcomes())


def train_shared(folder: str | Path, sources: Sequence[Source], plan: Plan) -> Outcomes:
    """Train one network on the windows of all series, and from it a detector for each.

    Where the window size is "auto", it is the median of those that the series would choose.

    Args:
        folder: a new or empty one, or one with a fleet.
        sources: the series.
        plan: the rest.

    Raises:
        DivergedError: if the loss stops being finite.
        ConfigError: if a detector would be lost, see `refuse_losses`; or as `replaced_fleet`.
        BundleError, StorageError: as `replaced_fleet`.
    """
    outcomes = Outcomes()

    def work(done: Mapping[str, Any], new: NewFleet) -> Iterator[tuple[_Task, Success | AnomalyError]]:
        _refuse_losses(new, plan, sources, {}, shared=True)  # what needs no reading
        config, ready = _all_ready(sources, plan, outcomes)
        if ready:
            tasks = _shared_tasks(str(folder), plan, config, ready, done, new)
            _refuse_losses(new, plan, sources, {task.name: partial(_origin, task) for task in tasks}, shared=True)
            yield from _shared_work(plan, config, ready, tasks)

    return _train(folder, plan, work, outcomes)


def _shared_tasks(
    folder: str, plan: Plan, config: DetectorConfig, ready: dict[str, Ready], done: Mapping[str, Any], new: NewFleet
) -> list[_Task]:
    """Return what measures each series with a network for all of them."""
    options = described_options(plan.config, plan.reading, plan.ends)
    inputs = {name: rows_fingerprint(found.series) for name, found in ready.items()}
    network = network_of(options, inputs)
    return [
        _Task(
            name,
            folder,
            config,
            found.series,
            plan.reading,
            (None, None),
            done.get(name),
            new.placed(name),
            origin=Origin(inputs[name], options, network),
        )
        for name, found in ready.items()
    ]


def _shared_work(
    plan: Plan, config: DetectorConfig, ready: dict[str, Ready], tasks: list[_Task]
) -> Iterator[tuple[_Task, Success | AnomalyError]]:
    """Train the network, unless all that would come of it is there, and measure each series with it."""
    before = [(task, _trained_before(task)) for task in tasks]
    if all(found for _, found in before):
        yield from ((task, found) for task, found in before if found)
        return
    folder, origin = tasks[0].folder, _origin(tasks[0])
    identity = origin.options["settings"] | {"data": origin.network}
    checkpoint = (
        None if isinstance(folder, ObjectUri) else CheckpointFile(Path(folder) / CHECKPOINT, identity, plan.checkpoint_seconds)
    )
    if checkpoint and plan.anew:
        checkpoint.remove()
    stage = plan.on_stage or (lambda what: None)
    stage("Preparing")
    trained = train_network(
        config,
        *pooled([found.split for found in ready.values()], [found.scaled for found in ready.values()]),
        checkpoint=checkpoint,
        resume=True,
        on_step=plan.on_step,
    )
    stage("Calibrating")
    went_well = True
    for task, outcome in plan.executor(_measure_one, (replace(task, trained=trained) for task in tasks)):
        went_well &= isinstance(outcome, Success)
        yield task, outcome
    if checkpoint and went_well:
        checkpoint.remove()


def _train(
    folder: str | Path,
    plan: Plan,
    work: Callable[[Mapping[str, Any], NewFleet], Iterator[tuple[_Task, Success | AnomalyError]]],
    outcomes: Outcomes,
) -> Outcomes:
    """Collect what comes of each series, and write the index."""
    with replaced_fleet(folder) as new, _progress(new, plan) as manifest:
        with closing(work(manifest.entries, new)) as found:  # type: ignore[type-var]
            for task, outcome in found:
                _note(outcomes, plan, task.name, outcome)
                if isinstance(outcome, Success):
                    manifest.note(task.name, outcome.entry)
        if outcomes.trained:
            manifest.keep(set(outcomes.trained))
            one = next(iter(outcomes.trained.values()))
            members = {name: success.member for name, success in outcomes.trained.items()}
            members = dict(sorted((_kept(new.old, one, outcomes) | members).items()))
            new.finish(Index(plan.id_column, one.time_column, one.columns, members))
    return outcomes


def _refuse_losses(
    new: NewFleet, plan: Plan, sources: Sequence[Source], origins: Mapping[str, Callable[[], Origin]], *, shared: bool
) -> None:
    """Refuse to lose detectors, unless that was allowed."""
    if not plan.overwrite:
        options = described_options(plan.config, plan.reading, plan.ends)
        names, entries = {source.name for source in sources}, read_entries(new.folder, KIND)
        refuse_losses(new.folder, new.old, entries, names, origins, options, shared=shared, anew=plan.anew)


def _kept(old: Index | None, one: Success, outcomes: Outcomes) -> dict[str, Member]:
    """Return the detectors that a fleet keeps of the series which failed, and note these, and those without an input."""
    if old is None:
        return {}
    fits = (old.columns, old.time_column) == (one.columns, one.time_column)
    kept = {name: member for name, member in old.series.items() if fits and name in outcomes.failed}
    outcomes.kept = tuple(sorted(kept))
    outcomes.dropped = tuple(sorted(set(old.series) - set(outcomes.trained) - set(outcomes.failed)))
    return kept


@contextmanager
def _progress(new: NewFleet, plan: Plan) -> Iterator[Manifest]:
    """Yield what was trained so far; its bundles stay for the next run, however this one ends."""
    with kept_manifest(new.folder, KIND, {}, anew=plan.anew) as manifest:
        try:
            yield manifest
        finally:
            new.waiting = {member.file for member in bundles_in(manifest.entries)}


def _note(outcomes: Outcomes, plan: Plan, name: str, outcome: Success | AnomalyError) -> None:
    if isinstance(outcome, AnomalyError):
        outcomes.failed[name] = outcome
    else:
        outcomes.trained[name] = outcome
    plan.on_end(name, outcome)


def _trained_before(task: _Task) -> Success | None:
    """Return what came of a series before, if that still holds."""
    if task.origin is None or task.before is None:
        return None
    if (found := task.origin.found(task.folder, task.name, task.before, task.placed)) is None:
        return None
    member, bundle = found
    told = task.before.get("described")
    described = (told if isinstance(told, dict) else {}) | _described(bundle)
    return Success(member, bundle.columns, bundle.time_column, described, dict(task.before), unchanged=True)


def _origin(task: _Task) -> Origin:
    """Return what the detector of a series is made from, where that is known."""
    if task.origin is None:
        raise ConfigError("A series must be read before it is measured. Received: none. Please report this.")
    return task.origin


def _train_one(task: _Task) -> Success:
    origin = origin_of(task.rows, described_options(task.config, task.reading, task.ends))
    task = replace(task, origin=origin)
    if (found := _trained_before(task)) is not None:
        return found
    series, tolerance = _rows(task.name, task.rows, task.reading, task.ends)
    bundle, _ = fit_bundle(task.config, series, on_step=None, checkpoint=None, checkpoint_seconds=0, resume=False)
    return _saved(task, bundle, tolerance)


def _measure_one(task: _Task) -> Success:
    if task.trained is None:
        raise ConfigError("A network must be trained before a series is measured. Received: none. Please report this.")
    if (found := _trained_before(task)) is not None:
        return found
    series, tolerance = _rows(task.name, task.rows, task.reading, task.ends)
    return _saved(task, measured(Ready.of(task.config, series), task.trained)[0], tolerance)


def _saved(task: _Task, bundle: Bundle, tolerance: Tolerance) -> Success:
    described = tolerance.to_dict(bundle.training["n_rows"]) | _described(bundle)
    member = write_member(task.folder, task.name, bundle)
    entry = {} if task.origin is None else task.origin.entry(member, described, bundle, task.placed)
    return Success(member, bundle.columns, bundle.time_column, described, entry)


def _described(bundle: Bundle) -> dict[str, Any]:
    own = bundle.thresholds[bundle.config.scoring.aggregation]
    return {"training": bundle.training, "window_size": bundle.window_size, "threshold": own.value}


def _rows(name: str, rows: str | TimeSeries, reading: dict[str, Any], ends: Ends) -> tuple[TimeSeries, Tolerance]:
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
    tolerance.reading += refuse_sentinels(series.values, series.columns, name, reading.get("missing_values"))
    return without_known_trouble(series, None, tolerance, training_part(series, *ends)), tolerance


def _columns(inputs: Sequence[Input], plan: Plan) -> dict[str, Any]:
    """Return the columns that all inputs must have: those of the first that has any."""
    if inputs[0].path == "-":  # it can be read only once, and is alone
        return {}
    for item in inputs:
        try:
            with CsvReader(item.path, id_column=plan.id_column, keep_lines=False, **plan.reading) as reader:
                return {"time_column": reader.time_column, "value_columns": reader.judged_columns}
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
        attempt(source.name, lambda source=source: _rows(source.name, source.rows, plan.reading, plan.ends)[0], plan.config)  # type: ignore[misc]
    if not ready or plan.config.windows.window_size != "auto":
        return plan.config, ready
    size = statistics.median_low(found.split.window_size for found in ready.values())
    config = replace(plan.config, windows=replace(plan.config.windows, window_size=size))
    for name, found in list(ready.items()):
        attempt(name, lambda found=found: found.series, config)  # type: ignore[misc]
    return config, ready
