"""Command-line options made from the settings, so that name, default, range and help stand in one place."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import date, time
from decimal import Decimal
from pathlib import PurePath
from typing import Any

import click

from anomaly.cli.help import aliases_of
from anomaly.config import DEFAULTS, FIGURES, SETTINGS, read_toml, refuse_unknown
from anomaly.errors import ConfigError
from anomaly.names import are_names, names_in
from anomaly.setting import Setting

Command = Callable[..., Any]


class SettingType(click.ParamType[Any]):
    """Convert and check the text of one setting."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        kinds = {int: "integer", float: "number", str: setting.alias or "text", tuple: "file|list"}
        self.name = "names" if setting.check is are_names else kinds[setting.kind]

    @property
    def is_text(self) -> bool:
        """Whether the value is one text."""
        return self._setting.kind is str

    @property
    def takes_list(self) -> bool:
        """Whether a list may stand for the text."""
        return self._setting.kind is tuple

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Show the choices, or the kind."""
        if self._setting.choices:
            return f"[{'|'.join(self._words())}]"
        return self.name.upper() + ("|auto" if self._setting.auto else "")

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Offer the choices."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(choice) for choice in self._words() if choice.startswith(incomplete)]

    def _words(self) -> tuple[str, ...]:
        return (("auto",) if self._setting.auto else ()) + self._setting.choices

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn text (or what a TOML file holds) into a value that obeys the rule."""
        converted = self._parse(value, param)
        if not self._setting.allows(converted):
            self.fail(f"must be {self._setting.rule()}. Received: {value}.{self._setting.hint(value)}", param, ctx)
        return converted

    @staticmethod
    def _read_direction(text: str, param: click.Parameter | None) -> tuple[Any, ...]:
        return read_direction(text) if param is None or param.name is None else read_direction(text, param.name)

    def _parse(self, value: Any, param: click.Parameter | None) -> Any:
        if self._setting.kind is tuple:
            if isinstance(value, str):
                return tuple(names_in(value)) if self._setting.check is are_names else self._read_direction(value, param)
            return tuple(tuple(row) if isinstance(row, list) else row for row in value) if isinstance(value, list) else value
        if isinstance(value, str) and value != "auto" and self._setting.kind in (int, float):
            try:
                return self._setting.kind(value)
            except ValueError:
                return value
        return value


def read_direction(text: str, name: str = "direction") -> tuple[Any, ...]:
    """Read one number a feature: "1,0,-1", or the path of a CSV file of numbers without header.

    Args:
        text: which numbers.
        name: of the setting, for messages.

    Returns:
        One number a feature, or for a file of several lines one row of them a timestep.

    Raises:
        ConfigError: if it is neither.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        pass
    try:
        with open(text, encoding="utf-8") as handle:
            rows = [tuple(float(cell) for cell in line.split(",")) for line in handle if line.strip()]
        if len({len(row) for row in rows}) != 1:
            raise ValueError("its lines must hold equally many numbers")
    except (OSError, ValueError) as error:
        reason = (error.strerror or "") if isinstance(error, OSError) else str(error)
        raise ConfigError(
            f"`{name}` must be numbers separated by commas, or a file of them. Received: {text!r} ({reason}). "
            "Write one number a feature, such as 1,0,-1."
        ) from error
    return rows[0] if len(rows) == 1 else tuple(rows)


def settings_options(*groups: Any) -> Callable[[Command], Command]:
    """Add an option for every setting of the given groups of `anomaly.config`."""

    def decorate(command: Command) -> Command:
        for name in reversed([item.name for group in groups for item in fields(group)]):
            command = _option(name)(command)
        return command

    return decorate


def change_options(*names: str) -> Callable[[Command], Command]:
    """Add options that change settings; one that is not given is None and changes nothing."""

    def decorate(command: Command) -> Command:
        for name in reversed(names):
            command = click.option(*_flags(name), name, type=SettingType(SETTINGS[name]), help=SETTINGS[name].help)(command)
        return command

    return decorate


def _flags(name: str) -> tuple[str, ...]:
    """Return the option of a setting, after its shorter form if it has one."""
    alias = SETTINGS[name].alias
    return (*([f"--{alias}"] if alias else []), f"--{name.replace('_', '-')}")


def _option(name: str) -> Callable[[Command], Command]:
    setting, flags = SETTINGS[name], _flags(name)
    if setting.kind is bool:
        return click.option(*flags, is_flag=True, default=DEFAULTS[name], help=setting.help)
    shown = DEFAULTS[name] is not None
    return click.option(*flags, name, type=SettingType(setting), default=DEFAULTS[name], show_default=shown, help=setting.help)


def config_option(command: Command) -> Command:
    """Add `--config FILE.toml`, whose keys are option names; the command line and the environment win over it."""
    return click.option(
        "--config",
        type=click.Path(dir_okay=False),
        is_eager=True,
        expose_value=False,
        callback=_apply_config,
        help="TOML file whose keys are option names with underscores.",
    )(command)


def _apply_config(ctx: click.Context, param: click.Parameter, path: str | None) -> None:
    if path is None:
        return
    values, options = read_toml(path), _all_options(ctx)
    own = {str(p.name): p for p in ctx.command.params if isinstance(p, click.Option)}
    names = {key: name for name, option in options.items() for key in (*aliases_of(option), name)}
    refuse_unknown(values, names, f"key in {path}")
    if "config" in values:
        raise ConfigError(
            f"A configuration file must not name another one. Received: config = {values['config']!r} ({path}). "
            "Name one file with --config."
        )
    found: dict[str, Any] = {}
    for key, value in values.items():
        if (name := names[key]) in found:
            both = " and ".join(other for other in values if names[other] == name)
            raise ConfigError(f"An option must be given once. Received: {both} ({path}). Leave one of them out.")
        found[name] = _taken(own[name], key, value, path) if name in own else value
    ctx.default_map = {**found, **(ctx.default_map or {})}


# Texts that hold several things separated by commas, for which a list may stand.
_JOINED = ("missing_values", "min_deviation", "exclude")


def _taken(option: click.Option, key: str, value: Any, path: str) -> Any:
    """Return a value of a TOML file as click takes it; refuse one of another kind than the option's."""
    where = f"Received: {key} = {value!r} ({path})."
    if option.is_flag != isinstance(value, bool):
        kind = "true or false" if option.is_flag else "a number, a text or a list"
        raise ConfigError(f"`{key}` must be {kind}. {where}")
    is_text = isinstance(option.type, click.Path | click.Choice | click.types.StringParamType)
    is_text |= isinstance(option.type, SettingType) and option.type.is_text
    if isinstance(value, date | time):  # of TOML, without quotes
        if not is_text:
            raise ConfigError(f"`{key}` must be a number, a text or a list. {where}")
        return value.isoformat()
    if not isinstance(value, list):
        value = str(value) if is_text else value
        return [value] if option.multiple else value
    if option.name in _JOINED and all(isinstance(part, str | int | float) for part in value):
        return ",".join(map(str, value))
    if not option.multiple and not getattr(option.type, "takes_list", False):
        raise ConfigError(f"`{key}` must be {'a text' if is_text else 'a number'}, and no list. {where} Write one.")
    return value


