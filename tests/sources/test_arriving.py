"""Rows that arrive one by one: the same scores as those of a file, each as soon as it can be there."""

import contextlib
import io
import itertools
import os
import signal
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from commands import command
from heeding import heeding
from hypothesis import given
from hypothesis import strategies as st

from anomaly.config import AGGREGATIONS
from anomaly.errors import ConfigError, DataError, StorageError
from anomaly.files.one_file import score_file
from anomaly.scoring.row_scores import RowScores
from anomaly.sources import growing
from anomaly.sources.arriving import ArrivingText, Stop
from anomaly.sources.growing import GrowingFile
from anomaly.sources.tolerance import Tolerance

# From Python 3.12 on, a warning that a process with threads forks; what runs before the new program here only sets signals.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
SPLITS = st.lists(st.integers(1, 40), min_size=1, max_size=60)


class Pieces:
    """Standard input that hands out given pieces, then ends."""

    def __init__(self, pieces):
        self.buffer, self._pieces = self, list(pieces)

    def read1(self, size):
        return self._pieces.pop(0) if self._pieces else b""


def text_of(pieces, monkeypatch, tolerance=None):
    monkeypatch.setattr(sys, "stdin", Pieces(pieces))
    text, parts = ArrivingText("-", "standard input", tolerance or Tolerance()), []
    while part := text.read(1 << 16):
        parts.append(part)
    return parts


@given(st.text("aä€😀\r\n,", max_size=40), st.lists(st.integers(1, 5), max_size=80))
def test_bytes_in_any_pieces_are_the_text_that_they_are_as_a_whole(text, sizes):
    data = text.encode()
    bounds = [0, *np.cumsum(sizes).tolist(), len(data)]
    with pytest.MonkeyPatch.context() as patch:
        found = text_of([data[a:b] for a, b in pairwise(bounds) if data[a:b]], patch)
    assert "".join(found) == io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline=None).read()


def test_what_is_there_is_handed_out_at_once(monkeypatch):
    assert text_of([b"a,b\n1,", b"2\n"], monkeypatch) == ["a,b\n1,", "2\n"]


def test_a_byte_order_mark_is_counted_and_left_out(monkeypatch):
    tolerance = Tolerance()
    assert text_of([b"\xef", b"\xbb\xbfa", b"\n"], monkeypatch, tolerance) == ["a", "\n"]
    assert tolerance.counts == {"byte_order_mark": 1}


def test_compressed_text_is_not_followed(monkeypatch):
    with pytest.raises(DataError, match="gzip -dc"):
        text_of([b"\x1f\x8b\x08"], monkeypatch)


class Script:
    """Does the next thing whenever a growing file is found not to have grown."""

    def __init__(self, *actions):
        self._actions = list(actions)

    def __call__(self, seconds):
        self._actions.pop(0)()


def grown(path, monkeypatch, *actions):
    """Return all that is read of a file until the actions are over, and what was tolerated."""
    stop, tolerance = Stop(), Tolerance()
    monkeypatch.setattr(growing.time, "sleep", Script(*actions, lambda: stop(signal.SIGTERM, None)))
    text, found = ArrivingText(path, path.name, tolerance, stop), ""
    while part := text.read(4):
        found += part
    assert text.stopped
    text.close()
    return found, tolerance.counts


def append(path, text):
    def run():
        with open(path, "a") as handle:
            handle.write(text)

    return run


def test_a_file_is_read_on_as_it_grows(tmp_path, monkeypatch):
    path = tmp_path / "in.csv"
    path.write_text("a\n1\n")
    assert grown(path, monkeypatch, append(path, "2\n3"), append(path, "4\n")) == ("a\n1\n2\n34\n", {})


def test_another_file_in_its_place_is_read_from_its_beginning(tmp_path, monkeypatch):
    path = tmp_path / "in.csv"
    path.write_text("a\n1\n2")  # the last line has no end

    def rotate():
        append(path, "3\n4")()
        path.rename(tmp_path / "in.csv.1")

    def create():
        path.write_text("a\n5\n")

    expected = "a\n1\n23\n4\na\n5\n"
    assert grown(path, monkeypatch, rotate, lambda: None, create, lambda: None) == (expected, {"files_begun_anew": 1})


