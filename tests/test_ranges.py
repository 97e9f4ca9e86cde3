"""A part of a series by rows, times and spans before the end."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
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


# A day of 25 hours in Berlin, of which the one from 2:00 comes twice, and a day of 23, of which it never comes.
AUTUMN = TimeSeries(SERIES.times[:48] + int(np.datetime64("2022-10-29T12:00", "us").astype(np.int64)) - FIRST, np.zeros((48, 1)),
                    ("a",), time_column="when", zone="Europe/Berlin")  # fmt: skip
SPRING = replace(AUTUMN, times=SERIES.times[:48] + int(np.datetime64("2022-03-26T12:00", "us").astype(np.int64)) - FIRST)


@pytest.mark.parametrize(
    ("series", "since", "until", "rows"),
    [
        (AUTUMN, "2022-10-29T15:00", "2022-10-29T16:00", (1, 3)),
        (AUTUMN, "2022-10-29T15:00Z", None, (3, 48)),
        (AUTUMN, "2022-10-29T15:00+00:00", "2022-10-29 18:00+02:00", (3, 5)),
        (AUTUMN, "2022-10-30", "2022-10-30", (10, 35)),
        (AUTUMN, "2022-10-30T02:00", "2022-10-30T02:00", (12, 14)),
        (SPRING, "2022-03-27", "2022-03-27", (11, 34)),
        (SPRING, "2022-03-27T02:30", "2022-03-27T03:00", (13, 14)),
        (SPRING, "2022-03-27T01:00", "2022-03-27T02:30", (12, 13)),
        (AUTUMN, "0001-01-01", "9999-12-31", (0, 48)),
    ],
)
def test_a_time_without_an_offset_is_on_the_clock_of_the_rows(series, since, until, rows):
    assert rows_within(series, since, until) == rows


def test_cuts_are_on_the_clock_of_the_rows_too():
    assert AUTUMN.row_at("2022-10-29T15:00") == 1
    assert AUTUMN.row_at("2022-10-29T15:00Z") == 3
    assert len(AUTUMN.since("2022-10-30")) == 38
    assert len(AUTUMN.before(datetime(2022, 10, 30, tzinfo=UTC))) == 12


@pytest.mark.parametrize(
    ("zone", "detectors", "rows"),
    [
        (None, "UTC", (12, 16)),
        (None, "Europe/Berlin", (10, 14)),
        ("Europe/Berlin", "UTC", (10, 14)),
        ("UTC", "Europe/Berlin", (12, 16)),
    ],
)
def test_in_python_a_range_is_on_the_clock_of_the_rows_else_of_the_detector(detector, monkeypatch, zone, detectors, rows):
    config = replace(detector.bundle_.config, reading=replace(detector.bundle_.config.reading, timezone=detectors))
    monkeypatch.setattr(detector, "bundle_", replace(detector.bundle_, config=config))
    stamps = pd.date_range("2022-05-01", periods=len(SERIES), freq="h", tz="UTC")
    naive = stamps.tz_convert(detectors).tz_localize(None)
    frame = pd.DataFrame(
        {name: np.ones(len(stamps)) for name in detector.columns_}, naive if zone is None else stamps.tz_convert(zone)
    )
    found = detector.score(frame, since="2022-05-01T12:00", until="2022-05-01T15:00")
    assert (found.times[0] - FIRST) // HOUR == rows[0]
    assert len(found) == rows[1] - rows[0]
    zoned = detector.zone_of(detector.score(frame).stamps)
    assert str(zoned) == (detectors if zone is None else zone)
