"""The strict reading of a bundle: one regular file, its header, what the header says, and where each array lies.

All of it comes before an array is made. The file has the safetensors layout: eight bytes with the length of the
header, a JSON header, the arrays. It is written and read here, so that its bytes depend on no other package, and a
file is refused unless its header is, byte for byte, the one that would be written for what was read.
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
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

import numpy as np

from anomaly.bundle.dismissals import checked_counts
from anomaly.bundle.dismissals import shapes_of as shapes_of_dismissals
from anomaly.config import AGGREGATIONS, NEVER, SETTINGS, THRESHOLD_METHODS, DetectorConfig
from anomaly.errors import BundleError, ConfigError
from anomaly.network.model import weight_shapes
from anomaly.scoring.neighbours import FORMS, steps_of
from anomaly.scoring.overlaps import scoring_stride_of
from anomaly.scoring.recipe import MOST_ODD, TERMS
from anomaly.storage.addresses import ObjectUri
from anomaly.storage.object_store import open_object
from anomaly.storage.writing import storage_errors
from anomaly.thresholds.calibration import Threshold

LARGEST_FILE = 1 << 30
LARGEST_HEADER = 1 << 20
DEEPEST_NESTING = 16
# In the order in which safetensors lays arrays out.
_DTYPES: dict[str, Any] = {"I64": np.dtype("<i8"), "F64": np.dtype("<f8"), "F32": np.dtype("<f4")}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_BLOCK = 1 << 20
MOST_COLUMNS, LONGEST_NAME = 4_096, 1_024
MOST_PARAMETERS = 50_000_000
_FURTHER_METHODS = ("f_beta", "discoveries", "fixed")
HISTORY = ("loss", "reconstruction_loss", "gradient_penalty", "validation_loss")
_COUNTS = ("n_rows", "n_incomplete_rows", "n_train_windows", "n_validation_windows")
_SIZES = ("n_calibration_rows", "n_epochs")
_KEYS = (
    "format_version", "columns", "time_column", "window_size", "stride", "step", "longest_step", "row_step", "seed", "thresholds",
    "training", "fingerprint", "versions", "settings", "sha256",
)  # fmt: skip
# Settings that came after the first files of this format, and what a file that lacks one means; that may never change.
_LATER_SETTINGS: dict[str, Any] = {
    "nearest_windows": 0,
    "scoring_stride": 1,
    "silent_windows": 0.0,
    "short_severity": NEVER,
    "delimiter": None,
    "decimal": None,
    "thousands": None,
    "missing_values": None,
}
# What a detector remembers of how its training file was read.
_READING = ("delimiter", "decimal", "thousands", "time_format")
_SHA256 = re.compile("[0-9a-f]{64}")
_PACKAGE, _VERSION = re.compile("[a-z][a-z0-9-]{0,31}"), re.compile("[0-9A-Za-z.+!_-]{1,64}")
# RFC 3339, of any year that 64 bits of microseconds reach; or the number of a row.
_TIME = re.compile("-?[0-9]{1,19}(-[0-9]{2}-[0-9]{2}T[0-9:.]{5,15}Z)?")
# Unicode categories: control characters, halves of surrogate pairs, line and paragraph separators.
_UNSEEN = ("Cc", "Cs", "Zl", "Zp")
LARGEST_COUNT = 2**62
MOST_ANCESTORS = 64
MOST_NOTES, LONGEST_NOTE = 5, 1_024
_LONGEST_REASON = 300
PROBE_WINDOWS = 4

Shapes = dict[str, tuple[str, tuple[int, ...]]]


@dataclass(frozen=True)
class Ancestry:
    """What a detector went on from.

    Attributes:
        sha256: of the files of the detectors before it, in hexadecimal; the one it went on from first, at most 64.
        scaler_kept: whether its scaler is that one's.
        held_out_loss: what that one's weights came to on the new held-out rows.
    """

    sha256: tuple[str, ...]
    scaler_kept: bool
    held_out_loss: float


class RefusedError(Exception):
    """What is wrong with a file, in a few words."""


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[tuple[IO[bytes], int]]:
    """Yield a handle of a regular file, or of an object, and its size in bytes; a pipe is refused without waiting for it.

    Raises:
        BundleError: if it is a folder, a pipe, a device, or larger than 1 GiB.
        StorageError: if it cannot be read.
    """

    def refused(found: str) -> BundleError:
        return BundleError(
            f"A bundle must be a regular file of at most 1 GiB. Received: {found} ({Path(path).name}). "
            "Name the file that `anomaly train` saved."
        )

    def regular(name: str, flags: int) -> int:
        descriptor = os.open(name, flags | getattr(os, "O_NONBLOCK", 0))
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_FILE:
            os.close(descriptor)
            raise refused(f"{status.st_size} bytes" if stat.S_ISREG(status.st_mode) else "something else")
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
    expected = expect_sha256.strip().lower()
    if len(expected) != 64 or not set(expected) <= set("0123456789abcdef"):
        raise ConfigError(
            f"`expect_sha256` must be 64 hexadecimal digits. Received: {expect_sha256[:80]!r}. `anomaly inspect` prints them."
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
        raise RefusedError("a file of another kind")
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


def check_header(header: bytes, entries: dict[str, Any], described: dict[str, Any], config: DetectorConfig, shapes: Shapes) -> None:
    """Refuse a header that is not, byte for byte, the one that would be written for what it says."""
    found = {key: (entry["dtype"], tuple(entry["shape"])) for key, entry in entries.items()}
    if found != shapes:
        wrong = sorted(key for key in found.keys() | shapes.keys() if found.get(key) != shapes.get(key))
        raise RefusedError(f"arrays that do not fit its settings, such as {wrong[0]!r}")
    if header != header_bytes(canonical(described | {"settings": written_settings(config)}), shapes):
        raise RefusedError("a header that this program would not have written")


def written_settings(config: DetectorConfig) -> dict[str, Any]:
    """Return the settings that a file holds: a later one only where it is not what its absence means, as in old files."""
    return {name: x for name, x in config.to_settings().items() if name not in _LATER_SETTINGS or x != _LATER_SETTINGS[name]}


def n_parameters(config: DetectorConfig, n_features: int) -> int:
    """Return the number of weights of the network."""
    return sum(math.prod(shape) for shape in weight_shapes(config.network, n_features).values())


def expected_shapes(
    config: DetectorConfig,
    columns: tuple[str, ...],
    training: dict[str, Any],
    *,
    ranged: bool = False,
    nearest: dict[str, int] | None = None,
    dismissed: list[dict[str, int]] | None = None,
) -> Shapes:
    """Return name, type and shape of every array that these settings call for; `ranged` files have the range of the values."""
    count = n_parameters(config, len(columns))
    if count > MOST_PARAMETERS:
        raise ValueError(f"{count:,} parameters, more than {MOST_PARAMETERS:,}")
    n, epochs = training["n_calibration_rows"], training["n_epochs"]
    return (
        {f"weights/{name}": ("F32", shape) for name, shape in weight_shapes(config.network, len(columns)).items()}
        | {f"scaler/{name}": ("F64", (len(columns),)) for name in ("center", "scale", "constant", "error", "row_error")}
        | {f"range/{name}": ("F64", (len(columns),)) for name in ("minimum", "maximum") if ranged}
        | {"calibration/times": ("I64", (n,))}
        | {f"calibration/{name}": ("F64", (n,)) for name in AGGREGATIONS}
        | {f"history/{name}": ("F64", (epochs,)) for name in HISTORY}
        | _shapes_of_recipe(len(columns), nearest)
        | shapes_of_dismissals(dismissed, len(columns))
    )


def _shapes_of_recipe(n_features: int, nearest: dict[str, int] | None) -> Shapes:
    if nearest is None:
        return {}
    return {
        "nearest/windows": ("F32", (nearest["n_windows"], steps_of(nearest["window_size"]), n_features)),
        "nearest/unit": ("F64", (len(FORMS), n_features)),
        "nearest/odd": ("F64", (len(AGGREGATIONS), len(MOST_ODD), n_features)),
        "nearest/scale": ("F64", (len(AGGREGATIONS), len(TERMS))),
    }


def described_fields(described: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a bundle that are no arrays, checked; `TypeError`, `ValueError` or `ConfigError` say what is wrong."""
    _require_keys(described, _KEYS, "description", optional={"probe", "ancestry", "nearest", "dismissed"})
    config, columns = DetectorConfig.from_settings(_LATER_SETTINGS | described["settings"]), checked_columns(described["columns"])
    _require_keys(described["settings"], SETTINGS.keys() - _LATER_SETTINGS.keys(), "settings", optional=_LATER_SETTINGS)
    window_size = _count(described, "window_size", 2, 10_000)
    _check_directions(config, window_size, len(columns))
    scoring_stride_of(config, window_size)
    for name in ("window_size", "stride", "seed"):
        chosen = described["settings"].get(name)
        if chosen not in ("auto", None, described[name]):
            raise ValueError(f"{name}={described[name]!r}, but {chosen!r} in the settings")
    _require_keys(described["thresholds"], AGGREGATIONS, "thresholds")
    _require_keys(described["versions"], (), "versions", optional=described["versions"])
    return {
        "config": config,
        "columns": columns,
        "time_column": checked_time_column(described["time_column"], columns),
        "window_size": window_size,
        "stride": _count(described, "stride", 1, 10_000),
        "step": _count(described, "step", 1, LARGEST_COUNT),
        "longest_step": _count(described, "longest_step", 1, LARGEST_COUNT),
        "row_step": _count(described, "row_step", 0, LARGEST_COUNT),
        "seed": _count(described, "seed", 0, 2**32 - 1),
        "thresholds": {name: _threshold(values) for name, values in described["thresholds"].items()},
        "training": _training(described["training"], least_epoch=0 if "ancestry" in described else 1),
        "fingerprint": _text(described["fingerprint"], _SHA256),
        "versions": {_text(name, _PACKAGE): _text(version, _VERSION) for name, version in described["versions"].items()},
        "probe": _probe(described["probe"]) if "probe" in described else None,
        "ancestry": _ancestry(described["ancestry"]) if "ancestry" in described else None,
        "nearest": _nearest(described["nearest"], config, window_size) if "nearest" in described else None,
        "dismissed": checked_counts(described["dismissed"]) if "dismissed" in described else None,
    }


