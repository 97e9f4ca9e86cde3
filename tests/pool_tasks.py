"""Tasks that the tests of the pool give to its workers; light, since each worker imports this file."""

import os
import signal
import time


def touch_and_sleep(path):
    """Say which process works, for as long as it does."""
    path.write_text(str(os.getpid()))
    try:
        time.sleep(600)
    finally:
        path.unlink()


def note(path):
    """Write a line, a moment later."""
    time.sleep(0.05)
    with open(path, "a") as handle:
        handle.write("done\n")
    return 1


def meet(names):
    """Make a file, and wait for that of another task."""
    own, other = names
    own.touch()
    while not other.exists():
        time.sleep(0.01)
    return True


class _Loses:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)


def lose_a_signal(task):
    """Have SIGTERM come where the interpreter loses what its handler raises."""
    _Loses()
    time.sleep(600)
