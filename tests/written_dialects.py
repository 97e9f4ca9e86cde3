"""A series, and the many ways in which people write one down; what a reader makes of the text, and whether that is the series."""

import csv
import io
import re
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from anomaly.errors import AnomalyError
from anomaly.ingest.order import in_order
from anomaly.ingest.reading import read_csv, read_each
from anomaly.meaning.sentinels import refuse_sentinels

SECOND, MINUTE, HOUR, DAY = 10**6, 60 * 10**6, 3_600 * 10**6, 86_400 * 10**6
EPOCH_DAY = 25_569  # of 1970-01-01, counted from 1899-12-30

# How a time is written, by name: a strptime format, or one of the words below.
TIME_FORMATS = {
    "iso_z": "%Y-%m-%dT%H:%M:%SZ", "iso_blank": "%Y-%m-%d %H:%M:%S", "iso_short": "%Y-%m-%d %H:%M", "iso_offset": "offset",
    "iso_date": "%Y-%m-%d", "s": "s", "s.0": "s.0", "s.frac": "s.frac", "ms": "ms", "us": "us", "ns": "ns", "excel": "excel",
    "hours": "%Y%m%d%H", "minutes": "%Y%m%d%H%M", "seconds": "%Y%m%d%H%M%S", "days": "%Y%m%d", "months": "%Y%m",
    "with_t": "%Y%m%dT%H%M%S", "dotted": "%d.%m.%Y %H:%M:%S", "dotted_short": "%d.%m.%Y %H:%M", "slashed": "%d/%m/%Y %H:%M",
    "american": "%m/%d/%Y %H:%M", "english": "%d %b %Y %H:%M", "slashed_iso": "%Y/%m/%d %H:%M",
    "halves": "%m/%d/%Y %I:%M:%S %p", "short_year": "%d.%m.%y %H:%M", "mail": "%a, %d %b %Y %H:%M:%S GMT",
    "utc": "%Y-%m-%d %H:%M:%S UTC",
    "two_digits": "%y%m%d%H%M%S", "with_comma": "%Y-%m-%d %H:%M:%S,%f", "s_comma": "s_comma", "split_iso": "%Y-%m-%d¦%H:%M:%S",
    "split_german": "%d.%m.%Y¦%H:%M", "split_american": "%m/%d/%Y¦%I:%M %p", "split_digits": "%Y%m%d¦%H:%M",
    "parts": "%Y¦%m¦%d¦%H¦%M",
}  # fmt: skip
# The least step that a format can tell, microseconds.
_RESOLUTION = {
    "iso_short": MINUTE, "iso_date": DAY, "hours": HOUR, "minutes": MINUTE, "days": DAY, "months": 31 * DAY, "dotted_short": MINUTE,
    "slashed": MINUTE, "american": MINUTE, "english": MINUTE, "slashed_iso": MINUTE, "short_year": MINUTE,
    "split_german": MINUTE, "split_american": MINUTE, "split_digits": MINUTE, "parts": MINUTE,
}  # fmt: skip
TIME_NAMES = (
    "timestamp", "Time", "date", "datetime", "ts", "recorded_at", "epoch", "unix_time", "time_ms", "event_time", "Zeitstempel",
    "MESS_DATUM", "t", "created_on", "dt",
)  # fmt: skip
SENSORS = ("flow", "Power, kW", "temp [°C]", "p2", "Druck", "rpm (motor)", "level_cm", "speed")
LABELS = {
    "label": ("0", "1"),
    "is_anomaly": ("False", "True"),
    "outlier": ("0.0", "1.0"),
    "Anomaly": ("normal", "anomaly"),
    "y": ("1", "-1"),
}
COUNTERS = ("index", "id", "row", "")
MISSING = ("", "NA", "NaN", "null", "-", "?", "n/a", "#N/A", "None")


