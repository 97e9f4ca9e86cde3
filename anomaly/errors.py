"""The exception tree. Every class carries the exit code of the command line.

    AnomalyError
    ├── ConfigError      2   a setting is out of its range, or settings contradict each other
    │   └── LackingError     a package that is needed for it is not installed
    ├── DataError        3   the input data is refused
    │   └── SeveralSeriesError   it belongs to several series
    ├── BundleError      4   the file is not a bundle this version can load
    ├── StorageError     5   reading or writing failed: disk, permissions, a vanished file; or there is no memory
    │   └── OccupiedError    another run is writing the file
    ├── DivergedError    6   training produced a loss that is not finite
    └── NotFittedError   1   a method that needs a fitted detector was called before `fit`

A message is one sentence or two: the rule with its limit, what came and where, the remedy.
"""

from collections.abc import Iterable
from typing import Any


class AnomalyError(Exception):
    """Base of everything this package raises on purpose; it goes to other processes and comes back the same."""

    exit_code = 1

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what it is made of anew: a class may take other arguments than those that it shows."""
        return _again, (type(self), self.args, vars(self))


class ConfigError(AnomalyError, ValueError):
    """A setting is unknown, out of its range, or contradicts another."""

    exit_code = 2


class LackingError(ConfigError):
    """What is asked for needs packages that are not installed."""


class DataError(AnomalyError, ValueError):
    """The input series is refused; a file that was being written stays as it was."""

    exit_code = 3


class SeveralSeriesError(DataError):
    """The rows belong to several series.

    Args:
        message: what is said where an option tells the series apart.
        alone: what is said where there is no such option.
    """

    def __init__(self, message: str, alone: str) -> None:
        super().__init__(message)
        self.alone = alone


class BundleError(AnomalyError, ValueError):
    """The file is not a bundle that this version can load."""

    exit_code = 4


class StorageError(AnomalyError, OSError):
    """A file could not be read or written, or the memory is too small."""

    exit_code = 5


class OccupiedError(StorageError):
    """Another run is writing the file."""


class DivergedError(AnomalyError, ArithmeticError):
    """Training produced a loss, a penalty or a gradient that is not finite."""

    exit_code = 6


class NotFittedError(AnomalyError, ValueError, AttributeError):
    """The detector has not been fitted; the bases are those of scikit-learn's class of that name."""


def out_of_memory(error: MemoryError) -> StorageError:
    """Return the error of work that the memory is too small for."""
    reason = " ".join(str(error).split()) or "none left"
    return StorageError(f"There must be memory for the work. Received: {reason.rstrip('.')}. Give the process more, or less data.")


def _again(kind: type[AnomalyError], args: tuple[Any, ...], attributes: dict[str, Any]) -> AnomalyError:
    error = kind.__new__(kind, *args)
    vars(error).update(attributes)
    return error


def joint_exit_code(errors: Iterable[AnomalyError], *, some_went_well: bool) -> int:
    """Return the exit code for many tasks: 0 without an error, that of the errors if all failed alike, else 3.

    Args:
        errors: of the tasks that failed.
        some_went_well: whether there are others.
    """
    codes = {error.exit_code for error in errors}
    return 0 if not codes else codes.pop() if len(codes) == 1 and not some_went_well else DataError.exit_code


def shorten(names: list[str] | tuple[str, ...], limit: int = 5) -> str:
    """Join names for a message, capped at `limit` so that a wide file stays one sentence."""
    shown = ", ".join(repr(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
