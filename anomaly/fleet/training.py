"""Train the detectors of many series: a network for each, or one for all of them.

With one network, every series keeps its own scaler, error units, calibration scores and thresholds; only the weights are the
same. What was trained before from the same is not trained again, see `anomaly.fleet.progress`.
"""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from anomaly.config import DetectorConfig
from anomaly.errors import AnomalyError
from anomaly.fitting.ready import Ready
from anomaly.fitting.trained import train_network
from anomaly.fleet.folder import CHECKPOINT, Index, Member, NewFleet, replaced_fleet
from anomaly.fleet.one_series import Task, known_origin, measure_one, rows_of, train_one, trained_before
from anomaly.fleet.outcomes import Outcomes, Success
from anomaly.fleet.plan import Plan, Source
from anomaly.fleet.progress import (
    KIND,
    Origin,
    bundles_in,
    described_options,
    network_of,
    origin_of,
    refuse_losses,
    rows_fingerprint,
)
from anomaly.series import TimeSeries
from anomaly.storage.addresses import ObjectUri
from anomaly.storage.manifest import Manifest, kept_manifest, read_entries
from anomaly.training.checkpoint import CheckpointFile
from anomaly.windowing.split import pooled


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

    def work(done: Mapping[str, Any], new: NewFleet) -> Iterator[tuple[Task, Success | AnomalyError]]:
        options = described_options(plan.config, plan.reading, plan.ends)
        _refuse_losses(new, plan, sources, {s.name: partial(origin_of, s.rows, options) for s in sources}, shared=False)
        tasks = (
            Task(s.name, str(folder), plan.config, s.rows, plan.reading, plan.ends, done.get(s.name), new.placed(s.name))
            for s in sources
        )
        return plan.executor(train_one, tasks)

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

    def work(done: Mapping[str, Any], new: NewFleet) -> Iterator[tuple[Task, Success | AnomalyError]]:
        _refuse_losses(new, plan, sources, {}, shared=True)  # what needs no reading
        config, ready = _all_ready(sources, plan, outcomes)
        if ready:
            tasks = _shared_tasks(str(folder), plan, config, ready, done, new)
            _refuse_losses(new, plan, sources, {task.name: partial(known_origin, task) for task in tasks}, shared=True)
            yield from _shared_work(plan, config, ready, tasks)

    return _train(folder, plan, work, outcomes)


def _shared_tasks(
    folder: str, plan: Plan, config: DetectorConfig, ready: dict[str, Ready], done: Mapping[str, Any], new: NewFleet
) -> list[Task]:
    """Return what measures each series with a network for all of them."""
    options = described_options(plan.config, plan.reading, plan.ends)
    inputs = {name: rows_fingerprint(found.series) for name, found in ready.items()}
    network = network_of(options, inputs)
    return [
        Task(
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
    plan: Plan, config: DetectorConfig, ready: dict[str, Ready], tasks: list[Task]
) -> Iterator[tuple[Task, Success | AnomalyError]]:
    """Train the network, unless all that would come of it is there, and measure each series with it."""
    before = [(task, trained_before(task)) for task in tasks]
    if all(found for _, found in before):
        yield from ((task, found) for task, found in before if found)
        return
    folder, origin = tasks[0].folder, known_origin(tasks[0])
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
    for task, outcome in plan.executor(measure_one, (replace(task, trained=trained) for task in tasks)):
        went_well &= isinstance(outcome, Success)
        yield task, outcome
    if checkpoint and went_well:
        checkpoint.remove()


def _train(
    folder: str | Path,
    plan: Plan,
    work: Callable[[Mapping[str, Any], NewFleet], Iterator[tuple[Task, Success | AnomalyError]]],
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
        attempt(source.name, lambda source=source: rows_of(source.name, source.rows, plan.reading, plan.ends)[0], plan.config)  # type: ignore[misc]
    if not ready or plan.config.windows.window_size != "auto":
        return plan.config, ready
    size = statistics.median_low(found.split.window_size for found in ready.values())
    config = replace(plan.config, windows=replace(plan.config.windows, window_size=size))
    for name, found in list(ready.items()):
        attempt(name, lambda found=found: found.series, config)  # type: ignore[misc]
    return config, ready
