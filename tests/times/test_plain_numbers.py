"""Plain numbers and times that are read all at once: as the slow way reads them, or not at all."""

import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anomaly.config import ReadingConfig
from anomaly.times.plain_cells import plain_moments, plain_numbers, with_days_for_months
from anomaly.times.timestamps import A_TIME, TimeReader

DIGITS = st.text("0123456789", min_size=1, max_size=8)
SIGNS, POINTS = st.sampled_from(["", "-", "+"]), st.sampled_from(["", "."])
LONG = st.builds("{}{}.{}".format, SIGNS, st.text("0123456789", max_size=18), st.text("0123456789", min_size=1, max_size=25))
NUMBERS = LONG | st.builds("{}{}{}{}".format, SIGNS, DIGITS, POINTS, st.text("0123456789", max_size=8))
ODD = st.sampled_from(["", "NA", "1e3", " 7", "0x10", "1_0", "nan", "inf", "-0", "-0.0", "1-2", "--1", ".", "٣", "1.2.3", "1" * 16])


def has_too_many_digits(cell):
    return len(cell) > (40 if "." in cell else 15)


@given(st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=1, max_size=20), st.booleans())
@example([["1.", ".5", "-.5"], ["007", "+3", "0.1"]], True)
@example([["0.01257302210933933", "1", "-123.45678901234567890"], ["12345678901234567.8", "2", "1.7976931348623157"]], True)
@example([["9007199254740993.1", "1", "0.3000000000000000444089209850062616169"]], True)
@example([["1234567890123456", "1", "1"]], True)
@example([["123456789012345", "0.00000000000001", "9" * 15], ["1", "2", "3"]], False)
def test_plain_numbers_are_those_of_pandas(rows, ended):
    text = "\n".join(",".join(row) for row in rows) + "\n" * ended
    found = plain_numbers(text, ",", 3, (2, 0))
    expected = pd.read_csv(io.StringIO(text), header=None, dtype=None)[[2, 0]].to_numpy(np.float64)
    is_long = any(has_too_many_digits(row[place]) for row in rows for place in (0, 2))
    zero = np.signbit([[float(row[2]), float(row[0])] for row in rows]) & (expected == 0)
    assert (found is None) == (is_long or bool(zero.any()))
    if found is not None:
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


@given(st.lists(NUMBERS, min_size=1, max_size=5), ODD)
def test_anything_else_is_left_to_pandas(numbers, odd):
    assert plain_numbers("\n".join(f"t,{cell}" for cell in [*numbers, odd]), ",", 2, (1,)) is None


MOMENTS = st.datetimes(pd.Timestamp(1800, 1, 1).to_pydatetime(), pd.Timestamp(2099, 12, 31).to_pydatetime())
CELLS = st.one_of(
    MOMENTS.map("{:%Y-%m-%dT%H:%M:%S}".format), MOMENTS.map("{:%Y-%m-%d %H:%M:%SZ}".format), MOMENTS.map("{:%Y-%m-%d}".format),
    st.sampled_from(["2022-02-29 00:00:00", "2022-01-01 24:00:00", "NaN", "1640995200", "20220101"]),
)  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")
@given(
    st.lists(MOMENTS.map("{:%Y-%m-%dT%H:%M:%S}".format), min_size=1, max_size=8) | st.lists(CELLS, min_size=1, max_size=5),
    st.sampled_from(["UTC", "Europe/Berlin"]),
)
def test_cells_are_read_as_a_column_of_pandas_is(cells, zone):
    reading = ReadingConfig(timezone=zone, dst="first")
    quick, slow = TimeReader(reading), TimeReader(reading)
    found, expected = quick.read_cells(cells), slow.read(pd.Series(cells, dtype="str"))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert quick.is_local == slow.is_local
    if (found[1] == A_TIME).all():  # what came first decides for what comes next
        for ours, theirs in zip(quick.read_cells(cells[::-1]), slow.read(pd.Series(cells[::-1], dtype="str")), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@given(MOMENTS)
def test_day_and_month_the_other_way_round(moment):
    cells = np.array([list(f"{moment:%Y-%d-%m %H:%M:%S}".encode())], np.uint8)
    found = plain_moments(with_days_for_months(cells))
    assert found is not None
    assert found[0] == (pd.Timestamp(moment).floor("s") - pd.Timestamp(0)) // pd.Timedelta("1us")
