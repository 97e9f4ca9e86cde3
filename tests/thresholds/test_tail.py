"""The tails against their closed forms, by simulation, and where they cannot be fitted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import genpareto

from anomaly.thresholds.tail import FEWEST_EXCESSES, MaximaLaw, Spot, Tail, fit_maxima, fit_tail

LAWS = st.builds(MaximaLaw, st.floats(-5, 5), st.floats(0.01, 3), st.integers(1, 200), st.just(9))


@given(LAWS, st.floats(1e-7, 0.4))
def test_cut_and_rate_of_the_maxima_are_inverse(law, share):
    rate = share / law.block
    assert law.rate(law.cut(rate)) == pytest.approx(rate, rel=1e-6)


@given(LAWS, st.floats(1e-6, 1e4), st.floats(1e-6, 1e4))
def test_a_higher_cut_is_reached_no_more_often(law, a, b):
    assert law.rate(max(a, b)) <= law.rate(min(a, b)) <= 1 / law.block


def test_the_law_of_frechet_maxima_is_found_again():
    rng = np.random.default_rng(0)
    scores = np.exp(0.5 - 0.3 * np.log(-np.log(rng.uniform(size=(4000, 1)))))  # a maximum
    blocks = np.where(np.arange(10) == 3, scores, 1e-9).ravel()  # in every tenth row
    law = fit_maxima(blocks, 10)
    assert (law.location, law.scale, law.n_blocks) == (pytest.approx(0.5, abs=0.02), pytest.approx(0.3, abs=0.02), 4000)


def test_scale_is_the_second_l_moment_of_pairs():
    heights = np.array([0.0, 1.0, 3.0, 7.0])
    law = fit_maxima(np.exp(heights), 1)
    pairs = np.mean(
        [abs(a - b) / 2 for i, a in enumerate(heights) for b in heights[:i]]
    )  # Hosking 1990: half Gini's mean difference
    assert law.scale == pytest.approx(pairs / np.log(2))
    assert law.location == pytest.approx(heights.mean() - np.euler_gamma * law.scale)


def test_the_cut_keeps_the_rate_on_new_rows_of_many_series():
    rng = np.random.default_rng(1)
    counts = []
    for _ in range(300):
        scores = np.exp(rng.normal(size=(2, 4000)))
        law = fit_maxima(scores[0], 20)
        counts.append((scores[1] > law.cut(1 / 1000)).sum())
    # A law with fitted shape would be right; the fixed one is on the side of fewer alarms here, within a factor of two.
    assert 2 <= np.mean(counts) <= 8


def test_blocks_are_counted_back_from_the_last_row_and_empty_ones_are_left_out():
    scores = np.array([99.0, 1.0, 2.0, np.nan, np.nan, 3.0, np.nan])
    law = fit_maxima(scores, 2)  # 1-2, none, 3: the first row is left over
    assert law.n_blocks == 2
    assert law == fit_maxima(np.array([2.0, 3.0]), 1).__class__(law.location, law.scale, 2, 2)


@pytest.mark.parametrize("scores", [[], [1.0], [1.0, 2.0, 3.0], [np.nan] * 8])
def test_fewer_than_two_blocks_have_no_law(scores):
    assert fit_maxima(np.array(scores), 3) is None


def test_constant_scores_have_a_law_without_spread():
    law = fit_maxima(np.full(40, 2.0), 4)
    assert (law.scale, law.cut(1e-6)) == (0.0, pytest.approx(2.0))
    assert law.rate(np.array([1.0, 3.0])).tolist() == [0.25, 0.0]


@given(LAWS)
def test_a_steadied_law_keeps_its_mean_and_its_scale_lies_between_its_own_and_the_usual_one(law):
    found = law.steadied()
    mean = law.location + np.euler_gamma * law.scale
    assert found.location + np.euler_gamma * found.scale == pytest.approx(mean)
    assert found.scale == pytest.approx((law.n_blocks * law.scale + 8 * 0.2) / (law.n_blocks + 8))
    assert (found.block, found.n_blocks) == (law.block, law.n_blocks)


def test_a_steadied_law_of_few_blocks_is_nearer_to_the_truth():
    rng = np.random.default_rng(3)
    errors = []
    for _ in range(400):
        scale = np.exp(rng.normal(np.log(0.2), 0.6))  # most series have half to twice the usual one
        law = fit_maxima(np.exp(-scale * np.log(-np.log(rng.uniform(size=6)))), 1)
        errors.append([abs(np.log(one.cut(0.01)) - scale * -np.log(-np.log1p(-0.01))) for one in (law, law.steadied())])
    own, steadied = np.mean(errors, axis=0)
    assert steadied < 0.95 * own


def test_scores_that_do_not_vary_are_not_steadied():
    law = fit_maxima(np.full(40, 2.0), 4)
    assert law.steadied() is law


@pytest.mark.parametrize("shape", [0.0, 0.2])
def test_the_pareto_quantile_is_that_of_the_law_itself(shape):
    tail = Tail(level=2.0, scale=0.5, shape=shape, share=0.02)
    expected = 2.0 + genpareto.isf(1e-4 / 0.02, shape, scale=0.5)
    assert tail.exceeded_with(1e-4) == pytest.approx(expected)


def test_more_than_the_share_is_exceeded_at_the_level_itself():
    assert Tail(2.0, 0.5, 0.1, 0.02).exceeded_with(0.5) == 2.0


def test_an_exponential_tail_is_found_again():
    scores = np.random.default_rng(2).exponential(size=100_000)
    tail = fit_tail(scores)
    assert tail.exceeded_with(1e-4) == pytest.approx(-np.log(1e-4), rel=0.05)


def test_a_bounded_tail_is_fitted_as_an_exponential_one():
    tail = fit_tail(np.random.default_rng(3).uniform(size=5000))
    assert tail.shape == 0.0
    assert tail.exceeded_with(1e-6) > 1.0  # the bound that the scores seem to have is not believed


def test_few_scores_lower_the_level_until_there_are_enough_excesses():
    tail = fit_tail(np.random.default_rng(4).exponential(size=100))
    assert tail.share == pytest.approx(0.2)


@pytest.mark.parametrize("scores", [[], [1.0], np.arange(20.0), np.full(500, 3.0), [1.0] * 400 + [2.0] * 40])
def test_too_few_or_equal_excesses_have_no_tail(scores):
    assert fit_tail(np.array(scores)) is None


def test_ten_excesses_are_enough():
    scores = np.arange(1.0, 5 * FEWEST_EXCESSES + 1)
    assert fit_tail(scores) is not None
    assert fit_tail(scores[:-5]) is None


def test_spot_begins_with_the_cut_of_the_calibration_scores():
    scores = np.random.default_rng(5).exponential(size=2000)
    assert Spot(scores, 1e-3).cut == fit_tail(scores).exceeded_with(1e-3)


def test_spot_flags_what_is_above_its_cut_and_does_not_learn_from_it():
    spot = Spot(np.random.default_rng(6).exponential(size=2000), 1e-3)
    before = spot.cut
    assert spot.step(before + 1) is True
    assert spot.cut == before


def test_spot_learns_from_what_is_high_but_not_extreme():
    spot = Spot(np.random.default_rng(7).exponential(size=2000), 1e-3)
    before = spot.cut
    flagged = [spot.step(score) for score in np.linspace(spot.tail.level, before, 60)[1:-1]]
    assert not any(flagged)
    assert spot.cut > before


def test_spot_never_flags_a_missing_score():
    spot = Spot(np.random.default_rng(8).exponential(size=200), 1e-2)
    assert spot.step(np.nan) is False


def test_spot_without_a_tail_keeps_the_highest_score():
    spot = Spot(np.array([1.0, 2.0]), 1e-3)
    assert [spot.step(score) for score in (2.0, 2.1, 2.05)] == [False, True, True]


def test_spot_flags_normal_scores_about_as_often_as_asked():
    rng = np.random.default_rng(9)
    spot = Spot(rng.exponential(size=5000), 5e-3)
    flagged = sum(spot.step(score) for score in rng.exponential(size=8000))
    assert 20 <= flagged <= 65  # 40 expected
