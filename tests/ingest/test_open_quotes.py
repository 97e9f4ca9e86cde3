"""A record ends on its line for this package only if it does for pandas, whatever quotes it has."""

import io

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anomaly.errors import DataError
from anomaly.ingest.fields import fields

LINES = st.text('",;1. ', min_size=1, max_size=12)


def by_pandas(line, n_fields):
    """Return the cells of a record that another one follows; None if the two run together."""
    kept = {"header": None, "names": range(n_fields), "dtype": str, "keep_default_na": False, "skip_blank_lines": False}
    try:
        found = pd.read_csv(io.StringIO(f"{line}\n{',' * (n_fields - 1)}x\n"), index_col=False, **kept)
    except pd.errors.ParserError:
        return None
    return None if len(found) != 2 else found.iloc[0].tolist()


@given(line=LINES)
@example(line='1.","1')  # a quote within a cell is text, one where a cell begins is not
@example(line='"1","",1"')
def test_what_is_a_record_here_is_the_same_record_for_pandas(line):
    try:
        found = fields(line, ",", 1, "x.csv")
    except DataError:
        return
    assert by_pandas(line, len(found)) == found


@pytest.mark.parametrize("line", ['1,2"', '1,"2', '1.","2', '1,2","', '"1""', '1","2,3'])
def test_an_open_quote_is_told_with_its_line(line):
    with pytest.raises(DataError, match=r"Received: an open quote \(x\.csv, line 7\)"):
        fields(line, ",", 7, "x.csv")
