"""Which files an argument stands for, and what the series in them are called."""

import errno
import glob
import unicodedata
from collections import Counter
from collections.abc import Sequence
from os.path import commonpath
from pathlib import Path, PurePath, PurePosixPath
from typing import NamedTuple

from anomaly.errors import ConfigError, shorten
from anomaly.storage.addresses import ObjectUri, has_magic
from anomaly.storage.object_store import is_object, is_prefix, matching, names_below, require_bucket
from anomaly.storage.writing import storage_errors

# What a folder stands for, whatever the case.
ENDINGS = (".csv", ".csv.gz", ".parquet")
# What does not belong to the name of a series; the longest first.
_DROPPED = (".csv.gz", ".parquet", ".csv", ".gz")
STANDARD_INPUT = "-"
# What the system says of a path that nothing is under: the last three where none can be.
_NOTHING_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL)
# Unicode categories: control characters, halves of surrogate pairs, line and paragraph separators.
_UNSEEN = ("Cc", "Cs", "Zl", "Zp")


class Input(NamedTuple):
    """A file with one series, or "-" for standard input."""

    name: str  # of the series: no ending, no folder unless names repeat; with "/" on every system; what nobody could see is escaped
    path: str  # or an `ObjectUri`, and then an object
    refusal: str = ""  # why nothing may be made of this one; the others are no worse for it


def find_inputs(arguments: Sequence[str]) -> list[Input]:
    """Return the files that arguments stand for, in their order, each file once.

    An argument is a file; a folder, which stands for the .csv, .csv.gz and .parquet files in it, sorted; or a pattern
    with `*`, `?`, `[...]` or `**`, which stands for the files that it matches, sorted. An `ObjectUri` stands in the same way
    for objects.

    A series is called as its file without the ending. Where that name repeats, the series have the path of their file below
    the folder that all of the files lie in, without the ending unless that repeats too.

    Args:
        arguments: as given on the command line; "-" is standard input, and must be alone.

    Raises:
        ConfigError: if an argument stands for no file, or "-" is not alone.
        StorageError: if a folder cannot be read, or an object store does not answer.
    """
    if STANDARD_INPUT in arguments:
        if len(arguments) > 1:
            raise ConfigError(f"Standard input must be the only input. Received: - beside {len(arguments) - 1} more. Name files.")
        return [Input("stdin", STANDARD_INPUT)]
    found: dict[PurePath, str] = {}
    for argument in arguments:
        if isinstance(argument, ObjectUri):
            found |= {_as_path(uri): uri for uri in _objects(argument) if _as_path(uri) not in found}
            continue
        for path in _files(argument):
            with storage_errors(path):
                found.setdefault(path.resolve(), str(path))
    if not found:
        raise ConfigError("There must be at least one input. Received: none. Name a file, a folder or a pattern.")
    return [_input(name, path) for name, path in zip(_names(list(found)), found.values(), strict=True)]


def find_sound_inputs(arguments: Sequence[str]) -> list[Input]:
    """Return the files as `find_inputs`, where they are one whole: then one that is refused is all of them.

    Raises:
        ConfigError: also if one has a name that nobody could read.
        StorageError: as `find_inputs`.
    """
    inputs = find_inputs(arguments)
    for item in inputs:
        if item.refusal:
            raise ConfigError(item.refusal)
    return inputs


def stands_for_many(arguments: Sequence[str]) -> bool:
    """Tell whether arguments name more than one plain file, by their form: several of them, a folder or a pattern.

    Raises:
        StorageError: if an object store does not answer, or the system refuses to look.
    """
    if len(arguments) != 1 or arguments[0] == STANDARD_INPUT:
        return len(arguments) != 1
    argument = arguments[0]
    if isinstance(argument, ObjectUri):
        return not is_object(argument) and (has_magic(argument.key) or is_prefix(argument))
    with storage_errors(argument):
        return _is_folder(Path(argument)) or _is_pattern(argument)


def stem(name: str) -> str:
    """Return the name of a file without the endings of data: "a.csv.gz" is "a"."""
    for ending in _DROPPED:
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return name


