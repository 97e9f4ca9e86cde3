"""The fault table: what can be wrong with an input, and what becomes of it. The first column is the row of the table.

    2 a missing or infinite score   3 shifted columns    7 addresses         8 renamed columns    9 text in numbers
    10 missing values               11 too few rows      12 repeated times   13 late rows         14 offsets from UTC
    15 gaps and steps               16 constant columns  28 gzip             29 encodings         30 a cut last line

Rows with modules of their own: 1, 5, 6, 31, 32 test_hostile_bundles and test_bundle; 2, 10 test_missing; 4, 24, 25
test_storage_faults; 9 (records left out) test_rejects; 14 (zones, shifts of the clocks) test_timestamps; 20, 27 test_soak;
23 test_journal; 28 (limits), 30 (files that change) test_lines; Parquet test_parquet.

Every case is scored by the command's own function. "taken" cases say what was counted; a refused one says why. In each
the rows read are the rows of all statuses together.
"""

import csv
import dataclasses
import gzip
import io
import json

import numpy as np
import pytest
from commands import here
from conftest import FIRST_TIME, HOUR, make_series

from anomaly import ConfigError, DataError, StorageError
from anomaly.files.one_file import score_file
from anomaly.series import format_time

N = 60
SERIES = make_series(n=N, spike=None)
STAMPS = [format_time(FIRST_TIME + i * HOUR, "timestamp") for i in range(N)]


def lines(**changes):
    """Header and records of an hourly file of two features; `changes` replace lines by number, None drops one."""
    made = ["timestamp,s1,s2"] + [f"{t},{a!r},{b!r}" for t, (a, b) in zip(STAMPS, SERIES.values.tolist(), strict=True)]
    for name, line in changes.items():
        made[int(name[1:])] = line
    return [line for line in made if line is not None]


def text(made, end="\n", last="\n"):
    return end.join(made) + last


def cells(number, **values):
    """One record with some cells replaced."""
    record = dict(zip(("timestamp", "s1", "s2"), lines()[number].split(","), strict=True)) | values
    return ",".join(record.values())


def naive():
    return [line.replace("Z,", ",") for line in lines()]


def moved(row, to):
    made = lines()
    made.insert(to, made.pop(row))
    return made


def inserted(at, line):
    made = lines()
    made.insert(at, line)
    return made


GZIPPED = gzip.compress(text(lines()).encode())
HALVES = gzip.compress(text(lines()[:31]).encode()) + gzip.compress(text([lines()[0], *lines()[31:]]).encode())
WHOLE = {"ok": N}

