"""Every decision of how a file is read, with its evidence and how sure it is: for people who check, and for programs."""

from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple, Protocol

import numpy as np

from anomaly.columns.column_names import TIME_NAMES
from anomaly.config import ReadingConfig
from anomaly.errors import shorten
from anomaly.meaning.interpretation import Interpretation, Sample
from anomaly.series import Ints, median_step
from anomaly.times.moments import is_number
from anomaly.words import step_text

# How sure a decision is: somebody said it, the file says it itself, it follows from names and cells, from cells alone.
SAID, PLAIN, LIKELY, TOLD = 1.0, 0.99, 0.95, 0.9
_MARKS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


class Decision(NamedTuple):
    """One decision: what it is about, its value, what speaks for it, and how sure it is, from 0 to 1."""

    about: str
    value: Any
    evidence: str
    confidence: float


class Reader(Protocol):
    """What is asked of a reader of a file."""

    columns: list[str]
    value_columns: list[str]
    time_column: str | None
    label_column: str | None
    id_column: str | None
    delimiter: str
    ignored: tuple[str, ...]

    @property
    def kind(self) -> str:
        """What the input is: "csv" or "parquet"."""

    @property
    def n_lines_above(self) -> int:
        """Lines above the header."""


def decisions_of(
    reader: Reader, reading: ReadingConfig, found: Interpretation, sample: Sample, said: Sequence[str]
) -> list[Decision]:
    """Return how a file is read, in the order of the decisions.

    Args:
        reader: of the file, its columns found.
        reading: what was said of times and numbers.
        found: what was told from the file.
        sample: its first records.
        said: the roles of columns that were named: "time", "features".
    """
    n = len(sample.rows)
    cut = f"{n:,} of the first records have {len(reader.columns):,} fields"
    header = reader.n_lines_above + 1
    return [
        Decision("format", reader.kind, "its first bytes", PLAIN),
        Decision("separator", reader.delimiter, *_why(reading.delimiter, cut, PLAIN if n else LIKELY)),
        Decision("header_line", header, "the first line whose fields name the columns" if header > 1 else "the first line", PLAIN),
        *_of_time(reader, reading, found, sample, "time" in said),
        Decision("series", reader.id_column, *_why(reader.id_column, "no other row has the time of a row", LIKELY)),
        Decision("features", list(reader.value_columns), *_of_features(found, "features" in said)),
        Decision("labels", reader.label_column, *_of_labels(reader.label_column, found)),
        Decision("ignored", [*found.left_out, *reader.ignored], _ignored(found), LIKELY if found.left_out else PLAIN),
        Decision("decimal", found.decimal, *_why(reading.decimal, "the cells of all features", LIKELY)),
        Decision("thousands", found.thousands, *_why(reading.thousands, "the cells of all features", LIKELY)),
        Decision("missing", reading.missing_values, *_why(reading.missing_values, "an empty cell, NaN and their like", PLAIN)),
    ]


def _why(said: object, told: str, confidence: float) -> tuple[str, float]:
    return ("it was said", SAID) if said is not None else (told, confidence)


def _of_time(reader: Reader, reading: ReadingConfig, found: Interpretation, sample: Sample, said: bool) -> list[Decision]:
    time = reader.time_column
    if time is None:
        why = ("it was said", SAID) if said else ("no column looks like times", TOLD)
        return [Decision("time", None, *why)]
    named = time.strip().lower() in TIME_NAMES
    cells = sample.cells(time) if sample.rows else []
    kind = reading.time_format or found.time_format or ("epoch" if cells and _counts(cells[0].strip()) else "iso8601")
    shown = f"cells such as {cells[0].strip()}" if cells else "its name"
    return [
        Decision(
            "time", time, *(("it was said", SAID) if said else ("its name" if named else f"{shown}", PLAIN if named else LIKELY))
        ),
        Decision("time_format", kind, *_why(reading.time_format, shown, PLAIN if found.time_format is None else LIKELY)),
        Decision("timezone", reading.timezone, "of times without an offset from UTC", PLAIN),
    ]


def _counts(cell: str) -> bool:
    """Tell a number from a date in ISO 8601 that is digits alone, as the reader of times does."""
    if len(cell) != 8 or not cell.isdecimal():
        return is_number(cell)
    try:
        date.fromisoformat(cell)
    except ValueError:
        return True
    return False


def _of_features(found: Interpretation, said: bool) -> tuple[str, float]:
    return ("they were said, or are those of the training", SAID) if said else ("columns of numbers that are nothing else", LIKELY)


def _of_labels(named: str | None, found: Interpretation) -> tuple[str, float]:
    told = [name for name, what in found.left_out.items() if what == "labels"]
    return _why(named, f"{shorten(told)} would be" if told else "no column is called so and holds 0 and 1", LIKELY)


def _ignored(found: Interpretation) -> str:
    return "; ".join(f"{name!r} holds {what}" for name, what in found.left_out.items()) or "it was said, or nothing is left out"


def of_rows(times: Ints, time_column: str | None) -> list[Decision]:
    """Return what the times of all rows say: their step and their order.

    Args:
        times: `(n,)` as in `TimeSeries`, in the order of the file.
        time_column: None if rows are counted.
    """
    if time_column is None or len(times) < 2:
        return []
    steps = np.diff(times)
    step = median_step(np.sort(times))
    even = float((steps == step).mean())
    order = "rising" if (steps >= 0).all() else "falling" if (steps <= 0).all() else "mixed"
    return [
        Decision("step_seconds", step / 1e6, f"{even:.0%} of the steps", max(0.5, round(even, 2))),
        Decision("order", order, f"{int((steps < 0).sum()):,} of {len(steps):,} steps go back", PLAIN),
    ]


def in_words(decided: Sequence[Decision]) -> str:
    """Return the decisions in a sentence."""
    known = {decision.about: decision.value for decision in decided}
    text = known["format"] == "csv"
    parts = [f"CSV with {_MARKS.get(known['separator'], repr(known['separator']))}" if text else known["format"]]
    if known.get("time") is None:
        parts.append("rows counted")
    else:
        parts.append(f"time {known['time']!r} as {known['time_format']} in {known['timezone']}")
    parts += [f"a row every {step_text(1e6 * known['step_seconds'])}"] if "step_seconds" in known else []
    parts += [f"order {known['order']}"] if known.get("order", "rising") != "rising" else []
    parts += [f"series named by {known['series']!r}"] if known["series"] is not None else []
    parts += [f"labels {known['labels']!r}"] if known["labels"] is not None else []
    parts += [f"without {shorten(known['ignored'])}"] if known["ignored"] else []
    marks = known["decimal"] if known["thousands"] is None else f"{known['decimal']} and {known['thousands']}"
    parts += [f"decimal mark {marks}"] if marks != "." else []
    parts += [f"missing: {known['missing']}"] if known["missing"] is not None else []
    return f"Read as {', '.join(parts)}."
