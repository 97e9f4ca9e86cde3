"""Rows of a file at another pace are refused, or not, whatever the pieces in which they are read."""

import functools
import io
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from conftest import HOUR, make_series, to_csv
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly import DataError
from anomaly.bundle.pace import Pace, PaceSoFar
from anomaly.detector.lookup import OneForAll
from anomaly.files.one_file import score_file
from anomaly.files.scored_rows import ScoredRows
from anomaly.fleet import long_files
from anomaly.fleet.long_files import score_long_file
from anomaly.live.interleaved import Streams
from anomaly.live.stream import How, Rows
from anomaly.sources.tolerance import Tolerance

FILE = {name: How(name, several=True) for name in ("trailing", "combined")}
# Hours between the rows: those of a file that is refused, and that of one that is not.
STEPS = {
    "good": [1] * 119,
    "repeated at first": [0] + [1] * 118,
    "a gap at first": [1, 500] + [1] * 117,
    "another pace": [0.1] * 119,
    "another pace for three rows": [0.1] * 3 + [1] * 116,
    "another pace from a row on": [1] * 50 + [0.5] * 69,
    "another pace in a stretch": [1] * 50 + [0.8] * 24 + [1] * 45,
    "backwards": [-1] * 119,
    "two rows": [1],
    "two rows that are the same": [0],
    "one row": [],
}
REFUSED = {name for name in STEPS if name.startswith("another")} - {"another pace for three rows"}
REFUSED |= {"backwards", "two rows that are the same"}


def series_of(kind):
    made = make_series(len(STEPS[kind]) + 1)
    steps = (np.array([0, *STEPS[kind]]) * HOUR).astype(np.int64)
    return replace(made, times=made.times[0] + np.cumsum(steps), labels=None)


def in_pieces(detector, kind, name, cuts):
    """Return the rows in order, and what is said of the series."""
    series, said, n = series_of(kind), [], len(STEPS[kind]) + 1
    streams = Streams(lambda _: detector, 2, FILE[name], Tolerance(), report=said.append)
    found = []
    for start, stop in pairwise([0, *sorted({cut for cut in cuts if cut < n}), n]):
        rows = Rows(["x"] * (stop - start), np.arange(start, stop), series.times[start:stop], series.values[start:stop])
        found += streams.pieces(np.full(stop - start, "x", object), rows)
    found += streams.finish()
    order = np.argsort(np.concatenate([piece.places for piece in found]), kind="stable")
    assert len(order) == n
    events = [event for piece in found for event in piece.events]
    return ScoredRows.joined([piece.rows for piece in found]).at(order), said, events, streams.failed


@functools.cache
def at_once(detector, kind, name):
    return in_pieces(detector, kind, name, [])


@pytest.mark.parametrize("kind", STEPS)
@pytest.mark.parametrize("name", FILE)
@settings(max_examples=10)
@given(cuts=st.lists(st.integers(1, 119), max_size=40))
def test_the_pieces_in_which_a_file_is_read_change_nothing(detector, name, kind, cuts):
    (rows, *rest), (wanted, *others) = in_pieces(detector, kind, name, cuts), at_once(detector, kind, name)
    assert rest == others
    for part in ("score", "status", "times"):
        assert getattr(rows, part).tobytes() == getattr(wanted, part).tobytes(), part
    assert (rest[2] == 1) == (kind in REFUSED)


@given(paces=st.lists(st.sampled_from([0, 0.5, 0.95, 1, 1, 1, 1.2, 3, -2]), max_size=90), cuts=st.lists(st.integers(1, 89)))
def test_good_rows_are_those_of_a_plain_loop(paces, cuts):
    pace, window = Pace("t", HOUR, HOUR, 4), 20
    steps = [step for n, step in enumerate(paces) for _ in range(1 + n % 30)]
    times = np.cumsum(np.array([0, *steps]) * HOUR).astype(np.int64)
    expected = next((n for n in range(len(times)) if fails(pace.check_stretches, times[: n + 1])), len(times))
    expected = 0 if fails(pace.check_all, times[:window]) else expected
    found, so_far, start = 0, PaceSoFar(pace, "x", window), 0
    for stop in [*sorted(cuts), len(times)]:
        n, error = so_far.good(times[start:stop], ended=stop == len(times))
        found, start = found + n, start + n
        if error is not None:
            break
    assert found == expected


def fails(check, times):
    try:
        check(times, "x")
    except DataError:
        return True
    return False


@pytest.mark.parametrize("kind", STEPS)
def test_a_long_file_is_refused_what_a_file_of_its_own_is(detector, tmp_path, monkeypatch, kind):
    """The rows of a series begin in one chunk, and go on in the next ones."""
    own, other = to_csv(series_of(kind), tmp_path / "own.csv"), to_csv(make_series(120), tmp_path / "other.csv")
    header, *lines = own.read_text().splitlines()
    rest = other.read_text().splitlines()[1:]
    text = "\n".join([f"id,{header}", *[f"F,{line}" for line in rest], *[f"X,{line}" for line in lines], ""])
    (tmp_path / "long.csv").write_text(text)
    found = []
    for chunk_bytes in (1 << 20, len(f"id,{header}\n") + sum(len(line) + 3 for line in [*rest, *lines[:2]]), 1_500):
        monkeypatch.setattr(long_files, "CsvReader", functools.partial(long_files.CsvReader, chunk_bytes=chunk_bytes))
        output, said = io.BytesIO(), []
        summary = score_long_file(OneForAll(detector), tmp_path / "long.csv", id_column="id", output=output, say=said.append)
        found.append((output.getvalue(), said, summary.n_failed, summary.n_rows))
        monkeypatch.undo()
    assert found[0] == found[1] == found[2] and found[0][3] == len(rest) + len(lines)
    try:
        score_file(detector, own)
    except DataError:
        assert found[0][2] == 1
    else:
        assert found[0][1:3] == ([], 0)
