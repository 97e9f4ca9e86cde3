"""One trained detector <-> one file.

`anomaly.bundle.header` has the layout. The header holds one metadata key, `anomaly`, with canonical JSON. It carries numbers and a
closed vocabulary, never a program: nothing in it names a class, a function or a path, and reading it runs no code.
"""

import hashlib
import io
from pathlib import Path
from typing import IO, Any

from anomaly.bundle.arrays import fields_of_tensors, recipe_of_tensors, tensors_of
from anomaly.bundle.bundle import FORMAT_VERSION, Bundle, require_built_in
from anomaly.bundle.container import (
    RefusedError,
    arrays_in,
    brief,
    canonical,
    check_pin,
    file_bytes,
    layout,
    opened,
    parse_json,
    read_header,
)
from anomaly.bundle.dismissals import Dismissals
from anomaly.bundle.header import check_header, described_fields, expected_shapes
from anomaly.errors import BundleError, ConfigError
from anomaly.network.program import checked_program
from anomaly.storage.writing import atomic_write, checked_path
from anomaly.windowing.context import Context


def write_bundle(path: str | Path, bundle: Bundle) -> None:
    """Write a bundle, all of it or nothing.

    Raises:
        StorageError: if the system refuses; an earlier file at `path` is then as it was.
        BundleError: as `checked_bytes`.
    """
    atomic_write(path, checked_bytes(bundle))


def checked_bytes(bundle: Bundle) -> bytes:
    """Return the content of a bundle file, after reading it once.

    Raises:
        BundleError: if what would be written could not be read again; `require_storable` says so before a training.
    """
    content = to_bytes(bundle)
    try:
        from_bytes(content)
    except RefusedError as error:
        raise BundleError(f"A detector must be readable once it is saved. Received: {brief(error)}. Please report this.") from error
    return content


def to_bytes(bundle: Bundle) -> bytes:
    """Return the content of a bundle file; the same bundle always gives the same bytes."""
    if bundle.program is None:
        require_built_in(bundle)
    tensors = tensors_of(bundle)
    described = bundle.describe()
    return file_bytes(canonical(described | {"sha256": _digest(described, tensors)}), tensors)


def read_bundle(path: str | Path, expect_sha256: str | None = None) -> Bundle:
    """Read a bundle; everything is checked before an array is made, and nothing in the file is run.

    Args:
        path: the file, and the only one that is opened.
        expect_sha256: SHA-256 of the file's bytes, in hexadecimal; nothing in a file with another one is looked at.

    Raises:
        BundleError: if the file is not a bundle of this format version, is damaged, contradicts itself, or is not the
            one that was expected.
        ConfigError: if `expect_sha256` is not 64 hexadecimal digits.
        StorageError: if it cannot be read.
    """
    name = checked_path(path).name
    with opened(path) as (file, size):
        handle = file
        if expect_sha256 is not None:
            content = file.read(size)
            check_pin(content, expect_sha256, name)
            handle = io.BytesIO(content)
        try:
            return _parse(handle, size)
        except RefusedError as error:
            raise BundleError(
                f"The file must be a detector saved by `anomaly train` in format {FORMAT_VERSION}. "
                f"Received: {brief(error)} ({name})."
            ) from error


def from_bytes(content: bytes) -> Bundle:
    """Parse the content of a bundle file; raises `RefusedError` with the reason."""
    return _parse(io.BytesIO(content), len(content))


def _parse(handle: IO[bytes], size: int) -> Bundle:
    header = read_header(handle, size)
    entries = parse_json(header, "header")
    meta = entries.pop("__metadata__", None)
    if not isinstance(meta, dict) or set(meta) != {"anomaly"} or not isinstance(meta["anomaly"], str):
        raise RefusedError("a file without this program's metadata")
    described = parse_json(meta["anomaly"], "metadata")
    version = described.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise RefusedError(f"format version {version!r}")
    try:
        known = described_fields(described)
        nearest, dismissed, size_of_program = known.pop("nearest"), known.pop("dismissed"), known.pop("program")
        shapes = expected_shapes(
            known["config"],
            known["columns"],
            known["training"],
            entries=entries,
            nearest=nearest,
            dismissed=dismissed,
            program=size_of_program,
        )
        check_header(header, entries, described, known["config"], shapes)
        body_size = max(stop for _, stop in layout(shapes).values())
        if 8 + len(header) + body_size != size:
            raise RefusedError(f"a damaged file: {size} bytes instead of {8 + len(header) + body_size}")
        tensors = arrays_in(handle.read(body_size), shapes)
        if described["sha256"] != _digest(described, tensors):
            raise RefusedError("a damaged file: the checksum differs")
        context = Context.of(known["config"], len(known["columns"]))
        counted = None if dismissed is None else Dismissals.of_tensors(dismissed, known["columns"], context.n_judged, tensors)
        program = tensors["program"].tobytes() if size_of_program else None
        if program is not None:
            checked_program(program, known["window_size"], context.n_inputs)
        return Bundle(
            **known, **fields_of_tensors(tensors), recipe=recipe_of_tensors(tensors, nearest), dismissed=counted, program=program
        )
    except ConfigError as error:
        raise RefusedError(str(error)) from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        kind = "" if type(error) is ValueError else f"{type(error).__name__} "
        raise RefusedError(f"an incomplete or contradictory description: {kind}{error}") from error


def _digest(described: dict[str, Any], tensors: dict[str, Any]) -> str:
    digest = hashlib.sha256(canonical({key: value for key, value in described.items() if key != "sha256"}).encode())
    for name in sorted(tensors):
        digest.update(name.encode() + b"\0")
        digest.update(tensors[name].data)
    return digest.hexdigest()
