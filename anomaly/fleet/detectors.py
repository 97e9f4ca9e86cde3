"""What `anomaly train` made, a detector or a fleet of them, as one thing that knows the detector of a series."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from anomaly.bundle.bundle import Bundle
from anomaly.detector.detector import Detector
from anomaly.detector.lookup import Detectors, OneForAll
from anomaly.errors import AnomalyError, BundleError, ConfigError, StorageError
from anomaly.fleet.folder import Fleet, open_model

if TYPE_CHECKING:
    from anomaly.detector.first_rows import Teacher

# What a series may do that the fleet was not trained on.
REFUSE, LEARN = "refuse", "learn"
# So many of the fleet, evenly spread over the names, say what a new series must be like.
MOST_TEACHERS = 64


class EachItsOwn:
    """The detectors of a fleet as a `Detectors`; how times are read, and what is judged, is what the first of them says.

    Args:
        fleet: a fleet of at least one series.
        new_series: "refuse" those that it was not trained on, or "learn" them from their own rows.

    Raises:
        ConfigError: if new series are to be learnt, and there is not one network that all share.
    """

    def __init__(self, fleet: Fleet, new_series: str = REFUSE) -> None:
        self.columns, self.time_column = fleet.index.columns, fleet.index.time_column
        first = _first_sound(fleet)
        self.reading, self.judged_columns = first.reading, first.judged_columns
        self.detector, self._fleet, self._learns = fleet.detector, fleet, new_series == LEARN
        if self._learns:
            self._common  # noqa: B018 - what is wrong is said before anything is scored

    def teacher(self, series: str) -> "Teacher | None":
        """Return what a series is learnt with that the fleet was not trained on; None for others, or if it is refused."""
        return self._common if self._learns and series not in self._fleet else None

    @cached_property
    def _common(self) -> "Teacher":
        from anomaly.detector.first_rows import Teacher

        ids = self._fleet.ids
        chosen = [ids[i * len(ids) // min(len(ids), MOST_TEACHERS)] for i in range(min(len(ids), MOST_TEACHERS))]
        return Teacher.of(self._fleet.detector(name).bundle_ for name in chosen)


def _first_sound(fleet: Fleet) -> Bundle:
    """Return the first detector that can be read: one that is damaged ends its own series alone."""
    failed: AnomalyError | None = None
    for name in fleet.ids:
        try:
            return fleet.detector(name).bundle_
        except (BundleError, StorageError) as error:
            failed = failed or error
    raise failed or ConfigError("A fleet must have a detector. Received: none.")


def open_detectors(path: str | Path, *, expect_sha256: str | None = None, new_series: str = REFUSE) -> Detectors:
    """Load what `anomaly train` made as a `Detectors`; see `open_model` and `model_of` for arguments and errors."""
    return model_of(open_model(path, expect_sha256=expect_sha256), new_series)


def model_of(found: Detector | Fleet, new_series: str = REFUSE) -> Detectors:
    """Return a detector or a fleet as a `Detectors`.

    Args:
        found: which one.
        new_series: as for `EachItsOwn`.

    Raises:
        ConfigError: as `EachItsOwn`, or if new series are to be learnt with a single detector.
    """
    if isinstance(found, Fleet):
        return EachItsOwn(found, new_series)
    if new_series == LEARN:
        raise ConfigError(
            "A new series is learnt with a folder of detectors, which says how others like it are. Received: --new-series learn "
            "with a single detector, which scores any series. Name a folder, or leave --new-series out."
        )
    return OneForAll(found)