def _all_options(ctx: click.Context) -> dict[str, click.Option]:
    """Return the options of every command: one file may serve them all, and each takes what it has."""
    group = ctx.parent.command if ctx.parent else ctx.command
    commands: Mapping[str, click.Command] = getattr(group, "commands", {})
    return {str(p.name): p for c in commands.values() for p in c.params if isinstance(p, click.Option)}


def _limits_text(limits: Any) -> str:
    """Say what a range of click allows."""
    least, most = (" above " if limits.min_open else " at least "), (" below " if limits.max_open else " at most ")
    ends = [f"{word.strip()} {end:g}" for word, end in ((least, limits.min), (most, limits.max)) if end is not None]
    return " " + " and ".join(ends) if ends else ""


class WholeRange(click.IntRange):
    """A whole number in a range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read a whole number; what is written otherwise is refused with its digits."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            text = str(value)[:40]
            whole = re.fullmatch(r"\d{1,9}(?:\.0+|[eE]\+?\d)", text, re.ASCII)
            remedy = f" Write {int(float(text))}." if whole else ""
            self.fail(f"must be a whole number{_limits_text(self)}. Received: {text!r}.{remedy}", param, ctx)


class FiniteRange(click.FloatRange):
    """A number in a range; infinity and NaN, which no range keeps out, are none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read a finite number."""
        try:
            number = super().convert(value, param, ctx)
        except click.BadParameter:
            text = str(value)[:40]
            share = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*%\s*", text, re.ASCII)
            remedy = f" Write {Decimal(share[1]) / 100}." if share else ""
            self.fail(f"must be a number{_limits_text(self)}. Received: {text!r}.{remedy}", param, ctx)
        if not math.isfinite(number):
            self.fail(f"must be a finite number. Received: {str(value)[:40]!r}.", param, ctx)
        return number


class ByteSize(click.ParamType[int]):
    """A number of bytes: 1000000, 500kB, 2GB, 1.5GiB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read a number with its unit; kB is 1,000 bytes and KiB 1,024."""
        parts = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,6})?)\s*(?:([kmgt])(i?))?b?\s*", str(value).lower(), re.ASCII)
        unit = (1024 if parts[3] else 1000) ** "kmgt".index(parts[2]) * (1024 if parts[3] else 1000) if parts and parts[2] else 1
        size = int(Decimal(parts[1]) * unit) if parts and not isinstance(value, bool) else 0
        if size < 1:
            self.fail(f"must be a number of bytes from 1, such as 500MB or 2GiB. Received: {str(value)[:40]!r}.", param, ctx)
        return size


class Figures(click.ParamType[tuple[str, ...]]):
    """What is written of each feature behind the scores: words separated by commas."""

    name, takes_list = "words", True

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Split text; a list passes."""
        words = [word.strip() for word in value.split(",")] if isinstance(value, str) else value
        if not isinstance(words, list | tuple) or not words or any(word not in FIGURES for word in words):
            self.fail(f"must be of {', '.join(FIGURES)}, separated by commas. Received: {value}.", param, ctx)
        return tuple(word for word in FIGURES if word in words)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Offer the words that are not there yet."""
        from click.shell_completion import CompletionItem

        before, comma, last = incomplete.rpartition(",")
        left = [word for word in FIGURES if word not in before.split(",") and word.startswith(last)]
        return [CompletionItem(f"{before}{comma}{word}") for word in left]


class EventsPath(click.Path):
    """A file for events, whose name says how they are written: .jsonl or .csv; without an end, as a pipe, it gets CSV."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse the name of a file of another kind."""
        if (end := PurePath(str(value)).suffix.lower()) not in ("", ".csv", ".jsonl"):
            self.fail(f"must end in .csv or .jsonl, which says how they are written. Received: {end}.", param, ctx)
        return super().convert(value, param, ctx)


class NameList(click.ParamType[list[str]]):
    """Names separated by commas; one that holds a comma stands in double quotes."""

    name, takes_list = "names", True

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """Split text; a list passes."""
        names = names_in(value) if isinstance(value, str) else value
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            self.fail(f"must be names separated by commas, or a list of them. Received: {value!r}.", param, ctx)
        return [name.strip() for name in names]
