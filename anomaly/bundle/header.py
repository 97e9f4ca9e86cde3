"""The strict reading of a bundle's header: what it says, and which arrays must stand behind it.

All of it comes before an array is made. A file is refused unless its header is, byte for byte, the one that would be written
for what was read.
"""

import math
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from anomaly.bundle.container import LARGEST_FILE, LONGEST_NAME, SHA256, RefusedError, Shapes, canonical, header_bytes
from anomaly.bundle.dismissals import checked_counts
from anomaly.bundle.dismissals import shapes_of as shapes_of_dismissals
from anomaly.config import AGGREGATIONS, NEVER, SETTINGS, THRESHOLD_METHODS, DetectorConfig
from anomaly.limits import limits_from
from anomaly.network.model import weight_shapes
from anomaly.network.program import LARGEST_PROGRAM
from anomaly.scoring.overlaps import scoring_stride_of
from anomaly.scoring.recipe import MOST_ODD
from anomaly.scoring.references import FORMS, OLDER_FORMS, steps_of
from anomaly.series import longest_of
from anomaly.thresholds.calibration import Threshold
from anomaly.watches.settled import MOST_STATES, N_SPANS
from anomaly.windowing.context import Context

# In the order in which safetensors lays arrays out.
MOST_COLUMNS = 4_096
MOST_PARAMETERS = 50_000_000
# The windows of older files, whose two forms have the same.
OF_BOTH = "windows"
_FURTHER_METHODS = ("f_beta", "discoveries", "fixed")
HISTORY = ("loss", "reconstruction_loss", "gradient_penalty", "validation_loss")
_COUNTS = ("n_rows", "n_incomplete_rows", "n_train_windows", "n_validation_windows")
_FURTHER = {"notes", "reading", "n_dismissed_windows", "set_aside", "paces", "unjudged", "rising"}
_SIZES = ("n_calibration_rows", "n_epochs")
_OPTIONAL_KEYS = frozenset({"probe", "ancestry", "nearest", "dismissed", "program", "min_length", "merge_gap"})
_KEYS = (
    "format_version", "columns", "time_column", "window_size", "stride", "step", "longest_step", "row_step", "seed", "thresholds",
    "training", "fingerprint", "versions", "settings", "sha256",
)  # fmt: skip
# Settings that came after the first files of this format, and what a file that lacks one means; that may never change.
_LATER_SETTINGS: dict[str, Any] = {
    "nearest_windows": 0,
    "scoring_stride": 1,
    "silent_windows": 0.0,
    "short_severity": NEVER,
    "delimiter": None,
    "decimal": None,
    "thousands": None,
    "missing_values": None,
    "alarms_per_week": None,
    "min_deviation": None,
    "context_columns": None,
    "calendar": "none",
    "timesteps": 64,
    "set_aside": "none",
}
# What a detector remembers of how its training file was read.
_READING = ("delimiter", "decimal", "thousands", "time_format", "offsets", "units", "truths", "unread")
_PACKAGE, _VERSION = re.compile("[a-z][a-z0-9-]{0,31}"), re.compile("[0-9A-Za-z.+!_-]{1,64}")
# RFC 3339, of any year that 64 bits of microseconds reach; or the number of a row.
_TIME = re.compile("-?[0-9]{1,19}(-[0-9]{2}-[0-9]{2}T[0-9:.]{5,15}Z)?")
# Unicode categories: control characters, halves of surrogate pairs, line and paragraph separators.
_UNSEEN = ("Cc", "Cs", "Zl", "Zp")
LARGEST_COUNT = 2**62
MOST_ANCESTORS = 64
MOST_NOTES, LONGEST_NOTE = 8, 1_024
# As many as there may be nearest windows.
MOST_STRETCHES = 4_096
PROBE_WINDOWS = 4


@dataclass(frozen=True)
class Ancestry:
    """What a detector went on from.

    Attributes:
        sha256: of the files of the detectors before it, in hexadecimal; the one it went on from first, at most 64.
        scaler_kept: whether its scaler is that one's.
        held_out_loss: what that one's weights came to on the new held-out rows.
    """

    sha256: tuple[str, ...]
    scaler_kept: bool
    held_out_loss: float


