"""Which detector a series has: one for all of them, or one for each."""

from typing import TYPE_CHECKING, Any, Protocol

from anomaly.detector.detector import Detector
from anomaly.errors import ConfigError

if TYPE_CHECKING:
    from anomaly.detector.first_rows import Teacher


class Detectors(Protocol):
    """One detector for all series, or one for each.

    Attributes:
        columns: that are read.
        judged_columns: the first of them, which scores and events speak of.
        time_column: as in `Bundle`.
        reading: as in `Bundle`.
    """

    columns: tuple[str, ...]
    judged_columns: tuple[str, ...]
    time_column: str | None
    reading: dict[str, Any]

    def detector(self, series: str) -> Detector:
        """Return the detector of a series; DataError if there is none."""

    def teacher(self, series: str) -> "Teacher | None":
        """Return what a series without a detector is learnt with; None if it has one, or must have one."""


class OneForAll:
    """A single detector as a `Detectors`.

    Args:
        detector: a fitted detector.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.columns, self.time_column = detector.bundle_.columns, detector.bundle_.time_column
        self.reading, self.judged_columns = detector.bundle_.reading, detector.bundle_.judged_columns

    def detector(self, series: str) -> Detector:
        """Return it, whatever the series is called."""
        return self._detector

    def teacher(self, series: str) -> None:
        """Return None: every series has the detector."""


def only_detector(model: Detectors) -> Detector:
    """Return the one detector of a model.

    Raises:
        ConfigError: if it has one for each series.
    """
    if isinstance(model, OneForAll):
        return model.detector("")
    raise ConfigError("A file of one series needs one detector. Received: a folder of them. Name the series with --id-column.")
