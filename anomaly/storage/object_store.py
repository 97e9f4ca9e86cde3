"""Objects in an object store: which of them an address stands for, their bytes, and new ones that are whole or not there.

Only here is pyarrow's network used, and only for an `ObjectUri`: no other path is ever taken for an address. Credentials and
endpoints come from where the provider's own tools have them.
"""

import contextlib
import io
import os
import re
import signal
import tempfile
import threading
from collections.abc import Iterator
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import IO, Any, NamedTuple

from anomaly.errors import AnomalyError, StorageError
from anomaly.extras import lacking
from anomaly.storage.addresses import ObjectUri, has_magic
from anomaly.storage.writing import storage_errors

# With the pauses between the tries a store that says nothing is given up after some 14 seconds.
_SECONDS_TO_CONNECT, _SECONDS_TO_ANSWER, _TRIES = 3, 4, 3
# What is read on is asked for in growing blocks, because every request takes its time.
_LEAST_AHEAD, _MOST_AHEAD = 1 << 18, 4 << 20
# An ETag that is an MD5, and that of no bytes.
_MD5 = re.compile(r"[0-9a-f]{32}")
_TAG_OF_NOTHING = "d41d8cd98f00b204e9800998ecf8427e"
# Sent, and waited for, at a time; bounds the memory.
_BLOCK = 16 << 20
_LONGEST_REASON = 200
# What pyarrow says, and the rule that was broken then.
_REFUSED = re.compile(
    "ACCESS_DENIED|INVALID_ACCESS|SIGNATURE|credential|expired|forbidden|authori|authenti|permission|status 40[13]", re.I
)
_SILENT = re.compile("NETWORK_CONNECTION|curl|resolve host|timed? ?out|connection|unreachable", re.I)


class Version(NamedTuple):
    """What tells a version of an object from others without reading it."""

    size: int
    tag: str  # ETag, or the time of change where a store has none

    def described(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"bytes": self.size, "etag": self.tag}


def is_object(uri: ObjectUri) -> bool:
    """Tell whether there is an object at an address; errors as `version`."""
    return _kind(uri) == "File"


def is_prefix(uri: ObjectUri) -> bool:
    """Tell whether an address is that of a bucket, or there are objects below it and none at it; errors as `version`."""
    return _kind(uri) == "Directory"


def require_bucket(uri: ObjectUri) -> None:
    """Refuse an address whose bucket is not there.

    Raises:
        StorageError: if it is not; else as `version`.
    """
    if _kind(ObjectUri(uri.root)) != "Directory":
        raise _no_bucket(uri)


def version(uri: ObjectUri) -> Version:
    """Return the version of an object at this time.

    Raises:
        StorageError: if there is none, the store does not answer or refuses.
        ConfigError: if pyarrow is not installed.
    """
    with _errors(uri), _opened(uri) as handle:
        return _version(handle, uri)


def names_below(uri: ObjectUri, *, deep: bool = False) -> list[str]:
    """Return the names of the objects in a prefix, sorted; with `deep` also of those in the prefixes below. Errors as `version`."""
    with _errors(uri):
        filesystem, path = _located(uri)
        from pyarrow.fs import FileSelector

        found = filesystem.get_file_info(FileSelector(path, recursive=deep, allow_not_found=True))
        # An object whose name ends in a slash only says that there is a prefix.
        files = [info.path for info in found if info.type.name == "File" and not info.path.endswith("/")]
    return sorted(file.removeprefix(path).removeprefix("/") for file in files)


def matching(pattern: ObjectUri) -> list[ObjectUri]:
    """Return the objects that a pattern with `*`, `?`, `[...]` or `**` stands for, sorted. Errors as `version`."""
    parts = pattern.key.split("/")
    n_plain = next(i for i, part in enumerate(parts) if has_magic(part))
    start, wanted = ObjectUri("/".join([pattern.root, *parts[:n_plain]])), parts[n_plain:]
    names = names_below(start, deep=len(wanted) > 1 or wanted == ["**"])
    return [start.below(name) for name in names if _matches(name.split("/"), wanted)]


def open_object(uri: ObjectUri) -> io.BufferedReader:
    """Open an object as the bytes that it has now; any place can be read, some megabytes are held.

    Args:
        uri: of an object.

    Raises:
        StorageError: as `version`; while it is read, if it is replaced or removed.
        ConfigError: if pyarrow is not installed.
    """
    return io.BufferedReader(_Object(uri), _LEAST_AHEAD)


@contextlib.contextmanager
def new_object(uri: ObjectUri) -> Iterator[IO[bytes]]:
    """Yield a binary handle whose content becomes an object when the block ends without an exception.

    The content goes to a temporary file on this machine and is sent at the end. A store shows an object once all of it has
    come, so there is the whole new one or what was there before.

    Raises:
        StorageError: if the store does not answer or refuses, or the temporary file cannot be written.
        ConfigError: if pyarrow is not installed.
    """
    with storage_errors(f"a temporary file for {uri}"), tempfile.TemporaryFile() as handle:
        yield handle
        handle.seek(0)
        with _later_signals(), _errors(uri):
            _send(handle, uri)


