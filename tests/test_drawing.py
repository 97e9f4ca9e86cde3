"""Small pictures and tables: they hold what they are made of, and nothing that a browser would run."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.drawing import html_table, new_figure, svg_line
from anomaly.errors import ConfigError


def points(svg):
    """Return the points of each line, `(n, 2)`."""
    lines = re.findall(r'<polyline points="([^"]+)"', svg)
    return [np.array([point.split(",") for point in line.split()], float) for line in lines]


def test_a_line_goes_from_side_to_side_and_from_bottom_to_top():
    (line,) = points(svg_line(np.arange(11.0), "x"))
    np.testing.assert_allclose(line[:, 0], np.linspace(0, 639, 11), atol=0.06)
    np.testing.assert_allclose(line[:, 1], np.linspace(77, 3, 11), atol=0.06)


def test_on_a_logarithmic_scale_tenfold_is_the_same_height_everywhere():
    (line,) = points(svg_line(np.array([1.0, 10, 100, 1000]), "x", log=True))
    np.testing.assert_allclose(np.diff(line[:, 1]), -74 / 3, atol=0.11)


def test_a_hole_parts_the_line():
    values = np.array([1.0, 2, np.nan, 3, np.inf, 4, 5])
    assert [len(line) for line in points(svg_line(values, "x"))] == [2, 1, 2]


def test_one_row_of_many_that_stands_out_is_seen():
    values = np.zeros(100_000)
    values[54_321] = 9.0
    svg = svg_line(values, "x")
    (line,) = points(svg)
    assert line[:, 1].min() == 3.0
    assert line[np.argmin(line[:, 1]), 0] == pytest.approx(54_321 / 99_999 * 639, abs=0.06)
    assert len(svg) < 30_000


def test_marks_and_cut_lie_where_they_are():
    svg = svg_line(np.arange(101.0), "x", cut=50.0, marks=[(10, 21), (30, 31)])
    assert re.findall(r'<rect x="([\d.]+)" y="0" width="([\d.]+)"', svg) == [("63.9", "63.9"), ("191.7", "1.0")]
    assert re.findall(r"M0 ([\d.]+)H640", svg) == ["40.0"]


@given(
    st.lists(st.floats(), max_size=30),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20),
    st.none() | st.floats(-1e300, 1e300),
    st.booleans(),
)
def test_any_line_is_a_picture_with_finite_places(values, label, cut, log):
    svg = svg_line(np.array(values, float), label, cut=cut, log=log)
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == label
    assert "nan" not in "".join(svg.partition("</title>")[2]) and "inf" not in svg.partition("</title>")[2]


def test_names_are_text_in_a_table():
    table = html_table(["<b>"], [["<script>alert(1)</script>"]], "a & b")
    assert "<script" not in table and "<b>" not in table
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in table and "a &amp; b" in table


def test_a_figure_without_matplotlib_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match="A picture needs matplotlib. Received: no matplotlib. Run: pip install matplotlib."):
        new_figure([1.0])
