"""SIGTERM ends a program by an exception, so that half-written files are removed on the way out.

The interpreter loses what a signal handler raises in some places: in a `__del__`, or while it folds the
constants of a module that it compiles. The exception is raised again until one is on its way.
"""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

TERMINATED = 143  # exit code: 128 and the number of the signal
SECONDS_TO_HEED = 0.5  # an exception that is on its way has reached a `finally` by then


class Terminated(SystemExit):
    """Leaves the program with exit code 143."""


@contextlib.contextmanager
def heeding_sigterm() -> Iterator[None]:
    """Let SIGTERM raise `Terminated` in the block; outside the main thread nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, hook = signal.signal(signal.SIGTERM, _leave), sys.unraisablehook
    sys.unraisablehook = lambda lost: None if isinstance(lost.exc_value, Terminated) else hook(lost)  # it comes again
    try:
        yield
    finally:
        sys.unraisablehook = hook
        if hasattr(signal, "setitimer") and signal.getsignal(signal.SIGALRM) is _insist:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _leave(number: int, frame: Any) -> None:
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _insist)
        signal.setitimer(signal.ITIMER_REAL, SECONDS_TO_HEED)
    raise Terminated(TERMINATED)


def _insist(number: int, frame: Any) -> None:
    """Raise again, unless the program is at its clean-up already."""
    if not _on_its_way(sys.exception()):
        _leave(number, frame)


def _on_its_way(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, Terminated):
            return True
        error = error.__context__
    return False