def delete(uri: ObjectUri) -> None:
    """Delete an object, if it is there. Errors as `version`."""
    with _errors(uri), contextlib.suppress(FileNotFoundError):
        filesystem, path = _located(uri)
        filesystem.delete_file(path)


class FixedLength(io.RawIOBase):
    """Bytes whose number is known when they are opened: where reading stands in them.

    A class that derives from it sets `_size` and `_place`, and reads.
    """

    _size: int
    _place: int

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def seekable(self) -> bool:
        """Return that it can be read from any place."""
        return True

    def tell(self) -> int:
        """Return how many bytes stand before the next one."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, and return it; one before the first byte is the first."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(base + offset, 0)
        return self._place


class _Object(FixedLength):
    """The bytes that an object had when it was opened."""

    def __init__(self, uri: ObjectUri) -> None:
        self._uri = uri
        self._handle: Any = None
        with _errors(uri):
            self._handle = _opened(uri)
            self._version = _version(self._handle, uri)
            _refuse_hollow(self._version, uri)
        self._size = self._version.size
        self._place = self._first = 0
        self._block = memoryview(b"")  # what was read last, from `_first` on

    def readinto(self, buffer: Any) -> int:
        if not self._first <= self._place < self._first + len(self._block) and self._place < self._size:
            self._fetch(len(buffer))
        found = self._block[max(self._place - self._first, 0) :][: len(buffer)] if self._place < self._size else b""
        buffer[: len(found)] = found
        self._place += len(found)
        return len(found)

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self.read(_MOST_AHEAD) or b"", b""))

    def close(self) -> None:
        if self._handle is not None:
            self._handle.close()
        super().close()

    def _fetch(self, wanted: int) -> None:
        goes_on = len(self._block) > 0 and self._place == self._first + len(self._block)
        ahead = min(2 * len(self._block), _MOST_AHEAD) if goes_on else 0
        count = min(max(wanted, ahead), self._size - self._place)
        try:
            with _errors(self._uri):
                content, n_read = _block_at(self._handle, self._place, count)
        except StorageError:
            self._check()  # which can say more
            raise
        self._check()
        if n_read < count:
            raise _cut(self._uri, f"{n_read:,}" if n_read >= 0 else "fewer", count)
        self._first, self._block = self._place, memoryview(content)

    def _check(self) -> None:
        """Refuse what was read if another version is there by now; the store would not say so by itself."""
        now = version(self._uri)
        if now != self._version:
            raise StorageError(
                f"The input must not change while it is read. Received: a replaced object ({self._uri.name}). Read a copy."
            )


def _block_at(handle: Any, place: int, count: int) -> tuple[bytearray, int]:
    """Return bytes of a handle, and how many came; -1 if they were fewer than was asked for.

    Where a store sends fewer, pyarrow says that all have come, and the others are what the memory held before: so the last one must
    have changed. If it may have been sent just so, which is never in text, it is asked for once more, over another.
    """
    block = bytearray(count)
    for before in (0xFF, 0):
        block[-1] = before
        handle.seek(place)
        n_read = handle.readinto(block)
        if n_read < count or block[-1] != before:
            return block, n_read
    return block, -1


def _refuse_hollow(found: Version, uri: ObjectUri) -> None:
    """Refuse an object without bytes that has the tag of some: the size is that of an answer which only led elsewhere."""
    if not found.size and found.tag != _TAG_OF_NOTHING and _MD5.fullmatch(found.tag):
        raise StorageError(
            f"An object must have the bytes that its ETag is of. Received: none ({uri}). Check its region, and {uri.endpoint}."
        )


def _cut(uri: ObjectUri, received: str, count: int) -> StorageError:
    return StorageError(
        f"An object must have all of its bytes. Received: {received} of {count:,} ({uri}). Try again, or check the store."
    )


def _kind(uri: ObjectUri) -> str:
    with _errors(uri):
        filesystem, path = _located(uri)
        return str(filesystem.get_file_info(path).type.name)


def _version(handle: Any, uri: ObjectUri) -> Version:
    told = {name.lower(): value for name, value in (handle.metadata() or {}).items()}
    tag = told.get("etag")
    if tag is None:
        filesystem, path = _located(uri)
        return Version(handle.size(), str(filesystem.get_file_info(path).mtime_ns))
    return Version(handle.size(), (tag.decode() if isinstance(tag, bytes) else str(tag)).strip('"'))


def _matches(name: list[str], pattern: list[str]) -> bool:
    """Tell whether the parts of a name are those that a pattern means, as `glob` does."""
    if not pattern or not name:
        return not name and all(part == "**" for part in pattern)
    first, *rest = pattern
    if name[0].startswith(".") and not first.startswith("."):
        return first == "**" and _matches(name, rest)
    if first == "**":  # any number of parts; as the last one it stands for every name
        return _matches(name, rest) or _matches(name[1:], pattern)
    return fnmatchcase(name[0], first) and _matches(name[1:], rest)


def _send(handle: IO[bytes], uri: ObjectUri) -> None:
    filesystem, path = _located(uri)
    # pyarrow makes an object of what it has when a stream is closed or forgotten, but not once a part has failed. So no
    # signal may cut this, every part is waited for, and what lacks its end is deleted. Elsewhere than in S3 a flush waits for
    # nothing, or shows what there is.
    stream = filesystem.open_output_stream(path, compression=None)  # else a name that ends in .gz would have it compressed
    try:
        while block := handle.read(_BLOCK):
            stream.write(block)
            if uri.startswith("s3:"):
                stream.flush()
    except BaseException:
        with contextlib.suppress(OSError):
            stream.close()
            filesystem.delete_file(path)
        raise
    stream.close()


@contextlib.contextmanager
def _later_signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait for the end of the block: a stream that they cut would be closed, and half an object be there."""
    if threading.current_thread() is not threading.main_thread():  # where signals end nothing
        yield
        return
    caught: list[int] = []
    before = {number: signal.signal(number, lambda n, frame: caught.append(n)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for caught_one in caught:
            signal.raise_signal(caught_one)


def _opened(uri: ObjectUri) -> Any:
    filesystem, path = _located(uri)
    return filesystem.open_input_file(path)


def _located(uri: ObjectUri) -> tuple[Any, str]:
    """Return the file system of pyarrow that an address is in, and its path there."""
    filesystem, base = _connected(uri.root)
    return filesystem, f"{base}/{uri.key}".strip("/")


@lru_cache(maxsize=16)
def _connected(root: str) -> tuple[Any, str]:
    scheme, bucket = root.split("://")
    try:
        from pyarrow import fs

        if scheme == "s3":
            return _s3(fs, bucket), bucket
        if scheme == "gs":
            return fs.GcsFileSystem(retry_time_limit=timedelta(seconds=_SECONDS_TO_ANSWER)), bucket
        filesystem, base = fs.FileSystem.from_uri(f"{root}/")
        return filesystem, base.strip("/")
    except ImportError as error:
        raise lacking("An object store", "object-store", str(root)) from error


def _s3(fs: Any, bucket: str) -> Any:
    # pyarrow reads these variables only where it takes a whole URI, and then takes no limits of time.
    endpoint = (os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "").rstrip("/") or None
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return fs.S3FileSystem(
        region=region or ("us-east-1" if endpoint else fs.resolve_s3_region(bucket)),
        endpoint_override=endpoint,
        connect_timeout=_SECONDS_TO_CONNECT,
        request_timeout=_SECONDS_TO_ANSWER,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_TRIES),
        allow_delayed_open=True,  # a small object takes one request
    )


@contextlib.contextmanager
def _errors(uri: ObjectUri) -> Iterator[None]:
    """Turn what pyarrow and the system raise in the block into a `StorageError` that names an address."""
    try:
        yield
    except (AnomalyError, BrokenPipeError):
        raise
    except FileNotFoundError as error:
        raise StorageError(f"An object must be there. Received: {uri}, which is not. Check its address.") from error
    except Exception as error:  # of many kinds; a bug of ours keeps its own
        if not isinstance(error, OSError | ValueError) and type(error).__module__ != "pyarrow.lib":
            raise
        raise _told(error, uri) from error


def _told(error: Exception, uri: ObjectUri) -> StorageError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    reason = re.sub(r"^.*AWS Error |: No response body.*|curlCode: \d+, .*Details: |[^\s/]+:[^\s/]+@", "", reason)  # or a password
    reason = reason[:_LONGEST_REASON].rstrip(". ")
    received = f"Received: {uri} ({reason})."
    if _REFUSED.search(reason):
        return StorageError(f"An object store must allow what is done there. {received} Check {uri.credentials} and their rights.")
    if _SILENT.search(reason):
        return StorageError(
            f"An object store must answer within {_SECONDS_TO_ANSWER} seconds on one of {_TRIES} tries. {received} "
            f"Check the network, and {uri.endpoint}."
        )
    if "NO_SUCH_BUCKET" in reason:
        return _no_bucket(uri)
    return StorageError(f"Objects must be readable and writable. {received} Check the address and the store.")


def _no_bucket(uri: ObjectUri) -> StorageError:
    return StorageError(f"A bucket must exist. Received: {uri}, whose bucket does not. Check its name, and {uri.endpoint}.")
