"""The guide to a detector elsewhere: its commands and its code run, and its tables name what there is."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import place
from test_readme import assert_shown, examples

from anomaly.bundle.export import metadata_of
from anomaly.bundle.file import read_bundle
from anomaly.network.onnx_start import load_onnxruntime

ROOT = Path(__file__).parents[2]
GUIDE = Path("anomaly/bundle/README.md")
TEXT = (ROOT / GUIDE).read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guide")
    for name in ("anomaly/data", "models", "scripts"):
        shutil.copytree(ROOT / name, folder / name)
    quick = {"ANOMALY_EPOCHS": "1", "ANOMALY_STEPS_PER_EPOCH": "10", "ANOMALY_PENALTY": "none"}
    env = quick | {"PATH": f"{place()}:{Path(sys.executable).parent}:/usr/bin:/bin"}
    for commands, shown in examples(GUIDE):
        result = subprocess.run(["bash", "-euc", "\n".join(commands)], cwd=folder, env=env, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        if shown:
            assert_shown(shown, result.stdout, words_only=True)
    return folder


def test_the_commands_leave_what_they_say(folder):
    rows = (folder / "scored.csv").read_text().splitlines()
    assert rows[0] == "row,score,threshold,is_anomaly"
    size = read_bundle(folder / "flow.anomaly").window_size
    assert len(rows) == len((folder / "anomaly/data/water_flow.csv").read_text().splitlines()) - size + 1
    assert {row.rsplit(",", 1)[1] for row in rows[1:]} <= {"0", "1"}
    assert (folder / "flow.keras").stat().st_size > 10_000


def test_the_tables_name_the_outputs_and_the_metadata(folder, detector):
    session = load_onnxruntime().InferenceSession(folder / "flow.onnx", providers=["CPUExecutionProvider"])
    for thing in (*session.get_inputs(), *session.get_outputs()):
        assert re.search(rf"^\| `{thing.name}`", TEXT, re.MULTILINE)
    listed = re.search(r"JSON under each key: (.*?)\.\n", TEXT, re.DOTALL)[1]
    assert re.findall(r"`(\w+)`", listed) == list(metadata_of(detector.bundle_))


def test_the_code_runs(folder, monkeypatch):
    monkeypatch.chdir(folder)
    names = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert set(np.unique(names["flags"])) <= {-1, 0, 1}
    assert names["search"].best_params_["detector__units"] in (8, 16)
    assert np.isfinite(names["search"].cv_results_["mean_test_score"]).all()
    assert np.isfinite(names["without_labels"].cv_results_["mean_test_score"]).all()
    # PyOD's names.
    detector = names["pipeline"][-1]
    scores = detector.score(names["frame"])
    np.testing.assert_array_equal(scores.flags.astype(int) == 1, detector.predict(names["frame"]) == -1)
    assert -detector.offset_ == scores.threshold
