"""The detectors of several series: one for all of them, or one for each."""

from pathlib import Path
from typing import Protocol

from anomaly.config import ReadingConfig
from anomaly.detector import Detector
from anomaly.errors import ConfigError
from anomaly.fleet import Fleet, open_model


class Model(Protocol):
    """One detector for all series, or one for each."""

    columns: tuple[str, ...]
    time_column: str | None
    reading: ReadingConfig

    def detector(self, series: str) -> Detector:
        """Return the detector of a series; DataError if there is none."""


class OneForAll:
    """A single detector as a `Model`.

    Args:
        detector: a fitted detector.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.columns, self.time_column = detector.bundle_.columns, detector.bundle_.time_column
        self.reading = detector.bundle_.config.reading

    def detector(self, series: str) -> Detector:
        """Return it, whatever the series is called."""
        return self._detector


class EachItsOwn:
    """The detectors of a fleet as a `Model`; how times are read is what the first of them says.

    Args:
        fleet: a fleet of at least one series.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.columns, self.time_column = fleet.index.columns, fleet.index.time_column
        self.reading = fleet.detector(fleet.ids[0]).bundle_.config.reading
        self.detector = fleet.detector


def open_detectors(path: str | Path, *, expect_sha256: str | None = None) -> Model:
    """Load what `anomaly train` made as a `Model`; see `open_model` for arguments and errors."""
    return model_of(open_model(path, expect_sha256=expect_sha256))


def model_of(found: Detector | Fleet) -> Model:
    """Return a detector or a fleet as a `Model`."""
    return EachItsOwn(found) if isinstance(found, Fleet) else OneForAll(found)


def only_detector(model: Model) -> Detector:
    """Return the one detector of a model.

    Raises:
        ConfigError: if it has one for each series.
    """
    if isinstance(model, OneForAll):
        return model.detector("")
    raise ConfigError("A file of one series needs one detector. Received: a folder of them. Name the series with --id-column.")
