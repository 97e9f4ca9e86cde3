"""Bundles made by hand, and forged ones."""

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from anomaly.bundle.bundle import Bundle
from anomaly.bundle.file import to_bytes
from anomaly.config import AGGREGATIONS, DetectorConfig
from anomaly.network.inference import Reconstructor
from anomaly.network.model import weight_shapes
from anomaly.thresholds.calibration import Threshold
from anomaly.windowing.scaling import ErrorUnits, Scaler

GOLDEN = Path(__file__).parent / "golden" / "bundle_v3.anomaly"
SETTINGS = {"window_size": 5, "units": 3, "epochs": 2, "seed": 11, "penalty": "directional", "direction": (1.0, -0.5)}


DELETE = object()


def made_threshold(value):
    return Threshold(
        value, "alarm_budget", 1.5, False, n_held_out=5, n_scores=7, n_above=1, n_alarms=1, expected=0.75, rows_per_day=24.0
    )


def made_bundle(**changes):
    """A bundle of made-up numbers; nothing is trained."""
    rng = np.random.default_rng(1)
    config = DetectorConfig.from_settings(SETTINGS)
    scores = rng.exponential(size=8)
    scores[0] = np.nan
    values = {
        "config": config,
        "columns": ("flow", "Drück"),
        "time_column": "when",
        "window_size": 5,
        "stride": 2,
        "step": 3_600_000_000,
        "longest_step": 5_400_000_000,
        "seed": 11,
        "scaler": Scaler(center=np.array([1.5, -2.0]), scale=np.array([0.1, 1 / 3]), constant=(1,)),
        "error_units": ErrorUnits(np.array([0.25, 1e-9]), np.array([0.5, 1e-8])),
        "row_step": 3_600_000_000,
        "weights": {name: rng.normal(size=shape).astype(np.float32) for name, shape in weight_shapes(config.network, 2).items()},
        "calibration_times": np.arange(8) * 3_600_000_000 - 1,
        "calibration_scores": {name: scores * (1 + i) for i, name in enumerate(AGGREGATIONS)},
        "thresholds": {name: made_threshold(0.1 + i) for i, name in enumerate(AGGREGATIONS)},
        "history": {name: rng.normal(size=2) for name in ("loss", "reconstruction_loss", "gradient_penalty", "validation_loss")},
        "training": {
            "n_rows": 40,
            "n_incomplete_rows": 1,
            "n_calibration_rows": 8,
            "n_held_out_rows": 6,
            "n_train_windows": 14,
            "n_validation_windows": 2,
            "first_time": "2022-04-15T05:20:00Z",
            "last_time": "2022-04-16T20:20:00Z",
            "n_epochs": 2,
            "best_epoch": 1,
        },
        "fingerprint": "ab" * 32,
    }
    return Bundle(**(values | changes))


CONTENT = to_bytes(made_bundle())


def network_of(one):
    return Reconstructor(one.config.network, one.weights, one.window_size, len(one.columns), threads=1)


def description_of(content):
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["anomaly"])


def forged(*, tensors=None, text=None, **description):
    """Return the made bundle with a changed description and changed arrays, and a checksum that fits.

    Keys of the description are joined by two underscores; `DELETE` takes a key or an array out.
    """
    arrays = safetensors.numpy.load(CONTENT) | (tensors or {})
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items() if array is not DELETE}
    described = description_of(CONTENT)
    del described["sha256"]
    for path, value in description.items():
        *parents, last = path.split("__")
        inner = described
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
        if value is DELETE:
            del inner[last]
    digest = hashlib.sha256(json.dumps(described, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(arrays):
        digest.update(name.encode() + b"\0" + arrays[name].tobytes())
    described.setdefault("sha256", digest.hexdigest())
    text = json.dumps(described, sort_keys=True, separators=(",", ":")) if text is None else text
    return safetensors.numpy.save(arrays, metadata={"anomaly": text})


def with_header(header):
    """Return a file with this header and the made bundle's arrays."""
    (length,) = struct.unpack("<Q", CONTENT[:8])
    return struct.pack("<Q", len(header)) + header + CONTENT[8 + length :]
