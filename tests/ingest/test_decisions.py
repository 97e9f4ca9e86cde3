"""Every decision of a reading is told with its evidence; what a detector remembers decides in doubt."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from made_bundles import made_bundle

from anomaly import DataError
from anomaly.bundle.container import RefusedError
from anomaly.bundle.file import from_bytes, to_bytes
from anomaly.cli import cli
from anomaly.files.checking import check_input
from anomaly.ingest.csv_rows import CsvReader
from anomaly.ingest.reading import read_csv
from anomaly.report.detector_text import bundle_text

N = 60
DAY = pd.date_range("2024-02-01", periods=N, freq="10min")
WEEK = pd.date_range("2024-01-20", periods=N, freq="6h")
ABOUT = [
    "format", "separator", "header_line", "time", "time_format", "timezone", "series", "features", "labels", "ignored", "decimal",
    "thousands", "missing", "step_seconds", "order",
]  # fmt: skip


def written(tmp_path, times, cells, sep=";", header="Zeit;Druck"):
    path = tmp_path / "in.csv"
    path.write_text(header + "\n" + "".join(f"{time}{sep}{cell}\n" for time, cell in zip(times, cells, strict=True)))
    return path


def test_check_gives_each_decision_with_its_evidence_and_confidence(tmp_path):
    path = written(tmp_path, WEEK.strftime("%d.%m.%Y %H:%M"), [f"{x},5" for x in range(N)])
    result = CliRunner().invoke(cli, ["check", str(path), "--format", "json"])
    found = json.loads(result.output)["reading"]
    assert list(found) == ABOUT
    assert all(found[about]["evidence"] and 0 < found[about]["confidence"] <= 1 for about in ABOUT)
    values = {about: found[about]["value"] for about in ABOUT}
    assert values == {
        "format": "csv", "separator": ";", "header_line": 1, "time": "Zeit", "time_format": "%d.%m.%Y %H:%M", "timezone": "UTC",
        "series": None, "features": ["Druck"], "labels": None, "ignored": [], "decimal": ",", "thousands": None, "missing": None,
        "step_seconds": 21_600.0, "order": "rising",
    }  # fmt: skip


def test_what_was_said_is_sure_and_what_was_told_is_not(tmp_path):
    path = written(tmp_path, WEEK, range(N), header="Zeit;Druck")
    told, said = check_input(path), check_input(path, time_column="Zeit", value_columns=["Druck"], decimal=".", delimiter=";")
    for about in ("time", "features", "decimal", "separator"):
        one, other = ({decision.about: decision for decision in found.decisions}[about] for found in (told, said))
        assert one.value == other.value
        assert one.confidence < other.confidence == 1


@pytest.mark.parametrize("before", ["%d.%m.%Y %H:%M", "%m.%d.%Y %H:%M"])
def test_the_training_decides_the_order_of_day_and_month_where_both_are_possible(tmp_path, before):
    path = written(tmp_path, DAY.strftime(before), range(N))
    with pytest.raises(DataError, match="must have one meaning"):
        read_csv(path)
    series = read_csv(path, before={"time_format": before})
    np.testing.assert_array_equal(series.times, np.asarray(DAY.astype("datetime64[us]").astype("int64")))


def test_another_order_of_day_and_month_than_in_training_is_told_apart_and_can_be_said(tmp_path):
    path = written(tmp_path, WEEK.strftime("%m.%d.%Y %H:%M"), range(N))
    with pytest.raises(DataError, match=r"as in training, as %d.%m.%Y %H:%M.*Say --time-format \"%m.%d.%Y %H:%M\" if they are"):
        read_csv(path, before={"time_format": "%d.%m.%Y %H:%M"})
    assert read_csv(path, before={"time_format": "%d.%m.%Y %H:%M"}, time_format="%m.%d.%Y %H:%M").times[0] == WEEK[0].value // 1000
    assert read_csv(path).times[0] == WEEK[0].value // 1000


@pytest.mark.parametrize(("before", "factor"), [({"decimal": ","}, 0.001), ({}, None)])
def test_the_training_decides_what_a_comma_is_where_both_are_possible(tmp_path, before, factor):
    path = written(tmp_path, WEEK, [f"{x + 1},250" for x in range(N)])
    if factor is None:
        with pytest.raises(DataError, match="--decimal , or --thousands ,"):
            read_csv(path, before=before)
    else:
        assert read_csv(path, before=before).values[0, 0] == 1.25


def test_points_of_a_file_that_had_decimal_commas_in_training_are_asked_about(tmp_path):
    path = written(tmp_path, WEEK, [f"{x + 1}.250" for x in range(N)], sep=",", header="Zeit,Druck")
    assert read_csv(path).values[0, 0] == 1.25
    with pytest.raises(DataError, match="A point in a number must have one meaning"):
        read_csv(path, before={"decimal": ","})


def test_a_detector_remembers_how_its_file_was_read_and_says_so(tmp_path):
    path = written(tmp_path, WEEK.strftime("%d.%m.%Y %H:%M"), [f"{x},5" for x in range(N)])
    series = read_csv(path)
    assert series.reading == {"delimiter": ";", "decimal": ",", "time_format": "%d.%m.%Y %H:%M"}
    plain = made_bundle()
    bundle = replace(plain, training=plain.training | {"reading": series.reading})
    again = from_bytes(to_bytes(bundle))
    assert again.reading["before"] == series.reading
    assert "times as '%d.%m.%Y %H:%M'" in bundle_text(again, "text")
    assert plain.reading["before"] == {}


@pytest.mark.parametrize("reading", [{}, {"decimal": ""}, {"zone": "UTC"}, {"decimal": 1}, {"time_format": "a\x1b"}, []])
def test_a_file_with_another_memory_is_refused(reading):
    bundle = made_bundle()
    with pytest.raises(RefusedError, match="description"):
        from_bytes(to_bytes(replace(bundle, training=bundle.training | {"reading": reading})))


def test_a_plain_file_leaves_nothing_to_remember(tmp_path):
    path = written(tmp_path, WEEK, range(N), sep=",", header="timestamp,x")
    with CsvReader(path) as reader:
        assert reader.remembered == {}
    assert read_csv(path).reading == {}


def test_check_looks_at_each_of_several_series(tmp_path):
    path = tmp_path / "in.csv"
    rows = [f"{time},{host},{x}\n" for x, time in enumerate(WEEK) for host in "ab"]
    path.write_text("timestamp,host,x\n" + "".join(rows))
    assert "--id-column host" in check_input(path).faults[0]
    found = check_input(path, id_column="host")
    assert not found.faults
    assert found.n_rows == 2 * N
    assert found.notes == ["Series: 2, such as 'a', 'b'."]


@pytest.mark.parametrize(
    ("kind", "times"),
    [
        ("iso8601", DAY.astype(str)),
        ("%Y%m%d", pd.date_range("2022-01-01", periods=N).strftime("%Y%m%d")),
        ("iso8601", pd.date_range("2022-01-01", periods=N)),
        ("epoch", [str(1_710_028_800 + 60 * i) for i in range(N)]),
        ("epoch", [f"{1_710_028_800.5 + 60 * i}" for i in range(N)]),
        ("epoch", [f"{(1_710_028_800 + 3_600 * i) / 1e9:.7f}E9" for i in range(N)]),
        ("epoch", [f"{i * 1e-6:.15e}" for i in range(N)]),
        ("epoch", [f"{(i - 5) * 60}" for i in range(N)]),
    ],
)
def test_times_are_called_what_they_were_read_as(tmp_path, kind, times):
    path = written(tmp_path, times, range(N), sep=",", header="time,Druck")
    assert {decision.about: decision for decision in check_input(path).decisions}["time_format"].value == kind
    with CsvReader(path) as reader:
        list(reader)
        assert reader._clock._has_epoch_times is (kind == "epoch")
