"""A folder of files, on disk or in an object store: what both can do under one name, so that nothing else asks which it is."""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from anomaly.errors import ConfigError
from anomaly.storage.addresses import ObjectUri
from anomaly.storage.object_store import delete, is_object, is_prefix, names_below, new_object, open_object, require_bucket, version
from anomaly.storage.writing import atomic_output, exclusive, remove, require_writable, storage_errors

_BLOCK = 1 << 20


class LocalFolder:
    """A folder on disk.

    Args:
        path: of the folder, which need not be there.
    """

    is_local = True

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __str__(self) -> str:
        """Return the path."""
        return str(self.path)

    @property
    def name(self) -> str:
        """The last part of the path, for messages."""
        return self.path.name or str(self.path)

    def file(self, name: str) -> Path:
        """Return the path of a file in the folder; the name has "/" between folders."""
        return self.path / name

    def is_there(self) -> bool:
        """Tell whether something is there, whatever it is."""
        return self.path.exists()

    def require_folder(self, refused: ConfigError) -> None:
        """Raise what is given if a file is there; and a `StorageError` if nothing is, nor can be made."""
        with storage_errors(self.path):
            if self.path.exists() and not self.path.is_dir():
                raise refused
            if not self.path.is_dir():
                require_writable(self.path)

    def make(self) -> None:
        """Make the folder, if it is not there."""
        with storage_errors(self.path):
            self.path.mkdir(exist_ok=True)

    def unmake(self) -> None:
        """Remove the folder if nothing is in it."""
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def names(self) -> list[str]:
        """Return the names of what is in the folder, sorted; nothing if it is not there."""
        with storage_errors(self.path):
            return sorted(path.name for path in self.path.iterdir()) if self.path.is_dir() else []

    def has(self, name: str) -> bool:
        """Tell whether there is a file of a name."""
        with storage_errors(self.file(name)):
            return self.file(name).exists()

    def read(self, name: str) -> bytes:
        """Return all of a file."""
        with storage_errors(self.file(name)):
            return self.file(name).read_bytes()

    def seal(self, name: str) -> dict[str, Any]:
        """Return plain values that tell the content of a file from any other.

        Raises:
            OSError: if it cannot be read.
        """
        return {"output_sha256": sha256(self.file(name))}

    @contextlib.contextmanager
    def output(self, name: str, *, flush_name: bool = True) -> Iterator[IO[bytes]]:
        """Yield a handle on a new file, see `storage.atomic_output`; folders between are made, where names are always flushed."""
        path = self.file(name)
        if "/" in name:
            with storage_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_output(path, flush_name=flush_name or "/" in name) as handle:
            yield handle

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""
        remove(self.file(name))

    @contextlib.contextmanager
    def only_run(self, name: str) -> Iterator[None]:
        """Keep other runs away that ask for the same name, see `storage.exclusive`."""
        with exclusive(self.file(name)):
            yield


class StoreFolder:
    """A prefix of an object store, which is there as soon as an object is. There are no locks.

    Args:
        uri: of the prefix.
    """

    is_local = False

    def __init__(self, uri: ObjectUri) -> None:
        self.uri = uri

    def __str__(self) -> str:
        """Return the address."""
        return self.uri

    @property
    def name(self) -> str:
        """The last part of the address, for messages."""
        return self.uri.name

    def file(self, name: str) -> ObjectUri:
        """Return the address of an object in the prefix."""
        return self.uri.below(name)

    def is_there(self) -> bool:
        """Tell whether there is an object, or some are below it."""
        return is_object(self.uri) or is_prefix(self.uri)

    def require_folder(self, refused: ConfigError) -> None:
        """Raise what is given if an object is there; and a `StorageError` if the bucket is not, or may not be looked at."""
        if is_object(self.uri):
            raise refused
        if not is_prefix(self.uri):
            require_bucket(self.uri)

    def make(self) -> None:
        """Do nothing: a prefix is not made."""

    def unmake(self) -> None:
        """Do nothing."""

    def names(self) -> list[str]:
        """Return the names of the objects in the prefix, sorted."""
        return names_below(self.uri)

    def has(self, name: str) -> bool:
        """Tell whether there is an object of a name."""
        return is_object(self.file(name))

    def read(self, name: str) -> bytes:
        """Return all of an object."""
        with open_object(self.file(name)) as handle:
            return handle.read()

    def seal(self, name: str) -> dict[str, Any]:
        """Return plain values that tell the version of an object from any other.

        Raises:
            StorageError: if it is not there, or the store does not answer.
        """
        return {f"output_{key}": value for key, value in version(self.file(name)).described().items()}

    @contextlib.contextmanager
    def output(self, name: str, *, flush_name: bool = True) -> Iterator[IO[bytes]]:
        """Yield a handle on a new object, see `object_store.new_object`; it has its name at once."""
        with new_object(self.file(name)) as handle:
            yield handle

    def remove(self, name: str) -> None:
        """Delete an object, if it is there."""
        delete(self.file(name))

    @contextlib.contextmanager
    def only_run(self, name: str) -> Iterator[None]:
        """Do nothing: who comes last has written the object."""
        yield


Folder = LocalFolder | StoreFolder


def folder_at(path: str | Path | Folder) -> Folder:
    """Return the folder at a path or an address, or a folder as it is."""
    if isinstance(path, LocalFolder | StoreFolder):
        return path
    return StoreFolder(path) if isinstance(path, ObjectUri) else LocalFolder(path)


def is_folder(path: str | Path) -> bool:
    """Tell whether a path or an address is that of a folder that is there."""
    return is_prefix(path) if isinstance(path, ObjectUri) else Path(path).is_dir()


@contextlib.contextmanager
def new_file(path: str | Path) -> Iterator[IO[bytes]]:
    """Yield a handle on a new file or object, which is there once the block has ended without an exception."""
    with new_object(path) if isinstance(path, ObjectUri) else atomic_output(path) as handle:
        yield handle


def fingerprint(path: str | Path) -> dict[str, Any]:
    """Return plain values that tell what an input is: its path, and what tells its content from another.

    That is the SHA-256 of a file. Of an object, which would have to be fetched once more for it, it is the version: the size
    and the ETag, or the time of change.

    Raises:
        StorageError: if it cannot be read.
    """
    if isinstance(path, ObjectUri):
        return {"path": path, **version(path).described()}
    with storage_errors(path):
        return {"path": str(path), "bytes": Path(path).stat().st_size, "sha256": sha256(path)}


def is_same(old: Any, new: dict[str, Any]) -> bool:
    """Tell whether an input is what it was when it was known by another `fingerprint`.

    A file may have moved; a version says that only of an object at the same address.

    Args:
        old: of the input before, from a file that may hold anything.
        new: of the input now.
    """
    return bool(old == new) or (isinstance(old, dict) and "sha256" in new and old.get("sha256") == new["sha256"])


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file on disk, in hexadecimal; raises `OSError`."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while block := handle.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
