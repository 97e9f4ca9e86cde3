"""A scored file: the input as it stands, the scores behind it, the same as in memory, whatever the chunks."""

import csv
import functools
import gzip
import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import HOUR, to_csv
from scored_text import scored

from anomaly import DataError, Detector, read_csv
from anomaly.config import AGGREGATIONS, DetectorConfig
from anomaly.files import one_file as files
from anomaly.files.checking import check_input
from anomaly.files.one_file import FileSummary, open_for, score_file, score_rows
from anomaly.scoring.row_scores import APPENDED, STATUSES
from anomaly.storage.writing import atomic_output


def records(text):
    return list(csv.DictReader(io.StringIO(text)))


def lines_of(path):
    return path.read_text("utf-8").splitlines()


def in_chunks(monkeypatch, chunk_bytes):
    monkeypatch.setattr(files, "CsvReader", functools.partial(files.CsvReader, chunk_bytes=chunk_bytes))


@pytest.fixture(scope="module")
def gappy_path(series, tmp_path_factory):
    """Rows with every status: missing, after a gap, in too short a stretch, beyond all bounds, repeated, late."""
    path = to_csv(series[:150], tmp_path_factory.mktemp("data") / "gappy.csv")
    lines = lines_of(path)
    lines[41] = f"{lines[41].split(',')[0]},,"
    time, _, second = lines[71].split(",")
    lines[71] = f"{time},1e300,{second}"
    kept = lines[:100] + lines[112:117] + lines[129:]  # more than is put in
    kept.insert(60, kept[59])  # once more
    kept.insert(66, kept[62])  # late
    path.write_text("\n".join(kept) + "\n", "utf-8")
    return path


@pytest.fixture(params=AGGREGATIONS)
def aggregation(request):
    return request.param


def test_the_header_is_the_input_header_with_the_appended_columns(detector, csv_path):
    header = scored(detector, csv_path)[0].splitlines()[0]
    assert header == "timestamp,s1,s2,label,score,threshold,anomaly_score,is_anomaly,status"


def test_every_input_row_comes_out_once_and_in_order(detector, csv_path):
    found = [line.split(",")[0] for line in scored(detector, csv_path)[0].splitlines()[1:]]
    assert found == [line.split(",")[0] for line in lines_of(csv_path)[1:]]


def test_input_cells_are_kept_as_they_stand(detector, series, tmp_path):
    rows = lines_of(to_csv(series[:60], tmp_path / "in.csv"))[1:]
    rows = [
        f'"a, ""b"" {i}",{time},007.50,{first},"{second}",Ünï '
        for i, (time, first, second) in enumerate(r.split(",") for r in rows)
    ]
    rows[5] = rows[5].rsplit(",", 3)[0] + ',+1.10E+01,"9.5",\t'
    rows[6] = rows[6].rsplit(",", 3)[0] + ", 11 ,9.50000,"
    path = tmp_path / "odd.csv"
    path.write_text("\n".join(['note , timestamp,code,"s1",s2,"x,y"', *rows]) + "\n", "utf-8")
    text = scored(detector, path)[0].splitlines()
    assert text[0] == 'note , timestamp,code,"s1",s2,"x,y",' + ",".join(APPENDED)
    for line, given in zip(text[1:], rows, strict=True):
        assert line.startswith(given + ",")
        assert len(next(csv.reader([line[len(given) + 1 :]]))) == len(APPENDED)


def test_blank_lines_and_line_ends_are_no_records(detector, csv_path, tmp_path):
    path = tmp_path / "dos.csv"
    path.write_bytes(("\ufeff" + "\r\n\r\n".join(lines_of(csv_path))).encode())
    assert scored(detector, path)[0] == scored(detector, csv_path)[0]


def test_a_compressed_file_scores_as_its_content(detector, csv_path, tmp_path):
    path = tmp_path / "made.csv.gz"
    path.write_bytes(gzip.compress(csv_path.read_bytes()))
    assert scored(detector, path)[0] == scored(detector, csv_path)[0]


def test_a_row_without_a_score_has_empty_cells_and_a_status(detector, gappy_path):
    unscored = [row for row in records(scored(detector, gappy_path)[0]) if row["status"] in ("missing", "no_window", "warm_up")]
    assert {row["status"] for row in unscored} == {"missing", "no_window"}
    assert {(row["score"], row["anomaly_score"], row["is_anomaly"]) for row in unscored} == {("", "", "")}


