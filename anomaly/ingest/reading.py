"""A whole CSV or Parquet file in memory: as one series, or as the several that its records belong to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.columns.label_values import labels_as_said, normal_text
from anomaly.errors import DataError
from anomaly.ingest.chunks import Chunk, Names
from anomaly.ingest.csv_rows import CsvReader
from anomaly.ingest.rejects import MAX_BAD_FRACTION
from anomaly.meaning.footers import refuse_footer
from anomaly.quick_start import pd
from anomaly.series import Floats, TimeSeries
from anomaly.sources.tolerance import Tolerance
from anomaly.storage.writing import checked_path


def read_csv(
    path: str | Path,
    *,
    time_column: str | None = "auto",
    value_columns: str | Sequence[str] | None = None,
    label_column: str | None = None,
    ignore_columns: str | Sequence[str] = (),
    context_columns: str | Sequence[str] = (),
    on_bad_rows: str = "refuse",
    max_bad_fraction: float = MAX_BAD_FRACTION,
    rejects: str | Path | None = None,
    strict: bool = False,
    max_bytes: int | None = None,
    tolerance: Tolerance | None = None,
    on_chunk: Callable[[Chunk], None] | None = None,
    **reading: Any,
) -> TimeSeries:
    """Read a whole CSV or Parquet file into one `TimeSeries`.

    Args:
        path: a file, plain or gzip-compressed, or "-" for standard input.
        time_column: as for `CsvReader`; "auto" by default, None counts rows.
        value_columns: names of the features, or the name of the only one; default: every column that is neither time nor label.
        label_column: name of a column of 0 and 1, of -1 and 1 of which the clearly rarer one is the anomaly, or of words such as
            normal and attack; called normal, healthy or the like, 1 means that. It is never a feature.
        ignore_columns: names of columns that are no features.
        context_columns: names of columns that are read behind the features, see `CsvReader`.
        on_bad_rows: "refuse" a file with a bad record, or "skip" the record, see `CsvReader`.
        max_bad_fraction: the largest share of the records that may be skipped.
        rejects: a CSV file that receives what was skipped.
        strict: refuse what is otherwise tolerated and counted, see `anomaly.sources.tolerance`.
        max_bytes: refuse an input of more bytes, decompressed.
        tolerance: receives what was tolerated.
        on_chunk: called with each chunk of records as it is read.
        reading: settings of `anomaly.config.ReadingConfig`: timezone, dst, time_format, delimiter, decimal, thousands and
            missing_values; what is not given is told from the file, see `CsvReader`.

    Returns:
        The series, its rows in the order of the file.

    Raises:
        DataError: as `CsvReader`, or if there is no record after the header.
        ConfigError: as `CsvReader`.
        StorageError: if the file cannot be opened or read.
    """
    checked_path(path)
    with CsvReader(
        path, time_column=time_column, value_columns=None if value_columns is None else _names_of(value_columns),
        label_column=label_column, ignore_columns=_names_of(ignore_columns), context_columns=_names_of(context_columns),
        on_bad_rows=on_bad_rows, max_bad_fraction=max_bad_fraction, rejects=rejects, strict=strict, max_bytes=max_bytes,
        keep_lines=rejects is not None, sorts=True, **reading,
    ) as reader:  # fmt: skip
        series, _ = _whole(reader, on_chunk)
        if tolerance is not None:
            tolerance.take_over(reader.tolerance)
    return series


def _names_of(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def read_each(path: str | Path, id_column: str, *, tolerance: Tolerance | None = None, **options: Any) -> dict[str, TimeSeries]:
    """Read a long file, whose records belong to several series, into a `TimeSeries` for each.

    Args:
        path: as for `read_csv`.
        id_column: name of the column that says which series a record belongs to.
        tolerance: receives what was tolerated.
        options: what else `CsvReader` takes.

    Returns:
        The series by their names, in the order in which these first come; the rows of each in the order of the file. Where
        rows are counted, those of each series are.

    Raises:
        DataError: as `read_csv`.
        ConfigError: as `CsvReader`.
        StorageError: if the file cannot be opened or read.
    """
    with CsvReader(path, id_column=id_column, keep_lines=options.get("rejects") is not None, sorts=True, **options) as reader:
        whole, ids = _whole(reader)
        if tolerance is not None:
            tolerance.take_over(reader.tolerance)
    codes, names = pd.factorize(ids)
    order = np.argsort(codes, kind="stable")
    found = {}
    for name, rows in zip(names, np.split(order, np.flatnonzero(np.diff(codes[order])) + 1), strict=True):
        found[str(name)] = replace(
            whole,
            times=np.arange(len(rows), dtype=np.int64) if whole.time_column is None else whole.times[rows],
            values=whole.values[rows],
            labels=None if whole.labels is None else whole.labels[rows],
            name=f"{whole.name}, {name}",
        )
    return found


def read_joined(paths: Sequence[str | Path], id_column: str, **options: Any) -> dict[str, TimeSeries]:
    """Read several long files; the rows of a series that is in more than one are joined in the order of the files.

    Args:
        paths: as for `read_each`, which has the errors too.
        id_column: name of the column that says which series a record belongs to.
        options: what else `CsvReader` takes.
    """
    parts: dict[str, list[TimeSeries]] = {}
    for path in paths:
        for name, series in read_each(path, id_column, **options).items():
            parts.setdefault(name, []).append(series)
    return {name: _joined(found) for name, found in parts.items()}


def _joined(parts: list[TimeSeries]) -> TimeSeries:
    if len(parts) == 1:
        return parts[0]
    labels = [part.labels for part in parts if part.labels is not None]
    n_rows = sum(len(part) for part in parts)
    return replace(
        parts[0],
        times=np.arange(n_rows) if parts[0].time_column is None else np.concatenate([part.times for part in parts]),
        values=np.concatenate([part.values for part in parts]),
        labels=np.concatenate(labels) if labels else None,
    )


def _whole(reader: CsvReader, on_chunk: Callable[[Chunk], None] | None = None) -> tuple[TimeSeries, Names]:
    """Return all that a reader has to give, and the names in its id column."""
    chunks = []
    for chunk in reader:
        chunks.append(chunk)
        if on_chunk is not None:
            on_chunk(chunk)
    if not chunks:
        raise DataError(f"The file must have at least one record after its header. Received: 0 ({reader.name}).")
    times = np.concatenate([chunk.times for chunk in chunks])
    values = np.concatenate([chunk.values for chunk in chunks])
    if reader.id_column is None:
        refuse_footer(values, reader.name)
    labels = _labels_of(reader, chunks)
    return TimeSeries(
        times=times,
        values=values,
        columns=tuple(reader.value_columns),
        labels=labels,
        name=reader.name,
        time_column=reader.time_column,
        zone=reader.timezone,
        reading=reader.remembered,
    ), np.concatenate([chunk.ids for chunk in chunks if chunk.ids is not None] or [np.empty(0, np.object_)])


def _labels_of(reader: CsvReader, chunks: Sequence[Chunk]) -> Floats | None:
    """Return the labels, if they were asked for; tell which value was taken for the anomaly."""
    if reader.label_column is None:
        return None
    found = np.concatenate([chunk.labels for chunk in chunks if chunk.labels is not None])
    labels, told = labels_as_said(found, reader.label_column, reader.name)
    reader.tolerance.of_labels = [*([normal_text(reader.label_column)] if reader.turned_labels else []), *told]
    reader.tolerance.reading = [*reader.tolerance.reading, *reader.tolerance.of_labels]
    return labels
