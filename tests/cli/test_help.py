"""Help that scans: every option once, in a titled group; examples first; commands in the order of use."""

import ast
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import anomaly
from anomaly.cli import cli
from anomaly.cli.help import FIRST, GROUP_OF, OUTPUT, TITLES, grouped

COMMANDS = list(cli.commands.values())
each_command = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)


def shown(*words):
    result = CliRunner().invoke(cli, [*words, "--help"], terminal_width=80)
    assert result.exit_code == 0
    return result.output


def options_of(command):
    return [param for param in command.params if isinstance(param, click.Option)]


@each_command
def test_every_option_stands_once_in_the_help(command):
    text = re.split(rf"^(?:{FIRST}|{OUTPUT}):$", shown(command.name), maxsplit=1, flags=re.MULTILINE)[1]
    for option in options_of(command):
        flag = max(option.opts, key=len)
        assert len(re.findall(rf"^  (?:-\w, )?(?:--\S+, )?{flag}\b(?!-)", text, re.MULTILINE)) == 1, flag


@each_command
def test_every_option_has_a_group(command):
    assert {option.name for option in options_of(command)} <= set(GROUP_OF)


@each_command
def test_at_most_five_options_come_first_and_each_is_one_of_the_command(command):
    names = [option.name for option in options_of(command)]
    groups = dict(grouped(command.name, names))
    assert len(groups.get(FIRST, ())) <= 5
    assert sorted(name for found in groups.values() for name in found) == sorted(names)


def test_the_groups_of_a_training_come_in_their_order_after_the_examples():
    text = shown("train")
    places = [text.index(f"\n{title}:\n") for title in ("Examples", FIRST, *(title for title in TITLES if title != "Live"))]
    assert places == sorted(places)


@each_command
def test_an_example_calls_its_command(command):
    section = re.search(r"\nExamples:\n((?:  .*\n)+)", shown(command.name))
    lines = section[1].strip().splitlines() if section else []
    assert all(line.split()[:2] == ["anomaly", command.name] for line in lines)
    assert lines


def test_commands_come_in_the_order_of_use_with_their_first_sentence_whole():
    text = shown()
    names = re.findall(r"^  (\w+) {2,}\S", text[text.index("Commands:") :], re.MULTILINE)
    assert names == [command.name for command in COMMANDS]
    assert "..." not in text[text.index("Commands:") :]


def test_every_option_that_a_message_names_is_one_of_some_command():
    """A remedy that does not exist is none. `--` within a format or a name of a module is no option."""
    known = {flag for command in COMMANDS for option in options_of(command) for flag in (*option.opts, *option.secondary_opts)}
    found = {}
    for path in sorted(Path(anomaly.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*[a-z0-9]", node.value))
                found |= dict.fromkeys(named - known - {"--help", "--version"}, path.name)
    assert found == {}
