"""Many trained detectors: a folder with one bundle for each series, and an index that says which is whose.

    FOLDER/index.json                              the names of the series and the SHA-256 of their bundles
    FOLDER/<letters of the name>-<digest>.anomaly  a bundle, called by its series and its content

A bundle is never overwritten by another one, and the index is replaced at once: what reads the folder sees the old fleet or
the new one. An index is as little trusted as a bundle: it names no path, and no bundle counts that has another SHA-256.
"""

import contextlib
import difflib
import hashlib
import json
import re
import unicodedata
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from anomaly.bundle.bundle import Bundle
from anomaly.bundle.container import SHA256, RefusedError, brief, check_pin, opened, parse_json
from anomaly.bundle.file import checked_bytes
from anomaly.bundle.header import checked_columns, checked_time_column
from anomaly.detector.detector import Detector
from anomaly.errors import BundleError, ConfigError, DataError, shorten
from anomaly.storage.folders import Folder, folder_at, is_folder

INDEX_NAME, FORMAT_VERSION = "index.json", 1
# Beside the bundles: what a training has done so far, see `anomaly.fleet.training`.
MANIFEST, CHECKPOINT = "training.json", "training.checkpoint"
MOST_SERIES, LARGEST_INDEX = 100_000, 1 << 26
# Detectors that are held in memory at a time.
MOST_LOADED = 64
_KEYS = {"format_version", "id_column", "time_column", "columns", "series"}
_LETTERS, _DIGITS = 40, 20
_BUNDLE_NAME = re.compile(rf"(?:[a-z0-9_]{{1,{_LETTERS}}}-)?[0-9a-f]{{{_DIGITS}}}\.anomaly")
# Of names that are compared with one that is unknown.
_MOST_COMPARED = 10_000


class Member(NamedTuple):
    """The bundle of one series."""

    file: str
    sha256: str


@dataclass(frozen=True)
class Index:
    """What stands in `index.json`.

    Attributes:
        id_column: name of the column that says which series a record belongs to; None if each has a file of its own.
        time_column: as in `Bundle`, and the same for all series.
        columns: the features, the same for all series.
        series: the bundle of each series, by its name.
    """

    id_column: str | None
    time_column: str | None
    columns: tuple[str, ...]
    series: dict[str, Member] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return the content of the file; the same index always gives the same bytes.

        Raises:
            DataError: if there are too many series, or their names are too long, to be read again.
        """
        content = self.content()
        try:
            Index.from_bytes(content)
        except RefusedError as error:
            raise DataError(
                f"A fleet must have at most {MOST_SERIES:,} series, an index of at most {LARGEST_INDEX >> 20} MiB, and names of "
                f"at most 1,024 characters without a control character. Received: {error}. Rename the series, or split the fleet."
            ) from error
        return content

    def content(self) -> bytes:
        """Return the same as `to_bytes`, whether or not it could be read again."""
        described = vars(self) | {
            "format_version": FORMAT_VERSION,
            "columns": list(self.columns),
            "series": {name: member._asdict() for name, member in self.series.items()},
        }
        return json.dumps(described, sort_keys=True, indent=1, allow_nan=False).encode() + b"\n"

    @classmethod
    def from_bytes(cls, content: bytes) -> "Index":
        """Parse what `to_bytes` wrote; raises `RefusedError` with the reason."""
        if len(content) > LARGEST_INDEX:
            raise RefusedError(f"an index of more than {LARGEST_INDEX:,} bytes")
        described = parse_json(content, "index")
        version = described.get("format_version")
        if type(version) is not int or version != FORMAT_VERSION:
            raise RefusedError(f"index of format version {version!r}")
        try:
            if set(described) != _KEYS:
                raise ValueError("other keys than those of an index")
            columns = checked_columns(described["columns"])
            time_column = checked_time_column(described["time_column"], columns)
            id_column = checked_time_column(described["id_column"], (*columns, *([] if time_column is None else [time_column])))
            series = described["series"]
            if not isinstance(series, dict) or not 1 <= len(series) <= MOST_SERIES:
                raise ValueError("no series, or too many")
            index = cls(
                id_column, time_column, columns, {series_name(name): known_member(name, value) for name, value in series.items()}
            )
        except (TypeError, ValueError) as error:
            raise RefusedError(f"a contradictory index: {error}") from error
        if index.content() != content:
            raise RefusedError("an index in another form than the one it is written in")
        return index


class _UnknownSeriesError(DataError):
    """A series has no detector; which names are near it takes half a second to tell, and is told where somebody reads it."""

    def __init__(self, name: str, ids: tuple[str, ...], folder: str) -> None:
        super().__init__(name)
        self._ids, self._folder = ids, folder

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the sentence, without the names of all series."""
        return DataError, (str(self),)

    def __str__(self) -> str:
        return self._sentence

    @cached_property
    def _sentence(self) -> str:
        name = self.args[0]
        near = difflib.get_close_matches(name, self._ids[:_MOST_COMPARED], 3)
        hint = f"The nearest are {shorten(near)}. " if near else f"They are {shorten(self._ids)}. "
        return (
            f"A series must be one of the {len(self._ids):,} that the fleet was trained on. Received: {name[:80]!r} "
            f"({self._folder}). {hint}Call it as in training, train the fleet with it, or leave it out."
        )