def check_header(header: bytes, entries: dict[str, Any], described: dict[str, Any], config: DetectorConfig, shapes: Shapes) -> None:
    """Refuse a header that is not, byte for byte, the one that would be written for what it says.

    Args:
        header: its bytes.
        entries: what it says of each array, by name.
        described: what it says beside them.
        config: the settings in it, read.
        shapes: type and shape of each array that these settings call for.

    Raises:
        RefusedError: if the arrays are others, or the bytes.
    """
    found = {key: (entry["dtype"], tuple(entry["shape"])) for key, entry in entries.items()}
    if found != shapes:
        wrong = sorted(key for key in found.keys() | shapes.keys() if found.get(key) != shapes.get(key))
        raise RefusedError(f"arrays that do not fit its settings, such as {wrong[0]!r}")
    if header != header_bytes(canonical(described | {"settings": written_settings(config)}), shapes):
        raise RefusedError("a header that this program would not have written")


def written_settings(config: DetectorConfig) -> dict[str, Any]:
    """Return the settings that a file holds: a later one only where it is not what its absence means, as in old files."""
    return {name: x for name, x in config.to_settings().items() if name not in _LATER_SETTINGS or x != _LATER_SETTINGS[name]}


def n_parameters(config: DetectorConfig, n_inputs: int) -> int:
    """Return the number of weights of the network."""
    return sum(math.prod(shape) for shape in weight_shapes(config.network, n_inputs).values())


def expected_shapes(
    config: DetectorConfig,
    columns: tuple[str, ...],
    training: dict[str, Any],
    *,
    entries: Collection[str] = (),
    nearest: dict[str, dict[str, int]] | None = None,
    dismissed: list[dict[str, int]] | None = None,
    program: int | None = None,
) -> Shapes:
    """Return name, type and shape of every array that these settings call for.

    Older files have no range of the values, no usual roots, no runs, movements, resting values, relations, extremes or set points:
    whether one has them its `entries` say. One with a `program` of so many bytes has it in the place of weights.

    Raises:
        ValueError: if the network would have more than `MOST_PARAMETERS` weights.
    """
    context = Context.of(config, len(columns))
    count = n_parameters(config, context.n_inputs)
    if count > MOST_PARAMETERS:
        raise ValueError(f"{count:,} parameters, more than {MOST_PARAMETERS:,}")
    n, epochs = training["n_calibration_rows"], training["n_epochs"]
    network: Shapes = (
        {"program": ("U8", (program,))}
        if program
        else {f"weights/{name}": ("F32", shape) for name, shape in weight_shapes(config.network, context.n_inputs).items()}
    )
    return (
        network
        | {f"scaler/{name}": ("F64", (len(columns),)) for name in ("center", "scale", "constant")}
        | {f"scaler/{name}": ("F64", (context.n_judged,)) for name in ("error", "row_error")}
        | {f"range/{name}": ("F64", (len(columns),)) for name in ("minimum", "maximum") if "range/minimum" in entries}
        | {"calibration/times": ("I64", (n,))}
        | {f"calibration/{name}": ("F64", (n,)) for name in AGGREGATIONS}
        | {f"history/{name}": ("F64", (epochs,)) for name in HISTORY}
        | _shapes_of_recipe(context.n_judged, nearest, entries)
        | shapes_of_dismissals(dismissed, context.n_judged, len(columns))
    )


def _shapes_of_recipe(n_features: int, nearest: dict[str, dict[str, int]] | None, entries: Collection[str]) -> Shapes:
    if nearest is None:
        return {}
    n_forms = len(forms_of(nearest))
    windows: Shapes = {
        f"nearest/{form}": ("F32", (sizes["n_windows"], steps_of(sizes["window_size"]), n_features))
        for form, sizes in nearest.items()
    }
    numbers: Shapes = {
        "nearest/unit": ("F64", (n_forms, n_features)),
        "nearest/odd": ("F64", (len(AGGREGATIONS), len(MOST_ODD), n_features)),
        "nearest/scale": ("F64", (len(AGGREGATIONS), 1 + n_forms + len(MOST_ODD))),
    }
    of_feature, of_pair = ("F64", (n_features,)), ("F64", (n_features, n_features))
    settled: Shapes = {"weights": of_pair, "most": ("F64", (N_SPANS, n_features)), "states": ("F64", (MOST_STATES, n_features))}
    settled |= {"center": of_feature, "sharpness": of_feature, "points": of_feature, "spans": ("F64", (MOST_STATES,))}
    # What older files do not have: each group whole, or not at all.
    later: tuple[Shapes, ...] = (
        {"nearest/usual": ("F64", (len(AGGREGATIONS), 1 + n_forms, n_features))},
        {"nearest/longest_runs": of_feature},
        {f"nearest/{name}": of_feature for name in ("least_movement", "most_movement")},
        {f"nearest/{name}": of_feature for name in ("resting", "other_runs")},
        {f"relations/{name}": of_feature for name in ("center", "most", "sharpness")} | {"relations/weights": of_pair},
        {f"extremes/{end}_{of}": of_feature for end in ("lowest", "highest") for of in ("values", "steps")},
        {f"settled/{name}": shape for name, shape in settled.items()},
    )
    held = {name: shape for group in later if entries and group.keys() & entries for name, shape in group.items()}
    return windows | numbers | held


