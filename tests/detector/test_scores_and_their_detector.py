"""Scores that were computed before: whose they are, and which threshold counts."""

import pickle

import numpy as np
import pandas as pd
import pytest

from anomaly import ConfigError, DataError, Detector, TimeSeries
from anomaly.evaluation.evaluate import evaluate

SMALL = {"epochs": 1, "steps_per_epoch": 10, "penalty": "none", "seed": 0, "window_size": 24, "units": 4}


@pytest.fixture(scope="module")
def frame():
    times = pd.date_range("2024-03-01", periods=700, freq="h")
    wave = np.sin(np.arange(700) / 4) + 0.1 * np.random.default_rng(0).standard_normal(700)
    return pd.DataFrame({"a": wave, "b": 2 * wave}, index=times)


@pytest.fixture(scope="module")
def fitted(frame):
    return Detector(**SMALL).fit(frame[:400])


@pytest.fixture
def detector(fitted):
    """One that may be changed."""
    return pickle.loads(pickle.dumps(fitted))


def test_the_threshold_that_counts_is_the_detectors_own_unless_the_scores_have_one(detector, frame):
    broken = frame.copy()
    broken.iloc[500:505] += 30
    scores = detector.score(broken)
    assert len(detector.detect(scores)) == len(detector.detect(broken)) >= 1
    detector.set_threshold(1e6)
    assert len(detector.detect(scores)) == len(detector.detect(broken)) == 0
    low = float(np.nanmin(scores.score)) / 2
    assert len(detector.detect(scores.at(low))) == len(detector.detect(broken, threshold=low)) >= 1
    detector.set_threshold(1.0)
    events, again = detector.detect(scores), detector.detect(broken)
    assert [(event.start, event.stop, event.severity) for event in events] == [(x.start, x.stop, x.severity) for x in again]


def test_scores_of_other_columns_are_refused(detector, frame):
    other = Detector(**SMALL).fit(frame[["a"]][:400])
    scores = detector.score(frame)
    for use in (other.detect, other.p_values):
        with pytest.raises(DataError, match="of the detector's own columns, 'a'. Received: those of 'a', 'b'"):
            use(scores)


def test_scores_of_other_rows_are_not_evaluated(detector, frame):
    labels = np.zeros(700)
    labels[500:510] = 1
    series = TimeSeries(frame.index.as_unit("us").asi8, frame.to_numpy(), ("a", "b"), labels=labels, time_column="t")
    scores = detector.score(series)
    with pytest.raises(DataError, match="of the rows of the series"):
        evaluate(series[0:690], scores[10:700], detector.detect(scores[10:700]))


@pytest.mark.parametrize("labels", [-1.0, 2.0, np.nan, 0.5])
def test_labels_are_0_or_1(labels):
    with pytest.raises(DataError, match="`labels` must be 0 or 1"):
        TimeSeries(np.arange(3), np.zeros((3, 1)), ("a",), labels=np.array([0, labels, 1]))


@pytest.mark.parametrize("cut", ["3", True, None, float("nan"), -1.0])
def test_a_threshold_is_a_number(detector, cut):
    with pytest.raises(ConfigError, match="A threshold must be a finite number"):
        detector.set_threshold(cut)


def test_further_columns_of_a_frame_are_ignored_whatever_they_hold(detector, frame):
    more = frame.assign(site="north", when=frame.index, other=[[1]] * len(frame))
    more.insert(0, "again", frame["a"])
    more = more.rename(columns={"again": "site"})  # twice the same name
    np.testing.assert_array_equal(detector.score(more).score, detector.score(frame).score)
    joined = frame.join(detector.score(frame).to_frame())
    np.testing.assert_array_equal(detector.score(joined).score, detector.score(frame).score)


def test_an_index_that_counts_rows_leaves_out_none(frame):
    counted = frame.reset_index(drop=True)
    detector = Detector(**SMALL).fit(counted[:400])
    with pytest.raises(DataError, match=r"must leave out none. Received: 512 after 499 .*reindex\(range\(0, 700\)\)"):
        detector.score(counted.drop(index=range(500, 512)))
    assert len(detector.score(counted[100:])) == 600
    assert len(detector.score(counted.drop(index=range(500, 512)).reindex(range(700)))) == 700
    assert len(detector.score(counted[::3])) == 234  # one of several series in turns


@pytest.mark.parametrize("option", ["since", "until"])
@pytest.mark.parametrize("text", ["2024", "2023", "20240310", "1709251200"])
def test_digits_that_may_be_a_date_or_a_row_are_refused(detector, frame, option, text):
    with pytest.raises(ConfigError, match=f"{text}, which may be either"):
        detector.score(frame, **{option: text})


def test_a_row_and_a_year_can_be_said(detector, frame):
    assert len(detector.score(frame, since=600)) == len(detector.score(frame, since="600")) == 100
    assert len(detector.score(frame, until="2024-03-10")) == 240


def test_a_series_is_cut_at_a_datetime(frame):
    series = TimeSeries(frame.index.as_unit("us").asi8, frame.to_numpy(), ("a", "b"), time_column="t")
    when = pd.Timestamp("2024-03-10")
    assert len(series.since(when)) == len(series.since("2024-03-10")) == len(series) - len(series.before(when))


def test_what_the_command_line_says_of_new_rows_is_said_in_python_too(detector, frame):
    assert detector.score(frame).notes == ()
    moved = detector.score(frame * 3)
    assert len(moved.notes) == 1 and "values lie outside the training range in 'a', 'b'" in moved.notes[0]
    assert moved.notes[0] in repr(moved) and moved[5:9].notes == moved.notes
    silent = detector.score(frame.assign(b=np.nan))
    assert "Missing throughout: 'b'." in silent.notes


def test_a_feature_that_misses_too_much_to_be_judged_is_said_in_python_too(detector, frame):
    holes = frame.assign(b=frame["b"].where(np.arange(len(frame)) % 3 > 0))
    (note,) = (note for note in detector.score(holes).notes if note.startswith("Not judged"))
    assert note.startswith("Not judged: 'b' on 100% of the rows that have a score; in the windows")
    learnt = Detector(**SMALL).fit(holes.assign(c=frame["a"]))
    assert learnt.bundle_.training["unjudged"] == {"b": 1.0}
    assert not [note for note in learnt.score(holes.assign(c=frame["a"])).notes if note.startswith("Not judged")]


def test_what_a_history_lacks_is_said_in_python_too(detector, frame):
    assert len(detector.notes_) == len(detector.bundle_.training.get("notes", ())) > 0
    assert not any("--" in note for note in detector.notes_), "options are named as in Python"
    short = Detector(**SMALL).fit(frame[:150])
    assert any(note.startswith("Short history") for note in short.notes_)


def test_a_detector_takes_the_paces_of_its_own_history(frame):
    night = np.where(np.arange(700) % 144 < 84, 600, 780)
    paced = frame.set_axis(pd.DatetimeIndex(pd.Timestamp("2024-01-01") + pd.to_timedelta(np.cumsum(night), unit="s")))
    detector = Detector(**SMALL).fit(paced)
    assert any(note.startswith("Several paces: ") for note in detector.notes_)
    assert len(detector.score(paced)) == 700


def test_a_feature_may_be_called_time_where_the_index_has_the_times(frame):
    named = frame.assign(time=np.random.default_rng(1).normal(size=700).round(1))
    assert Detector(**SMALL).fit(named[:400]).columns_ == ("a", "b", "time")
