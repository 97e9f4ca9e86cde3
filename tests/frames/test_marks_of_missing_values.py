"""Numbers that stand for a missing value are the same in whatever a frame keeps them, and what is quoted is read back."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.config import ReadingConfig
from anomaly.errors import DataError
from anomaly.frames.taking import take
from anomaly.frames.values import in_double

N = 600
MARKED = np.arange(N) % 40 == 7
MEASURED = np.round(10 * np.sin(np.arange(N) / 5), 2)
TRAINING = ReadingConfig()
MARKS = [-9999999, 2147483647, 9999999, 99999.99, 2**63 - 1, -3.4028234663852886e38, -9999.999, -999.9]
KEPT = [(mark, kind) for mark in MARKS for kind in ("f8", "Float64", "array")]
KEPT += [(mark, kind) for mark in (-999.9, 99999.99) for kind in ("f4", "Float32", "narrow array")]


def marked(mark, kind):
    values = np.where(MARKED, mark, MEASURED)
    if "array" in kind:
        return values.astype("f4" if kind == "narrow array" else "f8")
    return pd.DataFrame({"a": values}).astype(kind)


def refusal(data, reading=TRAINING):
    with pytest.raises(DataError, match="A number that usually stands for a missing value") as caught:
        take(data, None, reading)
    return str(caught.value)


def assert_marks_are_missing(taken):
    np.testing.assert_array_equal(np.isnan(taken.series.values[:, 0]), MARKED)
    np.testing.assert_array_equal(taken.series.values[~MARKED, 0], MEASURED[~MARKED])


@pytest.mark.parametrize(("mark", "kind"), KEPT)
def test_both_remedies_of_a_mark_work(mark, kind):
    data = marked(mark, kind)
    found = re.search(r"use (.*), or missing_values=('.*?')", refusal(data))
    assert_marks_are_missing(take(eval(found[1], {"frame": data, "X": data, "np": np}), None, TRAINING))
    assert_marks_are_missing(take(data, None, ReadingConfig(missing_values=eval(found[2]))))


def test_a_mark_among_whole_numbers_keeps_all_of_its_digits():
    data = pd.DataFrame({"a": np.where(MARKED, 2**63 - 1, np.arange(N))})
    found = re.search(r"use (.*), or missing_values=('.*?')", refusal(data))
    for mended, named in ((eval(found[1], {"frame": data}), None), (data, eval(found[2]))):
        values = take(mended, None, ReadingConfig(missing_values=named)).series.values
        np.testing.assert_array_equal(np.isnan(values[:, 0]), MARKED)


def test_a_float_of_arrow_has_the_remedy_that_works():
    pytest.importorskip("pyarrow")
    data = marked(99999.99, "float32[pyarrow]")
    assert "If it stands for one, say missing_values='99999.99'; if" in refusal(data)
    assert_marks_are_missing(take(data, None, ReadingConfig(missing_values="99999.99")))


def test_a_named_number_that_occurs_nowhere_ends_no_check():
    assert "missing_values='-1e+07,-9999999'" in refusal(marked(-9999999, "f8"), ReadingConfig(missing_values="-1e+07"))
    for named in ("none", "-1,-9999999"):
        take(marked(-9999999, "f8"), None, ReadingConfig(missing_values=named))


BITS = {"f4": st.integers(0, 2**32 - 1).map(np.uint32), "f2": st.integers(0, 2**16 - 1).map(np.uint16)}


@pytest.mark.parametrize("kind", BITS)
@given(data=st.data())
def test_a_narrow_number_is_its_shortest_decimal(kind, data):
    values = np.array(data.draw(st.lists(BITS[kind], min_size=1, max_size=40))).view(kind)
    values = values[~np.isnan(values)]
    expected = np.array([float(str(value)) for value in values])
    np.testing.assert_array_equal(in_double(values), expected)


def test_all_powers_of_two_and_ten_are_their_shortest_decimals():
    with np.errstate(over="ignore", under="ignore"):
        for kind in BITS:
            powers = np.concatenate([2.0 ** np.arange(-149, 128), 10.0 ** np.arange(-45, 39)]).astype(kind)
            values = np.concatenate([powers, -powers, np.nextafter(powers, np.zeros_like(powers)), [0.1, -999.9]]).astype(kind)
            np.testing.assert_array_equal(in_double(values), [float(str(value)) for value in values])


def test_objects_and_nothing_else_is_rounded():
    values = np.array([0.1, 1 / 3, 1e300, 7])
    np.testing.assert_array_equal(in_double(values), values)
    np.testing.assert_array_equal(take(pd.DataFrame({"a": [np.float32(0.1), 2.5]}, dtype=object)).series.values, [[0.1], [2.5]])
