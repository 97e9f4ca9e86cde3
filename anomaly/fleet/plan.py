"""Which series a training is about, and what is the same for all of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from anomaly.config import DetectorConfig
from anomaly.engines.pool import Executor, here
from anomaly.errors import AnomalyError
from anomaly.fleet.outcomes import Success
from anomaly.fleet.progress import Ends
from anomaly.ingest.csv_rows import CsvReader
from anomaly.ingest.reading import read_joined
from anomaly.series import TimeSeries
from anomaly.sources.inputs import Input
from anomaly.training.loop import Progress


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
