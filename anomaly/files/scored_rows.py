"""Rows with their scores, and how they are written: the record as it came, and with it what scoring appends."""

import csv
import itertools
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np

from anomaly.errors import DataError, shorten
from anomaly.scoring.bands import expected_of, figures_of
from anomaly.scoring.row_scores import APPENDED, STATUSES, Codes, RowScores
from anomaly.scoring.scores import flags
from anomaly.series import Bools, Floats, Ints
from anomaly.windowing.scaling import Scaler
from anomaly.words import names_text, number_beside

# Nearer than that to what was measured, nine digits show little of a difference.
_NEAR = 1e-6


@dataclass(frozen=True)
class ScoredRows:
    """Consecutive rows of an input with their final scores."""

    lines: list[str]  # the records as they stand in the input
    times: Ints  # (n,), as in `RowScores`
    score: Floats  # (n,)
    by_feature: Floats  # (n, n_features)
    deviation: Floats  # (n, n_features)
    status: Codes  # (n,)
    threshold: Floats  # (n,)
    measured: Floats | None = None  # (n, n_features), in the units of the columns; None where nothing is known of any row
    expected: Floats | None = None  # of the same shape
    figures: Floats | None = None  # (n, n_figures), as `figures_of` returns them; None where none are written

    @staticmethod
    def of(lines: list[str], final: RowScores, threshold: float, scaler: Scaler, wanted: tuple[str, ...] = ()) -> "ScoredRows":
        """Return rows scored for a single aggregation.

        Args:
            lines: their records; there may be more.
            final: the rows.
            threshold: a row is flagged if its score is greater.
            scaler: of the detector.
            wanted: of `FIGURES`.
        """
        n, measured, by_feature, deviation = len(final), final.measured, final.by_feature[0], final.deviation[0]
        figures = figures_of(wanted, measured, by_feature, deviation, final.bands, scaler, threshold) if wanted else None
        told = measured, expected_of(measured, deviation, scaler), figures
        scores = final.score[0], by_feature, deviation, final.status[0]
        return ScoredRows(lines[:n], final.times, *scores, np.full(n, threshold), *told)

    @staticmethod
    def joined(parts: "list[ScoredRows]") -> "ScoredRows":
        """Join at least one part."""
        if len(parts) == 1:
            return parts[0]
        lines = list(itertools.chain.from_iterable(part.lines for part in parts))
        arrays = [[getattr(part, item.name) for part in parts] for item in fields(ScoredRows)[1:]]
        joined: list[Any] = [None if any(a is None for a in of_parts) else np.concatenate(of_parts) for of_parts in arrays]
        return ScoredRows(lines, *joined)

    @property
    def flags(self) -> Bools:
        """Rows with `score > threshold`, `(n,)`."""
        return flags(self.score, self.threshold)

    @property
    def for_events(self) -> tuple[Any, ...]:
        """What `EventFinder.push` takes."""
        return self.times, self.score, self.by_feature, self.deviation, self.measured, self.expected

    def after(self, n: int) -> "ScoredRows":
        """Return the rows behind the first `n`."""
        later: list[Any] = [None if values is None else values[n:] for values in vars(self).values()]
        return ScoredRows(*later)

    def where(self, chosen: Bools) -> "ScoredRows":
        """Return the rows that are chosen, `(n,)`; all of them are no copy."""
        return self if chosen.all() else self.at(np.flatnonzero(chosen))

    def at(self, places: Ints) -> "ScoredRows":
        """Return the rows at some places, in their order."""
        arrays: list[Any] = [None if values is None else values[places] for values in list(vars(self).values())[1:]]
        return ScoredRows([self.lines[i] for i in places.tolist()], *arrays)


class Output(Protocol):
    """What takes bytes: a binary handle, or the journal of a run."""

    def write(self, data: bytes, /) -> Any:
        """Take bytes."""


class Source(Protocol):
    """What is known of the input that the records come from: a reader."""

    name: str
    file_format: str
    columns: list[str]
    value_columns: list[str]
    delimiter: str
    header_line: str
    header_number: int


def row_writer(
    source: Source, output: Output, file_format: str, *, header: bool = True, names: tuple[str, ...] = ()
) -> Callable[[ScoredRows], None]:
    """Return what writes rows; the header line of a CSV file is written at once.

    Args:
        source: the reader that the rows come from.
        output: where they go.
        file_format: one of `config.OUTPUT_FORMATS` of the source's format.
        header: whether the header line is still to be written.
        names: of the figures of the rows.

    Raises:
        DataError: if the input already has what scoring appends; with JSON Lines and line protocol, when it comes.
    """
    if source.file_format == "csv" and (clash := [name for name in source.columns if name in (*APPENDED, *names)]):
        raise DataError(
            f"The input must not have columns that scoring appends ({names_text((*APPENDED, *names), 9)}). "
            f"Received: {shorten(clash)} ({source.name}, line {source.header_number}). "
            "Rename them, or score the file they were made from."
        )
    if file_format == "csv" and header:
        cells = [source.header_line, *APPENDED, *(_quoted(name, source.delimiter) for name in names)]
        output.write(f"{source.delimiter.join(cells)}\n".encode())
    writers = {
        ("csv", "csv"): _as_csv,
        ("csv", "jsonl"): _as_json,
        ("jsonl", "jsonl"): _in_json,
        ("influx", "influx"): _in_protocol,
    }
    texts = writers[source.file_format, file_format]

    def write(rows: ScoredRows) -> None:
        output.write("".join(texts(rows, source, names)).encode())

    return write


