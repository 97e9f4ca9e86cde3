"""A file that grows: read to its end and on; other files in its place, and cuts, are noticed, during a run and between two."""

import codecs
import hashlib
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from anomaly.errors import StorageError
from anomaly.sources.tolerance import Tolerance

# Seconds between two looks at a file that has not grown.
POLL_SECONDS = 0.1
# A file is known again by so many bytes before the place where reading goes on, and so many digits of their digest.
_KNOWN_BY, _DIGITS = 1024, 16
_MARK = codecs.BOM_UTF8


@dataclass(frozen=True)
class Position:
    """How far a file that grows has been read, in whole lines.

    Attributes:
        device: of the file.
        inode: of the file; another one in its place mostly has another.
        offset: of the first byte that was not read.
        line: number of the last line that was.
        digest: of the bytes before, by which the file is known again: a number of a file that is gone is given to another.
    """

    device: int
    inode: int
    offset: int
    line: int
    digest: str = ""


class GrowingFile:
    """Read a file to its end and on, as it grows; notice another file in its place (rotation) and a cut.

    What follows then begins a line of its own, and a header in it is one more (`repeated_headers`).

    Args:
        path: the file.
        name: of the input, for messages.
        tolerance: counts other files in its place, and cuts.

    Raises:
        StorageError: if it cannot be opened.
    """

    def __init__(self, path: str | Path, name: str, tolerance: Tolerance) -> None:
        self._path, self._tolerance, self._last = path, tolerance, b"\n"
        self._tail = 0  # bytes read behind the last line end
        self._go_on_at: int | None = None
        self._before = b""  # the last bytes that were read
        self.has_moved_on = self._begins = False
        try:
            self._handle = open(path, "rb", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise StorageError(f"The input must be a readable file. Received: {name} ({error.strerror}).") from error
        if not stat.S_ISREG(os.fstat(self._handle.fileno()).st_mode):
            self._handle.close()
            raise StorageError(
                f"What is followed by its name must be a file. Received: {name}, a pipe or device. Use - and redirect it."
            )

    def read1(self, size: int) -> bytes:
        """Return what is there, at most `size` bytes; wait if there is nothing."""
        while True:
            data = self._header() or self._cut() or self._read(size) or self._moved_on()
            if data:
                self._last = data[-1:]
                _, end, rest = data.rpartition(b"\n")
                self._tail = len(rest) if end else self._tail + len(rest)
                return data
            time.sleep(POLL_SECONDS)

    def _cut(self) -> bytes:
        """Go to the beginning of a file that was cut, and has grown past where reading stood: other bytes lie before it."""
        there = self._bytes_before(self._handle.tell(), len(self._before))
        return b"" if there == self._before or len(there) < len(self._before) else self._begun_anew()

    def _read(self, size: int) -> bytes:
        data = self._handle.read(size)
        self._before = (self._before + data)[-_KNOWN_BY:]
        if data and self._begins:  # a mark that another file begins with; the decoder knows that of the first
            self._begins, data = False, data.removeprefix(_MARK)
        return data

    def go_on(self, begin_at: Position, *, has_header: bool) -> bool:
        """Go on where reading ended, after the first line if that is wanted; tell whether this is still the same file."""
        here = os.fstat(self._handle.fileno())
        # A file that was copied, restored or moved to another disk is the same; one in which nothing was read is so by its number.
        same = begin_at.offset > 0 or (here.st_dev, here.st_ino) == (begin_at.device, begin_at.inode)
        if not same or here.st_size < begin_at.offset or self._digest(begin_at.offset) != begin_at.digest:
            self._tolerance.add("files_begun_anew", 1)
            return False
        if has_header:
            self._go_on_at = begin_at.offset
        else:
            self._handle.seek(begin_at.offset)
            self._before = self._bytes_before(begin_at.offset)
        return True

    def position(self, line: int) -> Position:
        """Return where the whole lines end that were read; `line` is the number of the last one."""
        here, offset = os.fstat(self._handle.fileno()), self._handle.tell() - self._tail
        return Position(here.st_dev, here.st_ino, offset, line, self._digest(offset))

    def _digest(self, offset: int) -> str:
        """Return a digest of the bytes before a place."""
        return hashlib.sha256(self._bytes_before(offset)).hexdigest()[:_DIGITS]

    def _bytes_before(self, offset: int, most: int = _KNOWN_BY) -> bytes:
        """Return the bytes before a place, as far as they are there; reading goes on where it was."""
        here, count = self._handle.tell(), min(offset, most)
        self._handle.seek(offset - count)
        known = self._handle.read(count)
        self._handle.seek(here)
        return known

    def _header(self) -> bytes:
        """Return the first line if there are others to pass behind it, and pass them."""
        if self._go_on_at is None:
            return b""
        start = b""
        while b"\n" not in start and (more := self._handle.read(1 << 16)):
            start += more
        self._handle.seek(self._go_on_at)
        self._before = self._bytes_before(self._go_on_at)
        self._go_on_at = None
        line, end, _ = start.partition(b"\n")
        return line + end

    def close(self) -> None:
        """Close the file."""
        self._handle.close()

    def _moved_on(self) -> bytes:
        """Go to the beginning of what is there now if that is not what was read; return what ends the last line."""
        here = os.fstat(self._handle.fileno())
        try:
            there = Path(self._path).stat()
        except FileNotFoundError:  # between the old one and the new one
            return b""
        if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
            if last := self._read(1 << 16):  # written since the read before
                return last
            self._handle.close()
            self._handle = open(self._path, "rb", buffering=0)  # noqa: SIM115
        elif there.st_size >= self._handle.tell():
            return b""
        return self._begun_anew()

    def _begun_anew(self) -> bytes:
        """Begin with the first byte of what is there now; return what ends the last line."""
        self._handle.seek(0)
        self._before = b""
        self._tolerance.add("files_begun_anew", 1)
        self._tail, self.has_moved_on, self._begins = 0, True, True
        return b"\n" if self._last != b"\n" else b""
