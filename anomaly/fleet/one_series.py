"""One series of a training, in a process of its own: its detector trained, or measured with a network for all, and saved."""

from dataclasses import dataclass, replace
from typing import Any

from anomaly.bundle.bundle import Bundle
from anomaly.config import DetectorConfig
from anomaly.errors import ConfigError, DataError
from anomaly.fitting.fit import fit_bundle
from anomaly.fitting.left_out import without_known_trouble
from anomaly.fitting.measuring import measured
from anomaly.fitting.ready import Ready
from anomaly.fitting.trained import Trained
from anomaly.fleet.folder import Member, series_name, write_member
from anomaly.fleet.outcomes import Success
from anomaly.fleet.progress import Ends, Origin, described_options, origin_of
from anomaly.ingest.order import in_order
from anomaly.ingest.reading import read_csv
from anomaly.meaning.sentinels import refuse_sentinels
from anomaly.ranges import training_part
from anomaly.series import TimeSeries
from anomaly.sources.tolerance import Tolerance


@dataclass(frozen=True)
class Task:
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


def trained_before(task: Task) -> Success | None:
    """Return what came of a series before, if that still holds."""
    if task.origin is None or task.before is None:
        return None
    if (found := task.origin.found(task.folder, task.name, task.before, task.placed)) is None:
        return None
    member, bundle = found
    told = task.before.get("described")
    described = (told if isinstance(told, dict) else {}) | _described(bundle)
    return Success(member, bundle.columns, bundle.time_column, described, dict(task.before), unchanged=True)


def known_origin(task: Task) -> Origin:
    """Return what the detector of a series is made from, where that is known."""
    if task.origin is None:
        raise ConfigError("A series must be read before it is measured. Received: none. Please report this.")
    return task.origin


def train_one(task: Task) -> Success:
    """Train a detector for a series, unless there is one that was made from the same.

    Raises:
        AnomalyError: as `read_csv` and `Detector.fit`.
    """
    origin = origin_of(task.rows, described_options(task.config, task.reading, task.ends))
    task = replace(task, origin=origin)
    if (found := trained_before(task)) is not None:
        return found
    series, tolerance = rows_of(task.name, task.rows, task.reading, task.ends)
    bundle, _ = fit_bundle(task.config, series, on_step=None, checkpoint=None, checkpoint_seconds=0, resume=False)
    return _saved(task, bundle, tolerance)


def measure_one(task: Task) -> Success:
    """Make the detector of a series from a network for all of them, unless there is one that was made from the same.

    Raises:
        AnomalyError: as `read_csv` and `Ready.of`.
    """
    if task.trained is None:
        raise ConfigError("A network must be trained before a series is measured. Received: none. Please report this.")
    if (found := trained_before(task)) is not None:
        return found
    series, tolerance = rows_of(task.name, task.rows, task.reading, task.ends)
    return _saved(task, measured(Ready.of(task.config, series), task.trained)[0], tolerance)


def _saved(task: Task, bundle: Bundle, tolerance: Tolerance) -> Success:
    described = tolerance.to_dict(bundle.training["n_rows"]) | _described(bundle)
    member = write_member(task.folder, task.name, bundle)
    entry = {} if task.origin is None else task.origin.entry(member, described, bundle, task.placed)
    return Success(member, bundle.columns, bundle.time_column, described, entry)


def _described(bundle: Bundle) -> dict[str, Any]:
    own = bundle.thresholds[bundle.config.scoring.aggregation]
    return {"training": bundle.training, "window_size": bundle.window_size, "threshold": own.value}


def rows_of(name: str, rows: str | TimeSeries, reading: dict[str, Any], ends: Ends) -> tuple[TimeSeries, Tolerance]:
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