def _require_keys(values: Any, names: Collection[str], what: str, *, optional: Collection[str] = ()) -> None:
    if not isinstance(values, dict):
        raise TypeError(what)
    for name in sorted(names):
        if name not in values:
            raise ValueError(f"no {name!r} in the {what}")
    for name in values:
        if name not in names and name not in optional:
            raise ValueError(f"unknown {name!r} in the {what}")


def _check_directions(config: DetectorConfig, window_size: int, n_features: int) -> None:
    direction = config.scoring.alarm_direction
    if direction is not None and len(direction) != n_features:
        raise ValueError(f"alarm_direction={direction!r} for {n_features} columns")
    shape = np.asarray(config.penalty.direction).shape
    if config.penalty.penalty == "directional" and shape not in ((n_features,), (window_size, n_features)):
        raise ValueError(f"a direction of shape {shape} for {n_features} columns")


def checked_columns(names: Any) -> tuple[str, ...]:
    """Return a list of column names as a tuple; `TypeError` or `ValueError` say what is wrong with it."""
    if not isinstance(names, list):
        raise TypeError("columns")
    if not 1 <= len(names) <= MOST_COLUMNS:
        raise ValueError(f"{len(names)} columns")
    columns = tuple(_name(name) for name in names)
    if len(set(columns)) < len(columns):
        raise ValueError("columns of the same name")
    return columns


