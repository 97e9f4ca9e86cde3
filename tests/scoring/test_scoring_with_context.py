"""Scores where more is read than judged: against loops, the same in any pieces, and nothing that is context has an error."""

from itertools import pairwise

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_scorer import BLOCK, LONGEST_STEP, MAX_MISSING, UNITS, batch_dependent, reconstruct, waves

from anomaly.config import AGGREGATIONS
from anomaly.scoring import overlaps
from anomaly.scoring.recipe import Recipe
from anomaly.scoring.references import FORMS, References
from anomaly.scoring.row_scores import RowScores
from anomaly.scoring.scorer import RowScorer
from anomaly.windowing.context import Context, calendar_of
from anomaly.windowing.scaling import Scaler

# Two features, a context column, and the time of day.
SCALER = Scaler(np.array([10.0, -1.0, 2.0]), np.array([2.0, 0.5, 1.5]))
CONTEXT = Context(2, 3, "day")
CODES = st.lists(st.integers(0, 19), min_size=1, max_size=40)
WINDOW_SIZES = st.integers(2, 6)


@pytest.fixture(scope="module", autouse=True)
def small_blocks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlaps, "BLOCK_WINDOWS", BLOCK)
        yield


def rows_of(codes):
    """One row in twenty each: a gap before it, a step back; missing values of the features, of the context, of all."""
    steps, codes = np.array([{0: 9, 1: -3}.get(code, 1) for code in codes]), np.array(codes)
    values = waves(len(codes), 3)
    values[np.isin(codes, (3, 5)), 1] = np.nan
    values[np.isin(codes, (5, 6)), 0] = np.nan
    values[np.isin(codes, (5, 7, 8)), 2] = np.nan
    return np.cumsum(steps), values


def driven(windows):
    """Expect of each feature what the row says, and what all that is read beside it says."""
    return reconstruct(windows) + np.float32(0.5) * windows[:, :, 2:].sum(axis=2, keepdims=True)


def scorer(window_size, network=driven, context=CONTEXT, aggregations=AGGREGATIONS, **options):
    return RowScorer(
        network, scaler=SCALER.first(context.n_columns), window_size=window_size, longest_step=LONGEST_STEP,
        max_missing=MAX_MISSING, error_units=UNITS, aggregations=aggregations, context=context, **options,
    )  # fmt: skip


def score(times, values, window_size, sizes=(), **options):
    rows = scorer(window_size, **options)
    bounds = [0, *np.cumsum(sizes), len(times)]
    parts = [rows.push(times[a:b], values[a:b]) for a, b in pairwise(bounds)]
    return RowScores.joined([*parts, rows.finish()], *rows.shape)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@given(codes=CODES, window_size=WINDOW_SIZES)
def test_scores_are_those_of_the_loops_over_what_is_judged(aggregation, codes, window_size):
    times, values = rows_of(codes)
    inputs = np.concatenate([SCALER.transform(values)[0], calendar_of(times, "day")], axis=1)
    segments = naive.segments(times, LONGEST_STEP)
    expected = naive.scores(driven, inputs, segments, window_size, aggregation, MAX_MISSING, UNITS, n_judged=2)
    found = score(times, values, window_size, aggregations=(aggregation,))
    np.testing.assert_allclose(found.by_feature[0], expected, rtol=1e-12)
    np.testing.assert_array_equal(found.measured, values[:, :2])


@given(codes=CODES, window_size=WINDOW_SIZES, sizes=st.lists(st.integers(0, 9), min_size=40, max_size=40))
def test_scores_are_the_same_to_the_last_bit_however_the_rows_are_split(codes, window_size, sizes):
    times, values = rows_of(codes)
    whole = score(times, values, window_size, network=batch_dependent)
    pieces = score(times, values, window_size, sizes, network=batch_dependent)
    assert pieces.by_feature.tobytes() == whole.by_feature.tobytes()
    assert pieces.deviation.tobytes() == whole.deviation.tobytes()
    assert pieces.status.tobytes() == whole.status.tobytes()


def nearest(n_features):
    """Return terms beside the network's that compare with a few windows."""
    rng, n = np.random.default_rng(0), len(AGGREGATIONS)
    rows = rng.normal(size=(60, 2)).astype(np.float32)[:, :n_features]
    found = [References.of(form, rows, np.arange(0, 50, 5), size, 8)[0] for form, size in zip(FORMS, (4, 6, 7), strict=True)]
    return Recipe(tuple(found), np.ones((3, n_features)), np.ones((n, 2, n_features)), np.ones((n, 6)))


@given(codes=CODES, window_size=WINDOW_SIZES, seed=st.integers(0, 99), height=st.sampled_from([1.0, 30.0, 1e300, np.nan]))
def test_of_context_that_the_network_takes_no_notice_of_nothing_is_seen(codes, window_size, seed, height):
    times, values = rows_of(codes)
    values[:, 2] = height * np.random.default_rng(seed).normal(size=len(values))
    judged, recipe = Context(2, 2), nearest(2)
    alone = score(times, values[:, :2], window_size, network=reconstruct, context=judged, recipe=recipe)
    beside = score(times, values, window_size, network=reconstruct, recipe=recipe)
    for name in ("by_feature", "deviation", "status", "measured"):
        assert getattr(beside, name).tobytes() == getattr(alone, name).tobytes()


def test_windows_of_features_that_are_all_known_are_not_masked_where_context_is_missing(monkeypatch):
    values = waves(60, 3)
    values[20:40, 2] = np.nan
    monkeypatch.setattr(overlaps, "mask_windows", lambda *_: pytest.fail("masked"))
    assert np.isfinite(score(np.arange(60), values, 5).score[0]).all()


def test_a_context_that_moves_makes_a_row_stand_out_only_where_the_feature_does_not_follow():
    """The network knows y = 2 c: a step of c is no event where y takes it too, and one where y does not."""

    def network(windows):
        return np.concatenate([2 * windows[:, :, 1:], 0 * windows[:, :, 1:]], axis=2)

    context, scaler = Context(1, 2), Scaler(np.zeros(2), np.ones(2))
    c = np.where(np.arange(40) == 20, 30.0, 0.1)
    units = type(UNITS)(np.ones(1), np.ones(1))
    found = {}
    for name, y in {"follows": 2 * c, "stays": np.full(40, 0.2)}.items():
        rows = RowScorer(
            network, scaler=scaler, window_size=4, longest_step=LONGEST_STEP, max_missing=0.2, error_units=units,
            aggregations=("trailing_point",), context=context,
        )  # fmt: skip
        parts = [rows.push(np.arange(40), np.column_stack([y, c])), rows.finish()]
        found[name] = RowScores.joined(parts, *rows.shape).score[0]
    np.testing.assert_allclose(found["follows"][3:], 0, atol=1e-9)
    assert found["stays"][20] == pytest.approx((60 - 0.2) ** 2, rel=1e-6)
    np.testing.assert_allclose(np.delete(found["stays"], 20)[3:], 0, atol=1e-9)
