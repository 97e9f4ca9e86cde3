"""JSON Lines and line protocol: the same numbers as the CSV file of the same records; every fault told or skipped."""

import csv
import io
import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly import AnomalyError, ConfigError, DataError
from anomaly.ingest.csv_rows import CsvReader
from anomaly.live.records import RecordReader

COLUMNS = ("a", "b c")


def read(path, file_format, **options):
    given_options = {"time_column": "time", "value_columns": COLUMNS} | options
    with RecordReader(path, file_format, **given_options) as reader:
        return list(reader), reader


def one(tmp_path, file_format, text, **options):
    path = tmp_path / "in"
    path.write_text(text, "utf-8")
    chunks, reader = read(path, file_format, **options)
    return chunks[0], reader


rows = st.lists(
    st.tuples(
        st.integers(0, 4_000_000_000),
        st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**20), 10**20)),
        st.one_of(st.none(), st.floats(-1e6, 1e6)),
        st.sampled_from(["p1", "p,2", "ü =", 'a"b', "x\\y"]),
    ).filter(lambda row: row[1] is not None or row[2] is not None),
    min_size=1,
    max_size=20,
)


def protocol_name(text):
    return "".join("\\" + c if c in ",= " else c for c in text)


def as_protocol(time, a, b, name):
    fields = [f"{protocol_name(column)}={value!r}" for column, value in zip(COLUMNS, (a, b), strict=True) if value is not None]
    return f'm\\ x,id={protocol_name(name)},z=1 other="a, \\"b = c",{",".join(fields)},more=2i {time * 10**9}'


