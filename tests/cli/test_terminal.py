"""Text for people on a terminal: folded between words, with commands, tables and long words left whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.cli.terminal import folded

LONG = "Warning: scores have shifted: retrain with `anomaly train new.csv --model NEW.anomaly`, if it stays so."


def test_lines_are_folded_between_words_and_a_command_is_never_broken():
    assert folded(f"short\n{LONG}\n", 50).splitlines() == [
        "short",
        "Warning: scores have shifted: retrain with",
        "  `anomaly train new.csv --model NEW.anomaly`, if",
        "  it stays so.",
    ]


@pytest.mark.parametrize(
    "line", ["Next: anomaly detect NEW.csv --model m", "name    a cell of a table with words", "  ", "x" * 40, ""]
)
def test_tables_commands_and_long_words_stay_as_they_are(line):
    assert folded(line, 20) == line


@given(st.text(alphabet="ab `\n", max_size=60), st.integers(1, 30))
def test_folding_only_moves_blanks(text, width):
    lines = folded(text, width)
    assert lines.split() == text.split()
    assert folded(text, len(text)) == text


@given(st.lists(st.text(alphabet="ab", min_size=1, max_size=8), max_size=12), st.integers(12, 40))
def test_no_folded_line_is_longer_than_the_width(words, width):
    assert all(len(line) <= width for line in folded(" ".join(words), width).splitlines())
