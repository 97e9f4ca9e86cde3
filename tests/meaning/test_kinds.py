"""Kinds of files that were misread once, and others of each kind: read as they are meant, or refused with a remedy that works."""

import numpy as np
import pandas as pd
import pytest

from anomaly import DataError
from anomaly.files.checking import check_input
from anomaly.ingest.order import in_order
from anomaly.ingest.reading import read_csv
from anomaly.meaning.sentinels import refuse_sentinels
from anomaly.sources.tolerance import Tolerance

N = 240
HOURS = pd.date_range("2024-01-01", periods=N, freq="h")
RNG = np.random.default_rng(0)
FLOW = np.round(10 + 3 * np.sin(np.arange(N) * np.pi / 12) + RNG.normal(0, 0.2, N), 2)
TEMP = np.round(20 + 5 * np.sin(np.arange(N) * np.pi / 12 + 1) + RNG.normal(0, 0.3, N), 2)
SECONDS = (HOURS - pd.Timestamp(0)) // pd.Timedelta("1s")


def written(tmp_path, header, *columns, sep=",", above="", end=""):
    """Write columns as text; return the path."""
    lines = [sep.join(header) + end if isinstance(header, list) else header]
    lines += [sep.join(map(str, row)) + end for row in zip(*columns, strict=True)]
    path = tmp_path / "in.csv"
    path.write_text(above + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def is_plain(series, columns=("flow", "temp"), times=HOURS):
    """Tell whether a series is what was meant: these features, hours or other steps of 2024, these values."""
    assert series.columns == columns and series.time_column is not None
    assert (series.times == np.asarray(times.astype("datetime64[us]").astype("int64"))).all()
    np.testing.assert_array_equal(series.values[:, 0], FLOW[: len(series)])
    return True


# Times


@pytest.mark.parametrize(
    "name", ["ts", "epoch", "unix_time", "unixtime", "event_time", "created_at", "time_ms", "t", "Timestamp", "UNIX_TS"]
)
@pytest.mark.parametrize("unit", [1, 1_000, 1_000_000, 1_000_000_000])
def test_a_column_of_numbers_since_1970_that_is_called_like_times_is_the_time(tmp_path, name, unit):
    series = read_csv(written(tmp_path, [name, "flow", "temp"], SECONDS * unit, FLOW, TEMP))
    assert is_plain(series) and series.time_column == name


@pytest.mark.parametrize("place", [1, 2])
def test_a_time_column_need_not_be_the_first(tmp_path, place):
    for name, cells in (
        ("ts", SECONDS),
        ("recorded_at", HOURS.strftime("%Y-%m-%dT%H:%M:%SZ")),
        ("when", HOURS.strftime("%Y-%m-%d %H:%M")),
    ):
        header, columns = ["flow", "temp"], [FLOW, TEMP]
        header.insert(place, name)
        columns.insert(place, cells)
        series = read_csv(written(tmp_path, header, *columns))
        assert is_plain(series) and series.time_column == name


def test_a_first_column_of_rising_numbers_since_1970_is_the_time_whatever_it_is_called(tmp_path):
    assert is_plain(read_csv(written(tmp_path, ["col0", "flow", "temp"], SECONDS, FLOW, TEMP)))


def test_two_columns_of_times_are_refused_with_the_option_that_chooses(tmp_path):
    iso = HOURS.strftime("%Y-%m-%dT%H:%M:%SZ")
    ended = [f"{hour + pd.Timedelta(minutes=row * 7 % 50):%Y-%m-%dT%H:%M:%SZ}" for row, hour in enumerate(HOURS)]
    path = written(tmp_path, ["flow", "begun", "ended"], FLOW, iso, ended)
    with pytest.raises(DataError, match="One column must be the time. Received: times in 'begun', 'ended'.*--time-column begun"):
        read_csv(path)
    assert is_plain(read_csv(path, time_column="begun", ignore_columns=["ended"]), ("flow",))


@pytest.mark.parametrize(
    ("spelling", "freq"),
    [("%Y%m", "MS"), ("%Y%m%d", "D"), ("%Y%m%d%H", "h"), ("%Y%m%d%H%M", "15min"), ("%Y%m%d%H%M%S", "s")],
)
@pytest.mark.parametrize("name", ["timestamp", "date", "MESS_DATUM", "ts"])
def test_digits_that_spell_dates_are_dates(tmp_path, spelling, freq, name):
    times = pd.date_range("2009-11-01", periods=N, freq=freq)
    series = read_csv(written(tmp_path, [name, "flow", "temp"], times.strftime(spelling), FLOW, TEMP))
    assert is_plain(series, times=times)


def test_numbers_since_1970_of_as_many_digits_are_no_dates(tmp_path):
    assert is_plain(read_csv(written(tmp_path, ["timestamp", "flow", "temp"], SECONDS, FLOW, TEMP)))
    assert is_plain(read_csv(written(tmp_path, ["timestamp", "flow", "temp"], SECONDS * 1_000, FLOW, TEMP)))


@pytest.mark.parametrize("freq", ["h", "15min", "min", "s", "37min"])
@pytest.mark.parametrize("digits", [6, 10])
def test_days_of_a_spreadsheet_are_told_by_their_fractions(tmp_path, freq, digits):
    times = pd.date_range("2024-01-01", periods=N, freq=freq)
    days = (times - pd.Timestamp("1899-12-30")) / pd.Timedelta("1D")
    series = read_csv(written(tmp_path, ["timestamp", "flow", "temp"], [f"{day:.{digits}f}" for day in days], FLOW, TEMP))
    assert is_plain(series, times=times)


def test_whole_days_of_a_spreadsheet_are_refused_with_both_readings_and_either_can_be_said(tmp_path):
    days = 45_292 + np.arange(N)
    path = written(tmp_path, ["date", "flow", "temp"], days, FLOW, TEMP)
    with pytest.raises(
        DataError, match=r"45292 in column 'date', which is 2024-01-01 as a day of a spreadsheet, and 1970-01-01 12:34:52 as"
    ):
        read_csv(path)
    assert is_plain(read_csv(path, time_format="excel"), times=pd.date_range("2024-01-01", periods=N, freq="D"))
    assert is_plain(read_csv(path, time_format="epoch"), times=pd.to_datetime(days, unit="s"))


@pytest.mark.parametrize("times", [HOURS.strftime("%Y-%m-%dT%H:%M:%SZ"), HOURS.strftime("%Y-%m-%d %H:%M:%S"), SECONDS, range(N)])
def test_a_first_line_of_times_and_numbers_is_no_header(tmp_path, times):
    path = written(tmp_path, f"{next(iter(times))},{FLOW[0]},{TEMP[0]}", list(times)[1:], FLOW[1:], TEMP[1:])
    with pytest.raises(
        DataError, match="The first line must name the columns. Received: numbers and times only.*Add a header line"
    ):
        read_csv(path)


# Columns that are no sensors


@pytest.mark.parametrize(
    "name",
    ["label", "Label", "anomaly", "is_anomaly", "outlier", "changepoint", "attack", "ground_truth", "Normal/Attack", "y", "fault"],
)
@pytest.mark.parametrize("marks", [("0", "1"), ("0.0", "1.0"), ("False", "True"), ("Normal", "Attack"), ("-1", "1")])
def test_labels_are_no_features_and_it_is_said(tmp_path, name, marks):
    cells = [marks[int(100 <= i < 110)] for i in range(N)]
    tolerance = Tolerance()
    path = written(tmp_path, ["timestamp", "flow", "temp", name], HOURS, FLOW, TEMP, cells)
    assert is_plain(read_csv(path, tolerance=tolerance))
    (sentence,) = tolerance.reading
    assert name in sentence and "--label-column" in sentence and "--value-columns" in sentence


def test_labels_are_features_where_that_is_said_and_where_nothing_else_is_there(tmp_path):
    cells = (np.arange(N) % 2).astype(int)
    path = written(tmp_path, ["timestamp", "anomaly"], HOURS, cells)
    assert read_csv(path).columns == ("anomaly",)
    path = written(tmp_path, ["timestamp", "flow", "anomaly"], HOURS, FLOW, cells)
    assert read_csv(path, value_columns=["flow", "anomaly"]).columns == ("flow", "anomaly")


def test_a_measured_column_that_is_called_like_labels_stays_a_feature(tmp_path):
    assert read_csv(written(tmp_path, ["timestamp", "flow", "anomaly"], HOURS, FLOW, TEMP)).columns == ("flow", "anomaly")


@pytest.mark.parametrize("name", ["index", "row", "id", "no", "#", "Unnamed: 0"])
def test_a_count_of_rows_is_no_feature(tmp_path, name):
    assert is_plain(read_csv(written(tmp_path, ["timestamp", name, "flow", "temp"], HOURS, range(N), FLOW, TEMP)))


def test_columns_can_be_left_out_by_name(tmp_path):
    path = written(tmp_path, ["timestamp", "flow", "unit", "temp"], HOURS, FLOW, ["l/s"] * N, TEMP)
    with pytest.raises(DataError, match="texts such as 'l/s' in 'unit'.*--ignore-columns unit"):
        read_csv(path)
    assert is_plain(read_csv(path, ignore_columns=["unit"]))
    with pytest.raises(DataError, match="no 'units' among.*--ignore-columns"):
        read_csv(path, ignore_columns=["units"])


# Several series, and disorder


@pytest.mark.parametrize("ids", [("a", "b"), ("1", "2"), ("10.0", "20.0"), ("north pump", "south pump")])
@pytest.mark.parametrize("blocks", [False, True])
def test_a_file_of_several_series_is_refused_with_the_column_that_tells_them_apart(tmp_path, ids, blocks):
    times = [*HOURS[:N], *HOURS[:N]] if blocks else [time for time in HOURS for _ in ids]
    hosts = [ids[0]] * N + [ids[1]] * N if blocks else [*ids] * N
    path = written(tmp_path, ["timestamp", "host", "flow"], times, hosts, np.tile(FLOW, 2) + np.arange(2 * N))
    with pytest.raises(DataError, match="Each row of a series must have a time of its own.*--id-column"):
        series = read_csv(path)
        in_order(series)


def test_many_rows_with_the_time_of_another_are_refused_without_an_id_too(tmp_path):
    path = written(
        tmp_path, ["timestamp", "flow", "temp"], [time for time in HOURS for _ in "ab"], np.tile(FLOW, 2), np.tile(TEMP, 2)
    )
    with pytest.raises(DataError, match="Each row of a series must have a time of its own.*aggregate"):
        read_csv(path)


@pytest.mark.parametrize("order", ["shuffled", "descending", "blocks", "as text"])
def test_rows_in_disorder_are_sorted_and_counted_where_all_are_in_memory(tmp_path, order):
    days = pd.date_range("2024-01-25", periods=N, freq="h")
    places = {
        "shuffled": np.random.default_rng(1).permutation(N),
        "descending": np.arange(N)[::-1],
        "blocks": np.r_[N // 2 : N, : N // 2],
        "as text": np.argsort(days.strftime("%d.%m.%Y %H:%M"), kind="stable"),
    }[order]
    path = written(tmp_path, ["timestamp", "flow", "temp"], days[places], FLOW[places], TEMP[places])
    tolerance = Tolerance()
    assert is_plain(in_order(read_csv(path), tolerance), times=days)
    assert tolerance.counts["sorted_rows"] >= N / 4
    found = check_input(path)
    assert not found.faults and found.tolerance.counts["sorted_rows"] == tolerance.counts["sorted_rows"]


def test_a_gap_is_counted_in_training_as_in_a_check(tmp_path):
    kept = np.r_[:100, 180:N]
    path = written(tmp_path, ["timestamp", "flow", "temp"], HOURS[kept], FLOW[kept], TEMP[kept])
    tolerance = Tolerance()
    in_order(read_csv(path), tolerance)
    assert tolerance.counts["gaps"] == check_input(path).tolerance.counts["gaps"] == 1


# Missing values


@pytest.mark.parametrize("mark", [-9999, -999, 9999, 99999, 1e20, -200, 32767, 2147483647, -999.9])
def test_a_usual_mark_for_missing_values_is_refused_and_the_remedy_works(tmp_path, mark):
    flow = FLOW.copy()
    flow[::20] = mark
    path = written(tmp_path, ["timestamp", "flow", "temp"], HOURS, flow, TEMP)
    series = read_csv(path)
    with pytest.raises(DataError, match="on 12 rows of 'flow'") as error:
        refuse_sentinels(series.values, series.columns, series.name, None)
    assert check_input(path).faults == [str(error.value)]
    named = str(error.value).split("--missing-values ")[1].split(";")[0]
    mended = read_csv(path, missing_values=named)
    assert np.isnan(mended.values[:, 0]).sum() == 12 and np.nanmax(np.abs(mended.values[:, 0])) < 20
    refuse_sentinels(mended.values, mended.columns, mended.name, named)
    refuse_sentinels(series.values, series.columns, series.name, "none")


def test_what_was_measured_is_no_mark():
    heavy = np.random.default_rng(2).standard_cauchy((5_000, 1))
    refuse_sentinels(heavy, ("x",), "in", None)
    commands = np.where(np.arange(1_000) % 50 == 0, 999.0, 0.0)[:, None]  # half of all values at least must vary
    refuse_sentinels(commands + np.arange(1_000)[:, None], ("x",), "in", None)


@pytest.mark.parametrize("rare", [1, 3, 40])
@pytest.mark.parametrize(
    ("usual", "other"), [(100, 99.9), (100, 99.5), (100, 90), (100, 101), (10_000, 9_999), (-50, -40), (1000, 999)]
)
def test_a_number_near_the_others_or_on_its_way_to_zero_is_none_either(usual, other, rare):
    share = np.full(2_000, float(usual))
    share[np.arange(rare) * 40 + 7] = other
    assert refuse_sentinels(share[:, None], ("avail",), "in", None) == []


@pytest.mark.parametrize(("usual", "other"), [(100, 0), (100, -5), (20, 85), (50, -50)])
def test_a_number_that_is_no_usual_mark_and_far_from_all_others_is_told(usual, other):
    cells = usual + np.sin(np.arange(2_000) / 7) / 10
    cells[::50] = other
    assert refuse_sentinels(cells[:, None], ("avail",), "in", None) == [
        f"{other} comes on 40 rows of 'avail', far from all others: if it stands for a missing value, say --missing-values {other}."
    ]


@pytest.mark.parametrize("text", ["", "-", "?", "n/a", "null", "#N/A", "NaN", "None", "--"])
def test_the_usual_texts_mean_missing(tmp_path, text):
    flow = [text if i % 20 == 0 else value for i, value in enumerate(FLOW)]
    series = read_csv(written(tmp_path, ["timestamp", "flow", "temp"], HOURS, flow, TEMP))
    assert np.isnan(series.values[:, 0]).sum() == 12


def test_a_text_of_ones_own_means_missing(tmp_path):
    flow = ["off" if i % 20 == 0 else value for i, value in enumerate(FLOW)]
    path = written(tmp_path, ["timestamp", "flow", "temp"], HOURS, flow, TEMP)
    with pytest.raises(DataError, match="Column 'flow' must hold numbers. Received: 'off' on line 2.*--missing-values"):
        read_csv(path)
    assert np.isnan(read_csv(path, missing_values="off,-9999").values[:, 0]).sum() == 12


# Dialects


@pytest.mark.parametrize("sep", [",", ";", "\t", "|"])
@pytest.mark.parametrize("above", ["", "sep={}\n", "Pump station report\n\n", "Report\nof January\n\n"])
@pytest.mark.parametrize("spare", [False, True])
def test_separators_titles_and_spare_separators(tmp_path, sep, above, spare):
    above = above.format(sep)
    header = ["timestamp", "flow", "temp"]
    path = written(tmp_path, header, HOURS, FLOW, TEMP, sep=sep, above=above, end=sep * spare)
    assert is_plain(read_csv(path))
    path = written(tmp_path, sep.join(header), HOURS, FLOW, [f"{x}{sep * spare}" for x in TEMP], sep=sep, above=above)
    assert is_plain(read_csv(path))


def test_a_name_may_hold_a_comma_where_another_separator_is_used(tmp_path):
    series = read_csv(written(tmp_path, ["timestamp", "Power, kW", "flow"], HOURS, FLOW, TEMP, sep=";"))
    assert is_plain(series, ("Power, kW", "flow"))


@pytest.mark.parametrize("sep", [";", "\t"])
@pytest.mark.parametrize("quoted", [False, True])
def test_decimal_commas(tmp_path, sep, quoted):
    mark = '"' * quoted
    cells = [[f"{mark}{str(x).replace('.', ',')}{mark}" for x in column] for column in (FLOW, TEMP)]
    assert is_plain(read_csv(written(tmp_path, ["timestamp", "flow", "temp"], HOURS, *cells, sep=sep)))


def test_decimal_commas_in_quotes_between_commas(tmp_path):
    cells = [[f'"{x:.2f}"'.replace(".", ",") for x in column] for column in (FLOW, TEMP)]
    assert is_plain(read_csv(written(tmp_path, ["timestamp", "flow", "temp"], HOURS, *cells)))


@pytest.mark.parametrize(("point", "between"), [(",", "."), (".", ","), (".", "'")])
def test_marks_between_thousands(tmp_path, point, between):
    texts = [f"{1_000 * x:,.2f}".replace(",", "_").replace(".", point).replace("_", between) for x in FLOW]
    path = written(tmp_path, ["timestamp", "flow"], HOURS, texts, sep=";")
    options = {"decimal": point, "thousands": between} if between == "'" else {}
    np.testing.assert_allclose(read_csv(path, **options).values[:, 0], 1_000 * FLOW, rtol=1e-12)


def test_three_digits_behind_a_comma_are_refused_with_both_options_which_work(tmp_path):
    texts = [f"{int(x)},{i % 1000:03d}" for i, x in enumerate(FLOW)]
    path = written(tmp_path, ["timestamp", "flow"], HOURS, texts, sep=";")
    with pytest.raises(DataError, match="A comma in a number must have one meaning.*--decimal , or --thousands ,"):
        read_csv(path)
    assert read_csv(path, decimal=",").values[0, 0] == int(FLOW[0])
    assert read_csv(path, thousands=",").values[0, 0] == int(FLOW[0]) * 1_000


def test_records_that_all_break_the_rule_are_told_in_one_sentence(tmp_path):
    path = written(tmp_path, "timestamp,flow", HOURS, FLOW, TEMP)
    found = check_input(path)
    (fault,) = found.faults
    assert "Every record must have as many fields as the header (2). Received: 3 in 200 of the first 200 records" in fault
