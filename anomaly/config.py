"""Every setting of a detector: its name, default, range and help, in this one place.

A setting has one name everywhere. `penalty_weight` below is the keyword of `Detector`, the option
`--penalty-weight`, the key `penalty_weight` of a TOML file, the variable `ANOMALY_PENALTY_WEIGHT`
and the key in a bundle.
"""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from anomaly.errors import ConfigError
from anomaly.limits import are_limits
from anomaly.names import are_names
from anomaly.setting import Setting, as_kind
from anomaly.setting import check as _check
from anomaly.zones import are_tokens, is_delimiter, is_time_format, is_zone, near_zones

PENALTIES = ("none", "l2", "l1", "directional", "hinge")
PENALTY_METHODS = ("exact", "two_pass")
# What a record may be written as, by what it was read from.
OUTPUT_FORMATS = {"csv": ("csv", "jsonl"), "jsonl": ("jsonl",), "influx": ("influx",)}
# What can be written of each feature behind the scores, see `anomaly.scoring.bands`.
FIGURES = ("expected", "band", "by-feature")
AGGREGATIONS = ("combined", "window_mean", "point_mean", "trailing", "trailing_point")
THRESHOLD_METHODS = ("alarm_budget", "quantile", "conformal", "k_sigma", "mad", "pot")
OUTPUT_ORDERS = ("forward", "reversed")
# The ways to ask for alarms, and what each is where it is not asked for: of them one takes the place of another.
BUDGETS = {"alarms_per_day": "auto", "alarms_per_week": None, "alarms_per_1000_rows": None}
# What the network reads of the time stamps: nothing, the time of day, or that and the day of the week.
CALENDARS = ("none", "day", "week")
# For each setting that belongs to some threshold methods: these. Given alone to `anomaly threshold` it means the first of them.
SPEAKS_TO = {
    "alarms_per_day": ("alarm_budget",),
    "alarms_per_1000_rows": ("alarm_budget",),
    "alarms_per_week": ("alarm_budget",),
    "alarm_rate": ("quantile", "conformal", "pot"),
    "sigmas": ("k_sigma", "mad"),
}
# What becomes of a local time that a shift of the clocks repeats or leaves out.
CLOCK_SHIFTS = ("refuse", "first", "last", "order")

Auto = Literal["auto"]
Vector = tuple[float, ...] | tuple[tuple[float, ...], ...]


def _setting(default: object, kind: type, help: str, **limits: Any) -> Any:  # noqa: A002 - click's word for it
    return field(default=default, metadata={"setting": Setting(kind, help, **limits)})