@given(rows, st.sampled_from([30, 1 << 20]))
def test_all_formats_say_the_same(tmp_path_factory, records, chunk_bytes):
    folder = tmp_path_factory.mktemp("r")
    with open(folder / "in.csv", "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["time", *COLUMNS, "id"])
        for time, a, b, name in records:
            writer.writerow([pd.Timestamp(time, unit="s").isoformat(), *("" if v is None else repr(v) for v in (a, b)), name])
    (folder / "in.jsonl").write_text(
        "".join(
            json.dumps({"time": pd.Timestamp(time, unit="s").isoformat(), "a": a, "b c": b, "id": name, "other": [1]}) + "\n"
            for time, a, b, name in records
        )
    )
    (folder / "in.influx").write_text("# a comment\n" + "".join(as_protocol(*row) + "\n" for row in records), "utf-8")
    options = {"time_column": "time", "value_columns": COLUMNS, "id_column": "id", "chunk_bytes": chunk_bytes}
    with CsvReader(folder / "in.csv", **options) as reader:
        chunks = list(reader)
        counted = {kind: n for kind, n in reader.tolerance.counts.items() if kind != "extra_columns"}
    for file_format in ("jsonl", "influx"):
        found, reader = read(folder / f"in.{file_format}", file_format, **options)
        for name in ("times", "values", "ids"):
            wanted = np.concatenate([getattr(chunk, name) for chunk in chunks])
            np.testing.assert_array_equal(np.concatenate([getattr(chunk, name) for chunk in found]), wanted)
        if file_format == "influx":
            assert reader.tolerance.counts.pop("blank_lines") == 1
        assert reader.tolerance.counts == counted
        assert [line for chunk in found for line in chunk.lines] == [
            line for line in (folder / f"in.{file_format}").read_text("utf-8").splitlines() if not line.startswith("#")
        ]


@pytest.mark.parametrize(
    ("cell", "value"),
    [("1", 1), ("-2.5", -2.5), ("7i", 7), ("18446744073709551615u", 2**64), ("1e3", 1000), ("-.5E-1", -0.05), ("1e400", math.inf)],
)
def test_a_field_is_the_number_it_is(tmp_path, cell, value):
    chunk, _ = one(tmp_path, "influx", f"m a={cell} 1500\n")
    assert chunk.values[0, 0] == value and chunk.times[0] == 1 and math.isnan(chunk.values[0, 1])


def test_blanks_before_the_time_do_not_end_up_within_the_fields(tmp_path):
    from anomaly.files.scored_rows import ScoredRows, row_writer

    chunk, reader = one(tmp_path, "influx", "m a=1   1500\n")
    output, one_row = io.BytesIO(), np.ones((1, 2))
    rows = ScoredRows(chunk.lines, chunk.times, np.ones(1), one_row, one_row, np.zeros(1, np.uint8), np.full(1, 2.0))
    row_writer(reader, output, "influx")(rows)
    assert output.getvalue() == b'm a=1,score=1,threshold=2,anomaly_score=0.5,is_anomaly=false,status="ok" 1500\n'


@pytest.mark.parametrize(("column", "name"), [("*", "m\\ x,id=p\\ 1,z=1"), ("id", "p 1"), ("z", "1")])
def test_a_series_is_a_tag_or_the_whole_key(tmp_path, column, name):
    chunk, _ = one(tmp_path, "influx", "m\\ x,id=p\\ 1,z=1 a=1 5\n", id_column=column)
    assert chunk.ids.tolist() == [name]


BAD = {
    "jsonl": {
        "rejected_syntax": ['{"time": 1, "a": 1', "nonsense", '{"time": 1, "a": NaN}', "[" * 100_000],
        "rejected_fields": [
            "[1]",
            "7",
            '{"time": 1}',
            '{"time": 1, "A": 2}',
            '{"time": 1, "a": 1, "id": "p", "a": 1}',
            '{"time": 1, "a": 1, "id": "p", "time": 2}',
            '{"time": 1, "a": 1, "id": "p", "other": 1, "oth\\u0065r": 1}',
        ],
        "rejected_numbers": [
            '{"time": 1, "a": "x"}',
            '{"time": 1, "a": true}',
            '{"time": 1, "a": [1]}',
            '{"time": 1, "a": "2 l"}',
        ],
        "rejected_times": [
            '{"a": 1, "id": 1}',
            '{"time": "soon", "a": 1, "id": 1}',
            '{"time": true, "a": 1, "id": 1}',
            '{"time": {}, "a": 1}',
        ],
        "rejected_ids": [
            '{"time": 1, "a": 1, "id": null}',
            '{"time": 1, "a": 1, "id": ""}',
            '{"time": 1, "a": 1, "id": [1]}',
            '{"time": 1, "a": 1, "id": "\\ud800"}',
        ],
    },
    "influx": {
        "rejected_syntax": ["m", "m ", " a=1 5"],
        "rejected_fields": [
            "m,id=1 a 5",
            "m,id=1 a= 5",
            "m,id=1 A=1 5",
            "m,id=1 a=1, 5",
            "m,id=1 a=1,,b=2 5",
            "m,id=1 a=1,b\\ c=2,a=1 5",
            "m,id=1 a=1,x\\ =2,x\\ =3 5",
        ],
        "rejected_numbers": [
            "m,id=1 a=t 5",
            'm,id=1 a="1" 5',
            "m,id=1 a=0x1 5",
            "m,id=1 a=1_0 5",
            "m,id=1 a=nan 5",
            "m,id=1 a=i 5",
        ],
        "rejected_times": [
            "m,id=1 a=1",
            "m,id=1 a=1 now",
            "m,id=1 a=1 1.5",
            "m,id=1 a=1 99999999999999999999",
            "m,id=1 a=1 9223372036854775808",
            'm,id=1 a="x',
        ],
        "rejected_ids": ["m a=1 5", "m,other=1 a=1 5", "m,id=1,id=1 a=1 5", "m,id=1,other=2,id=3 a=1 5"],
    },
}
CASES = [(f, kind, line) for f, kinds in BAD.items() for kind, lines in kinds.items() for line in lines]
GOOD = {"jsonl": '{"time": 1, "a": 1, "id": "p"}', "influx": "m,id=p a=1 1000000000"}


@pytest.mark.parametrize(("file_format", "kind", "line"), CASES, ids=[f"{f}-{k}-{line[:30]}" for f, k, line in CASES])
def test_a_bad_record_is_refused_or_skipped(tmp_path, file_format, kind, line):
    text = f"{GOOD[file_format]}\n{line}\n{GOOD[file_format]}\n"
    with pytest.raises(DataError, match=r"Received: .*\(in, line 2\)"):
        one(tmp_path, file_format, text, id_column="id")
    rejects = tmp_path / "rejects.csv"
    chunk, reader = one(tmp_path, file_format, text, id_column="id", on_bad_rows="skip", max_bad_fraction=0.5, rejects=rejects)
    assert len(chunk.lines) == len(chunk.times) == len(chunk.values) == len(chunk.ids) == 2
    assert (reader.tolerance.n_rejected, reader.tolerance.places[kind]) == (1, "line 2")
    with open(rejects, newline="", encoding="utf-8") as handle:
        (row,) = csv.DictReader(handle)
    assert row["line"] == "2"


def test_names_within_a_member_that_goes_through_may_be_any(tmp_path):
    text = '{"time": 1, "a": 1, "other": {"b": 1, "b": 2}}'
    assert one(tmp_path, "jsonl", f"{text}\n")[0].lines == [text]


def test_the_last_time_of_line_protocol_is_one(tmp_path):
    assert one(tmp_path, "influx", f"m a=1 {2**63 - 1}\n")[0].times.tolist() == [(2**63 - 1) // 1000]


@pytest.mark.parametrize(("file_format", "line"), [("jsonl", '{"time": 1, "a": 1, "score": 2}'), ("influx", "m a=1,status=2i 5")])
def test_what_scoring_appends_must_not_be_there(tmp_path, file_format, line):
    with pytest.raises(DataError, match="must not have what scoring appends"):
        one(tmp_path, file_format, f"{line}\n")


@pytest.mark.parametrize(("file_format", "line"), [("jsonl", '{"time": 1, "a": 1, "a_lower": 2}'), ("influx", "m a=1,a_lower=2 5")])
def test_what_is_asked_for_of_each_feature_must_not_be_there(tmp_path, file_format, line):
    assert len(one(tmp_path, file_format, f"{line}\n")[0].lines) == 1
    with pytest.raises(DataError, match=r"must not have what scoring appends\. Received: 'a_lower'"):
        one(tmp_path, file_format, f"{line}\n", figures=("a_lower",))


def test_rows_are_counted_without_a_time_column(tmp_path):
    chunk, _ = one(tmp_path, "jsonl", '{"a": 1}\n\n{"a": 2}\n', time_column=None)
    assert chunk.times.tolist() == [0, 1]


def test_the_id_column_is_no_value_column(tmp_path):
    with pytest.raises(ConfigError, match="must not be the time or a value column"):
        one(tmp_path, "jsonl", "", id_column="a")


@given(st.binary(max_size=80), st.sampled_from(["jsonl", "influx"]))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content, file_format):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content)
    for options in ({}, {"on_bad_rows": "skip", "max_bad_fraction": 1.0}):
        try:
            read(path, file_format, **options)
        except AnomalyError as error:
            assert error.exit_code == 3


