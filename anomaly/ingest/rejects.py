"""Records that cannot be read: left out, counted, written down, and refused where they are too many."""

import contextlib
import csv
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from anomaly.errors import ConfigError, DataError
from anomaly.sources.lines import LineReader
from anomaly.sources.tolerance import Tolerance
from anomaly.storage.writing import atomic_output, resolved, storage_errors

ON_BAD_ROWS = ("refuse", "skip")
MAX_BAD_FRACTION = 0.01
COLUMNS = ("line", "byte_offset", "column", "reason", "text")
# From so many records on the share is judged before the end of the file.
_EARLY = 1_000
_SHOWN = 5
# What begins a formula in a spreadsheet (OWASP, "CSV injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class BadRecord:
    """One record that was left out.

    Attributes:
        line: its number, from 1.
        kind: its name in `Tolerance.counts`.
        column: where the fault is; empty if it is in the whole record.
        reason: in words.
        text: the record as it stands in the file.
        byte_offset: of its first byte; None if it is not known.
    """

    line: int
    kind: str
    column: str
    reason: str
    text: str
    byte_offset: int | None = None


class _AbandonedError(Exception):
    """The file of bad records is not to be."""


class Rejects:
    """Take the bad records of one input.

    Args:
        tolerance: counts them, each under its kind.
        max_bad_fraction: the largest share of all records that may be bad.
        path: a CSV file for them, one line each; None for none.
    """

    def __init__(self, tolerance: Tolerance, max_bad_fraction: float, path: str | Path | None) -> None:
        self._tolerance, self._most, self._path = tolerance, max_bad_fraction, path
        self._n_read = self._n_bad = 0
        self._first: list[BadRecord] = []
        self._output: contextlib.AbstractContextManager[IO[bytes]] | None = None
        self._handle: IO[bytes] | None = None

    def open(self) -> None:
        """Open the file; nobody sees it before `close`.

        Raises:
            StorageError: if it may not be written.
        """
        if self._path is not None:
            output = atomic_output(self._path)
            self._handle, self._output = output.__enter__(), output
            self._write([COLUMNS])

    def close(self, *, complete: bool) -> None:
        """Finish the file; a second call does nothing.

        Args:
            complete: whether it becomes what it is to be, or stays as it was before.

        Raises:
            StorageError: if it cannot be written.
        """
        output, self._output, self._handle = self._output, None, None
        if output is not None and complete:
            output.__exit__(None, None, None)
        elif output is not None:
            # Not the exception of the run itself: what went wrong elsewhere would be told of this file.
            with contextlib.suppress(_AbandonedError):
                output.__exit__(_AbandonedError, _AbandonedError(), None)

    def take(self, n_read: int, bad: list[BadRecord]) -> None:
        """Take the bad ones among the next records.

        Args:
            n_read: how many these records are, good or bad.
            bad: in the order of the file.

        Raises:
            DataError: if too many of at least 1,000 records are bad.
        """
        self._n_read += n_read
        self._n_bad += len(bad)
        self._first += bad[: _SHOWN - len(self._first)]
        places = {record.kind: record.line for record in reversed(bad)}
        for kind, count in Counter(record.kind for record in bad).items():
            self._tolerance.add(kind, count, f"line {places[kind]:,}")
        self._write([_cells(record) for record in bad])
        if self._n_read >= _EARLY:
            self.check()

    def check(self) -> None:
        """Refuse the input if too many of its records are bad.

        Raises:
            DataError: with the first five.
        """
        if self._n_bad <= self._most * self._n_read:
            return
        shown = "; ".join(f"line {record.line}: {_seen(record.column)}{record.reason}" for record in self._first)
        raise DataError(
            f"At most a share of {self._most:g} of the records may be bad. Received: {self._n_bad:,} of {self._n_read:,} "
            f"({self._tolerance.name}); {shown}. Mend the file, or raise --max-bad-fraction."
        )

    def _write(self, rows: "list[tuple[str, ...]]") -> None:
        if self._handle is None or self._path is None:
            return
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        with storage_errors(self._path):
            self._handle.write(text.getvalue().encode())


