"""Cuts from labels and from unlabelled data, against trying everything."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from anomaly.errors import ConfigError, DataError
from anomaly.events.alarms import AlarmCurve, EventRules
from anomaly.thresholds.conformal import discoveries, p_values
from anomaly.thresholds.tuning import best_f_beta, discovery_cut, f_beta

SCORES = st.lists(st.sampled_from([1.0, 2.0, 3.0, 4.0, 5.0, np.nan]), min_size=4, max_size=30).map(np.array)
RULES = st.builds(EventRules, merge_gap=st.integers(0, 3), min_length=st.integers(1, 2))
RANGES = st.lists(st.tuples(st.integers(0, 25), st.integers(1, 6)), max_size=4).map(lambda pairs: [(a, a + n) for a, n in pairs])


def by_rows(found, known, beta, slack):
    """F-beta by looking at every row of every event."""
    marked = {row for a, b in known for row in range(a, b)}
    near = {row + shift for row in marked for shift in range(-slack, slack + 1)}
    right = [{*range(a, b)} for a, b in found if {*range(a, b)} & marked and len({*range(a, b)} & near) >= (b - a) / 2]
    hit = sum(any({*range(a, b)} & rows for rows in right) for a, b in known)
    if not right:
        return 0.0
    precision, recall = len(right) / len(found), hit / len(known)
    return (1 + beta**2) * precision * recall / (beta**2 * precision + recall)


@given(RANGES, RANGES.filter(len), st.sampled_from([0.5, 1.0, 2.0]), st.integers(0, 4))
def test_f_beta_is_that_of_the_rows(found, known, beta, slack):
    assert f_beta(found, known, 40, beta, slack) == pytest.approx(by_rows(found, known, beta, slack))


def test_one_event_over_everything_is_not_right():
    assert f_beta([(0, 100)], [(40, 50)], 100) == 0.0
    assert f_beta([(35, 50)], [(40, 50)], 100) == 1.0


@given(
    SCORES.filter(lambda s: np.isfinite(s[1:3]).any() and np.isfinite([*s[:1], *s[3:]]).any()),
    RULES,
    st.sampled_from([0.5, 1.0, 2.0]),
)
def test_no_other_cut_has_a_better_f_beta(score, rules, beta):
    times, known = np.arange(len(score)), [(1, 3)]
    curve = AlarmCurve(score, times, rules)
    # A cut below all scores flags everything, and is not tried.
    others = [cut for cut in (1.5, 2.5, 3.5, 4.5) if (curve.heights() < cut).any()]
    assume(any(f_beta(curve.events(cut), known, len(score), beta) for cut in others))
    cut, best = best_f_beta(score, times, known, rules, beta)
    assert f_beta(curve.events(cut), known, len(score), beta) == best
    assert best == max(f_beta(curve.events(other), known, len(score), beta) for other in others)


def test_of_the_best_stretches_the_widest_is_taken_and_its_geometric_middle():
    score = np.array([1.0, 2.0, 1.0, 8.0, 9.0, 8.5, 1.0])
    assert best_f_beta(score, np.arange(7), [(3, 6)], EventRules()) == (pytest.approx(np.sqrt(2 * 9)), 1.0)


def test_labels_that_no_cut_finds_are_refused():
    with pytest.raises(DataError, match="At some threshold a labelled event must be found. Received: 1 labelled events"):
        best_f_beta(np.array([1.0, 3.0, 1.0]), np.arange(3), [(1, 2)], EventRules(min_length=4))
    with pytest.raises(DataError, match="At some threshold"):
        best_f_beta(np.array([5.0, 5.0, 1.0, 5.0, 5.0]), np.arange(5), [(2, 3)], EventRules())


def test_many_different_scores_are_searched_by_some_of_them():
    score = np.random.default_rng(0).uniform(size=5000)
    score[1000:1020] += 5
    cut, best = best_f_beta(score, np.arange(5000), [(1000, 1020)], EventRules(5))
    assert best == 1.0
    assert 1.0 <= cut <= 5.1  # between the noise and the event


def test_labels_without_a_scored_row_are_refused():
    with pytest.raises(
        DataError, match=r"at least one event among the rows with a score\. Received: 1 labelled events, none of them with a score"
    ):
        best_f_beta(np.array([np.nan, 1.0]), np.arange(2), [(0, 1)], EventRules())


@pytest.mark.parametrize("beta", [0, -1.0, np.nan, np.inf, 1e200])
def test_beta_must_be_positive(beta):
    with pytest.raises(ConfigError, match="`beta` must be above 0 and at most 1,000"):
        best_f_beta(np.array([1.0]), np.arange(1), [(0, 1)], EventRules(), beta)


def test_the_discovery_cut_flags_what_the_procedure_rejects():
    rng = np.random.default_rng(1)
    score = np.concatenate([rng.exponential(size=300), 20 + rng.exponential(size=30)])
    p = p_values(rng.exponential(size=2000), score)
    cut = discovery_cut(p, score, 0.1, 1)
    np.testing.assert_array_equal(score > cut, discoveries(p, 0.1, dependent=False))
    assert (score > cut).sum() >= 30


def test_only_rows_a_window_apart_are_tested():
    score = np.zeros(90)
    score[80:] = 5000.0  # ten rows, one of which is taken
    assert discovery_cut(p_values(np.arange(1000.0), score), score, 0.2, 30) == np.nextafter(5000.0, 0)


def test_where_nothing_stands_out_there_is_no_cut():
    score = np.array([3.0, np.nan, 12.0])
    assert discovery_cut(p_values(np.arange(100.0), score), score, 0.1, 1) is None


@pytest.mark.parametrize("rate", [0, 1, -0.1, np.nan])
def test_the_rate_of_discoveries_must_be_a_share(rate):
    with pytest.raises(ConfigError, match="above 0 and below 1"):
        discovery_cut(np.array([0.5]), np.array([1.0]), rate, 1)
