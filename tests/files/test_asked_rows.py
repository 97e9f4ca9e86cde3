"""A range of rows: their scores are those among all, their events keep their numbers, and no other row is written or counted."""

import io
from dataclasses import replace

import numpy as np
import pytest
from conftest import HOUR, TINY, make_series, to_csv
from scored_text import scored

from anomaly import ConfigError, Detector
from anomaly.files.journal import journalled
from anomaly.files.one_file import score_file
from anomaly.fitting.training_rows import training_rows
from anomaly.fleet.detectors import model_of
from anomaly.fleet.long_files import score_long_file
from anomaly.fleet.scoring import Options
from anomaly.ranges import range_of, training_part
from anomaly.series import format_time


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """Three spikes: in the training rows, and twice behind them."""
    series = make_series()
    values = series.values.copy()
    for start in (250, 460):
        values[start : start + 6, 0] += 25
    series = replace(series, values=values)
    return series, to_csv(series, tmp_path_factory.mktemp("ranges") / "several.csv")


@pytest.fixture(scope="module")
def whole(detector, several):
    return scored(detector, several[1])


@pytest.mark.parametrize(
    ("since", "until", "first", "last"),
    [("440", None, 440, 499), ("440", "449", 440, 449), ("2d", "1d", 451, 475), ("2022-05-03", "2022-05-03", 427, 450)],
)
def test_rows_of_a_range_have_the_scores_that_they_have_among_all(detector, several, whole, since, until, first, last):
    text, summary = scored(detector, several[1], since=since, until=until)
    lines = whole[0].splitlines()
    assert text.splitlines() == [lines[0], *lines[first + 1 : last + 2]]
    assert (summary.n_rows, summary.n_outside, summary.first_row) == (last + 1 - first, 500 - (last + 1 - first), first)
    assert summary.n_flagged == sum(line.split(",")[-2] == "1" for line in lines[first + 1 : last + 2])
    assert summary.to_dict()["outside_range"] == summary.n_outside
    assert f" rows in the range scored; {summary.n_outside} others lie outside of it; " in str(summary)
    assert summary.drift.rows == last + 1 - first


def test_events_of_a_range_are_those_that_lie_in_it_in_part_with_their_numbers_among_all(detector, several, whole):
    everything = whole[1].events
    inside = [event for event in everything if event.stop > 423]
    summary = scored(detector, several[1], since="423")[1]
    assert summary.events == inside and inside[0].start < 423, "the first one begins before the range"
    assert summary.first_number == everything.index(inside[0]) + 1 > 1
    found = detector.detect(several[0], since=423)
    assert found == inside and found.first_number == summary.first_number
    assert list(found.to_frame().index) == [everything.index(event) + 1 for event in inside]
    assert repr(found).splitlines()[1].split()[0] == str(found.first_number)
    assert detector.detect(detector.score(several[0]), since="423") == inside
    none = scored(detector, several[1], since="300", until="310")[1]
    assert none.events == [] and none.n_events == 0


def test_python_returns_the_scores_of_a_range(detector, several):
    everything, part = detector.score(several[0]), detector.score(several[0], since="2022-05-03", until=450)
    np.testing.assert_array_equal(part.score, everything.score[427:451])
    np.testing.assert_array_equal(part.times, everything.times[427:451])
    with pytest.raises(ConfigError, match="since must be a row number, an ISO 8601 time, or a span before the end. Received: '-3'"):
        detector.score(several[0], since="-3")


def test_a_span_needs_an_input_that_can_be_read_twice(detector, several, monkeypatch):
    content = several[1].read_bytes()
    for since, fine in (("440", True), ("2022-05-03", True), ("2d", False)):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))
        if fine:
            assert scored(detector, "-", since=since)[0] == scored(detector, several[1], since=since)[0]
            continue
        with pytest.raises(ConfigError) as caught:
            scored(detector, "-", since=since)
        message = "A span before the end needs an input that can be read twice. Received: --since 2d. Give a time, or a file."
        assert str(caught.value) == message


def test_a_range_without_a_row_is_refused_once_all_rows_are_known(detector, several):
    with pytest.raises(ConfigError) as caught:
        scored(detector, several[1], since="2023-01-01")
    last = format_time(int(several[0].times[-1]), "timestamp")
    given = "--since 2023-01-01, of rows 0 to 499, 2022-04-15T05:20:00Z"
    assert str(caught.value) == f"Some rows must lie in the range. Received: {given} to {last}. Widen it."


