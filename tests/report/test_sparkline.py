"""A score as a line of a terminal, against a loop over all rows."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_events import EVENTS

from anomaly.report import sparkline
from anomaly.report.sparkline import ScoreLine


def event(start, stop):
    return replace(EVENTS[0], start=start, stop=stop)


def drawn(score, events=(), width=80):
    line = ScoreLine()
    line.push(np.array(score, np.float64))
    return line.text(list(events), width)


def test_the_height_compares_with_the_threshold():
    assert drawn([0, 0.25, 0.3, 0.6, 1.0, 1.01, 2.0, 2.5, 10, 11, 100, 101, np.nan, np.inf, 0]) == "▁▁▂▃▄▅▅▆▆▇▇█ █▁\n"


def test_no_rows_and_no_scores_draw_nothing():
    assert drawn([]) == "" and drawn([np.nan] * 3) == ""


@pytest.mark.parametrize(
    ("events", "marks"),
    [
        ([(2, 3)], "  1\n"),
        ([(2, 6)], "  1---\n"),
        ([(0, 1), (2, 4)], "1 2-\n"),
        ([(2, 3), (3, 4), (4, 5), (6, 8)], "  1^^ 4-\n"),  # two numbers must not read as one
        ([(9, 10)], "         1\n"),
        ([], ""),
    ],
)
def test_an_event_has_its_number_where_it_begins(events, marks):
    assert drawn([0] * 10, [event(*rows) for rows in events]) == "▁▁▁▁▁▁▁▁▁▁\n" + marks


def test_a_number_that_has_no_room_at_the_end_is_a_mark():
    events = [event(0, 1)] * 9 + [event(9, 10)]
    assert drawn([0] * 10, events).splitlines()[1] == "1        ^"


SCORES = st.lists(st.sampled_from([0.1, 0.6, 1.5, 5.0, 1000.0, np.nan]), max_size=200)


@given(SCORES, st.integers(1, 90), st.lists(st.integers(0, 200), max_size=6))
def test_a_column_shows_the_highest_of_its_rows_whatever_the_pieces(score, width, cuts):
    """Few places, so that they are halved again and again; a peak stays within one column of where it lies."""
    line, bounds = ScoreLine(), [0, *sorted(min(cut, len(score)) for cut in cuts), len(score)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparkline, "_MOST", 16)
        line = ScoreLine()
        for a, b in pairwise(bounds):
            line.push(np.array(score[a:b], np.float64))
        text = line.text([], width)
    each = 1
    while len(score) > 16 * each:
        each *= 2
    places = -(-len(score) // each)
    columns = min(width, places)
    expected = [[] for _ in range(columns)]
    for row, value in enumerate(score):
        if not np.isnan(value):
            expected[row // each * columns // places].append(value)
    height = {0.1: "▁", 0.6: "▃", 1.5: "▅", 5.0: "▆", 1000.0: "█"}
    shown = "".join(height[max(values)] if values else " " for values in expected).rstrip()
    assert text == (f"{shown}\n" if shown else "")


def test_events_of_a_part_of_the_rows_stand_where_they_lie_in_it_with_their_numbers():
    line = ScoreLine()
    line.push(np.full(10, 0.5))
    assert line.text([event(95, 102), event(106, 108)], 80, 100, 12) == f"{'▂' * 10}\n12    13\n"
    assert line.text([event(108, 130)], 80, 100, 3) == f"{'▂' * 10}\n{' ' * 8}3-\n"
