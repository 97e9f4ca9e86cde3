"""Whatever bytes come in: a refusal in words, or every record scored; never another exception.

The number of cases is shared out over the tests; ANOMALY_TEST_EXAMPLES multiplies it.
"""

import csv
import gzip
import io
import tempfile
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import to_csv
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from anomaly import AnomalyError
from anomaly.cli import cli
from anomaly.config import SETTINGS, DetectorConfig, read_toml
from anomaly.files import one_file as files
from anomaly.files.one_file import score_file
from anomaly.ingest.csv_rows import CsvReader
from anomaly.scoring.row_scores import APPENDED

EXIT_CODES = {0, 2, 3, 4, 5, 6, 10}
PIECES = [
    b'"', b'""', b'",', b',"', b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\x1f\x8b", b"\xff", b"\xe2\x82", b",", b";", b"\t", b"|",
    b"\n", b"\r", b"\r\n", b"\n\n", b"\x0b", b"\x0c", b"\x1a", b"\x1b[2J", b"\x85", "\u2028".encode(), "\u0661".encode(), b" ",
    b"nan", b"inf", b"-inf", b"1e400", b"-1e400", b"1_0", b"0x10", b"1e", b"+", b"-", b".", b"True", b"NA", b"None", b"=1+1",
    b"18446744073709551616", b"9" * 400, b"x" * 5000, b"2022-04-15", b"2022-04-15T05:20:00+23:59", b"99999-01-01", b"#", b"\\",
]  # fmt: skip


