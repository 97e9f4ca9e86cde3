"""Bytes -> lines of text: encodings, compression, line ends, the limits on them, and files that change meanwhile."""

import contextlib
import gzip
import io
import os
import re
import stat
import time
import zlib
from collections.abc import Callable
from numbers import Integral
from pathlib import Path
from typing import IO, Any

from anomaly.errors import ConfigError, DataError, StorageError
from anomaly.sources.arriving import ArrivingText, standard_input
from anomaly.sources.growing import Position
from anomaly.sources.tolerance import Tolerance
from anomaly.storage.addresses import ObjectUri
from anomaly.storage.object_store import FixedLength, open_object

# A record longer than this is no record of numbers: a missing line end, or a bomb.
LONGEST_LINE = 1 << 22
# Each read costs a look at the file's size and time.
_READ_SIZE = 1 << 18
_SETTLING = 0.01
_GZIP, _UTF8_MARK, _UTF16_MARKS = b"\x1f\x8b", b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
# A byte order mark at the beginning of a line.
_MARK, _INNER_MARK = "\ufeff", re.compile("^\ufeff+", re.MULTILINE)


def shown_name(path: str | Path) -> str:
    """Return the name of an input for messages: no folder, and nothing that a terminal would obey."""
    name = "standard input" if str(path) == "-" else Path(path).name
    return "".join(c if c.isprintable() else "?" for c in name)


def open_bytes(path: str | Path, open_files: contextlib.ExitStack, tolerance: Tolerance | None = None) -> IO[Any]:
    """Open a path, or standard input for "-", as the bytes that it has now.

    Args:
        path: a file, an object or "-".
        open_files: closes what is opened.
        tolerance: counts what is appended while it is read.

    Raises:
        StorageError: if the file cannot be opened; while it is read, if it changes.
    """
    if str(path) == "-":
        return standard_input()
    if isinstance(path, ObjectUri):
        return open_files.enter_context(open_object(path))
    try:
        handle = open_files.enter_context(open(path, "rb", buffering=0))  # noqa: SIM115
        regular = stat.S_ISREG(os.fstat(handle.fileno()).st_mode)
    except OSError as error:
        raise StorageError(f"The input must be a readable file. Received: {path} ({error.strerror}).") from error
    raw: io.RawIOBase = _Snapshot(handle, shown_name(path), tolerance) if regular else handle
    return open_files.enter_context(io.BufferedReader(raw, _READ_SIZE))


def open_text(
    path: str | Path, open_files: contextlib.ExitStack, tolerance: Tolerance | None = None, max_bytes: int | None = None
) -> IO[str]:
    """Open a path, or standard input for "-", as text; see `as_text`.

    Args:
        path: a file or "-".
        open_files: closes what is opened.
        tolerance: counts a byte order mark, and what is appended while the file is read.
        max_bytes: refuse a longer input.

    Raises:
        StorageError: as `open_bytes`.
        DataError: as `as_text`.
    """
    return as_text(open_bytes(path, open_files, tolerance), shown_name(path), open_files, tolerance, max_bytes)


def checked_size(max_bytes: object) -> int | None:
    """Return a limit on the length of an input; raises `ConfigError` if it is none."""
    if max_bytes is None:
        return None
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, Integral) or max_bytes < 1:
        raise ConfigError(f"`max_bytes` must be a whole number of bytes, at least 1. Received: {max_bytes!r}. Write 5_000_000.")
    return int(max_bytes)


def as_text(
    source: IO[Any],
    name: str,
    open_files: contextlib.ExitStack,
    tolerance: Tolerance | None = None,
    max_bytes: int | None = None,
) -> IO[str]:
    """Read bytes as text.

    gzip is told by its first two bytes and read as it comes. The encoding is UTF-8, with or without a byte order mark, or
    UTF-16 with one.

    Args:
        source: as `open_bytes` returns it.
        name: of the input, for messages.
        open_files: closes what is opened.
        tolerance: counts a byte order mark.
        max_bytes: how many bytes there may be, decompressed; None for any number.

    Raises:
        DataError: if it is gzip and damaged at its beginning, or has a mark and `strict` is set; while it is read, if it is
            longer than `max_bytes`.
    """
    max_bytes = checked_size(max_bytes)
    if first_bytes(source, name, 2) == _GZIP:
        source = open_files.enter_context(io.BufferedReader(open_files.enter_context(gzip.GzipFile(fileobj=source)), _READ_SIZE))
    if max_bytes is not None:
        source = open_files.enter_context(io.BufferedReader(_Limited(source, name, max_bytes), _READ_SIZE))
    start = first_bytes(source, name, 3)
    encoding = "utf-16" if start[:2] in _UTF16_MARKS else "utf-8-sig"
    if tolerance is not None and (start == _UTF8_MARK or encoding == "utf-16"):
        tolerance.add("byte_order_mark", 1, "line 1")
    return open_files.enter_context(io.TextIOWrapper(source, encoding=encoding, newline=None))


