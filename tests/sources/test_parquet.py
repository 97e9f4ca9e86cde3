"""A Parquet file is read as the CSV file with the same rows: same numbers, same rules, same words, same scores."""

import datetime as dt
import io
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pytest
from commands import here
from conftest import FIRST_TIME, HOUR, make_series
from hypothesis import given
from hypothesis import strategies as st
from scored_text import scored

from anomaly import AnomalyError, ConfigError, DataError, StorageError
from anomaly.files.checking import check_input
from anomaly.ingest.csv_rows import CsvReader
from anomaly.ingest.reading import read_csv
from anomaly.series import format_time
from anomaly.sources import lines
from anomaly.sources.parquet import is_parquet

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

UTC = pa.timestamp("us", "UTC")


def table(series, **more):
    columns = {"timestamp": pa.array(series.times, UTC)} | dict(zip(series.columns, series.values.T, strict=True))
    return pa.table(columns | more)


def written(path, rows, **options):
    pq.write_table(rows if isinstance(rows, pa.Table) else pa.table(rows), path, **options)
    return path


@pytest.fixture
def parquet(tmp_path):
    return lambda rows, **options: written(tmp_path / "in.parquet", rows, **options)


@pytest.fixture(scope="module")
def parquet_path(series, tmp_path_factory):
    """The rows and labels of `csv_path`, in row groups smaller and larger than a batch."""
    path = tmp_path_factory.mktemp("parquet") / "in.parquet"
    return written(path, table(series, label=series.labels.astype(int)), row_group_size=70)


def lines_of(path, **options):
    with CsvReader(path, **options) as reader:
        return [reader.header_line, *(line for chunk in reader for line in chunk.lines)]


def column_lines(path):
    """The cells of the first column of a file, whose second holds numbers."""
    return [line.rsplit(",", 1)[0] for line in lines_of(path, value_columns=["x"], time_column=None)[1:]]


# Equal to CSV


def test_a_parquet_file_is_the_same_series_as_its_csv(csv_path, parquet_path, series):
    left, right = (read_csv(path, label_column="label") for path in (csv_path, parquet_path))
    np.testing.assert_array_equal(left.times, right.times)
    np.testing.assert_array_equal(left.values, right.values)
    np.testing.assert_array_equal(left.labels, right.labels)
    np.testing.assert_array_equal(right.values, series.values)
    assert (left.columns, left.time_column) == (right.columns, right.time_column)


@pytest.mark.parametrize("chunk_bytes", [1, 1000, 1 << 20])
@pytest.mark.parametrize("row_group_size", [1, 33, 1000])
def test_nothing_depends_on_how_the_rows_are_grouped(parquet, series, chunk_bytes, row_group_size):
    path = parquet(table(series[:100]), row_group_size=row_group_size)
    with CsvReader(path, chunk_bytes=chunk_bytes) as reader:
        chunks = list(reader)
    np.testing.assert_array_equal(np.concatenate([chunk.times for chunk in chunks]), series.times[:100])
    np.testing.assert_array_equal(np.concatenate([chunk.values for chunk in chunks]), series.values[:100])
    assert all(len(chunk.lines) == len(chunk.times) for chunk in chunks)


def test_scores_are_identical_and_every_row_comes_back(detector, csv_path, parquet_path):
    (left, from_csv), (right, from_parquet) = (scored(detector, path) for path in (csv_path, parquet_path))
    assert left == right
    assert from_csv.events == from_parquet.events
    assert from_csv.statuses == from_parquet.statuses
    assert sum(from_parquet.statuses.values()) == from_parquet.n_rows == 500


def test_json_lines_are_identical_too(detector, csv_path, parquet_path):
    assert scored(detector, csv_path, file_format="jsonl")[0] == scored(detector, parquet_path, file_format="jsonl")[0]


