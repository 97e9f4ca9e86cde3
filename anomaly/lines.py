"""Bytes -> lines of text: encodings, compression, line ends, and the limits on them."""

import contextlib
import gzip
import io
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from anomaly.errors import DataError, StorageError
from anomaly.tolerance import Tolerance

# A record longer than this is no record of numbers: a missing line end, or a bomb.
LONGEST_LINE = 1 << 22
_GZIP, _UTF8_MARK, _UTF16_MARKS = b"\x1f\x8b", b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")


def shown_name(path: str | Path) -> str:
    """Return the name of an input for messages: no folder, and nothing that a terminal would obey."""
    name = "standard input" if str(path) == "-" else Path(path).name
    return "".join(c if c.isprintable() else "?" for c in name)


def open_text(path: str | Path, open_files: contextlib.ExitStack, tolerance: Tolerance | None = None) -> IO[str]:
    """Open a path, or standard input for "-", as text.

    gzip is told by its first two bytes and read as it comes. The encoding is UTF-8, with or without a byte order mark, or
    UTF-16 with one.

    Args:
        path: a file or "-".
        open_files: closes what is opened.
        tolerance: counts a byte order mark.

    Raises:
        StorageError: if the file cannot be opened.
        DataError: if it is gzip and damaged at its beginning, or has a mark and `strict` is set.
    """
    name = shown_name(path)
    try:
        raw: Any = sys.stdin.buffer if str(path) == "-" else open_files.enter_context(open(path, "rb"))  # noqa: SIM115
        if guarded(lambda: raw.peek(2)[:2], name) == _GZIP:
            raw = open_files.enter_context(io.BufferedReader(open_files.enter_context(gzip.GzipFile(fileobj=raw))))
        start = guarded(lambda: raw.peek(3)[:3], name)
        encoding = "utf-16" if start[:2] in _UTF16_MARKS else "utf-8-sig"
        if tolerance is not None and (start == _UTF8_MARK or encoding == "utf-16"):
            tolerance.add("byte_order_mark", 1, "line 1")
        return open_files.enter_context(io.TextIOWrapper(raw, encoding=encoding, newline=None))
    except OSError as error:
        raise StorageError(f"The input must be a readable file. Received: {path} ({error.strerror}).") from error


def guarded(read: Callable[[], Any], name: str, line: int | None = None) -> Any:
    """Return what `read` returns; say in one sentence why it cannot.

    Raises:
        DataError: if the text is not in its encoding, or gzip data are damaged or cut.
        StorageError: if the system refuses.
    """
    place = name if line is None else f"{name}, after line {line:,}"
    try:
        return read()
    except UnicodeDecodeError as error:
        byte = f"byte 0x{error.object[error.start]:02x}" if error.start < len(error.object) else "half a character"
        raise DataError(
            f"The file must be UTF-8 text, or UTF-16 with a byte order mark. Received: {byte} ({place}). "
            "Convert it, for example with iconv -t utf-8."
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
        handle: text, as `open_text` returns it.
        name: of the input, for messages.
        tolerance: counts a last line without its end.
        chunk_size: about how many characters are read at a time.

    Attributes:
        number: of the last line read; 0 before the first.
    """

    def __init__(self, handle: IO[str], name: str, tolerance: Tolerance, chunk_size: int) -> None:
        self._handle, self._name, self._tolerance = handle, name, tolerance
        self._chunk_size = chunk_size
        self._rest = ""
        self._ended = False
        self.number = 0

    def first(self) -> str:
        """Return the first line without its end; empty if there is none.

        Raises:
            DataError: as `guarded`, or if a line is longer than 4 MiB or holds a NUL.
        """
        while "\n" not in self._rest and not self._ended:
            self._fill()
        line, end, self._rest = self._rest.partition("\n")
        self.number = 1 if line or end else 0
        self._check(line)
        return line

    def next(self) -> list[str]:
        """Return further lines without their ends, at least one; none at the end of the text. Errors as `first`."""
        while "\n" not in self._rest and not self._ended:
            self._fill()
        cut = self._rest.rfind("\n") + 1 if not self._ended or self._rest.endswith("\n") else len(self._rest)
        text, self._rest = self._rest[:cut], self._rest[cut:]
        if not text:
            return []
        lines = text.split("\n")
        if not lines[-1]:
            lines.pop()
        self.number += len(lines)
        self._check(text)
        if self._ended and not text.endswith("\n"):
            self._tolerance.add("unterminated_line", 1, f"line {self.number:,}")
        return lines

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
            raise DataError(f"A CSV file must be text. Received: a NUL character ({self._name}, by line {self.number:,}).")