def test_a_row_with_a_score_has_a_number_and_a_verdict(detector, gappy_path):
    rows = [row for row in records(scored(detector, gappy_path)[0]) if row["status"] in ("ok", "out_of_range")]
    assert all(np.isfinite(float(row["score"])) for row in rows)
    assert {row["is_anomaly"] for row in rows} == {"0", "1"}


def test_every_status_can_be_told(detector, gappy_path):
    found = set()
    for name in ("window_mean", "trailing"):
        found |= {row["status"] for row in records(scored(detector, gappy_path, aggregation=name)[0])}
    assert found == set(STATUSES) - {"insufficient", "constant_changed", "no_detector", "learning", "not_learnt"}


def test_rows_amid_too_many_missing_values_say_so(detector, series, tmp_path):
    path = to_csv(series[:90], tmp_path / "in.csv")
    lines = lines_of(path)
    for row in range(41, 71, 3):  # a third of both features, never of one row
        for at, column in ((row, 1), (row + 1, 2)):
            cells = lines[at].split(",")
            lines[at] = ",".join(["" if i == column else cell for i, cell in enumerate(cells)])
    path.write_text("\n".join(lines) + "\n", "utf-8")
    statuses = [row["status"] for row in records(scored(detector, path)[0])]
    assert statuses == ["ok"] * 47 + ["insufficient"] * 15 + ["ok"] * 28


def test_a_value_beyond_all_bounds_is_flagged(detector, gappy_path):
    (row,) = [row for row in records(scored(detector, gappy_path)[0]) if row["status"] == "out_of_range"]
    assert row["s1"] == "1e300"
    assert row["is_anomaly"] == "1"


def test_the_verdict_and_the_anomaly_score_follow_from_score_and_threshold(detector, csv_path):
    for row in records(scored(detector, csv_path)[0]):
        score, threshold = float(row["score"]), float(row["threshold"])
        assert row["is_anomaly"] == ("1" if score > threshold else "0")
        assert float(row["anomaly_score"]) == pytest.approx(score / threshold, rel=1e-7)


def test_columns_in_another_order_give_the_same_scores(detector, csv_path, tmp_path):
    path = tmp_path / "turned.csv"
    cells = [line.split(",") for line in lines_of(csv_path)]
    path.write_text("".join(f"{s2},{label},x,{time},{s1}\n" for time, s1, s2, label in cells).replace("x", "extra", 1), "utf-8")
    turned, straight = records(scored(detector, path)[0]), records(scored(detector, csv_path)[0])
    assert [[row[name] for name in APPENDED] for row in turned] == [[row[name] for name in APPENDED] for row in straight]


def lines_of_json(text):
    def refuse(constant):
        raise AssertionError(constant)

    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def test_json_lines_say_the_same_as_csv(detector, gappy_path, aggregation):
    rows = records(scored(detector, gappy_path, aggregation=aggregation)[0])
    found = lines_of_json(scored(detector, gappy_path, aggregation=aggregation, file_format="jsonl")[0])
    for record, row in zip(found, rows, strict=True):
        assert list(record) == list(row)
        assert (record["timestamp"], record["status"]) == (row["timestamp"], row["status"])
        for name in ("s1", "s2", "score", "threshold", "anomaly_score"):
            assert record[name] == (float(row[name]) if row[name] else None)
        assert record["is_anomaly"] is {"1": True, "0": False, "": None}[row["is_anomaly"]]


def test_json_lines_have_null_where_there_is_no_score(detector, gappy_path):
    found = lines_of_json(scored(detector, gappy_path, file_format="jsonl")[0])
    unscored = [record for record in found if record["status"] == "missing"]
    assert [(record["score"], record["anomaly_score"], record["is_anomaly"]) for record in unscored] == [(None, None, None)]


@pytest.mark.parametrize(
    ("cell", "value"), [("inf", "inf"), ("-inf", "-inf"), ("NaN", None), ("NA", None), ("", None), ("1e300", 1e300)]
)
def test_json_lines_hold_no_number_that_json_does_not_have(detector, series, tmp_path, cell, value):
    path = to_csv(series[:40], tmp_path / "in.csv")
    lines = lines_of(path)
    time, _, second = lines[21].split(",")
    lines[21] = f"{time},{cell},{second}"
    path.write_text("\n".join(lines), "utf-8")
    assert lines_of_json(scored(detector, path, file_format="jsonl")[0])[20]["s1"] == value


def test_json_lines_keep_the_text_of_other_columns(detector, series, tmp_path):
    path = to_csv(series[:40], tmp_path / "in.csv")
    lines = lines_of(path)
    note = '"Ünï, ""quoted"""'
    path.write_text("\n".join([lines[0] + ",note", *(f"{line},{note}" for line in lines[1:])]), "utf-8")
    found = lines_of_json(scored(detector, path, file_format="jsonl")[0])
    assert {record["note"] for record in found} == {'Ünï, "quoted"'}


