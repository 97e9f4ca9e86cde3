"""Series one below the other are refused before they are sorted into one; pieces of one series are sorted."""

import numpy as np
import pytest

from anomaly.errors import SeveralSeriesError
from anomaly.files.checking import check_input
from anomaly.ingest.order import in_order, sorted_order
from anomaly.ingest.reading import read_csv

N, HOUR = 600, 3_600_000_000
RNG = np.random.default_rng(5)
EVEN = np.arange(N, dtype=np.int64) * HOUR
JITTER = [EVEN + RNG.integers(0, 30_000_000, N) for _ in range(3)]
RANDOM = [np.sort(RNG.choice(N * HOUR, N, replace=False)) for _ in range(3)]


def smooth(times, level=0.0):
    return 10 + level + 3 * np.sin(times / HOUR * np.pi / 12) + RNG.normal(0, 0.05, len(times))


def table(*blocks, ids=()):
    times = np.concatenate(blocks)
    columns = [np.concatenate([smooth(own, 50.0 * i * (not ids)) for i, own in enumerate(blocks)])]
    if ids:
        columns.append(np.concatenate([np.full(len(own), float(number)) for own, number in zip(blocks, ids, strict=True)]))
    return times, np.column_stack(columns)


@pytest.mark.parametrize(
    "blocks",
    [
        JITTER[:2],  # two sensors at moments of their own
        JITTER,
        RANDOM[:2],
        RANDOM,
        [EVEN, EVEN[:300] + HOUR // 3],  # of which one was read half as long
        [EVEN, EVEN[300:] + 200 * HOUR + 7],  # which overlap by half
        [EVEN[::2], np.arange(20 * N, dtype=np.int64) * HOUR // 20 + 11],  # at paces of their own
        [EVEN + HOUR // 2, EVEN],
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_series_one_below_the_other_are_refused(blocks, named):
    times, values = table(*blocks, ids=(3, 4, 7)[: len(blocks)] if named else ())
    with pytest.raises(SeveralSeriesError, match=f"Received: {len(blocks)} runs of rows, one below the other") as refused:
        sorted_order(times, values, "in.csv", columns=("value", "loc"))
    remedy = "Column 'loc' changes just there: say --id-column loc" if named else "Name the column that tells series apart"
    assert remedy in str(refused.value) and "sort the rows by time if they are one series" in str(refused.value)


HOLES = np.sort(RNG.choice(np.arange(1, N - 1), 60, replace=False))
REST = np.setdiff1d(np.arange(N), HOLES)
NEIGHBOURS = np.arange(N)
NEIGHBOURS[0::20], NEIGHBOURS[1::20] = np.arange(N)[1::20], np.arange(N)[0::20]
SPLIT = RNG.integers(0, 3, N)


@pytest.mark.parametrize(
    "places",
    [
        np.arange(N)[::-1],  # the newest row first
        np.arange(N).reshape(-1, 24)[::-1].ravel(),  # the newest day first
        RNG.permutation(N),
        np.r_[0:200, 260:600, 200:260],  # a block that came late into a gap
        np.r_[0:200, 260:400, 420:600, 200:260, 400:420],
        np.r_[REST, HOLES],  # single rows that were lost and sent again
        np.r_[0:400, 300:600],  # a second export that repeats a part of the first
        np.r_[0:600, 100:200],
        np.concatenate([np.flatnonzero(part == SPLIT) for part in range(3)]),  # parts of a shuffled table
        NEIGHBOURS,
    ],
)  # fmt: skip
@pytest.mark.parametrize("moments", [EVEN, JITTER[0], RANDOM[0]])
def test_rows_of_one_series_in_disorder_are_sorted(places, moments):
    times, values = moments, smooth(moments)[:, None]
    order = sorted_order(times[places], values[places], "in.csv")
    assert order is not None and (np.diff(times[places][order]) >= 0).all()


def test_a_clock_that_was_set_back_is_left_to_what_knows_of_it():
    for back, n in ((HOUR // 2, 300), (HOUR // 2, 20), (30 * HOUR + 5, 300)):
        times = np.concatenate([EVEN[:n], EVEN[n:] - back])
        assert sorted_order(times, smooth(times)[:, None], "in.csv") is None or back > HOUR


def written(path, ids, texts):
    lines = ["sensor,time,value" if texts else "time,loc,value"]
    for name, times in zip(ids, JITTER, strict=False):
        for time, value in zip(times, smooth(times, 50.0 * (name in ("y", "4"))), strict=True):
            moment = f"{np.datetime64('2024-01-03') + np.timedelta64(int(time), 'us')}Z"
            lines.append(f"{name},{moment},{value:.2f}" if texts else f"{moment},{name},{value:.2f}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_check_and_training_refuse_them_with_the_column(tmp_path):
    path = written(tmp_path / "in.csv", ("3", "4"), texts=False)
    assert "say --id-column loc" in check_input(path).faults[0]
    with pytest.raises(SeveralSeriesError, match="say --id-column loc"):
        in_order(read_csv(path))


def test_a_text_that_is_the_same_on_the_first_rows_may_name_series(tmp_path):
    path = written(tmp_path / "in.csv", ("x", "y"), texts=True)
    assert "Say --id-column sensor if it names several series; else leave them out" in check_input(path).faults[0]
    assert "one below the other" in check_input(path, ignore_columns=("sensor",)).faults[0]
    assert not check_input(path, id_column="sensor").faults