def test_a_file_that_is_cut_is_read_from_its_beginning(tmp_path, monkeypatch):
    path = tmp_path / "in.csv"
    path.write_text("a\n1\n2\n")
    found = grown(path, monkeypatch, lambda: path.write_text("a\n"), append(path, "9\n"))
    assert found == ("a\n1\n2\na\n9\n", {"files_begun_anew": 1})


def test_a_byte_order_mark_of_a_file_that_took_its_place_is_left_out(tmp_path, monkeypatch):
    path = tmp_path / "in.csv"
    path.write_bytes(b"\xef\xbb\xbfa\n1\n")

    def rotate():
        path.rename(tmp_path / "in.csv.1")
        path.write_bytes(b"\xef\xbb\xbfa\n2\n")

    assert grown(path, monkeypatch, rotate, lambda: None)[0] == "a\n1\na\n2\n"


def test_a_pipe_with_a_name_is_not_followed(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    keeper = os.open(tmp_path / "pipe", os.O_RDWR)
    with pytest.raises(StorageError, match="must be a file. Received: pipe, a pipe or device"):
        GrowingFile(tmp_path / "pipe", "pipe", Tolerance())
    os.close(keeper)


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(StorageError, match=r"must be a readable file.*in\.csv"):
        GrowingFile(tmp_path / "in.csv", "in.csv", Tolerance())


def test_a_second_signal_ends_at_once():
    stop = Stop()
    stop(signal.SIGTERM, None)
    with pytest.raises(SystemExit) as left:
        stop(signal.SIGTERM, None)
    assert left.value.code == 143


def pushed(detector, series, bounds, aggregation):
    rows = detector.row_scorer(aggregation, eager=True)
    parts = [rows.push(series.times[a:b], series.values[a:b]) for a, b in pairwise(bounds)]
    return parts, rows.finish()


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@given(sizes=SPLITS)
def test_rows_in_any_pieces_have_the_scores_of_the_file_to_the_last_bit(detector, series, aggregation, sizes):
    whole = detector.score(series[:300], aggregation=aggregation)
    bounds = [0, *np.minimum(np.cumsum(sizes), 300).tolist(), 300]
    parts, rest = pushed(detector, series, bounds, aggregation)
    found = RowScores.joined([*parts, rest], 1, 2)
    assert found.by_feature[0].tobytes() == whole.by_feature.tobytes()
    assert found.status[0].tobytes() == whole.status.tobytes()


@pytest.mark.parametrize(("aggregation", "behind"), [("trailing", 0), ("trailing_point", 0), ("combined", 11), ("window_mean", 11)])
def test_a_row_comes_out_as_soon_as_its_windows_are_there(detector, series, aggregation, behind):
    parts, rest = pushed(detector, series, range(101), aggregation)
    n_out = np.cumsum([len(part) for part in parts])
    np.testing.assert_array_equal(n_out, np.maximum(np.arange(1, 101) - behind, 0))
    assert len(rest) == behind


def lines_of(csv_path, n):
    return csv_path.read_text().splitlines(keepends=True)[: n + 1]


@pytest.fixture(scope="module")
def batch(bundle_path, csv_path, tmp_path_factory):
    """Return the lines that scoring the first 80 rows of the file gives."""
    from anomaly import Detector

    folder = tmp_path_factory.mktemp("batch")
    (folder / "in.csv").write_text("".join(lines_of(csv_path, 80)))
    with open(folder / "out.csv", "wb") as handle:
        score_file(Detector.load(bundle_path), folder / "in.csv", aggregation="trailing", output=handle)
    return (folder / "out.csv").read_text().splitlines(keepends=True)


def start(bundle_path, data="-", *options):
    """Start a live run that heeds signals."""
    return piped(heeding(command("score", data, "--model", bundle_path, "--follow", *options)))


def fed(bundle_path):
    """Start a live run that ends with its standard input."""
    return piped(command("score", "-", "--model", bundle_path, "--follow"))


def piped(words):
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(words, **pipes, text=True, bufsize=1)


def test_each_line_is_answered_before_the_next_is_sent(bundle_path, csv_path, batch):
    answers = []
    with fed(bundle_path) as run:
        for number, line in enumerate(lines_of(csv_path, 80)):
            run.stdin.write(line)
            run.stdin.flush()
            if number:  # the header comes with the first row
                answers += [run.stdout.readline() for _ in range(1 + (number == 1))]
        run.stdin.close()
        assert answers == batch
        assert run.wait(60) == 0 and run.stdout.read() == ""
        assert "of 80 rows scored" in run.stderr.read()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_with_every_whole_line_scored(bundle_path, csv_path, batch, tmp_path, number, code):
    with start(bundle_path, "-", "--events", str(tmp_path / "events.csv"), "--report-json", str(tmp_path / "report.json")) as run:
        run.stdin.write("".join(lines_of(csv_path, 50)) + "2022-03-01T0")
        run.stdin.flush()
        answers = [run.stdout.readline() for _ in range(51)]
        run.send_signal(number)
        assert run.wait(60) == code
        assert answers + run.stdout.readlines() == batch[:51]
        assert "of 50 rows scored" in run.stderr.read()
        assert (tmp_path / "events.csv").exists() and '"rows": 50' in (tmp_path / "report.json").read_text()


def test_a_signal_before_the_first_line_ends_it(monkeypatch):
    stop = Stop()
    monkeypatch.setattr(sys, "stdin", Pieces([b"time"]))
    text = ArrivingText("-", "standard input", Tolerance(), stop)
    assert text.read(9) == "time"
    stop(signal.SIGTERM, None)
    with pytest.raises(SystemExit) as left:
        text.read(9)
    assert left.value.code == 143


def test_a_growing_file_is_followed(bundle_path, csv_path, batch, tmp_path):
    path, lines = tmp_path / "in.csv", lines_of(csv_path, 60)
    path.write_text("".join(lines[:31]))
    with start(bundle_path, path) as run:
        answers = [run.stdout.readline() for _ in range(31)]
        path.rename(tmp_path / "in.csv.1")
        path.write_text(lines[0] + "".join(lines[31:]))
        answers += [run.stdout.readline() for _ in range(30)]
        run.terminate()
        assert run.wait(60) == 143
        assert answers == batch[:61]
        assert "header lines among the records (1)" in run.stderr.read()


def test_a_reader_that_leaves_ends_it_quietly(bundle_path, csv_path):
    with start(bundle_path) as run:
        run.stdin.write("".join(lines_of(csv_path, 20)))
        run.stdin.flush()
        run.stdout.readline()
        run.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            for line in itertools.cycle(lines_of(csv_path, 80)[21:]):
                run.stdin.write(line)
                run.stdin.flush()
        assert run.wait(60) == 141
        assert "Traceback" not in run.stderr.read()
        with contextlib.suppress(BrokenPipeError):
            run.stdin.close()


def test_rows_at_another_pace_are_refused_once_that_can_be_told(bundle_path, csv_path):
    head, *rows = lines_of(csv_path, 80)
    with fed(bundle_path) as run:
        _, errors = run.communicate(head + "".join(rows[::2]))
        assert run.returncode == 3
        assert "about as often as in training" in errors


@pytest.mark.parametrize("option", ["--output=out.csv", "--resume", "--no-resume", "--max-bytes=1MB"])
def test_what_needs_an_end_does_not_go_with_it(bundle_path, csv_path, option):
    from click.testing import CliRunner

    from anomaly.cli import cli

    result = CliRunner().invoke(cli, ["score", str(csv_path), "--model", str(bundle_path), "--follow", option])
    assert result.exit_code == ConfigError.exit_code


@pytest.mark.parametrize("has_header", [True, False])
def test_a_file_is_known_again_by_what_stands_before_the_place_and_not_by_its_number_alone(tmp_path, has_header):
    path = tmp_path / "in.csv"
    path.write_text("a\n" + "".join(f"{row}\n" for row in range(100, 900)))
    reading, tolerance = GrowingFile(path, "in.csv", Tolerance()), Tolerance()
    reading.read1(2002)
    position = reading.position(501)
    assert (position.offset, reading.read1(4)) == (2002, b"600\n")
    reading.close()

    def goes_on():
        again = GrowingFile(path, "in.csv", tolerance)
        known = again.go_on(position, has_header=has_header)
        start = again.read1(4)
        again.close()
        return known, start

    assert goes_on() == (True, b"a\n" if has_header else b"600\n")
    number = path.stat().st_ino
    with open(path, "r+") as handle:  # as if the number of the old file had been given to a new one
        handle.truncate()
        handle.write("a\n" + "".join(f"{row}\n" for row in range(200, 999)))
    assert path.stat().st_ino == number
    assert goes_on() == (False, b"a\n20")
    os.truncate(path, 2000)
    assert goes_on() == (False, b"a\n20")
    assert tolerance.counts == {"files_begun_anew": 2}
