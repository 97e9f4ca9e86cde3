"""Ctrl-C, a closed pipe, and memory, in real processes."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from commands import command
from conftest import make_series, to_csv
from heeding import heeding

ANOMALY = [sys.executable, "-m", "anomaly"]


def test_ctrl_c_in_training_exits_130_and_leaves_a_checkpoint_only(csv_path, tmp_path):
    model = tmp_path / "m.anomaly"
    options = ["--window-size=12", "--units=4", "--epochs=400", "--patience=400", "--steps-per-epoch=2", "--penalty=none"]
    process = subprocess.Popen(
        heeding(command("train", csv_path, "--model", model, *options)),
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        task, first = process.stderr.readline(), process.stderr.readline()  # an epoch has ended: training is under way
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert task == "Training on 500 rows of 2 features, in windows of 12; 400 epochs at most.\n"
    assert first.startswith("epoch 1/400")
    assert process.returncode == 130
    assert "Interrupted" in rest and "Traceback" not in rest
    assert [path.name for path in tmp_path.iterdir()] == ["m.anomaly.checkpoint"]


def test_sigterm_while_scoring_exits_143_and_removes_what_was_half_written(tmp_path, bundle_path):
    output = tmp_path / "out" / "scored.csv"
    output.parent.mkdir()
    process = subprocess.Popen(
        heeding([*ANOMALY, "score", "-", "--model", bundle_path, "--output", output]), stdin=subprocess.PIPE, text=True
    )
    with process:
        process.stdin.write("timestamp,s1,s2\n2022-01-01T00:00:00,1,2\n")
        process.stdin.flush()
        while not list(output.parent.iterdir()):  # the temporary file shows that scoring waits for rows
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()
        assert process.wait() == 143
    assert list(output.parent.iterdir()) == []


LOST = """
import signal, time
from anomaly.leaving import heeding_sigterm
class Loses:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)
with heeding_sigterm():
    Loses()
    print("lost", flush=True)
    time.sleep(60)
"""
CLEANING = """
import signal, time
from anomaly import leaving
with leaving.heeding_sigterm():
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        time.sleep(4 * leaving.SECONDS_TO_HEED)
        print("clean", flush=True)
"""


@pytest.mark.parametrize(("code", "said"), [(LOST, "lost"), (CLEANING, "clean")])
def test_sigterm_is_heeded_where_the_interpreter_loses_it_and_clean_up_is_not_cut(code, said):
    result = subprocess.run(heeding([sys.executable, "-c", code]), capture_output=True, text=True, timeout=30)
    assert (result.returncode, result.stdout.strip(), result.stderr) == (143, said, "")


@pytest.mark.parametrize("module", ["anomaly.cli", "anomaly.errors", "click", "anomaly.cli.exporting"])
def test_ctrl_c_while_the_program_is_imported_exits_130_without_a_word(module):
    code = (
        "import signal, sys\nclass Hit:\n    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n            signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Hit())\nfrom anomaly.__main__ import main\nmain()"
    )
    result = subprocess.run(heeding([sys.executable, "-c", code]), capture_output=True, text=True, timeout=30)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


def test_closed_pipe_ends_quietly(tmp_path, bundle_path):
    data = to_csv(make_series(n=20_000, spike=None), tmp_path / "long.csv")
    command = f"{sys.executable} -m anomaly score {data} --model {bundle_path} --quiet | head -1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert result.stdout.startswith("timestamp,s1,s2,score,")
    assert result.stderr == ""


def peak_memory(data, model, output):
    """Return the peak resident memory of `anomaly score`, in bytes."""
    process = subprocess.Popen([*ANOMALY, "score", str(data), "--model", str(model), "--output", str(output), "--quiet"])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def test_memory_of_score_does_not_grow_with_the_file(tmp_path, bundle_path):
    # The short file fills a chunk of text already; the long one is eight times its length, and would need
    # twice this growth if it were held as a whole.
    values = np.random.default_rng(0).normal(size=(40_000, 2))
    stamps = np.datetime64("2022-01-01") + np.arange(8 * len(values)).astype("timedelta64[h]")
    for name, repeats in (("short", 1), ("long", 8)):
        cells = np.tile(values, (repeats, 1))
        lines = [f"{stamp},{a:.6f},{b:.6f}" for stamp, (a, b) in zip(stamps[: len(cells)], cells, strict=True)]
        (tmp_path / name).write_text("timestamp,s1,s2\n" + "\n".join(lines) + "\n")
    short, long = (peak_memory(tmp_path / name, bundle_path, tmp_path / "out") for name in ("short", "long"))
    assert long - short < 70e6
