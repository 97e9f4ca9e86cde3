"""Rows left out of a training: which they are, how they are counted, and that a training does not see them."""

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import FIRST_TIME, HOUR, TINY, make_series, to_csv
from hypothesis import given
from hypothesis import strategies as st

from anomaly import ConfigError, DataError, Detector
from anomaly.cli import cli
from anomaly.fitting.left_out import excluded_rows, without_known_trouble
from anomaly.ranges import idle_ends, training_part
from anomaly.series import format_time, runs
from anomaly.sources.tolerance import Tolerance

QUICK = ["--window-size", "12", "--units", "4", "--epochs", "1", "--steps-per-epoch", "2", "--seed", "7"]
QUICK += ["--penalty", "none", "--nearest-windows", "0", "--deterministic"]


def time(row):
    return format_time(FIRST_TIME + row * HOUR, "timestamp")


@pytest.fixture
def fifty():
    return make_series(n=50, spike=None)


def test_ranges_of_times_have_both_ends(fifty):
    given = f"{time(3)}..{time(5)}, {time(20)} .. {time(20)}"
    assert runs(excluded_rows(given, fifty)) == [(3, 6), (20, 21)]
    assert runs(excluded_rows("2022-04-16..2022-04-16", fifty)) == [(19, 43)]  # the series begins at 05:20 the day before
    assert not excluded_rows("2021-01-01..2021-02-01", fifty).any()


@given(st.lists(st.tuples(st.integers(0, 70), st.integers(0, 70)).map(sorted), min_size=1, max_size=4))
def test_counted_rows_are_excluded_by_number(ranges):
    counted = replace(make_series(n=50, spike=None), times=np.arange(50), time_column=None)
    found = excluded_rows(",".join(f"{a}..{b}" for a, b in ranges), counted)
    assert found.tolist() == [any(a <= row <= b for a, b in ranges) for row in range(50)]


