"""What scoring says about rows: a score and its parts, or why there is none."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anomaly.errors import DataError, shorten
from anomaly.scoring.bands import Bands
from anomaly.series import Bools, Floats, Ints
from anomaly.windowing.missing import mean_of_known

STATUSES = (
    "ok", "warm_up", "no_window", "missing", "out_of_range", "duplicate", "late", "insufficient", "constant_changed", "no_detector",
    "learning", "not_learnt",
)  # fmt: skip
OK, WARM_UP, NO_WINDOW, MISSING, OUT_OF_RANGE, DUPLICATE, LATE, INSUFFICIENT, CONSTANT_CHANGED, NO_DETECTOR = range(10)
LEARNING, NOT_LEARNT = 10, 11  # of a series without a detector
# What is written with each record.
APPENDED = ("score", "threshold", "anomaly_score", "is_anomaly", "status")
# Rows with one of these have a score.
SCORED = (OK, OUT_OF_RANGE, CONSTANT_CHANGED, LEARNING)

Codes = npt.NDArray[np.uint8]


def refuse_appended(columns: Sequence[str], time_column: str | None, name: str) -> None:
    """Refuse columns of a file or a frame that are called as those that scoring appends: nothing could be written beside them.

    Args:
        columns: features and context.
        time_column: what the time is called; None if rows are counted.
        name: of the input, for messages.

    Raises:
        DataError: if there are any.
    """
    if clash := [column for column in (*columns, time_column) if column in APPENDED]:
        way = "Rename it in the header, or leave it out with --ignore-columns."
        if name == "frame":
            names = {column: f"{column}_value" for column in clash}
            way = f"Rename it with frame.rename(columns={names}), or with frame.rename_axis('time') if the index is called so."
        raise DataError(
            f"A column must not be called as those that scoring appends, {', '.join(APPENDED)}. Received: {shorten(clash)} "
            f"({name}). {way}"
        )


@dataclass(frozen=True)
class RowScores:
    """Scores of consecutive rows, for one or more aggregations."""

    by_feature: Floats  # (n_aggregations, n_rows, n_features), NaN where nothing is known
    deviation: Floats  # of the same shape
    status: Codes  # (n_aggregations, n_rows), positions in STATUSES
    times: Ints  # (n_rows,), those of late rows put forward to the row before
    measured: Floats  # (n_rows, n_features), unscaled; NaN = missing, or the row takes no part
    bands: Bands | None = None  # of a single aggregation, where they are asked for

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.status.shape[1])

    @property
    def score(self) -> Floats:
        """Scores `(n_aggregations, n_rows)`: the mean over the features of which something is known; NaN where there is none."""
        return mean_of_known(self.by_feature, axis=2)

    def at(self, rows: Bools) -> "RowScores":
        """Return some of the rows."""
        bands = None if self.bands is None else self.bands.changed(lambda array: array[rows])
        arrays = self.by_feature[:, rows], self.deviation[:, rows], self.status[:, rows], self.times[rows], self.measured[rows]
        return RowScores(*arrays, bands)

    def among(self, here: Bools, status: Codes, times: Ints) -> "RowScores":
        """Return these rows at the places `here` of more rows, whose others have no score.

        Args:
            here: `(n,)`, as often True as there are rows.
            status: `(n,)`, of the others.
            times: `(n,)`, of all.
        """

        def spread(array: Floats) -> Floats:
            filled = np.full((len(here), *array.shape[1:]), np.nan)
            filled[here] = array
            return filled

        by_feature, deviation = (spread(array.swapaxes(0, 1)).swapaxes(0, 1) for array in (self.by_feature, self.deviation))
        statuses = np.broadcast_to(status, (len(self.status), len(here))).copy()
        statuses[:, here] = self.status
        bands = None if self.bands is None else self.bands.changed(spread)
        return RowScores(by_feature, deviation, statuses, times, spread(self.measured), bands)

    @staticmethod
    def joined(parts: "list[RowScores]", n_aggregations: int, n_features: int) -> "RowScores":
        """Join consecutive parts; none gives zero rows."""
        nothing = np.empty((n_aggregations, 0, n_features))
        none = RowScores(nothing, nothing, np.empty((n_aggregations, 0), np.uint8), np.empty(0, np.int64), nothing[0])
        known = next((part.bands for part in parts if part.bands is not None), None)
        bands = [] if known is None else [part.bands or known.of_none(len(part), n_features) for part in parts]
        parts = [none, *parts]
        return RowScores(
            by_feature=np.concatenate([part.by_feature for part in parts], axis=1),
            deviation=np.concatenate([part.deviation for part in parts], axis=1),
            status=np.concatenate([part.status for part in parts], axis=1),
            times=np.concatenate([part.times for part in parts]),
            measured=np.concatenate([part.measured for part in parts]),
            bands=Bands.joined(bands) if bands else None,
        )