@pytest.mark.parametrize("chunk_bytes", [20, 1 << 20])
def test_where_rows_are_counted_the_place_of_a_skipped_record_stays_empty_in_every_format(tmp_path, chunk_bytes):
    cells = ["1", "2", "x", "4", "", "y", "7", "z"]
    (tmp_path / "in.csv").write_text("a,b c\n" + "".join(f"{cell},1\n" for cell in cells))
    members = {"": "null", "x": '"x"', "y": '"y"', "z": '"z"'}
    (tmp_path / "in.jsonl").write_text("\n".join(f'{{"a": {members.get(cell, cell)}, "b c": 1}}' for cell in cells) + "\n")
    options = {"time_column": None, "value_columns": COLUMNS, "on_bad_rows": "skip", "max_bad_fraction": 1.0}
    options |= {"chunk_bytes": chunk_bytes}
    with CsvReader(tmp_path / "in.csv", **options) as reader:
        places = np.concatenate([chunk.times for chunk in reader]).tolist()
        assert reader.n_rows == 8
    found, reader = read(tmp_path / "in.jsonl", "jsonl", **options)
    assert np.concatenate([chunk.times for chunk in found]).tolist() == places == [0, 1, 3, 4, 6]
    assert reader.n_rows == 8


@pytest.mark.parametrize(
    ("before", "time"),
    [
        ({"time_format": "%d/%m/%Y %H:%M"}, '"25/03/2024 20:00"'),
        ({"time_format": "%Y%m%d%H%M"}, '"202403252000"'),
        ({"time_format": "%Y%m%d%H%M"}, "202403252000"),
        ({"time_format": "excel"}, "45376.8333333333"),
        ({"time_format": "%d/%m/%Y %H:%M"}, '"2024-03-25T20:00:00"'),
        ({}, '"2024-03-25T20:00:00Z"'),
        ({"time_format": "excel"}, "1711396800"),
    ],
)
def test_times_are_read_as_in_training_or_as_ever(tmp_path, before, time):
    chunk, _ = one(tmp_path, "jsonl", f'{{"time": {time}, "a": 1}}\n', before=before)
    assert chunk.times.tolist() == [1_711_396_800 * 10**6]