def test_a_file_has_the_scores_of_the_series_to_the_printed_digits(detector, gappy_path, aggregation):
    scores = detector.score(read_csv(gappy_path), aggregation=aggregation)
    rows = records(scored(detector, gappy_path, aggregation=aggregation)[0])
    assert [row["score"] for row in rows] == ["" if np.isnan(score) else f"{score:.9g}" for score in scores.score]
    assert [row["status"] for row in rows] == [STATUSES[code] for code in scores.status]
    assert {row["threshold"] for row in rows} == {f"{detector.thresholds_[aggregation].value:.9g}"}


def test_a_file_has_the_scores_of_the_series_to_the_last_bit(detector, gappy_path, aggregation):
    scores = detector.score(read_csv(gappy_path), aggregation=aggregation)
    with open_for(detector, gappy_path) as reader:
        parts = list(score_rows(detector, reader, aggregation))
    assert np.concatenate([part.score for part in parts]).tobytes() == scores.score.tobytes()
    assert np.concatenate([part.by_feature for part in parts]).tobytes() == scores.by_feature.tobytes()


def test_a_file_has_the_scores_of_the_numbers_that_were_written_to_it(detector, series, csv_path, aggregation):
    expected = detector.score(series, aggregation=aggregation).score
    rows = records(scored(detector, csv_path, aggregation=aggregation)[0])
    assert [row["score"] for row in rows] == ["" if np.isnan(score) else f"{score:.9g}" for score in expected]


@pytest.mark.parametrize("chunk_bytes", [1, 100, 997, 5000])
@pytest.mark.parametrize("file_format", ["csv", "jsonl"])
def test_the_size_of_the_chunks_changes_no_byte(detector, gappy_path, monkeypatch, chunk_bytes, file_format):
    whole, _ = scored(detector, gappy_path, file_format=file_format)
    in_chunks(monkeypatch, chunk_bytes)
    assert scored(detector, gappy_path, file_format=file_format)[0] == whole


@pytest.mark.parametrize("chunk_bytes", [1, 997])
def test_the_size_of_the_chunks_changes_no_event_and_no_count(detector, csv_path, monkeypatch, chunk_bytes):
    _, whole = scored(detector, csv_path)
    in_chunks(monkeypatch, chunk_bytes)
    assert scored(detector, csv_path)[1] == whole


def test_events_are_those_of_the_detector(detector, series, csv_path, aggregation):
    summary = score_file(detector, csv_path, aggregation=aggregation)
    assert summary.events == detector.detect(series, aggregation=aggregation)
    assert any(event.start <= 420 < event.stop for event in summary.events)


def test_events_of_a_file_with_gaps_are_those_of_the_detector(detector, gappy_path):
    assert score_file(detector, gappy_path).events == detector.detect(read_csv(gappy_path))


def test_without_an_output_the_summary_is_the_same(detector, gappy_path):
    assert score_file(detector, gappy_path) == scored(detector, gappy_path)[1]


def test_scoring_does_not_change_the_input(detector, gappy_path):
    before = gappy_path.read_bytes()
    scored(detector, gappy_path)
    assert gappy_path.read_bytes() == before


def test_another_threshold_replaces_the_calibrated_one(detector, csv_path):
    text, summary = scored(detector, csv_path, threshold=5.0)
    rows = records(text)
    assert {row["threshold"] for row in rows} == {"5"}
    assert summary.n_flagged == sum(float(row["score"]) > 5 for row in rows) > 0
    assert summary.events == detector.detect(read_csv(csv_path, value_columns=["s1", "s2"]), threshold=5.0)


def test_a_threshold_above_all_scores_flags_nothing(detector, csv_path):
    summary = score_file(detector, csv_path, threshold=1e12)
    assert (summary.n_flagged, summary.events) == (0, [])


def test_a_score_equal_to_the_threshold_is_not_flagged(detector, series, csv_path):
    scores = detector.score(series)
    threshold = float(scores.score.max())
    text, summary = scored(detector, csv_path, threshold=threshold)
    assert summary.n_flagged == 0
    assert {row["is_anomaly"] for row in records(text)} == {"0"}


