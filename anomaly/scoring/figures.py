"""What scoring can say of each feature beside the score, in the unit of its column.

    expected     NAME_expected: what the row's value was expected to be, the mean over the windows that speak about it
    band         NAME_lower, NAME_upper: between these the row is not flagged, all else being as it is (`anomaly.scoring.bands`)
    by-feature   NAME_share: the part of the feature in the row's score; the shares of a row sum to 1

NaN where nothing can be said: of a value that is missing nothing is expected, a row without a score has no shares, and there is no
band where the row is flagged whatever the value is.
"""

import numpy as np

from anomaly.config import FIGURES
from anomaly.scoring.bands import Bands
from anomaly.series import Floats
from anomaly.windowing.scaling import Scaler

_ENDINGS = {"expected": ("expected",), "band": ("lower", "upper"), "by-feature": ("share",)}


def figure_names(columns: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the columns of `figures_of`, those of a feature side by side.

    Args:
        columns: names of the features.
        wanted: of `FIGURES`.
    """
    endings = [ending for figure in FIGURES if figure in wanted for ending in _ENDINGS[figure]]
    return tuple(f"{name}_{ending}" for name in columns for ending in endings)


def figures_of(
    wanted: tuple[str, ...],
    measured: Floats,
    by_feature: Floats,
    deviation: Floats,
    bands: Bands | None,
    scaler: Scaler,
    threshold: float,
) -> Floats:
    """Return the figures of some rows, `(n, len(figure_names))`; NaN where there is none.

    Args:
        wanted: of `FIGURES`.
        measured: `(n, n_features)`, unscaled; NaN = missing.
        by_feature: of the same shape, as in `Scores`.
        deviation: of the same shape, as in `Scores`.
        bands: of the rows; None if no band is wanted, or there is no row.
        scaler: of the detector.
        threshold: a row is flagged if its score is greater.
    """
    found: list[Floats] = []
    if "expected" in wanted:
        found.append(expected_of(measured, deviation, scaler))
    if "band" in wanted:
        nothing = np.full(measured.shape, np.nan)
        found += (nothing, nothing) if bands is None else bands.in_units(threshold, measured, scaler)
    if "by-feature" in wanted:
        total = np.nansum(by_feature, axis=1, keepdims=True)
        found.append(np.divide(by_feature, total, out=np.full(by_feature.shape, np.nan), where=total > 0))
    n, n_features = measured.shape
    return np.stack(found, axis=2).reshape(n, n_features * len(found)) if found else np.empty((n, 0))


def expected_of(measured: Floats, deviation: Floats, scaler: Scaler) -> Floats:
    """Return what was expected, `(n, n_features)`, in the units of the columns.

    Args:
        measured: `(n, n_features)`, unscaled; one that is out of range counts as if it lay where the range ends.
        deviation: measured less expected, in training sigmas.
        scaler: of the detector.
    """
    expected: Floats = scaler.within(measured) - deviation * scaler.scale
    return expected
