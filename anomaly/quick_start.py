"""Load pandas the quick way in processes that are ours, and nowhere before it is used."""

import functools
import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["load_pandas", "pd", "quick_pandas", "with_pandas", "without_pandas"]


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


def load_pandas() -> None:
    """Import pandas, if that is still to be done, as where PyArrow is not installed.

    With it pandas needs .2 s and 40 MB more, and reads text more slowly. Afterwards PyArrow can be imported as ever. A
    program that imports this package keeps the pandas it has: only commands and worker processes call this.
    """
    if "pandas" in sys.modules or "pyarrow" in sys.modules:
        return
    sys.modules["pyarrow"] = None  # type: ignore[assignment]  # what makes an import fail
    try:
        import pandas  # noqa: F401
    finally:
        del sys.modules["pyarrow"]


def quick_pandas() -> None:
    """Load pandas so where it is used first, if it is; only commands and worker processes call this."""
    _pandas.is_quick = True


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