class Fleet:
    """Detectors of many series, each loaded when it is asked for and checked then.

    Args:
        folder: where they are.
        index: what they are.
        most_loaded: how many are held in memory; the one that was not asked for the longest time goes first.

    Attributes:
        index: what they are.
        sha256: of the index file, in hexadecimal, as it was written.
    """

    def __init__(self, folder: str | Path, index: Index, *, most_loaded: int = MOST_LOADED) -> None:
        self.index = index
        self.sha256 = hashlib.sha256(index.content()).hexdigest()
        self._folder, self._most_loaded = folder_at(folder), most_loaded
        self._loaded: OrderedDict[str, Detector] = OrderedDict()

    @classmethod
    def load(cls, folder: str | Path, *, expect_sha256: str | None = None, most_loaded: int = MOST_LOADED) -> "Fleet":
        """Read the index of a fleet; the bundles are read when they are asked for.

        Args:
            folder: what `anomaly train` made.
            expect_sha256: SHA-256 of `index.json`, in hexadecimal, which pins every bundle too; default: any.
            most_loaded: as for the class.

        Raises:
            BundleError: if there is no index, or it is not one of this version, is damaged, or not the one expected.
            ConfigError: if `expect_sha256` is not 64 hexadecimal digits.
            StorageError: if it cannot be read.
        """
        found = folder_at(folder)
        content = _read_index(found)
        if expect_sha256 is not None:
            check_pin(content, expect_sha256, found.name)
        return cls(folder, _parsed(content, found), most_loaded=most_loaded)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The names of the series, sorted."""
        return tuple(sorted(self.index.series))

    @property
    def columns(self) -> tuple[str, ...]:
        """The features, the same for all series."""
        return self.index.columns

    @property
    def time_column(self) -> str | None:
        """The time column, the same for all series; None if rows are counted."""
        return self.index.time_column

    def __len__(self) -> int:
        """Return the number of series."""
        return len(self.index.series)

    def __contains__(self, name: object) -> bool:
        """Tell whether there is a detector for a series."""
        return name in self.index.series

    def member(self, name: str) -> Member:
        """Return file and SHA-256 of the bundle of a series.

        Raises:
            DataError: if there is none for it.
        """
        member = self.index.series.get(name)
        if member is None:
            raise _UnknownSeriesError(name, self.ids, self._folder.name)
        return member

    def path(self, name: str) -> str | Path:
        """Return the path of the bundle of a series; raises as `member`."""
        return self._folder.file(self.member(name).file)

    def detector(self, name: str) -> Detector:
        """Return the detector of a series.

        Raises:
            DataError: if there is none for it.
            BundleError: if its bundle is not the one that the index means, or not one of this version.
            StorageError: if it cannot be read.
        """
        member = self.member(name)
        if name in self._loaded:
            self._loaded.move_to_end(name)
            return self._loaded[name]
        detector = Detector.load(self._folder.file(member.file), expect_sha256=member.sha256)
        bundle = detector.bundle_
        if (bundle.columns, bundle.time_column) != (self.index.columns, self.index.time_column):
            raise BundleError(
                f"The bundles of a fleet must have the columns of its index. Received: {shorten(bundle.columns)} and the time "
                f"column {bundle.time_column!r} ({member.file}). Train the fleet anew."
            )
        self._loaded[name] = detector
        while len(self._loaded) > self._most_loaded:
            self._loaded.popitem(last=False)
        return detector


def open_model(path: str | Path, *, expect_sha256: str | None = None) -> Detector | Fleet:
    """Load what `anomaly train` made: a fleet from a folder, a detector from a file.

    Args:
        path: the folder or the file.
        expect_sha256: SHA-256 of the file, or of the folder's index.

    Raises:
        BundleError: as `Detector.load` and `Fleet.load`.
        ConfigError: if `expect_sha256` is not 64 hexadecimal digits.
        StorageError: if it cannot be read.
    """
    if is_folder(path):
        return Fleet.load(path, expect_sha256=expect_sha256)
    return Detector.load(path, expect_sha256=expect_sha256)


def series_name(name: str) -> str:
    """Return the name of a series; `ValueError` says what is wrong with it: people see it, so it may not steer a terminal."""
    try:
        return checked_columns([name])[0]
    except ValueError as error:
        raise ValueError(str(error).replace("column name", "series name")) from error


def write_member(folder: str | Path | Folder, name: str, bundle: Bundle) -> Member:
    """Write the bundle of a series beside those that are there; the index does not know it yet.

    Args:
        folder: of the fleet; see `replaced_fleet`.
        name: of the series.
        bundle: its detector's state.

    Raises:
        StorageError: if the system refuses.
    """
    content = checked_bytes(bundle)
    sha256 = hashlib.sha256(content).hexdigest()
    member = Member(_file_name(name, sha256), sha256)
    with folder_at(folder).output(member.file) as handle:
        handle.write(content)
    return member


class NewFleet:
    """A fleet in the making.

    Attributes:
        folder: where it goes.
        old: the index in place, if there is one.
        waiting: files of bundles that stay although no index names them yet.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.waiting: set[str] = set()
        self.old = _parsed(_read_index(folder), folder) if folder.has(INDEX_NAME) else None
        self._unnamed: set[str] = set()  # bundles that a new index left out

    def placed(self, name: str) -> Member | None:
        """Return the detector that the index in place has for a series, if any."""
        return None if self.old is None else self.old.series.get(name)

    def finish(self, index: Index) -> None:
        """Let the new fleet take the place of the old one; every bundle has been written.

        Raises:
            DataError: as `Index.to_bytes`.
            StorageError: if the system refuses; the old fleet stays.
        """
        content = index.to_bytes()
        with self.folder.output(INDEX_NAME) as handle:
            handle.write(content)
        self._unnamed = _files_of(self.old) - _files_of(index)
        self.old = index

    def remove_rest(self) -> None:
        """Remove bundles that no index names and that do not wait for one, such as those of the old fleet.

        Where no lock keeps other runs away their bundles could be among these, so only what the old index named is removed.
        """
        with contextlib.suppress(OSError):
            rest = set(self.folder.names()) - _files_of(self.old) if self.folder.is_local else self._unnamed
            rest -= self.waiting
            for found in sorted(rest):
                if _BUNDLE_NAME.fullmatch(found):
                    with contextlib.suppress(OSError):
                        self.folder.remove(found)


