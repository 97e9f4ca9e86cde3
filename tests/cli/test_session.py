"""A whole session as a person with a terminal of 80 columns sees it, held to a text that people have read."""

import re
from pathlib import Path

import pytest
from conftest import make_series, to_csv
from screens import COLUMNS, lines_on_screen, screen_of

GOLDEN = Path(__file__).parents[1] / "golden" / "session.txt"
QUICK = "--window-size 12 --units 4 --epochs 2 --steps-per-epoch 10 --nearest-windows 0 --seed 7 --deterministic"
COMMANDS = (
    "anomaly check history.csv",
    f"anomaly train history.csv --model pump.anomaly {QUICK}",
    "anomaly detect new.csv --model pump.anomaly",
    "anomaly score new.csv --model pump.anomaly --output scored.csv",
    "anomaly explain new.csv --model pump.anomaly --top 1",
    "anomaly evaluate new.csv --model pump.anomaly --label-column label",
    "anomaly threshold pump.anomaly",
    "anomaly threshold pump.anomaly --alarms-per-week 1 --dry-run",
    "anomaly inspect pump.anomaly",
    "anomaly train history.csv --model pump.anomaly",
)


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("session")
    series = make_series()
    to_csv(series[:400], folder / "history.csv")
    to_csv(series, folder / "new.csv", labels=True)
    return screen_of(COMMANDS, folder)


def alike(text):
    """Return the words of a text: numbers, sums and bars differ between processors, and with them where lines are folded."""
    text = re.sub(r"\b[0-9a-f]{16,64}\b", "HEX", text)
    text = re.sub(r"[▁-█][▁-█ ]*", "LINE ", re.sub(r"[━╸╺]+", "BAR", text))
    text = re.sub(r"\d[\d,]*(\.\d+)?", "N", " ".join(text.split()))
    return re.sub(r"\b(less than )?N (a|in N) (day|week|year)s?\b", "RATE", text).split()


def test_the_session_reads_as_agreed(seen):
    assert alike("\n".join(seen)) == alike(GOLDEN.read_text())


def test_no_line_is_longer_than_the_terminal_and_none_is_cut(seen):
    printed = [line for line in seen if not line.startswith("$ ")]
    assert [line for line in printed if len(line) > COLUMNS or line.endswith("...")] == []


def test_a_screen_shows_what_was_not_written_over():
    assert lines_on_screen("abc\rX\r\n\x1b[31mred\x1b[0m\r\x1b[2Kd\r\n\x1b[1Ae") == ["Xbc", "e", ""]
