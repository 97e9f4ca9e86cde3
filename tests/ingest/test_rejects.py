"""Records that are left out on request: all of the planted faults, nothing else, and where they are."""

import csv
import gzip
import io
import json
import os
import random

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import to_csv

from anomaly import ConfigError, DataError, StorageError
from anomaly.cli import cli
from anomaly.files.one_file import score_file
from anomaly.ingest.csv_rows import CsvReader
from anomaly.ingest.reading import read_csv
from anomaly.sources.tolerance import REJECTED, Tolerance

SKIP = {"on_bad_rows": "skip", "max_bad_fraction": 1}


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture
def skipped(tmp_path):
    """Read text or bytes and leave bad records out; return the series, the rejects and what was tolerated."""

    def reader(content, **options):
        path, rejects, tolerance = tmp_path / "in.csv", tmp_path / "bad.csv", Tolerance()
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        series = read_csv(path, rejects=rejects, tolerance=tolerance, **(SKIP | options))
        return series, rows_of(rejects), tolerance

    return reader


# Planted faults: 200 generated files

TEXTS = ["ERR", "12 kV", "2;5", "0x1F", "Ünï", "~", "True"]
PLANTS = {
    "rejected_fields": lambda rng, cells: rng.choice([cells[:-1], [*cells, "1"], cells[:1], ["x"] * 9]),
    "rejected_quotes": lambda rng, cells: [*cells[:-1], f'"{cells[-1]}'],
    "rejected_numbers": lambda rng, cells: put(cells, rng.choice([1, 2]), rng.choice(TEXTS)),
    "rejected_times": lambda rng, cells: put(cells, 0, rng.choice(["", "yesterday", "2022-02-30", "now", "NaN", "31/12/2022"])),
}  # fmt: skip


def put(cells, place, text):
    return [*cells[:place], text, *cells[place + 1 :]]


def generated(seed):
    """Return the lines of a file, those without its bad records, and for each bad one (line, byte offset, kind, text)."""
    rng = random.Random(seed)
    epoch = rng.random() < 0.3
    header = rng.choice(["time,a,b,note", "ds,Größe,b,note"])
    lines, good, planted, offset = [header], [header], [], len(header.encode()) + 1
    for i in range(rng.choice([1, 5, 20, 90])):
        time = str(1_600_000_000 + 60 * i) if epoch else f"2022-01-{1 + i // 24:02d}T{i % 24:02d}:00:00"
        cells = [time, rng.choice(["", "1", "-2.5", "1e3", f"{rng.random()!r}"]), f"{rng.random()!r}", rng.choice(["", "ok", "°C"])]
        kind = rng.choice([*PLANTS]) if i and rng.random() < rng.choice([0.02, 0.3]) else None
        line = ",".join(PLANTS[kind](rng, cells) if kind else cells)
        if kind:
            planted.append((len(lines) + 1, offset, kind, line))
        else:
            good.append(line)
        lines.append(line)
        if rng.random() < 0.05:
            lines.append("")  # a blank line is no record
            offset += 1
        offset += len(line.encode()) + 1
    return lines, good, planted


@pytest.mark.parametrize("block", range(10))
def test_all_planted_faults_are_found_and_nothing_else(tmp_path, block):
    path, clean, rejects = tmp_path / "in.csv", tmp_path / "clean.csv", tmp_path / "bad.csv"
    for seed in range(block * 20, block * 20 + 20):
        lines, good, planted = generated(seed)
        path.write_text("\n".join(lines) + "\n", "utf-8")
        clean.write_text("\n".join(good) + "\n", "utf-8")
        columns = {"value_columns": [lines[0].split(",")[1], "b"]}
        with CsvReader(
            path, rejects=rejects, chunk_bytes=random.Random(seed).choice([300, 900, 1 << 20]), **SKIP, **columns
        ) as reader:
            chunks = list(reader)
        found = [(int(row["line"]), int(row["byte_offset"])) for row in rows_of(rejects)]
        assert found == [(line, offset) for line, offset, _, _ in planted], seed
        assert [row["text"].lstrip("'") for row in rows_of(rejects)] == [text for *_, text in planted]
        content = path.read_bytes()
        assert all(content[offset:].startswith(text.encode() + b"\n") for _, offset, _, text in planted)
        kinds = [kind for _, _, kind, _ in planted]
        assert {kind: reader.tolerance.counts.get(kind, 0) for kind in REJECTED} == {kind: kinds.count(kind) for kind in REJECTED}
        whole = read_csv(clean, **columns)
        assert [line for chunk in chunks for line in chunk.lines] == good[1:]
        np.testing.assert_array_equal(np.concatenate([chunk.values for chunk in chunks]), whole.values)
        np.testing.assert_array_equal(np.concatenate([chunk.times for chunk in chunks]), whole.times)