@dataclass(frozen=True)
class Dialect:
    """How a series is written; the defaults are those of a plain file."""

    time_name: str = "timestamp"
    time_format: str = "iso_z"
    time_place: int = 0
    start: int = 1_704_067_200  # seconds since 1970
    step: int = HOUR
    n_rows: int = 40
    n_features: int = 2
    decimals: int = 2
    scale: float = 10.0
    seed: int = 0
    delimiter: str = ","
    decimal: str = "."
    thousands: str = ""
    missing: str = ""
    share_missing: float = 0.0
    sentinel: str = ""
    order: str = "sorted"
    ids: str = "none"
    label: str = ""
    counter: str = ""
    counts: bool = False
    status: bool = False
    titles: int = 0
    units: bool = False
    comments: int = 0
    sep_line: bool = False
    spare: bool = False
    quoted: bool = False
    mark: bool = False
    ends: str = "\n"


@dataclass
class Written:
    """A text, what it means, and what would have to be said of it where it cannot be told."""

    text: bytes
    times: np.ndarray
    values: dict[str, np.ndarray]
    columns: tuple[str, ...]
    said: dict[str, object] = field(default_factory=dict)


def written(dialect):
    """Write a random series in a dialect."""
    rng = np.random.default_rng(dialect.seed)
    if dialect.thousands == ".":  # or 3.821 would be 3821: nobody takes it for that without being told
        dialect = replace(dialect, decimals=max(1, dialect.decimals))
    times = _times(dialect)
    names = {"none": ("",), "text": ("a", "b"), "number": ("1", "2"), "blocks": ("x", "y")}[dialect.ids]
    columns = tuple(rng.permutation(SENSORS)[: dialect.n_features].tolist())
    values = {name: _values(dialect, rng, len(times)) for name in names}
    rows = [(time, name, i) for i, time in enumerate(times.tolist()) for name in names]
    if dialect.ids == "blocks":
        rows.sort(key=lambda row: row[1])
    cells = [(time, _row(dialect, time, name, i, values[name][i])) for time, name, i in rows]
    # Labels and numbers of rows go with their row, whatever the order.
    labels, rest = LABELS.get(dialect.label, ("", "")), rng.random(len(cells)) < 0.1
    rest[:2] = (False, True)
    whole = []
    for place, (time, row) in enumerate(cells):
        marks = [labels[int(rest[place])]] if dialect.label else []
        whole.append((time, [*row, *marks, *(["ok" if place % 7 else "check"] if dialect.status else [])]))
    whole = _ordered(dialect, whole, rng)
    header = _header(dialect, columns)
    records = [[*([str(place + 1)] if dialect.counts else []), *row] for place, (_, row) in enumerate(whole)]
    text = _text(dialect, header, records)
    return Written(text, times, values, columns, _said(dialect, columns))


def _times(dialect):
    if dialect.time_format == "months":
        first = np.datetime64(dialect.start, "s").astype("datetime64[M]")
        return (first + np.arange(dialect.n_rows).astype("timedelta64[M]")).astype("datetime64[us]").astype(np.int64)
    step = max(dialect.step, _RESOLUTION.get(dialect.time_format, SECOND))
    start = dialect.start * SECOND // step * step
    times = start + np.arange(dialect.n_rows, dtype=np.int64) * step
    return times + (500_000 if dialect.time_format == "s.frac" else 0)


def _values(dialect, rng, n):
    values = np.round(np.abs(rng.normal(size=(n, dialect.n_features)) + 3) * dialect.scale, dialect.decimals)
    if dialect.share_missing or dialect.sentinel:
        values[rng.random(values.shape) < dialect.share_missing] = np.nan
        values[1 :: 3 if dialect.sentinel else n] = np.nan
        values[:3] = np.round(np.abs(values[:3]), dialect.decimals)
        values[0] = np.round(3 * dialect.scale, dialect.decimals)
        values[1] = np.nan
    return values


def _row(dialect, time, name, i, numbers):
    cells = [_number(dialect, x) for x in numbers]
    if name:
        cells.insert(0, name)
    place = min(dialect.time_place, len(cells))
    return [*cells[:place], *_time(dialect, time).split("¦"), *cells[place:]]