def _is_pattern(argument: str) -> bool:
    return glob.has_magic(argument) and not _is_there(Path(argument))


def _is_folder(path: Path) -> bool:
    return _is_there(path) and path.is_dir()


def _is_there(path: Path) -> bool:
    """Tell whether there is a file or a folder; under a name that the system does not take there is none.

    Raises:
        OSError: if the system does not say so.
    """
    try:
        path.stat()
    except ValueError:  # a NUL in it
        return False
    except OSError as error:
        if error.errno not in _NOTHING_THERE:
            raise
        return False
    return True


def _files(argument: str) -> list[Path]:
    path = Path(argument)
    with storage_errors(argument):
        if _is_folder(path):
            files = sorted(file for file in path.iterdir() if _is_data(file))
            wanted = f"hold a file that ends in {', '.join(ENDINGS)}"
        elif _is_pattern(argument):
            files = sorted(Path(file) for file in glob.glob(argument, recursive=True) if Path(file).is_file())  # noqa: PTH207 - it may be absolute
            wanted = "match a file"
        else:
            files, wanted = [path] if _is_there(path) else [], "exist"
    if not files:
        raise ConfigError(f"Every input must {wanted}. Received: {argument}, which does not. Check its spelling and the folder.")
    return files


def _objects(argument: ObjectUri) -> list[ObjectUri]:
    """Return the objects that an address stands for."""
    if is_object(argument):
        return [argument]
    if has_magic(argument.key):
        found, wanted = matching(argument), "match an object"
    else:
        found = [argument.below(name) for name in names_below(argument) if _is_data_name(name)]
        wanted = f"be an object, or a prefix with an object that ends in {', '.join(ENDINGS)}"
    if not found:
        require_bucket(argument)
        raise ConfigError(f"Every input must {wanted}. Received: {argument}, which does not. Check its spelling.")
    odd: list[str] = [uri for uri in found if not _could_be_a_path(uri)]
    if odd:  # outputs are called by it, and people see it
        raise ConfigError(
            "Every object must have a name without empty parts, dots for parts, backslashes and control characters. "
            f"Received: {shorten(odd)}. Rename it, or leave it out."
        )
    return found


def _could_be_a_path(uri: ObjectUri) -> bool:
    return {"", ".", ".."}.isdisjoint(uri.key.split("/")) and "\\" not in uri and uri.isprintable()


def _as_path(uri: ObjectUri) -> PurePosixPath:
    """Return an address as the path that its series is called by: as if the buckets were folders of this machine."""
    return PurePosixPath("/", uri.root.replace("://", "/"), uri.key)


def _is_data(file: Path) -> bool:
    return _is_data_name(file.name) and file.is_file()


def _is_data_name(name: str) -> bool:
    return name.lower().endswith(ENDINGS) and not name.startswith(".")


def _input(name: str, path: str) -> Input:
    """Return an input, refused if its name is not as it stands in the path: outputs are called by it, and people see it."""
    if isinstance(path, ObjectUri) or not any(_is_unseen(letter) for letter in stem(Path(path).name)):
        return Input(name, path)
    return Input(name, path, f"An input must have a name without control characters, in UTF-8. Received: {path!a}. Rename it.")


def _seen(name: str) -> str:
    """Return a name with escapes in the place of what would steer a terminal, or is no text."""
    return "".join(ascii(letter)[1:-1] if _is_unseen(letter) else letter for letter in name)


def _is_unseen(letter: str) -> bool:
    return unicodedata.category(letter) in _UNSEEN


def _names(paths: list[PurePath]) -> list[str]:
    """Return a name for each file; all are different."""
    root = Path(commonpath([path.parent for path in paths]))
    longer = [path.relative_to(root).as_posix() for path in paths]
    names = [stem(path.name) for path in paths]
    for other in ([stem(name) for name in longer], longer):
        counts = Counter(names)
        names = [other[i] if counts[name] > 1 else name for i, name in enumerate(names)]
    names = [_seen(name) for name in names]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:  # such as a file "a.csv.csv" beside two that are called "a"
        raise ConfigError(f"Inputs must have different names. Received: {shorten(repeated)} twice. Rename a file.")
    return names
