"""The line that shows on a terminal that a command is at work: what it says, and where it says nothing."""

import os
import pty
import subprocess
import time

import pytest
from commands import command
from forked import CODE

from anomaly.cli import waiting
from anomaly.cli.waiting import Waiting
from anomaly.ingest.chunks import Chunk

SLOW = """
import sys, time
from anomaly.cli import waiting
waiting._SILENT = float(sys.argv[1])
with waiting.Waiting(shows=sys.argv[2] == "loud") as bar:
    assert waiting.current() is bar
    bar.now("Counting").step(1, 4)
    time.sleep(1.0)
    bar.say("one")
    time.sleep(1.0)
print("done", file=sys.stderr)
"""


def on_a_terminal(*arguments):
    """Run a program with standard error on a terminal; return what it writes there."""
    master, slave = pty.openpty()
    with subprocess.Popen(command(CODE, SLOW, *arguments), stderr=slave) as process:
        os.close(slave)
        written = b""
        while True:
            try:
                block = os.read(master, 4096)
            except OSError:  # how a terminal ends on Linux
                break
            if not block:
                break
            written += block
        assert process.wait() == 0
    os.close(master)
    return written.decode()


def test_a_terminal_shows_a_line_that_is_gone_afterwards():
    text = on_a_terminal("0", "loud")
    assert "\rCounting  [#####...............] 25%  step 1 of at most 4  " in text
    for kept in ("one", "done"):  # each stands where the line was, which is gone
        before, found, text = text.partition(f"{kept}\r\n")
        assert found and before.endswith("\r") and before.split("\r")[-2].isspace()
    assert not text


@pytest.mark.parametrize("arguments", [("0", "quiet"), ("60", "loud")])
def test_a_quick_command_and_a_quiet_one_show_nothing(arguments):
    assert on_a_terminal(*arguments) == "one\r\ndone\r\n"


def test_of_a_file_it_tells_what_was_read_and_what_is_left(tmp_path, monkeypatch):
    path = tmp_path / "in.csv"
    path.write_text("x" * 4_000_000)
    bar = Waiting(shows=True).now("Scoring", path)
    monkeypatch.setattr(bar, "_began", time.monotonic() - 10)
    bar.read(Chunk(["y" * 999_999], [], [], None))
    assert bar.text() == "Scoring  [#####...............] 25%  1 MB, 1 rows, 0 rows/s  10 s, 30 s left"


@pytest.mark.parametrize("content", [b"\x1f\x8b\x08\x00", b"PAR1"])
def test_where_the_length_of_the_text_is_unknown_no_share_is_told(tmp_path, monkeypatch, content):
    path = tmp_path / "in"
    path.write_bytes(content)
    for source in (path, "-"):
        bar = Waiting(shows=True).now("Scoring", source)
        bar.read(Chunk(["y"], [], [], None))
        assert "%" not in bar.text()


@pytest.mark.parametrize(("seconds", "text"), [(7.4, "7 s"), (59.7, "1:00"), (125, "2:05"), (3609, "1:00:09")])
def test_times_are_written_as_people_read_them(seconds, text):
    assert waiting._spoken(seconds) == text
