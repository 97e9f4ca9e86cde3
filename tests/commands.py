"""The command line in a process of its own, and what a file is scored to."""

import os
import subprocess
import sys


def run(*arguments, code=0, stdin=None, env=None, cwd=None):
    """Run `anomaly` in a process of its own; check its exit code, and that it never shows a traceback."""
    result = subprocess.run(
        [sys.executable, "-m", "anomaly", *map(str, arguments)],
        capture_output=True,
        input=stdin,
        text=True,
        env=os.environ | (env or {}),
        cwd=cwd,
    )
    assert "Traceback" not in result.stderr, result.stderr
    assert result.returncode == code, result.stderr
    return result