def first_bytes(source: IO[Any], name: str, count: int) -> bytes:
    """Return what the next bytes are, at most `count`, and leave them to be read. Errors as `guarded`."""
    buffered: Any = source
    return bytes(guarded(lambda: buffered.peek(count)[:count], name))


def too_long(name: str, max_bytes: int) -> DataError:
    """Return the error for an input of more than `max_bytes`."""
    return DataError(
        f"The input must have at most {max_bytes:,} bytes (decompressed). Received: more ({name}). "
        "Raise --max-bytes, or give it in parts."
    )


class _Limited(io.RawIOBase):
    """Bytes of another source, up to a limit: a file of a megabyte can decompress to a terabyte."""

    def __init__(self, source: IO[Any], name: str, max_bytes: int) -> None:
        self._source: Any = source
        self._name, self._max_bytes, self._left = name, max_bytes, max_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.read1(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise too_long(self._name, self._max_bytes)
        buffer[: len(data)] = data
        return len(data)


class _Snapshot(FixedLength):
    """The bytes that a regular file had when it was opened.

    What is appended later is left alone. That the file is cut or written over is told by its size and its time of change,
    after every read and before what was read is used; a change within one tick of the file system's clock (some
    milliseconds) after the last one before the file was opened cannot be told.
    """

    def __init__(self, handle: io.FileIO, name: str, tolerance: Tolerance | None) -> None:
        self._handle, self._name, self._tolerance = handle, name, tolerance
        found = os.fstat(handle.fileno())
        self._size, self._changed = found.st_size, found.st_mtime_ns
        self._place = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._handle.seek(super().seek(offset, whence))

    def readinto(self, buffer: Any) -> int:
        wanted = max(min(len(buffer), self._size - self._place), 0)
        count = self._handle.readinto(memoryview(buffer)[:wanted]) or 0
        self._place += count
        self._check(cut=count == 0 < wanted)
        return count

    def _check(self, *, cut: bool) -> None:
        now = os.fstat(self._handle.fileno())
        if now.st_size == self._size and now.st_mtime_ns != self._changed:
            time.sleep(_SETTLING)  # a writer that appends sets the time first, and then the size
            now = os.fstat(self._handle.fileno())
        rewritten = now.st_size == self._size and now.st_mtime_ns != self._changed
        if cut or rewritten or now.st_size < self._size:
            found = "one that was written over" if rewritten else f"{self._size:,} bytes that became {now.st_size:,}"
            raise StorageError(f"The input must not change while it is read. Received: {found} ({self._name}). Read a copy.")
        if self._tolerance is not None and self._place >= self._size < now.st_size:
            self._tolerance.add("appended_while_read", now.st_size - self._size)
            self._tolerance = None


# How files begin that are no text.
_OTHER_FILES = {
    b"PK\x03\x04": "a zip archive, as an .xlsx file is", b"\xd0\xcf\x11\xe0": "an Office file, as .xls", b"BZh": "bzip2 data",
    b"\xfd7zXZ": "xz data", b"\x28\xb5\x2f\xfd": "zstandard data", b"\x1f\x8b": "gzip data within gzip", b"%PDF": "a PDF file",
    b"\x89HDF": "an HDF5 file", b"\x93NUMPY": "an array of numpy",
}  # fmt: skip
# How texts begin that are no tables; a header such as <TICKER>,<DATE> is one.
_OTHER_TEXTS = {
    r"\s*[\[{]\s*[\"\[{]": "JSON", r"\s*<(!doctype|html|\?xml)": "a page of the web, or XML", "%PDF-": "a PDF file",
    "SQLite format 3": "a database of SQLite", "MATLAB [0-9.]+ MAT-file": "a file of MATLAB", r"\{\\rtf": "rich text",
    r"@(relation|problemname)\b": "an ARFF or TS file",
    r"ARROW1[\x00-\x1f]": "a Feather file", r"Obj\x01": "an Avro file", r"ORC[\x00-\x1f]": "an ORC file",
}  # fmt: skip


def refuse_other_text(line: str, name: str) -> None:
    """Refuse a first line that begins another kind of file than a table.

    Raises:
        DataError: with the kind.
    """
    for begin, kind in _OTHER_TEXTS.items():
        if re.match(begin, line, re.IGNORECASE):
            raise DataError(f"The file must be a table, as CSV or Parquet. Received: {kind} ({name}). Export the table as CSV.")


def guarded(read: Callable[[], Any], name: str, line: int | None = None) -> Any:
    """Return what `read` returns; say in one sentence why it cannot.

    Raises:
        DataError: if the text is not in its encoding, or gzip data are damaged or cut, or there is too much of it.
        StorageError: if the system refuses, or the file changes.
    """
    place = name if line is None else f"{name}, after line {line:,}"
    try:
        return read()
    except StorageError:
        raise
    except UnicodeDecodeError as error:
        if kind := next((kind for start, kind in _OTHER_FILES.items() if error.object.startswith(start)), None):
            raise DataError(
                f"The file must be text, or text in gzip. Received: {kind} ({name}). Unpack it, or export the table as CSV."
            ) from error
        byte = f"byte 0x{error.object[error.start]:02x}" if error.start < len(error.object) else "half a character"
        raise DataError(
            f"The file must be UTF-8 text, or UTF-16 with a byte order mark. Received: {byte} ({place}). "
            "Convert it, for example with iconv -f windows-1252 -t utf-8 where it comes from Windows."
        ) from error
    except UnicodeError as error:
        raise DataError(f"The file must be UTF-8 text, or UTF-16 with a byte order mark. Received: {error} ({place}).") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"The gzip file must be complete. Received: {error} ({name}).") from error
    except OSError as error:
        raise StorageError(f"The input must be a readable file. Received: {name} ({error.strerror}).") from error


