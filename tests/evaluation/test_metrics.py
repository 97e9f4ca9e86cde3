"""Metrics against slow twins, against the reference's own numbers, and against what they promise."""

import json
from pathlib import Path

import naive_metrics
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from anomaly.errors import ConfigError, DataError
from anomaly.evaluation.affiliation import Affiliation, _place, affiliation, affiliation_of_chance
from anomaly.evaluation.metrics import (
    VolumeUnderSurface,
    average_precision,
    detection_delays,
    event_ranges,
    event_scores,
    point_adjusted_f1,
    roc_auc,
    volume_under_surface,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "metrics.json").read_text(encoding="utf-8"))
each_case = pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["name"])


def inputs(case):
    """Return the labels and scores of a golden case."""
    labels = np.zeros(case["n_rows"])
    for start, stop in case["events"]:
        labels[start:stop] = 1
    return labels, np.array(case["score_thousandths"]) / 1000


@st.composite
def labelled(draw, most=70):
    """Labels of both kinds and scores of the same rows, tied or not."""
    n = draw(st.integers(2, most))
    # Runs of a label rather than single rows: events at borders, far apart and close together.
    lengths = draw(st.lists(st.integers(1, max(1, n // 3)), min_size=2, max_size=9))
    labels = np.concatenate([np.full(length, i % 2) for i, length in enumerate(lengths)])
    labels = 1 - labels if draw(st.booleans()) else labels
    elements = draw(st.sampled_from([st.integers(0, 3).map(float), st.floats(-10, 10)]))
    return labels, np.array(draw(st.lists(elements, min_size=len(labels), max_size=len(labels))))


FLAGS = st.lists(st.booleans(), min_size=1, max_size=60)


def two_flags(most):
    return st.integers(1, most).flatmap(lambda n: st.tuples(*[st.lists(st.booleans(), min_size=n, max_size=n)] * 2))


TWO_FLAGS = two_flags(60)


@each_case
def test_the_volumes_are_those_of_the_reference(case):
    volume = volume_under_surface(*inputs(case), case["buffer"])
    assert volume.pr == pytest.approx(case["vus_pr"], abs=1e-12)
    assert volume.roc == pytest.approx(case["vus_roc"], abs=1e-12)
    assert volume.buffer == case["buffer"]


@each_case
def test_the_areas_of_single_rows_are_those_of_the_reference(case):
    assert average_precision(*inputs(case)) == pytest.approx(case["auc_pr"], abs=1e-12)
    assert roc_auc(*inputs(case)) == pytest.approx(case["auc_roc"], abs=1e-12)


@each_case
def test_the_affiliation_is_that_of_the_reference(case):
    _, score = inputs(case)
    result = affiliation(event_ranges(score > case["cut"]), [tuple(event) for event in case["events"]], case["n_rows"])
    assert result.precision == pytest.approx(case["affiliation_precision"], abs=1e-12)
    assert result.recall == pytest.approx(case["affiliation_recall"], abs=1e-12)


def test_the_golden_numbers_say_what_made_them():
    assert GOLDEN["made_by"].startswith("Made by tsb-ad 1.5")


@settings(max_examples=30)
@given(labelled(most=40), st.integers(0, 30))
def test_the_volumes_are_those_of_loops_over_thresholds_and_buffers(data, buffer):
    labels, score = data
    pr, roc = naive_metrics.volume_under_surface(labels.tolist(), score.tolist(), buffer, 250)
    volume = volume_under_surface(labels, score, buffer)
    assert (volume.pr, volume.roc) == pytest.approx((pr, roc), abs=1e-12)


@given(labelled(), st.integers(0, 20))
def test_only_the_ranking_of_the_scores_counts(data, buffer):
    labels, score = data
    ranks = np.unique(score, return_inverse=True)[1].astype(float)
    assert volume_under_surface(labels, score, buffer) == volume_under_surface(labels, ranks, buffer)
    assert average_precision(labels, score) == average_precision(labels, ranks)
    assert roc_auc(labels, score) == roc_auc(labels, ranks)


@given(labelled(), st.integers(0, 20))
def test_a_series_read_backwards_has_the_same_volumes(data, buffer):
    labels, score = data
    forward, backward = (volume_under_surface(labels[::s], score[::s], buffer) for s in (1, -1))
    assert (forward.pr, forward.roc) == pytest.approx((backward.pr, backward.roc), abs=1e-12)


@given(labelled())
def test_the_areas_of_single_rows_are_those_of_loops(data):
    labels, score = (array.tolist() for array in data)
    assert average_precision(*data) == pytest.approx(naive_metrics.average_precision(labels, score), abs=1e-12)
    assert roc_auc(*data) == pytest.approx(naive_metrics.roc_auc(labels, score), abs=1e-12)


@given(labelled())
def test_turning_the_scores_round_turns_the_roc_area_round(data):
    labels, score = data
    assert roc_auc(labels, -score) == pytest.approx(1 - roc_auc(labels, score), abs=1e-12)


def test_a_perfect_ranking_has_areas_of_one():
    labels = np.repeat([0, 1, 0], [40, 10, 50])
    assert average_precision(labels, labels + 0.5) == roc_auc(labels, labels + 0.5) == 1
    assert volume_under_surface(labels, labels.astype(float), 0).pr == 1


def test_a_detection_beside_an_event_gains_by_a_buffer():
    labels, score = np.repeat([0, 1, 0], [40, 10, 50]), np.repeat([0.0, 1.0, 0.0], [36, 10, 54])
    assert volume_under_surface(labels, score, 20).pr > volume_under_surface(labels, score, 0).pr


def test_equal_scores_know_nothing():
    labels = np.repeat([0, 1, 0], [40, 10, 50])
    assert average_precision(labels, np.ones(100)) == pytest.approx(0.1)
    assert roc_auc(labels, np.ones(100)) == 0.5


def test_infinite_scores_only_rank():
    labels, score = np.array([0, 1, 1, 0, 0, 1]), np.array([-np.inf, np.inf, 2.0, 1.0, 0.5, np.inf])
    finite = np.array([-9.0, 9.0, 2.0, 1.0, 0.5, 9.0])
    assert volume_under_surface(labels, score, 3) == volume_under_surface(labels, finite, 3)


def test_a_buffer_longer_than_the_series_is_allowed():
    labels, score = np.array([0, 1, 0, 0, 1, 0]), np.array([0.1, 0.9, 0.3, 0.2, 0.1, 0.5])
    volume = volume_under_surface(labels, score, 40)
    assert (volume.pr, volume.roc) == pytest.approx(naive_metrics.volume_under_surface([*labels], [*score], 40), abs=1e-12)
    assert volume == VolumeUnderSurface(volume.pr, volume.roc, 40)


def test_a_negative_buffer_is_refused():
    with pytest.raises(ConfigError, match=r"`buffer` must be at least 0 rows\. Received: buffer=-1\."):
        volume_under_surface(np.array([0, 1]), np.array([0.0, 1.0]), -1)


CURVES = [lambda labels, score: volume_under_surface(labels, score, 5), average_precision, roc_auc]
each_curve = pytest.mark.parametrize("curve", CURVES, ids=["volume", "average_precision", "roc_auc"])


@each_curve
def test_a_series_without_a_labelled_row_is_refused(curve):
    with pytest.raises(DataError, match=r"labelled row.*Received: 0 labelled of 4\. Check the label column\."):
        curve(np.zeros(4), np.arange(4.0))


@each_curve
def test_a_missing_score_is_refused(curve):
    with pytest.raises(DataError, match=r"A score must not be NaN\. Received: 2 NaN in 4 rows\. Leave these rows out\."):
        curve(np.array([0, 1, 0, 1]), np.array([1.0, np.nan, np.nan, 2.0]))


@each_curve
def test_a_label_that_is_neither_0_nor_1_is_refused(curve):
    with pytest.raises(DataError, match=r"A label must be 0 or 1\. Received: 2\."):
        curve(np.array([0, 1, 2]), np.arange(3.0))


@each_curve
def test_labels_of_other_rows_are_refused(curve):
    with pytest.raises(DataError, match=r"one number a row each\. Received: shapes \(3,\) and \(2,\)\."):
        curve(np.array([0, 1, 0]), np.arange(2.0))


def test_a_series_labelled_throughout_has_no_false_positive_rate():
    for curve in (CURVES[0], roc_auc):
        with pytest.raises(DataError, match=r"labelled rows and others\. Received: 3 labelled of 3"):
            curve(np.ones(3), np.arange(3.0))
    assert average_precision(np.ones(3), np.arange(3.0)) == 1


@given(FLAGS)
def test_event_ranges_are_the_runs_of_flags(flags):
    assert event_ranges(np.array(flags)) == naive_metrics.runs(flags)


def test_no_flag_is_no_event():
    assert event_ranges(np.zeros(0)) == event_ranges(np.zeros(5)) == []


@given(TWO_FLAGS)
def test_events_are_counted_as_loops_count_them(two):
    found, known = (naive_metrics.runs(flags) for flags in two)
    assume(known)
    result = event_scores(found, known)
    assert (result.n_hit, result.n_false) == naive_metrics.event_counts(found, known)
    assert (result.n_found, result.n_known) == (len(found), len(known))
    assert result.recall == result.n_hit / len(known)


def test_precision_counts_found_events_and_recall_known_ones():
    result = event_scores([(0, 50), (60, 61), (70, 80)], [(5, 6), (10, 12), (79, 90), (95, 99)])
    assert (result.precision, result.recall) == (2 / 3, 3 / 4)
    assert result.f1 == pytest.approx(2 * (2 / 3) * (3 / 4) / (2 / 3 + 3 / 4))


def test_ranges_that_only_touch_share_no_row():
    assert event_scores([(0, 5), (10, 12)], [(5, 10)]).n_hit == 0


def test_nothing_found_has_no_precision_and_no_f1():
    result = event_scores([], [(1, 2)])
    assert np.isnan(result.precision)
    assert (result.recall, result.f1, result.n_false) == (0, 0, 0)


@given(TWO_FLAGS)
def test_point_adjustment_is_the_f1_of_adjusted_flags(two):
    flags, labels = two
    assume(any(labels))
    expected = naive_metrics.f1(naive_metrics.adjusted(flags, labels), labels)
    assert point_adjusted_f1(np.array(flags), np.array(labels)) == pytest.approx(expected)


def test_point_adjustment_flatters_random_flags():
    labels = np.repeat([0, 1, 0], [600, 300, 600])
    flags = np.random.default_rng(0).random(1500) > 0.98
    assert point_adjusted_f1(flags, labels) > 0.9 > 0.1 > naive_metrics.f1(flags, labels)


@given(TWO_FLAGS)
def test_delays_are_counted_from_the_first_row_of_an_event(two):
    flags, labels = two
    known = naive_metrics.runs(labels)
    assume(known)
    np.testing.assert_array_equal(detection_delays(np.array(flags), known), naive_metrics.delays(flags, known))


@given(two_flags(25))
def test_affiliation_is_near_a_sum_over_a_fine_grid(two):
    flags, labels = two
    found, known = naive_metrics.runs(flags), naive_metrics.runs(labels)
    assume(known)
    result = affiliation(found, known, len(flags))
    expected = naive_metrics.affiliation(found, known, len(flags), parts=32)
    assert (result.precision, result.recall) == pytest.approx(expected, abs=0.03, nan_ok=True)


@given(TWO_FLAGS)
def test_affiliation_lies_between_0_and_1_and_is_1_for_the_known_events(two):
    found, known = (naive_metrics.runs(flags) for flags in two)
    assume(found and known)
    result = affiliation(found, known, len(two[0]))
    assert 0 <= result.precision <= 1 + 1e-12
    assert 0 <= result.recall <= 1 + 1e-12
    perfect = affiliation(known, known, len(two[0]))
    assert (perfect.precision, perfect.recall) == pytest.approx((1, 1))


def test_nothing_found_has_no_affiliation_precision():
    for result in (affiliation([], [(1, 2)], 10), affiliation_of_chance([], [(1, 2)], 10)):
        assert np.isnan(result.precision)
        assert result.recall == 0


def test_found_ranges_that_overlap_or_touch_are_one():
    known = [(10, 20), (60, 61)]
    assert affiliation([(30, 40), (5, 12), (8, 14), (14, 15)], known, 100) == affiliation([(5, 15), (30, 40)], known, 100)


def test_a_single_row_anywhere_has_an_affiliation_precision_near_one_half():
    known = [(200, 201), (700, 701)]
    every = [affiliation([(row, row + 1)], known, 1000).precision for row in range(1000)]
    assert abs(np.mean(every) - 0.5) < 0.01
    assert abs(affiliation_of_chance([(3, 4)], known, 1000, repeats=2000).precision - np.mean(every)) < 0.03  # 5 errors


def test_a_range_that_fills_the_series_can_lie_in_one_place_only():
    chance, own = affiliation_of_chance([(0, 6), (6, 10)], [(2, 4)], 10), affiliation([(0, 10)], [(2, 4)], 10)
    assert (chance.precision, chance.recall) == pytest.approx((own.precision, own.recall))


@given(FLAGS, st.integers(0, 100))
def test_chance_keeps_the_number_and_the_lengths_of_the_ranges(flags, seed):
    lengths = np.array([stop - start for start, stop in naive_metrics.runs(flags)], np.int64)
    placed = _place(lengths, len(flags), np.random.default_rng(seed))
    assert sorted(np.diff(placed, axis=1).ravel()) == sorted(lengths)
    assert (placed >= 0).all()
    assert (placed <= len(flags)).all()
    assert (placed[1:, 0] >= placed[:-1, 1]).all()


def test_chance_places_ranges_everywhere_alike():
    rng = np.random.default_rng(0)
    placements = [tuple(_place(np.array([2, 2]), 6, rng)[:, 0].tolist()) for _ in range(6000)]
    shares = [placements.count(way) / 6000 for way in [(0, 2), (0, 3), (0, 4), (1, 3), (1, 4), (2, 4)]]
    np.testing.assert_allclose(shares, 1 / 6, atol=0.025)  # five standard errors


def test_chance_is_the_same_for_the_same_seed():
    found, known = [(3, 9), (40, 41)], [(20, 30)]
    first, again, other = (affiliation_of_chance(found, known, 80, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert isinstance(first, Affiliation)


def test_chance_needs_a_repeat():
    with pytest.raises(ConfigError, match=r"`repeats` must be at least 1\. Received: repeats=0\."):
        affiliation_of_chance([(0, 1)], [(0, 1)], 5, repeats=0)


EVENT_METRICS = [
    lambda known: event_scores([(0, 1)], known),
    lambda known: affiliation([(0, 1)], known, 10),
    lambda known: affiliation_of_chance([(0, 1)], known, 10),
    lambda known: detection_delays(np.ones(10), known),
]


@pytest.mark.parametrize("metric", EVENT_METRICS)
def test_no_known_event_is_refused(metric):
    with pytest.raises(DataError, match=r"at least one known event\. Received: none\. Check the label column\."):
        metric([])


@pytest.mark.parametrize("metric", EVENT_METRICS)
@pytest.mark.parametrize("wrong", [(3, 3), (-1, 2), (4, 2)])
def test_a_range_that_is_none_is_refused(metric, wrong):
    with pytest.raises(DataError, match=rf"0 <= start < stop.*Received: \({wrong[0]}, {wrong[1]}\) among the known ones\."):
        metric([(1, 2), wrong])


def test_a_range_beyond_the_rows_is_refused():
    with pytest.raises(DataError, match=r"0 <= start < stop <= 10\. Received: \(9, 11\) among the found ones\."):
        affiliation([(9, 11)], [(1, 2)], 10)


def test_point_adjustment_without_a_labelled_row_is_refused():
    with pytest.raises(DataError, match=r"at least one labelled row\. Received: 0 labelled of 3"):
        point_adjusted_f1(np.ones(3), np.zeros(3))


def test_the_inputs_are_not_changed():
    labels, score = inputs(GOLDEN["cases"][0])
    before = labels.copy(), score.copy()
    volume_under_surface(labels, score, 10)
    average_precision(labels, score)
    np.testing.assert_array_equal(labels, before[0])
    np.testing.assert_array_equal(score, before[1])
