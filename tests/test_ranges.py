"""A part of a series by rows, times and spans before the end."""

from dataclasses import replace

import numpy as np
import pytest

from anomaly import ConfigError
from anomaly.ranges import rows_within
from anomaly.series import TimeSeries

HOUR = 3_600_000_000
FIRST = int(np.datetime64("2022-05-01T00:00", "us").astype(np.int64))
# Ten days of hours.
SERIES = TimeSeries(FIRST + np.arange(240) * HOUR, np.zeros((240, 1)), ("a",), time_column="when")
COUNTED = TimeSeries(np.arange(240), np.zeros((240, 1)), ("a",))


@pytest.mark.parametrize(
    ("since", "until", "rows"),
    [
        (None, None, (0, 240)),
        ("24", None, (24, 240)),
        (None, "24", (0, 25)),
        ("24", "24", (24, 25)),
        ("2022-05-02", None, (24, 240)),
        (None, "2022-05-02", (0, 48)),  # all of that day
        (None, "2022-05-02T00:00", (0, 25)),
        ("2022-05-02T02:00+02:00", "30", (24, 31)),
        ("2022-05-01T23:30", "2022-05-02T00:30", (24, 25)),
        ("7d", None, (71, 240)),
        ("1w", None, (71, 240)),
        ("90min", "0s", (238, 240)),
        ("1.5 d", "12h", (203, 228)),
        ("1999-01-01", "2099-01-01", (0, 240)),
        (" 5 ", "1000000", (5, 240)),
    ],
)
def test_a_part_is_the_rows_between_its_ends_both_included(since, until, rows):
    assert rows_within(SERIES, since, until) == rows


def test_a_step_back_in_time_leaves_the_rows_between_the_first_and_the_last_that_lie_within():
    times = SERIES.times.copy()
    times[100:] -= 50 * HOUR
    assert rows_within(replace(SERIES, times=times), "2022-05-04", "2022-05-04T12:00") == (72, 135)


@pytest.mark.parametrize(("since", "until", "rows"), [("5", "9", (5, 10)), (None, None, (0, 240))])
def test_counted_rows_are_told_by_their_numbers(since, until, rows):
    assert rows_within(COUNTED, since, until) == rows


WRONG = "must be a row number, an ISO 8601 time, or a span before the end. Received: "


@pytest.mark.parametrize(
    ("series", "since", "until", "message"),
    [
        (SERIES, "soon", None, f"--since {WRONG}'soon'. Write it like 120, 2022-05-01T12:00 or 7d."),
        (SERIES, None, "today", f"--until {WRONG}'today'. Write it like 120, 2022-05-01T12:00 or 7d."),
        (SERIES, "-3", None, f"--since {WRONG}'-3'. Write it like 120, 2022-05-01T12:00 or 7d."),
        (SERIES, "20220501T12", None, f"--since {WRONG}'20220501T12'. Write it like 120, 2022-05-01T12:00 or 7d."),
        (SERIES, "2022-13-01", None, f"--since {WRONG}'2022-13-01'. Write it like 120, 2022-05-01T12:00 or 7d."),
        (SERIES, "", None, f"--since {WRONG}''. Write it like 120, 2022-05-01T12:00 or 7d."),
        (
            COUNTED, "7d", None,
            "--since must be a row number where rows are counted. Received: '7d'. Give one from 0 on.",
        ),
        (
            SERIES, "9", "8",
            "--since must not lie behind --until. Received: --since 9 --until 8. Exchange them.",
        ),
        (COUNTED, "240", None, "Some rows must lie in the range. Received: --since 240, of rows 0 to 239. Widen it."),
    ],
)  # fmt: skip
def test_a_wrong_part_is_refused(series, since, until, message):
    with pytest.raises(ConfigError) as caught:
        rows_within(series, since, until)
    assert str(caught.value) == message