def cases(share):
    """Take a share of the examples that the profile asks for."""
    number = max(1, round(settings.get_profile("suite").max_examples * share))
    return settings(max_examples=number, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def valid(series, tmp_path_factory):
    """The bytes of a file that is scored without complaint."""
    return to_csv(series[:40], tmp_path_factory.mktemp("fuzz") / "valid.csv").read_bytes()


@pytest.fixture(scope="module", autouse=True)
def small_chunks():
    """Read in pieces of some lines, so that a fault can lie in any of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CsvReader", partial(CsvReader, chunk_bytes=300))
        yield


# Where is a fraction of the file, what a piece to insert, a byte to put there, or a stretch to remove or to repeat.
PLACES = st.floats(0, 1)
EDITS = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), PLACES, st.sampled_from(PIECES)),
        st.tuples(st.just("change"), PLACES, st.binary(min_size=1, max_size=3)),
        st.tuples(st.just("remove"), PLACES, st.integers(1, 200)),
        st.tuples(st.just("repeat"), PLACES, st.integers(1, 400)),
        st.tuples(st.just("cut"), PLACES, st.none()),
    ),
    min_size=1,
    max_size=6,
)


def edited(content, edits):
    for kind, place, what in edits:
        at = round(place * len(content))
        if kind == "insert":
            content = content[:at] + what + content[at:]
        elif kind == "change":
            content = content[:at] + what + content[at + len(what) :]
        elif kind == "remove":
            content = content[:at] + content[at + what :]
        elif kind == "repeat":
            content = content[: at + what] + content[at:]
        else:
            content = content[:at]
    return content


# Lines that are no records; that they were passed over is told.
PASSED_OVER = ("title_lines", "broken_names", "unit_lines", "repeated_headers", "control_records")


def n_records(content):
    """Count the lines below the header that are not blank, in the simplest way; some begin with a byte order mark."""
    text = (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode("utf-8-sig")
    return sum(bool(line.lstrip("\ufeff").strip()) for line in io.StringIO(text, newline=None)) - 1


def scored_or_refused(detector, content, file_format="csv"):
    """Score bytes; check that the output has a record for each one read, or that the refusal is one of ours."""
    output = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.csv"
        path.write_bytes(content)
        try:
            summary = score_file(detector, path, output=output, file_format=file_format)
        except AnomalyError as error:
            assert error.exit_code in EXIT_CODES and str(error)
            return None
    text = output.getvalue().decode()
    told = sum(summary.tolerance.counts.get(kind, 0) for kind in PASSED_OVER)
    assert (
        n_records(content) - told <= summary.n_rows == sum(summary.statuses.values()) > 0
    )  # blank lines above the header are told too
    assert told or summary.n_rows == n_records(content)
    assert text.count("\n") == summary.n_rows + (file_format == "csv")
    if file_format == "csv":
        header, *rows = csv.reader(text.split("\n")[:-1])
        assert header[-len(APPENDED) :] == list(APPENDED)
        assert {len(row) for row in rows} == {len(header)}
        assert all(row[-2] in ("", "0", "1") and row[-5] not in ("nan", "inf") for row in rows)
    return summary


# Bytes


@cases(2.5)
@given(edits=EDITS, file_format=st.sampled_from(["csv", "jsonl"]))
@example(edits=[("repeat", 0.0, 16)], file_format="csv")  # the header, twice
@example(edits=[("insert", 1.0, b"\xef\xbb\xbf")], file_format="csv")  # an empty file joined behind
@example(edits=[("insert", 0.34375, b'"'), ("insert", 0.34375, b'",')], file_format="csv")  # two quotes, the second open
def test_a_damaged_file_is_scored_whole_or_refused(detector, valid, edits, file_format):
    scored_or_refused(detector, edited(valid, edits), file_format)


@cases(1)
@given(content=st.one_of(st.binary(max_size=300), st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join)))
def test_bytes_of_any_kind_are_scored_whole_or_refused(detector, content):
    scored_or_refused(detector, content)


@cases(0.5)
@given(content=st.binary(max_size=300))
def test_any_bytes_below_a_good_header_are_scored_whole_or_refused(detector, valid, content):
    head, _, rest = valid.partition(b"\n")
    scored_or_refused(detector, head + b"\n" + content + b"\n" + rest)


def test_the_undamaged_file_is_scored(detector, valid):
    assert scored_or_refused(detector, valid).n_rows == 40


# Headers

NAMES = st.one_of(st.sampled_from(["timestamp", "s1", "s2", "score", "status", "", " s1 ", '"s1"', "S1"]), st.text(max_size=12))


@cases(1)
@given(names=st.lists(NAMES, max_size=6), quoted=st.booleans())
def test_a_header_of_any_kind_is_read_or_refused(detector, valid, names, quoted):
    header = io.StringIO(newline="")
    csv.writer(header, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL, lineterminator="").writerow(names)
    first = (header.getvalue() if quoted else ",".join(names)).encode("utf-8", "surrogatepass")
    scored_or_refused(detector, first + b"\n" + valid.partition(b"\n")[2])


# Times

ODD_TIMES = ["NaT", "now", "today", "nan", "", "-", "20220415", "2022-W15-5", "2022-105", "0000-00-00", "24:00", "1e18", "-1"]
DATE, CLOCK, ZONE = r"[0-9]{1,5}-[0-9]{1,2}-[0-9]{1,2}", r"([T ][0-9]{2}(:[0-9]{2}){0,2}(\.[0-9]{1,12})?)?", r"(Z|[+-][0-9:]{2,5})?"
TIMES = st.one_of(
    st.datetimes().map(str),
    st.datetimes().map(lambda time: time.isoformat() + "+05:30"),
    st.integers().map(str),
    st.floats().map(str),
    st.from_regex(DATE + CLOCK + ZONE, fullmatch=True),
    st.sampled_from(ODD_TIMES),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters='",\r\n'), max_size=20),
)


@cases(1.5)
@given(times=st.lists(TIMES, min_size=1, max_size=16), repeats=st.booleans())
def test_times_of_any_kind_are_read_or_refused(detector, times, repeats):
    times = [times[0]] * 16 if repeats else times
    rows = "".join(f"{time},{10 + i % 3},{9 + i % 2}\n" for i, time in enumerate(times))
    scored_or_refused(detector, ("timestamp,s1,s2\n" + rows).encode())


# Configuration

OPTIONS = ["threshold", "format", "fail_on_anomaly", "quiet", "label_column", "time_column", "value_columns", "train_end", "resume"]
KEYS = st.one_of(st.sampled_from(sorted(SETTINGS)), st.sampled_from(OPTIONS), st.from_regex(r"[a-z_]{1,12}", fullmatch=True))
NUMBERS = st.one_of(st.integers(), st.integers(-3, 20), st.floats(), st.floats(0, 1))
WORDS = st.one_of(st.sampled_from(["auto", "none", "l2", "", "\0"]), st.text(max_size=8))
LISTS = st.lists(st.one_of(NUMBERS, WORDS, st.lists(st.floats(), max_size=3)), max_size=4)
VALUES = st.one_of(NUMBERS, WORDS, st.booleans(), LISTS)


def as_toml(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escaped = "".join(c if c.isalnum() and ord(c) < 128 else f"\\U{ord(c):08X}" for c in value)
        return f'"{escaped}"'
    if isinstance(value, list):
        return f"[{', '.join(map(as_toml, value))}]"
    return str(value)


ODD_TOML = [
    b"[windows]\n",
    b"a = 1\na = 2\n",
    b"units = 1979-05-27\n",
    b"a" * 9999,
    b"units = " + b"9" * 400,
    b"units = " + b"9" * 5000,
    b"u = " + b"[" * 5000,
]
TOML = st.one_of(
    st.dictionaries(KEYS, VALUES, max_size=3).map(lambda d: "".join(f"{k} = {as_toml(v)}\n" for k, v in d.items()).encode()),
    st.binary(max_size=60),
    st.sampled_from(ODD_TOML),
)


def write_config(content, folder):
    path = Path(folder) / "c.toml"
    path.write_bytes(content)
    return path


@cases(1)
@given(content=TOML)
def test_a_configuration_is_taken_or_refused(content):
    with tempfile.TemporaryDirectory() as folder:
        try:
            config = DetectorConfig.from_settings(read_toml(write_config(content, folder)))
        except AnomalyError as error:
            assert error.exit_code == 2
            return
    assert DetectorConfig.from_settings(config.to_settings()) == config


@cases(0.8)
@given(content=TOML, command=st.sampled_from(["score", "detect", "train"]))
def test_a_command_with_any_configuration_ends_with_a_known_code(valid, bundle_path, content, command):
    with tempfile.TemporaryDirectory() as folder:
        # Too short to train on: what a good configuration costs is not the question here.
        data = Path(folder) / "in.csv"
        data.write_bytes(valid if command != "train" else valid[:200])
        model = bundle_path if command != "train" else Path(folder) / "m"
        arguments = [command, str(data), "--model", str(model), "--config", str(write_config(content, folder))]
        result = CliRunner().invoke(cli, arguments)
    assert result.exit_code in EXIT_CODES, (content, result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), content
