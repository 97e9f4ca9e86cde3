"""The thresholds of a fleet, all at once; and what its detectors find beside what was labelled."""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.detector.detector import Detector
from anomaly.engines.pool import Executor, here
from anomaly.errors import AnomalyError, ConfigError, joint_exit_code
from anomaly.evaluation.evaluate import Evaluation, evaluate
from anomaly.fitting.training_rows import training_rows
from anomaly.fleet.folder import Fleet, replaced_fleet, write_member
from anomaly.fleet.scoring import Model
from anomaly.ingest.reading import read_csv, read_joined
from anomaly.ranges import range_of
from anomaly.scoring.scores import check_threshold
from anomaly.series import TimeSeries
from anomaly.thresholds.calibration import Threshold

# Of an evaluation, what is shown of each series, and its mean over all.
FIGURES = ("vus_pr", "vus_roc", "auc_pr", "recall", "precision", "f1", "false_alarms_per_1000_rows")


@dataclass
class Retuned:
    """Thresholds by series, before and after a change; and what could not be changed."""

    changed: dict[str, tuple[Threshold, Threshold]] = field(default_factory=dict)
    failed: dict[str, AnomalyError] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """What failures come to; 0 without one."""
        return joint_exit_code(self.failed.values(), some_went_well=bool(self.changed))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        found = {name: {"before": asdict(old), "after": asdict(new)} for name, (old, new) in self.changed.items()}
        return {"series": found | {name: {"error": str(error)} for name, error in self.failed.items()}}

    def rows(self) -> list[tuple[str, ...]]:
        """Return a table with a head: the threshold of each series and what to expect of it, before and after."""
        table: list[tuple[str, ...]] = [("series", "before", "after", "chosen by", "expected on normal data")]
        for name, (old, new) in self.changed.items():
            table.append((name, f"{old.value:.6g}", f"{new.value:.6g}", new.asked_text(), new.rate_text(new.expected)))
        return table


def retune_fleet(
    folder: str | Path,
    change: Callable[[Detector], None],
    *,
    dry_run: bool = False,
    expect_sha256: str | None = None,
    on_end: Callable[[int, int], None] = lambda done, total: None,
) -> Retuned:
    """Change the thresholds of every detector of a fleet, all of them at once; one that cannot be changed stays as it is.

    Args:
        folder: the fleet.
        change: changes a detector.
        dry_run: whether nothing is written.
        expect_sha256: as for `Fleet.load`.
        on_end: called after each series with how many are done, and how many there are.

    Raises:
        BundleError: if the index is refused.
        StorageError: if the system refuses, or another run is at work there; nothing is changed then.
    """
    fleet, retuned = Fleet.load(folder, expect_sha256=expect_sha256), Retuned()
    if dry_run:
        for n, name in enumerate(fleet.ids, start=1):
            _retune(fleet, name, change, retuned)
            on_end(n, len(fleet.ids))
        return retuned
    with replaced_fleet(folder) as new:
        members = {}
        for n, name in enumerate(fleet.ids, start=1):
            detector = _retune(fleet, name, change, retuned)
            members[name] = fleet.member(name) if detector is None else write_member(folder, name, detector.bundle_)
            on_end(n, len(fleet.ids))
        new.finish(replace(fleet.index, series=members))
    return retuned


