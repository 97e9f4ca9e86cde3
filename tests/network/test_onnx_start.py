"""ONNX Runtime sends nothing, writes nothing below the home folder and says nothing of it, in whatever process it is loaded."""

import os
import subprocess
import sys

import pytest
from commands import PLAIN

SWITCH = "ORT_DISABLE_TELEMETRY"
LOAD = "from anomaly.network.onnx_start import load_onnxruntime; load_onnxruntime()"
LATER = [sys.executable, "-c", "import onnxruntime"]
WAYS = {
    "a program": [sys.executable, "-c", LOAD],
    "what a program starts": [sys.executable, "-c", f"{LOAD}; import subprocess; subprocess.run({LATER})"],
    "the module": [*PLAIN, "score", "{data}", "--model", "{model}", "--quiet"],
    "several at once": [*PLAIN, "detect", "{data}", "{copy}", "--model", "{model}", "--jobs", "2", "--quiet"],
}  # fmt: skip


def run(way, home, data, model, folder):
    copy = folder / "copy.csv"
    copy.write_bytes(data.read_bytes())
    words = [word.format(data=data, model=model, copy=copy) if word[0] == "{" else word for word in WAYS[way]]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    return subprocess.run(words, env=environment | {"HOME": str(home)}, capture_output=True, text=True)


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_written_below_the_home_folder(way, bundle_path, csv_path, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    found = run(way, home, csv_path, bundle_path, tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    assert list(home.rglob("*")) == []


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_said_where_there_is_no_home_folder_to_write_to(way, bundle_path, csv_path, tmp_path):
    found = run(way, "/proc/nowhere", csv_path, bundle_path, tmp_path)
    assert (found.returncode, found.stderr) == (0, "")


def test_who_sets_the_variable_is_heeded():
    code = f"import os; os.environ[{SWITCH!r}] = '0'; {LOAD}; print(os.environ[{SWITCH!r}])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stdout == "0\n"
