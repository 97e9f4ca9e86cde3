"""Which files an argument stands for, and what the series in them are called."""

import glob
import unicodedata
from collections import Counter
from collections.abc import Sequence
from os.path import commonpath
from pathlib import Path
from typing import NamedTuple

from anomaly.errors import ConfigError, shorten
from anomaly.storage import storage_errors

# What a folder stands for, whatever the case.
ENDINGS = (".csv", ".csv.gz", ".parquet")
# What does not belong to the name of a series; the longest first.
_DROPPED = (".csv.gz", ".parquet", ".csv", ".gz")
STANDARD_INPUT = "-"
# Unicode categories: control characters, halves of surrogate pairs, line and paragraph separators.
_UNSEEN = ("Cc", "Cs", "Zl", "Zp")


class Input(NamedTuple):
    """A file with one series, or "-" for standard input."""

    name: str  # of the series: no ending, no folder unless names repeat; with "/" on every system
    path: str


def find_inputs(arguments: Sequence[str]) -> list[Input]:
    """Return the files that arguments stand for, in their order, each file once.

    An argument is a file; a folder, which stands for the .csv, .csv.gz and .parquet files in it, sorted; or a pattern
    with `*`, `?`, `[...]` or `**`, which stands for the files that it matches, sorted.

    A series is called as its file without the ending. Where that name repeats, the series have the path of their file below
    the folder that all of the files lie in, without the ending unless that repeats too.

    Args:
        arguments: as given on the command line; "-" is standard input, and must be alone.

    Raises:
        ConfigError: if an argument stands for no file, or "-" is not alone.
        StorageError: if a folder cannot be read.
    """
    if STANDARD_INPUT in arguments:
        if len(arguments) > 1:
            raise ConfigError(f"Standard input must be the only input. Received: - beside {len(arguments) - 1} more. Name files.")
        return [Input("stdin", STANDARD_INPUT)]
    found: dict[Path, str] = {}
    for argument in arguments:
        for path in _files(argument):
            with storage_errors(path):
                found.setdefault(path.resolve(), str(path))
    if not found:
        raise ConfigError("There must be at least one input. Received: none. Name a file, a folder or a pattern.")
    return [Input(name, path) for name, path in zip(_names(list(found)), found.values(), strict=True)]


def stands_for_many(arguments: Sequence[str]) -> bool:
    """Tell whether arguments name more than one plain file, by their form: several of them, a folder or a pattern."""
    return len(arguments) != 1 or (arguments[0] != STANDARD_INPUT and (Path(arguments[0]).is_dir() or _is_pattern(arguments[0])))


def stem(name: str) -> str:
    """Return the name of a file without the endings of data: "a.csv.gz" is "a"."""
    for ending in _DROPPED:
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return name


def _is_pattern(argument: str) -> bool:
    return glob.has_magic(argument) and not Path(argument).exists()


def _files(argument: str) -> list[Path]:
    path = Path(argument)
    with storage_errors(argument):
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if _is_data(file))
            wanted = f"hold a file that ends in {', '.join(ENDINGS)}"
        elif _is_pattern(argument):
            files = sorted(Path(file) for file in glob.glob(argument, recursive=True) if Path(file).is_file())  # noqa: PTH207 - it may be absolute
            wanted = "match a file"
        else:
            files, wanted = [path] if path.exists() else [], "exist"
    if not files:
        raise ConfigError(f"Every input must {wanted}. Received: {argument}, which does not. Check its spelling and the folder.")
    return files


def _is_data(file: Path) -> bool:
    return file.name.lower().endswith(ENDINGS) and not file.name.startswith(".") and file.is_file()


def _names(paths: list[Path]) -> list[str]:
    """Return a name for each file; all are different."""
    root = Path(commonpath([path.parent for path in paths]))
    longer = [path.relative_to(root).as_posix() for path in paths]
    names = [stem(path.name) for path in paths]
    for other in ([stem(name) for name in longer], longer):
        counts = Counter(names)
        names = [other[i] if counts[name] > 1 else name for i, name in enumerate(names)]
    unseen = [name for name in names if any(unicodedata.category(letter) in _UNSEEN for letter in name)]
    if unseen:  # people see the names, so these may not steer their terminal
        raise ConfigError(f"Inputs must have names without control characters, in UTF-8. Received: {unseen[0]!a}. Rename it.")
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:  # such as a file "a.csv.csv" beside two that are called "a"
        raise ConfigError(f"Inputs must have different names. Received: {shorten(repeated)} twice. Rename a file.")
    return names
