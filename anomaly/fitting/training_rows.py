"""Which rows of a series a detector was trained on: what it says of these flatters it."""

from dataclasses import replace

import numpy as np

from anomaly.bundle.bundle import Bundle
from anomaly.fitting.cleaned import fingerprint_of
from anomaly.series import Bools, TimeSeries


def training_rows(bundle: Bundle, series: TimeSeries) -> Bools:
    """Tell for each row of a series whether the detector was trained on it, `(n_timesteps,)`, held-out rows among them.

    Rows with times are those from the first time of the training to its last one, whichever of them it left out. Rows that are
    counted have nothing but numbers: they are those with the numbers of the training if they hold its values, too, whether its
    labelled rows were left out or not; else none is.

    Args:
        bundle: the detector.
        series: with its columns, in its order.
    """
    first, last = (_position(bundle.training[name], bundle.time_column) for name in ("first_time", "last_time"))
    within: Bools = (series.times >= first) & (series.times <= last)
    if bundle.time_column is not None or not within.any():
        return within
    rows = np.flatnonzero(within)
    part = series[int(rows[0]) : int(rows[-1]) + 1]
    known = (
        [part] if part.labels is None else [part, replace(part, values=np.where(part.labels[:, None] == 1, np.nan, part.values))]
    )
    return within if any(fingerprint_of(one) == bundle.fingerprint for one in known) else np.zeros(len(series), np.bool_)


def _position(text: str, time_column: str | None) -> int:
    """Return a time as it stands in a bundle, in microseconds, or a row number."""
    return int(text) if time_column is None else int(np.datetime64(text.removesuffix("Z"), "us").astype(np.int64))
