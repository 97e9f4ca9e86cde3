"""Score a CSV file of any length: read, score and write in chunks."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from anomaly.bundle.file import to_bytes
from anomaly.detector.detector import Detector
from anomaly.files.journal import Journal
from anomaly.files.scored_rows import ScoredRows, row_writer
from anomaly.files.series_drift import SeriesDriftResult
from anomaly.ingest.chunks import Chunk
from anomaly.ingest.csv_rows import CsvReader
from anomaly.ingest.tolerance import Tolerance
from anomaly.scoring.drift import Drift, DriftResult
from anomaly.scoring.events import Event, EventFinder, NotRaised
from anomaly.scoring.not_raised import not_raised_text
from anomaly.scoring.row_scores import OK, SCORED, STATUSES
from anomaly.thresholds.calibration import check_threshold

# How the series of a file is called that has only one.
ONE_SERIES = ""


@dataclass
class FileSummary:
    """What a run over a file came to."""

    n_rows: int = 0
    n_flagged: int = 0
    n_events: int = 0
    n_failed: int = 0  # series that could not be scored
    signal: int | None = None  # that ended the run
    statuses: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATUSES, 0))
    events: list[Event] = field(default_factory=list)
    series: list[str] | None = None  # of each event, if there are several
    not_raised: Counter[str] = field(default_factory=Counter)  # runs of flagged rows that are no events, by reason
    left_out: list[tuple[str, NotRaised]] | None = None  # these, each with its series; None only counts them
    tolerance: Tolerance = field(default_factory=Tolerance)
    drift: DriftResult | SeriesDriftResult | None = None
    learnt: dict[str, dict[str, Any]] = field(default_factory=dict)  # how far series are learnt that have no detector

    @property
    def n_scored(self) -> int:
        """Rows that have a score."""
        return sum(self.statuses[STATUSES[code]] for code in SCORED)

    def keep(self, events: list[Event], not_raised: list[NotRaised]) -> None:
        """Count and keep further events, and what is none."""
        self.n_events += len(events)
        self.events += events
        self.pass_over(not_raised)

    def pass_over(self, runs: list[NotRaised], series: str = ONE_SERIES) -> None:
        """Count runs of flagged rows that are no events, and keep them if that is wanted."""
        self.not_raised.update(run.reason for run in runs)
        if self.left_out is not None:
            self.left_out += [(series, run) for run in runs]

    def count(self, rows: ScoredRows) -> None:
        """Count further rows."""
        self.n_rows += len(rows.lines)
        self.n_flagged += int(rows.flags.sum())
        for code, n in zip(*np.unique(rows.status, return_counts=True), strict=True):
            self.statuses[STATUSES[code]] += int(n)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; the rows of all statuses and the rejected ones together are the rows read."""
        return (
            self.tolerance.to_dict(self.n_rows)
            | {
                "statuses": self.statuses,
                "flagged": self.n_flagged,
                "events": self.n_events,
                "not_raised": dict(self.not_raised),
            }
            | ({} if self.drift is None else {"drift": self.drift.to_dict()})
            | ({"new_series": self.learnt} if self.learnt else {})
        )

    def __str__(self) -> str:
        """Say in one line what came out."""
        rejected = self.tolerance.n_rejected
        counts = self.statuses | {"rejected": rejected}
        rest = [f"{count:,} {name}" for name, count in counts.items() if count and name != STATUSES[OK]]
        counted = f" ({', '.join(rest)})" if rest else ""
        n, left_out = self.n_events, not_raised_text(self.not_raised)
        tolerated = f" {self.tolerance}" if self.tolerance.counts else ""
        return (
            f"{self.n_scored:,} of {self.n_rows + rejected:,} rows scored{counted}; "
            f"{self.n_flagged:,} flagged, {n:,} event{'s' if n != 1 else ''}{left_out and f'; {left_out}'}.{tolerated}"
        )


def open_for(
    detector: Detector,
    path: str | Path,
    *,
    strict: bool = False,
    max_bytes: int | None = None,
    **reading: Any,
) -> CsvReader:
    """Open a file to read the columns that the detector was trained on, in its order; see `CsvReader`."""
    bundle = detector.bundle_
    options = {"time_column": bundle.time_column, "value_columns": bundle.columns} | bundle.reading | reading
    return CsvReader(path, strict=strict, max_bytes=max_bytes, **options)


