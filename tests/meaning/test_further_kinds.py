"""Further kinds of files: other calendars, tables on their side, footers, series in turns, counters; read, refused or told."""

import re

import numpy as np
import pandas as pd
import pytest
from written_dialects import read

from anomaly import DataError
from anomaly.files.checking import check_input
from anomaly.ingest.reading import read_csv
from anomaly.meaning.footers import LastRows, refuse_footer
from anomaly.sources.tolerance import Tolerance

N = 240
T = pd.date_range("2024-01-03", periods=N, freq="h")
DAYS = pd.date_range("2023-10-09", periods=N, freq="D")
MONTHS = pd.date_range("2004-01-01", periods=N, freq="MS")
YEARS = pd.date_range("1780-01-01", periods=N, freq="YS")
GAP = pd.DatetimeIndex([*T[:100], *(T[100:] + pd.Timedelta("20h"))])
RNG = np.random.default_rng(7)
A = np.round(10 + 3 * np.sin(np.arange(N) * np.pi / 12) + RNG.normal(0, 0.2, N), 2)
B = np.round(1200 + 500 * np.sin(np.arange(N) * np.pi / 12 + 1) + RNG.normal(0, 30, N), 1)
COUNTS = RNG.poisson(40, N)
SECONDS = (T - pd.Timestamp(0)) // pd.Timedelta("1s")
EXCEL = (T - pd.Timestamp("1899-12-30")) / pd.Timedelta("1D")
EXCEL_GAP = (GAP - pd.Timestamp("1899-12-30")) / pd.Timedelta("1D")
LABELS = [int(100 <= i < 110) for i in range(N)]
FROM_1904 = SECONDS + 2_082_844_800
AB = {"a": A, "b": B}


def text(header, *columns, sep=",", below=""):
    return "\n".join([header, *(sep.join(map(str, row)) for row in zip(*columns, strict=True))]) + "\n" + below


def german(numbers):
    return [str(number).replace(".", ",") for number in numbers]


def local(start, zone):
    return pd.date_range(start, periods=N, freq="h", tz=zone).tz_localize(None)


def marked(mark, rows, cells=A):
    return [mark if i in rows else x for i, x in enumerate(cells)]


def missing(rows, cells=A):
    return np.where(np.isin(np.arange(N), list(rows)), np.nan, cells)


def is_meant(series, values, times):
    assert series.columns == tuple(values)
    np.testing.assert_allclose(series.values, np.column_stack([*values.values()]), rtol=1e-12)
    assert (series.time_column is None) == (times is None)
    if times is not None:
        np.testing.assert_array_equal(series.times, np.asarray(times.astype("datetime64[us]").astype("int64")))