# row, name, content, statuses, counts
TAKEN = [
    (3, "plain", text(lines()), WHOLE, {}),
    (2, "a huge value", text(lines(l20=cells(20, s1="1e300"))), {"ok": 59, "out_of_range": 1}, {}),
    (10, "a missing cell", text(lines(l20=cells(20, s1=""))), {"ok": 60}, {"missing_values": 1, "incomplete_rows": 1}),
    (10, "NA in words", text(lines(l20=cells(20, s1="NA", s2="null"))), {"ok": 59, "missing": 1}, {"missing_values": 2, "incomplete_rows": 1}),
    (10, "an infinite value", text(lines(l20=cells(20, s1="inf"))), {"ok": 59, "out_of_range": 1}, {"infinite_values": 1}),
    (10, "a number beyond all numbers", text(lines(l20=cells(20, s1="1e400"))), {"ok": 59, "out_of_range": 1}, {"infinite_values": 1}),
    (10, "minus infinity", text(lines(l20=cells(20, s1="-Infinity"))), {"ok": 59, "out_of_range": 1}, {"infinite_values": 1}),
    (3, "quoted cells", text(lines(l20='"' + '","'.join(lines()[20].split(",")) + '"')), WHOLE, {}),
    (3, "blanks around a number", text(lines(l20=cells(20, s1=" 9.5 "))), WHOLE, {}),
    (8, "columns in another order", text([",".join(line.split(",")[::-1]) for line in lines()]), WHOLE, {"reordered_columns": 2}),
    (8, "a column more", text([line + ",x" for line in lines()]), WHOLE, {"extra_columns": 1}),
    (12, "a row once more", text(inserted(21, lines()[20])), {"ok": N, "duplicate": 1}, {"duplicate_rows": 1}),
    (12, "a row three times more", text(lines()[:21] + [lines()[20]] * 3 + lines()[21:]), {"ok": N, "duplicate": 3}, {"duplicate_rows": 3}),
    (12, "the same time, other values", text(inserted(21, cells(20, s1="9.5"))), {"ok": N + 1}, {"conflicting_rows": 1}),
    (13, "a row too late", text(moved(20, 25)), {"ok": 59, "late": 1}, {"steps_back": 1, "missing_rows": 1}),
    (13, "a late row with a missing cell", text(inserted(25, cells(20, s1=""))), {"ok": N, "late": 1}, {"steps_back": 1, "missing_values": 1, "incomplete_rows": 1}),
    (13, "the clock set back by an hour", text(lines()[:31] + lines()[30:]), {"ok": N, "duplicate": 1}, {"duplicate_rows": 1}),
    (14, "no offsets", text(naive()), WHOLE, {}),
    (14, "offsets of an hour", text([line.replace("Z,", "+01:00,") for line in lines()]), WHOLE, {}),
    (14, "two offsets", text([line.replace("Z,", "+00:00,") if i % 2 else line for i, line in enumerate(lines())]), WHOLE, {}),
    (14, "epoch seconds", text(["timestamp,s1,s2"] + [f"{(FIRST_TIME + i * HOUR) // 10**6},{line.split(',', 1)[1]}" for i, line in enumerate(lines()[1:])]), WHOLE, {}),
    (15, "rows missing", text(lines()[:25] + lines()[27:]), {"ok": 58}, {"missing_rows": 2}),
    (15, "too many rows missing", text(lines()[:25] + lines()[34:]), {"ok": 51}, {"missing_rows": 9}),
    (15, "a gap", text(lines()[:25] + lines()[35:]), {"ok": 50}, {"gaps": 1}),
    (15, "a stretch too short", text(lines()[:20] + lines()[30:37] + lines()[47:]), {"ok": 33, "no_window": 7}, {"gaps": 2}),
    (15, "jitter", text([line.replace(":20:00Z", f":2{i % 3}:00Z") for i, line in enumerate(lines())]), WHOLE, {}),
    (28, "gzip", GZIPPED, WHOLE, {}),
    (28, "gzip of two members with a header each", HALVES, WHOLE, {"repeated_headers": 1}),
    (29, "a byte order mark", "\ufeff" + text(lines()), WHOLE, {"byte_order_mark": 1}),
    (29, "UTF-16", text(lines()).encode("utf-16"), WHOLE, {"byte_order_mark": 1}),
    (29, "UTF-16 the other way round", b"\xfe\xff" + text(lines()).encode("utf-16-be"), WHOLE, {"byte_order_mark": 1}),
    (29, "semicolons", text(lines()).replace(",", ";"), WHOLE, {"other_delimiter": 1}),
    (29, "tabs", text(lines()).replace(",", "\t"), WHOLE, {"other_delimiter": 1}),
    (29, "bars", text(lines()).replace(",", "|"), WHOLE, {"other_delimiter": 1}),
    (29, "line ends of DOS", text(lines(), "\r\n", "\r\n"), WHOLE, {}),
    (29, "line ends of old Macs", text(lines(), "\r", "\r"), WHOLE, {}),
    (29, "blank lines", text(lines(), "\n\n"), WHOLE, {"blank_lines": 60}),
    (29, "files joined with their headers", text(lines()[:31] + lines()[:1] + lines()[31:]), WHOLE, {"repeated_headers": 1}),
    (30, "a last line without its end", text(lines(), last=""), WHOLE, {"unterminated_line": 1}),
]  # fmt: skip

