"""Score a CSV file of any length: read, score and write in chunks."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from anomaly.bundle.bundle import Bundle
from anomaly.bundle.file import to_bytes
from anomaly.detector.detector import Detector
from anomaly.events.event import Event, NotRaised
from anomaly.events.finder import EventFinder
from anomaly.events.not_raised import flagged_text, not_raised_text
from anomaly.files.asked_rows import AskedRows, range_in_file
from anomaly.files.journal import Journal
from anomaly.files.scored_rows import ScoredRows, row_writer
from anomaly.files.series_drift import SeriesDriftResult
from anomaly.fitting.shortcomings import unjudged_of
from anomaly.ingest.chunks import Chunk
from anomaly.ingest.csv_rows import CsvReader
from anomaly.ingest.order import Stacked
from anomaly.meaning.footers import LastRows
from anomaly.ranges import ALL_ROWS, RowRange
from anomaly.scoring.bands import figure_names
from anomaly.scoring.drift import Drift, DriftResult
from anomaly.scoring.row_scores import OK, SCORED, STATUSES
from anomaly.scoring.scores import check_threshold
from anomaly.series import Bools
from anomaly.sources.tolerance import Tolerance
from anomaly.windowing.unjudged import Unjudged

# How the series of a file is called that has only one.
ONE_SERIES = ""


@dataclass
class FileSummary:
    """What a run over a file came to: over the rows that were asked for."""

    wanted: RowRange = ALL_ROWS
    n_rows: int = 0
    n_outside: int = 0  # rows that were not asked for
    first_row: int = 0  # position of the first one that was
    first_number: int | dict[str, int] = 1  # of the first event, or of that of each series: as many lie before the rows asked for
    n_flagged: int = 0
    n_events: int = 0
    n_failed: int = 0  # series that could not be scored
    signal: int | None = None  # that ended the run
    statuses: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATUSES, 0))
    events: list[Event] = field(default_factory=list)
    series: list[str] | None = None  # of each event, if there are several
    not_raised: Counter[str] = field(default_factory=Counter)  # runs of flagged rows that are no events, by reason
    n_passed_over: int = 0  # flagged rows in these
    left_out: list[tuple[str, NotRaised]] | None = None  # these, each with its series; None only counts them
    tolerance: Tolerance = field(default_factory=Tolerance)
    drift: DriftResult | SeriesDriftResult | None = None
    unjudged: Unjudged | None = None  # counts features that could not be judged
    span: tuple[int, int] | None = None  # times of the first and the last row; None without rows
    learnt: dict[str, dict[str, Any]] = field(default_factory=dict)  # how far series are learnt that have no detector

    @property
    def n_scored(self) -> int:
        """Rows that have a score."""
        return sum(self.statuses[STATUSES[code]] for code in SCORED)

    def keep(self, events: list[Event], not_raised: list[NotRaised]) -> None:
        """Count and keep further events, and what is none; those outside the rows that were asked for only move the numbers."""
        inside = [event for event in events if self.wanted.touches(event)]
        if not self.n_events and isinstance(self.first_number, int):
            self.first_number += events.index(inside[0]) if inside else len(events)
        self.n_events += len(inside)
        self.events += inside
        self.pass_over(not_raised)

    def pass_over(self, runs: list[NotRaised], series: str = ONE_SERIES) -> None:
        """Count runs of flagged rows that are no events, and keep them if that is wanted."""
        runs = [run for run in runs if self.wanted.touches(run.event)]
        self.not_raised.update(run.reason for run in runs)
        self.n_passed_over += sum(run.event.n_flagged for run in runs)
        if self.left_out is not None:
            self.left_out += [(series, run) for run in runs]

    @property
    def n_inside(self) -> int | None:
        """Flagged rows in the events; None where these are not kept, or may lie outside the rows that were asked for."""
        known = self.n_events == len(self.events) and not self.wanted
        return sum(event.n_flagged for event in self.events) if known else None

    def count(self, rows: ScoredRows) -> None:
        """Count further rows."""
        self.n_rows += len(rows.lines)
        if len(rows.times):
            self.span = (int(rows.times[0]) if self.span is None else self.span[0], int(rows.times[-1]))
        self.n_flagged += int(rows.flags.sum())
        if self.unjudged is not None:
            self.unjudged.take(rows.score, rows.by_feature)
        for code, n in zip(*np.unique(rows.status, return_counts=True), strict=True):
            self.statuses[STATUSES[code]] += int(n)

    @property
    def not_judged(self) -> dict[str, float]:
        """Features that could not be judged on more rows than in training, with the share of these."""
        return {} if self.unjudged is None else self.unjudged.shares(self.tolerance.silent or ())

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
            | ({"outside_range": self.n_outside} if self.wanted else {})
            | ({} if self.n_inside is None else {"flagged_in_events": self.n_inside, "flagged_not_raised": self.n_passed_over})
            | ({"not_judged": shares} if (shares := self.not_judged) else {})
            | ({} if self.drift is None else {"drift": self.drift.to_dict()})
            | ({"new_series": self.learnt} if self.learnt else {})
        )

    def __str__(self) -> str:
        """Say in one line what came out."""
        rejected = self.tolerance.n_rejected
        counts = self.statuses | {"rejected": rejected}
        rest = [f"{count:,} {name}" for name, count in counts.items() if count and name != STATUSES[OK]]
        counted = f" ({', '.join(rest)})" if rest else ""
        left_out = not_raised_text(self.not_raised)
        flagged = flagged_text(self.n_flagged, self.n_events, self.n_inside, self.n_passed_over)
        unjudged = "" if self.unjudged is None else self.unjudged.text(self.tolerance.silent or ())
        told = (str(self.tolerance) if self.tolerance.counts else "", *self.tolerance.of_times, unjudged)
        tolerated = "".join(f" {said}" for said in told if said)
        within, others = (" in the range", f"; {self.n_outside:,} others lie outside of it") if self.wanted else ("", "")
        return (
            f"{self.n_scored:,} of {self.n_rows + rejected:,} rows{within} scored{counted}{others}; "
            f"{flagged}{left_out and f'; {left_out}'}.{tolerated}"
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
    return CsvReader(path, **reading_of(detector, strict=strict, max_bytes=max_bytes, **reading))


def reading_of(detector: Detector, **reading: Any) -> dict[str, Any]:
    """Return how a file is read for a detector, by the names of `CsvReader`; what is given counts before what it learnt."""
    bundle = detector.bundle_
    return {"time_column": bundle.time_column, "value_columns": bundle.judged_columns} | bundle.reading | reading


def score_rows(
    detector: Detector,
    reader: CsvReader,
    aggregation: str | None = None,
    threshold: float | None = None,
    journal: Journal | None = None,
    drift: Drift | None = None,
    on_chunk: Callable[[Chunk], None] | None = None,
    wanted: RowRange = ALL_ROWS,
    figures: tuple[str, ...] = (),
) -> Iterator[ScoredRows]:
    """Yield every record of the file once, in order, as soon as its score is final.

    Args:
        detector: a fitted detector.
        reader: the file.
        aggregation: how overlapping windows become one score; default: the detector's own.
        threshold: a cut to use instead of the calibrated one.
        journal: of a run that may go on from another one; the scores of rows that are written then mean nothing.
        drift: receives the values of the rows that are asked for.
        on_chunk: called with what was read, chunk by chunk.
        wanted: the rows that are asked for.
        figures: of `anomaly.config.FIGURES`.

    Raises:
        DataError: as `CsvReader`; if the rows come at another pace than in training; if no row could be scored.
    """
    name = detector.aggregation_name(aggregation)
    cut = detector.bundle_.thresholds[name].value if threshold is None else check_threshold(threshold)
    through = journal.through if journal else None
    scorer = detector.row_scorer(name, tolerance=reader.tolerance, through=through, bands="band" in figures)
    scaler = detector.bundle_.judged_scaler
    lines: list[str] = []
    n_rows, n_known, any_scored, asked = 0, np.zeros(len(detector.bundle_.columns)), False, AskedRows(wanted)
    stacked, last_rows = Stacked(reader.name, timed=reader.time_column is not None), LastRows(reader.name)
    for chunk in reader:
        (detector.check_pace if n_rows else detector.check_step)(chunk.times, reader.name)
        stacked.refuse(chunk.times)
        last_rows.take(chunk.values)
        n_rows, n_known = n_rows + len(chunk.lines), n_known + np.isfinite(chunk.values).sum(axis=0)
        if on_chunk:
            on_chunk(chunk)
        if drift:
            drift.push(values=chunk.values[asked.take(chunk.times)])
        for piece in journal.pieces(chunk) if journal else (chunk,):
            lines = lines + piece.lines
            final = scorer.push(piece.times, piece.values)
            if len(final):
                any_scored |= bool(np.isfinite(final.score).any())
                yield ScoredRows.of(lines, final, cut, scaler, figures)
                lines = lines[len(final) :]
    last_rows.refuse()
    if journal:
        journal.end_input()
    final = scorer.finish()
    if not any_scored and not np.isfinite(final.score).any():
        raise detector.nothing_scored(n_rows, reader.name, n_known / max(n_rows, 1))
    if len(final):
        yield ScoredRows.of(lines, final, cut, scaler, figures)


def score_file(
    detector: Detector, path: str | Path, *, aggregation: str | None = None, threshold: float | None = None,
    output: IO[bytes] | Journal | None = None, file_format: str = "csv",
    on_rows: Callable[[str, ScoredRows], None] = lambda series, rows: None, on_chunk: Callable[[Chunk], None] | None = None,
    list_all: bool = False, since: str | None = None, until: str | None = None, figures: tuple[str, ...] = (), **reading: Any,
) -> FileSummary:  # fmt: skip
    """Score a CSV file; write its records with the scores behind them, of all rows or of a range.

    Args:
        detector: a fitted detector.
        path: a CSV file, plain or gzip-compressed, or "-" for standard input.
        aggregation: how overlapping windows become one score; default: the detector's own.
        threshold: a cut to use instead of the calibrated one.
        output: a binary handle for the records, or the journal of a run that can go on after an interruption; None
            only finds the events.
        file_format: "csv" or "jsonl".
        on_rows: receives rows with their final scores, and a series without a name.
        on_chunk: called with what was read, chunk by chunk.
        list_all: whether the runs of flagged rows that are no events are kept too, and not only counted.
        since: the first row that is written and counted, see `anomaly.ranges.RowRange.of`; all of them are scored, so that its
            scores are those that it has among all. Events are those that lie in the range, whole or in part.
        until: the last one.
        figures: of `anomaly.config.FIGURES`, what is written of each feature.
        reading: timezone, dst, time_format (the detector's unless given), strict, max_bytes, on_bad_rows, ... as for `CsvReader`.

    Returns:
        Counts, and the events in order.

    Raises:
        DataError: as `score_rows`, or if the file already has a column with the name of an appended one.
        ConfigError: if the journal is that of another detector or of other options; if the range is none, or holds no row.
    """
    name, bundle = detector.aggregation_name(aggregation), detector.bundle_
    cut = bundle.thresholds[name].value if threshold is None else check_threshold(threshold)
    finder = EventFinder(cut, bundle.judged_columns, bundle.rules)
    options = reading_of(detector, **reading)
    wanted = range_in_file(path, since, until, options)
    summary, drift = FileSummary(wanted=wanted, left_out=[] if list_all else None, unjudged=unjudged_of(bundle)), bundle.drift(name)
    journal, asked = output if isinstance(output, Journal) else None, AskedRows(wanted)
    with CsvReader(path, **options) as reader:
        summary.tolerance = reader.tolerance
        if journal:  # not how the rows are read: the journal sees what came of it
            told = {"aggregation": name, "threshold": cut, "format": file_format, "header": reader.header_line, "with": figures}
            journal.begin(told | _identity(bundle, wanted), reader.name)
        record = _recorder(reader, output, file_format, drift, figure_names(bundle.judged_columns, figures))
        for scored in score_rows(detector, reader, name, cut, journal, drift, on_chunk, wanted, figures):
            inside = asked.take(scored.times)
            rows = record(scored, inside)
            summary.count(part := rows.where(inside))
            on_rows(ONE_SERIES, part)
            summary.keep(finder.push(*rows.for_events), finder.not_raised())
    asked.check(bundle.time_column)
    summary.keep(finder.finish(), finder.not_raised())
    summary.n_outside, summary.first_row, summary.drift = asked.n_outside, asked.first, drift.result()
    return summary


def _identity(bundle: Bundle, wanted: RowRange) -> dict[str, Any]:
    """Return what a journal is to know of the detector and of the rows that are asked for."""
    detector = {"detector": hashlib.sha256(to_bytes(bundle)).hexdigest()}
    return detector | ({"range of rows": astuple(wanted)} if wanted else {})


def _recorder(
    reader: CsvReader, output: IO[bytes] | Journal | None, file_format: str, drift: Drift, names: tuple[str, ...]
) -> Callable[[ScoredRows, Bools], ScoredRows]:
    """Return what writes the rows that are asked for, and returns all with the scores to be counted; `drift` receives these."""
    if isinstance(output, Journal):
        drift.restore(output.scores)
    write = (
        None
        if output is None
        else row_writer(reader, output, file_format, header=not (isinstance(output, Journal) and output.rows), names=names)
    )

    def record(rows: ScoredRows, inside: Bools) -> ScoredRows:
        n_written = 0
        if isinstance(output, Journal):
            rows, n_written = _recalled(output, rows)
        new = rows.after(n_written).where(inside[n_written:])
        drift.push(scores=new.score, times=new.times)
        if write:
            write(new)
        if isinstance(output, Journal):
            output.mark(drift.counts)
        return rows

    return record


def _recalled(journal: Journal, rows: ScoredRows) -> tuple[ScoredRows, int]:
    """Return the rows with what the journal knows of them, and how many of them are written."""
    named = {name: getattr(rows, name) for name in ("by_feature", "deviation", "measured", "expected")}
    table = np.column_stack([rows.score, *named.values()])
    n_written = journal.settle(table, float(rows.threshold[0]))
    known: dict[str, Any] = dict(zip(named, np.split(table[:, 1:], len(named), axis=1), strict=True))
    return replace(rows, score=table[:, 0], **known), n_written