def check_bad_rows(
    on_bad_rows: str, max_bad_fraction: float, rejects: str | Path | None, *, strict: bool, source: str | Path
) -> None:
    """Refuse reading options that contradict each other.

    Args:
        on_bad_rows: "refuse" or "skip".
        max_bad_fraction: above 0, at most 1.
        rejects: where bad records are written; only with "skip".
        strict: whether nothing is tolerated; not with "skip".
        source: the input, which must not be overwritten.

    Raises:
        ConfigError: with the option that is wrong.
    """
    skip = on_bad_rows == "skip"
    if on_bad_rows not in ON_BAD_ROWS:
        raise ConfigError(f"`on_bad_rows` must be one of {', '.join(ON_BAD_ROWS)}. Received: {on_bad_rows!r}.")
    if not isinstance(max_bad_fraction, (int, float)) or isinstance(max_bad_fraction, bool) or not 0 < max_bad_fraction <= 1:
        raise ConfigError(f"`max_bad_fraction` must be a number above 0 and at most 1. Received: {max_bad_fraction!r}.")
    if skip and strict:
        raise ConfigError("--strict must not stand beside --on-bad-rows skip. Received: both. Leave one of them out.")
    if max_bad_fraction != MAX_BAD_FRACTION and not skip:
        raise ConfigError(
            f"`max_bad_fraction` must go with on_bad_rows='skip'. Received: {max_bad_fraction!r} without it. Leave it out, or skip."
        )
    if rejects is None:
        return
    if not skip:
        raise ConfigError(
            f"--rejects must go with --on-bad-rows skip. Received: --rejects {rejects} with {on_bad_rows}. "
            "Add --on-bad-rows skip, or leave --rejects out."
        )
    if str(rejects) == "-":
        raise ConfigError("Bad records must be written to a file. Received: --rejects -. Name a file.")
    with storage_errors(rejects):
        if str(source) != "-" and resolved(source) == resolved(rejects):
            raise ConfigError(f"Files must differ. Received: {rejects} for both the input and --rejects. Name another file.")


class Offsets:
    """Where lines begin in the text as UTF-8, in bytes, told from their lengths.

    A byte order mark of UTF-8 counts; UTF-16 counts as if it were UTF-8 without a mark. Where line ends differ, or reading
    did not begin at the beginning, nobody knows.

    Args:
        lines: where the lines come from; None if not from text.
    """

    def __init__(self, lines: LineReader | None) -> None:
        self._source = lines
        self._before = 0 if lines is None else lines.mark_bytes
        self._first, self._lines = 1, [""]
        self._sums: list[int] = []

    def push(self, lines: list[str]) -> None:
        """Take the next lines of the file, in order and without a hole."""
        self._before += _n_bytes(self._lines)
        self._first, self._lines, self._sums = self._first + len(self._lines), lines, []

    def start(self, header: str) -> None:
        """Take the first line."""
        self._first, self._lines = 1, [header]

    def of(self, line: int) -> int | None:
        """Return where a line begins that came with the last push.

        Args:
            line: its number, from 1.
        """
        end = None if self._source is None or self._source.began_within else self._source.end_bytes
        if end is None:
            return None
        if not self._sums:
            self._sums = [0]
            for text in self._lines:
                self._sums.append(self._sums[-1] + _n_bytes([text]))
        return self._before + self._sums[line - self._first] + (line - 1) * end


def _n_bytes(lines: list[str]) -> int:
    text = "".join(lines)
    return len(text) if text.isascii() else len(text.encode())


def _cells(record: BadRecord) -> tuple[str, ...]:
    offset = "" if record.byte_offset is None else str(record.byte_offset)
    return (str(record.line), offset, inert(_seen_text(record.column)), _seen_text(record.reason), inert(_seen_text(record.text)))


def inert(cell: str) -> str:
    """Keep a spreadsheet from reading a cell as a formula."""
    return f"'{cell}" if cell[:1] in _FORMULA else cell


def _seen_text(text: str) -> str:
    """Write control characters as escapes."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _seen(column: str) -> str:
    return f"column {column!r}, " if column else ""
