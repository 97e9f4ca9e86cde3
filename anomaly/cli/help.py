"""Help that scans: examples first, then options in titled groups, those that most people need before all others.

Click lists options in one column in the order of their decorators, and has no groups. rich-click and cloup have them; both style
or replace every part of click's help, for the two methods that are needed here.
"""

import difflib
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields
from inspect import cleandoc
from typing import Any

import click
from click.core import ParameterSource

from anomaly.cli.terminal import say
from anomaly.cli.waiting import Waiting
from anomaly.config import (
    BUDGETS,
    DEFAULTS,
    ContextConfig,
    NetworkConfig,
    PenaltyConfig,
    ReadingConfig,
    ScoringConfig,
    TrainingConfig,
    WindowConfig,
)

DATA, NETWORK, PENALTY, TRAINING = "Data", "Window and network", "Penalty", "Training"
THRESHOLD, LIVE, SERIES, SAFETY, OUTPUT = "Threshold and events", "Live", "Several series", "Safety", "Output and settings"
# In the order of the help, after those that are needed first.
TITLES = (DATA, NETWORK, PENALTY, TRAINING, THRESHOLD, LIVE, SERIES, SAFETY, OUTPUT)
FIRST = "Most needed"
# By command what most people need first, at most five; `anomaly train` has 70 options.
_FIRST = {
    "train": ("model", "train_end", "value_columns", "label_column", "alarms_per_day"),
    "score": ("model", "output", "events", "format", "follow"),
    "detect": ("model", "format", "threshold"),
    "explain": ("model", "event", "top"),
    "threshold": ("alarms_per_day", "value", "labels", "output", "dry_run"),
    "evaluate": ("model", "label_column", "events_file"),
    "plot": ("model", "output", "event", "since", "until"),
    "report": ("model", "output", "label_column", "explain"),
    "dismiss": ("event", "rows", "since", "until", "undo"),
    "export": ("format", "output"),
    "check": ("model", "time_column", "value_columns", "label_column"),
}
_SETTINGS = {
    DATA: (ContextConfig, ReadingConfig),
    NETWORK: (WindowConfig, NetworkConfig),
    PENALTY: (PenaltyConfig,),
    TRAINING: (TrainingConfig,),
    THRESHOLD: (ScoringConfig,),
}
_OTHERS = {
    DATA: (
        "model time_column value_columns ignore_columns label_column train_start train_end exclude since until "
        "count_training events_file on_bad_rows "
        "max_bad_fraction rejects"
    ),
    TRAINING: "start_from refit_scaler old_data resume checkpoint_every",
    THRESHOLD: (
        "aggregation method threshold value labels beta unlabelled rate buffer point_adjust event top explain max_seconds events "
        "all rows reach keep_rows undo"
    ),
    LIVE: "follow input_format state lag reorder metrics_port most_series",
    SERIES: "id_column per_series new_series jobs engine ray_address",
    SAFETY: "strict max_bytes expect_sha256 allow_remote overwrite dry_run",
    OUTPUT: "output format with data_licence title report_json fail_on_anomaly config verbose quiet help",
}
_PREFIX = "ANOMALY"
# Options of which only one may be given, each with what goes together.
_RIVALS: tuple[tuple[tuple[str, ...], ...], ...] = (
    tuple((name,) for name in BUDGETS),
    (("deterministic",), ("max_minutes",)),
    (("label_column",), ("events_file",)),
    (("event",), ("since", "until")),
)
GROUP_OF = {item.name: title for title, groups in _SETTINGS.items() for group in groups for item in fields(group)} | {
    name: title for title, names in _OTHERS.items() for name in names.split()
}