class LineReader:
    """Read numbered lines, some megabytes at a time; memory does not grow with the file, or with a line.

    Args:
        handle: text, as `open_text` returns it, or as it arrives.
        name: of the input, for messages.
        tolerance: counts a last line without its end.
        chunk_size: about how many characters are read at a time.

    Attributes:
        number: of the last line read; 0 before the first.
        text: of the lines that `next` returned, with their ends.
    """

    def __init__(self, handle: Any, name: str, tolerance: Tolerance, chunk_size: int) -> None:
        self._handle, self._name, self._tolerance = handle, name, tolerance
        self._chunk_size = chunk_size
        self._rest = self.text = ""
        self._ended = self._has_inner_marks = False
        self._position: Position | None = None
        self.number = handle.n_passed if isinstance(handle, ArrivingText) else 0

    @property
    def began_within(self) -> bool:
        """Whether lines were passed over, or come from another file by now."""
        return isinstance(self._handle, ArrivingText) and (self._handle.n_passed > 0 or self._handle.has_moved_on)

    @property
    def mark_bytes(self) -> int:
        """Bytes of a UTF-8 byte order mark before the first line."""
        marked = "byte_order_mark" in self._tolerance.counts and self._handle.encoding != "utf-16"
        return len(_UTF8_MARK) if marked else 0

    @property
    def end_bytes(self) -> int | None:
        """Bytes of a line end, as far as text was read; None if they differ, or marks stand before lines."""
        if self._has_inner_marks:
            return None
        ends = self._handle.newlines
        return None if isinstance(ends, tuple) else len(ends or "\n")

    def position(self) -> Position | None:
        """Return where the lines that were read end in a file that grows; None if it does not."""
        return self._position

    def first(self) -> str:
        """Return the first line without its end; empty if there is none.

        Raises:
            DataError: as `guarded`, or if a line is longer than 4 MiB or holds a NUL.
        """
        while "\n" not in self._rest and not self._ended:
            self._fill()
        line, end, self._rest = self._rest.partition("\n")
        self.number += 1 if line or end else 0
        self._check(line)
        return line

    def next(self) -> list[str]:
        """Return further lines without their ends, at least one; none at the end of the text. Errors as `first`."""
        while "\n" not in self._rest and not self._ended:
            self._fill()
        if isinstance(self._handle, ArrivingText) and self._handle.stopped:  # in the middle of a line
            self._rest = self._rest[: self._rest.rfind("\n") + 1]
        cut = self._rest.rfind("\n") + 1 if not self._ended or self._rest.endswith("\n") else len(self._rest)
        text, self._rest = self._rest[:cut], self._rest[cut:]
        if not text:
            return []
        if _MARK in text:
            text = self._without_marks(text)
        self.text, lines = text, text.split("\n")
        if not lines[-1]:
            lines.pop()
        self.number += len(lines)
        if isinstance(self._handle, ArrivingText):  # a signal may end a later read that has taken more
            self._position = self._handle.position(self.number)
        self._check(text)
        if self._ended and not text.endswith("\n"):
            self._tolerance.add("unterminated_line", 1, f"line {self.number:,}")
        return lines

    def _without_marks(self, text: str) -> str:
        """Return lines without the byte order marks that some begin with, where files were joined."""
        places = [match.start() for match in _INNER_MARK.finditer(text)]
        if places:
            line = self.number + text.count("\n", 0, places[0]) + 1
            self._tolerance.add("byte_order_mark", len(places), f"line {line:,}")
            self._has_inner_marks = True
        return _INNER_MARK.sub("", text)

    def _fill(self) -> None:
        text = guarded(lambda: self._handle.read(self._chunk_size), self._name, self.number)
        self._ended = not text
        self._rest += text
        if len(self._rest) > LONGEST_LINE + self._chunk_size and "\n" not in self._rest:
            raise DataError(
                f"A line must have at most {LONGEST_LINE:,} characters. Received: more ({self._name}, line {self.number + 1:,}). "
                "Check the line ends."
            )

    def _check(self, text: str) -> None:
        if "\0" in text:
            refuse_other_text(text, self._name)
            raise DataError(f"A CSV file must be text. Received: a NUL character ({self._name}, by line {self.number:,}).")
