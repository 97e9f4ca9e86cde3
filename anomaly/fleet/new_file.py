"""Score a file whose series the fleet was not trained on, by what its own first rows teach."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.detector.lookup import Detectors
from anomaly.errors import ConfigError, DataError
from anomaly.files.one_file import FileSummary, open_for
from anomaly.files.scored_rows import Output, ScoredRows, row_writer
from anomaly.live.learning import LearningStream
from anomaly.live.stream import How, Rows
from anomaly.scoring.bands import figure_names


def score_new_file(
    model: Detectors, name: str, path: str | Path, *, aggregation: str | None = None, threshold: float | None = None,
    output: Output | None = None, file_format: str = "csv", say: Callable[[str], None] = lambda sentence: None,
    figures: tuple[str, ...] = (), since: str | None = None, until: str | None = None, list_all: bool = False, **reading: Any,
) -> FileSummary:  # fmt: skip
    """Score a file of one series; write its records with the scores behind them.

    Args:
        model: a fleet that learns new series.
        name: of the series.
        path: a CSV or Parquet file, or "-" for standard input.
        aggregation: how overlapping windows become one score; default: the fleet's.
        threshold: a cut to use instead of what is learnt.
        output: a binary handle for the records; None only finds the events.
        file_format: "csv" or "jsonl".
        say: receives a sentence on how far the series was learnt.
        figures: as for `score_file`.
        since: must be None: such a series is learnt from its first rows, and all are written.
        until: likewise.
        list_all: keep the runs of flagged rows that are no events too.
        reading: as for `score_file`.

    Raises:
        DataError: as `score_file`; if nothing could be learnt.
        ConfigError: if a range is asked for.
    """
    if (since, until) != (None, None):
        raise ConfigError(
            f"A series that is learnt from its own rows is written whole. Received: {'--since' if since else '--until'} "
            f"{since or until} ({name}). Leave the range out, or train a detector for it."
        )
    teacher = model.teacher(name)
    if teacher is None:
        raise ConfigError(f"A series must be new to be learnt. Received: {name!r}, which has a detector. Please report this.")
    summary, any_scored = FileSummary(left_out=[] if list_all else None), False
    with open_for(teacher.detector, path, **reading) as reader:
        summary.tolerance = reader.tolerance
        names = figure_names(teacher.bundle.columns, figures)
        write = row_writer(reader, output, file_format, names=names) if output else lambda rows: None
        stream = LearningStream(name, teacher, How(aggregation, threshold, name=reader.name, figures=figures), reader.tolerance)

        def take(rows: ScoredRows, *, ended: bool = False) -> None:
            nonlocal any_scored
            any_scored |= bool(np.isfinite(rows.score).any())
            write(rows)
            summary.count(rows)
            summary.keep(*stream.events(rows, ended=ended))

        n_records = 0
        for chunk in reader:
            n_records += len(chunk.lines)
            places = np.arange(n_records - len(chunk.lines), n_records)
            take(stream.push(Rows(chunk.lines, places, chunk.times, chunk.values))[1])
        take(stream.finish()[1], ended=True)
    summary.learnt = {name: stream.described()}
    if not any_scored:
        raise DataError(stream.sentence())
    say(stream.sentence())
    return summary
