"""Score a CSV file of any length: read, score and write in chunks."""

import csv
import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from anomaly.arriving import Stop
from anomaly.bundle import to_bytes
from anomaly.detector import Detector
from anomaly.errors import DataError, shorten
from anomaly.events import Event, EventFinder
from anomaly.ingest import CsvReader
from anomaly.journal import Journal
from anomaly.row_scores import OK, SCORED, STATUSES, Codes, RowScores
from anomaly.scoring import flags
from anomaly.series import Floats, Ints
from anomaly.threshold import check_threshold
from anomaly.tolerance import Tolerance

# A row or two do not tell how often rows come.
FOLLOWED_ROWS_FOR_PACE = 16
APPENDED = ("score", "threshold", "anomaly_score", "is_anomaly", "status")


@dataclass(frozen=True)
class ScoredRows:
    """Consecutive rows of a file with their final scores."""

    lines: list[str]  # the records as they stand in the file
    times: Ints  # (n,), as in `RowScores`
    score: Floats  # (n,)
    by_feature: Floats  # (n, n_features)
    deviation: Floats  # (n, n_features)
    status: Codes  # (n,)

    def after(self, n: int) -> "ScoredRows":
        """Return the rows behind the first `n`."""
        return ScoredRows(*(values[n:] for values in vars(self).values()))