def _quoted(name: str, delimiter: str) -> str:
    """Return a name as a field of a line of CSV."""
    return '"' + name.replace('"', '""') + '"' if any(mark in name for mark in (delimiter, '"', "\n", "\r")) else name


def _figures(rows: ScoredRows, names: tuple[str, ...]) -> Iterator[list[str]]:
    """Yield the figures of each row as text; empty where there is none."""
    if not names or rows.figures is None:  # of rows without a detector there are none
        yield from itertools.repeat([""] * len(names), len(rows.lines))
        return
    beside = rows.figures if rows.measured is None else np.repeat(rows.measured, len(names) // rows.measured.shape[1], axis=1)
    with np.errstate(invalid="ignore"):  # of infinite values
        near: Bools = (np.abs(rows.figures - beside) < _NEAR * np.abs(rows.figures)).max(axis=1)
    for numbers, others, some_near in zip(rows.figures.tolist(), beside.tolist(), near.tolist(), strict=True):
        if some_near:
            yield ["" if math.isnan(x) else number_beside(x, y) for x, y in zip(numbers, others, strict=True)]
        else:
            yield ["" if math.isnan(number) else f"{number:.9g}" for number in numbers]


def _as_csv(rows: ScoredRows, source: Source, names: tuple[str, ...]) -> Iterator[str]:
    if names:
        for line, cells, figures in zip(rows.lines, _cells(rows), _figures(rows, names), strict=True):
            yield source.delimiter.join((line, *cells, *figures)) + "\n"
        return
    cuts = np.unique(rows.threshold)
    if len(cuts) == 1 and not np.isnan(cuts[0]) and not np.isnan(rows.score).any():
        scored = source.delimiter.join(("%s", "%.9g", f"{cuts[0]:.9g}", "%.9g", "%d", "%s\n"))
        statuses = [STATUSES[status] for status in rows.status.tolist()]
        ratios = (rows.score / rows.threshold).tolist()
        yield from map(scored.__mod__, zip(rows.lines, rows.score.tolist(), ratios, rows.flags.tolist(), statuses, strict=True))
        return
    for line, cells in zip(rows.lines, _cells(rows), strict=True):
        yield source.delimiter.join((line, *cells)) + "\n"


def _cells(rows: ScoredRows) -> Iterator[tuple[str, ...]]:
    """Yield what is appended to each record, as text."""
    cuts = {threshold: "" if math.isnan(threshold) else f"{threshold:.9g}" for threshold in np.unique(rows.threshold).tolist()}
    numbers = zip(rows.score.tolist(), rows.threshold.tolist(), rows.flags.tolist(), rows.status.tolist(), strict=True)
    for score, threshold, flag, status in numbers:
        cut = cuts.get(threshold, "")  # nan is no key
        if math.isnan(score):  # no score, and no verdict either
            yield "", cut, "", "", STATUSES[status]
        else:
            yield f"{score:.9g}", cut, f"{score / threshold:.9g}", f"{flag:d}", STATUSES[status]


def _as_json(rows: ScoredRows, source: Source, names: tuple[str, ...]) -> Iterator[str]:
    numeric = {*source.value_columns}
    for cells, appended in zip(csv.reader(rows.lines, delimiter=source.delimiter), _values(rows, names), strict=True):
        record = {name: _number(cell) if name in numeric else cell for name, cell in zip(source.columns, cells, strict=True)}
        yield json.dumps(record | appended, ensure_ascii=False, allow_nan=False) + "\n"


def _values(rows: ScoredRows, names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield what is appended to each record, as values for JSON."""
    for (score, threshold, anomaly_score, flag, status), figures in zip(_cells(rows), _figures(rows, names), strict=True):
        yield {
            "score": float(score) if score else None,
            "threshold": float(threshold) if threshold else None,
            "anomaly_score": float(anomaly_score) if score else None,
            "is_anomaly": flag == "1" if score else None,
            "status": status,
        } | {name: float(cell) if cell else None for name, cell in zip(names, figures, strict=True)}


def _number(cell: str) -> float | str | None:
    """Return a cell as JSON can hold it: JSON has no NaN and no infinity."""
    try:
        value = float(cell)
    except ValueError:
        return None
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else cell


def _in_json(rows: ScoredRows, source: Source, names: tuple[str, ...]) -> Iterator[str]:
    """Put the values in before the last bracket of each object, whose own text stays as it came."""
    for line, appended in zip(rows.lines, _values(rows, names), strict=True):
        text, more = line.rstrip()[:-1].rstrip(), json.dumps(appended)[1:]
        yield f"{text}{'' if text.endswith('{') else ', '}{more}\n"


def _in_protocol(rows: ScoredRows, source: Source, names: tuple[str, ...]) -> Iterator[str]:
    """Put fields in behind those of each line; what there is not is left out."""
    keys = [re.sub(r"([,= ])", r"\\\1", name) for name in names]
    for line, cells, figures in zip(rows.lines, _cells(rows), _figures(rows, names), strict=True):
        values, _, time = line.rstrip().rpartition(" ")
        named = dict(zip(APPENDED, cells, strict=True))
        named["is_anomaly"] = {"1": "true", "0": "false"}.get(named["is_anomaly"], "")
        named["status"] = f'"{named["status"]}"'
        named |= zip(keys, figures, strict=True)
        more = "".join(f",{name}={cell}" for name, cell in named.items() if cell)
        yield f"{values.rstrip(' ')}{more} {time}\n"
