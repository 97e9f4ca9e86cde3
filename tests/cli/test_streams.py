"""Standard streams that are closed, full or without a reader: a sentence and the right exit code, never a traceback."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from commands import PLAIN, command
from conftest import to_csv

NO_INPUT = "Error: Standard input must be open. Received: none. Name a file, or a pipe to read from.\n"
full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
# Commands with what they read, {data} and {model}; of those that write to standard output the shortest.
READERS = [
    "detect - --model {model}",
    "score - --model {model}",
    "score - --model {model} --follow",
    "score - --model {model} --follow --input-format jsonl",
    "check -",
    "evaluate - --model {model} --label-column label",
    "explain - --model {model}",
    "report - --model {model} --output {folder}/page.html",
    "threshold {model} --labels - --output {folder}/tuned.anomaly",
    "train - --model {folder}/new.anomaly",
]
WRITERS = [
    "detect {data} --model {model}",
    "score {data} --model {model}",
    "score - --model {model} --follow < {data}",
    "check {data}",
    "evaluate {data} --model {model} --label-column label",
    "inspect {model}",
    "threshold {model}",
    "report {data} --model {model} --output -",
    "--help",
    "--version",
    "train --help",
]


@pytest.fixture(scope="module")
def places(series, bundle_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("streams")
    data = to_csv(series[350:], folder / "in.csv", labels=True)
    return {"data": data, "model": bundle_path, "folder": folder}


def shell(line, places):
    """Run a command in bash; return its exit code and what it said on the standard error that is left."""
    line = line.format(**{name: shlex.quote(str(path)) for name, path in places.items()})
    run = subprocess.run(["bash", "-c", line], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert "Traceback" not in run.stderr, run.stderr
    return run


def anomaly():
    """Return the command."""
    return shlex.join(command())


@pytest.mark.parametrize("reader", READERS)
def test_without_standard_input_it_is_told(reader, places):
    before = sorted(places["folder"].iterdir())
    run = shell(f"{anomaly()} {reader} <&-", places)
    assert (run.returncode, run.stderr[-len(NO_INPUT) :], run.stdout) == (5, NO_INPUT, "")
    assert sorted(places["folder"].iterdir()) == before


@pytest.mark.parametrize("writer", WRITERS)
def test_without_standard_output_the_run_fails_in_one_sentence(writer, places):
    run = shell(f"{anomaly()} {writer} >&-", places)
    assert run.returncode == 5
    assert "tandard output" in run.stderr.splitlines()[-1] and "it is closed" in run.stderr.splitlines()[-1]


@full
@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_standard_output_fails_in_one_sentence(writer, places):
    run = shell(f"{anomaly()} {writer} >/dev/full", places)
    assert run.returncode == 5
    assert "tandard output" in run.stderr.splitlines()[-1] and "No space left on device" in run.stderr.splitlines()[-1]


@pytest.mark.parametrize("writer", WRITERS[1:3] + WRITERS[-1:])
def test_a_pipe_without_a_reader_ends_quietly_as_in_a_shell(writer, places):
    run = shell(f"{anomaly()} {writer} 2>{{folder}}/said | true; exit ${{{{PIPESTATUS[0]}}}}", places)
    assert run.returncode in (0, 141)  # 0 where all of it fitted into the pipe before that was closed
    said = places["folder"] / "said"
    assert "Error" not in said.read_text() and "Traceback" not in said.read_text()
    said.unlink()


def test_more_than_a_pipe_holds_without_a_reader_has_an_exit_code_of_its_own(places):
    run = shell(f"{anomaly()} report {{data}} --model {{model}} --quiet --output - | true; exit ${{{{PIPESTATUS[0]}}}}", places)
    assert (run.returncode, run.stdout, run.stderr) == (141, "", "")


@pytest.mark.parametrize("closed", ["2>&-", pytest.param("2>/dev/full", marks=full)])
@pytest.mark.parametrize("writer", WRITERS[:4])
def test_that_nobody_hears_what_is_said_changes_nothing(writer, closed, places):
    heard = shell(f"{anomaly()} {writer} 2>/dev/null", places)
    deaf = shell(f"{anomaly()} {writer} {closed}", places)
    assert (deaf.returncode, deaf.stdout) == (0, heard.stdout)


@pytest.mark.parametrize("writer", WRITERS[:1] + WRITERS[-1:])
def test_without_any_stream_only_the_exit_code_is_left(writer, places):
    assert shell(f"{shlex.join(PLAIN)} {writer} <&- >&- 2>&-", places).returncode == 5


def test_a_closed_standard_error_does_not_write_into_the_output(places):
    """The first file that is opened gets the number of a closed stream, and libraries write to that number."""
    program = places["folder"] / "noisy.py"
    program.write_text(
        "import os\n"
        "from anomaly.cli import cli\n"
        "from anomaly.files import one_file\n"
        "before = one_file.score_file\n"
        "def noisy(*given, **options):\n"
        "    os.write(2, b'noise of a library')\n"
        "    return before(*given, **options)\n"
        "one_file.score_file = noisy\n"
        "cli()\n"
    )
    output = places["folder"] / "scored.csv"
    run = shell(f"{shlex.quote(sys.executable)} {program} score {{data}} --model {{model}} --output {output} 2>&- <&-", places)
    assert run.returncode == 0
    assert "noise" not in output.read_text() and "noise" not in places["data"].read_text()
    output.unlink()
    program.unlink()