def described_fields(described: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a bundle that are no arrays, checked; `TypeError`, `ValueError` or `ConfigError` say what is wrong."""
    _require_keys(described, _KEYS, "description", optional=_OPTIONAL_KEYS)
    config, columns = DetectorConfig.from_settings(_LATER_SETTINGS | described["settings"]), checked_columns(described["columns"])
    _require_keys(described["settings"], SETTINGS.keys() - _LATER_SETTINGS.keys(), "settings", optional=_LATER_SETTINGS)
    window_size = _count(described, "window_size", 2, 10_000)
    judged = _judged(config, columns)
    _check_limits(config, judged)
    _check_directions(config, window_size, len(judged))
    scoring_stride_of(config, window_size)
    for name in ("window_size", "stride", "seed"):
        chosen = described["settings"].get(name)
        if chosen not in ("auto", None, described[name]):
            raise ValueError(f"{name}={described[name]!r}, but {chosen!r} in the settings")
    _require_keys(described["thresholds"], AGGREGATIONS, "thresholds")
    _require_keys(described["versions"], (), "versions", optional=described["versions"])
    return {
        "config": config,
        "columns": columns,
        "time_column": _checked_clock(described["time_column"], columns, config),
        "window_size": window_size,
        "stride": _count(described, "stride", 1, 10_000),
        **_steps(described, config.windows.max_gap),
        "seed": _count(described, "seed", 0, 2**32 - 1),
        "thresholds": {name: _threshold(values) for name, values in described["thresholds"].items()},
        "training": _training(described["training"], least_epoch=0 if "ancestry" in described else 1),
        "fingerprint": _text(described["fingerprint"], SHA256),
        "versions": {_text(name, _PACKAGE): _text(version, _VERSION) for name, version in described["versions"].items()},
        "probe": _probe(described["probe"]) if "probe" in described else None,
        "ancestry": _ancestry(described["ancestry"]) if "ancestry" in described else None,
        "nearest": _nearest(described["nearest"], config, window_size) if "nearest" in described else None,
        "dismissed": checked_counts(described["dismissed"]) if "dismissed" in described else None,
        "program": _count(described, "program", 1, LARGEST_PROGRAM) if "program" in described else None,
        "min_length": _automatic(described, config, "min_length", 1),
        "merge_gap": _automatic(described, config, "merge_gap", 0),
    }


def _require_keys(values: Any, names: Collection[str], what: str, *, optional: Collection[str] = ()) -> None:
    if not isinstance(values, dict):
        raise TypeError(what)
    for name in sorted(names):
        if name not in values:
            raise ValueError(f"no {name!r} in the {what}")
    for name in values:
        if name not in names and name not in optional:
            raise ValueError(f"unknown {name!r} in the {what}")


def _automatic(described: dict[str, Any], config: DetectorConfig, setting: str, low: int) -> int | None:
    """Return what an event rule of "auto" came to; None in older files, and where a number stands in the settings."""
    if setting not in described:
        return None
    if (given := getattr(config.scoring, setting)) != "auto":
        raise ValueError(f"{setting}={given!r} in the settings, and what 'auto' came to")
    return _count(described, setting, low, LARGEST_COUNT)


def _steps(described: dict[str, Any], max_gap: float | str) -> dict[str, int]:
    """Return the steps of the rows, as a training makes them: a short step in a long one would put in any number of rows."""
    step, row_step = _count(described, "step", 1, LARGEST_COUNT), _count(described, "row_step", 0, LARGEST_COUNT)
    if row_step not in ((0, step) if max_gap == "auto" else (0,)):
        raise ValueError(f"row_step={row_step!r} beside step={step!r} and max_gap={max_gap!r}")
    return {
        "step": step, "row_step": row_step, "longest_step": _count(described, "longest_step", 1, longest_of(step, max_gap)),
    }  # fmt: skip


def _judged(config: DetectorConfig, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns that are judged; the others must be the context, behind them and in its order."""
    context = config.context.context_columns or ()
    judged = columns[: max(len(columns) - len(context), 0)]
    if not judged or columns != (*judged, *context):
        raise ValueError(f"context_columns={context[:3]!r} that are not the last of the columns")
    return judged


def _checked_clock(name: Any, columns: tuple[str, ...], config: DetectorConfig) -> str | None:
    """Return the name of the time column, which a calendar needs."""
    if name is None and config.context.calendar != "none":
        raise ValueError(f"calendar={config.context.calendar!r} where rows are counted")
    return checked_time_column(name, columns)


def _check_limits(config: DetectorConfig, columns: tuple[str, ...]) -> None:
    limits = config.scoring.min_deviation
    if limits is not None and not set(limits_from(limits)) <= set(columns):
        raise ValueError(f"min_deviation={limits[:80]!r} for columns that are not there")


def _check_directions(config: DetectorConfig, window_size: int, n_features: int) -> None:
    direction = config.scoring.alarm_direction
    if direction is not None and len(direction) != n_features:
        raise ValueError(f"alarm_direction={direction!r} for {n_features} columns")
    shape = np.asarray(config.penalty.direction).shape
    if config.penalty.penalty == "directional" and shape not in ((n_features,), (window_size, n_features)):
        raise ValueError(f"a direction of shape {shape} for {n_features} columns")


def checked_columns(names: Any) -> tuple[str, ...]:
    """Return a list of column names as a tuple; `TypeError` or `ValueError` say what is wrong with it."""
    if not isinstance(names, list):
        raise TypeError("columns")
    if not 1 <= len(names) <= MOST_COLUMNS:
        raise ValueError(f"{len(names)} columns")
    columns = tuple(_name(name) for name in names)
    if len(set(columns)) < len(columns):
        raise ValueError("columns of the same name")
    return columns


def checked_time_column(name: Any, columns: tuple[str, ...]) -> str | None:
    """Return the name of the time column, or None; `TypeError` or `ValueError` say what is wrong with it."""
    if name in columns:
        raise ValueError(f"{name!r} is the time and a feature")
    return None if name is None else _name(name)


def _name(value: Any) -> str:
    """Return the name of a column: people see it, so it may not steer their terminal."""
    text = _text(value)
    if not 1 <= len(text) <= LONGEST_NAME:
        raise ValueError(f"a column name of {len(text)} characters")
    if not text.isprintable() and any(unicodedata.category(c) in _UNSEEN for c in text):
        raise ValueError(f"a control character in the column name {text[:40]!r}")
    return text


def _text(value: Any, pattern: "re.Pattern[str] | None" = None) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} instead of a text")
    if pattern is not None and pattern.fullmatch(value) is None:
        raise ValueError(f"the text {value[:80]!r}")
    return value


