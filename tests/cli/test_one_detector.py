"""Commands about one detector take its file, and say of a folder of them what to name."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from anomaly.cli import cli
from anomaly.cli.shared import DetectorFile

OF_MANY = {"score", "detect", "evaluate", "threshold", "inspect"}  # these take a folder too
# Of the other commands how the detector is named.
NAMED = {
    "check": ["data.csv", "--model"],
    "explain": ["data.csv", "--model"],
    "plot": ["data.csv", "-o", "p.png", "--model"],
    "report": ["data.csv", "-o", "p.html", "--model"],
    "dismiss": [],
    "export": ["-o", "d.onnx"],
    "train": ["data.csv", "--model", "new.anomaly", "--from"],
}


@pytest.fixture
def folder(tmp_path, bundle_path, csv_path, monkeypatch):
    (tmp_path / "pumps.fleet").mkdir()
    (tmp_path / "pumps.fleet" / "north-0.anomaly").write_bytes(bundle_path.read_bytes())
    (tmp_path / "empty").mkdir()
    (tmp_path / "data.csv").write_bytes(csv_path.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_that_takes_a_detector_is_here():
    taking = {
        name: {param.name for param in command.params if isinstance(param.type, DetectorFile)}
        for name, command in cli.commands.items()
        if any(param.name in ("model", "start_from") and isinstance(param.type, click.Path) for param in command.params)
    }
    assert {name for name, names in taking.items() if names} == set(NAMED)
    assert {name for name, names in taking.items() if not names} == OF_MANY


@pytest.mark.parametrize("command", NAMED)
@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("pumps.fleet", "Name one of its files, such as pumps.fleet/north-0.anomaly."),
        ("empty", "Name a file that `anomaly train` made."),
    ],
)
def test_a_folder_of_detectors_is_refused_with_what_to_name(command, name, remedy, folder):
    result = CliRunner().invoke(cli, [command, *NAMED[command], name])
    rule = f"One detector must be named here, by its file. Received: the folder {name}."
    assert (result.exit_code, result.stderr) == (2, f"Error: {rule} {remedy}\n")


def test_the_guide_says_which_take_a_file():
    guide = (Path(__file__).parents[2] / "anomaly" / "fleet" / "README.md").read_text()
    line = next(line for line in guide.splitlines() if "take one of its files, whose name" in line)
    assert all(f"`{command}" in line for command in NAMED)
