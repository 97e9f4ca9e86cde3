"""What a person sees on a terminal: commands run on a pseudo-terminal of 80 columns, and what they leave on its screen."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios

from commands import command
from forked import CODE

COLUMNS = 80
_CONTROL = re.compile(r"\x1b\[\??([0-9;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")
# All commands in one process: what TensorFlow has started is there for the next.
_RUN = """
import shlex, sys
from anomaly.cli import cli
for command in sys.argv[1:]:
    print("$", command, flush=True)
    try:
        cli(shlex.split(command)[1:], prog_name="anomaly")
    except SystemExit as left:
        print(f"[exit {left.code}]\\n" if left.code else "", flush=True)
"""


def screen_of(commands, folder):
    """Run commands, one after the other, with both outputs on one terminal; return the lines that are left on it."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")} | {"TERM": "xterm"}
    with subprocess.Popen(
        command(CODE, _RUN, *commands), stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, cwd=folder, env=environment
    ) as process:
        os.close(theirs)
        written = b""
        while block := _read(ours):
            written += block
    os.close(ours)
    assert process.returncode == 0
    return lines_on_screen(written.decode())


def _read(terminal):
    try:
        return os.read(terminal, 65_536)
    except OSError:  # how a terminal ends on Linux
        return b""


def lines_on_screen(written):
    """Return the lines that a terminal of any width shows in the end: what was written over, or erased, is gone."""
    lines, row, column = [""], 0, 0
    for number, control, move, text in _CONTROL.findall(written):
        if control == "A":
            row = max(0, row - int(number or 1))
        elif control == "K":
            lines[row] = "" if number == "2" else lines[row][:column]
        elif move == "\r":
            column = 0
        elif move == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif text:
            lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + len(text) :]
            column += len(text)
    return [line.rstrip() for line in lines]
