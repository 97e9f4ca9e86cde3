"""What makes processes that are ours begin and end quickly: how garbage is collected, how pandas and Keras are loaded."""

import atexit
import contextlib
import functools
import gc
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["collect_seldom", "load_pandas", "pd", "quick_imports", "quick_pandas", "with_pandas", "without_pandas"]

# New containers between two searches for unreachable ones, where Python has 700: what is imported stays, TensorFlow alone half a
# million. Measured (EPYC of 2021): a sixth of `anomaly score` of 4,096 rows, and .6 s of the import of TensorFlow.
_CONTAINERS = 10_000

# What a module imports if it is there, and is not used here. Keras: for its own pictures and wrappers, .9 s. TensorFlow: Keras
# itself, .4 s, which the built-in network is trained without.
_COMPANIONS = {"keras": ("sklearn", "matplotlib", "PIL"), "tensorflow": ("keras", "sklearn", "matplotlib", "PIL")}


class _OnFirstUse:
    """Stands for the module pandas, and imports it when something of it is asked for: plain files need nothing of it."""

    is_quick = False  # whether it is loaded the quick way

    def __getattr__(self, name: str) -> Any:
        """Return what pandas has under a name, and keep it."""
        if self.is_quick:
            load_pandas()
        found = getattr(import_module("pandas"), name)
        setattr(self, name, found)
        return found


_pandas = _OnFirstUse()
if not TYPE_CHECKING:
    pd = _pandas


def collect_seldom() -> None:
    """Let this process look for garbage seldom, and not at all among what is left when it ends (1 s with TensorFlow)."""
    gc.set_threshold(_CONTAINERS, *gc.get_threshold()[1:])
    atexit.register(gc.freeze)


def load_pandas() -> None:
    """Import pandas, if that is still to be done, as where PyArrow is not installed.

    With it pandas needs .2 s and 40 MB more, and reads text more slowly. Afterwards PyArrow can be imported as ever. A
    program that imports this package keeps the pandas it has: only commands and worker processes call this.
    """
    if "pandas" not in sys.modules and "pyarrow" not in sys.modules:
        with _as_if_absent("pyarrow"):
            import pandas  # noqa: F401


def quick_pandas() -> None:
    """Load pandas so where it is used first, if it is, TensorFlow and Keras too; only commands and worker processes call this."""
    _pandas.is_quick = True


@contextlib.contextmanager
def quick_imports(name: str) -> Iterator[None]:
    """In a process that is ours, let a module be imported as where what it does not need here is not installed.

    Args:
        name: "tensorflow" or "keras". Keras can be imported as ever after TensorFlow has been without it.
    """
    with _as_if_absent(*_COMPANIONS[name]) if _pandas.is_quick else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def _as_if_absent(*names: str) -> Iterator[None]:
    """Make imports of modules fail in the block that are not yet imported; afterwards they can be imported as ever."""
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # what makes an import fail
    try:
        yield
    finally:
        for name in absent:
            if sys.modules.get(name, ...) is None:
                del sys.modules[name]


def with_pandas(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command that loads pandas so before it does anything else."""
    return _after(load_pandas, command)


def without_pandas(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command that loads pandas so if it needs it."""
    return _after(quick_pandas, command)


def _after(prepare: Callable[[], None], command: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(command)
    def prepared(**given: Any) -> Any:
        prepare()
        return command(**given)

    return prepared
