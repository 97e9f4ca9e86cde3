"""A detector that counts rows: what it does not read may say that rows are of several series, or in another order."""

import json

import numpy as np
import pandas as pd
import pytest

from anomaly import AnomalyError
from anomaly.ingest.csv_rows import CsvReader

N = 600
T = [f"{time:%Y-%m-%d %H:%M:%S}" for time in pd.date_range("2024-03-25", periods=N, freq="min")]
A = np.round(np.random.default_rng(0).normal(50, 2, N), 2)


def text(head, *columns):
    return "\n".join([f"{head},a", *map(",".join, zip(*(map(str, own) for own in (*columns, A)), strict=False))]) + "\n"


def read(path, written, *, before=None, follow=None, **options):
    path.write_text(written)
    with CsvReader(path, time_column=None, value_columns=("a",), before=before or {}, **options) as reader:
        return sum(len(chunk.lines) for chunk in reader)


SHUFFLED = np.random.default_rng(1).permutation(N)
EPOCHS = 1_711_324_800 + 60 * np.arange(N)
REFUSED = {
    "newest first": (text("time", T[::-1]), "499 steps back in the first 500 rows"),
    "in any order": (text("time", [T[i] for i in SHUFFLED]), "steps back in the first 500 rows"),
    "epochs, newest first": (text("time", EPOCHS[::-1]), "steps back"),
    "two in turns": (text("time,pump", np.repeat(T[: N // 2], 2), ["p1", "p2"] * (N // 2)), "Say --id-column pump"),
    "one below the other": (text("time,pump", [*T[:550], *T[:50]], ["p1"] * 550 + ["p2"] * 50), "with the times of the first two"),
    "back later on": (text("time", [*T[:520], *T[599:519:-1]]), "steps back in 600 rows"),
    "runs": (
        text("run,step", [1] * 200 + [2] * 200 + [3] * 200, [*range(200)] * 3),
        "Say --id-column run for a series of each, or leave",
    ),
    "a later run": (text("step", [*range(550), *range(50)]), "must go on throughout. Received: 0 after 549"),
}
CLOCK_BACK = [*T[:300], *T[240:540]]
TAKEN = {
    "in order": text("time", T),
    "epochs in order": text("time", EPOCHS),
    "a clock that goes back once": text("time", CLOCK_BACK),
    "times that are too coarse": text("time", np.repeat(T[: N // 10], 10)),
    "a name": text("pump", ["p1"] * N),
    "a batch": text("time,batch", T, np.repeat(["x", "y", "z"], N // 3)),
    "a count": text("no", np.arange(N)),
    "another number": text("b", A[::-1]),
    "texts": text("note", ["-", "checked"] * (N // 2)),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("chunk_bytes", [500, 1 << 20])
def test_what_tells_that_rows_are_no_series_in_order_is_refused(tmp_path, case, chunk_bytes):
    written, words = REFUSED[case]
    with pytest.raises(AnomalyError) as refusal:
        read(tmp_path / "in.csv", written, chunk_bytes=chunk_bytes)
    if chunk_bytes > 500:
        assert words in str(refusal.value)


@pytest.mark.parametrize("case", TAKEN)
@pytest.mark.parametrize("chunk_bytes", [500, 1 << 20])
def test_what_tells_nothing_of_the_kind_is_passed_over(tmp_path, case, chunk_bytes):
    assert read(tmp_path / "in.csv", TAKEN[case], chunk_bytes=chunk_bytes) == N


@pytest.mark.parametrize("case", ["newest first", "two in turns", "runs", "a later run"])
def test_what_was_beside_the_features_in_training_too_is_passed_over(tmp_path, case):
    written = REFUSED[case][0]
    unread = json.dumps(written.partition("\n")[0].split(",")[:-1])
    assert read(tmp_path / "in.csv", written, before={"unread": unread}) == N


def test_a_training_that_counts_rows_remembers_what_it_did_not_read(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text(text("time,b", T, A))
    with CsvReader(path, time_column=None, value_columns=("a",), ignore_columns=("time",)) as reader:
        assert json.loads(reader.remembered["unread"]) == ["time", "b"]
    with CsvReader(path) as reader:
        assert "unread" not in reader.remembered