def test_a_reject_says_where_and_why(skipped):
    bad = ["2022-01-02,1", "2022-01-03,x,2", "soon,1,2", '2022-01-05,"1,2']
    _, rejects, tolerance = skipped("time,a,b\n2022-01-01,1,2\n" + "\n".join(bad) + "\n")
    assert [(row["line"], row["column"], row["reason"], row["text"]) for row in rejects] == [
        ("3", "", "2 fields instead of 3", bad[0]),
        ("4", "a", "no number: 'x'", bad[1]),
        ("5", "time", "no time: 'soon'", bad[2]),
        ("6", "", "no CSV record, such as an open quote", bad[3]),
    ]
    assert tolerance.counts == dict.fromkeys(set(REJECTED) - {"rejected_ids", "rejected_syntax"}, 1)
    assert "records left out for text among numbers (1)" in str(tolerance)
    assert tolerance.places["rejected_times"] == "line 5"


def test_a_record_with_several_faults_is_rejected_once(skipped):
    series, rejects, tolerance = skipped("time,a,b\n2022-01-01,1,2\nsoon,x,y\n")
    assert (len(series), len(rejects), tolerance.n_rejected) == (1, 1, 1)


@pytest.mark.parametrize(
    ("content", "offset"),
    [
        (b"a,b\r\n1,2\r\nx,2\r\n", 10),
        (b"a,b\r1,2\rx,2\r", 8),
        (b"\xef\xbb\xbfa,b\n1,2\nx,2\n", 11),
        ("a,ß\n1,2\nx,2\n".encode(), 9),
        ("a,b\n1,2\nx,2\n".encode("utf-16"), 8),
        (gzip.compress(b"a,b\n1,2\nx,2\n", mtime=0), 8),
        (b"a,b\n1,2\r\nx,2\n", None),
    ],
)
def test_an_offset_counts_bytes_of_the_text_as_utf8(skipped, content, offset):
    _, rejects, _ = skipped(content)
    assert [row["byte_offset"] for row in rejects if row["line"] == "3"] == ["" if offset is None else str(offset)]


def test_control_characters_and_formulas_are_written_inert(skipped):
    _, rejects, _ = skipped('=a,b\n1,2\n-1,\x1b[31m\n=2,"x"\n')
    assert [row["text"] for row in rejects] == ["'-1,\\x1b[31m", '\'=2,"x"']
    assert [row["column"] for row in rejects] == ["b", "'=a"]


def test_the_place_of_a_skipped_record_stays_empty_where_rows_are_counted(skipped):
    series, _, _ = skipped("a\n1\nx\n3\n")
    assert series.times.tolist() == [0, 2]
    series, _, _ = skipped("a,b\n1,1\n1\n3,1\n")
    assert series.times.tolist() == [0, 2]


@pytest.mark.parametrize("first", ["", "yesterday", "nan"])
@pytest.mark.parametrize(("second", "third"), [("1651406400", "1651406460"), ("2022-05-01T12:00:00", "2022-05-01T12:01:00")])
def test_a_bad_first_time_does_not_decide_what_times_are(skipped, first, second, third):
    series, rejects, _ = skipped(f"time,a\n{first},1\n{second},1\n{third},1\n")
    assert series.times.tolist() == [1_651_406_400_000_000, 1_651_406_460_000_000]
    assert len(rejects) == 1


def test_a_time_with_an_offset_unlike_others_is_skipped(skipped):
    series, rejects, _ = skipped("time,a\n2022-01-01T00:00Z,1\n2022-01-01T01:00,1\n2022-01-01T02:00Z,1\n")
    assert len(series) == 2
    assert rejects[0]["reason"] == "an offset from UTC unlike others: '2022-01-01T01:00'"