@dataclass(frozen=True, kw_only=True)
class ReadingConfig:
    """How a file is read."""

    timezone: str = _setting(
        "UTC",
        str,
        "Time zone of times without an offset from UTC, such as Europe/Berlin.",
        check=is_zone,
        noun="the name of a time zone, such as Europe/Berlin",
        near=near_zones,
        alias="tz",
    )
    dst: str = _setting(
        "refuse",
        str,
        "A local time that a shift of the clocks repeats or leaves out: refuse it, or read it with the first or last offset, or a "
        "repeated one by the order of the rows.",
        choices=CLOCK_SHIFTS,
    )
    time_format: str | None = _setting(
        None,
        str,
        "Format of the times, as for strptime, such as %d/%m/%Y %H:%M; excel for its days, epoch for numbers since 1970, "
        "excel-1904, epoch-1904 and epoch-2001 for those since 1904 and 2001; default: told from the file.",
        check=is_time_format,
        noun="a strptime format with year, month and day, such as %d/%m/%Y %H:%M, or excel, or epoch",
        optional=True,
    )
    delimiter: str | None = _setting(
        None, str, "What separates the fields of CSV text: one character, or tab; default: told from the file.",
        check=is_delimiter, noun="one character that is no quote, digit, letter or blank, or the word tab", optional=True,
    )  # fmt: skip
    decimal: str | None = _setting(
        None, str, "Decimal mark of the numbers; default: told from the file.", choices=(".", ","), optional=True
    )
    thousands: str | None = _setting(
        None, str, "Mark between thousands, ' ' for any kind of blank; default: told from the file.", choices=(".", ",", "'", " "),
        optional=True,
    )  # fmt: skip
    missing_values: str | None = _setting(
        None, str, "Texts or exact numbers that stand for a missing value, beside the usual ones: -9999,off. 'none' for no others.",
        check=are_tokens, noun="texts separated by commas, none of them empty", optional=True,
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Refuse a value that its rule does not allow."""
        _check(self)


@dataclass(frozen=True, kw_only=True)
class ContextConfig:
    """What the network reads and is not judged by; `anomaly.windowing.context` has it as numbers."""

    context_columns: tuple[str, ...] | None = _setting(
        None, tuple, "Columns that the network reads with the features and that are never judged, such as a load that drives "
        "them; default: none.", check=are_names, noun="names that differ, at least one: load,season", optional=True,
    )  # fmt: skip
    calendar: str = _setting(
        "none", str, "Let the network read the time of day, or that and the day of the week, from the time stamps, in UTC: for "
        "many weeks of history.", choices=CALENDARS,
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Refuse a value that its rule does not allow."""
        _check(self)


@dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """How a series is cut into windows."""

    window_size: int | Auto = _setting(
        "auto",
        int,
        "Timesteps in a window; auto: two dominant periods, from 128 to 512, fewer if the series has no room.",
        low=2,
        high=10_000,
        auto=True,
    )
    stride: int | Auto = _setting(
        "auto", int, "Timesteps between training windows; auto: about 4,096 windows an epoch.", low=1, high=10_000, auto=True
    )
    max_gap: float | Auto = _setting(
        "auto",
        float,
        "Longest time between two rows of one window, in steps; auto: 10, and a regular series has missing rows in between.",
        low=1,
        high=1_000_000,
        auto=True,
    )
    max_missing: float = _setting(
        0.2,
        float,
        "Most of a feature's values in a window that may be missing, a share; a window needs half of the features.",
        low=0,
        below=1,
    )
    scoring_stride: int | Auto = _setting(
        "auto",
        int,
        "Rows between the windows that score a row, where a score looks ahead; auto: at most a 16th of a window, without a common "
        "factor with the pooling; 1: every window.",
        low=1,
        high=10_000,
        auto=True,
    )
    nearest_windows: int = _setting(
        512, int, "Most training windows with which each window is compared too, for its shape and for one odd feature; "
        "0: the network alone.", low=0, high=4_096,
    )  # fmt: skip
    set_aside: str | Auto = _setting(
        "auto", str, "Stretches of the history that are unlike all the rest of it, and badly reconstructed; auto: they are no "
        "example of what is normal; none: all of the history is.", choices=("none",), auto=True,
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Refuse a value that its rule does not allow."""
        _check(self)


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """The shape of the autoencoder."""

    units: int = _setting(32, int, "Units of each LSTM layer.", low=1, high=4_096)
    layers: int = _setting(1, int, "LSTM layers in the encoder, and as many in the decoder.", low=1, high=3)
    bidirectional: bool = _setting(False, bool, "Let the encoder read the window in both directions.")
    code_size: int | None = _setting(
        None, int, "Size of a narrower code between encoder and decoder; default: none.", low=1, high=4_096, optional=True
    )
    output_order: str = _setting("reversed", str, "Order in which the decoder emits the timesteps.", choices=OUTPUT_ORDERS)
    pooling: int | Auto = _setting(
        "auto",
        int,
        "Rows whose mean is one timestep of the network, all get its output; auto: as many as leave it the timesteps.",
        low=1,
        high=1_000,
        auto=True,
    )
    timesteps: int = _setting(
        64, int, "Least timesteps of the network where pooling is auto, and the window has so many rows.", low=1, high=10_000
    )
    dropout: float = _setting(0.0, float, "Share of the code and of each hidden layer dropped in training.", low=0, below=1)
    input_noise: float = _setting(
        0.0, float, "Standard deviation of the noise added to training input, in training sigmas.", low=0, high=1
    )

    def __post_init__(self) -> None:
        """Refuse a value that its rule does not allow."""
        _check(self)


@dataclass(frozen=True, kw_only=True)
class PenaltyConfig:
    """The input-gradient smoothness penalty; `anomaly.training.penalty` has the equations."""

    penalty: str = _setting("l2", str, "Form of the input-gradient penalty.", choices=PENALTIES)
    penalty_weight: float = _setting(0.01, float, "Weight of the penalty in the training loss.", low=0)
    penalty_method: str = _setting(
        "auto", str, "How the penalty is differentiated by the weights; auto: two_pass, or exact for the directional form.",
        choices=PENALTY_METHODS, auto=True,
    )  # fmt: skip
    penalty_every: int = _setting(4, int, "Apply the penalty on every k-th step only, with k times the weight.", low=1, high=1_000)
    direction: Vector | None = _setting(
        None, tuple, "Preferred direction of the directional penalty: one number a feature, or a row of them a timestep.",
        optional=True,
    )  # fmt: skip
    penalty_threshold: float = _setting(
        1.0, float, "Magnitude above which the hinge penalty begins: mean absolute input gradient, in units of the error.", low=0
    )

    def __post_init__(self) -> None:
        """Refuse a value that its rule does not allow, and a directional penalty without a direction."""
        _check(self)
        if self.penalty == "directional" and self.direction is None:
            raise ConfigError(
                "`direction` must be given with penalty='directional', one number for each feature. "
                "Received: direction=None. Use --direction 1,0,-1 or a CSV file of numbers."
            )
        if self.direction is not None and not any(x for row in self.direction for x in (row if isinstance(row, tuple) else (row,))):
            raise ConfigError(
                "`direction` must have a number other than 0. "
                f"Received: direction={self.direction!r}. Use 1 or -1 for the features that matter."
            )


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The fit loop."""

    epochs: int | Auto = _setting("auto", int, "Most epochs; auto: 24, or 40 of several features.", low=1, high=100_000, auto=True)
    steps_per_epoch: int | Auto = _setting(
        "auto", int, "Batches in an epoch; auto: as many as see every window once, from 25 to 50.", low=1, high=1_000_000, auto=True
    )
    batch_size: int | Auto = _setting(
        "auto", int, "Windows in a training step; auto: 32, or 64 of several features.", low=1, high=65_536, auto=True
    )
    learning_rate: float = _setting(
        3e-3, float, "Adam's learning rate at the start; it falls to a twentieth along a half cosine.", above=0
    )
    silent_windows: float = _setting(
        0.5, float, "Share of the training windows in which features are made silent, so that a dead sensor raises no alarms "
        "about its neighbours; for several features.", low=0, high=1,
    )  # fmt: skip
    clip_norm: float = _setting(1.0, float, "Largest global norm of a gradient; longer ones are scaled down.", above=0)
    patience: int = _setting(8, int, "Epochs without a better validation loss before training stops.", low=1, high=100_000)
    validation_fraction: float = _setting(
        0.2, float, "Share of the training rows, the last in time, held out for stopping and calibration.",
        above=0, below=1,
    )  # fmt: skip
    seed: int | None = _setting(
        None, int, "Seed of everything random; default: drawn, and kept in the bundle.", low=0, high=2**32 - 1, optional=True
    )
    max_minutes: float | None = _setting(
        None, float, "End the training after this time; the learning rate falls in step with it; default: no limit.",
        above=0, optional=True,
    )  # fmt: skip
    deterministic: bool = _setting(False, bool, "Repeat bit for bit on the same machine with the same seed.")

    def __post_init__(self) -> None:
        """Refuse a value that its rule does not allow, and two that exclude each other."""
        _check(self)
        if self.deterministic and self.max_minutes is not None:
            raise ConfigError(
                "`max_minutes` must not be set where training is to repeat bit for bit: how far it comes depends on the machine. "
                f"Received: max_minutes={self.max_minutes:g} with deterministic=True. Leave one of them out."
            )


# No peak is so many thresholds high.
NEVER = 1e6


@dataclass(frozen=True, kw_only=True)
class ScoringConfig:
    """From reconstruction error to scores, flags and events."""

    aggregation: str = _setting("combined", str, "How overlapping windows become one score a row.", choices=AGGREGATIONS)
    threshold_method: str = _setting(
        "alarm_budget", str, "How the threshold comes from the scores of the training series.", choices=THRESHOLD_METHODS
    )
    alarms_per_day: float | Auto = _setting(
        "auto",
        float,
        "Most alarms on normal data for method alarm_budget; auto: one in 1,000 rows, at most one a day, "
        "at least one in 10,000 rows.",
        low=1e-6,
        high=100_000,
        auto=True,
    )
    alarms_per_1000_rows: float | None = _setting(
        None, float, "The same, counted in rows, for series with or without times; default: none.",
        low=1e-6, high=1_000, optional=True,
    )  # fmt: skip
    alarms_per_week: float | None = _setting(
        None, float, "The same as --alarms-per-day, by the week; default: none.", low=1e-6, high=700_000, optional=True
    )
    alarm_rate: float = _setting(
        0.005, float, "Share of normal rows that may be flagged, for methods quantile, conformal and pot.", above=0, below=1
    )
    sigmas: float = _setting(4.0, float, "Distance from the centre of the scores, for methods k_sigma and mad.", above=0)
    merge_gap: int | Auto = _setting(
        "auto", int, "Unflagged rows that may lie inside one event; auto: a window.", low=0, high=1_000_000, auto=True
    )
    min_length: int | Auto = _setting(
        "auto", int, "Fewest rows of an event; auto: a 20th of a window.", low=1, high=1_000_000, auto=True
    )
    short_severity: float = _setting(
        1.5, float, "An event of fewer rows counts all the same if its peak is above this many thresholds.", low=1, high=NEVER
    )
    min_severity: float = _setting(1.0, float, "An event's peak must be above this many thresholds.", low=1, high=NEVER)
    min_deviation: str | None = _setting(
        None, str, "A feature must deviate so far in one row of an event, in its own unit or a share of what was expected: "
        "flow=0.5,temp=2%; default: no limit.",
        check=are_limits, noun="features with a number above 0, or a share such as 2%, each: flow=0.5,temp=2%", optional=True,
    )  # fmt: skip
    cool_down: int = _setting(0, int, "Rows after an event in which no new one is raised.", low=0, high=1_000_000)
    alarm_direction: Vector | None = _setting(
        None, tuple, "One number a feature: 1 raises events only upwards, -1 only downwards, 0 both; default: both.", optional=True
    )

    def __post_init__(self) -> None:
        """Refuse a value that its rule does not allow, and two that exclude each other."""
        _check(self)
        asked = {
            "alarms_per_day": (None if self.alarms_per_day == "auto" else self.alarms_per_day, "a day"),
            "alarms_per_week": (self.alarms_per_week, "a week"),
            "alarms_per_1000_rows": (self.alarms_per_1000_rows, "in 1,000 rows"),
        }
        given = {name: f"{number:g} {unit}" for name, (number, unit) in asked.items() if number is not None}
        if len(given) > 1:
            names = " and ".join(f"`{name}`" for name in given)
            raise ConfigError(
                f"{names} must not be given together. Received: {' and '.join(given.values())}. Leave one of them out."
            )
        if self.alarm_direction is not None and any(isinstance(x, tuple) for x in self.alarm_direction):
            raise ConfigError(
                "`alarm_direction` must be one number a feature. "
                f"Received: alarm_direction={self.alarm_direction!r}. Write 1, -1 or 0 for each."
            )


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """All settings, in the groups that the modules take."""

    windows: WindowConfig = WindowConfig()
    network: NetworkConfig = NetworkConfig()
    penalty: PenaltyConfig = PenaltyConfig()
    training: TrainingConfig = TrainingConfig()
    scoring: ScoringConfig = ScoringConfig()
    reading: ReadingConfig = ReadingConfig()
    context: ContextConfig = ContextConfig()

    @classmethod
    def from_settings(cls, settings: Mapping[str, object]) -> "DetectorConfig":
        """Build from flat names and values; what is not named keeps its default.

        Raises:
            ConfigError: if a name is unknown or a value breaks its rule.
        """
        refuse_unknown(settings, SETTINGS, "setting")
        values = {name: as_kind(SETTINGS[name], value) for name, value in settings.items()}
        groups = {
            group.name: group_class(**{f.name: values[f.name] for f in fields(group_class) if f.name in values})
            for group, group_class in _groups()
        }
        return cls(**groups)

    @classmethod
    def chosen(cls, settings: Mapping[str, object]) -> "DetectorConfig":
        """Build what somebody has chosen: as `from_settings`, and refuse what says nothing to the threshold method."""
        config = cls.from_settings(settings)
        refuse_unheard(settings, config.scoring.threshold_method)
        return config

    def to_settings(self) -> dict[str, Any]:
        """Return flat names and values, the inverse of `from_settings`."""
        return {f.name: getattr(getattr(self, g.name), f.name) for g, group_class in _groups() for f in fields(group_class)}


def _groups() -> list[tuple["Field[Any]", Any]]:
    return [(group, group.type) for group in fields(DetectorConfig)]


SETTINGS: dict[str, Setting] = {f.name: f.metadata["setting"] for _, group_class in _groups() for f in fields(group_class)}
DEFAULTS: dict[str, Any] = {f.name: f.default for _, group_class in _groups() for f in fields(group_class)}


def unheard(settings: Mapping[str, object], method: object) -> dict[str, Any]:
    """Return the settings, other than their defaults, that a threshold method does not look at, with these defaults."""
    others = (name for name, methods in SPEAKS_TO.items() if method not in methods and name in settings)
    return {name: DEFAULTS[name] for name in others if settings[name] != DEFAULTS[name]}


def refuse_unheard(settings: Mapping[str, object], method: object) -> None:
    """Raise `ConfigError` for the first setting that says nothing to a threshold method."""
    for name in unheard(settings, method):
        raise ConfigError(
            f"`{name}` must go with the threshold method {' or '.join(SPEAKS_TO[name])}. "
            f"Received: {name}={settings[name]!r} with {method}. Choose another method, or leave `{name}` out."
        )


def with_one_budget(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings that take the place of older ones; if one of them asks for alarms, nothing older does so any more."""
    return (BUDGETS if BUDGETS.keys() & given.keys() else {}) | dict(given)


def refuse_unknown(names: Iterable[str], known: Iterable[str], what: str, see: str = "See --help for the names.") -> None:
    """Raise `ConfigError` for the first name that is not known, with the nearest known one, or with what else is said."""
    known = list(known)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else see
            raise ConfigError(f"Unknown {what}. Received: {name!r}. {hint}")


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read flat settings from a TOML file.

    Raises:
        ConfigError: if the file is missing, is not TOML, or holds a table (the keys are flat).
    """
    try:
        with open(path, "rb") as handle:
            values = tomllib.load(handle)
    except OSError as error:
        raise ConfigError(f"The configuration file must be readable. Received: {path} ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:  # what is no TOML or UTF-8, a number of thousands of digits, bottomless nesting
        raise ConfigError(f"The configuration file must be TOML. Received: {path} ({str(error)[:200]}).") from error
    tables = [key for key, value in values.items() if isinstance(value, dict)]
    if tables:
        raise ConfigError(f"A configuration file has flat keys and no tables. Received: [{tables[0]}] ({path}). Remove that line.")
    return values
