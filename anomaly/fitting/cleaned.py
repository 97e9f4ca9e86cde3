"""The rows of a series as all of a training reads them: wild cells are missing, and a row stands wherever one is missing."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from anomaly.config import WindowConfig
from anomaly.series import Bools, TimeSeries, longest_step, row_step
from anomaly.windowing.missing_rows import fill_series
from anomaly.windowing.wild_cells import wild_cells


@dataclass(frozen=True, eq=False)
class Cleaned:
    """A series without wild cells, as it came and with its missing rows.

    Attributes:
        series: its rows in order.
        filled: the same with a row of missing values wherever a row is missing.
        given: `(n_timesteps,)`, which rows of `filled` are rows of `series`.
        wild: column, row and value of the cells that count as missing, see `wild_cells`.
        longest_step: a longer time between two rows is a gap.
        row_step: time between the rows of a regular series; 0 for any other.
        fingerprint: SHA-256 of times and values as they came, in hexadecimal.
    """

    series: TimeSeries
    filled: TimeSeries
    given: Bools
    wild: tuple[tuple[str, int, float], ...]
    longest_step: int
    row_step: int
    fingerprint: str

    @classmethod
    def of(cls, series: TimeSeries, settings: WindowConfig) -> "Cleaned":
        """Clean a series.

        Args:
            series: rows in order.
            settings: say what a gap is.
        """
        fingerprint = fingerprint_of(series)
        step, longest = row_step(series.times, settings.max_gap), longest_step(series.times, settings.max_gap)
        cleaned, wild = _without_wild_cells(series)
        return cls(cleaned, *fill_series(cleaned, step, longest), wild, longest, step, fingerprint)


def _without_wild_cells(series: TimeSeries) -> tuple[TimeSeries, tuple[tuple[str, int, float], ...]]:
    """Return a series in which wild cells are missing, and which they were."""
    wild = wild_cells(series.values)
    if not wild.any():
        return series, ()
    found = tuple((series.columns[column], row, float(series.values[row, column])) for row, column in np.argwhere(wild).tolist())
    return replace(series, values=np.where(wild, np.nan, series.values)), found


def fingerprint_of(series: TimeSeries) -> str:
    """Return the SHA-256 of times and values, in hexadecimal."""
    digest = hashlib.sha256(np.ascontiguousarray(series.times).data)
    digest.update(np.ascontiguousarray(series.values).data)
    return digest.hexdigest()
