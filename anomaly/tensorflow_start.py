"""Load TensorFlow and Keras: the one place that does, so that nothing but real errors reaches standard error.

While it is imported, TensorFlow writes to file descriptor 2: that oneDNN is on (by default where the processor has AVX-512),
that a library of an accelerator is registered twice, that its log is not set up yet. No setting of that log holds this back.
So the descriptor leads into a file meanwhile. Afterwards what is not such a notice is handed on; after an error, all is. What
ends the process at once, as on a processor without AVX, stays unsaid: with TF_CPP_MIN_LOG_LEVEL=0 nothing is held back.

oneDNN is off unless the user sets TF_ENABLE_ONEDNN_OPTS: the processor would decide about it, and so about the last bits of a
detector. Measured on two cores of a Xeon with AVX-512 and AMX (Sapphire Rapids; batches of 64 windows of 64 rows and 4
features, 64 units, two_pass): a compiled step takes 16.7 ms without it and 17.0 with it, and gives the same weights bit for
bit, since XLA does not use it. A step that is not compiled takes 52 ms without it and 49 with it; after 60 steps weights of at
most 1.06 differ by at most 7e-7.
"""

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from importlib import import_module
from typing import IO, Any

from anomaly.errors import ConfigError
from anomaly.extras import lacking_to_learn, require_temporary_folder
from anomaly.quick_start import quick_imports

_STDERR = 2
# A line of its log begins with a letter for the level, and digits for month, day and time; with the date; or with these words.
_NOTICE = re.compile(
    rb"WARNING: All log messages before absl|[IWE]\d{4} \d\d:\d\d:\d+\.|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWE] "
)
# The descriptor is the whole process's: one import at a time.
_ONE_AT_A_TIME = threading.RLock()
# The process in which a network was trained or run by TensorFlow.
_ran_in: int | None = None


def load_tensorflow() -> Any:
    """Return the module `tensorflow`, quietly imported if that is still to be done.

    Raises:
        LackingError: if it is not installed.
        StorageError: if there is no folder for temporary files.
    """
    return _loaded("tensorflow")


def load_keras() -> Any:
    """Return the module `keras`, quietly imported if that is still to be done; errors as `load_tensorflow`."""
    return _loaded("keras")


def refuse_in_a_fork() -> None:
    """Refuse to compute with TensorFlow in a process that was forked from one in which it has run: its threads are not there.

    It would wait for them for ever.

    Raises:
        ConfigError: in such a process.
    """
    global _ran_in
    if _ran_in is None:
        _ran_in = os.getpid()
    elif _ran_in != os.getpid():
        raise ConfigError(
            "TensorFlow must run in the process in which it began, or in one that was started anew. Received: a process that was "
            'forked after a training. Make the pool with multiprocessing.get_context("spawn").'
        )


def _loaded(name: str) -> Any:
    if name not in sys.modules:
        require_temporary_folder()
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        wanted = os.environ["TF_CPP_MIN_LOG_LEVEL"] in ("0", "1")
        with _ONE_AT_A_TIME, quick_imports(name), contextlib.nullcontext() if wanted else _notices_held_back():
            try:
                import_module(name)
            except ModuleNotFoundError as error:
                if error.name != name:  # it is there, and broken
                    raise
                raise lacking_to_learn() from error
    return import_module(name)  # which waits where another thread is at it


@contextlib.contextmanager
def _notices_held_back() -> Iterator[None]:
    """Keep the notices from standard error while the block runs."""
    with contextlib.ExitStack() as files:
        try:
            screen = files.enter_context(open(os.dup(_STDERR), "wb"))
            held = files.enter_context(tempfile.TemporaryFile())
        except OSError:  # it is closed, or the disk is full
            yield
            return
        failed = False
        try:
            os.dup2(held.fileno(), _STDERR)
            yield
        except Exception:
            failed = True
            raise
        finally:
            try:
                os.dup2(screen.fileno(), _STDERR)
            finally:  # once more, since Ctrl-C may have come just before
                os.dup2(screen.fileno(), _STDERR)
            _hand_on(held, screen, everything=failed)


def _hand_on(held: IO[bytes], screen: IO[bytes], *, everything: bool) -> None:
    """Write what was held back, but for the notices."""
    held.seek(0)
    lines = [line for line in held if everything or not _NOTICE.match(line)]
    with contextlib.suppress(OSError):  # nobody reads it any more
        screen.write(b"".join(lines))
        screen.flush()
