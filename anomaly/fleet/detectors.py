"""What `anomaly train` made, a detector or a fleet of them, as one thing that knows the detector of a series."""

from pathlib import Path

from anomaly.detector.detector import Detector
from anomaly.detector.lookup import Detectors, OneForAll
from anomaly.fleet.folder import Fleet, open_model


class EachItsOwn:
    """The detectors of a fleet as a `Detectors`; how times are read is what the first of them says.

    Args:
        fleet: a fleet of at least one series.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.columns, self.time_column = fleet.index.columns, fleet.index.time_column
        self.reading = fleet.detector(fleet.ids[0]).bundle_.reading
        self.detector = fleet.detector


def open_detectors(path: str | Path, *, expect_sha256: str | None = None) -> Detectors:
    """Load what `anomaly train` made as a `Detectors`; see `open_model` for arguments and errors."""
    return model_of(open_model(path, expect_sha256=expect_sha256))


def model_of(found: Detector | Fleet) -> Detectors:
    """Return a detector or a fleet as a `Detectors`."""
    return EachItsOwn(found) if isinstance(found, Fleet) else OneForAll(found)
