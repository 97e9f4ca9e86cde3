"""Long runs: memory stands still, and a score does not depend on the pieces its rows come in."""

import os
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY, make_series

from anomaly.config import AGGREGATIONS
from anomaly.scoring.row_scores import MISSING, OK, RowScores

CALLS, WARM_UP = int(os.environ.get("ANOMALY_TEST_CALLS", "2000")), 200
STATUS = Path("/proc/self/status")
WINDOW = TINY["window_size"]


def resident_bytes():
    (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not STATUS.exists(), reason="no /proc")
def test_memory_does_not_grow_with_the_number_of_scoring_calls(detector, series):
    lengths = (60, 73, 96, 61)  # another shape in every call
    for call in range(CALLS):
        if call == WARM_UP:
            before = resident_bytes()
        start = call % 300
        detector.score(series[start : start + lengths[call % 4]])
    grown = resident_bytes() - before
    assert grown < 10 * 2**20, f"{grown / 2**20:.1f} MiB more after {CALLS} calls"


def gappy(n=1200):
    """A series with missing values, gaps, stretches of a window less one, exactly one and one more, and a step back."""
    series = make_series(n=n)
    values, steps = series.values.copy(), np.full(n, 3_600_000_000)
    values[[50, 51, 300], [0, 1, 1]] = np.nan
    values[[52, n - 1]] = np.nan
    values[700, 0] = 1e300
    for row in (100, 100 + WINDOW - 1, 100 + 2 * WINDOW - 1, 100 + 3 * WINDOW, 640, 1000):
        steps[row] *= 30
    steps[500] *= -1
    return series.times[0] + np.cumsum(steps), values


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("size", [1, 2, WINDOW - 1, WINDOW, WINDOW + 1, 64, 1000])
def test_scores_are_the_same_to_the_last_bit_whatever_is_pushed_at_a_time(detector, aggregation, size):
    times, values = gappy()
    whole = detector.row_scorer(aggregation)
    expected = RowScores.joined([whole.push(times, values), whole.finish()], 1, 2)
    rows = detector.row_scorer(aggregation)
    parts = [rows.push(times[a : a + size], values[a : a + size]) for a in range(0, len(times), size)]
    found = RowScores.joined([*parts, rows.finish()], 1, 2)
    assert found.by_feature.tobytes() == expected.by_feature.tobytes()
    assert found.deviation.tobytes() == expected.deviation.tobytes()
    assert found.status.tobytes() == expected.status.tobytes()
    assert {OK, MISSING} < set(found.status[0].tolist())  # the gaps were there