@contextlib.contextmanager
def replaced_fleet(folder: str | Path) -> Iterator[NewFleet]:
    """Yield a fleet in the making; other runs are kept away from its folder meanwhile, if it is on disk.

    Whatever ends the block, the folder holds the old fleet or the new one, and beside it only what waits for the next run. A
    new folder goes again if nothing is in it. In an object store what a run wrote
    that did not end well stays, and no index names it.

    Args:
        folder: a fleet, which is replaced; or a new or empty folder.

    Raises:
        ConfigError: if the folder holds anything else.
        BundleError: if its index is damaged.
        StorageError: if the system refuses, or another run is at work there.
    """
    require_fleet_folder(folder)
    place = folder_at(folder)
    is_new = not place.is_there()
    place.make()
    try:
        with place.only_run("training"):
            new = NewFleet(place)
            try:
                yield new
            finally:
                new.remove_rest()
    finally:
        if is_new:
            place.unmake()  # it is not empty if all went well


def require_fleet_folder(folder: str | Path) -> None:
    """Refuse early a folder that no fleet may go to.

    Raises:
        ConfigError: if it is a file, or a folder of other things.
        BundleError: if it holds an index that is refused.
        StorageError: if it cannot be read.
    """
    place = folder_at(folder)
    place.require_folder(
        ConfigError(f"Detectors of many series must go to a folder. Received: --model {place}, which is a file. Name another.")
    )
    if place.has(INDEX_NAME):
        _parsed(_read_index(place), place)
        return
    ours = {MANIFEST, CHECKPOINT}
    others = [n for n in place.names() if not _BUNDLE_NAME.fullmatch(n) and not n.startswith(".") and n not in ours]
    if others:
        raise ConfigError(
            f"Detectors of many series must go to a new or empty folder, or replace those in one. Received: {place}, "
            f"which holds {shorten(others)}. Name another folder."
        )


