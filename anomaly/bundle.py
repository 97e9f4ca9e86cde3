"""One trained detector <-> one file.

The file has the safetensors layout: a length, a JSON header, the arrays. The header holds one
metadata key, `anomaly`, with canonical JSON. It carries numbers and a closed vocabulary, never a
program: nothing in it names a class, a function or a path, and reading it runs no code.
"""

import hashlib
import json
import math
import os
import stat
import struct
from dataclasses import asdict, dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from anomaly.alarms import EventRules
from anomaly.config import AGGREGATIONS, THRESHOLD_METHODS, DetectorConfig
from anomaly.errors import BundleError, ConfigError
from anomaly.model import Weights, weight_shapes
from anomaly.scaling import Scaler
from anomaly.series import Floats, Ints
from anomaly.storage import atomic_write, storage_errors
from anomaly.threshold import Calibration, Threshold

FORMAT_VERSION = 2
LARGEST_FILE = 1 << 30
LARGEST_HEADER = 4 << 20
MICROSECONDS_A_DAY = 86_400_000_000
_LIBRARIES = ("anomaly", "tensorflow", "keras", "numpy", "pandas", "scikit-learn", "onnxruntime")
_FURTHER_METHODS = ("f_beta", "discoveries", "fixed")
_HISTORY = ("loss", "reconstruction_loss", "gradient_penalty", "validation_loss")


@dataclass(frozen=True, eq=False, kw_only=True)
class Bundle:
    """Everything a trained detector is.

    Attributes:
        config: the settings it was made with.
        columns: names of the features, in order.
        time_column: name of the time column; None if rows are counted.
        window_size: timesteps in a window, chosen or given.
        stride: timesteps between training windows, chosen or given.
        step: median time between rows in training, microseconds (1 if rows are counted).
        longest_step: a longer time between two rows is a gap.
        seed: the seed that was used, drawn or given.
        scaler: fitted on the training rows.
        weights: arrays under the names of `anomaly.model.weight_shapes`.
        calibration_times: times of the training rows whose scores are kept, and of the held-out rows after them, `(n,)`.
        calibration_scores: for each aggregation the scores of these rows, `(n,)`, NaN where a row has none.
        thresholds: for each aggregation the calibrated threshold.
        history: per-epoch means `(n_epochs,)` under the names of `anomaly.training.History`.
        training: counts and times that describe the training, for people.
        fingerprint: SHA-256 of the training values and times, in hexadecimal.
        versions: versions of the libraries that made it.
    """

    config: DetectorConfig
    columns: tuple[str, ...]
    time_column: str | None
    window_size: int
    stride: int
    step: int
    longest_step: int
    seed: int
    scaler: Scaler
    weights: Weights
    calibration_times: Ints
    calibration_scores: dict[str, Floats]
    thresholds: dict[str, Threshold]
    history: dict[str, Floats]
    training: dict[str, Any]
    fingerprint: str
    versions: dict[str, str] = field(default_factory=lambda: library_versions())

    @property
    def rules(self) -> EventRules:
        """What becomes of flagged rows; a merge gap of "auto" is half a window."""
        scoring = self.config.scoring
        direction = scoring.alarm_direction
        return EventRules(
            merge_gap=self.window_size // 2 if scoring.merge_gap == "auto" else int(scoring.merge_gap),
            min_length=scoring.min_length,
            min_severity=scoring.min_severity,
            direction=None if direction is None else tuple(float(x) for x in direction if not isinstance(x, tuple)),
            cool_down=scoring.cool_down,
            longest_step=self.longest_step,
        )

    @property
    def rows_per_day(self) -> float | None:
        """Rows in a day at the median step; None if rows are counted."""
        return None if self.time_column is None else MICROSECONDS_A_DAY / self.step

    def calibration(self, aggregation: str) -> Calibration:
        """Return what thresholds of one aggregation are made from."""
        return Calibration(
            scores=self.calibration_scores[aggregation],
            times=self.calibration_times,
            n_held_out=self.training["n_held_out_rows"],
            window_size=self.window_size,
            rows_per_day=self.rows_per_day,
            rules=self.rules,
        )

    def describe(self) -> dict[str, Any]:
        """Return what is in the bundle as plain values, without the arrays."""
        return {
            "format_version": FORMAT_VERSION,
            "columns": list(self.columns),
            "time_column": self.time_column,
            "window_size": self.window_size,
            "stride": self.stride,
            "step": self.step,
            "longest_step": self.longest_step,
            "seed": self.seed,
            "thresholds": {name: asdict(threshold) for name, threshold in self.thresholds.items()},
            "training": self.training,
            "fingerprint": self.fingerprint,
            "versions": self.versions,
            "settings": self.config.to_settings(),
        }


