"""Text as it arrives: from a pipe, or from a file that grows.

Reading waits until there is something, and then takes what there is. SIGINT and SIGTERM end the text as the end of a
pipe would, so that what was read is scored, written and counted; the line they come in the middle of is left.
"""

import codecs
import contextlib
import io
import os
import select
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO, Any

from anomaly.errors import DataError, StorageError
from anomaly.sources.growing import GrowingFile, Position
from anomaly.sources.tolerance import Tolerance

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


def standard_input() -> IO[bytes]:
    """Return standard input.

    Raises:
        StorageError: if the process was started without one, as by `<&-` in a shell and by many services.
    """
    if sys.stdin is None:
        raise StorageError("Standard input must be open. Received: none. Name a file, or a pipe to read from.")
    return sys.stdin.buffer


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
        self._source: IO[bytes] | GrowingFile = standard_input() if str(path) == "-" else GrowingFile(path, name, tolerance)
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
            DataError: if it is compressed, UTF-16 or Parquet.
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
        if self._start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise DataError(
                f"What is followed must be UTF-8. Received: UTF-16 ({self._name}). Convert it on the way, with iconv -f utf-16 -t "
                "utf-8."
            )
        if self._start == b"PAR":
            raise DataError(
                f"What is followed must be text. Received: a Parquet file ({self._name}), which does not grow. Score it without "
                "--follow."
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