def _files_of(index: Index | None) -> set[str]:
    return {member.file for member in index.series.values()} if index else set()


def _file_name(name: str, sha256: str) -> str:
    """Return a name that any file system can hold, of letters for people and a digest that makes it the only one."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    letters = re.sub("[^a-z0-9]+", "_", plain).strip("_")[:_LETTERS]
    digest = hashlib.sha256(f"{sha256} {name}".encode()).hexdigest()[:_DIGITS]
    return f"{letters}-{digest}.anomaly" if letters else f"{digest}.anomaly"


def known_member(name: str, value: Any) -> Member:
    """Return a member as it stands in a file; `ValueError` says what is wrong with it.

    Args:
        name: of the series.
        value: a dict of file and sha256, or anything else.
    """
    if not isinstance(value, dict) or set(value) != {"file", "sha256"}:
        raise ValueError("a series without file and sha256")
    file, sha256 = value["file"], value["sha256"]
    if not isinstance(file, str) or not isinstance(sha256, str) or not SHA256.fullmatch(sha256):
        raise ValueError("a series without file and sha256")
    if file != _file_name(name, sha256):
        raise ValueError(f"the file name {file[:80]!r}")
    return Member(file, sha256)


def _read_index(folder: Folder) -> bytes:
    if not folder.has(INDEX_NAME):
        raise BundleError(
            f"A folder must hold the {INDEX_NAME} of detectors that `anomaly train` made. Received: none ({folder.name}). "
            "Name the folder, or a detector's file."
        )
    with opened(folder.file(INDEX_NAME)) as (handle, _):
        return handle.read(LARGEST_INDEX + 1)


def _parsed(content: bytes, folder: Folder) -> Index:
    try:
        return Index.from_bytes(content)
    except RefusedError as error:
        raise BundleError(
            f"The index must be one that `anomaly train` wrote, in format {FORMAT_VERSION}. Received: {brief(error)} "
            f"({folder.name}/{INDEX_NAME}). Train the fleet anew into another folder."
        ) from error