def _probe(values: Any) -> tuple[float, ...]:
    if not isinstance(values, list) or len(values) != PROBE_WINDOWS:
        raise ValueError("probe")
    if not all(isinstance(x, float) and 0 <= x < math.inf for x in values):
        raise ValueError("probe")
    return tuple(values)


def _ancestry(values: Any) -> Ancestry:
    _require_keys(values, {item.name for item in fields(Ancestry)}, "ancestry")
    hashes, loss = values["sha256"], values["held_out_loss"]
    if not isinstance(hashes, list) or not 1 <= len(hashes) <= MOST_ANCESTORS or not isinstance(values["scaler_kept"], bool):
        raise ValueError("ancestry")
    if not isinstance(loss, float) or not 0 <= loss < math.inf:
        raise ValueError(f"held_out_loss={loss!r}")
    return Ancestry(tuple(_text(value, SHA256) for value in hashes), values["scaler_kept"], loss)


def _check_notes(notes: Any) -> None:
    """Refuse what is no list of one to six sentences; people see them, so they may not steer their terminal."""
    if not isinstance(notes, list) or not 1 <= len(notes) <= MOST_NOTES:
        raise ValueError("notes")
    for note in notes:
        if len(_text(note)) > LONGEST_NOTE or any(unicodedata.category(c) in _UNSEEN for c in note):
            raise ValueError("a note that is too long, or has a control character")


def _check_unjudged(shares: Any) -> None:
    """Refuse what does not say on which share of the rows some features could not be judged."""
    if not isinstance(shares, dict) or not shares or not all(type(x) is float and 0 < x <= 1 for x in shares.values()):
        raise ValueError("unjudged")


