"""Features that stand still in all training rows and move in the rows that were held out.

One that moves for long, or still moves when the history ends, has begun: it will go on. Its scale comes from all rows, or each row
from now on would be one in which a constant has changed. One that moved for a moment stays a constant, and the rows in which it
was another are no example of what is normal.
"""

from dataclasses import replace

import numpy as np

from anomaly.series import Bools, Floats
from anomaly.windowing.scaling import Scaler

# It has begun if it is another in a larger share of the held-out rows, or in half of the last ones, so many.
_LONG, _LAST_SHARE = 0.25, 0.5


def begun_features(scaler: Scaler, held_out: Floats, window_size: int) -> tuple[int, ...]:
    """Return which features that were constant in the training rows have begun to move.

    Args:
        scaler: fitted on the training rows.
        held_out: `(n, n_features)`, unscaled; NaN = missing.
        window_size: so many are the last ones.
    """
    moved = {place: replace(scaler, constant=(place,)).changed(held_out) for place in scaler.constant}
    moved = {place: rows for place, rows in moved.items() if rows.any()}
    if not moved:
        return ()
    if np.any(list(moved.values()), axis=0).mean() > _LONG:  # too many rows to learn nothing from
        return tuple(moved)
    return tuple(place for place, rows in moved.items() if _is_moving(rows, held_out[:, place], window_size))


def _is_moving(rows: Bools, cells: Floats, window_size: int) -> bool:
    """Tell whether a feature is another than in training where the history ends."""
    known = rows[np.isfinite(cells)][-window_size:]
    return bool(len(known) and known.mean() >= _LAST_SHARE)


def scaled_by_all(scaler: Scaler, values: Floats, places: tuple[int, ...]) -> Scaler:
    """Return a scaler in which some features have the centre and the scale of all rows.

    Args:
        scaler: fitted on the training rows.
        values: all rows `(n_timesteps, n_features)`; NaN = missing.
        places: of these features.
    """
    if not places:
        return scaler
    center, scale = scaler.center.copy(), scaler.scale.copy()
    of_all = Scaler.fit(values[:, list(places)])
    center[list(places)], scale[list(places)] = of_all.center, of_all.scale
    still = {places[i] for i in of_all.constant}
    return Scaler(center, scale, tuple(place for place in scaler.constant if place not in places or place in still))
