"""Messages for Python: what the command line calls `--window-size` is the argument `window_size` there."""

import functools
import re
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from anomaly.errors import AnomalyError

# The option that tells series apart comes with the name of a column at the end of a sentence, or before a condition.
_EACH_SERIES = re.compile(r"(?<![\w-])--id-column(?: ([^\s.,]+)(?=[.,]| if\b))?")
_OPTION = re.compile(r"(?<![\w-])--(no-)?([a-z][a-z0-9]*(?:-[a-z0-9]+)*)")
_OTHER_NAMES = {
    "tz": "timezone",
    "from": "start_from",
    "help": "anomaly.config",
}
# Arguments of `read_csv`, which other calls do not have.
_OF_READ_CSV = {
    "time-column", "value-columns", "label-column", "ignore-columns", "on-bad-rows", "max-bad-fraction", "rejects", "strict",
    "max-bytes",
}  # fmt: skip

_LEFT_OUT_WITH = ("value-columns", "ignore-columns")
# One of them with a column, in quotes where the shell needs them, at the end of a sentence or of a part of it.
_WITH_COLUMNS = re.compile(
    r"(?<![\w-])--(time-column|label-column|value-columns|ignore-columns)"
    r" ((?!(?:with|if|and|or|to)\b)(?:'[^']+'|[^\s'.,;]+(?:[.,][^\s'.,;]+)*))(?=[.,;]?$|[.,;] | (?:if|and|or|to|makes)\b)"
)

P = ParamSpec("P")
R = TypeVar("R")


def in_arguments(message: str, of: str) -> str:
    """Return a message with the arguments of Python in the place of options.

    Args:
        message: as the command line shows it.
        of: the function that was called: what others take is named with them.
    """

    def argument(found: re.Match[str]) -> str:
        negated, name = found.groups()
        if name in _OTHER_NAMES:
            return _OTHER_NAMES[name]
        word = name.replace("-", "_") + ("=False" if negated else "")
        if name not in _OF_READ_CSV or of == "read_csv":
            return word
        return f"{word} of read_csv" + (", or with drop of a frame" if name in _LEFT_OUT_WITH else "")

    def with_columns(found: re.Match[str]) -> str:
        name, value = found[1].replace("-", "_"), found[2].strip("'")
        columns: str | tuple[str, ...] | None = value if "," not in value else tuple(value.split(","))
        columns = None if (found[1], found[2]) == ("time-column", "none") else columns
        asked = f"{name}={columns!r}"
        return asked if of == "read_csv" else f"read_csv(path, {asked})"

    message = _WITH_COLUMNS.sub(with_columns, message)
    each = "groupby of pandas, to give one series at a time"
    message = _EACH_SERIES.sub(lambda found: each if found[1] is None else each.replace("y of", f"y({found[1]!r}) of"), message)
    return _OPTION.sub(argument, message)


def names_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Make the messages of a function that users call name arguments; the commands, which call it too, keep their options."""

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except AnomalyError as error:
            caller = sys._getframe(1).f_globals.get("__name__", "")
            if not caller.startswith("anomaly.") and error.args and isinstance(error.args[0], str):
                error.args = (in_arguments(error.args[0], function.__name__), *error.args[1:])
            raise

    return called