def score_rows(
    detector: Detector,
    reader: CsvReader,
    aggregation: str | None = None,
    threshold: float | None = None,
    journal: Journal | None = None,
    drift: Drift | None = None,
    on_chunk: Callable[[Chunk], None] | None = None,
) -> Iterator[ScoredRows]:
    """Yield every record of the file once, in order, as soon as its score is final.

    Args:
        detector: a fitted detector.
        reader: the file.
        aggregation: how overlapping windows become one score; default: the detector's own.
        threshold: a cut to use instead of the calibrated one.
        journal: of a run that may go on from another one; the scores of rows that are written then mean nothing.
        drift: receives the values.
        on_chunk: called with what was read, chunk by chunk.

    Raises:
        DataError: as `CsvReader`; if the rows come at another pace than in training; if no row could be scored.
    """
    name = detector.aggregation_name(aggregation)
    cut = detector.bundle_.thresholds[name].value if threshold is None else check_threshold(threshold)
    scorer = detector.row_scorer(name, tolerance=reader.tolerance, through=journal.through if journal else None)
    lines: list[str] = []
    n_rows, any_scored = 0, False
    for chunk in reader:
        if not n_rows:
            detector.check_step(chunk.times, reader.name)
        n_rows += len(chunk.lines)
        if on_chunk:
            on_chunk(chunk)
        if drift:
            drift.push(values=chunk.values)
        for piece in journal.pieces(chunk) if journal else (chunk,):
            lines = lines + piece.lines
            final = scorer.push(piece.times, piece.values)
            if len(final):
                any_scored |= bool(np.isfinite(final.score).any())
                yield ScoredRows.of(lines, final, cut)
                lines = lines[len(final) :]
    if journal:
        journal.end_input()
    final = scorer.finish()
    if not any_scored and not np.isfinite(final.score).any():
        raise detector.nothing_scored(n_rows, reader.name)
    if len(final):
        yield ScoredRows.of(lines, final, cut)


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
    on_rows: Callable[[str, ScoredRows], None] = lambda series, rows: None,
    on_chunk: Callable[[Chunk], None] | None = None,
    list_all: bool = False,
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
        on_rows: receives rows with their final scores, and a series without a name.
        on_chunk: called with what was read, chunk by chunk.
        list_all: whether the runs of flagged rows that are no events are kept too, and not only counted.
        reading: timezone, dst, time_format (the detector's unless given), on_bad_rows, ... as for `CsvReader`.

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
    summary, drift = FileSummary(left_out=[] if list_all else None), bundle.drift(name)
    journal = output if isinstance(output, Journal) else None
    with open_for(detector, path, strict=strict, max_bytes=max_bytes, **reading) as reader:
        summary.tolerance = reader.tolerance
        if journal:
            identity = {"detector": hashlib.sha256(to_bytes(bundle)).hexdigest(), "aggregation": name, "threshold": cut}
            # Not how the rows are read: the journal sees what came of it.
            journal.begin(identity | {"format": file_format, "header": reader.header_line}, reader.name)
        record = _recorder(reader, output, file_format, drift)
        for scored in score_rows(detector, reader, name, cut, journal, drift, on_chunk):
            rows = record(scored)
            summary.count(rows)
            on_rows(ONE_SERIES, rows)
            summary.keep(finder.push(rows.times, rows.score, rows.by_feature, rows.deviation), finder.not_raised())
    summary.keep(finder.finish(), finder.not_raised())
    summary.drift = drift.result()
    return summary


def _recorder(
    reader: CsvReader, output: IO[bytes] | Journal | None, file_format: str, drift: Drift
) -> Callable[[ScoredRows], ScoredRows]:
    """Return what writes rows, and returns them with the scores that are to be counted; `drift` receives these."""
    if isinstance(output, Journal):
        drift.restore(output.scores)
    write = (
        None
        if output is None
        else row_writer(reader, output, file_format, header=not (isinstance(output, Journal) and output.rows))
    )

    def record(rows: ScoredRows) -> ScoredRows:
        n_written = 0
        if isinstance(output, Journal):
            rows, n_written = _recalled(output, rows)
        drift.push(scores=rows.score[n_written:])
        if write:
            write(rows.after(n_written))
        if isinstance(output, Journal):
            output.mark(drift.counts)
        return rows

    return record


def _recalled(journal: Journal, rows: ScoredRows) -> tuple[ScoredRows, int]:
    """Return the rows with what the journal knows of them, and how many of them are written."""
    table = np.column_stack([rows.score, rows.by_feature, rows.deviation])
    n_written = journal.settle(table, float(rows.threshold[0]))
    by_feature, deviation = np.split(table[:, 1:], 2, axis=1)
    return replace(rows, score=table[:, 0], by_feature=by_feature, deviation=deviation), n_written