@given(st.lists(st.one_of(st.none(), st.floats(width=64)), min_size=1, max_size=20), st.integers(1, 7))
def test_every_number_is_read_exactly(numbers, group):
    file = io.BytesIO()
    pq.write_table(pa.table({"x": pa.array(numbers, pa.float64())}), file, row_group_size=group)
    with pytest.MonkeyPatch.context() as patch:
        from anomaly.sources import parquet

        patch.setattr(parquet, "open_bytes", lambda *arguments: io.BufferedReader(io.BytesIO(file.getvalue())))
        with CsvReader("made", time_column=None) as reader:
            values = np.concatenate([chunk.values for chunk in reader])[:, 0]
    np.testing.assert_array_equal(values, np.array(numbers, np.float64))


@given(st.lists(st.integers(-9 * 10**15, 9 * 10**15), min_size=1, max_size=20), st.sampled_from(["s", "ms", "us", "ns"]))
def test_every_time_is_written_as_other_outputs_write_it(stamps, unit):
    from anomaly.sources.parquet import _cells

    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    stamps = [stamp * per_second // 10**6 for stamp in stamps]
    for cell, stamp in zip(_cells(pa.array(stamps, pa.timestamp(unit, "UTC"))), stamps, strict=True):
        seconds, rest = divmod(stamp, per_second)
        nanoseconds = rest * 10**9 // per_second
        if nanoseconds % 1000:  # finer than any other output
            whole = dt.datetime(1970, 1, 1) + dt.timedelta(seconds=seconds)
            assert cell == f"{whole:%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"
        else:
            assert cell == format_time(seconds * 10**6 + nanoseconds // 1000, "t")


# Types

N = 3
NUMBERS = {
    "int8": pa.array([1, None, -3], pa.int8()),
    "uint64": pa.array([1, None, 2**64 - 1], pa.uint64()),
    "int64": pa.array([1, None, -(2**53) + 1]),
    "float16": pa.array(np.array([1.5, np.nan, -0.25], np.float16)),
    "float32": pa.array([1.5, None, -0.25], pa.float32()),
    "double": pa.array([0.1, float("nan"), -1e300]),
    "decimal": pa.array([Decimal("1.50"), None, Decimal("-1E-8")], pa.decimal128(20, 8)),
    "decimal256": pa.array([Decimal("1E+5"), None, Decimal("-7E+45")], pa.decimal256(50, 1)),
    "dictionary": pa.array([1, None, 2]).dictionary_encode(),
    "null": pa.nulls(N),
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_of_every_type_are_values_and_null_is_missing(parquet, kind):
    with CsvReader(parquet({"x": NUMBERS[kind]}), time_column=None) as reader:
        values = np.concatenate([chunk.values for chunk in reader])[:, 0]
    expected = [np.nan if x is None else float(x) for x in NUMBERS[kind].to_pylist()]
    np.testing.assert_array_equal(values, np.array(expected))
    assert reader.tolerance.counts["missing_values"] == int(np.isnan(values).sum())


STAMPS = [FIRST_TIME, FIRST_TIME + HOUR, FIRST_TIME + 2 * HOUR]
NAIVE = [dt.datetime(2022, 4, 15, 5, 20) + dt.timedelta(hours=i) for i in range(N)]
TIMES = {
    "seconds": (pa.array([t // 10**6 for t in STAMPS], pa.timestamp("s", "UTC")), "2022-04-15T05:20:00Z"),
    "milliseconds": (pa.array([t // 10**3 for t in STAMPS], pa.timestamp("ms", "UTC")), "2022-04-15T05:20:00Z"),
    "microseconds": (pa.array(STAMPS, UTC), "2022-04-15T05:20:00Z"),
    "nanoseconds": (pa.array([t * 10**3 for t in STAMPS], pa.timestamp("ns", "UTC")), "2022-04-15T05:20:00Z"),
    "another zone": (pa.array(STAMPS, pa.timestamp("us", "America/New_York")), "2022-04-15T05:20:00Z"),
    "no zone": (pa.array(NAIVE, pa.timestamp("us")), "2022-04-15T05:20:00"),
    "epoch seconds": (pa.array([t // 10**6 for t in STAMPS]), "1650000000"),
    "epoch milliseconds": (pa.array([t / 10**3 for t in STAMPS]), "1.65e+12"),
    "text": (pa.array([format_time(t, "t") for t in STAMPS]), "2022-04-15T05:20:00Z"),
    "text with an offset": (pa.array([f"{t:%Y-%m-%dT%H:%M}+00:00" for t in NAIVE]), "2022-04-15T05:20+00:00"),
    "large text": (pa.array([format_time(t, "t") for t in STAMPS], pa.large_string()), "2022-04-15T05:20:00Z"),
    "categories": (pa.array([format_time(t, "t") for t in STAMPS]).dictionary_encode(), "2022-04-15T05:20:00Z"),
}


@pytest.mark.parametrize("kind", TIMES)
def test_times_of_every_type_are_the_same_times(parquet, kind):
    times, first = TIMES[kind]
    path = parquet({"timestamp": times, "x": [1.0, 2.0, 3.0]})
    assert read_csv(path).times.tolist() == STAMPS
    assert column_lines(path)[0] == first


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64()])
def test_dates_are_times(parquet, kind):
    path = parquet({"day": pa.array([dt.date(2022, 4, 15), dt.date(2022, 4, 16)], kind), "x": [1.0, 2.0]})
    assert np.diff(read_csv(path, time_column="day").times).tolist() == [24 * HOUR]
    assert column_lines(path) == ["2022-04-15", "2022-04-16"]


def test_parts_of_a_second_are_kept(parquet):
    path = parquet({"timestamp": pa.array([1, 1_500_000_000, -1], pa.timestamp("ns", "UTC")), "x": [1.0, 2.0, 3.0]})
    assert column_lines(path) == ["1970-01-01T00:00:00.000000001Z", "1970-01-01T00:00:01.500000Z", "1969-12-31T23:59:59.999999999Z"]


REFUSED = {
    "string": (["a", "b", "c"], "string"),
    "text that reads as numbers": (["1", "2", "3"], "string"),
    "binary": ([b"a", b"b", b"c"], "binary"),
    "list": ([[1], [2], [3]], "list<element: int64>"),
    "struct": ([{"a": 1}] * N, "struct<a: int64>"),
    "timestamp": (pa.array(STAMPS[::-1], UTC), "timestamp[us, tz=UTC]"),
    "time of day": (pa.array([1, 2, 3], pa.time64("us")), "time64[us]"),
    "categories": (pa.array(["a", "b", "c"]).dictionary_encode(), "string"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_values_of_another_type_are_refused_with_column_and_type(parquet, kind):
    values, shown = REFUSED[kind]
    path = parquet({"timestamp": pa.array(STAMPS, UTC), "x": values, "y": [1.0, 2.0, 3.0]})
    with pytest.raises(DataError) as error:
        read_csv(path)
    assert str(error.value) == (
        f"Column 'x' must hold numbers. Received: values of type {shown} (in.parquet). "
        "Leave the column out with --value-columns, or store it as numbers."
    )
    assert read_csv(path, value_columns=["y"]).columns == ("y",)
    assert any("'x' must hold numbers" in fault for fault in check_input(path).faults)


def test_times_of_another_type_are_refused(parquet):
    path = parquet({"timestamp": [True, False], "x": [1.0, 2.0]})
    with pytest.raises(DataError, match="'timestamp' must hold times, dates, epoch numbers or ISO 8601 text. Received: values of"):
        read_csv(path)


@pytest.mark.parametrize("labels", [[True, False, None], [1, 0, None], [1.0, 0.0, float("nan")]])
def test_labels_are_numbers_or_true_and_false(parquet, labels):
    path = parquet({"x": [1.0, 2.0, 3.0], "label": labels})
    assert read_csv(path, label_column="label").labels.tolist() == [1, 0, 0]


def test_labels_of_another_type_are_refused(parquet):
    path = parquet({"x": [1.0, 2.0], "label": ["1", "0"]})
    with pytest.raises(DataError, match="Column 'label' must hold 0 and 1, or false and true. Received: values of type string"):
        read_csv(path, label_column="label")


# Rules and counters of CSV


def both(tmp_path, text, **columns):
    """The same rows as CSV and as Parquet."""
    (tmp_path / "in.csv").write_text(text)
    return tmp_path / "in.csv", written(tmp_path / "in.parquet", columns)


def test_extra_and_reordered_columns_are_counted_alike(tmp_path):
    columns = {"b": [1.0, 2.0], "note": ["x", "y"], "a": [3.0, 4.0]}
    counts = []
    for path in both(tmp_path, "b,note,a\n1,x,3\n2,y,4\n", **columns):
        with CsvReader(path, time_column=None, value_columns=["a", "b"]) as reader:
            assert np.concatenate([chunk.values for chunk in reader]).tolist() == [[3, 1], [4, 2]]
        counts.append(reader.tolerance.counts)
    assert counts[0] == counts[1] == {"extra_columns": 1, "reordered_columns": 2}
    with pytest.raises(DataError, match="With --strict the input must have nothing to tolerate"):
        read_csv(tmp_path / "in.parquet", time_column=None, value_columns=["a", "b"], strict=True)


@pytest.mark.parametrize("options", [{"value_columns": ["c"]}, {"time_column": "when"}, {"label_column": "l"}])
def test_a_missing_column_is_refused_in_the_same_words(tmp_path, options):
    messages = []
    for path in both(tmp_path, "time,a\n1,2\n", time=[1], a=[2.0]):
        with pytest.raises(DataError, match="must be in the header") as error:
            read_csv(path, **options)
        messages.append(str(error.value).replace(path.name, "FILE"))
    assert messages[0] == messages[1]


def test_two_columns_of_one_name_are_refused(parquet):
    path = parquet(pa.table([[1.0], [2.0]], names=["x", "x"]))
    with pytest.raises(DataError, match="Column names must differ. Received: 'x' more than once"):
        read_csv(path)


def test_a_row_without_a_time_is_refused_by_its_line(parquet):
    path = parquet({"timestamp": pa.array([1, None, 3], UTC), "x": [1.0, 2.0, 3.0]})
    with pytest.raises(DataError, match=r"in.parquet, line 3"):
        read_csv(path)


@pytest.mark.parametrize("rows", [{"x": pa.array([], pa.float64())}, {}])
def test_a_file_without_rows_or_columns_is_refused(parquet, rows):
    with pytest.raises(DataError, match="must have at least one record after its header|must begin with a header line"):
        read_csv(parquet(rows))


def test_only_the_named_columns_are_read_where_lines_are_not_needed(parquet, monkeypatch):
    from anomaly.sources import parquet as module

    made = []
    monkeypatch.setattr(module, "_cells", lambda column, cells=module._cells: made.append(str(column.type)) or cells(column))
    path = parquet({"t": pa.array([1, 2], UTC), "x": [1.0, 2.0], "note": ["a", "b"]})
    assert read_csv(path, time_column="t", value_columns=["x"]).values.tolist() == [[1], [2]]
    assert made == ["timestamp[us, tz=UTC]", "double"]


# What `score` repeats


def test_cells_of_text_are_quoted_on_one_line_and_no_formulas(parquet):
    words = ["a,b", 'say "x"', "=1+1", "@x", "-5", "+1e3", "-x", "two\nlines", "nul\0", "", None, "'", " a "]
    path = parquet({"note": words, "x": [1.0] * len(words)})
    quoted = ['"a,b"', '"say ""x"""', "'=1+1", "'@x", "-5", "+1e3", "'-x", "two lines", "nul ", "", "", "'", " a "]
    assert column_lines(path) == quoted


def test_other_types_come_back_as_text(parquet):
    rows = {"t": pa.array([b"\x00\xff"]), "l": [[1, 2]], "b": [True], "s": pa.array([{"a": "x"}]), "x": [1.0]}
    assert lines_of(parquet(rows), value_columns=["x"], time_column=None)[1] == "00ff,\"[1, 2]\",1,{'a': 'x'},1"


@pytest.mark.parametrize("name", ["a,b", "a;b", 'a"b', "a.b", "a\tb", " a "])
def test_odd_names_of_columns_are_names(parquet, name):
    for more in ({}, {"a_": [3.0, 4.0]}):
        path = parquet({name: [1.0, 2.0]} | more)
        shown = " ".join(name.split("\t")).strip()
        assert read_csv(path, time_column=None, value_columns=[shown]).values.tolist() == [[1], [2]]


# What cannot be read


def test_a_file_is_told_by_its_content_and_not_by_its_name(tmp_path, parquet):
    text = tmp_path / "text.parquet"
    text.write_text("PAR1,b\n1,2\n")
    assert read_csv(text, time_column=None).columns == ("PAR1", "b")
    path = parquet({"x": [1.0]}).rename(tmp_path / "in.csv")
    assert read_csv(path, time_column=None).columns == ("x",)
    assert not is_parquet(b"PAR1") and not is_parquet(b"PAR2\x15\x00")


def test_a_pipe_is_refused(parquet, monkeypatch):
    content = parquet({"x": [1.0]}).read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))
    with pytest.raises(DataError) as error:
        read_csv("-")
    assert str(error.value) == (
        "A Parquet file must be read from disk: its end comes first. Received: standard input. Name the file instead."
    )


def test_an_encrypted_file_is_refused(tmp_path):
    path = tmp_path / "in.parquet"
    path.write_bytes(b"PARE\x2f\x00\x00\x00" + bytes(60) + b"PARE")
    with pytest.raises(DataError, match=r"A Parquet file must not be encrypted. Received: encrypted columns \(in.parquet\)"):
        read_csv(path)


def test_a_file_with_one_encrypted_column_is_refused(tmp_path):
    encryption = pytest.importorskip("pyarrow.parquet.encryption")

    class Keys(encryption.KmsClient):
        def wrap_key(self, key_bytes, master_key_identifier):
            return key_bytes.hex()

        def unwrap_key(self, wrapped_key, master_key_identifier):
            return bytes.fromhex(wrapped_key)

    settings = encryption.EncryptionConfiguration(footer_key="f", column_keys={"k": ["x"]}, plaintext_footer=True)
    properties = encryption.CryptoFactory(lambda configuration: Keys()).file_encryption_properties(
        encryption.KmsConnectionConfig(), settings
    )
    path = written(tmp_path / "in.parquet", {"x": [1.0, 2.0]}, encryption_properties=properties)
    with pytest.raises(DataError, match="A Parquet file must not be encrypted"):
        read_csv(path)


def damaged(content, rng):
    """Bits flipped in pages or in the footer, bytes lost in the middle, or the end cut off."""
    made = bytearray(content)
    footer = int.from_bytes(content[-8:-4], "little") + 8
    kind = rng.integers(4)
    if kind == 0:
        return made[: rng.integers(4, len(made))]
    if kind == 1:
        start = int(rng.integers(4, len(made)))
        del made[start : start + int(rng.integers(1, 50))]
        return made
    low, high = (4, len(made) - footer) if kind == 2 else (len(made) - footer, len(made))
    for _ in range(rng.integers(1, 4)):
        made[rng.integers(low, high)] ^= 1 << int(rng.integers(8))
    return made


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd"])
def test_a_damaged_file_is_refused_in_a_sentence_or_read(tmp_path, compression):
    series = make_series(n=120, spike=None)
    path = written(tmp_path / "in.parquet", table(series, note=["a"] * 120), row_group_size=50, compression=compression)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(40):
        path.write_bytes(damaged(content, rng))
        try:
            with CsvReader(path, time_column="timestamp", value_columns=["s1", "s2"]) as reader:
                for chunk in reader:
                    assert len(chunk.lines) == len(chunk.times) == len(chunk.values)
        except AnomalyError as error:
            assert error.exit_code == 3
            assert str(error).isprintable()
            refused += 1
    assert refused > 20


def test_flipped_bits_are_found_where_pages_have_checksums(tmp_path):
    path = written(
        tmp_path / "in.parquet", {"x": np.arange(100.0)}, compression="none", write_page_checksum=True, use_dictionary=False
    )
    content = bytearray(path.read_bytes())
    content[content.index(np.float64(50).tobytes()) + 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="A Parquet file must be complete and undamaged. Received: .*checksum"):
        read_csv(path, time_column=None)


def test_a_row_group_is_read_in_pieces(parquet, monkeypatch):
    """A row group can be larger than memory."""
    sizes = []
    readinto = lines._Snapshot.readinto
    monkeypatch.setattr(lines._Snapshot, "readinto", lambda self, buffer: sizes.append(len(buffer)) or readinto(self, buffer))
    path = parquet({"x": np.arange(500_000.0)}, use_dictionary=False, compression="none")
    with CsvReader(path, time_column=None) as reader:
        assert len(next(iter(reader)).lines) < 100_000
    assert path.stat().st_size > 4_000_000
    assert max(sizes) <= 1 << 20
    assert sum(sizes) < 3_000_000


def test_a_file_that_changes_while_it_is_read_is_refused(parquet):
    path = parquet({"x": np.arange(300_000.0)}, use_dictionary=False, compression="none", row_group_size=30_000)
    with CsvReader(path, chunk_bytes=100_000, time_column=None) as reader, pytest.raises(StorageError, match="must not change"):
        for _ in reader:
            with open(path, "r+b") as handle:
                handle.truncate(1000)


def test_what_is_appended_while_it_is_read_is_left_alone(parquet):
    path = parquet({"x": np.arange(200_000.0)})
    with CsvReader(path, chunk_bytes=100_000, time_column=None) as reader:
        with open(path, "ab") as handle:
            handle.write(b"more")
        assert sum(len(chunk.lines) for chunk in reader) == 200_000


def test_the_limit_counts_decompressed_bytes(parquet):
    path = parquet({"x": np.zeros(100_000)})
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match=r"at most 100,000 bytes \(decompressed\). Received: more \(in.parquet\)"):
        read_csv(path, max_bytes=100_000, time_column=None)
    assert len(read_csv(path, max_bytes=900_000, time_column=None)) == 100_000


# Without pyarrow, and as a command


def test_without_pyarrow_the_extra_is_named(parquet, monkeypatch):
    path = parquet({"x": [1.0]})
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ConfigError) as error:
        read_csv(path)
    assert error.value.exit_code == 2
    assert str(error.value) == ("A Parquet file needs pyarrow. Received: in.parquet, and no pyarrow. Run: pip install pyarrow.")


def test_reading_csv_does_not_load_the_parquet_part_of_pyarrow(csv_path):
    code = f"import sys; from anomaly import read_csv; read_csv({str(csv_path)!r}); print('pyarrow.parquet' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_commands_take_it(parquet_path, csv_path, bundle_path, tmp_path):
    assert here("score", parquet_path, "--model", bundle_path).stdout == here("score", csv_path, "--model", bundle_path).stdout
    assert "It would be taken." in here("check", parquet_path, "--model", bundle_path).stdout
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(parquet_path.read_bytes()[:-20])
    output = tmp_path / "out.csv"
    refused = here("score", broken, "--model", bundle_path, "--output", output, code=3)
    assert refused.stderr.startswith("Error: A Parquet file must be complete and undamaged. Received: ")
    assert not output.exists()


@pytest.mark.parametrize("before", [None, {}])
def test_booleans_are_1_and_0_as_in_a_frame(parquet, before):
    path = parquet(
        {"timestamp": pa.array(np.arange(60) * 3_600_000_000, UTC), "a": np.arange(60) % 7 + 0.5, "on": [True, None, False] * 20}
    )
    with CsvReader(path, time_column="timestamp", value_columns=("a", "on"), before=before) as reader:
        np.testing.assert_array_equal(np.concatenate([chunk.values for chunk in reader])[:3, 1], [1, np.nan, 0])
