"""What is missing is named package by package: no text tells people to install this project from an index."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from anomaly import extras
from anomaly.errors import LackingError
from anomaly.extras import EXTRAS, lacking

ROOT = Path(__file__).parents[1]
# What opens a notebook need not be where its code runs, so no feature lacks it.
FRONT_ENDS = {"jupyterlab"}
TEXTS = (".py", ".md", ".ipynb", ".toml", ".html", ".js", "")


def packages_of(extra, declared):
    """Return the names of the packages of an extra, those of other extras of this project in their place."""
    for requirement in declared[extra]:
        if inner := re.fullmatch(r"anomaly\[(.+)\]", requirement):
            for name in inner[1].split(","):
                yield from packages_of(name, declared)
        else:
            yield re.match(r"[\w-]+", requirement)[0]


def test_the_extras_are_those_of_the_project_file():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert {extra: set(packages_of(extra, declared)) - FRONT_ENDS for extra in declared} == {
        extra: set(names) for extra, names in EXTRAS.items()
    }


@pytest.mark.parametrize("extra", EXTRAS)
def test_what_is_missing_is_what_is_named(extra, monkeypatch):
    names = EXTRAS[extra]
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == names[-1] else object())
    error = lacking("A thing", extra, "in.csv")
    assert isinstance(error, LackingError)
    assert str(error).endswith(f"Received: in.csv, and no {names[-1]}. Run: pip install {names[-1]}.")


def test_a_sentence_without_what_was_asked_for(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert str(lacking("A report page", "report")) == (
        "A report page needs plotly and tsdownsample. Received: no plotly and no tsdownsample. "
        "Run: pip install plotly tsdownsample."
    )


def test_no_text_installs_this_project_by_its_name():
    """The package is on no index. pyproject.toml alone may name extras so, and a clone is installed by its path."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    found = {}
    for name in listed:
        path = ROOT / name
        if path.suffix in TEXTS and path.is_file() and path != Path(__file__) and name != "pyproject.toml":
            hits = re.findall(r"install[^\n]{0,20}\banomaly(?:\[|\b(?![-./\w]))", path.read_text("utf-8", errors="replace"))
            if hits:
                found[name] = hits
    assert found == {}


NOWHERE = (
    "import tempfile\n"
    "def none(): raise FileNotFoundError(2, \"No usable temporary directory found in ['/tmp']\")\n"
    "tempfile._get_default_tempdir = none\n"
)
ABOUT_FOLDER = (
    "Error: A temporary folder must be writable. Received: no usable temporary directory found in ['/tmp']. "
    "Set TMPDIR to a folder that is.\n"
)


@pytest.mark.parametrize(
    "words",
    [["explain", "{data}", "--model", "{model}"], ["plot", "{data}", "--model", "{model}"], ["train", "{data}", "--model", "new"]],
)
def test_a_machine_without_a_temporary_folder_is_told_so(words, csv_path, bundle_path, tmp_path):
    """It is not the folder of the detector that is at fault, and no bug."""
    words = [word.format(data=csv_path, model=bundle_path) for word in words]
    code = f"{NOWHERE}from anomaly.cli import cli; cli({words!r}, prog_name='anomaly')"
    environment = os.environ | {"HOME": "/proc/nowhere", "PYTHONPATH": str(ROOT)}
    environment.pop("MPLCONFIGDIR", None)
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (found.returncode, found.stderr.splitlines(keepends=True)[-1]) == (5, ABOUT_FOLDER)
    assert "Traceback" not in found.stderr


def test_a_picture_needs_no_home_folder(csv_path, bundle_path, tmp_path):
    words = ["plot", str(csv_path), "--model", str(bundle_path), "-q"]
    code = f"from anomaly.cli import cli; cli({words!r}, prog_name='anomaly')"
    environment = os.environ | {"HOME": "/proc/nowhere", "PYTHONPATH": str(ROOT)}
    environment.pop("MPLCONFIGDIR", None)
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
