"""Frames whose times are no times yet: digits that spell dates, and columns that make up the time together."""

import re

import numpy as np
import pandas as pd
import pytest

from anomaly import DataError, Detector

N = 200
TIMES = pd.date_range("2024-01-08", periods=N, freq="h")
VALUES = np.sin(np.arange(N) / 5)
PARTS = {
    "year, month, day, hour": {"year": TIMES.year, "month": TIMES.month, "day": TIMES.day, "hour": TIMES.hour},
    "with minutes": {"year": TIMES.year, "month": TIMES.month, "day": TIMES.day, "hour": TIMES.hour, "minute": TIMES.minute},
}


def detector():
    return Detector(window_size=8, epochs=1, steps_per_epoch=1, seed=0)


def remedied(frame, message, way):
    """Return the frame as the code in a message makes it."""
    return eval(re.search(rf"{way}(frame.*)\.\Z", message)[1], {"pd": pd, "frame": frame})


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_columns_that_make_up_the_time_are_refused_with_code_that_joins_them(parts):
    frame = pd.DataFrame(parts | {"a": VALUES})
    with pytest.raises(DataError, match="The time of a frame must be one column or the index") as refused:
        detector().fit(frame)
    joined = remedied(frame, str(refused.value), "with ")
    assert list(joined.columns) == ["a"] and (joined.index == TIMES).all()
    assert detector().fit(joined).bundle_.step == 3_600 * 10**6


@pytest.mark.parametrize(("form", "step"), [("%Y%m%d%H", "h"), ("%y%m%d%H%M", "h"), ("%Y%m%d", "D"), ("%Y%m%d%H%M", "h")])
def test_digits_that_spell_dates_are_no_numbers_since_1970(form, step):
    times = pd.date_range("2024-01-08", periods=N, freq=step).strftime(form).astype("int64")
    with pytest.raises(DataError, match=rf"format='{form}'"):
        detector().fit(pd.DataFrame({"time": times, "a": VALUES}))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_numbers_since_1970_are_times(unit):
    numbers = TIMES.as_unit(unit).astype("int64")
    assert detector().fit(pd.DataFrame({"time": numbers, "a": VALUES})).bundle_.step == 3_600 * 10**6


@pytest.mark.parametrize(
    ("index", "way"), [([f"k{n}" for n in range(N)], None), (TIMES.strftime("%d/%m/%Y %H:%M"), "dayfirst=True")]
)
def test_an_index_of_names_gets_no_code_for_times(index, way):
    with pytest.raises(DataError, match="The index of a frame must be times, or count its rows") as refused:
        detector().fit(pd.DataFrame({"a": VALUES}, index=index))
    assert ("dayfirst" in str(refused.value)) is (way is not None)
    assert "reset_index(drop=True)" in str(refused.value)


@pytest.mark.parametrize("as_array", [False, True])
def test_a_usual_mark_of_missing_values_must_be_said_to_be_one(as_array):
    marked, blank = VALUES.copy(), VALUES.copy()
    marked[::20], blank[::20] = -9999, np.nan

    def given(values):
        return values[:, None] if as_array else pd.DataFrame({"a": values}, index=TIMES)

    with pytest.raises(
        DataError, match="A number that usually stands for a missing value.*-9999 on 10 rows.*missing_values='-9999'"
    ):
        detector().fit(given(marked))
    settings = {"window_size": 8, "epochs": 1, "steps_per_epoch": 1, "seed": 0, "deterministic": True}
    said = Detector(**settings, missing_values="-9999").fit(given(marked))
    mended = Detector(**settings).fit(given(blank))
    assert said.thresholds_ == mended.thresholds_
    np.testing.assert_array_equal(said.score(given(marked)).score, mended.score(given(blank)).score)
    Detector(**settings, missing_values="none").fit(given(marked))