def checked_time_column(name: Any, columns: tuple[str, ...]) -> str | None:
    """Return the name of the time column, or None; `TypeError` or `ValueError` say what is wrong with it."""
    if name in columns:
        raise ValueError(f"{name!r} is the time and a feature")
    return None if name is None else _name(name)


def _name(value: Any) -> str:
    """Return the name of a column: people see it, so it may not steer their terminal."""
    text = _text(value)
    if not 1 <= len(text) <= LONGEST_NAME:
        raise ValueError(f"a column name of {len(text)} characters")
    if not text.isprintable() and any(unicodedata.category(c) in _UNSEEN for c in text):
        raise ValueError(f"a control character in the column name {text[:40]!r}")
    return text


def _text(value: Any, pattern: "re.Pattern[str] | None" = None) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} instead of a text")
    if pattern is not None and pattern.fullmatch(value) is None:
        raise ValueError(f"the text {value[:80]!r}")
    return value


def _probe(values: Any) -> tuple[float, ...]:
    if not isinstance(values, list) or len(values) != PROBE_WINDOWS:
        raise ValueError("probe")
    if not all(isinstance(x, float) and 0 <= x < math.inf for x in values):
        raise ValueError("probe")
    return tuple(values)


def _ancestry(values: Any) -> Ancestry:
    _require_keys(values, {item.name for item in fields(Ancestry)}, "ancestry")
    hashes, loss = values["sha256"], values["held_out_loss"]
    if not isinstance(hashes, list) or not 1 <= len(hashes) <= MOST_ANCESTORS or not isinstance(values["scaler_kept"], bool):
        raise ValueError("ancestry")
    if not isinstance(loss, float) or not 0 <= loss < math.inf:
        raise ValueError(f"held_out_loss={loss!r}")
    return Ancestry(tuple(_text(value, _SHA256) for value in hashes), values["scaler_kept"], loss)


