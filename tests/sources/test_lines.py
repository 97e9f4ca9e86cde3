"""Bytes to lines: an input that grows, shrinks or is written over while it is read, and one that is too long."""

import contextlib
import gzip
import io
import json
import os
import sys
import threading
import tracemalloc

import numpy as np
import pytest
from commands import here

from anomaly import DataError, StorageError
from anomaly.cli.options import ByteSize
from anomaly.ingest.csv_rows import CsvReader
from anomaly.ingest.reading import read_csv
from anomaly.sources.lines import LineReader, open_text
from anomaly.sources.tolerance import Tolerance

# Larger than what is read at a time, so that a change can come between two reads.
N_LINES = 60_000
HEADER = "t,x"
RECORDS = [f"{i},{i % 97}.5" for i in range(N_LINES)]
TEXT = "\n".join([HEADER, *RECORDS]) + "\n"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text(TEXT)
    os.utime(path, ns=(10**18, 10**18))  # so that any later write has another time
    return path


@pytest.fixture
def gzip_path(tmp_path):
    """Numbers without a pattern: gzip would make a file of a pattern too small to be read in parts."""
    path = tmp_path / "in.csv.gz"
    noise = np.random.default_rng(0).normal(size=N_LINES)
    path.write_bytes(gzip.compress(("t,x\n" + "".join(f"{i},{x!r}\n" for i, x in enumerate(noise.tolist()))).encode(), 1))
    os.utime(path, ns=(10**18, 10**18))
    return path


def lines_of(path, tolerance, *, chunk=1000, between=lambda: None):
    """Read lines in small pieces; `between` runs after the first of them."""
    with contextlib.ExitStack() as open_files:
        reader = LineReader(open_text(path, open_files, tolerance), path.name, tolerance, chunk)
        lines = [reader.first()]
        between()
        while more := reader.next():
            lines += more
    return lines


def test_a_file_at_rest_is_read_to_its_end(path):
    tolerance = Tolerance()
    assert lines_of(path, tolerance) == TEXT.splitlines()
    assert tolerance.counts == {}


def test_what_is_appended_while_it_is_read_is_left_alone_and_counted(path):
    tolerance = Tolerance(strict=True)  # which does not refuse it: whether it happens is a matter of time
    more = "7,8\n9"

    def append():
        with open(path, "a") as handle:
            handle.write(more)

    assert lines_of(path, tolerance, between=append) == TEXT.splitlines()
    assert tolerance.counts == {"appended_while_read": len(more)}
    assert str(tolerance) == "Noted: bytes that were appended while it was read, and are not read (5)."


@pytest.mark.parametrize("seed", range(10))
def test_a_writer_that_appends_in_random_pieces_tears_no_line(tmp_path, seed):
    path = tmp_path / "in.csv"
    path.write_text(TEXT)
    rng = np.random.default_rng(seed)
    stop = threading.Event()

    def write():
        rest = TEXT[len(HEADER) + 1 :]
        with open(path, "ab", buffering=0) as handle:
            while not stop.is_set() and rest:
                size = int(rng.integers(1, 40))
                handle.write(rest[:size].encode())
                rest = rest[size:]
                stop.wait(0.0003)

    tolerance = Tolerance()
    writer = threading.Thread(target=write)
    with contextlib.ExitStack() as open_files:
        writer.start()
        try:
            least = path.stat().st_size
            handle = open_text(path, open_files, tolerance)
            most = path.stat().st_size
            reader = LineReader(handle, path.name, tolerance, int(rng.integers(200, 20_000)))
            lines = [reader.first()]
            while more := reader.next():
                lines += more
        finally:
            stop.set()
            writer.join()
    # All that was read is what there was at the start; only its very last line may be cut, and then it is counted.
    cut = tolerance.counts.get("unterminated_line", 0)
    read = "\n".join(lines) + "\n" * (not cut)
    assert path.read_text().startswith(read)
    assert least <= len(read) <= most
    assert set(tolerance.counts) <= {"unterminated_line", "appended_while_read"}
    assert tolerance.counts.get("appended_while_read", 0) <= path.stat().st_size - len(read)


def copytruncate(path):
    os.truncate(path, 0)


def shorten_a_little(path):
    os.truncate(path, path.stat().st_size - 1)