def _time(dialect, time):
    how = TIME_FORMATS[dialect.time_format]
    units = {"s": SECOND, "ms": 1_000, "us": 1}
    if how in units:
        return str(time // units[how])
    if how == "ns":
        return str(time * 1_000)
    if how == "s_comma":
        return f"{time // SECOND},0"
    if how == "s.0":
        return f"{time // SECOND}.0"
    if how == "s.frac":
        return f"{time / SECOND:.1f}"
    if how == "excel":
        return f"{time / DAY + EPOCH_DAY:.6f}".rstrip("0").removesuffix(".")
    moment = pd.Timestamp(time, unit="us")
    if how == "offset":
        return (moment + pd.Timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S+02:00")
    return moment.strftime(how)


def _number(dialect, number):
    if np.isnan(number):
        return dialect.sentinel or dialect.missing
    text = f"{number:,.{dialect.decimals}f}" if dialect.thousands else f"{number:.{dialect.decimals}f}"
    swapped = {",": dialect.thousands, ".": dialect.decimal}
    return "".join(swapped.get(c, c) for c in text)


def _header(dialect, columns):
    names = list(columns)
    if dialect.ids != "none":
        names.insert(0, "host")
    place = min(dialect.time_place, len(names))
    names = [*names[:place], *_time_names(dialect), *names[place:]]
    names += [dialect.label] if dialect.label else []
    names += ["status"] if dialect.status else []
    return [*([dialect.counter] if dialect.counts else []), *names]


def _time_names(dialect):
    """Return what the column of times is called, or the columns that make it up."""
    n = TIME_FORMATS[dialect.time_format].count("¦")
    return {0: [dialect.time_name], 1: ["Date", "Time"]}.get(n, ["year", "month", "day", "hour", "minute"])


def _ordered(dialect, rows, rng):
    if dialect.order == "descending":
        return rows[::-1]
    if dialect.order == "shuffled":
        return [rows[i] for i in rng.permutation(len(rows))]
    if dialect.order == "swapped":
        return rows[len(rows) // 2 :] + rows[: len(rows) // 2]
    if dialect.order == "as_text":
        return sorted(rows, key=lambda row: row[1][min(dialect.time_place, len(row[1]) - 1)])
    return rows


def _text(dialect, header, records):
    out = io.StringIO()
    quoting = csv.QUOTE_ALL if dialect.quoted else csv.QUOTE_MINIMAL
    writer = csv.writer(out, delimiter=dialect.delimiter, lineterminator="\n", quoting=quoting)
    if dialect.sep_line:
        out.write(f"sep={dialect.delimiter}\n")
    for i in range(dialect.titles):
        out.write(["Pump station report\n", "\n", "exported by logger 7\n"][i])
    for _ in range(dialect.comments):
        out.write("# a comment of the logger\n")
    writer.writerow(header)
    if dialect.units:
        writer.writerow(
            ["" if name in (*_time_names(dialect), "host", "status", dialect.label, dialect.counter) else "m3/h" for name in header]
        )
    for record in records:
        writer.writerow([*record, *([""] if dialect.spare else [])])
    text = out.getvalue().replace("\n", dialect.ends)
    return text.encode("utf-8-sig" if dialect.mark else "utf-8")


def _said(dialect, columns):
    """Return what whoever wrote the file would say of it, by option."""
    how = TIME_FORMATS[dialect.time_format]
    others = [*([dialect.label] if dialect.label else []), *(["status"] if dialect.status else [])]
    others += [dialect.counter] if dialect.counts and dialect.counter else []
    epochs = ("s", "s.0", "s_comma", "s.frac", "ms", "us", "ns")
    return {
        "time_column": ",".join(_time_names(dialect)),
        "time_format": how.replace("¦", " ") if "%" in how else "excel" if how == "excel" else "epoch" if how in epochs else None,
        "delimiter": "tab" if dialect.delimiter == "\t" else dialect.delimiter,
        "decimal": dialect.decimal,
        "thousands": dialect.thousands or None,
        "missing_values": dialect.sentinel or (dialect.missing or None),
        "ignore_columns": others or None,
        "value_columns": list(columns),
        "label_column": dialect.label if LABELS.get(dialect.label) in (("0", "1"), ("0.0", "1.0")) else None,
        "id_column": "host" if dialect.ids != "none" else None,
    }


def read(path, **options):
    """Read a file as a training does: the series by name, "" for the only one."""
    found = read_each(path, **options) if "id_column" in options else {"": read_csv(path, **options)}
    found = {name: in_order(series) for name, series in found.items()}
    for series in found.values():
        refuse_sentinels(series.values, series.columns, series.name, options.get("missing_values"))
    return found


def difference(found, meant):
    """Return how what was read differs from what was meant; empty if it is the same."""
    if found.keys() != meant.values.keys():
        return f"series {list(found)} instead of {list(meant.values)}"
    for name, series in found.items():
        if series.columns != meant.columns:
            return f"columns {series.columns} instead of {meant.columns}"
        if series.time_column is None:
            return "rows are counted"
        if not np.array_equal(series.times, meant.times):
            return f"times from {series.times[:2]} instead of {meant.times[:2]}, {len(series)} instead of {len(meant.times)}"
        if not np.array_equal(series.values, meant.values[name], equal_nan=True):
            return f"values {series.values[:2]} instead of {meant.values[name][:2]}"
    return ""


def outcome(path, meant, tries=8):
    """Read a file; where it is refused, do what the refusal says, with what whoever wrote the file knows.

    Returns:
        "" if it was read as it was meant, else what was wrong; and the refusals on the way.
    """
    options, refusals = {}, []
    for _ in range(tries):
        try:
            return difference(read(path, **options), meant), refusals
        except AnomalyError as error:
            refusals.append(str(error))
            named = [name.replace("-", "_") for name in re.findall(r"--([a-z]+(?:-[a-z]+)*)", str(error))]
            new = {name: meant.said[name] for name in named if meant.said.get(name) is not None and name not in options}
            if not new:
                return "no remedy that works", refusals
            # One at a time, the first that is named: it must help, or lead to what does.
            name = next(iter(new))
            options[name] = new[name]
    return "no end of refusals", refusals


@st.composite
def dialects(draw):
    """Return a strategy for dialects in which people could mean something."""

    def one_of(*values):
        return draw(st.sampled_from(values))

    delimiter, decimal = one_of(",", ";", "\t", "|"), one_of(".", ".", ",")
    thousands = one_of("", "", "", *({",", ".", "'"} - {decimal}))
    counts = draw(st.booleans())
    return Dialect(
        time_name=one_of(*TIME_NAMES),
        time_format=one_of(*TIME_FORMATS),
        time_place=draw(st.integers(0, 3)),
        start=draw(st.integers(820_000_000, 2_000_000_000)),
        step=one_of(SECOND, MINUTE, 15 * MINUTE, HOUR, DAY),
        n_rows=draw(st.integers(30, 70)),
        n_features=draw(st.integers(1, 3)),
        decimals=draw(st.integers(0, 3)),
        scale=one_of(1.0, 10.0, 1_000.0, 100_000.0),
        seed=draw(st.integers(0, 2**32 - 1)),
        delimiter=delimiter,
        decimal=decimal,
        thousands=thousands,
        missing=one_of(*MISSING),
        share_missing=one_of(0.0, 0.0, 0.1),
        sentinel=one_of("", "", "", "-9999", "-999", "9999", "1e30"),
        order=one_of("sorted", "sorted", "descending", "shuffled", "swapped", "as_text"),
        ids=one_of("none", "none", "text", "number", "blocks"),
        label=one_of("", "", *LABELS),
        counter=one_of(*COUNTERS),
        counts=counts,
        status=one_of(False, False, True),
        titles=draw(st.integers(0, 3)),
        units=one_of(False, False, True),
        comments=draw(st.integers(0, 2)),
        sep_line=one_of(False, False, True),
        spare=one_of(False, False, True),
        quoted=draw(st.booleans()),
        mark=draw(st.booleans()),
        ends=one_of("\n", "\r\n"),
    )
