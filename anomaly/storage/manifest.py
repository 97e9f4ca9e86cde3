"""What was done for each of many series, in a file beside the results: so that the next run does only what is missing.

    {"format_version": 1, ..., "inputs": {"<name of the series>": {...}, ...}}

A line for each series. The file is no more trusted than any other: what an entry says counts only if the input, the options
and the result are still what it says they are, and whoever reads it compares.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from anomaly.errors import DataError
from anomaly.storage.folders import Folder

FORMAT_VERSION = 1
# The file is not written more often than this, and takes no more than such a share of the time.
SECONDS_BETWEEN, SHARE_OF_TIME = 1.0, 0.1


class Kind(NamedTuple):
    """What a manifest is called, and how it is told from other files."""

    file: str  # its name
    entries: str  # the key that the series stand under
    command: str  # that writes it


class Manifest:
    """The entries of a folder, in memory and in the file.

    Args:
        folder: where the file is.
        kind: what it is called.
        heading: what stands in it beside the entries.
        entries: what was done before, by the name of the series.

    Attributes:
        entries: what was done, by the name of the series.
    """

    def __init__(self, folder: Folder, kind: Kind, heading: Mapping[str, Any], entries: dict[str, dict[str, Any]]) -> None:
        self.entries = entries
        self._folder, self._kind, self._heading = folder, kind, heading
        self._lines = {name: _line(name, entry) for name, entry in entries.items()}
        self._due = 0.0
        self._is_written = True

    def note(self, name: str, entry: dict[str, Any]) -> None:
        """Take what came of a series; write all down if that is due."""
        if self.entries.get(name) != entry:
            self.entries[name], self._lines[name] = entry, _line(name, entry)
            self._is_written = False
        if time.monotonic() >= self._due:
            self.write()

    def keep(self, names: set[str]) -> None:
        """Forget all series but these."""
        for name in set(self.entries) - names:
            del self.entries[name], self._lines[name]
            self._is_written = False

    def write(self) -> None:
        """Write all down, if anything changed.

        Raises:
            StorageError: if the system refuses; the file is then as it was.
        """
        if self._is_written:
            return
        began = time.monotonic()
        heading = json.dumps({"format_version": FORMAT_VERSION, **self._heading}, ensure_ascii=False)
        entries = ",\n".join(self._lines[name] for name in sorted(self._lines))
        with self._folder.output(self._kind.file) as handle:
            handle.write(f'{heading[:-1]}, "{self._kind.entries}": {{\n{entries}\n}}}}\n'.encode())
        self._is_written = True
        ended = time.monotonic()
        self._due = ended + max(SECONDS_BETWEEN, (ended - began) / SHARE_OF_TIME)


@contextmanager
def kept_manifest(folder: Folder, kind: Kind, heading: Mapping[str, Any], *, anew: bool) -> Iterator[Manifest]:
    """Yield the manifest of a folder; it is written at the end, however that comes.

    Args:
        folder: with or without a manifest.
        kind: what it is called.
        heading: what is to stand in it beside the entries.
        anew: whether to begin without entries.

    Raises:
        DataError: as `read_entries`.
        StorageError: if the file cannot be read or written.
    """
    manifest = Manifest(folder, kind, heading, {} if anew else read_entries(folder, kind))
    try:
        yield manifest
    finally:
        manifest.write()


def read_entries(folder: Folder, kind: Kind) -> dict[str, dict[str, Any]]:
    """Return what a manifest says; nothing if there is none, or one of another version, so that all is done again.

    Raises:
        DataError: if the file is of another kind, and must not be written over.
        StorageError: if it cannot be read.
    """
    if not folder.has(kind.file):
        return {}
    try:
        described = json.loads(folder.read(kind.file), parse_constant=_no_number)
    except (ValueError, RecursionError):
        described = None
    entries = described.get(kind.entries) if isinstance(described, dict) else None
    if not isinstance(described, dict) or not isinstance(entries, dict) or "format_version" not in described:
        raise DataError(
            f"A {kind.file} in the way must be one that `{kind.command}` wrote. Received: something else "
            f"({folder.file(kind.file)}). Remove it, and all is done again; or name another folder."
        )
    if described["format_version"] != FORMAT_VERSION:
        return {}
    return {name: entry for name, entry in entries.items() if isinstance(entry, dict)}


def _no_number(text: str) -> None:
    """Refuse NaN and infinity, which JSON does not have."""
    raise ValueError(text)


def _line(name: str, entry: dict[str, Any]) -> str:
    return f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(entry, ensure_ascii=False, allow_nan=False, sort_keys=True)}"
