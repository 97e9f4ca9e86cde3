"""The examples for a deployment: what the image has is enough, its user has no rights, and all options exist."""

import json
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import click
import pytest

from anomaly.cli import cli

FOLDER = Path(__file__).parents[1] / "scripts" / "deploy"
DOCKERFILE = (FOLDER / "Dockerfile").read_text()
PACKAGES = re.search(r'^ARG PACKAGES="(.*)"$', DOCKERFILE, re.MULTILINE)[1].split()
MODULES = {"protobuf": "google", "python-dateutil": "dateutil"}  # where they are called otherwise


def without_others(code):
    """Run code in a process that can import, of all that is installed, this package and the packages of the image only."""
    allowed = {MODULES.get(name, name.replace("-", "_")) for name in PACKAGES} | {"anomaly"}
    forbidden = set(packages_distributions()) - allowed
    guard = (
        "import sys\nclass Guard:\n    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {forbidden!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Guard())\n"
    )
    return subprocess.run([sys.executable, "-c", guard + code], capture_output=True, text=True)


@pytest.mark.parametrize("command", ["score", "detect", "check", "inspect", "--help"])
def test_the_packages_of_the_image_are_enough(command, bundle_path, csv_path):
    words = {
        "inspect": [command, str(bundle_path)], "--help": [command],
    }.get(command, [command, str(csv_path), "--model", str(bundle_path)])  # fmt: skip
    result = without_others(f"from anomaly.cli import cli\ncli({words!r}, standalone_mode=False)")
    assert result.returncode == 0, result.stderr
    assert result.stdout


def test_a_live_run_with_metrics_needs_no_more(bundle_path, csv_path):
    pytest.importorskip("prometheus_client")
    words = ["score", str(csv_path), "--model", str(bundle_path), "--format", "openmetrics", "-q"]
    result = without_others(f"from anomaly.cli import cli\ncli({words!r}, standalone_mode=False)")
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith("# EOF\n")


def test_the_guard_of_these_tests_forbids_something():
    assert "No module named 'scipy'" in without_others("import scipy").stderr
    assert "No module named 'tensorflow'" in without_others("import tensorflow").stderr


def test_the_lock_has_the_packages_and_the_image_no_more_rights_than_it_needs():
    lock = (FOLDER.parents[1] / "requirements-dev.lock").read_text()
    locked = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))
    assert set(PACKAGES) <= locked
    assert not set(PACKAGES) & {"tensorflow", "tensorflow-cpu", "keras"}
    last = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    assert re.search(r"^USER (?!0\b|root\b)\d+$", last, re.MULTILINE)
    assert last.index("\nUSER ") > last.index("\nRUN ")
    assert "--require-hashes" in DOCKERFILE
    sources = re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert all((FOLDER.parents[1] / name).exists() for line in sources for name in line.split())


def test_the_filter_of_the_lock_takes_these_packages(tmp_path):
    program = re.search(r"awk -v names=\"\$PACKAGES\" '(.*?)' requirements", DOCKERFILE, re.DOTALL)[1].replace("\\\n", "")
    lock = FOLDER.parents[1] / "requirements-dev.lock"
    run = subprocess.run(["awk", "-v", f"names={' '.join(PACKAGES)}", program, lock], capture_output=True, text=True, check=True)
    blocks = re.findall(r"^([a-z0-9-]+)==[^\n]*(?:\n +[^\n]*)+", run.stdout, re.MULTILINE)
    assert set(blocks) == set(PACKAGES)
    assert run.stdout.count("--hash=sha256:") >= len(PACKAGES)
    assert all(line.startswith((" ", *PACKAGES)) for line in run.stdout.splitlines() if not line.startswith("#"))


def known_options(command):
    return {option for param in cli.commands[command].params if isinstance(param, click.Option) for option in param.opts}


def test_the_unit_and_the_job_use_options_that_exist():
    yaml = pytest.importorskip("yaml")
    unit = (FOLDER / "anomaly@.service").read_text()
    (start,) = re.findall(r"^ExecStart=\S+/anomaly (.*)$", unit, re.MULTILINE)
    assert set(re.findall(r"--[\w-]+", start)) <= known_options(start.split()[0])
    assert re.search(r"^DynamicUser=yes$", unit, re.MULTILINE)
    job = yaml.safe_load((FOLDER / "cronjob.yaml").read_text())
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    command, *words = container["args"]
    assert {word for word in words if word.startswith("--")} <= known_options(command)
    assert pod["securityContext"]["runAsNonRoot"]
    assert f"USER {pod['securityContext']['runAsUser']}\n" in DOCKERFILE
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def test_mlflow_keeps_a_detector(bundle_path, series, detector, tmp_path):
    pytest.importorskip("mlflow")
    script = FOLDER / "mlflow_model.py"
    subprocess.run([sys.executable, script, bundle_path, tmp_path / "kept"], check=True, capture_output=True)
    code = (
        f"import mlflow, sys, pandas as pd; sys.path.insert(0, {str(FOLDER)!r})\n"
        f"frame = pd.read_json({str(tmp_path / 'in.json')!r}, orient='split')\n"
        f"print(mlflow.pyfunc.load_model({str(tmp_path / 'kept')!r}).predict(frame)['score'].to_json(orient='values'))"
    )
    (tmp_path / "in.json").write_text(series.to_frame().to_json(orient="split", date_format="iso"))
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert json.loads(run.stdout)[-1] == pytest.approx(detector.score(series).score[-1], rel=1e-6)
