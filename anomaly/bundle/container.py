"""The bytes of a bundle: one regular file in the safetensors layout, opened, checked, read and written.

Eight bytes with the length of the header, a JSON header, the arrays. It is written and read here, so that its bytes depend on
no other package.
"""

import contextlib
import hashlib
import io
import json
import math
import os
import re
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from anomaly.errors import BundleError, ConfigError
from anomaly.storage.addresses import ObjectUri
from anomaly.storage.object_store import open_object
from anomaly.storage.writing import storage_errors

LARGEST_FILE = 1 << 30
LARGEST_HEADER = 1 << 20
DEEPEST_NESTING = 16
LONGEST_NAME = 1_024
SHA256 = re.compile("[0-9a-f]{64}")
_LONGEST_REASON = 300
_DTYPES: dict[str, Any] = {"I64": np.dtype("<i8"), "F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "U8": np.dtype("u1")}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_BLOCK = 1 << 20

Shapes = dict[str, tuple[str, tuple[int, ...]]]


class RefusedError(Exception):
    """What is wrong with a file, in a few words."""


def _kind(status: os.stat_result) -> str:
    """Say what a path leads to that is no file, or too large a one."""
    if stat.S_ISREG(status.st_mode):
        return f"{status.st_size} bytes"
    return "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[tuple[IO[bytes], int]]:
    """Yield a handle of a regular file, or of an object, and its size in bytes; a pipe is refused without waiting for it.

    Raises:
        BundleError: if it is a folder, a pipe, a device, or larger than 1 GiB.
        StorageError: if it cannot be read.
    """

    def refused(found: str) -> BundleError:
        return BundleError(
            f"A bundle must be a regular file of at most 1 GiB. Received: {found} ({Path(path).name or path}). "
            "Name the file that `anomaly train` saved."
        )

    def regular(name: str, flags: int) -> int:
        descriptor = os.open(name, flags | getattr(os, "O_NONBLOCK", 0))
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_FILE:
            os.close(descriptor)
            raise refused(_kind(status))
        return descriptor

    if isinstance(path, ObjectUri):
        with open_object(path) as found:
            size = found.seek(0, io.SEEK_END)
            if size > LARGEST_FILE:
                raise refused(f"{size} bytes")
            found.seek(0)
            yield found, size
        return
    with storage_errors(path), open(path, "rb", opener=regular) as handle:
        yield handle, os.fstat(handle.fileno()).st_size


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a bundle file's bytes, in hexadecimal; the content is not looked at.

    Raises:
        BundleError: if it is no regular file, or larger than 1 GiB.
        StorageError: if it cannot be read.
    """
    digest = hashlib.sha256()
    with opened(path) as (handle, _):
        while block := handle.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def check_pin(content: bytes, expect_sha256: str, name: str) -> None:
    """Refuse the bytes of a file that is not the one that was pinned.

    Args:
        content: all bytes of the file.
        expect_sha256: 64 hexadecimal digits, in capitals or not.
        name: of the file, for the message.

    Raises:
        BundleError: if their SHA-256 is another one.
        ConfigError: if the pin itself is not a SHA-256.
    """
    expected = str(expect_sha256).strip().lower()
    if len(expected) != 64 or not set(expected) <= set("0123456789abcdef"):
        raise ConfigError(
            f"`expect_sha256` must be 64 hexadecimal digits. Received: {str(expect_sha256)[:80]!r}. `anomaly inspect` prints them."
        )
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise BundleError(
            f"The detector must be the one that was pinned. Received: sha256 {found} instead of {expected} ({name}). "
            "Load the file that was meant, or pin this one if you trust it."
        )


def read_header(handle: IO[bytes], size: int) -> bytes:
    """Return the JSON header at the begin of a file, `size` bytes long; raises `RefusedError` with the reason."""
    prefix = handle.read(8)
    if len(prefix) < 8:
        raise RefusedError(f"{len(prefix)} bytes")
    (length,) = struct.unpack("<Q", prefix)
    if length > min(LARGEST_HEADER, size - 8):
        cut_off = length <= LARGEST_HEADER and handle.read(1) == b"{"
        raise RefusedError("a file that was cut off" if cut_off else "a file of another kind")
    return handle.read(length)


def parse_json(text: str | bytes, what: str) -> dict[str, Any]:
    """Parse a JSON object in ASCII; refuse repeated or long keys, numbers that are not finite, and deep nesting.

    Args:
        text: the JSON.
        what: its name, for the reason that `RefusedError` gives.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("repeated keys")
        if any(len(key) > LONGEST_NAME for key, _ in pairs):
            raise ValueError("long keys")
        return dict(pairs)

    def finite(digits: str) -> float:
        if not math.isfinite(number := float(digits)):
            raise ValueError(f"the number {digits}")
        return number

    try:
        data = text.encode("ascii") if isinstance(text, str) else text
        if _nesting(data) > DEEPEST_NESTING:
            raise ValueError("nesting")
        value = json.loads(data.decode("ascii"), object_pairs_hook=unique, parse_float=finite, parse_constant=finite)
    except ValueError as error:
        raise RefusedError(f"a file whose {what} is not valid") from error
    if not isinstance(value, dict):
        raise RefusedError(f"a file whose {what} is not valid")
    return value


def _nesting(text: bytes) -> int:
    """Return how deep the brackets of a JSON text are nested, without parsing it."""
    # Pairs of backslashes go first, so that what is left of them escapes a quote; then every second part is a string.
    parts = text.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
    codes = np.frombuffer(b"".join(parts[::2]), np.uint8)
    opening, closing = ((codes == ord(a)) | (codes == ord(b)) for a, b in ("{[", "}]"))
    return int(np.cumsum(opening.astype(np.int32) - closing.astype(np.int32)).max(initial=0))


def canonical(described: Any) -> str:
    """Return the one JSON text in which something is written: ASCII, sorted keys, no spaces, finite numbers."""
    return json.dumps(described, sort_keys=True, separators=(",", ":"), allow_nan=False)


def shapes_of(tensors: dict[str, Any]) -> Shapes:
    """Return name, type and shape of some arrays."""
    return {name: (_NAMES[array.dtype], array.shape) for name, array in tensors.items()}


def layout(shapes: Shapes) -> dict[str, tuple[int, int]]:
    """Return first byte and end of every array behind the header, in the order of the file, without holes."""
    ranks = {name: rank for rank, name in enumerate(_DTYPES)}
    places, start = {}, 0
    for name in sorted(shapes, key=lambda name: (ranks[shapes[name][0]], name)):
        dtype, shape = shapes[name]
        stop = start + _DTYPES[dtype].itemsize * math.prod(shape)
        places[name] = (start, stop)
        start = stop
    return places


def header_bytes(text: str, shapes: Shapes) -> bytes:
    """Return the JSON header of a file with this metadata and these arrays, padded to a multiple of eight bytes."""
    entries = [f'"__metadata__":{{"anomaly":{json.dumps(text)}}}']
    for name, (start, stop) in layout(shapes).items():
        dtype, shape = shapes[name]
        sizes = ",".join(str(size) for size in shape)
        entries.append(f'"{name}":{{"dtype":"{dtype}","shape":[{sizes}],"data_offsets":[{start},{stop}]}}')
    header = ("{" + ",".join(entries) + "}").encode()
    return header + b" " * (-len(header) % 8)


def arrays_in(body: bytes, shapes: Shapes) -> dict[str, Any]:
    """Return the arrays, each a copy of its own, from the bytes behind the header."""
    view = memoryview(body)
    return {
        name: np.frombuffer(view[start:stop], dtype=_DTYPES[shapes[name][0]]).reshape(shapes[name][1]).copy()
        for name, (start, stop) in layout(shapes).items()
    }


def file_bytes(text: str, tensors: dict[str, Any]) -> bytes:
    """Return the whole content of a file with this metadata and these arrays."""
    shapes = shapes_of(tensors)
    header = header_bytes(text, shapes)
    return b"".join([struct.pack("<Q", len(header)), header, *(tensors[name].data for name in layout(shapes))])


def brief(error: Exception) -> str:
    """Return a reason as one short line without control characters, whatever a file brought into it."""
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(error)[:_LONGEST_REASON])
    return text if len(str(error)) <= _LONGEST_REASON else f"{text}..."
