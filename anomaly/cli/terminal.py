"""What is written for people: on a terminal its lines are folded between words; a pipe and a file get them as they are."""

import os
import re
import shutil
import sys
from typing import TextIO

import click

from anomaly.cli.waiting import current
from anomaly.storage.writing import output_or_stdout

_USUAL = (80, 24)
# What a fold keeps together: a word, and a command between backticks.
_UNIT = re.compile(r"[^\s`]*`[^`]*`\S*|\S+")
_INDENT = "  "


def say(text: str) -> None:
    """Write to standard error."""
    with current().aside():
        click.echo(_for_people(text, sys.stderr), err=True)


def print_text(text: str) -> None:
    """Write to standard output as it is; a disk that is full is told apart from a pipe that was closed."""
    with current().aside(), output_or_stdout("-") as handle:
        handle.write(text.encode())


def print_words(text: str) -> None:
    """Write to standard output, as `print_text` does."""
    print_text(_for_people(text, sys.stdout))


def terminal_width(stream: TextIO | None = None) -> int | None:
    """Return how many characters a line of a stream has; None where it is no terminal, and any number may be written.

    Args:
        stream: default: standard output.
    """
    stream = stream or sys.stdout
    if not stream.isatty():
        return None
    try:
        size = os.get_terminal_size(stream.fileno())
        own = size.columns, size.lines
    except (OSError, ValueError):
        own = _USUAL
    return shutil.get_terminal_size(own).columns or _USUAL[0]


def _for_people(text: str, stream: TextIO) -> str:
    width = terminal_width(stream)
    return text if width is None else folded(text, width)


def folded(text: str, width: int) -> str:
    """Return text whose lines of words are folded between words; what a line goes on with is indented.

    A command is never broken, neither between backticks nor behind "Next: ": whoever copies it must get all of it. Rows of a
    table, which have two blanks between their cells, stay as they are.

    Args:
        text: of any number of lines.
        width: characters that a line may have; a longer word stands alone.
    """
    return "".join(_folded_line(line, width) for line in text.splitlines(keepends=True))


def _folded_line(line: str, width: int) -> str:
    words = line.strip()
    if len(line.rstrip()) <= width or "  " in words or words.startswith("Next: "):
        return line
    lines = [line[: len(line) - len(line.lstrip())]]
    for n, unit in enumerate(_UNIT.findall(words)):
        blank = " " if n else ""
        if n and len(lines[-1]) + len(blank) + len(unit) > width:
            lines.append(_INDENT + unit)
        else:
            lines[-1] += blank + unit
    return "\n".join(lines) + line[len(line.rstrip()) :]
