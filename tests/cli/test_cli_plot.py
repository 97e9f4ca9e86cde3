"""`anomaly plot` and the line below `anomaly detect`."""

import os
import pty
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from commands import command, here
from conftest import make_series

from anomaly.report.pictures import plot_scores
from anomaly.scoring.row_scores import OK
from anomaly.scoring.scores import Scores


def test_a_picture_is_written_and_told(bundle_path, csv_path, tmp_path):
    pytest.importorskip("matplotlib")
    result = here("plot", csv_path, "--model", bundle_path, cwd=tmp_path)
    assert (tmp_path / "made.png").read_bytes().startswith(b"\x89PNG")
    assert result.stdout == "" and result.stderr.endswith("events drawn, on 500 rows. Saved made.png.\n")
    here("plot", csv_path, "--model", bundle_path, "-o", "part.svg", "--since", "2d", "--until", "499", "-q", cwd=tmp_path)
    assert b"<svg" in (tmp_path / "part.svg").read_bytes()


def test_one_event_is_drawn_with_what_is_around_it(bundle_path, csv_path, tmp_path):
    pytest.importorskip("matplotlib")
    listed = here("detect", csv_path, "--model", bundle_path, "--format", "csv").stdout.splitlines()[1:]
    start, stop = map(int, listed[0].split(",")[:2])
    margin = max(24, stop - start)
    n_rows = min(500, stop + margin) - max(0, start - margin)
    result = here("plot", csv_path, "--model", bundle_path, "--event", "1", cwd=tmp_path)
    assert f" of {len(listed)} events drawn, on {n_rows} rows. " in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "x.jpg"], "A picture must be a .png or .svg file. Received: --output x.jpg. Name one."),
        (["-o", "-"], "A picture must be a .png or .svg file. Received: --output -. Name one."),
        (
            ["--event", "1", "--since", "3"],
            "A part must be chosen one way. Received: --event with --since or --until. Leave one of them out.",
        ),
        (["--event", "9999"], "--event must be a number in the list of events. Received: 9999 of "),
        (["--since", "600"], "Some rows must lie in the range. Received: --since 600, of rows 0 to 499, "),
    ],
)
def test_a_wrong_picture_is_refused_and_nothing_is_written(bundle_path, csv_path, tmp_path, options, message):
    pytest.importorskip("matplotlib")
    result = here("plot", csv_path, "--model", bundle_path, *options, code=2, cwd=tmp_path)
    assert result.stderr.startswith(f"Error: {message}") and result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def in_a_terminal(*arguments, columns=60):
    """Run a command whose standard output is a terminal; return what it wrote there."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command(*arguments), stdout=theirs, stderr=subprocess.DEVNULL, env=os.environ | {"COLUMNS": str(columns), "LINES": "24"}
    ) as process:
        os.close(theirs)
        text = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # Linux says so where the other end was closed
                break
            if not part:
                break
            text += part
    os.close(ours)
    assert process.returncode == 0
    return text.decode().replace("\r\n", "\n")


def test_a_terminal_shows_the_score_below_the_events(bundle_path, csv_path):
    given = ["detect", csv_path, "--model", bundle_path]
    shown = in_a_terminal(*given)
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 60
    assert set("▁▂▃▄▅▆▇█ ") >= set(lines[-2]) and lines[-1].lstrip().startswith("1")
    for options in (["--quiet"], ["--format", "jsonl"]):
        assert "▇" not in in_a_terminal(*given, *options)
    assert "▇" in shown and "▇" not in here(*given).stdout


@pytest.mark.parametrize("name", ["cost $ of $ gas", r"a_{b}^$\\frac$", "$$", "Σ $ <b>"])
def test_a_name_is_no_formula(name):
    pytest.importorskip("matplotlib")
    series = replace(make_series(n=30), columns=(name, "other"))
    n = len(series)
    scores = Scores(
        score=np.ones(n), by_feature=np.ones((n, 2)), deviation=np.ones((n, 2)), status=np.full(n, OK, np.uint8), threshold=0.5,
        aggregation="window_mean", times=series.times, columns=series.columns, time_column=series.time_column,
    )  # fmt: skip
    for figure in (series.plot(), plot_scores(series, scores, [])):
        assert figure._repr_png_().startswith(b"\x89PNG")
        assert figure.axes[0].get_ylabel() == name
