"""Files of live runs that are cut, copied, replaced or given other columns while they are read or written, and between two runs."""

import shutil
import signal
import subprocess
import time

import pytest
from commands import command
from conftest import to_csv
from heeding import heeding

from anomaly.errors import DataError
from anomaly.ingest.csv_rows import CsvReader
from anomaly.sources import growing
from anomaly.sources.arriving import ArrivingText, Stop
from anomaly.sources.growing import GrowingFile
from anomaly.sources.tolerance import Tolerance


@pytest.fixture(scope="module")
def lines(series, tmp_path_factory):
    """The header and 150 rows."""
    return to_csv(series[350:], tmp_path_factory.mktemp("rows") / "in.csv", labels=False).read_text().splitlines(keepends=True)


@pytest.fixture
def place(tmp_path, bundle_path, lines):
    """Return what runs a live command on in.csv until some lines of output are there, and more is done."""

    def run(n_lines, *options, then=lambda: None, code=143):
        output = tmp_path / "out.csv"
        words = command("score", "in.csv", "--model", bundle_path, "--follow", "--state", "s", "--output", "out.csv", *options)
        with subprocess.Popen(heeding(words), cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
            until = time.monotonic() + 60
            while (
                process.poll() is None
                and time.monotonic() < until
                and (not output.exists() or output.read_bytes().count(b"\n") < n_lines)
            ):
                time.sleep(0.05)
            then()
            if code == 143:
                process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=60)[1]
        assert process.returncode == code, said
        return said

    (tmp_path / "in.csv").write_text("".join(lines[:101]))
    run.folder = tmp_path
    return run


def swapped(lines):
    """Return lines with the last two columns in the other order."""
    return [",".join([*cells[:-2], cells[-1], cells[-2]]) + "\n" for cells in (line.strip().split(",") for line in lines)]


def test_a_file_that_was_cut_and_has_grown_beyond_is_read_from_its_beginning(tmp_path, monkeypatch):
    path, stop, tolerance = tmp_path / "in.csv", Stop(), Tolerance()
    path.write_text("a\n1\n2\n")
    actions = [lambda: path.write_text("a\n3\n4\n5\n6\n"), lambda: stop(signal.SIGTERM, None)]
    monkeypatch.setattr(growing.time, "sleep", lambda seconds: actions.pop(0)())
    text, found = ArrivingText(path, path.name, tolerance, stop), ""
    while part := text.read(4):
        found += part
    text.close()
    assert (found, tolerance.counts) == ("a\n1\n2\na\n3\n4\n5\n6\n", {"files_begun_anew": 1})


def test_a_copy_in_the_place_of_a_file_is_the_same_file(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("a\n1\n2\n")
    reading = GrowingFile(path, "in.csv", Tolerance())
    reading.read1(6)
    position = reading.position(3)
    reading.close()
    shutil.copy(path, tmp_path / "copy")
    (tmp_path / "copy").replace(path)
    again = GrowingFile(path, "in.csv", Tolerance())
    assert again.go_on(position, has_header=False)
    again.close()


def test_rows_of_a_copy_do_not_come_twice(place, lines):
    place(101)
    first = (place.folder / "out.csv").read_text()
    shutil.copy(place.folder / "in.csv", place.folder / "copy")
    (place.folder / "copy").replace(place.folder / "in.csv")
    with open(place.folder / "in.csv", "a") as handle:
        handle.write("".join(lines[101:120]))
    place(120)
    whole = (place.folder / "out.csv").read_text()
    assert whole.startswith(first) and whole.count("\n") == 120


@pytest.mark.parametrize("other", ["another order", "another column"])
def test_a_run_goes_on_with_the_header_that_it_began_with(place, lines, other):
    place(101)
    before = (place.folder / "out.csv").read_bytes()
    new = (
        swapped(lines)
        if other == "another order"
        else [f"{line.strip()},{'site' if i == 0 else 'x'}\n" for i, line in enumerate(lines)]
    )
    (place.folder / "in.csv").unlink()
    (place.folder / "in.csv").write_text("".join(new))
    said = place(10**6, code=3)
    assert "A run that goes on needs the header that it began with" in said
    assert (place.folder / "out.csv").read_bytes() == before


@pytest.mark.parametrize("rule", ["refuse", "skip"])
def test_a_header_in_another_order_among_the_records_is_refused_whatever_is_skipped(tmp_path, lines, rule):
    path = tmp_path / "in.csv"
    path.write_text("".join([*lines[:50], *swapped([lines[0], *lines[50:]])]))
    with pytest.raises(DataError, match="All records must have one header.*line 51"), CsvReader(path, on_bad_rows=rule) as reader:
        list(reader)


def test_the_same_header_in_other_quotes_is_a_bad_record_and_no_other_header(tmp_path, lines):
    path = tmp_path / "in.csv"
    quoted = ",".join(f'"{name}"' for name in lines[0].strip().split(",")) + "\n"
    path.write_text("".join([*lines[:50], quoted, *lines[50:]]))
    with CsvReader(path, on_bad_rows="skip") as reader:
        assert sum(len(chunk.lines) for chunk in reader) == len(lines) - 1
        assert reader.tolerance.counts["rejected_numbers"] == 1


@pytest.mark.parametrize("bad", [1, 2, 50, 99])
def test_rows_before_one_that_is_refused_are_answered(place, lines, bad):
    broken = f"{lines[bad].split(',')[0]},oops{',1' * (lines[0].count(',') - 1)}\n"
    (place.folder / "in.csv").write_text("".join([*lines[:bad], broken, *lines[bad:101]]))
    assert f"line {bad + 1}" in place(10**6, code=3)
    out = place.folder / "out.csv"
    assert out.read_text().count("\n") in {0, bad} if bad == 1 else out.read_text().count("\n") == bad
    assert f"line {bad + 1}" in place(10**6, code=3)  # and again, not twice
    assert out.read_text().count("\n") in {0, 1} if bad == 1 else out.read_text().count("\n") == bad


def test_an_output_that_is_cut_while_it_is_written_has_no_hole(place, lines):
    output = place.folder / "out.csv"

    def cut():
        shutil.copy(output, place.folder / "out.csv.1")
        with open(output, "r+b") as handle:
            handle.truncate(0)
        with open(place.folder / "in.csv", "a") as handle:
            handle.write("".join(lines[101:131]))
        until = time.monotonic() + 60
        while output.read_bytes().count(b"\n") < 30 and time.monotonic() < until:
            time.sleep(0.05)

    place(101, then=cut)
    assert b"\0" not in output.read_bytes()
    assert (place.folder / "out.csv.1").read_text().count("\n") + output.read_text().count("\n") == 131