@dataclass
class FileSummary:
    """What a run over a file came to."""

    n_rows: int = 0
    n_flagged: int = 0
    statuses: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATUSES, 0))
    events: list[Event] = field(default_factory=list)
    tolerance: Tolerance = field(default_factory=Tolerance)

    @property
    def n_scored(self) -> int:
        """Rows that have a score."""
        return sum(self.statuses[STATUSES[code]] for code in SCORED)

    def count(self, rows: ScoredRows, threshold: float) -> None:
        """Count further rows."""
        self.n_rows += len(rows.lines)
        self.n_flagged += int(flags(rows.score, threshold).sum())
        for code, n in zip(*np.unique(rows.status, return_counts=True), strict=True):
            self.statuses[STATUSES[code]] += int(n)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; the rows of all statuses and the rejected ones together are the rows read."""
        return self.tolerance.to_dict(self.n_rows) | {
            "statuses": self.statuses,
            "flagged": self.n_flagged,
            "events": len(self.events),
        }

    def __str__(self) -> str:
        """Say in one line what came out."""
        rejected = self.tolerance.n_rejected
        counts = self.statuses | {"rejected": rejected}
        rest = [f"{count:,} {name}" for name, count in counts.items() if count and name != STATUSES[OK]]
        counted = f" ({', '.join(rest)})" if rest else ""
        n = len(self.events)
        tolerated = f" {self.tolerance}" if self.tolerance.counts else ""
        return (
            f"{self.n_scored:,} of {self.n_rows + rejected:,} rows scored{counted}; "
            f"{self.n_flagged:,} flagged, {n:,} event{'s' if n != 1 else ''}.{tolerated}"
        )


def open_for(
    detector: Detector,
    path: str | Path,
    *,
    strict: bool = False,
    max_bytes: int | None = None,
    follow: Stop | None = None,
    **reading: Any,
) -> CsvReader:
    """Open a file to read the columns that the detector was trained on, in its order; see `CsvReader`."""
    bundle = detector.bundle_
    options = asdict(bundle.config.reading) | reading
    return CsvReader(
        path,
        time_column=bundle.time_column,
        value_columns=bundle.columns,
        strict=strict,
        max_bytes=max_bytes,
        follow=follow,
        **options,
    )


def score_rows(
    detector: Detector,
    reader: CsvReader,
    aggregation: str | None = None,
    journal: Journal | None = None,
    *,
    follow: bool = False,
) -> Iterator[ScoredRows]:
    """Yield every record of the file once, in order, as soon as its score is final.

    Args:
        detector: a fitted detector.
        reader: the file.
        aggregation: how overlapping windows become one score; default: the detector's own.
        journal: of a run that may go on from another one; the scores of rows that are written then mean nothing.
        follow: whether the rows arrive one by one, and each is to be scored as soon as it can be.

    Raises:
        DataError: as `CsvReader`; if the rows come at another pace than in training; if no row could be scored, unless they
            are followed.
    """
    through = journal.through if journal else None
    scorer = detector.row_scorer(aggregation, tolerance=reader.tolerance, through=through, eager=follow)
    pace = _Pace(detector, reader.name, FOLLOWED_ROWS_FOR_PACE if follow else 0)
    lines: list[str] = []
    n_rows, any_scored = 0, False
    for chunk in reader:
        pace.look_at(chunk.times)
        n_rows += len(chunk.lines)
        for piece in journal.pieces(chunk) if journal else (chunk,):
            lines = lines + piece.lines
            final = scorer.push(piece.times, piece.values)
            if len(final):
                any_scored |= bool(np.isfinite(final.score).any())
                yield _joined(lines, final)
                lines = lines[len(final) :]
    if journal:
        journal.end_input()
    final = scorer.finish()
    if not any_scored and not follow and not np.isfinite(final.score).any():
        raise detector.nothing_scored(n_rows, reader.name)
    if len(final):
        yield _joined(lines, final)


class _Pace:
    """Whether rows come as often as in training: told by the first `n` rows, or by the first rows that come together."""

    def __init__(self, detector: Detector, name: str, n: int) -> None:
        self._detector, self._name, self._n = detector, name, n
        self._times: Ints | None = np.empty(0, np.int64)

    def look_at(self, times: Ints) -> None:
        """Take further rows; refuse them where they come at another pace."""
        if self._times is None:
            return
        self._times = np.append(self._times, times)[: self._n or None]
        if len(self._times) >= self._n:
            self._detector.check_step(self._times, self._name)
            self._times = None


def _joined(lines: list[str], final: RowScores) -> ScoredRows:
    return ScoredRows(lines[: len(final)], final.times, final.score[0], final.by_feature[0], final.deviation[0], final.status[0])


def score_file(
    detector: Detector,
    path: str | Path,
    *,
    aggregation: str | None = None,
    threshold: float | None = None,
    output: IO[bytes] | Journal | None = None,
    file_format: str = "csv",
    strict: bool = False,
    max_bytes: int | None = None,
    follow: Stop | None = None,
    **reading: Any,
) -> FileSummary:
    """Score a CSV file; write its records with the scores behind them.

    Args:
        detector: a fitted detector.
        path: a CSV file, plain or gzip-compressed, or "-" for standard input.
        aggregation: how overlapping windows become one score; default: the detector's own.
        threshold: a cut to use instead of the calibrated one.
        output: a binary handle for the records, or the journal of a run that can go on after an interruption; None
            only finds the events.
        file_format: "csv" or "jsonl".
        strict: refuse what is otherwise tolerated and counted.
        max_bytes: refuse an input of more bytes, decompressed.
        follow: score records as they arrive, and write each at once, until this says so; None scores what is there.
        reading: timezone, dst, time_format (by default the detector's), on_bad_rows, max_bad_fraction and rejects, as for
            `CsvReader`.

    Returns:
        Counts, and the events in order.

    Raises:
        DataError: as `score_rows`, or if the file already has a column with the name of an appended one.
        ConfigError: if the journal is that of another detector or of other options.
    """
    name = detector.aggregation_name(aggregation)
    bundle = detector.bundle_
    cut = bundle.thresholds[name].value if threshold is None else check_threshold(threshold)
    finder = EventFinder(cut, bundle.columns, bundle.rules)
    summary = FileSummary()
    journal = output if isinstance(output, Journal) else None
    with open_for(detector, path, strict=strict, max_bytes=max_bytes, follow=follow, **reading) as reader:
        summary.tolerance = reader.tolerance
        if journal:
            identity = {"detector": hashlib.sha256(to_bytes(bundle)).hexdigest(), "aggregation": name, "threshold": cut}
            # Not how the rows are read: the journal sees what came of it.
            journal.begin(identity | {"format": file_format, "header": reader.header_line}, reader.name)
        record = _recorder(reader, output, file_format, cut, at_once=follow is not None)
        for scored in score_rows(detector, reader, name, journal, follow=follow is not None):
            rows = record(scored)
            summary.count(rows, cut)
            summary.events += finder.push(rows.times, rows.score, rows.by_feature, rows.deviation)
    summary.events += finder.finish()
    return summary


def _recorder(
    reader: CsvReader, output: IO[bytes] | Journal | None, file_format: str, threshold: float, *, at_once: bool
) -> Callable[[ScoredRows], ScoredRows]:
    """Return what writes rows, and returns them with the scores that are to be counted."""
    if output is None:
        return lambda rows: rows
    write = _writer(reader, output, file_format, threshold)

    def record(rows: ScoredRows) -> ScoredRows:
        if isinstance(output, Journal):
            rows, n_written = _recalled(output, rows, threshold)
            write(rows.after(n_written))
            output.mark()
            return rows
        write(rows)
        if at_once:
            output.flush()
        return rows

    return record


def _recalled(journal: Journal, rows: ScoredRows, threshold: float) -> tuple[ScoredRows, int]:
    """Return the rows with what the journal knows of them, and how many of them are written."""
    table = np.column_stack([rows.score, rows.by_feature, rows.deviation])
    n_written = journal.settle(table, threshold)
    by_feature, deviation = np.split(table[:, 1:], 2, axis=1)
    return replace(rows, score=table[:, 0], by_feature=by_feature, deviation=deviation), n_written


def _writer(reader: CsvReader, output: IO[bytes] | Journal, file_format: str, threshold: float) -> Callable[[ScoredRows], None]:
    clash = [name for name in reader.columns if name in APPENDED]
    if clash:
        raise DataError(
            f"The input must not have columns that scoring appends ({', '.join(APPENDED)}). Received: {shorten(clash)} "
            f"({reader.name}, line 1). Rename them, or score the file they were made from."
        )
    if file_format == "csv":
        if not (isinstance(output, Journal) and output.rows):
            output.write(f"{reader.delimiter.join([reader.header_line, *APPENDED])}\n".encode())
        return lambda rows: _write_csv(output, rows, threshold, reader.delimiter)
    return lambda rows: _write_jsonl(output, rows, threshold, reader)


def _write_csv(output: IO[bytes] | Journal, rows: ScoredRows, threshold: float, delimiter: str) -> None:
    cut = f"{threshold:.9g}"
    parts = []
    flagged = flags(rows.score, threshold).tolist()
    for line, score, flag, status in zip(rows.lines, rows.score.tolist(), flagged, rows.status.tolist(), strict=True):
        if math.isnan(score):  # no score, and no verdict either
            cells = (line, "", cut, "", "", STATUSES[status])
        else:
            cells = (line, f"{score:.9g}", cut, f"{score / threshold:.9g}", f"{flag:d}", STATUSES[status])
        parts.append(delimiter.join(cells) + "\n")
    output.write("".join(parts).encode())


def _write_jsonl(output: IO[bytes] | Journal, rows: ScoredRows, threshold: float, reader: CsvReader) -> None:
    numeric = {*reader.value_columns}
    parts = []
    flagged = flags(rows.score, threshold).tolist()
    for cells, score, flag, status in zip(
        csv.reader(rows.lines, delimiter=reader.delimiter), rows.score.tolist(), flagged, rows.status.tolist(), strict=True
    ):
        record: dict[str, Any] = {
            name: _number(cell) if name in numeric else cell for name, cell in zip(reader.columns, cells, strict=True)
        }
        known = not math.isnan(score)
        record |= {
            "score": float(f"{score:.9g}") if known else None,
            "threshold": float(f"{threshold:.9g}"),
            "anomaly_score": float(f"{score / threshold:.9g}") if known else None,
            "is_anomaly": flag if known else None,
            "status": STATUSES[status],
        }
        parts.append(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
    output.write("".join(parts).encode())


def _number(cell: str) -> float | str | None:
    """Return a cell as JSON can hold it: JSON has no NaN and no infinity."""
    try:
        value = float(cell)
    except ValueError:
        return None
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else cell
