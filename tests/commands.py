"""The command line in a process of its own, or in this one."""

import contextlib
import functools
import io
import os
import subprocess
import sys

from forked import Forks

PLAIN = [sys.executable, "-m", "anomaly"]  # a process that imports everything anew
_ENVIRONMENT = dict(os.environ)  # before any test changes it
_UNTIL_THE_END = contextlib.ExitStack()
_start = {"place": lambda: _UNTIL_THE_END.enter_context(Forks(_ENVIRONMENT)).folder}


@functools.cache
def place():
    """Return the folder of a command `anomaly` which a process forks that has imported everything; the session has one."""
    return _start["place"]()


def place_from(ask):
    """Have `place` ask another process, which starts it and ends it."""
    _start["place"] = ask


def end():
    """End what `place` started."""
    _UNTIL_THE_END.close()
    place.cache_clear()


def command(*arguments):
    """Return a command in a process of its own, to be run to its end."""
    return [str(place() / "anomaly"), *map(str, arguments)]


def run(*arguments, code=0, stdin=None, env=None, cwd=None):
    """Run `anomaly` in a process of its own; check its exit code, and that it never shows a traceback."""
    result = subprocess.run(command(*arguments), capture_output=True, input=stdin, text=True, env=os.environ | (env or {}), cwd=cwd)
    assert "Traceback" not in result.stderr, result.stderr
    assert result.returncode == code, result.stderr
    return result


def here(*arguments, code=0, stdin=None, env=None, cwd=None):
    """Run `anomaly` as `run` does, in this process: what TensorFlow has traced for one command is there for the next.

    For what does not depend on the process: its streams are no files, no signal reaches it, and all is imported.
    """
    from click.testing import CliRunner

    from anomaly.cli import cli

    given = io.BufferedReader(io.BytesIO((stdin or "").encode()))
    with contextlib.chdir(cwd or os.curdir):
        result = CliRunner().invoke(cli, list(map(str, arguments)), input=given, env=env, prog_name="anomaly")
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.stderr
    return subprocess.CompletedProcess(arguments, code, result.stdout, result.stderr)
