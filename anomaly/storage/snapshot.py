"""Where something stands, in one file: numbers and arrays with a checksum, replaced atomically.

The file has the safetensors layout, like a bundle, with one metadata key that holds JSON. So a crash at any moment leaves a
complete one, and damage to any byte is found. (The safetensors package writes and reads it; it has no checksum and no atomic
replacement, and those are what is here.) Unlike a bundle it is read by the machine that wrote it, and not by others.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.numpy

from anomaly.errors import BundleError
from anomaly.storage.writing import atomic_write, storage_errors


@dataclass(frozen=True)
class Snapshots:
    """One kind of such files.

    Attributes:
        kind: what they are called in messages, with its article.
        key: of the metadata.
        version: of what stands in them.
        remedy: what to do about one that cannot be read, a sentence.
    """

    kind: str
    key: str
    version: int
    remedy: str

    def write(self, path: Path, numbers: dict[str, Any], arrays: dict[str, Any]) -> None:
        """Replace a file.

        Args:
            path: where.
            numbers: plain values for JSON.
            arrays: by their names, of any shape, contiguous in C order.

        Raises:
            StorageError: if the system refuses; the file is then as it was.
        """
        numbers = numbers | {"format_version": self.version}
        numbers["checksum"] = _checksum(numbers, arrays)
        atomic_write(path, safetensors.numpy.save(arrays, {self.key: json.dumps(numbers)}))

    def read(self, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the numbers and the arrays of a file.

        Args:
            path: where.

        Raises:
            BundleError: if the file is damaged, of another kind or of another version.
            StorageError: if it cannot be read.
        """
        with storage_errors(path):
            content = path.read_bytes()
        try:
            arrays = safetensors.numpy.load(content)
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
            numbers: dict[str, Any] = json.loads(header["__metadata__"][self.key])
            version, checksum = numbers["format_version"], numbers.pop("checksum")
            if version != self.version or checksum != _checksum(numbers, arrays):
                raise ValueError(f"format version {version}" if version != self.version else "its checksum does not match")
        except (safetensors.SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BundleError(
                f"{self.kind} must be a whole file of format version {self.version}. Received: {path} ({error}). {self.remedy}"
            ) from error
        del numbers["format_version"]
        return numbers, arrays


def plain(identity: dict[str, Any]) -> dict[str, Any]:
    """Return what must be the same when a file is read as it comes back from JSON, to be compared with it."""
    found: dict[str, Any] = json.loads(json.dumps(identity))
    return found


def changed(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the names, sorted, under which two have different values."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def _checksum(numbers: dict[str, Any], arrays: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(numbers, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape} ".encode() + arrays[name].tobytes())
    return digest.hexdigest()