class GroupedCommand(click.Command):
    """A command whose help begins with its examples and shows its options in groups, and that shows that it is at work."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for param in self.params:  # each name of an option has its variable
            if isinstance(param, click.Option) and (names := aliases_of(param)):
                param.envvar = [_variable(_PREFIX, name) for name in names]

    def invoke(self, ctx: click.Context) -> Any:
        """Run it inside of a line that says how far it is."""
        _set_aside_weaker(ctx)
        with Waiting(shows=_is_watched(ctx.params)):
            if not ctx.params.get("quiet"):
                _warn_of_variables(self, ctx)
            return super().invoke(ctx)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the first sentence, the examples, and then the rest."""
        first, *rest = cleandoc(self.help or "").split("\n\n")
        examples = [part for part in rest if part.strip("\b\n ").startswith("anomaly ")]
        self._write_text(formatter, [first])
        if examples:
            with formatter.section("Examples"):
                for line in "\n".join(examples).replace("\b", "").split("\n"):
                    formatter.write("" if not line.strip() else f"  {line.strip()}\n")
        self._write_text(formatter, [part for part in rest if part not in examples])

    @staticmethod
    def _write_text(formatter: click.HelpFormatter, parts: list[str]) -> None:
        if parts:
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text("\n\n".join(parts))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of each group under its title."""
        options = self.get_params(ctx)
        for title, names in grouped(self.name or "", [param.name or "" for param in options]):
            records = [param.get_help_record(ctx) for name in names for param in options if param.name == name]
            shown = [record for record in records if record is not None]
            if shown:
                with formatter.section(title):
                    formatter.write_dl(shown)


class OrderedGroup(click.Group):
    """A group whose help lists its commands in the order of use, each with its first sentence whole."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names as they were added."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a line or two for each command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _first_sentence(command)) for name, command in self.commands.items()])


def grouped(command: str, names: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Return the titles of a command's help, each with the names of its options.

    Args:
        command: its name.
        names: of all its options, as parameters.
    """
    names = list(names)
    first = [name for name in _FIRST.get(command, ()) if name in names]
    groups: dict[str, list[str]] = {FIRST: first} | {title: [] for title in TITLES}
    for name in names:
        if name not in first:
            groups[GROUP_OF.get(name, OUTPUT)].append(name)
    return [(title, found) for title, found in groups.items() if found]


def aliases_of(option: click.Parameter) -> tuple[str, ...]:
    """Return the other names of an option as keys of a TOML file and as variables: those of its further long forms."""
    long = (form[2:].replace("-", "_") for form in option.opts if form.startswith("--"))
    return tuple(name for name in long if name != option.name)


def _variable(prefix: str, name: str | None) -> str:
    return f"{prefix}_{name}".upper()


def _warn_of_variables(command: click.Command, ctx: click.Context) -> None:
    """Say which variable of the environment looks as if it were to set an option of the command, and sets none of any."""
    whole = ctx.find_root().command
    others = whole.commands.values() if isinstance(whole, click.Group) else []
    known = {_variable(_PREFIX, name) for one in (command, *others) for p in one.params for name in (p.name, *aliases_of(p))}
    own = sorted(name.upper() for p in command.params for name in (p.name or "", *aliases_of(p)))
    for variable in sorted(name for name in os.environ if name.startswith(f"{_PREFIX}_") and name not in known):
        said = variable.removeprefix(f"{_PREFIX}_")
        said = said.removeprefix(_variable(str(command.name), ""))  # click's own way to name them
        for near in difflib.get_close_matches(said, own, n=1, cutoff=0.8):
            meant = _variable(_PREFIX, near)
            say(f"Warning: the variable {variable} is no option; it was not looked at. Did you mean {meant}?")


def rank_of(ctx: click.Context, name: str) -> int:
    """Return how much an option counts: more on the command line than in the environment, and there than in a file; 0 by default.

    What the environment has for trainings is not looked at by `anomaly threshold`.
    """
    if ctx.params.get(name) in (None, False):
        return 0
    environment = 0 if ctx.command.name == "threshold" and name in DEFAULTS else 2
    ranks = {ParameterSource.COMMANDLINE: 3, ParameterSource.ENVIRONMENT: environment, ParameterSource.DEFAULT_MAP: 1}
    source = ctx.get_parameter_source(name)
    return 0 if source is None else ranks.get(source, 0)


def _set_aside_weaker(ctx: click.Context) -> None:
    """Let what is said on the command line take the place of what excludes it in the environment or a file, and so on."""
    for ways in _RIVALS:
        ranks = {way: max(rank_of(ctx, name) for name in way) for way in ways}
        weaker = [name for way, rank in ranks.items() if 0 < rank < max(ranks.values()) for name in way if name in ctx.params]
        for option in (param for param in ctx.command.params if param.name in weaker):
            name = str(option.name)
            ctx.params[name] = option.default if option.default == DEFAULTS.get(name) else None
            ctx.set_parameter_source(name, ParameterSource.DEFAULT)


def _is_watched(given: Mapping[str, Any]) -> bool:
    """Tell whether somebody looks at standard error who gets no rows meanwhile: neither live ones, nor as standard output."""
    gets_rows = given.get("follow") or (given.get("output") == "-" and sys.stdout.isatty())
    return sys.stderr.isatty() and not given.get("quiet") and not gets_rows


def _first_sentence(command: Any) -> str:
    return " ".join((command.help or "").split("\n\n")[0].split())