def test_the_counts_of_a_summary_add_up_to_the_rows(detector, gappy_path, aggregation):
    text, summary = scored(detector, gappy_path, aggregation=aggregation)
    rows = records(text)
    assert summary.n_rows == len(rows) == sum(summary.statuses.values())
    assert summary.statuses == {name: sum(row["status"] == name for row in rows) for name in STATUSES}
    assert summary.n_scored == sum(row["score"] != "" for row in rows)
    assert summary.n_flagged == sum(row["is_anomaly"] == "1" for row in rows)
    for event in summary.events:
        within = [row for row in rows if event.first_time <= pd.Timestamp(row["timestamp"]).value // 1000 <= event.last_time]
        assert event.n_flagged == sum(row["is_anomaly"] == "1" for row in within) > 0


def test_a_summary_is_told_in_one_line(detector, gappy_path):
    assert str(score_file(detector, gappy_path)).startswith(
        "120 of 128 rows scored (5 no_window, 1 missing, 1 out_of_range, 1 duplicate, 1 late); "
    )


def with_least_length(bundle_path, length):
    """The same detector with another rule for its events."""
    detector = Detector.load(bundle_path)
    config = DetectorConfig.from_settings(detector.bundle_.config.to_settings() | {"min_length": length, "short_severity": 1e6})
    detector.bundle_ = replace(detector.bundle_, config=config)
    return detector


def test_runs_that_are_no_events_are_counted_and_said(detector, bundle_path, csv_path):
    plain = score_file(detector, csv_path, threshold=1.0)
    summary = score_file(with_least_length(bundle_path, 100), csv_path, threshold=1.0)
    n = len(plain.events)
    assert n > 1 and plain.not_raised == {}
    assert summary.not_raised == {"too_short": n} == summary.to_dict()["not_raised"]
    assert f" flagged, 0 events; {n} runs of flagged rows were too short to be events." in str(summary)
    assert summary.left_out is None


def test_runs_that_are_no_events_are_kept_where_all_are_listed(detector, bundle_path, csv_path):
    plain = score_file(detector, csv_path, threshold=1.0, list_all=True)
    summary = score_file(with_least_length(bundle_path, 6), csv_path, threshold=1.0, list_all=True)
    assert summary.events and summary.left_out
    assert plain.left_out == []
    found = [*summary.events, *(run.event for _, run in summary.left_out)]
    assert sorted(found, key=lambda event: event.start) == plain.events


def test_a_summary_says_where_the_flagged_rows_are(detector, bundle_path, csv_path, series):
    summary = score_file(with_least_length(bundle_path, 6), csv_path, threshold=1.0, list_all=True)
    flags = detector.score(series).at(1.0).flags
    inside, passed_over = (
        sum(int(flags[event.start : event.stop].sum()) for event in events)
        for events in (summary.events, [run.event for _, run in summary.left_out])
    )
    beside = int(flags.sum()) - inside - passed_over
    assert beside > 1
    n = len(summary.events)
    text = f"{int(flags.sum())} flagged, {n} event{'s' * (n > 1)} ({inside} of these rows; {beside} beside them deviate little); "
    assert text in str(summary)
    told = summary.to_dict()
    assert (told["flagged_in_events"], told["flagged_not_raised"]) == (inside, passed_over)
    in_part = score_file(detector, csv_path, threshold=1.0, since="430")
    assert "of these rows" not in str(in_part) and "flagged_in_events" not in in_part.to_dict()


def test_an_empty_summary_is_told_in_one_line():
    assert str(FileSummary()) == "0 of 0 rows scored; 0 flagged, 0 events."


def refused(detector, path, match, tmp_path, **options):
    target = tmp_path / "out.csv"
    with pytest.raises(DataError, match=match) as caught, atomic_output(target) as output:
        score_file(detector, path, output=output, **options)
    assert caught.value.exit_code == 3
    assert not target.exists()


def changed(csv_path, path, change, n=61):
    path.write_text("".join(f"{change(line.split(','))}\n" for line in lines_of(csv_path)[:n]), "utf-8")
    return path


def test_a_missing_column_is_refused_by_name(detector, csv_path, tmp_path):
    path = changed(csv_path, tmp_path / "in.csv", lambda cells: f"{cells[0]},{cells[1]}")
    refused(detector, path, r"no 's2' among 'timestamp', 's1' \(in\.csv", tmp_path)


def test_a_missing_time_column_is_refused_by_name(detector, csv_path, tmp_path):
    path = changed(csv_path, tmp_path / "in.csv", lambda cells: ",".join(cells[1:]))
    refused(detector, path, r"no 'timestamp' among", tmp_path)


@pytest.mark.parametrize("name", APPENDED)
def test_a_column_that_scoring_appends_is_refused_by_name(detector, csv_path, tmp_path, name):
    path = changed(csv_path, tmp_path / "in.csv", lambda cells: ",".join(cells[:3]) + ("," + (name if cells[1] == "s1" else "5")))
    refused(detector, path, rf"columns that scoring appends .*Received: '{name}' \(in\.csv, line 1\)", tmp_path)


def test_a_scored_file_cannot_be_scored_again(detector, csv_path, tmp_path):
    path = tmp_path / "scored.csv"
    path.write_text(scored(detector, csv_path)[0], "utf-8")
    refused(detector, path, "score the file they were made from", tmp_path)


def test_a_scored_file_can_still_be_searched_for_events(detector, csv_path, tmp_path):
    path = tmp_path / "scored.csv"
    path.write_text(scored(detector, csv_path)[0], "utf-8")
    assert score_file(detector, path).events == score_file(detector, csv_path).events


@pytest.mark.parametrize(("factor", "received"), [(2, "every 7200 s"), (0.5, "every 1800 s")])
def test_rows_at_another_pace_are_refused(detector, series, tmp_path, factor, received):
    times = series.times[0] + (np.arange(80) * HOUR * factor).astype(np.int64)
    path = to_csv(replace(series[:80], times=times), tmp_path / "in.csv")
    refused(detector, path, rf"every 3600 s\. Received: {received} \(in\.csv\)", tmp_path)


def test_a_file_shorter_than_a_window_is_refused(detector, series, tmp_path):
    path = to_csv(series[:11], tmp_path / "in.csv")
    refused(detector, path, r"`window_size` rows \(12\).*Received: 11 rows without one \(in\.csv\)", tmp_path)


def test_a_file_as_long_as_a_window_is_scored(detector, series, tmp_path):
    assert score_file(detector, to_csv(series[:12], tmp_path / "in.csv")).n_scored == 12


def test_a_file_without_a_stretch_of_a_window_is_refused(detector, series, tmp_path):
    path = to_csv(series[:60], tmp_path / "in.csv")
    lines = lines_of(path)
    lines[6::3] = [line.rsplit(",", 2)[0] + ",," for line in lines[6::3]]
    path.write_text("\n".join(lines), "utf-8")
    refused(detector, path, "Received: too few of 's1', 's2', 2 of 2 features", tmp_path)


def test_a_file_without_values_of_most_features_is_refused_with_their_names(detector, series, tmp_path, monkeypatch):
    """A smaller window would mend nothing."""
    in_chunks(monkeypatch, 100)
    path = to_csv(series[:60], tmp_path / "in.csv")
    lines = lines_of(path)
    path.write_text("\n".join([lines[0], *(line.rsplit(",", 2)[0] + ",," for line in lines[1:])]), "utf-8")
    told = "no value of 's1', 's2', 2 of 2 features"
    refused(detector, path, rf"A window needs half of the features.*{told} \(in\.csv\)\. Supply their values", tmp_path)
    (fault,) = check_input(path, detector.bundle_).faults
    assert fault.endswith(f"{told}.")
    with pytest.raises(DataError, match=told):
        detector.score(replace(series[:60], values=np.full((60, 2), np.nan)))


def test_a_file_that_ends_in_missing_values_is_scored(detector, series, tmp_path, monkeypatch):
    in_chunks(monkeypatch, 100)
    path = to_csv(series[:60], tmp_path / "in.csv")
    lines = lines_of(path)
    path.write_text("\n".join([*lines[:30], *(line.rsplit(",", 2)[0] + ",," for line in lines[30:])]), "utf-8")
    assert score_file(detector, path).statuses == dict.fromkeys(STATUSES, 0) | {"ok": 29, "missing": 31}


def test_a_file_without_records_is_refused(detector, tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("timestamp,s1,s2\n", "utf-8")
    refused(detector, path, "Received: 0 rows without one", tmp_path)


def test_a_bad_record_late_in_the_file_leaves_no_output(detector, csv_path, tmp_path, monkeypatch):
    in_chunks(monkeypatch, 1000)
    path = changed(csv_path, tmp_path / "in.csv", lambda cells: ",".join(cells[:3]), n=500)
    with open(path, "a", encoding="utf-8") as handle:
        handle.write("2022-06-01T00:00:00Z,1,none of your business\n")
    refused(detector, path, "'none of your business' on line 501", tmp_path)


def test_an_earlier_output_stays_when_a_file_is_refused(detector, series, tmp_path):
    target = tmp_path / "out.csv"
    target.write_text("before", "utf-8")
    with pytest.raises(DataError), atomic_output(target) as output:
        score_file(detector, to_csv(series[:5], tmp_path / "in.csv"), output=output)
    assert target.read_text("utf-8") == "before"
