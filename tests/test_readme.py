"""The README is a promise: its commands and code blocks run, and show what it says they show."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from heeding import heeding
from object_server import ObjectServer

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
SETUP = ("scripts/demo", "scripts/test")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


def commands():
    lines = [line.split("  #")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line not in SETUP]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as a reader has it: the checkout, a history and newer rows."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("anomaly", "models"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    lines = (ROOT / "anomaly" / "data" / "water_flow.csv").read_text().splitlines()
    without_label = [line.rsplit(",", 1)[0] for line in lines]
    (folder / "history.csv").write_text("\n".join(without_label[:1] + without_label[341:861]) + "\n")
    (folder / "new.csv").write_text("\n".join(without_label[:1] + without_label[861:]) + "\n")
    return folder


@pytest.fixture(scope="module")
def plant(folder):
    """The object store of the reader, with the same history and newer rows."""
    with ObjectServer("plant") as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        server.put("pumps/north.csv", (folder / "history.csv").read_bytes())
        server.put("pumps/south.csv", (folder / "new.csv").read_bytes())
        yield server


def run(arguments, folder, **options):
    # The commands come from the environment that runs the tests; epochs keep the training short, except where given.
    env = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "ANOMALY_EPOCHS": "2"}
    return subprocess.run(arguments, cwd=folder, env=os.environ | env, capture_output=True, text=True, **options)


def follow(command, folder):
    (folder / "live.csv").unlink()
    bin_folder = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    started = heeding(["bash", "-euc", f"exec {command}"])
    with subprocess.Popen(started, cwd=folder, env=os.environ | {"PATH": bin_folder}) as process:
        for _ in range(600):
            if (folder / "live.csv").exists() and len((folder / "live.csv").read_text().splitlines()) == 409:
                break
            time.sleep(0.1)
        process.terminate()
    assert process.returncode == 143
    assert len((folder / "live.csv").read_text().splitlines()) == 409


def test_every_command_runs(folder, plant):
    found = commands()
    assert len(found) >= 9
    for command in found:
        if "--follow" in command and "|" not in command:  # it does not end by itself
            follow(command, folder)
            continue
        result = run(["bash", "-euc", command], folder)
        assert result.returncode == 0, f"{command}\n{result.stderr}"
        if "|| echo" in command:
            assert "exit code 10" in result.stdout
    assert (folder / "scored.csv").read_text().startswith("timestamp,flow_l_per_s,score,threshold,")
    assert len((folder / "scored.jsonl").read_text().splitlines()) == 408
    assert plant.below("scored/").keys() == {path.name for path in (folder / "scored").iterdir()}


def test_shown_output_is_what_the_committed_detector_finds(folder):
    (shown,) = blocks("text")
    command = next(command for command in commands() if "models/demo/water_flow.anomaly" in command)
    found = run(["bash", "-euc", command], folder).stdout
    # Severities may differ in the last digit between processors.
    assert [line.split()[:5] for line in found.splitlines()] == [line.split()[:5] for line in shown.splitlines()]
    severities = [[float(line.split()[5]) for line in text.splitlines()[1:]] for text in (found, shown)]
    assert severities[0] == pytest.approx(severities[1], rel=1e-3)


def test_python_block_runs(folder):
    (code,) = blocks("python")
    result = run([sys.executable, "-c", code + "\nprint(len(scores), len(events))"], folder)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("1268 ")


def test_setup_commands_are_the_first_ones_and_exist():
    first = [line.split()[0] for line in blocks("sh")[0].splitlines()]
    assert tuple(first) == SETUP
    assert all(os.access(ROOT / command, os.X_OK) for command in (*SETUP, "scripts/check", ".ci/run"))


def test_links_and_pictures_exist():
    targets = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert "models/demo/water_flow.png" in targets
    assert [target for target in targets if not target.startswith("http") and not (ROOT / target).exists()] == []


def test_every_command_and_exit_code_is_documented():
    from anomaly.cli import cli

    for name in cli.commands:
        assert f"`anomaly {name}" in TEXT
    for code in (0, 1, 2, 3, 4, 5, 6, 10, 130, 143):
        assert re.search(rf"\b{code} \w", TEXT)


def test_module_table_of_contributing_lists_every_module():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    modules = {path.stem for path in (ROOT / "anomaly").glob("*.py")} - {"__init__", "__main__"}
    table = text[text.index("| module of") : text.index("From the shell")]
    assert set(re.findall(r"`(\w+)`", table)) - {"TimeSeries", "anomaly"} == modules


def test_every_dependency_has_its_reason():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (ROOT / "CONTRIBUTING.md").read_text()
    table = text[text.index("## Why each dependency") :]
    assert len(project["dependencies"]) <= 12
    for requirement in project["dependencies"]:
        assert re.match(r"[\w-]+", requirement).group() in table


def test_locks_hold_hashes_and_no_addresses():
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text()
        requirements = re.findall(r"^[a-z][\w.-]*==.*(?:\n    --hash=\S+.*)*", text, flags=re.MULTILINE)
        assert len(requirements) > 40
        assert all("--hash=sha256:" in requirement for requirement in requirements)
        assert "://" not in text and "scripts/lock" in text