def write_over(path):
    """The same length, other bytes."""
    with open(path, "r+b") as handle:
        handle.seek(path.stat().st_size // 2)
        handle.write(b"7")


def truncate_and_fill(path):
    """As a log rotation and a busy writer do."""
    with open(path, "r+b") as handle:
        handle.truncate(0)
        handle.write(b"t,x\n" + b"1,2\n" * 10)


CHANGES = [copytruncate, shorten_a_little, write_over, truncate_and_fill]


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_read_is_refused(path, change):
    with pytest.raises(StorageError, match=r"must not change while it is read. Received: .* \(in.csv\). Read a copy.") as error:
        lines_of(path, Tolerance(), between=lambda: change(path))
    assert error.value.exit_code == 5


@pytest.mark.parametrize("change", CHANGES)
def test_so_is_a_gzip_file(gzip_path, change):
    assert gzip_path.stat().st_size > 1 << 19
    with pytest.raises(StorageError, match=r"must not change while it is read. Received: .* \(in.csv.gz\)"):
        lines_of(gzip_path, Tolerance(), between=lambda: change(gzip_path))


def test_a_file_that_is_replaced_is_read_as_it_was(path, tmp_path):
    other = tmp_path / "other"
    other.write_text("t,x\n1,2\n")
    assert lines_of(path, Tolerance(), between=lambda: os.replace(other, path)) == TEXT.splitlines()


def test_a_change_ends_a_reader_of_numbers_too(path):
    with CsvReader(path, chunk_bytes=1000) as reader, pytest.raises(StorageError, match="must not change"):
        for _ in reader:
            copytruncate(path)


def test_a_pipe_has_no_size_to_keep(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=("t,x\n1,2\n3,4\n",))
    writer.start()
    assert lines_of(path, Tolerance()) == ["t,x", "1,2", "3,4"]
    writer.join()


@pytest.mark.parametrize(("spare", "refused"), [(0, False), (-1, True), (5, False)])
@pytest.mark.parametrize("packed", [False, True])
def test_the_limit_counts_decompressed_bytes(tmp_path, spare, refused, packed):
    path = tmp_path / "in.csv"
    path.write_bytes(gzip.compress(TEXT.encode()) if packed else TEXT.encode())
    limit = len(TEXT) + spare
    if not refused:
        assert len(read_csv(path, max_bytes=limit)) == N_LINES
        return
    with pytest.raises(DataError) as error:
        read_csv(path, max_bytes=limit)
    assert str(error.value) == (
        f"The input must have at most {limit:,} bytes (decompressed). Received: more (in.csv). "
        "Raise --max-bytes, or give it in parts."
    )


def test_the_limit_holds_for_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(TEXT.encode()))))
    with pytest.raises(DataError, match=r"at most 1,000 bytes \(decompressed\). Received: more \(standard input\)"):
        read_csv("-", max_bytes=1000)


def test_a_small_file_that_decompresses_to_a_huge_one_is_refused_in_flat_memory(tmp_path):
    path = tmp_path / "bomb.csv.gz"
    with gzip.open(path, "wb") as handle:
        handle.write(b"t,x\n")
        for _ in range(64):
            handle.write(b"0,0\n" * (1 << 18))  # 64 MiB
    assert path.stat().st_size < 1 << 18
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="at most 1,000,000 bytes"), CsvReader(path, max_bytes=10**6) as reader:
            for _ in reader:
                pass
        assert tracemalloc.get_traced_memory()[1] < 1 << 26
    finally:
        tracemalloc.stop()


SIZES = {
    "1": 1,
    "10": 10,
    "1k": 1000,
    "500MB": 5 * 10**8,
    "2GiB": 2 << 30,
    "1.5 kB": 1500,
    "1.5KiB": 1536,
    "2tb": 2 * 10**12,
    "7 B": 7,
}
NO_SIZES = ["", "0", "-1", "1e9", "2XB", "MB", "1,000", "nan", "0.5", "0x10", "1" * 40, "1 0"]


@pytest.mark.parametrize("text", SIZES)
def test_a_size_is_a_number_with_a_unit(text):
    assert ByteSize().convert(text, None, None) == SIZES[text]


@pytest.mark.parametrize("text", NO_SIZES)
def test_what_is_no_size_is_refused(text):
    from click import BadParameter

    with pytest.raises(BadParameter, match="must be a number of bytes from 1, such as 500MB or 2GiB. Received: "):
        ByteSize().convert(text, None, None)


def test_the_commands_refuse_too_long_an_input(csv_path, bundle_path, tmp_path):
    page = tmp_path / "page.html"
    for arguments in (
        ["score", csv_path, "--model", bundle_path, "--output", tmp_path / "out.csv"],
        ["evaluate", csv_path, "--model", bundle_path, "--label-column", "label"],
        ["threshold", bundle_path, "--labels", csv_path, "--dry-run"],
        ["report", csv_path, "--model", bundle_path, "--output", page],
        ["train", csv_path, "--model", tmp_path / "m.anomaly", "--label-column", "label"],
    ):
        result = here(*arguments, "--max-bytes", "1kB", code=3)
        assert "must have at most 1,000 bytes (decompressed)" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_check_tells_it_as_a_fault_and_the_environment_sets_it(csv_path):
    result = here("check", csv_path, "--label-column", "label", env={"ANOMALY_MAX_BYTES": "1kB"}, code=3)
    assert "Fault: The input must have at most 1,000 bytes" in result.stdout
    assert "Invalid value for '--max-bytes'" in here("check", csv_path, "--max-bytes", "much", code=2).stderr


