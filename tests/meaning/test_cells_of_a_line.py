"""The fields of a line are those of Python's reader, whichever way they are found."""

import csv

from hypothesis import given
from hypothesis import strategies as st

from anomaly.meaning.dialect import DELIMITERS, cells_of

LINES = st.text(st.sampled_from("ab,;\t|\"' 1.\r\n#\x00\x0b\u2028"), max_size=20)


@given(LINES, st.sampled_from(DELIMITERS))
def test_the_fields_of_a_line_are_those_of_the_csv_reader(line, delimiter):
    try:
        expected = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        expected = [line]
    assert cells_of(line, delimiter) == expected


def test_a_field_longer_than_the_reader_takes_is_left_whole():
    line = "a" * (csv.field_size_limit() + 1) + ",b"
    assert cells_of(line, ",") == [line]
