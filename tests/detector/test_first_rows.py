"""A detector from first rows and a network that others trained: what it takes from whom, and what it does not learn from."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import HOUR, make_series
from new_to_the_fleet import TEN, W, gone, members, new_series, still

from anomaly import ConfigError, Detector
from anomaly.config import AGGREGATIONS
from anomaly.detector.first_rows import NothingLearntError, Teacher
from anomaly.windowing.scaling import Scaler


@pytest.fixture(scope="module")
def bundles(detector):
    return members(detector)


@pytest.fixture(scope="module")
def teacher(bundles):
    return Teacher.of(bundles)


def learnt(teacher, series, n, **options):
    return teacher.learnt(series.times[:n], series.values[:n], "new", **options)


def test_scale_and_units_are_the_series_own_and_the_network_is_that_of_all(teacher, bundles):
    series = new_series()
    found = learnt(teacher, series, TEN)
    bundle, scaler = found.detector.bundle_, Scaler.fit(series.values[:TEN])
    np.testing.assert_array_equal(bundle.scaler.center, scaler.center)
    np.testing.assert_array_equal(bundle.scaler.scale, scaler.scale)
    assert all(bundle.weights[name] is bundles[0].weights[name] for name in bundle.weights)
    assert bundle.window_size == W and found.n_rows == TEN and not found.silent.any()
    assert {threshold.method for threshold in bundle.thresholds.values()} == {"lent"}
    assert "(lent: by other series, widened by what is unknown;" in str(bundle.thresholds["combined"])


def test_level_and_scale_of_the_series_make_no_difference(teacher):
    series = new_series(factor=1.0)
    other = replace(series, values=series.values * 1024)
    one, two = (learnt(teacher, made, TEN).detector for made in (series, other))
    np.testing.assert_allclose(two.score(other).score, one.score(series).score, rtol=1e-4)
    assert two.thresholds_["combined"].value == pytest.approx(one.thresholds_["combined"].value, rel=1e-4)


def test_normal_rows_score_about_1_and_a_spike_stands_out(teacher):
    series = new_series()
    detector = learnt(teacher, series, TEN).detector
    scores = detector.score(series)
    assert 0.5 < np.median(scores.score) < 2
    assert [event.start for event in detector.detect(scores) if event.start < 204 and event.stop > 200]


def test_the_threshold_is_wide_at_first_and_narrows_down(teacher):
    series = new_series()
    cuts = [learnt(teacher, series, n * W).cuts["trailing"] for n in (2, 5, 10)]
    assert cuts[0].widened > cuts[1].widened > cuts[2].widened > 1
    assert cuts[0].own_share < cuts[1].own_share < cuts[2].own_share


def test_thresholds_that_somebody_has_set_hold_for_new_series_too(bundles):
    fixed = [Detector.of_bundle(bundle).set_threshold(5.0).bundle_ for bundle in bundles]
    found = learnt(Teacher.of(fixed), new_series(), TEN)
    assert found.cuts["combined"].own_share == 0
    assert {name: cut.own_share > 0 for name, cut in found.cuts.items()} == dict.fromkeys(AGGREGATIONS, False)


def test_networks_of_their_own_teach_nobody(bundles):
    other = replace(bundles[1], weights={name: array + 1 for name, array in bundles[1].weights.items()})
    with pytest.raises(ConfigError, match=r"network that all others share. Received: detectors with networks of their own. Train"):
        Teacher.of([bundles[0], other])


def test_those_of_another_pace_than_most_have_no_say(bundles):
    slow = replace(bundles[3], step=24 * HOUR)
    assert Teacher.of([slow, *bundles[:3]]).bundle.step == HOUR
    assert len(Teacher.of([slow, *bundles[:3]]).lenders["combined"].series) == 3
    assert len(Teacher.of(bundles).lenders["combined"].series) == 4


def test_a_beginning_that_stands_still_is_left_out(teacher):
    series = still(new_series(), 50)
    assert teacher.n_moving(series.values[:50]) == 0
    assert teacher.n_moving(series.values[:80]) == 30
    found, wanted = learnt(teacher, series, 50 + TEN), learnt(teacher, series[50:], TEN)
    assert found.n_rows == TEN
    np.testing.assert_array_equal(found.detector.bundle_.scaler.scale, wanted.detector.bundle_.scaler.scale)
    assert found.cuts == wanted.cuts


def test_two_equal_rows_are_no_standstill(teacher):
    series = still(new_series(), 3)
    assert teacher.n_moving(series.values[:80]) == 80


NOTHING = {
    "constant": (lambda s: np.full(s.shape, 3.0), "the values do not change"),
    "a spike at last": (
        lambda s: np.where(np.arange(len(s))[:, None] == 60, 4.0, 3.0) * np.ones(s.shape),
        "the values hardly change",
    ),
    "then constant": (lambda s: np.where(np.arange(len(s))[:, None] < 50, s, 3.0), "the values hardly change"),
    "missing": (lambda s: np.where(np.arange(len(s))[:, None] % 3 > 0, np.nan, s), "most values are missing"),
    "nothing at all": (lambda s: np.full(s.shape, np.nan), "most values are missing"),
    "infinite": (lambda s: np.full(s.shape, np.inf), "most values are missing"),
}


@pytest.mark.parametrize(("change", "reason"), NOTHING.values(), ids=NOTHING)
def test_what_teaches_nothing_is_not_learnt_from(teacher, change, reason):
    series = new_series()
    with pytest.raises(NothingLearntError, match=reason):
        teacher.learnt(series.times[:TEN], change(series.values[:TEN]), "new", last=True)


def test_gaps_everywhere_teach_nothing(teacher):
    series = new_series()
    times = series.times[:TEN] + np.arange(TEN) // (W - 2) * 50 * HOUR
    with pytest.raises(NothingLearntError, match=f"each half must hold a stretch of {W} rows without a gap"):
        teacher.learnt(times, series.values[:TEN], "new")


def test_a_mark_for_missing_values_is_not_taken_for_a_number(teacher):
    series = new_series()
    values = series.values[:TEN].copy()
    values[::9, 0] = -999999.0
    with pytest.raises(NothingLearntError, match="--missing-values"):
        teacher.learnt(series.times[:TEN], values, "new")


@pytest.mark.parametrize("value", [np.nan, 3.0])
def test_one_silent_feature_of_two_is_not_spoken_of(teacher, value):
    series = new_series()
    values = series.values.copy()
    values[:TEN, 1] = value
    found = teacher.learnt(series.times[:TEN], values[:TEN], "new")
    assert found.silent.tolist() == [False, True]
    scores = found.detector.score(replace(series, values=np.where(found.silent, np.nan, values)))
    assert np.isnan(scores.by_feature[:, 1]).all() and np.isfinite(scores.by_feature[:, 0]).all()


def test_what_is_constant_to_the_end_is_taken_for_constant_as_in_training(teacher):
    series = new_series()
    values = series.values.copy()
    values[:, 1] = 3.0
    found = teacher.learnt(series.times[:TEN], values[:TEN], "new", last=True)
    assert not found.silent.any() and found.detector.bundle_.scaler.constant == (1,)


def test_a_feature_that_never_varies_in_the_fleet_is_no_reason_to_wait(bundles):
    constant = [replace(bundle, scaler=replace(bundle.scaler, constant=(1,))) for bundle in bundles]
    series = new_series()
    values = series.values.copy()
    values[:, 1] = 3.0
    assert not Teacher.of(constant).learnt(series.times[:TEN], values[:TEN], "new").silent.any()


def test_single_infinite_values_are_left_out(teacher):
    series = new_series()
    values = series.values.copy()
    values[7, 0] = np.inf
    found = teacher.learnt(series.times[:TEN], values[:TEN], "new")
    assert np.isfinite(found.detector.bundle_.scaler.scale).all() and not found.silent.any()


def test_the_same_rows_teach_the_same(teacher):
    one, two = (learnt(teacher, make_series(TEN, seed=4, spike=None), TEN) for _ in range(2))
    assert one.cuts == two.cuts
    for name, scores in one.detector.bundle_.calibration_scores.items():
        assert scores.tobytes() == two.detector.bundle_.calibration_scores[name].tobytes()


def test_gone_rows_are_not_usable(teacher):
    series = gone(new_series(), 5)
    assert teacher.is_usable(series.values[:8]).tolist() == [False] * 5 + [True] * 3
    assert teacher.is_usable(gone(new_series(), 5, 0).values[:8]).all()


@pytest.mark.parametrize("row", [30, TEN - 30])
def test_a_wild_cell_is_as_good_as_none(teacher, row):
    series = new_series()
    holed, wild = (replace(series, values=series.values.copy()) for _ in range(2))
    holed.values[row, 0], wild.values[row, 0] = np.nan, 1e7
    without, with_one = (learnt(teacher, made, TEN).detector for made in (holed, wild))
    np.testing.assert_array_equal(with_one.score(series).score, without.score(series).score)
    assert with_one.thresholds_ == without.thresholds_
    assert any(note.startswith("Wild cells: 1e+07 ") for note in with_one.bundle_.training["notes"])