def test_a_configuration_file_sets_it(csv_path, bundle_path, tmp_path):
    config = tmp_path / "c.toml"
    for value in ("2000", '"2kB"'):
        config.write_text(f"max_bytes = {value}\n")
        assert "at most 2,000 bytes" in here("detect", csv_path, "--model", bundle_path, "--config", config, code=3).stderr


def test_a_feature_without_any_value_is_named(tmp_path):
    """In whatever pieces the rows come, and only where every row is without."""
    tolerance = Tolerance()
    columns, values = ["flow", "temp", "level"], np.full((6, 3), np.nan)
    values[:, 0], values[4, 1] = 1.0, 2.0
    for piece in (values[:2], values[2:]):
        tolerance.listen(columns, (~np.isnan(piece).all(axis=0)).tolist())
    assert tolerance.silent == ["level"] and str(tolerance) == "Missing throughout: 'level'."
    assert tolerance.to_dict(6)["missing_throughout"] == ["level"]
    assert str(Tolerance()) == "" and "missing_throughout" not in Tolerance().to_dict(0)


def test_the_commands_name_a_feature_with_too_few_values_to_be_judged(csv_path, bundle_path, tmp_path):
    header, *records = csv_path.read_text().splitlines()
    path, place = tmp_path / "holes.csv", header.split(",").index("s2")
    cut = [record.split(",") for record in records]
    lines = [",".join([*cells[:place], "" if i % 2 else cells[place], *cells[place + 1 :]]) for i, cells in enumerate(cut)]
    path.write_text("\n".join([header, *lines]) + "\n")
    scored, told = ["--model", bundle_path, "--output", tmp_path / "out.csv"], tmp_path / "told.json"
    assert "Not judged: 's2' on 100% of the rows" in here("score", path, *scored, "--report-json", told).stderr
    assert json.loads(told.read_text())["not_judged"] == {"s2": 1.0}
    assert "Not judged: 's2' on 100%" in here("detect", path, "--model", bundle_path).stderr
    assert "Note: Not judged: 's2' on 100%" in here("check", path, "--model", bundle_path).stdout
    live = here("score", "-", "--follow", "--model", bundle_path, stdin=path.read_text())
    assert "Not judged: 's2' on 100%" in live.stderr
    for command in ("detect", "check"):
        found = here(command, csv_path, "--model", bundle_path)
        assert "Not judged" not in found.stdout + found.stderr


def test_the_commands_name_a_feature_without_any_value(csv_path, bundle_path, tmp_path):
    header, *records = csv_path.read_text().splitlines()
    dead = tmp_path / "dead.csv"
    place = header.split(",").index("s2")
    without = [[*record.split(",")[:place], "", *record.split(",")[place + 1 :]] for record in records]
    dead.write_text("\n".join([header, *(",".join(cells) for cells in without)]) + "\n")
    assert "Missing throughout: 's2'." in here("score", dead, "--model", bundle_path, "--output", tmp_path / "out.csv").stderr
    assert "Missing throughout: 's2'." in here("check", dead, "--model", bundle_path).stdout
    assert "Missing throughout" not in here("check", csv_path, "--model", bundle_path).stdout


@pytest.mark.parametrize("size", [10, 100, 1 << 20])
@pytest.mark.parametrize("lines", [[1], [1, 5], [5, 6, 30], []])
def test_a_byte_order_mark_before_any_line_is_passed_over(tmp_path, size, lines):
    text = "t,x\n" + "".join(f"{n},{n % 7}.5\n" for n in range(60))
    marked = "".join(("\ufeff" if n in lines else "") + line for n, line in enumerate(text.splitlines(keepends=True)))
    tolerance, read = Tolerance(), []
    with contextlib.ExitStack() as files:
        (tmp_path / "in.csv").write_text(marked)
        reader = LineReader(open_text(tmp_path / "in.csv", files, tolerance), "in", tolerance, size)
        read.append(reader.first())
        while found := reader.next():
            assert reader.text.split("\n")[: len(found)] == found
            read += found
        assert reader.end_bytes == (None if lines else 1)
    assert read == text.splitlines() and tolerance.counts.get("byte_order_mark", 0) == len(lines)
    assert tolerance.places.get("byte_order_mark") == (f"line {lines[0] + 1}" if lines else None)
