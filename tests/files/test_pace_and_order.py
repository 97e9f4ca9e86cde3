"""A file that is scored and is not one series at one pace: another series below it, a stretch at another pace."""

import numpy as np
import pandas as pd
import pytest
from commands import here
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly import DataError
from anomaly.ingest.order import Stacked
from anomaly.series import other_pace

HOUR = 3_600 * 10**6
SHORT = ["--epochs", "1", "--steps-per-epoch", "2", "--window-size", "12", "--nearest-windows", "0", "--quiet"]


def write(path, times, level=0.0):
    """Write a wave at some times."""
    values = np.round(10 + level + np.sin(np.arange(len(times)) / 5), 3)
    pd.DataFrame({"time": times, "a": values}).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def hourly(tmp_path_factory):
    """A detector of an hourly series."""
    folder = tmp_path_factory.mktemp("hourly")
    data = write(folder / "history.csv", pd.date_range("2024-01-01", periods=600, freq="h"))
    here("train", data, "--model", folder / "m.anomaly", *SHORT)
    return folder / "m.anomaly"


TIMES, LONG = (pd.date_range("2024-03-01", periods=n, freq="h") for n in (600, 1_200))


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ([*TIMES, *TIMES], "row 600 and the next one with the times of the first two, 2024-03-01T00:00:00Z"),
        ([*TIMES, *pd.date_range(TIMES[-1], periods=500, freq="15min")[1:]], "every 900 s, for 500 rows"),
        ([*TIMES[:330], *pd.date_range(TIMES[330], periods=250, freq="min")], "every 60 s, for 250 rows"),
        ([*LONG, *pd.date_range(LONG[-1], periods=60, freq="min")[1:]], "every 60 s, for 60 rows"),
        ([*TIMES, *pd.date_range(TIMES[-1], periods=500, freq="30min")[1:]], "every 1800 s, for 500 rows"),
        ([*TIMES, *pd.date_range(TIMES[-1], periods=500, freq="75min")[1:]], "every 4500 s, for 500 rows"),
        (pd.date_range(TIMES[-1], periods=500, freq="80min"), "every 4800 s, for 500 rows"),
        (pd.date_range(TIMES[-1], periods=500, freq="45min"), "every 2700 s, for 500 rows"),
        (pd.date_range(TIMES[-1], periods=500, freq="90min"), "every 5400 s, for 500 rows"),
    ],
    ids=[
        *("stacked", "every quarter", "every minute", "an hour among weeks", "every half", "slower", "all slower", "all faster"),
        "all slower by half",
    ],
)
def test_what_is_not_one_series_at_one_pace_is_refused_by_scoring_and_by_a_check(hourly, tmp_path, times, said):
    data = write(tmp_path / "in.csv", times)
    for command in ("detect", "score"):
        assert said in here(command, data, "--model", hourly, code=3).stderr
    assert said in here("check", data, "--model", hourly, code=3).stdout


@pytest.mark.parametrize(
    ("times", "late"),
    [
        ([*TIMES[:300], TIMES[300] - pd.Timedelta("10min"), *TIMES[300:]], []),
        # The last of the three has the time of the row before them, and another value.
        ([*TIMES[:300], *TIMES[297:300], *TIMES[300:]], [300, 301]),
        ([*TIMES[:300], *TIMES[340:]], []),
        ([*TIMES[:550], *(TIMES[550:] - pd.Timedelta("200h"))], []),
        ([TIMES[0], *TIMES], []),
    ],
    ids=["an early row", "late rows", "a gap", "a clock that was set", "the first row twice"],
)
def test_what_happens_to_one_series_is_scored(hourly, tmp_path, times, late):
    data = write(tmp_path / "in.csv", times)
    here("detect", data, "--model", hourly)
    here("score", data, "--model", hourly, "--output", tmp_path / "out.csv")
    scored = pd.read_csv(tmp_path / "out.csv")
    is_late = np.isin(np.arange(len(times)), late)
    assert scored["status"].tolist() == np.where(is_late, "late", "ok").tolist()
    np.testing.assert_array_equal(np.isfinite(scored["score"]), ~is_late)


@settings(max_examples=100)
@given(
    st.lists(st.sampled_from([11, 11, 55, 60, 60, 65, 130]), min_size=30, max_size=120),
    st.sampled_from([11, 30, 54, 67, 90]),
    st.integers(1, 60),
    st.integers(0, 60),
    st.integers(8, 40),
)
def test_a_stretch_at_another_pace_is_that_of_a_plain_loop(steps, pace, run_of, at, window_size):
    steps = [*steps[:at], *[pace] * run_of, *steps[at:]]
    times, expected = np.cumsum([0, *steps]).astype(np.int64), None
    for is_other in (lambda step: step * 1.1 < 60, lambda step: 66 < step <= 90):
        best, length, begin = (0, 0), 0, 0
        for place, step in enumerate(steps):
            begin = place if not length else begin
            length = length + 1 if is_other(step) else 0
            best = max(best, (length, -begin)) if length > best[0] else best
        if expected is None and best[0] >= max(20, window_size):
            first = -best[1]
            expected = (first, best[0] + 1, int(np.median(steps[first : first + best[0]])))
    assert other_pace(times, 60, window_size) == expected


@given(st.integers(1, 30), st.integers(2, 30))
def test_a_series_below_another_is_refused_whatever_the_pieces(size, n):
    times = np.arange(n) * HOUR
    whole = np.concatenate([times, times])
    pieces = [whole[i : i + size] for i in range(0, len(whole), size)]
    stacked, refused = Stacked("in.csv", timed=True), False
    for piece in pieces:
        try:
            stacked.refuse(piece)
        except DataError:
            refused = True
            break
    assert refused