def _check_rising(names: Any) -> None:
    """Refuse what is no list of features that only rose."""
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError("rising")


def _check_reading(reading: Any) -> None:
    """Refuse what does not say how a file was read."""
    _require_keys(reading, (), "reading", optional=_READING)
    texts = [_text(text).replace("\t", " ") for text in reading.values()]
    if not texts or any(not 1 <= len(text) <= LONGEST_NOTE or not text.isprintable() for text in texts):
        raise ValueError("a reading that is empty, too long, or has a control character")


def _check_stretches(stretches: Any) -> None:
    """Refuse what is no list of pairs of times."""
    if not isinstance(stretches, list) or not 1 <= len(stretches) <= MOST_STRETCHES:
        raise ValueError("set_aside")
    for stretch in stretches:
        if not isinstance(stretch, list) or len(stretch) != 2:
            raise ValueError("set_aside")
        for time in stretch:
            _text(time, _TIME)


def forms_of(nearest: dict[str, Any]) -> tuple[str, ...]:
    """Return which forms the nearest windows of a file have, in their order; older files lack those that came later.

    Args:
        nearest: by the name of a form, or once under `OF_BOTH`, the sizes of its windows.
    """
    return tuple(form for form in FORMS if form in nearest or (OF_BOTH in nearest and form in OLDER_FORMS))


def _nearest(values: Any, config: DetectorConfig, window_size: int) -> dict[str, dict[str, int]]:
    """Return sizes of the windows by form; under `OF_BOTH` in the oldest files, whose windows are the same in both forms."""
    by_form = values if isinstance(values, dict) and "n_windows" not in values else {OF_BOTH: values}
    in_both = OF_BOTH in by_form
    _require_keys(by_form, (OF_BOTH,) if in_both else OLDER_FORMS, "nearest windows", optional=() if in_both else FORMS)
    for sizes in by_form.values():
        _require_keys(sizes, ("window_size", "n_windows"), "nearest windows")
        _count(sizes, "window_size", 2, window_size)
        _count(sizes, "n_windows", 1, config.windows.nearest_windows)
    return {form: dict(sizes) for form, sizes in by_form.items()}


def _training(training: Any, *, least_epoch: int) -> dict[str, Any]:
    required = (*_COUNTS, "first_time", "last_time", *_SIZES, "best_epoch", "n_held_out_rows")
    _require_keys(training, required, "training", optional=_FURTHER)
    _check_unjudged(training.get("unjudged", {"": 1.0}))
    _check_rising(training.get("rising", [""]))
    if training.get("paces", "several") != "several":
        raise ValueError("paces")
    _check_notes(training.get("notes", [""]))
    _check_reading(training.get("reading", {"decimal": "."}))
    for name in ("first_time", "last_time"):
        _text(training[name], _TIME)
    _check_stretches(training.get("set_aside", [["0", "0"]]))
    for name in _COUNTS:
        _count(training, name, 0, LARGEST_COUNT)
    if "n_dismissed_windows" in training:
        _count(training, "n_dismissed_windows", 1, training["n_train_windows"])
    for name in _SIZES:
        _count(training, name, 1, LARGEST_FILE)
    _count(training, "best_epoch", least_epoch, training["n_epochs"])
    _count(training, "n_held_out_rows", 1, training["n_calibration_rows"])
    return dict(training)


def _threshold(values: Any) -> Threshold:
    _require_keys(values, {item.name for item in fields(Threshold)}, "threshold")
    if values["method"] not in (*THRESHOLD_METHODS, *_FURTHER_METHODS) or not isinstance(values["reached"], bool):
        raise ValueError(f"threshold={values!r}")
    per_day = {} if values["rows_per_day"] is None else {"rows_per_day": values["rows_per_day"]}
    for name, number in {"threshold": values["value"], "asked": values["asked"], **per_day}.items():
        if not isinstance(number, float) or not 0 < number < math.inf:
            raise ValueError(f"{name}={number!r}")
    if not isinstance(values["expected"], float) or not 0 <= values["expected"] <= 1e6:
        raise ValueError(f"threshold={values!r}")
    n_held_out = _count(values, "n_held_out", 1, LARGEST_FILE)
    for name, low, high in (("n_scores", n_held_out, LARGEST_FILE), ("n_above", 0, n_held_out), ("n_alarms", 0, n_held_out)):
        _count(values, name, low, high)
    return Threshold(**values)


def _count(described: dict[str, Any], name: str, low: int, high: int) -> int:
    value = described[name]
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name}={value!r}")
    return value