def _check_notes(notes: Any) -> None:
    """Refuse what is no list of one to five sentences; people see them, so they may not steer their terminal."""
    if not isinstance(notes, list) or not 1 <= len(notes) <= MOST_NOTES:
        raise ValueError("notes")
    for note in notes:
        if len(_text(note)) > LONGEST_NOTE or any(unicodedata.category(c) in _UNSEEN for c in note):
            raise ValueError("a note that is too long, or has a control character")


def _check_reading(reading: Any) -> None:
    """Refuse what does not say how a file was read."""
    _require_keys(reading, (), "reading", optional=_READING)
    texts = [_text(text).replace("\t", " ") for text in reading.values()]
    if not texts or any(not 1 <= len(text) <= LONGEST_NOTE or not text.isprintable() for text in texts):
        raise ValueError("a reading that is empty, too long, or has a control character")


def _nearest(values: Any, config: DetectorConfig, window_size: int) -> dict[str, int]:
    _require_keys(values, ("window_size", "n_windows"), "nearest windows")
    _count(values, "window_size", 2, window_size)
    _count(values, "n_windows", 1, config.windows.nearest_windows)
    return dict(values)


def _training(training: Any, *, least_epoch: int) -> dict[str, Any]:
    required = (*_COUNTS, "first_time", "last_time", *_SIZES, "best_epoch", "n_held_out_rows")
    _require_keys(training, required, "training", optional={"notes", "reading"})
    _check_notes(training.get("notes", [""]))
    _check_reading(training.get("reading", {"decimal": "."}))
    for name in ("first_time", "last_time"):
        _text(training[name], _TIME)
    for name in _COUNTS:
        _count(training, name, 0, LARGEST_COUNT)
    for name in _SIZES:
        _count(training, name, 1, LARGEST_FILE)
    _count(training, "best_epoch", least_epoch, training["n_epochs"])
    _count(training, "n_held_out_rows", 1, training["n_calibration_rows"])
    return dict(training)


def _threshold(values: Any) -> Threshold:
    _require_keys(values, {item.name for item in fields(Threshold)}, "threshold")
    if values["method"] not in (*THRESHOLD_METHODS, *_FURTHER_METHODS) or not isinstance(values["reached"], bool):
        raise ValueError(f"threshold={values!r}")
    per_day = {} if values["rows_per_day"] is None else {"rows_per_day": values["rows_per_day"]}
    for name, number in {"threshold": values["value"], "asked": values["asked"], **per_day}.items():
        if not isinstance(number, float) or not 0 < number < math.inf:
            raise ValueError(f"{name}={number!r}")
    if not isinstance(values["expected"], float) or not 0 <= values["expected"] <= 1e6:
        raise ValueError(f"threshold={values!r}")
    n_held_out = _count(values, "n_held_out", 1, LARGEST_FILE)
    for name, low, high in (("n_scores", n_held_out, LARGEST_FILE), ("n_above", 0, n_held_out), ("n_alarms", 0, n_held_out)):
        _count(values, name, low, high)
    return Threshold(**values)


def _count(described: dict[str, Any], name: str, low: int, high: int) -> int:
    value = described[name]
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name}={value!r}")
    return value
