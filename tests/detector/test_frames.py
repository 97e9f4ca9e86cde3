"""A detector and frames: names, zones, order, and scores that are put beside the rows they are of."""

import numpy as np
import pandas as pd
import pytest
from conftest import TINY

from anomaly import Detector
from anomaly.errors import DataError

QUICK = TINY | {"epochs": 1, "steps_per_epoch": 2, "penalty": "none"}
N = 300


def frame(n=N, start="2024-01-01", seed=0):
    rng, t = np.random.default_rng(seed), np.arange(n)
    values = {"flow": 10 + np.sin(t / 4) + rng.normal(0, 0.1, n), "temp": 20 + np.cos(t / 4) + rng.normal(0, 0.1, n)}
    return pd.DataFrame(values, index=pd.date_range(start, periods=n, freq="h"))


@pytest.fixture(scope="module")
def trained():
    return Detector(**QUICK, timezone="Europe/Berlin", dst="last").fit(frame())


@pytest.fixture(scope="module")
def counting():
    return Detector(**QUICK).fit(frame().reset_index(drop=True))


def test_naive_times_are_in_the_zone_of_the_detector(trained):
    assert trained.bundle_.training["first_time"] == "2023-12-31T23:00:00Z"
    scores = trained.score(frame(start="2024-07-01"))
    assert scores.times[0] == pd.Timestamp("2024-06-30T22:00Z").value // 1000


def test_a_loaded_detector_reads_naive_times_as_in_training(trained, tmp_path):
    trained.save(tmp_path / "d.anomaly")
    new = frame(start="2024-10-20")  # the clocks are put back on the 27th
    np.testing.assert_array_equal(Detector.load(tmp_path / "d.anomaly").score(new).times, trained.score(new).times)


@pytest.mark.parametrize(
    "make",
    [
        lambda new: new,
        lambda new: new.tz_localize("Asia/Tokyo"),
        lambda new: new.set_axis(new.index.to_period("h")),
        lambda new: new.set_axis(new.index.strftime("%Y-%m-%d %H:%M")),
        lambda new: new.rename_axis("when").reset_index(),
        lambda new: new.astype("Float64"),
        lambda new: new[["temp", "flow"]].assign(more=1.0, note=2),
    ],
    ids=["naive", "zone", "period", "text", "column", "nullable", "other columns"],
)
def test_scores_join_the_frame_they_are_of(trained, make):
    new = make(frame(seed=1))
    scores = trained.score(new)
    pd.testing.assert_index_equal(scores.to_frame().index, new.index)
    joined = new.join(scores.to_frame())
    assert len(joined) == N
    np.testing.assert_array_equal(joined["score"], trained.score(frame(seed=1)).score)


def test_the_index_goes_with_another_threshold(trained):
    new = frame(seed=1)
    pd.testing.assert_index_equal(trained.score(new).at(3.0).to_frame().index, new.index)


def test_a_count_of_rows_that_does_not_begin_at_0_is_kept(counting):
    new = frame(seed=1).set_axis(range(500, 500 + N))
    assert counting.score(new).to_frame().index.tolist() == list(range(500, 500 + N))


@pytest.mark.parametrize("library", ["pyarrow", "polars", "narwhals"])
def test_columns_are_found_by_name_in_the_frames_of_every_library(counting, library):
    module, new = pytest.importorskip(library), frame(seed=1).reset_index(drop=True)
    columns = {"temp": new["temp"].to_numpy(), "flow": new["flow"].to_numpy()}
    made = {
        "pyarrow": lambda: module.table(columns), "polars": lambda: module.DataFrame(columns),
        "narwhals": lambda: module.from_native(pd.DataFrame(columns)),
    }[library]()  # fmt: skip
    np.testing.assert_array_equal(counting.score(made).score, counting.score(new).score)
    assert counting.score(made).columns == ("flow", "temp")


def test_masked_cells_get_no_deviation(counting):
    new = frame(seed=1).to_numpy(copy=True)
    new[100:104, 0] = 1e6
    deviation = counting.score(np.ma.masked_greater(new, 1e3)).deviation
    assert np.isnan(deviation[100:104, 0]).all()
    assert np.isfinite(np.delete(deviation[:, 0], range(100, 104))).all()


def test_a_training_sorts_what_a_scoring_refuses(trained):
    shuffled = frame().sample(frac=1, random_state=0)
    again = Detector(**QUICK, timezone="Europe/Berlin", dst="last").fit(shuffled)
    assert again.bundle_.fingerprint == trained.bundle_.fingerprint
    for call in (trained.score, trained.detect, trained.calibrate_on_discoveries, trained.calibrate_on_labels):
        with pytest.raises(DataError, match=r"in the order of their times.* Sort them: frame.sort_index\(\)."):
            call(shuffled)
    np.testing.assert_array_equal(trained.score(shuffled.sort_index()).score, trained.score(frame()).score)


def test_a_path_is_read_before_a_training(tmp_path):
    with pytest.raises(DataError, match="a path or text. Read a file with read_csv first"):
        Detector(**QUICK).fit(tmp_path / "in.csv")


@pytest.mark.parametrize("call", ["score", "detect", "predict", "taken"])
def test_a_path_is_scored_as_the_frame_in_it(trained, tmp_path, call):
    new = frame(start="2024-07-01", seed=1)
    new.rename_axis("timestamp").to_csv(tmp_path / "in.csv")
    found, wanted = (getattr(trained, call)(data) for data in (tmp_path / "in.csv", new))
    if call == "score":
        np.testing.assert_array_equal(found.score, wanted.score)
        assert found.to_frame().index.tz_localize(None).tolist() == new.index.tolist()
    elif call == "taken":
        np.testing.assert_array_equal(found.times, wanted.times)
    else:
        assert list(found) == list(wanted)


def test_a_column_that_a_detector_does_not_want_may_be_labels(counting):
    new = frame(seed=1).reset_index(drop=True)
    labelled = new.assign(is_anomaly=(np.arange(N) % 7 == 0).astype(int))
    np.testing.assert_array_equal(counting.score(labelled).score, counting.score(new).score)
    with pytest.raises(DataError, match=r"labels in 'is_anomaly'.*frame.drop\(columns=\['is_anomaly'\]\)"):
        Detector(**QUICK).fit(labelled)