def test_a_time_may_be_made_up_of_members(tmp_path):
    chunk, _ = one(tmp_path, "jsonl", '{"Date": "2024-03-25", "Time": "20:00:00", "a": 1}\n', time_column="Date,Time")
    assert chunk.times.tolist() == [1_711_396_800 * 10**6]


@pytest.mark.parametrize(("cell", "value"), [('"50.332"', 50.332), ('" -1e3 "', -1000.0), ('"0"', 0.0)])
def test_a_number_may_stand_in_quotes(tmp_path, cell, value):
    chunk, _ = one(tmp_path, "jsonl", f'{{"time": 0, "a": {cell}}}\n')
    assert chunk.values[0, 0] == value


@pytest.mark.parametrize("cell", ['""', '"1,5"', '"1_0"', '"nan"', '"0x1"', "true", '"true"'])
def test_other_text_is_no_number(tmp_path, cell):
    with pytest.raises(DataError, match="Received: no number"):
        one(tmp_path, "jsonl", f'{{"time": 0, "a": {cell}}}\n')


@pytest.mark.parametrize(("cell", "value"), [("true", 1), ("false", 0), ('"True"', 1), ("1", 1)])
def test_true_and_false_are_1_and_0_where_they_were_in_training(tmp_path, cell, value):
    chunk, _ = one(tmp_path, "jsonl", f'{{"time": 0, "a": {cell}}}\n', before={"truths": '["a"]'})
    assert chunk.values[0, 0] == value
    chunk, _ = one(tmp_path, "influx", f"m a={cell.strip(chr(34))} 0\n", before={"truths": '["a"]'})
    assert chunk.values[0, 0] == value


@pytest.mark.parametrize(
    ("names", "parts", "before", "time"),
    [("date,time", ["20240103", 130], {"time_format": "%Y%m%d %H%M"}, "2024-01-03 01:30"),
     ("date,time,ms", ["2024-01-03", "01:30:05", 7], {}, "2024-01-03 01:30:05.007"),
     ("date,tz", ["2024-01-03 01:30", "UTC+01:00"], {}, "2024-01-03 00:30")],
)  # fmt: skip
def test_members_that_make_up_the_time_are_joined_as_columns_are(tmp_path, names, parts, before, time):
    members = dict(zip(names.split(","), parts, strict=True)) | {"a": 1.5, "b c": 2}
    chunk, _ = one(tmp_path, "jsonl", json.dumps(members) + "\n", time_column=names, before=before)
    assert chunk.times.tolist() == pd.DatetimeIndex([time]).as_unit("us").asi8.tolist()
