"""The cut of a series that is only beginning: wide where little is known, its own where much is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.events.alarms import EventRules
from anomaly.thresholds.borrowed import LEAST_SPREAD, SIGMAS, Lenders, Lent, quantile_variance
from anomaly.thresholds.calibration import Calibration
from anomaly.thresholds.tail import fit_maxima

RULES = EventRules(
    merge_gap=2, min_length=1, short_severity=None, min_severity=1.0, direction=None, cool_down=0, longest_step=10, dismissed=None
)
W = 10


def calibration(scores, n_held_out=None):
    scores = np.asarray(scores, np.float64)
    return Calibration(scores, np.arange(len(scores)), n_held_out or len(scores) // 2, W, None, RULES)


def lent(cut, means, scale=0.3, height=2.0):
    return Lent(float(np.log(cut)), np.asarray(means, np.float64), scale, height)


def test_a_lender_knows_its_cut_its_windows_and_its_law():
    scores = np.random.default_rng(0).lognormal(size=205)
    scores[50:60] = np.nan
    found, law = Lent.of(calibration(scores), 8.0), fit_maxima(scores, W)
    blocks = [scores[5 + W * i : 5 + W * (i + 1)] for i in range(20)]  # counted back from the last row
    assert np.isnan(found.means[4]) == np.isnan(blocks[4]).all()
    np.testing.assert_allclose(found.means, [np.nanmean(b) if np.isfinite(b).any() else np.nan for b in blocks])
    assert found.log_cut == np.log(8.0) and found.scale > 0
    assert found.height == pytest.approx((np.log(8.0) - law.location) / law.scale, rel=0.3)  # the training rows are levelled there


def test_scores_that_do_not_vary_have_no_law():
    found = Lent.of(calibration(np.ones(100)), 1.0)
    assert (found.scale, found.height) == (0.0, 0.0)


def test_what_stretches_needed_by_hand():
    """Units from the first window alone are half of what they should be: scores are twice as high."""
    found = lent(4.0, [0.5, 1.0, 1.5])
    np.testing.assert_allclose(np.exp(found.needed(1)), [8.0, 4.0, 4.0 / 1.5])
    np.testing.assert_allclose(np.exp(found.needed(2)), [4.0 / 0.75, 4.0 / 1.25])
    np.testing.assert_allclose(np.exp(found.needed(3)), [4.0])
    np.testing.assert_allclose(np.exp(found.needed(99)), [4.0])
    np.testing.assert_allclose(np.exp(lent(4.0, [np.nan]).needed(1)), [4.0])


def test_the_cut_of_others_by_hand():
    """Two lenders at 2 and 8: the middle is 4, the variance that of two logarithms, and half more for two of them."""
    found = Lenders([lent(2.0, [1.0]), lent(8.0, [1.0])]).cut(1)
    variance = np.var(np.log([2.0, 8.0]), ddof=1) * 1.5
    assert found.value == pytest.approx(4 * np.exp(SIGMAS * np.sqrt(variance)))
    assert found.widened == pytest.approx(np.exp(SIGMAS * np.sqrt(variance))) and found.own_share == 0


def test_lenders_that_agree_leave_some_doubt():
    found = Lenders([lent(3.0, [1.0])] * 3).cut(1)
    assert found.widened == pytest.approx(np.exp(SIGMAS * LEAST_SPREAD * np.sqrt(4 / 3)))


def test_own_scores_by_hand():
    lenders = Lenders([lent(2.0, [1.0]), lent(8.0, [1.0])])
    prior = np.var(np.log([2.0, 8.0]), ddof=1) * 1.5
    variance = (1.11 + 0.46 * 2 + 0.8 * 4) * 0.3**2 / 5
    share = prior / (prior + variance)
    found = lenders.cut(1, (10.0, 5))
    assert found.own_share == pytest.approx(share)
    middle = (1 - share) * np.log(4) + share * np.log(10)
    assert found.value == pytest.approx(np.exp(middle + SIGMAS * np.sqrt(1 / (1 / prior + 1 / variance))))


@given(
    cuts=st.lists(st.floats(0.5, 50), min_size=1, max_size=6),
    own=st.floats(0.1, 100),
    k=st.integers(1, 500),
    scale=st.floats(0, 2),
    n=st.integers(1, 5),
)
def test_more_of_its_own_means_less_doubt(cuts, own, k, scale, n):
    rng = np.random.default_rng(0)
    lenders = Lenders([lent(cut, rng.lognormal(size=8)) for cut in cuts])
    alone, few, many = lenders.cut(n), lenders.cut(n, (own, k), scale), lenders.cut(n, (own, 4 * k), scale)
    assert 1 < many.widened < few.widened < alone.widened
    assert 0 == alone.own_share < few.own_share < many.own_share < 1
    low, high = sorted([np.log(own), np.log(alone.value / alone.widened)])
    assert low - 1e-9 <= np.log(few.value / few.widened) <= high + 1e-9


def test_in_the_end_only_its_own_scores_count():
    found = Lenders([lent(2.0, [1.0]), lent(8.0, [1.0])]).cut(10, (5.0, 10**9), 0.3)
    assert found.value == pytest.approx(5.0, rel=1e-3) and found.own_share == pytest.approx(1)


def test_a_new_series_of_the_same_kind_rarely_needs_a_higher_cut():
    """Series whose maxima differ in level: of 20 that are drawn like the lenders, about one needs more than what is borrowed."""
    rng = np.random.default_rng(1)
    logs = rng.normal(1.0, 0.5, size=(400, 9))
    higher = 0
    for row in logs:
        cut = Lenders([lent(np.exp(x), [1.0]) for x in row[:8]]).cut(1)
        higher += np.exp(row[8]) > cut.value
    assert 8 <= higher <= 40


@pytest.mark.parametrize("height", [0.5, 2.0, 5.0])
def test_the_variance_of_a_fitted_quantile_is_that_of_drawn_ones(height):
    rng, k, scale = np.random.default_rng(2), 200, 0.4
    quantiles = []
    for _ in range(600):
        maxima = np.exp(1.0 + scale * rng.gumbel(size=k))
        law = fit_maxima(maxima, 1)
        quantiles.append(law.location + law.scale * height)
    assert np.var(quantiles) * k / scale**2 == pytest.approx(quantile_variance(height), rel=0.2)
