"""What one setting means and may be: its kind, its limits, its help; a value of another kind turned into it, and its check."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeGuard, cast

from anomaly.errors import ConfigError
from anomaly.limits import are_limits, limits_text
from anomaly.names import are_names, names_in


@dataclass(frozen=True)
class Setting:
    """What one setting means and may be.

    Attributes:
        kind: `int`, `float`, `bool`, `str` (one of `choices`, or text by `check`) or `tuple` (numbers, or rows of numbers; or
            what `check` allows).
        help: one line for `--help`.
        low: smallest allowed value; None for no limit.
        high: largest allowed value; None for no limit.
        above: the value must be greater than this; None for no limit.
        below: the value must be less than this; None for no limit.
        choices: the allowed strings of a `str` setting.
        check: tells the allowed strings of a `str` setting without choices, or the allowed tuples.
        noun: says in words what `check` allows.
        near: says what may have been meant instead of a string that `check` does not allow.
        alias: a shorter name of the option.
        auto: whether the string "auto" is allowed too.
        optional: whether None is allowed too.
    """

    kind: type
    help: str
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    check: Callable[[object], bool] | None = None
    noun: str = ""
    near: Callable[[object], str] | None = None
    alias: str = ""
    auto: bool = False
    optional: bool = False

    def rule(self) -> str:
        """Say in words what is allowed, for messages."""
        if self.choices:
            return "one of " + ", ".join(("auto", *self.choices) if self.auto else self.choices)
        if self.check:
            return self.noun
        nouns = {int: "an integer", float: "a number", bool: "true or false", tuple: "a list of finite numbers"}
        limits = [
            f"{text} {int(limit) if limit == int(limit) else limit:,}"
            for text, limit in (
                ("at least", self.low),
                ("above", self.above),
                ("at most", self.high),
                ("below", self.below),
            )
            if limit is not None
        ]
        rule = " ".join([nouns[self.kind], " and ".join(limits)]).strip()
        return rule + (" or 'auto'" if self.auto else "")

    def allows(self, value: object) -> bool:
        """Tell whether `value` obeys the rule."""
        if (self.optional and value is None) or (self.auto and value == "auto"):
            return True
        if self.check is not None:
            return self.check(value)
        if self.kind is tuple:
            return isinstance(value, tuple) and _is_vector(value)
        if self.kind is str:
            return value in self.choices
        if self.kind is bool:
            return isinstance(value, bool)
        return is_number(value) and (self.kind is float or value == int(value)) and self._within(value)

    def hint(self, value: object) -> str:
        """Say what may have been meant instead of a value that is not allowed; empty if nobody knows."""
        return f" {self.near(value)}" if self.near else ""

    def _within(self, value: float) -> bool:
        return (
            (self.low is None or value >= self.low)
            and (self.above is None or value > self.above)
            and (self.high is None or value <= self.high)
            and (self.below is None or value < self.below)
        )


def is_number(value: object) -> TypeGuard[int | float]:
    """Accept what fits a finite float; true and false are not numbers."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _is_vector(value: tuple[Any, ...]) -> bool:
    """Accept numbers, or equally long rows of numbers."""
    rows = value if all(isinstance(row, tuple) for row in value) else (value,)
    return len({len(row) for row in rows}) == 1 and all(row and all(is_number(x) for x in row) for row in rows)


def as_kind(setting: Setting, value: Any) -> Any:
    """Turn what TOML, JSON or numpy hold (lists, integers for numbers) into the declared kind."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if setting.check is are_limits and isinstance(value, Mapping):
        return limits_text(value)
    if setting.check is are_names and isinstance(value, str):
        return tuple(names_in(value))
    if setting.kind is tuple and isinstance(value, (list, tuple)):
        return _as_tuple(value)
    if setting.kind in (int, float) and is_number(value):
        return setting.kind(value) if setting.kind(value) == value else value
    return value


def _as_tuple(value: Any) -> Any:
    """Turn lists into tuples and numbers into floats, at any depth; the rule refuses the rest."""
    if isinstance(value, (list, tuple)):
        return tuple(_as_tuple(item) for item in value)
    return float(value) if is_number(value) else value


def check(config: object) -> None:
    """Refuse the first value of a group of settings that its rule does not allow.

    Raises:
        ConfigError: with the rule, the value, and what may have been meant.
    """
    for item in fields(cast(Any, config)):
        value, rule = getattr(config, item.name), item.metadata["setting"]
        if not rule.allows(value):
            raise ConfigError(f"`{item.name}` must be {rule.rule()}. Received: {item.name}={value!r}.{rule.hint(value)}")
