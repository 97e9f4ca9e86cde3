"""Text as it arrives: from a pipe, or from a file that grows.

Reading waits until there is something, and then takes what there is. SIGINT and SIGTERM end the text as the end of a
pipe would, so that what was read is scored, written and counted; the line they come in the middle of is left.
"""

import codecs
import contextlib
import hashlib
import io
import os
import select
import signal
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any

from anomaly.errors import DataError, StorageError
from anomaly.tolerance import Tolerance

# Seconds between two looks at a file that has not grown.
POLL_SECONDS = 0.1
# A file is known again by so many bytes before the place where reading goes on, and so many digits of their digest.
_KNOWN_BY, _DIGITS = 1024, 16
_MARK = codecs.BOM_UTF8
_HANGUP = getattr(signal, "SIGHUP", None)  # unknown on Windows


class _StoppedError(Exception):
    """A signal came while nothing but waiting went on."""


class Stop:
    """Whether a signal has asked for the end; `stopping` makes one.

    Attributes:
        signal: the number of the first one; None if there was none.
        reload: whether SIGHUP has asked for the detector to be read again; whoever does so puts it back.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.reload = False
        self._waiting = False
        self._wakeup: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Take a signal: while something is read or written it is only noted, and a second one ends the process."""
        if number == _HANGUP:
            self.reload = True
            return
        if self.signal is not None:
            self.leave()
        self.signal = number
        if self._waiting:
            raise _StoppedError

    def leave(self) -> None:
        """End the process as the signal would have, if there was one."""
        if self.signal is not None:
            raise SystemExit(128 + self.signal)

    def wait_for(self, source: Any) -> None:
        """Wait until there is something to read, or a signal has come.

        A signal just before a blocking read would be seen behind it only: perhaps never. So it also writes a byte to a pipe.
        """
        if self._wakeup is None:
            return
        try:
            descriptor, ready = source.fileno(), list[int]()
        except OSError:  # no file of the system's, as in a test
            return
        while descriptor not in ready:
            ready, _, _ = select.select([descriptor, self._wakeup], [], [])
            if self._wakeup in ready:
                os.read(self._wakeup, 4096)

    @contextlib.contextmanager
    def woken(self) -> Iterator[None]:
        """Let signals wake `wait_for` while the block runs; on Windows, where nothing can wait for both, they do not."""
        if os.name == "nt":
            yield
            return
        self._wakeup, end = os.pipe()
        for descriptor in (self._wakeup, end):
            os.set_blocking(descriptor, False)
        before = signal.set_wakeup_fd(end, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            for descriptor in (self._wakeup, end):
                os.close(descriptor)
            self._wakeup = None

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Let a signal end the block; do not enter it after one."""
        self._waiting = True
        try:
            if self.signal is not None:
                raise _StoppedError
            yield
        finally:
            self._waiting = False


@contextlib.contextmanager
def stopping() -> Iterator[Stop]:
    """Let SIGINT and SIGTERM end the text that is read, SIGHUP ask for the detector anew; put the handlers back afterwards."""
    stop = Stop()
    known = [number for number in (signal.SIGINT, signal.SIGTERM, _HANGUP) if number is not None]
    numbers = [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        with stop.woken():
            yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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


class ArrivingText:
    """What stands in for the file that `open_text` returns, where text is to be read as it arrives.

    Args:
        path: a file that grows, or "-" for standard input; UTF-8 with or without a byte order mark, not compressed.
        name: of the input, for messages.
        tolerance: counts files that took the place of the one read, and cuts.
        stop: tells when to end; None for the end of a pipe only.
        begin_at: where to go on in the same file; another one is read from its beginning.
        has_header: whether the first line is read in any case.

    Attributes:
        encoding: "utf-8-sig".
        n_passed: lines between the first one read and the next.
        stopped: whether the text ended by a signal, in the middle of a line perhaps.
    """

    encoding = "utf-8-sig"

    def __init__(
        self,
        path: str | Path,
        name: str,
        tolerance: Tolerance,
        stop: Stop | None = None,
        begin_at: Position | None = None,
        *,
        has_header: bool = True,
    ) -> None:
        self._stop = stop or Stop()
        if str(path) == "-" and sys.stdin is None:
            raise StorageError("Standard input must be open. Received: none. Name a file, or a pipe to read from.")
        self._source: IO[bytes] | GrowingFile = sys.stdin.buffer if str(path) == "-" else GrowingFile(path, name, tolerance)
        self.n_passed = 0
        if isinstance(self._source, GrowingFile) and begin_at is not None and self._source.go_on(begin_at, has_header=has_header):
            self.n_passed = begin_at.line - has_header
        decoder = codecs.getincrementaldecoder(self.encoding)()
        self._decoder = io.IncrementalNewlineDecoder(decoder, translate=True)
        self._name, self._tolerance, self._start = name, tolerance, b""
        self._has_line = False
        self.stopped = False

    @property
    def newlines(self) -> Any:
        """The line ends seen so far, as `io.TextIOBase.newlines`."""
        return self._decoder.newlines

    def read(self, size: int) -> str:
        """Return what has arrived, at most `size` bytes of it, at least a character; empty at the end.

        Raises:
            DataError: if it is compressed.
            UnicodeError: if it is not UTF-8.
            OSError: if the system refuses.
            SystemExit: if a signal comes before the first line is there.
        """
        while not self.stopped:
            try:
                with self._stop.waiting():
                    if not isinstance(self._source, GrowingFile):
                        self._stop.wait_for(self._source)
                    data = self._source.read1(size)  # type: ignore[union-attr]
            except _StoppedError:
                self.stopped = True
                break
            self._has_line = self._has_line or b"\n" in data
            if len(self._start) < len(_MARK):
                self._look_at(data)
            text: str = self._decoder.decode(data, final=not data)
            if text or not data:
                return text
        if not self._has_line:
            self._stop.leave()
        return ""

    def _look_at(self, data: bytes) -> None:
        """Look at the first bytes of all."""
        self._start = (self._start + data)[: len(_MARK)]
        if self._start.startswith(b"\x1f\x8b"):
            raise DataError(
                f"What is followed must be plain text. Received: gzip ({self._name}). Decompress it on the way, with gzip -dc."
            )
        if self._start == _MARK:
            self._tolerance.add("byte_order_mark", 1, "line 1")

    @property
    def has_moved_on(self) -> bool:
        """Whether another file, or another beginning, took the place of what was read first."""
        return isinstance(self._source, GrowingFile) and self._source.has_moved_on

    def position(self, line: int) -> Position | None:
        """Return where the lines that were handed out end; None if this is no file.

        Args:
            line: number of the last one.
        """
        return self._source.position(line) if isinstance(self._source, GrowingFile) else None

    def close(self) -> None:
        """Close what was opened here."""
        if isinstance(self._source, GrowingFile):
            self._source.close()


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
            data = self._header() or self._read(size) or self._moved_on()
            if data:
                self._last = data[-1:]
                _, end, rest = data.rpartition(b"\n")
                self._tail = len(rest) if end else self._tail + len(rest)
                return data
            time.sleep(POLL_SECONDS)

    def _read(self, size: int) -> bytes:
        data = self._handle.read(size)
        if data and self._begins:  # a mark that another file begins with; the decoder knows that of the first
            self._begins, data = False, data.removeprefix(_MARK)
        return data

    def go_on(self, begin_at: Position, *, has_header: bool) -> bool:
        """Go on where reading ended, after the first line if that is wanted; tell whether this is still the same file."""
        here = os.fstat(self._handle.fileno())
        if (here.st_dev, here.st_ino, self._digest(begin_at.offset)) != (begin_at.device, begin_at.inode, begin_at.digest):
            self._tolerance.add("files_begun_anew", 1)
            return False
        if has_header:
            self._go_on_at = begin_at.offset
        else:
            self._handle.seek(begin_at.offset)
        return True

    def position(self, line: int) -> Position:
        """Return where the whole lines end that were read; `line` is the number of the last one."""
        here, offset = os.fstat(self._handle.fileno()), self._handle.tell() - self._tail
        return Position(here.st_dev, here.st_ino, offset, line, self._digest(offset))

    def _digest(self, offset: int) -> str:
        """Return a digest of the bytes before a place; reading goes on where it was."""
        here, count = self._handle.tell(), min(offset, _KNOWN_BY)
        self._handle.seek(offset - count)
        known = self._handle.read(count)
        self._handle.seek(here)
        return hashlib.sha256(known).hexdigest()[:_DIGITS]

    def _header(self) -> bytes:
        """Return the first line if there are others to pass behind it, and pass them."""
        if self._go_on_at is None:
            return b""
        start = b""
        while b"\n" not in start and (more := self._handle.read(1 << 16)):
            start += more
        self._handle.seek(self._go_on_at)
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
            if last := self._handle.read(1 << 16):  # written since the read before
                return last
            self._handle.close()
            self._handle = open(self._path, "rb", buffering=0)  # noqa: SIM115
        elif there.st_size < self._handle.tell():
            self._handle.seek(0)
        else:
            return b""
        self._tolerance.add("files_begun_anew", 1)
        self._tail, self.has_moved_on, self._begins = 0, True, True
        return b"\n" if self._last != b"\n" else b""