# Name: text, the values and the times that it means.
READ = {
    "blanks before times": (text(" Time,a,b", [f" {t:%d/%m/%Y %I:%M:%S %p}" for t in T], A, B), AB, T),
    "SAS": (text("datetime,a,b", [f"{t:%d%b%Y:%H:%M:%S}".upper() for t in T], A, B), AB, T),
    "SAS days": (text("date,a,b", [f"{t:%d%b%Y}".upper() for t in DAYS], A, B), AB, DAYS),
    "days of a year": (text("date,a,b", DAYS.strftime("%Y-%j"), A, B), AB, DAYS),
    "months by name": (text("Month,a,b", MONTHS.strftime("%b-%y"), A, B), AB, MONTHS),
    "months by name and year": (text("date,a,b", MONTHS.strftime("%B %Y"), A, B), AB, MONTHS),
    "months in numbers": (text("date,a,b", MONTHS.strftime("%m/%Y"), A, B), AB, MONTHS),
    "months of Eurostat": (text("TIME,a,b", MONTHS.strftime("%YM%m"), A, B), AB, MONTHS),
    "year and month": (text("Year,Month,a,b", MONTHS.year, MONTHS.month, A, B), AB, MONTHS),
    "year and name of a month": (text("Year,Month,a,b", MONTHS.year, MONTHS.strftime("%b"), A, B), AB, MONTHS),
    "years": (text("Year,a,b", YEARS.year, A, B), AB, YEARS),
    "NASA": (text("YEAR,MO,DY,HR,a,b", T.year, T.month, T.day, T.hour, A, B), AB, T),
    "years of two digits": (text("yy,mm,dd,hh,a,b", T.strftime("%y"), T.month, T.day, T.hour, A, B), AB, T),
    "date, hour, minute": (text("date,hour,minute,a,b", T.strftime("%Y-%m-%d"), T.hour, T.minute, A, B), AB, T),
    "Chinese": (text("时间,a,b", T.strftime("%Y年%m月%d日 %H:%M"), A, B), AB, T),
    "digits with a fraction, any name": (text("x,a,b", T.strftime("%Y%m%d%H%M%S.000"), A, B), AB, T),
    "time of day before the date": (text("time,a,b", T.strftime("%H:%M:%S %d.%m.%Y"), A, B), AB, T),
    "index that begins anew": (text("index,timestamp,a,b", [*range(120), *range(120)], T, A, B), AB, T),
    "index of kept rows": (text("index,timestamp,a,b", [i + i // 10 for i in range(N)], T, A, B), AB, T),
    "row names of kept rows": (text(",timestamp,a,b", [i + i // 10 for i in range(N)], T, A, B), AB, T),
    "falling index": (text("index,timestamp,a,b", range(N, 0, -1), T[::-1], A[::-1], B[::-1]), AB, T),
    "sequence that wraps": (text("seq,timestamp,a,b", [i % 100 for i in range(N)], T, A, B), AB, T),
    "clock with a gap": (text("timestamp,elapsed_s,a,b", GAP, (GAP - GAP[0]) // pd.Timedelta("1s"), A, B), AB, GAP),
    "blanks for missing": (text("timestamp,a,b", T, marked(" ", (4, 50)), B), {"a": missing((4, 50)), "b": B}, T),
    "blanks behind missing": (text("timestamp,a,b", T, marked("NaN ", (4, 50)), B), {"a": missing((4, 50)), "b": B}, T),
}  # fmt: skip


@pytest.mark.parametrize("kind", READ)
def test_what_is_plain_to_people_is_read_as_it_is_meant(tmp_path, kind):
    content, values, times = READ[kind]
    path = tmp_path / "in.csv"
    path.write_text(content)
    is_meant(read(path)[""], values, times)
    assert not check_input(path).faults


LABEL_NAMES = (
    "alert", "is_alert", "warning", "malicious", "intrusion", "leak", "is_error", "spike", "suspicious", "failed", "maintenance",
    "outage", "downtime", "label1", "anomaly2", "Störung", "Ausfall", "anomalía", "panne", "défaut", "异常", "标签",
)  # fmt: skip


@pytest.mark.parametrize("name", LABEL_NAMES)
def test_labels_of_further_names_are_left_out(tmp_path, name):
    path = tmp_path / "in.csv"
    path.write_text(text(f"timestamp,a,b,{name}", T, A, B, LABELS))
    is_meant(read_csv(path), AB, T)


SIDEWAYS = [T[:24].strftime("%Y-%m-%d %H:%M"), DAYS[:40].strftime("%m/%d/%Y"), [f"{h:02d}:00" for h in range(24)],
            [f"H{h}" for h in range(1, 25)], [str(y) for y in range(1960, 2000)], [f"X{y}" for y in range(1960, 2000)],
            list(MONTHS[:12].strftime("%b")), [str(s) for s in SECONDS[:24]]]  # fmt: skip


@pytest.mark.parametrize("names", SIDEWAYS, ids=lambda names: names[0])
@pytest.mark.parametrize("first", ["sensor", "date"])
def test_a_table_on_its_side_is_refused(tmp_path, names, first):
    path = tmp_path / "in.csv"
    starts = [f"s{i}" for i in range(40)] if first == "sensor" else DAYS[:40].strftime("%Y-%m-%d")
    path.write_text(text(",".join([first, *names]), starts, *(A[i : i + 40] for i in range(len(names)))))
    with pytest.raises(DataError, match="Each row of a table must have one time.*--value-columns"):
        read_csv(path)
    if first == "date":
        assert len(read_csv(path, value_columns=list(names))) == 40


TWO, WOVEN = np.ravel(np.c_[A, B]), pd.date_range("2024-01-03", periods=2 * N, freq="30min")
FINE, COARSE = pd.date_range("2024-01-03", periods=N, freq="15s"), pd.date_range("2024-01-03", periods=N // 4, freq="60s")
BOTH = np.argsort(np.r_[FINE, COARSE], kind="stable")
STEPS = [pd.DatetimeIndex(np.r_[FINE, COARSE][BOTH]), np.r_[np.full(N, 1), np.full(N // 4, 2)][BOTH], np.r_[A, B[: N // 4]][BOTH]]
# Name: text, what the refusal says, and what is said then; None where the text must be mended.
REFUSED = {
    "seconds since 1904": (
        text("Time,a,b", FROM_1904, A, B), "2090-01-03 00:00:00 in seconds since 1970, and 2024-01-03 00:00:00 since 1904",
        {"time_format": "epoch-1904"},
    ),
    "ticks of .NET": (text("time,a,b", (SECONDS + 62_135_596_800) * 10**7, A, B), "write ISO 8601", None),
    "day and month in ISO 8601": (
        text("time,a,b", T.strftime("%Y-%d-%m %H:%M"), A, B), "2024-03-01 or 2024-01-03", {"time_format": "%Y-%d-%m %H:%M"},
    ),
    "days of MATLAB, with a gap": (
        text("datenum,a,b", [f"{d + 693960:.9f}" for d in EXCEL_GAP], A, B), "a kind that is known.*--time-column datenum",
        {"ignore_columns": ["datenum"]},
    ),
    "clock of uneven steps": (
        text("Time (s),a,b", np.cumsum(RNG.choice([0.5, 1, 1.5], N)), A, B), r"--time-column 'Time \(s\)'",
        {"time_column": "Time (s)"},
    ),
    "Finnish months": (
        text("Datum;a;b", [f"{t.day}. lokakuuta {t.year}" for t in DAYS], german(A), german(B), sep=";"),
        "'9. lokakuuta 2023' in column 'Datum'.*--time-format", {"ignore_columns": ["Datum"]},
    ),
    "a format of one's own": (
        text("moment,a,b", T.strftime("%Y-%m-%d kl %H:%M"), A, B), "--time-column moment, with a --time-format",
        {"time_column": "moment", "time_format": "%Y-%m-%d kl %H:%M"},
    ),
    "quarters": (
        text("quarter,a,b", [f"{1960 + i // 4}Q{i % 4 + 1}" for i in range(N)], A, B), "--ignore-columns quarter",
        {"ignore_columns": ["quarter"]},
    ),
    "year and quarter": (
        text("Year,Quarter,a", np.repeat(range(1960, 2020), 4), [1, 2, 3, 4] * 60, A), "'Year' and 'Quarter'.*--ignore-columns",
        {"ignore_columns": ["Year", "Quarter"]},
    ),
    "weeks": (
        text("week,a", pd.date_range("2019-02-04", periods=11, freq="7D").strftime("%G%V"), A[:11]), "--ignore-columns week",
        {"ignore_columns": ["week"]},
    ),
    "series in turns": (text("timestamp,channel_type,a", WOVEN, [1, 2] * N, TWO), "in turns in column 'channel_type'", {}),
    "names of channels": (text("timestamp,channel,a", WOVEN, [1, 2] * N, TWO), "--id-column channel", {}),
    "series of two steps": (text("timestamp,k,a", *STEPS), "Column 'k' tells them apart", {}),
    "sum": (text("a,b", A, B, below=f"{A.sum():.2f},{B.sum():.1f}\n"), "holds the sum of each column above.*Remove it", None),
    "mean": (text("a,b", A, B, below=f"{A.mean():.2f},{B.mean():.1f}\n"), "holds the mean of each", None),
    "mean, smallest, largest": (
        text("a,b", A, B, below=f"{A.mean():.2f},{B.mean():.1f}\n{A.min()},{B.min()}\n{A.max()},{B.max()}\n"),
        "3 last rows that hold the mean, the smallest value, the largest value", None,
    ),
    "sum with a time": (text("timestamp,a", T, A, below=f"2024-01-13,{A.sum():.2f}\n"), "holds the sum", None),
    "-9999 once": (text("timestamp,a,b", T, marked(-9999, (77,)), B), "-9999 on 1 row of 'a'", {"missing_values": "-9999"}),
    "1e30 once": (text("timestamp,a,b", T, marked("1e30", (77,)), B), "on 1 row of 'a'", {"missing_values": "1e30"}),
    "-1 among counts": (
        text("timestamp,a,c", T, A, marked(-1, range(3, N, 20), COUNTS)), "-1 on 12 rows of 'c'", {"missing_values": "-1"},
    ),
    "-8.88": (text("timestamp,a,b", T, marked(-8.88, range(3, N, 20)), B), "-8.88 on 12 rows", {"missing_values": "-8.88"}),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_be_misread_is_refused_and_read_once_the_option_is_said(tmp_path, kind):
    content, sentence, said = REFUSED[kind]
    path = tmp_path / "in.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=sentence) as refused:
        read(path)
    assert len(check_input(path).faults) == 1
    if said:
        found = read(path, **said)[""]
        assert len(found) == len(content.splitlines()) - 1
    elif said is not None:
        column = re.search(r"--id-column (\w+)", str(refused.value))[1]
        assert sorted(len(series) for series in read(path, id_column=column).values())[-1] == N


# Name: text, and what `check` says.
TOLD = {
    "a workbook that counts from 1904": (
        text("Date,a,b", [f"{d - 1462:.6f}" for d in EXCEL], A, B), "2020-01-02; --time-format excel-1904 .* 2024-01-03",
    ),
    "times to come": (text("datetime,a,b", SECONDS + 600_000_000, A, B), "The latest time is to come, 2043-"),
    "a score of another detector": (text("timestamp,a,anomaly_index", T, A, B), "called as labels are: 'anomaly_index'"),
    "zeros far from all others": (text("timestamp,a,c", T, A, marked(0, range(3, N, 20), COUNTS + 100)), "0 comes on 12 rows"),
    "a mark that comes once": (text("timestamp,a,b", T, marked(-99, (77,)), B), "-99 comes on 1 row of 'a'"),
    "clocks of Sydney": (
        text("time,a,b", local("2024-04-05", "Australia/Sydney"), A, B), "comes twice",
    ),
    "clocks of London": (
        text("time,a,b", local("2024-03-28", "Europe/London"), A, B), "never comes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", TOLD)
def test_what_may_be_meant_otherwise_is_told(tmp_path, kind):
    content, sentence = TOLD[kind]
    path = tmp_path / "in.csv"
    path.write_text(content)
    found = check_input(path)
    assert not found.faults and re.search(sentence, " ".join(found.notes)), found.notes


def test_days_and_seconds_from_1904_are_read_as_that_once_it_is_said(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text(text("Date,a,b", [f"{d - 1462:.6f}" for d in EXCEL], A, B))
    is_meant(read_csv(path, time_format="excel-1904"), AB, T)
    path.write_text(text("Date,a,b", FROM_1904, A, B))
    is_meant(read_csv(path, time_format="epoch-1904"), AB, T)


@pytest.mark.parametrize(("n", "n_counts"), [(0, 0), (0, 1), (3, 1), (4, 0), (5, 1), (9, 0), (9, 2)])
def test_a_training_says_in_five_lines_how_it_read_its_file(n, n_counts):
    tolerance = Tolerance(reading=[f"Sentence {i}." for i in range(n)])
    for kind in ("blank_lines", "gaps")[:n_counts]:
        tolerance.add(kind, 3)
    lines = tolerance.told()
    assert len(lines) <= 5 and all(f"Sentence {i}." in " ".join(lines) for i in range(n))
    assert (lines[-1:] == [str(tolerance)]) == (n_counts > 0)


@pytest.mark.parametrize("name", ["step", "a", "level"])
def test_what_goes_round_by_itself_is_a_feature(tmp_path, name):
    path = tmp_path / "in.csv"
    path.write_text(text(f"timestamp,{name},b", T, [i % 24 for i in range(N)], B))
    assert read_csv(path).columns == (name, "b")


def test_rows_of_a_series_are_no_footer():
    for seed in range(200):
        values = np.round(np.random.default_rng(seed).normal(size=(30, 2)), 1)
        refuse_footer(values, "in")
    refuse_footer(np.ones((30, 2)), "in")
    refuse_footer(np.full((30, 2), np.nan), "in")
    refuse_footer(np.arange(8.0)[:, None], "in")


def test_whole_numbers_by_chance_are_no_footer():
    rng = np.random.default_rng(0)
    for _ in range(2_000):
        refuse_footer(rng.integers(-3, 4, size=(int(rng.integers(26, 60)), 1)).astype(float), "a.csv")


@pytest.mark.parametrize("n_last", [1, 3])
def test_last_rows_are_refused_in_any_pieces_as_at_once(n_last):
    values = np.round(np.random.default_rng(3).normal(50, 3, (400, 2)), 2)
    footer = [values.sum(axis=0), values.min(axis=0), values.max(axis=0)][:n_last]
    whole = np.vstack([values, *footer])
    for cuts in ([], [100, 400], [1, 2, 3], range(1, len(whole))):
        last_rows = LastRows("in")
        for piece in np.split(whole, cuts):
            last_rows.take(piece)
        with pytest.raises(DataError, match="Each row must be one of the series. Received: "):
            last_rows.refuse()
    last_rows.take(np.zeros((1_000_001, 2)))  # no report has so many rows
    last_rows.refuse()


@pytest.mark.parametrize(("decimal", "thousands"), [(",", "."), (".", ",")])
def test_a_mark_that_is_surely_the_decimal_one_decides_for_all_columns(tmp_path, decimal, thousands):
    counts = [f"{1 + i % 7}{thousands}{100 + i % 800}" for i in range(N)]
    path = tmp_path / "in.csv"
    path.write_text(text("timestamp;a;b", T, [f"{x:.2f}".replace(".", decimal) for x in A], counts, sep=";"))
    np.testing.assert_array_equal(read_csv(path).values[:, 1], [float(cell.replace(thousands, "")) for cell in counts])
