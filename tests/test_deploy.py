"""The examples for a deployment: what the image has is enough, its user has no rights, and all options exist."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import click
import pytest

from anomaly.cli import cli
from anomaly.errors import LackingError
from anomaly.extras import LEFT_OUT

FOLDER = Path(__file__).parents[1] / "scripts" / "deploy"
DOCKERFILE = (FOLDER / "Dockerfile").read_text()
PACKAGES = re.search(r'^ARG PACKAGES="(.*)"$', DOCKERFILE, re.MULTILINE)[1].split()
LEARNING = LEFT_OUT["learning"]
MODULES = {"protobuf": "google", "python-dateutil": "dateutil"}  # where they are called otherwise


def guard():
    """Return a program after which, of all that is installed, only this package and the packages of the image can be imported."""
    allowed = {MODULES.get(name, name.replace("-", "_")) for name in PACKAGES} | {"anomaly"}
    forbidden = set(packages_distributions()) - allowed
    return (
        "import sys\n"
        "class Guarded:\n"
        "    def __init__(self, finder):\n        self.finder = finder\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] not in {forbidden!r}:\n"
        "            return self.finder.find_spec(name, path, target)\n"
        "sys.meta_path[:] = map(Guarded, sys.meta_path)\n"
    )


def without_others(code):
    """Run code in a process that can import no more."""
    return subprocess.run([sys.executable, "-c", guard() + code], capture_output=True, text=True)


# Imports what most commands do, and then runs each line of arguments that it reads in a process of its own.
IN_TURN = """
import json, os, traceback
from anomaly.cli import cli
from anomaly.network.onnx_start import load_onnxruntime
import pandas, anomaly.detector.detector, anomaly.files.one_file
load_onnxruntime()
for line in sys.stdin:
    words, folder, out, err = json.loads(line)
    child = os.fork()
    if not child:
        code = 1
        try:
            for number, path in ((1, out), (2, err)):
                os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY), number)
            os.chdir(folder)
            cli(words, prog_name="anomaly")
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else int(left.code is not None)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    os.write(1, b"%d\\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.fixture(scope="module")
def in_the_image(tmp_path_factory):
    """Return what runs a command in a folder, where no more can be imported."""
    said = [tmp_path_factory.mktemp("said") / name for name in ("out", "err")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", guard() + IN_TURN], **pipes, text=True) as process:

        def run(words, folder="."):
            for path in said:
                path.unlink(missing_ok=True)
            process.stdin.write(json.dumps([list(map(str, words)), os.path.abspath(folder), *map(str, said)]) + "\n")
            process.stdin.flush()
            code = int(process.stdout.readline())
            return subprocess.CompletedProcess(words, code, *(path.read_text() for path in said))

        yield run
        process.stdin.close()


@pytest.mark.parametrize("command", ["score", "detect", "check", "inspect", "--help"])
def test_the_packages_of_the_image_are_enough(command, bundle_path, csv_path, in_the_image):
    words = {
        "inspect": [command, str(bundle_path)], "--help": [command],
    }.get(command, [command, str(csv_path), "--model", str(bundle_path)])  # fmt: skip
    result = in_the_image(words)
    assert result.returncode == 0, result.stderr
    assert result.stdout


# By command what it cannot do without, in the image: what is not installed is named, and is no bug.
NEEDS = {
    "threshold pump.anomaly --method quantile --dry-run": (),
    "threshold pump.anomaly --method pot --dry-run": ("scipy",),
    "dismiss pump.anomaly data.csv --rows 400..410 --dry-run": (),
    "evaluate data.csv --model pump.anomaly --events-file known.csv": (),
    "export pump.anomaly --output pump.onnx": (),
    "export pump.anomaly --output pump.keras --format keras": LEARNING,
    "check data.csv --label-column label": (),
    "explain data.csv --model pump.anomaly --threshold 0.001": LEARNING,
    "train data.csv --model new.anomaly --label-column label": LEARNING,
    "demo": LEARNING,
    "plot data.csv --model pump.anomaly --output p.png": ("matplotlib",),
    "report data.csv --model pump.anomaly --output p.html": ("plotly", "tsdownsample"),
    "detect s3://plant/data.csv --model pump.anomaly --allow-remote": ("pyarrow",),
    "detect data.csv data.csv --model pump.anomaly --engine ray": ("ray",),
}


@pytest.mark.parametrize("command", NEEDS)
def test_what_is_not_in_the_image_is_named_in_one_sentence(command, bundle_path, csv_path, tmp_path, in_the_image):
    shutil.copy(bundle_path, tmp_path / "pump.anomaly")
    shutil.copy(csv_path, tmp_path / "data.csv")
    (tmp_path / "known.csv").write_text("start_row,end_row\n400,410\n")
    result = in_the_image(command.split(), tmp_path)
    assert "Traceback" not in result.stderr
    assert result.returncode == (LackingError.exit_code if NEEDS[command] else 0), result.stderr
    if NEEDS[command]:
        assert result.stderr.endswith(f"Run: pip install {' '.join(NEEDS[command])}.\n")


def imports_of(path):
    """Return the modules that a file imports where nothing catches that they are missing, but for types."""
    found = []

    def look(node):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Try) and any("Error" in ast.unparse(h.type) for h in node.handlers if h.type is not None):
            return
        if isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.append(node.module)
        for child in ast.iter_child_nodes(node):
            look(child)

    look(ast.parse(path.read_text()))
    return {name.partition(".")[0] for name in found}


def test_what_the_image_lacks_is_imported_where_its_absence_is_told():
    here = set(sys.stdlib_module_names) | {MODULES.get(name, name.replace("-", "_")) for name in PACKAGES} | {"anomaly"}
    package = FOLDER.parents[1] / "anomaly"
    found = {str(path.relative_to(package)): imports_of(path) - here for path in package.rglob("*.py")}
    assert {path: names for path, names in found.items() if names} == {
        # Methods that scikit-learn itself calls, and a notebook.
        "detector/estimator.py": {"sklearn"},
        "detector/face.py": {"sklearn"},
        "training/progress.py": {"IPython"},
        "notebook/tuner.py": {"traitlets"},
        # Behind another import in the same module, or in the one that calls it, which tells.
        "sources/parquet.py": {"pyarrow"},
        "storage/object_store.py": {"pyarrow"},
        "notebook/tuner_chart.py": {"plotly", "tsdownsample"},
    }


def test_a_live_run_with_metrics_needs_no_more(bundle_path, csv_path, in_the_image):
    pytest.importorskip("prometheus_client")
    words = ["score", str(csv_path), "--model", str(bundle_path), "--format", "openmetrics", "-q"]
    result = in_the_image(words)
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


def test_the_job_runs_on_a_file_that_grows(bundle_path, csv_path, tmp_path, in_the_image):
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load((FOLDER / "cronjob.yaml").read_text())
    words = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {"--since", "--fail-on-anomaly"} <= set(words)
    shutil.copy(bundle_path, tmp_path / "pump.anomaly")
    shutil.copy(csv_path, tmp_path / "pump.csv")
    words = [word.replace("/data/", "") for word in words]
    result = in_the_image(words, tmp_path)
    assert result.returncode in (0, 10), result.stderr


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