def _retune(fleet: Fleet, name: str, change: Callable[[Detector], None], retuned: Retuned) -> Detector | None:
    """Return the changed detector of a series; None if it cannot be changed."""
    try:
        detector = fleet.detector(name)
        old = detector.bundle_.thresholds
        change(detector)
    except AnomalyError as error:
        retuned.failed[name] = error
        return None
    own = detector.aggregation_name(None)
    retuned.changed[name] = (old[own], detector.bundle_.thresholds[own])
    return detector


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A labelled input, and how it is to be compared with what is found in it.

    Attributes:
        name: of the series.
        path: of its file.
        rows: of the series, where the file has several; None reads the file.
        model: the detectors.
        label_column: name of the column that marks known events.
        aggregation: as for `Detector.score`.
        threshold: a cut to use instead of the calibrated one.
        buffer: as for `evaluate`.
        point_adjust: as for `evaluate`.
        since: the first row that is compared, see `anomaly.ranges.RowRange.of`.
        until: the last one.
        count_training: as for `evaluate`.
        reading: how the file is read, as far as that is not as in training.
        refusal: why it may not be compared; empty if it may.
    """

    name: str
    path: str
    model: Model
    label_column: str
    aggregation: str | None = None
    threshold: float | None = None
    buffer: int | None = None
    point_adjust: bool = False
    since: str | None = None
    until: str | None = None
    count_training: bool = False
    reading: dict[str, Any] = field(default_factory=dict)
    rows: TimeSeries | None = None
    refusal: str = ""


@dataclass
class Evaluations:
    """What came of each series."""

    found: dict[str, Evaluation] = field(default_factory=dict)
    failed: dict[str, AnomalyError] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """What failures come to; 0 without one."""
        return joint_exit_code(self.failed.values(), some_went_well=bool(self.found))

    @property
    def means(self) -> dict[str, float]:
        """Mean of each of `FIGURES` over the series that have it; NaN if none has."""
        columns = zip(*(_figures(evaluation) for evaluation in self.found.values()), strict=True)
        known = [[x for x in column if not math.isnan(x)] for column in columns]
        return {name: sum(x) / len(x) if x else math.nan for name, x in zip(FIGURES, known, strict=False)}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; what is undefined is None."""
        return {
            "series": {name: evaluation.to_dict() for name, evaluation in self.found.items()},
            "failed": {name: str(error) for name, error in self.failed.items()},
            "mean": {name: None if math.isnan(mean) else mean for name, mean in self.means.items()},
        }

    def rows(self) -> list[tuple[str, ...]]:
        """Return a table with a head: a line for each series, then the means."""
        lines = [(name, _figures(evaluation)) for name, evaluation in self.found.items()]
        lines.append(("mean", list(self.means.values())))
        head = ("series", "VUS-PR", "VUS-ROC", "AUC-PR", "recall", "precision", "F1", "false alarms in 1,000 rows")
        return [head, *((name, *("-" if math.isnan(x) else f"{x:.3f}" for x in figures)) for name, figures in lines)]

    @property
    def note(self) -> str:
        """What became of the rows of the training, in a sentence; empty if there is none among those that were asked for."""
        n = sum(found.n_trained or 0 for found in self.found.values())
        if not n:
            return ""
        counted = any(found.trained_counted for found in self.found.values())
        return f"{n:,} rows of the training are {'counted: these flatter the detectors' if counted else 'left out of all figures'}."


def evaluate_many(
    trials: Iterable[Trial], *, executor: Executor = here, on_end: Callable[[int, int], None] = lambda done, total: None
) -> Evaluations:
    """Compare what is found in many inputs with their labels.

    Args:
        trials: the inputs.
        executor: what runs the tasks.
        on_end: called after each input with how many are done, and how many there are.
    """
    trials, found = list(trials), {}
    evaluations = Evaluations()
    with closing(executor(evaluate_one, trials)) as outcomes:  # type: ignore[type-var]
        for trial, outcome in outcomes:
            found[trial.name] = outcome
            on_end(len(found), len(trials))
    for name in (trial.name for trial in trials):
        outcome = found[name]
        if isinstance(outcome, AnomalyError):
            evaluations.failed[name] = outcome
        else:
            evaluations.found[name] = outcome
    return evaluations


def evaluate_one(trial: Trial) -> Evaluation:
    """Compare what is found in an input with its labels.

    Args:
        trial: the input.

    Raises:
        DataError: as `evaluate` and `read_csv`, or if the fleet has no detector for the series.
        ConfigError: if the range is none, or holds no row, or the input is refused.
        BundleError: if its bundle is refused.
        StorageError: if the input cannot be read.
    """
    if trial.refusal:
        raise ConfigError(trial.refusal)
    detector, _ = trial.model.detector(trial.name)
    bundle = detector.bundle_
    own = {"time_column": bundle.time_column, "value_columns": bundle.judged_columns, "label_column": trial.label_column}
    series = read_csv(trial.path, **own | bundle.reading | trial.reading) if trial.rows is None else trial.rows
    scores = detector.score(series, aggregation=trial.aggregation)
    scores = scores if trial.threshold is None else scores.at(check_threshold(trial.threshold))
    wanted = range_of(series.times, series.time_column, trial.since, trial.until, zone=series.zone)
    compared = wanted.holds(np.arange(len(series)), series.times)
    return evaluate(
        series.of_columns(bundle.judged_columns), scores, detector.detect(scores), buffer=trial.buffer, scaler=bundle.judged_scaler,
        references=bundle.references, point_adjust=trial.point_adjust,
        compared=compared, trained=training_rows(bundle, series), count_training=trial.count_training,
    )  # fmt: skip


def trials_of(paths: Sequence[str], id_column: str, reading: dict[str, Any], **common: Any) -> list[Trial]:
    """Return a trial for each series in long files, whose records belong to several; one that is in several files is joined.

    Args:
        paths: of the files.
        id_column: as for `read_joined`, which has the errors too.
        reading: as in `Trial`.
        common: what else a `Trial` takes.
    """
    model: Model = common["model"]
    several = model.of_several()
    own = {"time_column": several.time_column, "value_columns": several.judged_columns, "label_column": common["label_column"]}
    found = read_joined(paths, id_column, **own | several.reading | reading)
    return [Trial(name=name, path=paths[0], reading=reading, rows=rows, **common) for name, rows in found.items()]


def _figures(found: Evaluation) -> list[float]:
    events = found.events
    return [
        found.vus_pr, found.vus_roc, found.auc_pr, events.recall, events.precision, events.f1, found.false_alarms_per_1000_rows,
    ]  # fmt: skip
