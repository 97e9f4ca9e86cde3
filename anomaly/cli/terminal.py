"""What is written for people: on a terminal its lines are folded between words; a pipe and a file get them as they are."""

import os
import shutil
import sys
from typing import TextIO

import click

from anomaly.storage.writing import output_or_stdout
from anomaly.words import folded

_USUAL = (80, 24)


def say(text: str) -> None:
    """Write to standard error."""
    click.echo(_for_people(text, sys.stderr), err=True)


def print_text(text: str) -> None:
    """Write to standard output as it is; a disk that is full is told apart from a pipe that was closed."""
    with output_or_stdout("-") as handle:
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
