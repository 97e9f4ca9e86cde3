"""A detector and frames: names, zones, order, and scores that are put beside the rows they are of."""

import numpy as np
import pandas as pd
import pytest
from conftest import TINY

from anomaly import Detector, TimeSeries
from anomaly.errors import ConfigError, DataError

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


ZONE = "Asia/Kolkata"
CLOCKS = {
    "index": lambda new: new,
    "periods": lambda new: new.set_axis(new.index.to_period("h")),
    "text": lambda new: new.set_axis(new.index.astype(str)),
    "objects": lambda new: new.set_axis(pd.Index(new.index.to_pydatetime(), dtype=object)),
    "column": lambda new: new.reset_index(names="when"),
    "column of text": lambda new: new.assign(when=new.index.strftime("%Y-%m-%dT%H:%M:%S")).reset_index(drop=True),
    "index with zone": lambda new: new.tz_localize(ZONE),
    "column with zone": lambda new: new.tz_localize(ZONE).reset_index(names="when"),
}


@pytest.mark.parametrize("kind", CLOCKS)
def test_stamps_slices_and_events_go_by_the_clock_of_the_frame(kind):
    new = frame(seed=1)
    new.iloc[200:210, 0] += 50
    scored = CLOCKS[kind](new)
    detector = Detector(**QUICK, timezone=ZONE).fit(CLOCKS[kind](frame()))
    scores = detector.score(scored)
    pd.testing.assert_index_equal(scores.to_frame().index, scored.index)
    day = scores["2024-01-05":"2024-01-06"]
    assert len(day) == 24 and day.score[0] == scores.score[96]
    clock = new.index.tz_localize(ZONE) if "zone" in kind else new.index
    event = detector.detect(scores, threshold=float(np.nanmax(scores.score)) * 0.99).to_frame().iloc[0]
    assert event["first_time"] == clock[event["start"]] and clock[0] <= event["last_time"]


def test_the_rows_of_the_training_are_no_drift_where_rows_are_counted(tmp_path):
    counted = frame().reset_index(drop=True)
    detector = Detector(**QUICK).fit(counted)
    assert detector.trained_on(counted).all()
    assert detector.score(counted).notes == ()
    apart = detector.bundle_.drift("point_mean")
    for rows in (slice(0, 7), slice(7, 250), slice(250, N)):
        values = counted[rows].to_numpy()
        apart.push(values, np.full(len(values), 1e-6), np.arange(N)[rows])
    again = detector.bundle_.drift("point_mean")
    again.restore(apart.counts)
    again.push(counted.to_numpy())
    assert apart.result().scores == again.result().scores == 0
    others = apart.anew()
    others.push(counted.to_numpy() + 1e-9, np.full(N, 1e-6), np.arange(N))
    assert others.result().scores == N and others.result().shifted


def test_numbers_that_leave_some_out_count_no_rows():
    hours = TimeSeries(np.arange(N) * 3_600_000_000, frame().to_numpy(), ("flow", "temp"))
    detector = Detector(**QUICK).fit(hours)
    assert np.isfinite(detector.score(hours).score).any() and np.isfinite(detector.score(hours[100:]).score).any()


@pytest.mark.parametrize("threshold", [np.nan, np.inf, 0, -1, "1", None, True])
def test_no_threshold_that_nothing_can_be_compared_with_enters(counting, threshold):
    scores = counting.score(frame().reset_index(drop=True))
    for given in (scores.at, counting.set_threshold):
        with pytest.raises(ConfigError, match=r"A threshold must be a finite number of at least 1e-09\. Received: "):
            given(threshold)
