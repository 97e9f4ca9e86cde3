"""Sequence anomaly detection: a seq2seq LSTM autoencoder with an input-gradient smoothness penalty.

    from anomaly import Detector, read_csv

The names below are imported when they are first used, so that `anomaly --help` stays quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anomaly.detector.detector import Detector
    from anomaly.errors import (
        AnomalyError,
        BundleError,
        ConfigError,
        DataError,
        DivergedError,
        NotFittedError,
        StorageError,
    )
    from anomaly.events.event import Event
    from anomaly.frames.files import read_csv
    from anomaly.scoring.scores import Scores
    from anomaly.series import TimeSeries
    from anomaly.thresholds.calibration import Threshold

__version__ = "0.1.0"

_HOMES = {
    "Detector": "detector.detector",
    "Event": "events.event",
    "Scores": "scoring.scores",
    "Threshold": "thresholds.calibration",
    "TimeSeries": "series",
    "read_csv": "frames.files",
} | dict.fromkeys(
    ("AnomalyError", "BundleError", "ConfigError", "DataError", "DivergedError", "NotFittedError", "StorageError"), "errors"
)

__all__ = [
    "AnomalyError",
    "BundleError",
    "ConfigError",
    "DataError",
    "Detector",
    "DivergedError",
    "Event",
    "NotFittedError",
    "Scores",
    "StorageError",
    "Threshold",
    "TimeSeries",
    "read_csv",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'anomaly' has no attribute {name!r}")
    return getattr(import_module(f"anomaly.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
