"""Features that stand still in the training rows and move in those that were held out: which have begun, and their scale."""

import numpy as np
import pytest

from anomaly.windowing.begun import begun_features, scaled_by_all
from anomaly.windowing.scaling import Scaler

N, CUT, WINDOW = 400, 320, 16


def history(moving, n_features=3):
    """Return rows of which the second feature is 5 but for some held-out rows."""
    values = np.random.default_rng(0).normal(size=(N, n_features))
    values[:, 1] = 5.0
    values[moving, 1] = 7.0 + 0.1 * np.arange(len(values[moving]))
    return values


@pytest.mark.parametrize(
    ("moving", "begun"),
    [
        (slice(0, 0), ()),
        (slice(330, 331), ()),  # a moment
        (slice(330, 350), ()),  # a quarter
        (slice(330, 352), (1,)),  # more
        (slice(390, 400), (1,)),  # to the end
        (slice(394, 400), ()),  # of the last rows less than half
        (slice(320, 400), (1,)),
        (slice(320, 400, 2), (1,)),  # now and then
    ],
)
def test_what_moves_for_long_or_where_the_history_ends_has_begun(moving, begun):
    values = history(moving)
    assert begun_features(Scaler.fit(values[:CUT]), values[CUT:], WINDOW) == begun


def test_missing_values_are_no_movement_and_what_varied_has_not_begun():
    values = history(slice(0, 0))
    values[CUT:, 1] = np.nan
    values[CUT:, 0] += 50
    assert begun_features(Scaler.fit(values[:CUT]), values[CUT:], WINDOW) == ()


def test_the_scale_of_what_has_begun_is_that_of_all_rows_and_the_others_keep_theirs():
    values = history(slice(340, 400))
    scaler, whole = Scaler.fit(values[:CUT]), Scaler.fit(values)
    assert scaler.constant == (1,) and scaled_by_all(scaler, values, ()) is scaler
    found = scaled_by_all(scaler, values, (1,))
    assert found.constant == () and (found.scale[1], found.center[1]) == pytest.approx((whole.scale[1], whole.center[1]))
    assert found.scale[[0, 2]].tolist() == scaler.scale[[0, 2]].tolist()
