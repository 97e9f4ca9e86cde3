"""Signals that arrive, however the suite itself was started.

A background job, nohup and many CI runners ignore some signals, and what they start inherits that.
"""

import contextlib
import signal
import sys

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
# A program of its own, since code between fork and exec may hang where there are threads.
_AS_IN_A_TERMINAL = f"""
import os, signal, sys
for name in {NAMES}:
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
if hasattr(signal, "pthread_sigmask"):
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
os.execvp(sys.argv[1], sys.argv[1:])
"""


def heeding(command):
    """Return a command that runs another one with every signal as in a terminal."""
    return [sys.executable, "-ISc", _AS_IN_A_TERMINAL, *map(str, command)]


def deaf_to_interrupts(command):
    """Return a command that runs another one as a background job: with SIGINT ignored."""
    code = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); os.execvp(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-ISc", code, *map(str, command)]


@contextlib.contextmanager
def interrupts_heeded():
    """Let SIGINT raise KeyboardInterrupt in this process while the block runs."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
