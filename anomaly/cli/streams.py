"""Standard streams as they come: closed, full, or without a reader.

A process may be started with any of the three closed (`>&-`, many services). Then the next file that it opens gets the number of
the closed one, and what a library writes to standard error ends up in that file: so each closed number is taken by the null
device before anything else is opened. Writing to a closed standard output is an error of the run, as on a full disk. What goes
to standard error is only said: that nobody hears it changes neither what is done nor the exit code.
"""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

from anomaly.errors import AnomalyError, StorageError

# As a shell says of a process that a broken pipe ended: 128 + SIGPIPE.
NO_READER = 141
_NOT_TAKEN = (errno.EBADF, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class _Closed(io.RawIOBase):
    """A standard output that was closed before the start; what is left in a buffer when the run has ended is forgotten."""

    ended = False

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.ended:  # Python 3.13 tells of what fails when a stream is collected
            return len(data)
        raise OSError(errno.EBADF, "it is closed")


class _Diagnostics(io.TextIOBase):
    """Standard error; what cannot be written is lost, and nothing else is."""

    ended = False

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return str(self._stream.encoding)

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return str(self._stream.errors)

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return bool(self._stream.isatty())

    def fileno(self) -> int:
        return int(self._stream.fileno())

    def write(self, text: str) -> int:
        with self._lost_if_it_fails():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._lost_if_it_fails():
            self._stream.flush()

    @contextlib.contextmanager
    def _lost_if_it_fails(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError):
            if not self.ended:  # Python flushes a stream once more when it is collected
                _forget(self._stream)


def take_closed_descriptors() -> None:
    """Let the null device have the numbers of standard streams that are closed."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free


@contextlib.contextmanager
def sound_streams() -> Iterator[None]:
    """Make standard output such that writing to a closed one fails, and standard error such that it never does; put them back."""
    before, closed = (sys.stdout, sys.stderr), _Closed()
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(closed), "utf-8", write_through=True)
    diagnostics = _Diagnostics(open(os.devnull, "w") if sys.stderr is None else sys.stderr)  # noqa: SIM115
    sys.stderr = diagnostics
    try:
        yield
    finally:
        closed.ended = diagnostics.ended = True
        sys.stdout, sys.stderr = before


@contextlib.contextmanager
def output_errors() -> Iterator[None]:
    """Tell what standard output does not take.

    Raises:
        StorageError: if the block cannot write to it.
        SystemExit: with `NO_READER` if nobody reads what it writes.
    """
    try:
        yield
        sys.stdout.flush()
    except AnomalyError:
        raise
    except BrokenPipeError:
        _forget(sys.stdout)
        raise SystemExit(NO_READER) from None
    except OSError as error:
        if error.errno not in _NOT_TAKEN or error.filename is not None:  # something else, and a bug
            raise
        _forget(sys.stdout)
        reason = error.strerror or str(error)
        raise StorageError(f"Standard output must take what is written. Received: {reason}. Open it, or make room.") from error


def _forget(stream: Any) -> None:
    """Write what is still in the buffer of a stream nowhere: it would be tried again at exit, and change the exit code."""
    with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