def write_bundle(path: str | Path, bundle: Bundle) -> None:
    """Write a bundle, all of it or nothing.

    Raises:
        StorageError: if the system refuses; an earlier file at `path` is then as it was.
        BundleError: if what would be written could not be read again, which is a bug; nothing is written.
    """
    content = to_bytes(bundle)
    try:
        from_bytes(content)
    except _RefusedError as error:
        raise BundleError(f"A detector must be readable once it is saved. Received: {error}. Please report this.") from error
    atomic_write(path, content)


def to_bytes(bundle: Bundle) -> bytes:
    """Return the content of a bundle file; the same bundle always gives the same bytes."""
    tensors = _tensors(bundle)
    described = bundle.describe()
    content: bytes = safetensors.numpy.save(
        tensors, metadata={"anomaly": _canonical(described | {"sha256": _digest(described, tensors)})}
    )
    return content


def read_bundle(path: str | Path) -> Bundle:
    """Read a bundle; everything is checked before an array is made.

    Raises:
        BundleError: if the file is not a bundle of this format version, is damaged, or contradicts itself.
        StorageError: if it cannot be read.
    """
    name = Path(path).name
    with storage_errors(path), open(path, "rb") as handle:
        status = os.fstat(handle.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_FILE:
            raise BundleError(f"A bundle must be a regular file of at most 1 GiB. Received: {status.st_size} bytes ({name}).")
        content = handle.read()
    try:
        return from_bytes(content)
    except _RefusedError as error:
        raise BundleError(
            f"The file must be a detector saved by `anomaly train` in format {FORMAT_VERSION}. Received: {error} ({name})."
        ) from error


class _RefusedError(Exception):
    """What is wrong with a file, in a few words."""


def from_bytes(content: bytes) -> Bundle:
    """Parse the content of a bundle file; raises `_RefusedError` with the reason."""
    header = _header(content)
    meta = header.pop("__metadata__", None)
    if not isinstance(meta, dict) or set(meta) != {"anomaly"}:
        raise _RefusedError("a file without this program's metadata")
    described = _json(meta["anomaly"], "metadata")
    if described.get("format_version") != FORMAT_VERSION:
        raise _RefusedError(f"format version {described.get('format_version')!r}")
    try:
        config = DetectorConfig.from_settings(described["settings"])
        columns = _columns(described)
        expected = _expected_shapes(config, columns, described, header)
        found = {key: (entry["dtype"], tuple(entry["shape"])) for key, entry in header.items()}
        if found != expected:
            wrong = sorted(key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key))
            raise _RefusedError(f"arrays that do not fit its settings, such as {wrong[0]!r}")
        tensors = safetensors.numpy.load(content)
        if described.pop("sha256") != _digest(described, tensors):
            raise _RefusedError("a damaged file: the checksum differs")
        return _assemble(config, columns, described, tensors)
    except ConfigError as error:
        raise _RefusedError(str(error)) from error
    except safetensors.SafetensorError as error:
        raise _RefusedError(f"a damaged file: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise _RefusedError(f"an incomplete or contradictory description: {type(error).__name__} {error}") from error


def _header(content: bytes) -> dict[str, Any]:
    if len(content) < 8:
        raise _RefusedError(f"{len(content)} bytes")
    (length,) = struct.unpack("<Q", content[:8])
    if length > min(LARGEST_HEADER, len(content) - 8):
        raise _RefusedError("a file of another kind")
    return _json(content[8 : 8 + length], "header")


def _json(text: str | bytes, what: str) -> dict[str, Any]:
    """Parse a JSON object; refuse repeated keys, NaN and bottomless nesting."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("repeated keys")
        return dict(pairs)

    def no_constant(name: str) -> None:
        raise ValueError(f"the number {name}")

    try:
        value = json.loads(text, object_pairs_hook=unique, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise _RefusedError(f"a file whose {what} is not valid") from error
    if not isinstance(value, dict):
        raise _RefusedError(f"a file whose {what} is not valid")
    return value


def _tensors(bundle: Bundle) -> dict[str, Any]:
    tensors: dict[str, Any] = {f"weights/{name}": array for name, array in bundle.weights.items()}
    tensors |= {"scaler/center": bundle.scaler.center, "scaler/scale": bundle.scaler.scale}
    tensors |= {"calibration/times": bundle.calibration_times}
    tensors |= {f"calibration/{name}": array for name, array in bundle.calibration_scores.items()}
    tensors |= {f"history/{name}": array for name, array in bundle.history.items()}
    return {name: np.ascontiguousarray(array) for name, array in tensors.items()}


def _canonical(described: dict[str, Any]) -> str:
    return json.dumps(described, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(described: dict[str, Any], tensors: dict[str, Any]) -> str:
    digest = hashlib.sha256(_canonical(described).encode())
    for name in sorted(tensors):
        digest.update(name.encode() + b"\0" + tensors[name].tobytes())
    return digest.hexdigest()


def _expected_shapes(
    config: DetectorConfig, columns: tuple[str, ...], described: dict[str, Any], header: dict[str, Any]
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return name, type and shape of every array that these settings call for."""
    n, epochs = described["training"]["n_calibration_rows"], described["training"]["n_epochs"]
    if not all(isinstance(size, int) and 0 < size <= LARGEST_FILE for size in (n, epochs)):
        raise ValueError("counts")
    shapes = weight_shapes(config.network, len(columns))
    return (
        {f"weights/{name}": ("F32", shape) for name, shape in shapes.items()}
        | {f"scaler/{name}": ("F64", (len(columns),)) for name in ("center", "scale")}
        | {"calibration/times": ("I64", (n,))}
        | {f"calibration/{name}": ("F64", (n,)) for name in AGGREGATIONS}
        | {f"history/{name}": ("F64", (epochs,)) for name in _HISTORY}
    )


def _assemble(config: DetectorConfig, columns: tuple[str, ...], described: dict[str, Any], tensors: dict[str, Any]) -> Bundle:
    weights, scaler, calibration, history = (
        {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
        for prefix in ("weights/", "scaler/", "calibration/", "history/")
    )
    if not all(np.isfinite(array).all() for array in (*weights.values(), *scaler.values())) or not (scaler["scale"] > 0).all():
        raise ValueError("weights and scales must be finite")
    thresholds = {name: _threshold(values) for name, values in described["thresholds"].items()}
    if set(thresholds) != set(AGGREGATIONS):
        raise ValueError("thresholds")
    direction = config.scoring.alarm_direction
    if direction is not None and len(direction) != len(columns):
        raise ValueError(f"alarm_direction={direction!r} for {len(columns)} columns")
    for name in ("window_size", "stride", "seed"):
        chosen = described["settings"].get(name)
        if chosen not in ("auto", None, described[name]):
            raise ValueError(f"{name}={described[name]!r}, but {chosen!r} in the settings")
    return Bundle(
        config=config,
        columns=columns,
        time_column=_time_column(described["time_column"], columns),
        window_size=_count(described, "window_size", 2, 10_000),
        stride=_count(described, "stride", 1, 10_000),
        step=_count(described, "step", 1, 2**62),
        longest_step=_count(described, "longest_step", 1, 2**62),
        seed=_count(described, "seed", 0, 2**32 - 1),
        scaler=Scaler(**scaler),
        weights=weights,
        calibration_times=calibration.pop("times"),
        calibration_scores=calibration,
        thresholds=thresholds,
        history=history,
        training=_training(described["training"]),
        fingerprint=_text(described["fingerprint"]),
        versions={name: _text(version) for name, version in described["versions"].items()},
    )


def _columns(described: dict[str, Any]) -> tuple[str, ...]:
    if not isinstance(described["columns"], list):
        raise TypeError("columns")
    columns = tuple(_text(name) for name in described["columns"])
    if not columns or len(set(columns)) < len(columns):
        raise ValueError(f"columns={columns}")
    return columns


def _time_column(name: Any, columns: tuple[str, ...]) -> str | None:
    if name in columns:
        raise ValueError(f"{name!r} is the time and a feature")
    return None if name is None else _text(name)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} instead of a text")
    return value


def _training(training: dict[str, Any]) -> dict[str, Any]:
    for name in ("first_time", "last_time"):
        _text(training[name])
    for name in ("n_rows", "n_incomplete_rows", "n_train_windows", "n_validation_windows"):
        _count(training, name, 0, 2**62)
    _count(training, "best_epoch", 1, training["n_epochs"])
    _count(training, "n_held_out_rows", 1, training["n_calibration_rows"])
    return training


def _threshold(values: dict[str, Any]) -> Threshold:
    names = {item.name for item in fields(Threshold)}
    if (
        set(values) != names
        or values["method"] not in (*THRESHOLD_METHODS, *_FURTHER_METHODS)
        or not isinstance(values["reached"], bool)
    ):
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


def library_versions() -> dict[str, str]:
    """Return the versions of the installed libraries that shape a detector; a missing one is left out."""
    versions = {}
    for name in _LIBRARIES:
        for distribution in (name, f"{name}-cpu"):
            try:
                versions[name] = metadata.version(distribution)
            except metadata.PackageNotFoundError:
                continue
    return versions