def test_local_times_that_occur_twice_are_refused_and_not_skipped(skipped):
    with pytest.raises(DataError, match="occurs twice in Europe/Berlin"):
        skipped("time,a\n2022-10-30T02:30,1\n", timezone="Europe/Berlin")


def test_a_wrong_label_is_refused_and_not_skipped_but_text_is(skipped):
    with pytest.raises(DataError, match="must hold 0 or 1. Received: 2"):
        skipped("a,label\n1,2\n", label_column="label")
    series, rejects, _ = skipped("a,label\n1,0\n1,bad\n2,1\n", label_column="label")
    assert series.labels.tolist() == [0, 1]
    assert rejects[0]["column"] == "label"


def test_an_unnamed_first_column_of_times_is_found_behind_a_bad_record(skipped):
    series, _, _ = skipped('when,a\n"x,1\n2022-01-01,1\n')
    assert series.time_column == "when"


# Too many


def with_bad(n, bad):
    return "a,b\n" + "".join("x,1\n" if i in bad else "1,1\n" for i in range(n))


def test_up_to_a_hundredth_is_skipped_by_default(skipped):
    series, rejects, _ = skipped(with_bad(200, {5, 9}), max_bad_fraction=0.01)
    assert (len(series), len(rejects)) == (198, 2)
    with pytest.raises(DataError) as refusal:
        skipped(with_bad(200, {5, 9, 11}), max_bad_fraction=0.01)
    assert str(refusal.value) == (
        "At most a share of 0.01 of the records may be bad. Received: 3 of 200 (in.csv); line 7: column 'a', no number: 'x'; "
        "line 11: column 'a', no number: 'x'; line 13: column 'a', no number: 'x'. Mend the file, or raise --max-bad-fraction."
    )


def test_no_more_than_five_are_told(skipped):
    with pytest.raises(DataError, match=r"Received: 9 of 9 \(in.csv\); (line \d: column 'a', no number: 'x'[;.] ){5}Mend"):
        skipped(with_bad(9, set(range(9))), max_bad_fraction=0.5)


def test_a_file_of_bad_records_only_is_refused(skipped):
    with pytest.raises(DataError, match="at least one record"):
        skipped(with_bad(3, {0, 1, 2}))


def test_a_refused_file_leaves_the_rejects_as_they_were(tmp_path):
    path, rejects = tmp_path / "in.csv", tmp_path / "bad.csv"
    path.write_text(with_bad(10, {1, 2}))
    rejects.write_text("old")
    with pytest.raises(DataError):
        read_csv(path, on_bad_rows="skip", rejects=rejects)
    assert rejects.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["bad.csv", "in.csv"]