def test_a_file_is_read_as_known_events_are(fifty, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("start_row,end_row\n3,5\n90,95\n")
    assert runs(excluded_rows(str(path), fifty)) == [(3, 6)]
    path.write_text("start_row,end_row\n")  # as `anomaly detect` writes that there is no event
    assert not excluded_rows(str(path), fifty).any()


@pytest.mark.parametrize("given", ["no-such-file.csv", "2022-04-16", "../bad.csv", "3..", "..5", "", "2022-04-16..2022-04-17,"])
def test_what_is_neither_is_refused(fifty, given):
    with pytest.raises(ConfigError, match=r"--exclude must be ranges FIRST\.\.LAST with commas between, or a CSV file"):
        excluded_rows(given, fifty)


@pytest.mark.parametrize(
    ("given", "message"), [("2022-04-17..2022-04-16", "must end after it starts"), ("a..b", "must be an ISO 8601")]
)
def test_what_is_no_range_is_refused(fifty, given, message):
    with pytest.raises(ConfigError, match=message):
        excluded_rows(given, fifty)


def test_labelled_and_excluded_rows_become_missing_and_are_counted():
    series, tolerance = make_series(n=500), Tolerance()
    found = without_known_trouble(series, f"{time(424)}..{time(429)}", tolerance)
    bad = np.isnan(found.values).all(axis=1)
    assert runs(bad) == [(420, 430)]
    np.testing.assert_array_equal(found.values[~bad], series.values[~bad])
    assert tolerance.counts == {"labelled_rows": 6, "excluded_rows": 6}
    assert "labelled rows left out of the training (6), rows left out by --exclude (6)" in str(tolerance)


def test_a_series_without_trouble_stays_as_it_is(fifty):
    tolerance = Tolerance(strict=True)
    assert without_known_trouble(fifty, None, tolerance) is fifty
    assert tolerance.counts == {}


def test_nothing_left_is_refused(fifty):
    with pytest.raises(DataError, match="Received: 50 rows, all labelled or excluded"):
        without_known_trouble(fifty, "2000-01-01..2100-01-01", Tolerance())


def train(folder, *words):
    return CliRunner().invoke(cli, ["train", *map(str, words), "--model", str(folder / "m.anomaly"), "--overwrite", *QUICK])


def test_what_stands_in_rows_that_are_left_out_changes_nothing(tmp_path):
    """Two files that differ in the labelled and the excluded rows only give the same detector."""
    series = make_series(n=400, spike=slice(100, 106))
    other = replace(series, values=series.values.copy())
    other.values[100:106] = 1e5
    other.values[300:303] = -7e4
    found = []
    for each in (series, other):
        result = train(tmp_path, to_csv(each, tmp_path / "in.csv", labels=True), "--label-column", "label", "--exclude",
                       f"{time(300)}..{time(302)}")  # fmt: skip
        assert result.exit_code == 0, result.stderr
        assert "labelled rows left out of the training (6), rows left out by --exclude (3)" in result.stderr
        found.append((tmp_path / "m.anomaly").read_bytes())
    assert found[0] == found[1]
    detector = Detector.load(tmp_path / "m.anomaly")
    assert np.isnan(detector.bundle_.calibration_scores["trailing"][[100, 105, 300, 302]]).all()
    assert detector.bundle_.value_range.maximum[0] == np.delete(series.values[:, 0], [*range(100, 106), 300, 301, 302]).max()


def test_going_on_takes_the_old_data_with_the_same_rows_left_out(tmp_path):
    series = make_series(n=400, spike=slice(380, 386))
    data = to_csv(series, tmp_path / "in.csv", labels=True)
    assert train(tmp_path, data, "--label-column", "label").exit_code == 0
    more = ["--from", str(tmp_path / "m.anomaly"), "--old-data", str(data), "--label-column", "label"]
    again = CliRunner().invoke(cli, ["train", str(data), "--model", str(tmp_path / "n.anomaly"), *more, *QUICK[4:8]])
    assert again.exit_code == 0, again.stderr


def test_ranges_that_leave_nothing_out_are_warned_of(tmp_path):
    data = to_csv(make_series(n=60, spike=None), tmp_path / "in.csv")
    result = train(tmp_path, data, "--exclude", "2031-04-16..2031-04-17")
    assert (
        "Warning: --exclude leaves no row out. Received: 2031-04-16..2031-04-17, of rows 0 to 59, 2022-04-15T05:20:00Z to "
    ) in result.stderr


def test_of_several_series_labelled_rows_are_left_out_and_ranges_refused(tmp_path):
    from json import loads

    for name in "ab":
        to_csv(make_series(n=200, seed=ord(name), spike=slice(50, 54)), tmp_path / f"{name}.csv", labels=True)
    words = [str(tmp_path / "?.csv"), "--model", str(tmp_path / "two.fleet"), "--label-column", "label", *QUICK]
    refused = CliRunner().invoke(cli, ["train", *words, "--exclude", "2022-04-16..2022-04-17"])
    assert refused.exit_code == 2
    assert "--exclude must go with one input" in refused.stderr
    result = CliRunner().invoke(cli, ["train", *words, "--report-json", str(tmp_path / "r.json")])
    assert result.exit_code == 0, result.stderr
    told = loads((tmp_path / "r.json").read_text())["series"]
    assert [told[name]["tolerated"]["labelled_rows"] for name in "ab"] == [4, 4]
    assert TINY["window_size"] == told["a"]["window_size"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (f"{time(3)}..{time(5)},2042-01-05..2042-01-06", "1 of 2 stretches of --exclude leaves no row out. Received: '2042-01-05"),
        (f"2021-01-01..2021-01-02,{time(3)}..{time(5)},2042-01-05..2042-01-06", "2 of 3 stretches of --exclude leave no row out. "),
        (f"{time(3)}..{time(5)},{time(40)}..2042-01-06", None),
        ("2042-01-05..2042-01-06", None),  # all of them: the command says so
    ],
)
def test_a_stretch_that_leaves_no_row_out_beside_others_is_told(given, told, fifty, tmp_path):
    path = tmp_path / "known.csv"
    path.write_text("start,end\n" + given.replace("..", "\x00").replace(",", "\n").replace("\x00", ",") + "\n")
    typed, listed = [], []
    excluded_rows(given, fifty, warn=typed.append)
    excluded_rows(str(path), fifty, warn=listed.append)
    assert len(typed) == len(listed) == (told is not None)
    assert told is None or (told in typed[0] and told.split(" Received")[0] in listed[0])


@pytest.mark.parametrize(
    ("start", "end", "idle"),
    [
        (None, "2042-01-01", ["--train-end 2042-01-01"]),
        ("2021-01-01", time(9), ["--train-start 2021-01-01"]),
        ("2021-01-01", "2042-01-01", ["--train-start 2021-01-01", "--train-end 2042-01-01"]),
        (time(3), time(9), []),
        ("90d", "40", []),
        ("0", "50", []),
        (None, None, []),
    ],
)
def test_times_beyond_the_rows_that_cut_nothing_are_told(start, end, idle, fifty):
    assert idle_ends(fifty, training_part(fifty, start, end), start, end) == idle
