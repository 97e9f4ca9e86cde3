"""The system calls of `anomaly.storage.writing`, of which a chosen one fails: once, or from then on, as a full disk does.

A test runs the same write again and again, lets the first call fail, then the second, and so on until the write gets
through. Calls of other modules are not touched. As a script it writes one file and is killed at the chosen call:

    python faulty_storage.py PATH NUMBER
"""

import errno
import fcntl
import io
import os
import signal
import tempfile
from types import SimpleNamespace

from anomaly.storage import writing as storage

OLD, NEW = b"the old content\n", bytes(range(256)) * 100  # longer than a buffer: several writes, one may tear it
ERRORS = {name: getattr(errno, name) for name in ("ENOSPC", "EIO", "EINTR", "EDQUOT", "EFBIG")}
# After this one the buffer of Python calls again by itself, until it gets another answer.
RETRIED = errno.EINTR
CALLS = ("open", "fsync", "replace", "chmod", "unlink", "close", "write", "ftruncate", "fstat", "lstat")
# Tidying up: when one of these fails, the new file is complete already, or there is an error to report before it.
TIDYING = {"unlink", "close", "write", "ftruncate"}


class FaultyStorage:
    """Count the calls of `anomaly.storage.writing`, and let some of them fail.

    Args:
        number: which call fails, from 1.
        fault: called in the place of the failing call; it raises.
        sticky: whether all later calls fail too.
    """

    def __init__(self, number, fault, *, sticky=False):
        self.calls = []
        self.failed = []
        self._number, self._fault, self._sticky = number, fault, sticky

    def install(self, monkeypatch):
        """Put the counted calls into the module."""
        calls = {name: self._counted(name, getattr(os, name)) for name in CALLS}
        faulty_os = SimpleNamespace(**(vars(os) | calls | {"fdopen": self._fdopen}))
        monkeypatch.setattr(storage, "os", faulty_os)
        monkeypatch.setattr(storage, "tempfile", SimpleNamespace(mkstemp=self._counted("mkstemp", tempfile.mkstemp)))
        monkeypatch.setattr(storage, "fcntl", SimpleNamespace(**(vars(fcntl) | {"flock": self._counted("flock", fcntl.flock)})))
        return self

    def fails(self, name):
        """Count a call, and tell whether it is one that fails."""
        self.calls.append(name)
        number = len(self.calls)
        return number == self._number or (self._sticky and number > self._number)

    def fail(self, name):
        """Fail as the system would; something that tries again for ever is a bug here or there."""
        self.failed.append(name)
        assert len(self.failed) < 1000, self.calls[:50]
        self._fault()

    def _counted(self, name, real):
        def call(*args, **kwargs):
            if not self.fails(name):
                return real(*args, **kwargs)
            if name == "close":  # the descriptor is gone even where closing fails
                real(*args)
            return self.fail(name)

        return call

    def _fdopen(self, descriptor, mode):
        if self.fails("fdopen"):
            self.fail("fdopen")
        return io.BufferedWriter(_FaultyFile(descriptor, mode, self))


class _FaultyFile(io.FileIO):
    """A file on a disk that fails."""

    def __init__(self, descriptor, mode, faulty):
        super().__init__(descriptor, mode)
        self._faulty = faulty

    def write(self, data):
        if self._faulty.fails("write to the file"):
            self._faulty.fail("write to the file")
        return super().write(data)

    def close(self):
        if self.closed:
            return
        fails = self._faulty.fails("close of the file")
        super().close()
        if fails:
            self._faulty.fail("close of the file")


def failing_with(code):
    """Return a fault: what Python raises for this error of the system."""

    def fault():
        raise OSError(code, os.strerror(code))

    return fault


def interrupt():
    """Raise what Ctrl-C does."""
    raise KeyboardInterrupt


def die():
    """End the process at once, as a power cut does."""
    os.kill(os.getpid(), signal.SIGKILL)


def write_new(path):
    """Write the new content in pieces."""
    with storage.atomic_output(path) as handle:
        for start in range(0, len(NEW), 5000):
            handle.write(NEW[start : start + 5000])


def main(path, number):
    """Write the new content in a process that dies at a call."""
    FaultyStorage(int(number), die).install(SimpleNamespace(setattr=setattr))
    write_new(path)
