"""What stands in for a command in the tests of the guides does what the command does."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import PLAIN, place
from forked import _PLAIN_COMMAND, CODE

DETECTOR = Path(__file__).parents[1] / "models" / "demo" / "water_flow.anomaly"


def run(*arguments, **how):
    return result_of(place() / "anomaly", *arguments, **how)


def result_of(command, *arguments, env=None, **how):
    found = subprocess.run([command, *map(str, arguments)], capture_output=True, text=True, env=os.environ | (env or {}), **how)
    return found.returncode, found.stdout, found.stderr


@pytest.mark.parametrize(
    "arguments",
    [["--version"], ["inspect", DETECTOR], ["threshold", DETECTOR, "--value", "-1"], ["inspect", "no.anomaly"], ["wash"]],
)
def test_it_prints_and_returns_what_a_process_of_its_own_does(arguments, tmp_path):
    own = subprocess.run([*PLAIN, *map(str, arguments)], capture_output=True, text=True, cwd=tmp_path)
    assert run(*arguments, cwd=tmp_path) == (own.returncode, own.stdout, own.stderr)


def test_it_has_the_streams_the_folder_and_the_environment_of_its_caller(tmp_path):
    code = "import os, sys; print(os.getcwd(), os.environ['THIS'], sys.stdin.read()); sys.exit(7)"
    assert run(CODE, code, cwd=tmp_path, input="said", env={"THIS": "one"}) == (7, f"{tmp_path} one said\n", "")


def test_a_warning_of_a_program_is_an_error_and_has_a_traceback():
    code, _, said = run(CODE, "import warnings; warnings.warn('old')")
    assert code == 1
    assert said.startswith("Traceback") and said.endswith("UserWarning: old\n")


def test_nothing_of_one_command_is_left_for_the_next():
    assert run(CODE, "import anomaly; anomaly.left = 1; import os; os.environ['LEFT'] = '1'")[0] == 0
    assert run(CODE, "import anomaly, os; print(hasattr(anomaly, 'left'), 'LEFT' in os.environ)")[1] == "False False\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_signal_that_ends_a_program_ends_what_stands_in_for_it(number):
    assert run(CODE, f"import os; os.kill(os.getpid(), {number:d})") == (-number, "", "")


def test_where_nothing_is_forked_the_command_is_a_plain_process(tmp_path):
    command = tmp_path / "anomaly"
    command.write_text(_PLAIN_COMMAND.format(python=sys.executable))
    command.chmod(0o755)
    assert result_of(command, "--version")[1].startswith("anomaly, version ")
    assert result_of(command, CODE, "import warnings; warnings.warn('old')")[0] == 1