def test_a_long_file_is_refused_before_its_end(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text(with_bad(1_100, range(0, 1_100, 2)) + "\0 what follows is not looked at\n")
    with (
        pytest.raises(DataError, match=r"may be bad. Received: \d+ of 1,0"),
        CsvReader(path, on_bad_rows="skip", chunk_bytes=200) as reader,
    ):
        list(reader)


def test_a_short_stretch_of_bad_records_does_not_refuse_a_file_early(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text(with_bad(2_000, range(10)))
    with CsvReader(path, on_bad_rows="skip", chunk_bytes=50) as reader:
        assert sum(len(chunk.lines) for chunk in reader) == 1_990


# Options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_bad_rows": "drop"}, "`on_bad_rows` must be one of refuse, skip. Received: 'drop'."),
        ({"on_bad_rows": "skip", "max_bad_fraction": 0}, "`max_bad_fraction` must be a number above 0 and at most 1. Received: 0."),
        ({"on_bad_rows": "skip", "max_bad_fraction": float("nan")}, "`max_bad_fraction` must be a number above 0 and at most 1."),
        ({"on_bad_rows": "skip", "strict": True}, "--strict must not stand beside --on-bad-rows skip. Received: both."),
        ({"rejects": "bad.csv"}, "--rejects must go with --on-bad-rows skip. Received: --rejects bad.csv with refuse."),
        ({"on_bad_rows": "skip", "rejects": "-"}, "Bad records must be written to a file. Received: --rejects -."),
        ({"on_bad_rows": "skip", "rejects": "in.csv"}, "Files must differ. Received: in.csv for both the input and --rejects."),
    ],
)
def test_options_that_contradict_each_other_are_refused(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text("a\n1\n")
    with pytest.raises(ConfigError) as refusal:
        read_csv("in.csv", **options)
    assert str(refusal.value).startswith(message)
    assert os.listdir(tmp_path) == ["in.csv"]


def test_without_skip_a_bad_record_is_refused_as_ever(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text(with_bad(1_000, {7}))
    with pytest.raises(DataError, match="Column 'a' must hold numbers. Received: 'x' on line 9"):
        read_csv(path)


def test_rejects_that_cannot_be_written_are_an_error_of_storage(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("a\n1\n")
    with pytest.raises(StorageError, match="nowhere"):
        read_csv(path, on_bad_rows="skip", rejects=tmp_path / "nowhere" / "bad.csv")


def test_an_error_of_another_file_is_not_told_of_the_rejects(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("a\n1\n")
    with pytest.raises(OSError, match="^other$"), CsvReader(path, rejects=tmp_path / "bad.csv", **SKIP):
        raise OSError("other")
    assert os.listdir(tmp_path) == ["in.csv"]


# Commands


@pytest.fixture
def damaged(series, tmp_path):
    """The first 200 rows, and three bad ones among them."""
    path = to_csv(series[:200], tmp_path / "new.csv")
    lines = path.read_text().splitlines()
    lines[50] = lines[50] + ",extra"
    lines[100] = lines[100].replace(",", ",ERR", 1)
    lines[150] = "never" + lines[150][20:]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_rows_read_are_rows_with_a_status_and_rejected_ones(detector, damaged, tmp_path):
    output = io.BytesIO()
    summary = score_file(detector, damaged, output=output, on_bad_rows="skip", max_bad_fraction=0.02)
    told = summary.to_dict()
    assert told["rows"] == 200 == sum(told["statuses"].values()) + told["rejected"]
    assert told["rejected"] == 3
    assert len(output.getvalue().splitlines()) == 1 + 197
    assert "of 200 rows scored" in str(summary)
    assert "3 rejected" in str(summary)


@pytest.mark.parametrize("command", ["score", "detect"])
def test_a_command_leaves_bad_records_out_and_writes_them_down(damaged, bundle_path, tmp_path, command):
    rejects, told = tmp_path / "bad.csv", tmp_path / "told.json"
    options = ["--on-bad-rows", "skip", "--max-bad-fraction", "0.02", "--rejects", str(rejects), "--report-json", str(told)]
    done = CliRunner().invoke(cli, [command, str(damaged), "--model", str(bundle_path), *options])
    assert done.exit_code == 0, done.stderr
    assert [row["line"] for row in rows_of(rejects)] == ["51", "101", "151"]
    report = json.loads(told.read_text())
    assert report["rows"] == 200 == sum(report["statuses"].values()) + report["rejected"]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--on-bad-rows", "skip"], 3, "At most a share of 0.01 of the records may be bad. Received: 3 of 200"),
        (["--on-bad-rows", "skip", "--strict"], 2, "--strict must not stand beside --on-bad-rows skip"),
        (["--on-bad-rows", "drop"], 2, "'drop' is not one of 'refuse', 'skip'"),
        (["--max-bad-fraction", "0.5"], 2, "--max-bad-fraction must go with --on-bad-rows skip"),
        (["--on-bad-rows", "skip", "--max-bad-fraction", "0"], 2, "--max-bad-fraction"),
        (["--rejects", "bad.csv"], 2, "--rejects must go with --on-bad-rows skip"),
        (["--on-bad-rows", "skip", "--rejects", "-"], 2, "must be written to a file"),
        (["--on-bad-rows", "skip", "--rejects", "new.csv"], 2, "Files must differ"),
        (["--on-bad-rows", "skip", "--rejects", "out.csv"], 2, "Files must differ"),
        (["--on-bad-rows", "skip", "--rejects", "nowhere/bad.csv"], 5, "its folder does not exist"),
    ],
)
def test_a_command_refuses_options_in_a_sentence_and_writes_nothing(damaged, bundle_path, monkeypatch, options, code, message):
    monkeypatch.chdir(damaged.parent)
    before = damaged.read_bytes()
    done = CliRunner().invoke(cli, ["score", "new.csv", "--model", str(bundle_path), "--output", "out.csv", *options])
    assert done.exit_code == code
    assert message in " ".join(done.stderr.split())
    assert os.listdir(".") == ["new.csv"]
    assert damaged.read_bytes() == before
