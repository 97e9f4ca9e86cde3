"""What stands in for a command in the tests of the guides does what the command does."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import PLAIN, place
from forked import _PLAIN_COMMAND, CODE
from heeding import heeding

DETECTOR = Path(__file__).parents[1] / "models" / "demo" / "water_flow.anomaly"


def run(*arguments, **how):
    return result_of(place() / "anomaly", *arguments, **how)


def result_of(command, *arguments, env=None, **how):
    found = subprocess.run([command, *map(str, arguments)], capture_output=True, text=True, env=os.environ | (env or {}), **how)
    return found.returncode, found.stdout, found.stderr


@pytest.mark.parametrize(
    "arguments",
    [["inspect", DETECTOR], ["inspect", "no.anomaly"], ["wash"]],
)
def test_it_prints_and_returns_what_a_process_of_its_own_does(arguments, tmp_path):
    own = subprocess.run([*PLAIN, *map(str, arguments)], capture_output=True, text=True, cwd=tmp_path)
    assert run(*arguments, cwd=tmp_path) == (own.returncode, own.stdout, own.stderr)


def test_it_has_the_streams_the_folder_and_the_environment_of_its_caller(tmp_path):
    code = "import os, sys; print(os.getcwd(), os.environ['THIS'], sys.stdin.read(), sys.argv); sys.exit(7)"
    expected = f"{tmp_path} one said ['-c', 'a', 'b']\n"
    assert run(CODE, code, "a", "b", cwd=tmp_path, input="said", env={"THIS": "one"}) == (7, expected, "")


@pytest.mark.parametrize(
    ("closed", "said"), [("<&-", "[True, False, False]"), (">&-", "[False, True, False]"), ("2>&-", "[False, False, True]")]
)
def test_a_stream_that_is_closed_stays_closed(closed, said, tmp_path):
    code = (
        "import os, sys\n"
        "def is_closed(number):\n"
        "    try: os.fstat(number)\n"
        "    except OSError: return True\n"
        "    return False\n"
        "found = [is_closed(number) for number in range(3)]\n"
        "assert found == [stream is None for stream in (sys.stdin, sys.stdout, sys.stderr)]\n"
        "open('found', 'w').write(str(found))"
    )
    line = f'"$0" {CODE} "$1" {closed}'
    assert subprocess.run(["bash", "-c", line, place() / "anomaly", code], cwd=tmp_path).returncode == 0
    assert (tmp_path / "found").read_text() == said


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_that_is_sent_to_it_reaches_the_program(number):
    heeded = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    code = (
        "import signal, sys, time\n"
        f"for number in {list(map(int, heeded))}: signal.signal(number, lambda number, _: sys.exit(100 + number))\n"
        "print('ready', flush=True)\ntime.sleep(100)"
    )
    with subprocess.Popen(heeding([place() / "anomaly", CODE, code]), stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout.readline() == "ready\n"
        program.send_signal(number)
        assert program.stdout.read() == ""  # which ends when the program has
        assert program.wait(60) == (100 + number if number in heeded else -number)


def test_where_nothing_is_forked_the_command_is_a_plain_process(tmp_path):
    command = tmp_path / "anomaly"
    command.write_text(_PLAIN_COMMAND.format(python=sys.executable))
    command.chmod(0o755)
    assert result_of(command, "--version")[1].startswith("anomaly, version ")
    assert result_of(command, CODE, "import warnings; warnings.warn('old')")[0] == 1
    assert result_of(command, CODE, "import sys; print(sys.argv)", "a")[1] == "['-c', 'a']\n"
