"""Runs that stand one below the other, clocks by other names or that stop, and what else a count or a date may be taken for."""

import numpy as np
import pandas as pd
import pytest

from anomaly import DataError, read_csv
from anomaly.ingest.csv_rows import CsvReader

N = 1_200
RNG = np.random.default_rng(0)
X, Y = (np.round(20 + np.sin(np.arange(N) / 9) + 0.1 * RNG.normal(size=N), 3) for _ in range(2))
HOURS, DAYS = pd.date_range("2024-03-01", periods=N, freq="h"), pd.date_range("2020-01-01", periods=N, freq="D")


def table(**columns):
    return pd.DataFrame(columns).to_csv(index=False)


def runs(rows, n=N):
    return np.arange(n) // rows + 1, np.arange(n) % rows


def read(tmp_path, text, **options):
    path = tmp_path / "in.csv"
    path.write_text(text)
    return read_csv(path, **options)


def refusal(tmp_path, text):
    """Return why a file is refused, in the words of the commands."""
    path = tmp_path / "in.csv"
    path.write_text(text)
    with pytest.raises(DataError) as error, CsvReader(path) as reader:
        list(reader)
    return str(error.value)


SHORT, LONG = runs(150), runs(600)
REFUSED = {
    "runs with a step of their own": (table(run=SHORT[0], step=SHORT[1], x=X, y=Y), "'step', which begins anew 3 times", "run"),
    "a clock that begins anew": (table(shot=SHORT[0], time_us=10 * SHORT[1], x=X, y=Y), "'time_us', which begins anew", "shot"),
    "a count that does, and nobody names": (table(sample=SHORT[1], x=X, y=Y), "'sample', which begins anew", None),
    "seconds with fractions": (table(**{"Time (s)": np.round(0.1 * SHORT[1], 1)}, x=X, y=Y), "begins anew 3 times", None),
    "a count that jitters": (table(t=1000 * SHORT[1] + RNG.integers(0, 9, N), x=X, y=Y), "begins anew", None),
    "runs without a count": (table(episode=SHORT[0], x=X, y=Y), "called 'episode' must be said to be a feature", "episode"),
    "an engine from 1 on": (table(engine_id=LONG[0], x=X, y=Y), "Received: '2' after '1'", "engine_id"),
    "a station of one digit": (
        table(time=HOURS, station=np.repeat([5, 6], N // 2), x=X), "Received: '6' after '5'", "station"
    ),
    "a clock that begins anew late": (table(t_s=np.round(0.1 * LONG[1], 1), x=X, y=Y), "Received: 0 after 59.9", None),
    "a level that falls after a while": (
        table(time=HOURS, level=np.minimum(np.arange(N), 1_400 - np.arange(N)), x=X), "Received: 699 after 700", None
    ),
    "a level that stays after a while": (
        table(time=HOURS, setpoint=np.minimum(np.arange(N), 700), x=X), "Received: 700 after 700", None
    ),
    "whole numbers that rise like a clock": (
        table(jiffies=np.cumsum(RNG.integers(990, 1010, N)), x=X, y=Y), "which rises on each row", None
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_one_series_is_refused_with_the_column_that_tells_it_apart(tmp_path, name):
    text, expected, series = REFUSED[name]
    told = refusal(tmp_path, text)
    assert expected in told and (series is None or f"--id-column {series}" in told)


@pytest.mark.parametrize("name", [name for name, (*_, series) in REFUSED.items() if series is None and "clock" not in name])
def test_said_to_say_nothing_it_is_left_out(tmp_path, name):
    text, _, _ = REFUSED[name]
    column = next(c for c in text.split("\n", 1)[0].split(",") if c not in ("x", "y", "time"))
    assert read(tmp_path, text, ignore_columns=[column]).columns in (("x", "y"), ("x",))


READ = {
    "a count beside times may begin anew": (table(time=HOURS, index=LONG[1], x=X), ("x",)),
    "a counter that is full begins anew": (table(time=HOURS, frame_counter=(64_900 + np.arange(N)) % 65_536, x=X), ("x",)),
    "an hour of the day without dates": (table(x=X, hour=np.arange(N) % 24), ("x", "hour")),
    "a meter in the first column": (table(energy_total=np.cumsum(RNG.integers(5, 9, N)), x=X), ("energy_total", "x")),
    "a meter that runs unevenly": (table(gas=np.cumsum(RNG.integers(1, 90, N)), x=X), ("gas", "x")),
    "a sawtooth that is no count": (table(x=X, angle=np.arange(N) % 360), ("x", "angle")),
    "a date beside year and month of the books": (
        table(Date=DAYS.strftime("%Y-%m-%d"), Year=(DAYS + pd.DateOffset(months=3)).year, x=X),
        ("Year", "x"),
    ),
    "a date beside its own year and month": (table(date=DAYS.strftime("%Y-%m-%d"), year=DAYS.year, month=DAYS.month, x=X), ("x",)),
    "a count with marks between thousands": (table(index=[f"{i:,}" for i in range(1, N + 1)], x=X, y=Y), ("x", "y")),
    "a feature that is -1 throughout": (table(time=HOURS, x=X, cpu=-1), ("x", "cpu")),
    "GT in the name of a gas": (table(time=HOURS, **{"CO(GT)": X}, y=Y), ("CO(GT)", "y")),
}


@pytest.mark.parametrize("name", READ)
def test_what_looks_like_it_and_is_not_is_read(tmp_path, name):
    text, columns = READ[name]
    assert read(tmp_path, text).columns == columns


def test_runs_are_read_as_series_of_their_own_without_their_count(tmp_path):
    (tmp_path / "in.csv").write_text(table(run=SHORT[0], step=SHORT[1], x=X, y=Y))
    with CsvReader(tmp_path / "in.csv", id_column="run") as reader:
        assert reader.value_columns == ["x", "y"] and sum(len(chunk.lines) for chunk in reader) == N


def test_dates_beside_other_columns_of_year_and_month_are_the_time(tmp_path):
    for name in ("a date beside year and month of the books", "a date beside its own year and month"):
        series = read(tmp_path, READ[name][0])
        assert series.time_column.lower() == "date" and series.times[-1] == DAYS.as_unit("us").asi8[-1]


def test_exponents_stand_behind_a_decimal_comma_too(tmp_path):
    number = [f"{x:.7E}".replace(".", ",") for x in 0.1 * np.arange(N)]
    lines = [f"{t}\t{str(x).replace('.', ',')}\t{str(y).replace('.', ',')}" for t, x, y in zip(number, X, Y, strict=True)]
    series = read(tmp_path, "\n".join(["time/s\tE\tI", *lines]) + "\n")
    assert series.columns == ("E", "I") and series.values[1, 0] == X[1]


def test_times_of_day_with_points_are_beside_their_dates(tmp_path):
    lines = [f"{t:%d/%m/%Y};{t:%H.%M.%S};{x}" for t, x in zip(HOURS, X, strict=True)]
    series = read(tmp_path, "\n".join(["Date;Time;x", *lines]) + "\n", decimal=".")
    assert (series.times == HOURS.as_unit("us").asi8).all()


def test_numbers_that_count_from_0_are_said_to_be_taken_for_seconds(tmp_path):
    (tmp_path / "in.csv").write_text(table(time=5 * np.arange(N), x=X))
    with CsvReader(tmp_path / "in.csv") as reader:
        assert reader.tolerance.reading == ["Times such as 0 count from 0 and are taken for seconds."]


@pytest.mark.parametrize(
    ("no", "yes"), [("Normal", "Attack"), ("N", "Y"), ("no", "Yes"), ("F", "T"), ("ok", "NOK"), ("false", "True"), ("0", "1")]
)
def test_labels_may_be_words(tmp_path, no, yes):
    marks = np.where(np.arange(N) % 300 < 5, yes, no)
    marks[7] = ""
    series = read(tmp_path, table(time=HOURS, x=X, label=marks), label_column="label")
    assert series.labels.sum() == 20 and series.labels[:5].all()


def test_of_labels_of_minus_1_and_1_the_rarer_one_is_the_anomaly(tmp_path):
    marks = np.where(np.arange(N) % 300 < 5, -1, 1)
    assert read(tmp_path, table(time=HOURS, x=X, label=marks), label_column="label").labels[:6].tolist() == [1, 1, 1, 1, 1, 0]


@pytest.mark.parametrize(
    "times",
    [[f"{1900 + i // 4}Q{i % 4 + 1}" for i in range(400)], [f"{t:%G-W%V}" for t in DAYS[::7]], [f"{t:%H:%M}" for t in HOURS[:20]],
     [f"{t} - {t + pd.Timedelta('1h')}" for t in HOURS], [f"{t:%m-%d %H:%M:%S}" for t in HOURS], [f"{i} sec" for i in range(N)]],
    ids=["quarters", "weeks", "times of day", "from and to", "no year", "units"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["time", "period"])
def test_no_format_is_offered_where_none_can_read_it(tmp_path, times, name):
    told = refusal(tmp_path, table(**{name: times}, x=X[: len(times)]))
    assert "--time-format" not in told and ("--ignore-columns" in told or "--time-column none" in told)


def test_a_flag_behind_a_comma_is_no_fraction_unless_it_is_said_to_be_one(tmp_path):
    """As in the ISD of NOAA, whose temperatures are tenths of a degree with a digit for their quality."""
    tenths = RNG.integers(-200, 300, N)
    text = table(DATE=HOURS, TMP=[f"{x:+05},{f}" for x, f in zip(tenths, RNG.choice([1, 5], N), strict=True)])
    assert "may be numbers and their flags" in refusal(tmp_path, text)
    assert read(tmp_path, text, decimal=",").columns == ("TMP",)


@pytest.mark.parametrize("write", ["{:.1f}", "{:+.1f}", "{:.2f}", "{:06.2f}"])
def test_fractions_behind_a_comma_are_read(tmp_path, write):
    values = 1013 + np.round(5 * np.sin(np.arange(N) / 9), 1)
    series = read(tmp_path, table(time=HOURS, p=[write.format(x).replace(".", ",") for x in values]))
    np.testing.assert_allclose(series.values[:, 0], values, atol=0.051)
