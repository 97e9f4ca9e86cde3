"""What the terms beside the network's are fitted on."""

import numpy as np
import pytest

from anomaly.fitting.terms import since_break
from anomaly.watches.movement import MovementRange, steps_of


@pytest.mark.parametrize("seed", range(5))
def test_rows_since_the_last_break_are_those_of_a_loop(seed):
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.choice([1, 1, 1, 5], 60))
    gone = rng.random(60) < 0.2
    expected, since = [], 0
    for row in range(60):
        since = 0 if row == 0 or gone[row] or gone[row - 1] or times[row] - times[row - 1] > 2 else since + 1
        expected.append(since)
    np.testing.assert_array_equal(since_break(times, 2, gone), expected)


def test_what_stands_still_beside_rows_that_are_left_out_is_no_usual_movement():
    """Half of a stretch that is known stands for all of it: of a fault that is left out the edges would."""
    window_size = 32
    rows = np.random.default_rng(0).normal(size=(2_000, 1)).astype(np.float32)
    rows[800:900] = rows[800]
    gone = np.zeros(2_000, np.bool_)
    gone[812:888] = True
    rows[gone] = np.nan
    assert steps_of(window_size) // 2 < 12
    beside = since_break(np.arange(2_000), 10, np.zeros_like(gone))
    assert MovementRange.of(rows, window_size, beside).least == 0
    assert MovementRange.of(rows, window_size, since_break(np.arange(2_000), 10, gone)).least > 1