# row, name, content, part of the sentence
REFUSED = [
    (3, "a field more", text(lines(l1=lines()[1] + ",7")), "as many fields as the header (3). Received: 4 (in.csv, line 2)"),
    (3, "a field less", text(lines(l20="2022-04-16T00:20:00Z,1")), "Received: 2 (in.csv, line 21)"),
    (3, "two headers alike", text(lines(l0="timestamp,s1,s1")), "Column names must differ. Received: 's1' more than once"),
    (3, "a header without a name", text(lines(l0="timestamp,,s2")), "Every column must have a name. Received: no name for column 2 of 3"),
    (3, "no header", text(lines()[1:]), "The first line must name the columns"),
    (3, "numbers for a header", text(["1,2,3", *lines()[1:]]), "The first line must name the columns"),
    (3, "an open quote", text(lines(l20='"' + lines()[20])), "A quoted field must end on its own line"),
    (3, "a line end within quotes", text(lines(l20=cells(20, s1='"9.5\n"'))), "A quoted field must end on its own line"),
    (8, "a renamed column", text(lines(l0="timestamp,s1,s_2")), "Received: no 's2' among 'timestamp', 's1', 's_2' (perhaps 's_2')"),
    (8, "a missing column", text([line.rsplit(",", 1)[0] for line in lines()]), "Received: no 's2' among 'timestamp', 's1'"),
    (8, "another case", text(lines(l0="timestamp,S1,s2")), "no 's1' among"),
    (8, "a renamed time", text(lines(l0="when,s1,s2")), "The time column must be in the header"),
    (9, "ERR", text(lines(l20=cells(20, s1="ERR"))), "Column 's1' must hold numbers. Received: 'ERR' on line 21"),
    (9, "a unit", text(lines(l20=cells(20, s1="12 kV"))), "'12 kV' on line 21"),
    (9, "a decimal comma", text([line.replace(",", ";") for line in lines(l20=cells(20, s1="2"))]).replace("2;", "2,5;", 1), "in.csv"),
    (9, "true", text(lines(l20=cells(20, s1="true"))), "'true' on line 21"),
    (9, "hexadecimal", text(lines(l20=cells(20, s1="0x10"))), "'0x10' on line 21"),
    (9, "six cells", text(lines(**{f"l{i}": cells(i, s1=f"bad{i}") for i in range(20, 26)})), "'bad24' on line 25 (in.csv)"),
    (11, "nothing", "", "must begin with a header line. Received: an empty file"),
    (11, "a blank line", "\n", "must begin with a header line. Received: a blank first line"),
    (11, "a header alone", text(lines()[:1]), "a stretch of `window_size` rows (12)"),
    (11, "one row", text(lines()[:2]), "a stretch of `window_size` rows (12)"),
    (11, "a row too few", text(lines()[:12]), "a stretch of `window_size` rows (12)"),
    (14, "some offsets", text(lines()[:30] + naive()[30:]), "Times must all have an offset from UTC, or none of them"),
    (14, "day before month", text(lines(l1=cells(1, timestamp="15/04/2022 05:20"))), "must hold ISO 8601 times or epoch numbers"),
    (14, "no time", text(lines(l20=cells(20, timestamp=""))), "must hold a time on every record. Received: nothing"),
    (14, "now", text(lines(l20=cells(20, timestamp="now"))), "Received: 'now' (in.csv, line 21)"),
    (13, "backwards", text([lines()[0], *lines()[:0:-1]]), "Rows must come in the order of their times"),
    (15, "five times as fast", text([line.replace(":20:00Z", f":{20 + i % 12:02}:00Z")[:0] or line for i, line in enumerate(["timestamp,s1,s2", *[f"{format_time(FIRST_TIME + i * HOUR // 5, 't')},1,2" for i in range(N)]])]), "about as often as in training, every 3600 s. Received: every 720 s"),
    (28, "half a gzip file", GZIPPED[: len(GZIPPED) // 2], "The gzip file must be complete"),
    (28, "gzip with something behind", GZIPPED + b"behind", "The gzip file must be complete"),
    (28, "a damaged gzip file", GZIPPED[:200] + b"\x00\x00\x00" + GZIPPED[203:], "gzip file must be complete"),
    (29, "Latin-1", text(lines(l0="timestamp,s1,s2,Drück")).encode("latin-1"), "must be UTF-8 text"),
    (29, "a NUL", text(lines(l20=cells(20, s1="9\0"))), "Received: a NUL character"),
    (29, "half of UTF-16", text(lines()).encode("utf-16")[:-1], "must be UTF-8 text, or UTF-16"),
]  # fmt: skip


def as_bytes(content):
    return content if isinstance(content, bytes) else content.encode()


def names(cases):
    return [f"{case[0]} {case[1]}" for case in cases]


@pytest.mark.parametrize(("row", "name", "content", "statuses", "counts"), TAKEN, ids=names(TAKEN))
def test_what_is_harmless_is_taken_and_counted(detector, tmp_path, row, name, content, statuses, counts):
    (tmp_path / "in.csv").write_bytes(as_bytes(content))
    output = io.BytesIO()
    summary = score_file(detector, tmp_path / "in.csv", output=output)
    assert {status: count for status, count in summary.statuses.items() if count} == statuses
    assert summary.tolerance.counts == counts
    assert summary.n_rows == sum(summary.statuses.values()) == len(output.getvalue().decode().splitlines()) - 1


NOTED = {"missing_values", "incomplete_rows", "gaps", "missing_rows"}


@pytest.mark.parametrize(("row", "name", "content", "statuses", "counts"), TAKEN, ids=names(TAKEN))
def test_strict_refuses_what_was_tolerated_and_nothing_else(detector, tmp_path, row, name, content, statuses, counts):
    (tmp_path / "in.csv").write_bytes(as_bytes(content))
    if set(counts) <= NOTED:
        assert score_file(detector, tmp_path / "in.csv", strict=True).tolerance.counts == counts
    else:
        with pytest.raises(DataError, match=r"With --strict the input must have nothing to tolerate\. Received: .*in\.csv"):
            score_file(detector, tmp_path / "in.csv", strict=True)


@pytest.mark.parametrize(("row", "name", "content", "sentence"), REFUSED, ids=names(REFUSED))
def test_what_is_harmful_is_refused_in_one_sentence(detector, tmp_path, row, name, content, sentence):
    (tmp_path / "in.csv").write_bytes(as_bytes(content))
    with pytest.raises(DataError) as refused:
        score_file(detector, tmp_path / "in.csv")
    assert sentence in str(refused.value)


def test_there_are_sixty_cases():
    assert len(TAKEN) + len(REFUSED) >= 60


@pytest.mark.parametrize(
    "path",
    ["http://x/a.csv", "https://x/a.csv", "s3://b/a.csv", "gs://b/a", "ftp://x/a", "file:///etc/passwd", "hf://x", "data:,a"],
)
def test_an_address_is_a_file_that_is_not_there(detector, path):  # row 7
    with pytest.raises((StorageError, ConfigError)):
        score_file(detector, path)


def test_scores_do_not_change_with_what_is_tolerated(detector, tmp_path):
    """The same rows, however they are written, have the same scores to the last digit."""
    scores = {}
    for _, name, content, statuses, counts in TAKEN:
        if (
            statuses == WHOLE
            and "missing_values" not in counts
            and name not in ("quoted cells", "blanks around a number")
            and "offsets of an hour" != name != "jitter"
        ):
            (tmp_path / "in.csv").write_bytes(as_bytes(content))
            output = io.BytesIO()
            score_file(detector, tmp_path / "in.csv", output=output, file_format="jsonl")
            scores[name] = [json.loads(line)["score"] for line in output.getvalue().decode().splitlines()]
    assert len(scores) > 12
    assert all(found == scores["plain"] for found in scores.values())


def test_a_repeated_or_late_row_changes_no_other_score(detector, tmp_path):
    def scored(made):
        (tmp_path / "in.csv").write_text(text(made))
        output = io.BytesIO()
        score_file(detector, tmp_path / "in.csv", output=output, file_format="jsonl")
        records = [json.loads(line) for line in output.getvalue().decode().splitlines()]
        return [record["score"] for record in records if record["status"] == "ok"]

    plain = scored(lines())
    assert scored(inserted(21, lines()[20])) == plain
    assert scored(inserted(31, lines()[20])) == plain  # late, and known already


def test_a_constant_column_is_scaled_by_its_value_and_noted(tmp_path):  # row 16
    from anomaly.windowing.scaling import Scaler

    for constant in (14.62, 1e-12, 1e12, -3.3):
        scaler = Scaler.fit(np.column_stack([np.full(1000, constant), np.arange(1000.0)]))
        assert scaler.scale[0] == pytest.approx(abs(constant))
    (tmp_path / "in.csv").write_text(
        text([f"{line.rsplit(',', 1)[0]},{'s2' if i == 0 else '7.5'}" for i, line in enumerate(lines())])
    )
    assert "Constant columns: 's2'" in here("check", tmp_path / "in.csv").stdout


@pytest.mark.parametrize("name", ["=1+2", "+cmd", "-1", "@SUM(A1)", "\tx"])
def test_a_name_that_begins_a_formula_is_written_inert(name):  # row 33
    from made_events import EVENTS

    from anomaly.report.tables import events_text

    event = dataclasses.replace(EVENTS[0], shares=((name, 1.0),), deviations=(1.5,))
    (row,) = csv.DictReader(io.StringIO(events_text([event], "when", "csv")))
    assert row["features"] == f"'{name}:1.00" and row["deviations"] == f"'{name}:+1.5"


def test_a_file_name_sends_nothing_to_the_terminal(detector, tmp_path):  # row 33
    path = tmp_path / "in\x1b[31m.csv"
    path.write_text("a,a\n")
    with pytest.raises(DataError, match=r"\(in\?\[31m\.csv, line 1\)"):
        score_file(detector, path)


def test_a_line_without_end_is_refused_before_it_fills_the_memory(detector, tmp_path):  # row 28
    (tmp_path / "bomb.csv.gz").write_bytes(gzip.compress(b"timestamp,s1,s2\n" + b"1" * (1 << 26)))
    assert (tmp_path / "bomb.csv.gz").stat().st_size < 100_000
    with pytest.raises(DataError, match="A line must have at most 4,194,304 characters. Received: more"):
        score_file(detector, tmp_path / "bomb.csv.gz")


# The check command


@pytest.mark.parametrize(
    "case", [case for case in REFUSED if case[0] not in (28,)], ids=names([c for c in REFUSED if c[0] not in (28,)])
)
def test_a_check_finds_what_scoring_refuses(detector, tmp_path, case):
    from anomaly.files.checking import check_input

    (tmp_path / "in.csv").write_bytes(as_bytes(case[2]))
    assert check_input(tmp_path / "in.csv", detector.bundle_).faults


@pytest.mark.parametrize("case", TAKEN, ids=names(TAKEN))
def test_a_check_takes_and_counts_what_scoring_does(detector, tmp_path, case):
    from anomaly.files.checking import check_input

    (tmp_path / "in.csv").write_bytes(as_bytes(case[2]))
    found = check_input(tmp_path / "in.csv", detector.bundle_)
    assert (found.faults, found.tolerance.counts) == ([], case[4])
    strict = check_input(tmp_path / "in.csv", detector.bundle_, strict=True)
    assert bool(strict.faults) is (not set(case[4]) <= NOTED)


def test_a_check_tells_all_faults_at_once(tmp_path, bundle_path):
    made = lines(l10=cells(10, s1="x"), l20="1,2", l30=cells(30, timestamp="soon"))
    (tmp_path / "bad.csv").write_text(text(made))
    result = here("check", tmp_path / "bad.csv", "--model", bundle_path, code=3)
    assert result.stdout.count("Fault: ") == 3
    assert result.stdout.endswith("It would be refused.\n")
    values = json.loads(here("check", tmp_path / "bad.csv", "--model", bundle_path, "--format", "json", code=3).stdout)
    assert len(values["faults"]) == 3 and values["rows"] == 58


def test_a_check_loads_no_tensorflow(tmp_path):
    import subprocess
    import sys

    (tmp_path / "in.csv").write_text(text(lines()))
    code = (
        f"import sys\nfrom anomaly.cli import cli\ncli(['check', {str(tmp_path / 'in.csv')!r}], standalone_mode=False)\n"
        "assert not {'tensorflow', 'keras', 'onnx', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_every_run_can_write_what_it_tolerated(tmp_path, bundle_path):
    (tmp_path / "in.csv").write_text(text(inserted(21, lines()[20]), last=""))
    result = here(
        "score", tmp_path / "in.csv", "--model", bundle_path, "-o", tmp_path / "out.csv", "--report-json", tmp_path / "r.json"
    )
    values = json.loads((tmp_path / "r.json").read_text())
    assert values["tolerated"] == {"duplicate_rows": 1, "unterminated_line": 1}
    assert values["rows"] == sum(values["statuses"].values()) == 61
    assert "Tolerated: a last line without its end, which may be cut (1), rows that repeat the row before (1)." in result.stderr
    here("detect", tmp_path / "in.csv", "--model", bundle_path, "--strict", code=3)
