"""Every command shows on a terminal what it does while it is at work, and nothing where nobody looks."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from commands import command
from forked import CODE
from screens import _read, lines_on_screen

from anomaly.cli import cli
from anomaly.cli.help import GroupedCommand, _is_watched

# Commands that draw their lines as often as they can: on a quick machine the stages of small files are short.
_RUN = """
import json, sys, time
from anomaly.cli import cli, waiting
waiting._SILENT = waiting._EVERY = 0.002
now = waiting.Waiting.now
def slowly(self, *arguments):
    found = now(self, *arguments)
    time.sleep(0.05)
    return found
waiting.Waiting.now = slowly
for command in json.loads(sys.argv[1]):
    print(file=sys.stderr, flush=True)
    try:
        cli(command, prog_name="anomaly")
    except SystemExit as left:
        print(f"[exit {left.code}]", file=sys.stderr, flush=True)
"""
# Of each command its arguments, and the stages that it must name; DATA, MODEL and OUT are put in.
STAGES = {
    "check": (["DATA", "--model", "MODEL"], ["Reading"]),
    "score": (["DATA", "--model", "MODEL", "--output", "OUT.csv"], ["Scoring"]),
    "detect": (["DATA", "--model", "MODEL"], ["Scoring"]),
    "evaluate": (
        ["DATA", "--model", "MODEL", "--events-file", "KNOWN", "--count-training"],
        ["Reading", "Scoring", "Comparing with trivial detectors"],
    ),
    "plot": (["DATA", "--model", "MODEL", "--output", "OUT.png"], ["Reading", "Scoring", "Drawing"]),
    "report": (["DATA", "--model", "MODEL", "--output", "OUT.html"], ["Reading", "Scoring", "Writing the page"]),
    "dismiss": (
        ["MODEL", "DATA", "--rows", "100..200", "--output", "OUT.anomaly"], ["Reading", "Scoring", "Scoring by each aggregation"],
    ),
    "threshold": (
        ["MODEL", "--unlabelled", "DATA", "--rate", "0.9", "--dry-run"], ["Reading", "Scoring by each aggregation"],
    ),
    "export": (["MODEL", "--output", "OUT.onnx"], ["Exporting"]),
    "explain": (
        ["DATA", "--model", "MODEL", "--threshold", "1e-9", "--event", "1", "--max-seconds", "1"],
        ["Reading", "Scoring", "Explaining event 1"],
    ),
    "train": (
        ["DATA", "--model", "OUT-trained.anomaly", "--epochs", "2", "--window-size", "8", "--steps-per-epoch", "2"],
        ["Reading", "Preparing", "Training", "Calibrating"],
    ),
}  # fmt: skip
WITHOUT_STAGES = {"inspect", "demo"}  # one reads a small file, the other is a training that has been looked at


@pytest.fixture(scope="module")
def drawn(bundle_path, csv_path, tmp_path_factory):
    """Return by command what it writes to standard error on a terminal, its output on a pipe; the last one is quiet."""
    folder = tmp_path_factory.mktemp("at_work")
    known, model = folder / "known.csv", folder / "own.anomaly"
    first, last = (csv_path.read_text().splitlines()[n].split(",")[0] for n in (300, 310))
    known.write_text(f"start,end\n{first},{last}\n")
    shutil.copy(bundle_path, model)
    names = {"DATA": csv_path, "MODEL": model, "KNOWN": known, "OUT": folder / "out"}
    commands = [[command, *arguments] for command, (arguments, _) in STAGES.items()]
    commands.append(["score", "DATA", "--model", "MODEL", "--quiet"])
    for name, path in names.items():
        commands = [[argument.replace(name, str(path)) for argument in command] for command in commands]
    text = written(commands)
    assert text.count("[exit 0]") == len(commands), [re.split(r"[\r\n]", part)[-8:] for part in text.split("[exit")]
    return dict(zip([*STAGES, "--quiet"], text.split("[exit 0]"), strict=False))


def written(commands):
    """Return what commands write to standard error on a terminal, one after the other in one process."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        command(CODE, _RUN, json.dumps(commands)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs
    ):
        os.close(theirs)
        text = b""
        while block := _read(ours):
            text += block
    os.close(ours)
    return text.decode()


def test_every_command_is_within_a_line():
    assert all(isinstance(command, GroupedCommand) for command in cli.commands.values())
    assert set(cli.commands) == set(STAGES) | WITHOUT_STAGES


@pytest.mark.parametrize("command", STAGES)
def test_a_command_names_its_stages_in_order_and_leaves_none_of_them_behind(command, drawn):
    stages, known = STAGES[command][1], {stage for _, stages in STAGES.values() for stage in stages}
    shown = [line.split("  ")[0] for line in drawn[command].replace("\n", "\r").split("\r")]
    assert list(dict.fromkeys(line for line in shown if line in known)) == stages
    left = lines_on_screen(drawn[command])
    assert left and not [line for line in left for stage in stages if line.startswith(f"{stage}  ")]


def test_with_quiet_nothing_is_drawn(drawn):
    assert drawn["--quiet"].strip() == ""


@pytest.mark.parametrize(
    ("given", "terminals", "is_watched"),
    [
        ({"quiet": False}, ("stderr",), True),
        ({}, ("stderr", "stdout"), True),
        ({"output": "rows.csv"}, ("stderr", "stdout"), True),
        ({"output": "-"}, ("stderr",), True),
        ({"output": "-"}, ("stderr", "stdout"), False),
        ({"follow": True}, ("stderr",), False),
        ({"quiet": True}, ("stderr",), False),
        ({}, (), False),
        ({}, ("stdout",), False),
    ],
)
def test_a_line_is_drawn_where_somebody_looks_at_nothing_else(given, terminals, is_watched, monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(getattr(sys, name), "isatty", lambda name=name: name in terminals, raising=False)
    assert _is_watched(given) is is_watched