def test_a_run_that_can_go_on_writes_the_same_range(detector, several, tmp_path):
    with journalled(tmp_path / "out.csv") as journal:
        score_file(detector, several[1], output=journal, since="440")
    assert (tmp_path / "out.csv").read_text() == scored(detector, several[1], since="440")[0]


def test_of_several_series_in_a_file_a_range_of_times_is_written(detector, several, tmp_path):
    rows = several[1].read_text().splitlines()
    mixed = [f"{rows[0]},pump", *(f"{line},{name}" for line in rows[1:] for name in "ab")]
    path = tmp_path / "mixed.csv"
    path.write_text("\n".join(mixed) + "\n")

    def run(**options):
        output = io.BytesIO()
        return output, score_long_file(model_of(detector), path, id_column="pump", output=output, **options)

    (everything, _), (output, summary) = run(), run(since="2d")
    lines = everything.getvalue().decode().splitlines()
    assert output.getvalue().decode().splitlines() == [lines[0], *lines[1 + 2 * 451 :]]
    assert summary.n_rows == 2 * 49 and summary.n_outside == 2 * 451
    assert {series.rows for series in summary.drift.series.values()} == {49}
    assert all(event.last_time >= several[0].times[451] for event in summary.events)
    with pytest.raises(ConfigError, match=r"one of times. Received: --since 440. Give times, spans such as 7d, or a file"):
        run(since="440")


def test_a_manifest_knows_a_range_only_where_there_is_one():
    assert "since" not in Options().described()
    assert Options(since="7d").described()["since"] == "7d"


def test_a_training_begins_and_ends_at_rows_shares_times_and_spans():
    series = make_series(n=100)
    begin = format_time(int(series.times[30]), "timestamp")
    for start, stop, rows in [
        (None, None, (0, 100)), ("30", None, (30, 100)), ("0.3", "0.5", (30, 50)), (begin, "50", (30, 50)),
        ("24h", None, (75, 100)), (None, "1d", (0, 75)), ("3d", "1d", (27, 75)), ("0", "100", (0, 100)),
    ]:  # fmt: skip
        part = series[training_part(series, start, stop)]
        assert (part.times[0], len(part)) == (series.times[rows[0]], rows[1] - rows[0]), (start, stop)
    with pytest.raises(ConfigError) as caught:
        training_part(series, "1d", "60")
    given = "--train-start 1d, which is row 75, and an end at row 60 (made)"
    assert str(caught.value) == f"A training must begin before it ends. Received: {given}. Begin earlier."


def test_rows_of_the_training_are_those_from_its_first_time_to_its_last(detector, several):
    assert np.flatnonzero(detector.trained_on(several[0])).tolist() == list(range(400))
    later = replace(several[0], times=several[0].times + 450 * HOUR)
    assert not training_rows(detector.bundle_, later).any()


def test_counted_rows_are_rows_of_the_training_only_with_its_values():
    counted = make_series(n=120, spike=slice(20, 24))
    counted = replace(counted, times=np.arange(120), time_column=None)
    learnt = replace(counted, values=np.where(counted.labels[:, None] == 1, np.nan, counted.values), labels=None)
    bundle = Detector(**TINY | {"epochs": 1, "steps_per_epoch": 1}).fit(learnt[:100]).bundle_
    assert np.flatnonzero(training_rows(bundle, counted)).tolist() == list(range(100)), "labelled rows were left out"
    assert not training_rows(bundle, replace(counted, labels=None)).any()
    assert np.flatnonzero(training_rows(bundle, learnt)).tolist() == list(range(100))
    assert not training_rows(bundle, replace(learnt, values=learnt.values + 1)).any()
    assert not training_rows(bundle, learnt[100:]).any()


def test_a_range_and_an_event_touch_where_they_share_a_row(detector, several):
    series, events = several[0], detector.detect(several[0])
    for since, until in [(0, 10), (250, 251), (255, 420), (426, 440), (423, 423), (0, 499)]:
        wanted = range_of(series.times, "timestamp", since, until)
        for event in events:
            assert wanted.touches(event) == any(since <= row <= until for row in range(event.start, event.stop))
