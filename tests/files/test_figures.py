"""What is written of each feature behind the scores: the same numbers in every format, live, resumed, and in Python."""

import csv
import functools
import io
import json
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from commands import command
from conftest import make_series, to_csv
from scored_text import scored

from anomaly import DataError, Detector, read_csv
from anomaly.cli import cli
from anomaly.config import AGGREGATIONS, FIGURES
from anomaly.files import one_file
from anomaly.files.journal import journalled
from anomaly.files.scored_rows import ScoredRows, _figures
from anomaly.fleet.long_files import score_long_file

NAMES = [f"{name}_{ending}" for name in ("s1", "s2") for ending in ("expected", "lower", "upper", "share")]


def records(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Rows of which one has no value, one an infinite one, and one comes twice."""
    made = make_series(90, spike=slice(40, 44))
    values = made.values.copy()
    values[20, 1], values[60, 0] = np.nan, np.inf
    found = to_csv(replace(made, values=values, labels=None), tmp_path_factory.mktemp("data") / "in.csv")
    lines = found.read_text().splitlines(keepends=True)
    found.write_text("".join([*lines[:31], lines[30], *lines[31:]]))
    return found


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_file_has_the_columns_that_a_frame_has(detector, path, aggregation):
    frame = detector.score(read_csv(path), aggregation=aggregation).to_frame(details=True)
    rows = records(scored(detector, path, aggregation=aggregation, figures=FIGURES)[0])
    assert list(rows[0])[-8:] == NAMES
    for name in NAMES:
        assert [row[name] for row in rows] == ["" if np.isnan(x) else f"{x:.9g}" for x in frame[name]], name
    told = frame[NAMES].notna()
    assert told.iloc[80].all()
    assert not told.iloc[30].any()  # the row that comes twice
    assert told.iloc[20][["s1_expected", "s2_expected", "s2_lower", "s2_upper"]].tolist() == [True, False, False, False]
    assert told.iloc[61][["s1_expected", "s1_lower", "s2_upper"]].tolist() == [True, False, False]  # an infinite value


def test_what_is_expected_has_the_digits_that_tell_it_from_what_was_measured():
    """Beside an offset of a billion nine digits show nothing."""
    measured, shares = np.array([[1e9 + 2], [5.0], [np.nan]]), np.full(3, np.nan)
    figures = np.column_stack([[1e9 + 1, 4.0, np.nan], [1e9 - 9_000, 4.5, np.nan], [2e9, 5.5, np.nan], shares])
    rows = ScoredRows(["", "", ""], *[np.zeros(3)] * 6, measured=measured, figures=figures)
    assert list(_figures(rows, NAMES[:4])) == [
        ["1000000001", "999991000", "2e+09", ""], ["4", "4.5", "5.5", ""], [""] * 4,
    ]  # fmt: skip


def test_what_is_expected_is_measured_less_deviation_in_the_unit_of_the_column(detector, series):
    scores = detector.score(series)
    frame, scale = scores.to_frame(details=True), detector.bundle_.scaler.scale
    for i, name in enumerate(series.columns):
        np.testing.assert_allclose(frame[f"{name}_expected"], series.values[:, i] - scale[i] * scores.deviation[:, i], rtol=1e-12)
    parts = frame[[f"score_of_{name}" for name in series.columns]].to_numpy()
    np.testing.assert_allclose(frame["s1_share"], parts[:, 0] / parts.sum(axis=1), rtol=1e-12)


def test_the_band_follows_the_threshold_and_rows_that_are_not_flagged_lie_within(detector, series):
    scores = detector.score(series)
    for threshold in (scores.threshold, 0.3 * scores.threshold):
        frame, flags = scores.at(threshold).to_frame(details=True), scores.score > threshold
        for i, name in enumerate(series.columns):
            inside = (frame[f"{name}_lower"] <= series.values[:, i]) & (series.values[:, i] <= frame[f"{name}_upper"])
            np.testing.assert_array_equal(inside, ~flags)
    part = scores[30:60]
    np.testing.assert_array_equal(part.to_frame(details=True)[NAMES], scores.to_frame(details=True)[NAMES][30:60])


def test_only_what_is_asked_for_is_written(detector, path):
    plain = scored(detector, path)[0].splitlines()
    shares = scored(detector, path, figures=("by-feature",))[0].splitlines()
    assert shares[0] == plain[0] + ",s1_share,s2_share"
    assert all(line.startswith(f"{old},") for line, old in zip(shares, plain, strict=True))


def test_json_lines_have_null_where_csv_is_empty(detector, path):
    wanted = records(scored(detector, path, figures=FIGURES)[0])
    found = [json.loads(line) for line in scored(detector, path, figures=FIGURES, file_format="jsonl")[0].splitlines()]
    for row, values in zip(wanted, found, strict=True):
        assert [values[name] for name in NAMES] == [float(row[name]) if row[name] else None for name in NAMES]


def test_a_name_stays_one_field_in_csv_and_one_key_in_line_protocol(tmp_path):
    made = make_series(60, spike=None)
    made = replace(made, columns=('a,"b"', "c = d"), labels=None)
    detector = Detector(window_size=6, units=2, epochs=1, steps_per_epoch=1, seed=0, nearest_windows=0).fit(made)
    detector.save(tmp_path / "m.anomaly")
    rows = records(scored(detector, to_csv(made, tmp_path / "in.csv"), figures=("expected",))[0])
    assert {'a,"b"_expected', "c = d_expected"} <= rows[0].keys()
    lines = [
        f'm a\\,"b"={a},c\\ \\=\\ d={b} {1000 * time}'
        for time, (a, b) in zip(made.times.tolist(), made.values.tolist(), strict=True)
    ]
    out = CliRunner().invoke(
        cli,
        ["score", "-", "--model", str(tmp_path / "m.anomaly"), "--follow", "--input-format", "influx", "--with", "expected"],
        input="\n".join(lines) + "\n",
    )
    assert out.exit_code == 0, out.output
    last = out.stdout.splitlines()[-1]
    assert 'a\\,"b"_expected=' in last and "c\\ \\=\\ d_expected=" in last
    assert last.endswith(lines[-1].rpartition(" ")[2])


def test_live_with_a_lag_writes_the_bytes_of_the_file(bundle_path, detector, path, tmp_path):
    wanted = scored(detector, path, figures=FIGURES)[0]
    options = ["--follow", "--lag", "11", "--aggregation", "combined", "--with", ",".join(FIGURES)]
    asked = command("score", "-", "--model", bundle_path, *options)
    done = subprocess.run(asked, input=path.read_bytes(), capture_output=True, check=True)
    assert done.stdout.decode() == wanted


def test_line_protocol_leaves_out_what_there_is_not(bundle_path, detector, path):
    wanted = records(scored(detector, path, figures=("band",), aggregation="trailing")[0])
    lines = []
    for time, row in zip(read_csv(path).times.tolist(), wanted, strict=True):
        values = [f"{name}={row[name]}" for name in ("s1", "s2") if row[name] and row[name] != "inf"]
        lines.append(f"pump,site=a {','.join(values)} {1000 * time}")
    lines = lines[:55]  # before what line protocol cannot hold
    arguments = ["score", "-", "--model", str(bundle_path), "--follow", "--input-format", "influx", "--with", "band"]
    out = CliRunner().invoke(cli, arguments, input="\n".join(lines) + "\n")
    assert out.exit_code == 0, out.output
    names = [name for name in NAMES if name.endswith(("lower", "upper"))]
    for line, row in zip(out.stdout.splitlines(), wanted, strict=False):
        found = dict(field.split("=") for field in line.split(" ")[1].split(","))
        assert {name: found.get(name, "") for name in names} == {name: row[name] for name in names}


def test_series_of_a_long_file_have_theirs_and_one_without_a_detector_has_none(detector, path, tmp_path):
    lines = path.read_text().splitlines()
    (tmp_path / "long.csv").write_text("\n".join([f"{lines[0]},id", *(f"{line},{k}" for line in lines[1:] for k in "xy")]) + "\n")

    class OnlyX:
        time_column, columns, judged_columns, reading = "timestamp", ("s1", "s2"), ("s1", "s2"), {}

        def detector(self, series):
            if series != "x":
                raise DataError(f"No detector for {series}.")
            return detector

        def teacher(self, series):
            return None

    output = io.BytesIO()
    score_long_file(OnlyX(), tmp_path / "long.csv", id_column="id", output=output, figures=FIGURES)
    rows, wanted = records(output.getvalue().decode()), records(scored(detector, path, figures=FIGURES)[0])
    assert [[row[name] for name in NAMES] for row in rows if row["id"] == "x"] == [[row[name] for name in NAMES] for row in wanted]
    assert {row[name] for row in rows if row["id"] == "y" for name in NAMES} == {""}


def test_a_column_that_would_be_there_twice_is_refused_only_where_it_is_written(detector, path, tmp_path):
    header, *lines = path.read_text().splitlines()
    (tmp_path / "twice.csv").write_text("\n".join([f"{header},s1_lower", *(f"{line},1" for line in lines)]) + "\n")
    assert scored(detector, tmp_path / "twice.csv")[1].n_rows == 91
    with pytest.raises(DataError, match=r"must not have columns that scoring appends .*s1_upper.*\. Received: 's1_lower'"):
        scored(detector, tmp_path / "twice.csv", figures=("band",))


@pytest.mark.parametrize("given", ["expected,bands", "", "expected,,band"])
def test_other_words_are_refused(bundle_path, path, given):
    out = CliRunner().invoke(cli, ["score", str(path), "--model", str(bundle_path), "--with", given])
    assert out.exit_code == 2
    assert "must be of expected, band, by-feature, separated by commas" in " ".join(out.stderr.split())


def test_metrics_have_no_rows(bundle_path, path):
    out = CliRunner().invoke(cli, ["score", str(path), "--model", str(bundle_path), "--format", "openmetrics", "--with", "band"])
    assert (out.exit_code, out.stderr) == (
        2,
        "Error: --with goes with rows. Received: --with band and --format openmetrics. Leave one of them out.\n",
    )


def interrupted(series, rows):
    raise KeyboardInterrupt


def test_a_run_goes_on_only_with_the_same_columns(bundle_path, detector, csv_path, tmp_path, monkeypatch):
    whole = scored(detector, csv_path, figures=FIGURES)[0]
    monkeypatch.setattr(one_file, "CsvReader", functools.partial(one_file.CsvReader, chunk_bytes=1_000))
    with pytest.raises(KeyboardInterrupt), journalled(tmp_path / "out.csv", seconds=0) as journal:
        one_file.score_file(detector, csv_path, output=journal, figures=FIGURES, on_rows=interrupted)
    assert journal.kept
    monkeypatch.undo()
    arguments = ["score", str(csv_path), "--model", str(bundle_path), "--output", str(tmp_path / "out.csv"), "--resume"]
    refused = CliRunner().invoke(cli, arguments)
    assert refused.exit_code == 2
    assert "Received: another with" in refused.stderr
    assert CliRunner().invoke(cli, [*arguments, "--with", ",".join(FIGURES)]).exit_code == 0
    assert (tmp_path / "out.csv").read_text() == whole


def test_several_files_have_them_and_other_columns_are_written_anew(bundle_path, path, tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.csv").write_bytes(path.read_bytes())
    files = [str(tmp_path / f"{name}.csv") for name in "ab"]
    for words, last in (("by-feature", "s2_share"), ("expected,band", "s2_upper")):
        out = CliRunner().invoke(
            cli, ["score", *files, "--model", str(bundle_path), "--output", str(tmp_path / "out"), "--with", words]
        )
        assert (out.exit_code, "unchanged" in out.stderr) == (0, False), out.output
        assert [(tmp_path / "out" / f"{name}.csv").read_text().splitlines()[0].split(",")[-1] for name in "ab"] == [last] * 2
