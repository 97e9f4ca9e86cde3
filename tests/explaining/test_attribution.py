"""The gradient against finite differences of the product's own scores, and changes put back through `Detector.score`."""

from dataclasses import replace

import numpy as np
import pytest
from closeness import assert_close
from conftest import HOUR, TINY, make_series

from anomaly import Detector
from anomaly.config import AGGREGATIONS, DetectorConfig
from anomaly.errors import DataError
from anomaly.explaining import attribution, score_slope
from anomaly.explaining.attribution import explain
from anomaly.explaining.score_slope import Stretch, reach_of
from anomaly.report.findings import explanation_text
from anomaly.scoring.segment import Segment
from anomaly.windowing.scaling import ErrorUnits

WINDOW = TINY["window_size"]
SPIKE = 45  # row: that of the highest score has three windows to either side, whatever the aggregation
FAR = 75
# Mean errors in training that the blind detectors claim: one sigma of the first feature is half a root of the score.
BLIND_SCALE = (4.0, 9.0)
each_aggregation = pytest.mark.parametrize("aggregation", AGGREGATIONS)


@pytest.fixture(scope="module", autouse=True)
def small_batches():
    """The events here then need several, the last one not full."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score_slope, "BATCH", 48)
        yield


@pytest.fixture(scope="module")
def detectors(detector):
    """By number of features: the network of the shared detector alone, and what is left of it without its second feature."""
    bundle = replace(detector.bundle_, recipe=None)
    weights = dict(bundle.weights)
    weights["encoder_1/forward/kernel"] = weights["encoder_1/forward/kernel"][:1]
    weights |= {f"output/{name}": weights[f"output/{name}"][..., :1] for name in ("kernel", "bias")}
    scaler = replace(bundle.scaler, center=bundle.scaler.center[:1], scale=bundle.scaler.scale[:1])
    one = {
        "weights": weights,
        "scaler": scaler,
        "error_units": ErrorUnits(*(unit[:1] for unit in bundle.error_units)),
        "columns": bundle.columns[:1],
        "value_range": None,
    }
    return {1: made_of(replace(bundle, **one, probe=None)), 2: made_of(bundle)}


@pytest.fixture(scope="module")
def blind(detectors):
    """By number of features: detectors that expect 0, the training mean, whatever they see."""
    found = {}
    for n, detector in detectors.items():
        weights = {name: np.zeros_like(array) for name, array in detector.bundle_.weights.items()}
        found[n] = made_of(
            replace(
                detector.bundle_,
                weights=weights,
                error_units=ErrorUnits(np.array(BLIND_SCALE[:n]), 2 * np.array(BLIND_SCALE[:n])),
                probe=None,
            )
        )
    return found


def made_of(bundle):
    made = Detector(**bundle.config.to_settings())
    made.bundle_, made._reconstruct = bundle, None
    return made


def spiked(detector, sigmas=12.0, rows=slice(SPIKE, SPIKE + 1), n=90, flat=False):
    """A short series with a shift in its first feature; flat: at the training mean everywhere else."""
    scaler, made = detector.bundle_.scaler, make_series(n, len(detector.bundle_.columns), seed=5, spike=None)
    values = np.tile(scaler.center, (n, 1)) if flat else made.values.copy()
    values[rows, 0] += sigmas * scaler.scale[0]
    return replace(made, values=values)


def scored(detector, series, aggregation, share=None, threshold=None):
    """Scores with a threshold of their own, given or as a share of the highest score, and the event of the highest score."""
    scores = detector.score(series, aggregation=aggregation)
    scores = replace(scores, threshold=threshold or share * np.nanmax(scores.score))
    return scores, max(detector.detect(scores), key=lambda event: event.peak_score)


def usual(detector, aggregation):
    """A threshold above all scores of the series without a spike."""
    return 1.1 * np.nanmax(detector.score(spiked(detector, 0.0), aggregation=aggregation).score)


def apply(detector, series, explanation, scale=1.0):
    scaler, values = detector.bundle_.scaler, series.values.copy()
    rows = slice(explanation.changed_first_row, explanation.changed_first_row + len(explanation.changed))
    clipped = scaler.transform(values[rows])[0].astype(np.float64)
    values[rows] = np.where(np.isnan(clipped), np.nan, scaler.center + scaler.scale * (clipped + scale * explanation.changed))
    return replace(series, values=values)


def flagged(detector, series, scores):
    return detector.score(series, aggregation=scores.aggregation).score > scores.threshold


def differences(detector, series, scores, row, step=0.01):
    """Central finite differences of one row's score by every scaled value; all copies are scored at once, between gaps."""
    places, n = np.argwhere(~np.isnan(series.values)), len(series)
    values = np.tile(series.values, (len(places), 2, 1, 1))  # (n_places, both ends, n_rows, n_features)
    for copies, (at, feature) in zip(values, places, strict=True):
        copies[:, at, feature] += np.array([step, -step]) * detector.bundle_.scaler.scale[feature]
    apart = np.arange(2 * len(places))[:, None] * (series.times[-1] - series.times[0] + 100 * HOUR)
    copies = replace(series, times=(series.times + apart).ravel(), values=values.reshape(-1, series.values.shape[1]), labels=None)
    ends = detector.score(copies, aggregation=scores.aggregation).score.reshape(-1, 2, n)[:, :, row]
    found = np.zeros(series.values.shape)
    found[tuple(places.T)] = (ends[:, 0] - ends[:, 1]) / (2 * step)
    return found


def over_all_rows(explanation, series):
    gradient = np.zeros(series.values.shape)
    gradient[explanation.first_row : explanation.first_row + len(explanation.gradient)] = explanation.gradient
    return gradient


def with_gap(series, row):
    return replace(series, times=series.times + 100 * HOUR * (np.arange(len(series)) >= row))


def with_missing(series, row):
    values = series.values.copy()
    values[row : row + 2, -1] = np.nan
    values[row - WINDOW - 1] = np.nan
    return replace(series, values=values)


# With the first of three aggregations: inside and before a missing value are met by all, the others by all between them.
PLACES = {
    (1, "inside"): 0,
    (2, "inside"): 2,
    (2, "after a gap"): 4,
    (1, "before a missing value"): 1,
    (2, "before a missing value"): 3,
    (2, "at the end"): 2,
}
IN_PLACES = [(*place, AGGREGATIONS[(first + k) % len(AGGREGATIONS)]) for place, first in PLACES.items() for k in range(3)]


def test_every_aggregation_meets_three_places():
    assert all(len({place for _, place, other in IN_PLACES if other == name}) >= 3 for name in AGGREGATIONS)
    for places in (["inside"], ["before a missing value"], ["after a gap", "at the end"]):
        assert {name for _, place, name in IN_PLACES if place in places} == set(AGGREGATIONS)


@pytest.mark.parametrize(("n_features", "place", "aggregation"), IN_PLACES)
def test_the_gradient_is_that_of_finite_differences_of_the_scores(detectors, aggregation, n_features, place):
    detector = detectors[n_features]
    series = spiked(detector, n=64)
    if place == "after a gap":
        series = with_gap(series, SPIKE - 2)
    elif place == "before a missing value":
        series = with_missing(series, SPIKE + 2)
    elif place == "at the end":
        series = series[: SPIKE + 1]
    scores, event = scored(detector, series, aggregation, share=0.999)
    explanation = explain(detector.bundle_, series, scores, event, steps=1)
    expected = differences(detector, series, scores, event.peak)
    found = over_all_rows(explanation, series)
    np.testing.assert_allclose(found, expected, rtol=5e-3, atol=5e-4 * np.abs(expected).max())
    np.testing.assert_array_equal(np.abs(explanation.gradient), explanation.sensitivity)


@pytest.mark.parametrize("aggregation", ["combined", "trailing"])
@pytest.mark.parametrize("place", ["inside", "before a missing value"])
def test_context_is_held_and_has_no_part_in_what_drives_an_event(detectors, aggregation, place):
    """The network of two features, of which the second is read and not judged."""
    bundle = detectors[2].bundle_
    settings = bundle.config.to_settings() | {"context_columns": ("s2",)}
    units = ErrorUnits(*(unit[:1] for unit in bundle.error_units))
    detector = made_of(replace(bundle, config=DetectorConfig.from_settings(settings), error_units=units))
    series = spiked(detector) if place == "inside" else with_missing(spiked(detector), SPIKE + 2)
    scores, event = scored(detector, series, aggregation, share=0.6)
    explanation = explain(detector.bundle_, series, scores, event, steps=15)
    expected = differences(detector, series, scores, event.peak)
    assert np.abs(expected[:, 1]).max() > 1e-3 * np.abs(expected).max(), "the score must depend on the context"
    found = np.zeros(len(series))
    found[explanation.first_row : explanation.first_row + len(explanation.gradient)] = explanation.gradient[:, 0]
    np.testing.assert_allclose(found, expected[:, 0], rtol=5e-3, atol=5e-4 * np.abs(expected).max())
    assert (explanation.columns, explanation.changed.shape[1]) == (("s1",), 1)
    held = replace(explanation, changed=np.column_stack([explanation.changed[:, 0], np.zeros(len(explanation.changed))]))
    assert np.isfinite(explanation.noise_rms)
    assert not flagged(detector, apply(detector, series, held), scores)[event.start : event.stop].any()


def seen(aggregation):
    """Rows before and after a row that its score depends on."""
    return WINDOW - 1, 0 if aggregation in ("trailing", "trailing_point") else WINDOW - 1


@each_aggregation
def test_the_sensitive_rows_are_exactly_those_that_the_windows_of_the_peak_see(detectors, aggregation):
    series = spiked(detectors[2])
    scores, event = scored(detectors[2], series, aggregation, share=0.999)
    explanation = explain(detectors[2].bundle_, series, scores, event, steps=1)
    behind, ahead = seen(aggregation)
    assert explanation.first_row == event.peak - behind
    assert explanation.first_row + len(explanation.sensitivity) == event.peak + ahead + 1
    assert (explanation.sensitivity > 0).all()


@each_aggregation
@pytest.mark.parametrize("window_size", [2, 7, 12])
def test_a_score_depends_on_rows_as_far_away_as_is_said(aggregation, window_size):
    """With a network that carries each value of a window to all of its timesteps, one value among zeros gives itself away."""
    row, n, reached = 60, 120, []
    for at in range(n):
        values = (np.arange(n) == at)[:, None].astype(np.float32)
        segment = Segment(
            lambda windows: 0 * windows - windows.sum(axis=1, keepdims=True),
            window_size=window_size,
            max_missing=0.0,
            error_units=ErrorUnits(np.ones(1), np.ones(1)),
            aggregations=(aggregation,),
        )
        parts = [segment.push(values, np.zeros(n, np.uint8), np.arange(n)), segment.finish()]
        if np.concatenate([part.score[0] for part in parts])[row] > 0:
            reached.append(at)
    behind, ahead = reach_of(aggregation, window_size)
    assert reached == list(range(row - behind, row + ahead + 1))


each_kind = pytest.mark.parametrize(("n_features", "far"), [(1, False), (2, False), (2, True)])


def ragged(detector, n, far):
    """A series with gaps, a short segment, missing rows and values, a feature that is silent; far: out of range once."""
    series = with_gap(with_gap(with_gap(spiked(detector, n=n), SPIKE - 2), n - 30), n - 30 + WINDOW - 2)
    values = series.values.copy()
    values[np.random.default_rng(1).random(values.shape) < 0.04] = np.nan
    values[SPIKE + 14 : SPIKE + 17] = np.nan
    values[20 : 20 + WINDOW, -1] = np.nan
    if far:
        values[FAR] = detector.bundle_.scaler.center
        values[FAR, 0] = 1e9
    later = HOUR * (np.arange(n) >= SPIKE + 8) + 2 * HOUR * (np.arange(n) >= 31)  # one row and two rows are missing
    return replace(series, values=values, times=series.times + later)


def moved(detector, series, change):
    return replace(series, values=series.values + change * detector.bundle_.scaler.scale)


@each_aggregation
@each_kind
def test_the_scores_of_a_stretch_are_those_of_the_product(detectors, aggregation, n_features, far):
    detector, series = detectors[n_features], ragged(detectors[n_features], 160, far)
    stretch = Stretch(detector.bundle_, series, aggregation, 0, len(series))
    some = np.random.default_rng(2).normal(size=series.values.shape)
    some[FAR] = 0
    for change in (0 * some, some):
        expected = detector.score(moved(detector, series, change), aggregation=aggregation).score
        assert 10 < np.isnan(expected).sum() < 80
        assert_close(stretch.scores(change), expected, 1e-5, size=np.nanmedian(expected))


@each_aggregation
@each_kind
def test_the_slope_of_any_sum_of_scores_at_any_change_is_that_of_the_product(detectors, aggregation, n_features, far):
    detector, series = detectors[n_features], ragged(detectors[n_features], 160, far)
    stretch = Stretch(detector.bundle_, series, aggregation, 0, len(series))
    rng = np.random.default_rng(3)
    at, direction = rng.normal(size=(2, *series.values.shape))
    at[FAR], direction[FAR, 0] = 0, 0
    by_score = rng.normal(size=len(series))
    # The rounding of a reconstruction counts 10,000 times where a value is out of range.
    known, step, tolerance = ~np.isnan(series.values), *((4e-3, 1e-2) if far else (1e-3, 2e-3))
    ends = [
        detector.score(moved(detector, series, at + sign * step * direction), aggregation=aggregation).score for sign in (1, -1)
    ]
    expected = by_score * (ends[0] - ends[1]) / (2 * step)
    stretch.scores(np.zeros(at.shape))  # of another change than the slope
    slope = stretch.slope(at, by_score)
    assert not slope[~known].any()
    size = np.sqrt(np.nansum(np.square(expected)))
    assert (slope * direction).sum() == pytest.approx(np.nansum(expected), abs=tolerance * size)
    np.testing.assert_array_equal(stretch.slope(at, by_score), slope)


@each_aggregation
def test_the_stretch_reaches_beyond_all_rows_whose_scores_may_change(detectors, aggregation, monkeypatch):
    made = []

    class Recorded(Stretch):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(attribution, "Stretch", Recorded)
    detector, n, at = detectors[2], 320, 160
    series = spiked(detector, rows=slice(at, at + 1), n=n)
    scores, event = scored(detector, series, aggregation, share=0.5)
    explanation = explain(detector.bundle_, series, scores, event, steps=3)
    behind, ahead = seen(aggregation)
    first, stop = event.start - behind, event.stop + ahead
    assert (explanation.changed_first_row, len(explanation.changed)) == (first, stop - first)
    change = np.zeros(series.values.shape)
    change[first:stop] = np.random.default_rng(4).normal(size=(stop - first, 2))
    after = detector.score(moved(detector, series, change), aggregation=aggregation).score
    differs = np.flatnonzero(after != scores.score)
    differs = differs[np.isfinite(after[differs])]
    assert (differs[0], differs[-1] + 1) == (first - ahead, stop + behind)
    rows = slice(made[0].first, made[0].first + len(made[0].rows))
    assert rows.start > 0
    assert rows.stop < n
    found = made[0].scores(change[rows])[first - ahead - rows.start : stop + behind - rows.start]
    assert_close(found, after[first - ahead : stop + behind], 1e-5, size=np.nanmedian(after))


@each_aggregation
@pytest.mark.parametrize(("n_features", "sigmas"), [(1, 12.0), (2, 12.0), (1, 1_000.0), (2, 1e7)])
def test_the_change_unflags_the_event_and_flags_nothing_else(detectors, aggregation, n_features, sigmas):
    detector = detectors[n_features]
    series = spiked(detector, sigmas)
    scores, event = scored(detector, series, aggregation, threshold=usual(detector, aggregation))
    explanation = explain(detector.bundle_, series, scores, event, steps=40)
    after = flagged(detector, apply(detector, series, explanation), scores)
    assert np.isfinite(explanation.noise_rms)
    assert not after[event.start : event.stop].any()
    assert not (after & ~scores.flags).any()


@each_aggregation
def test_nine_tenths_of_the_change_are_not_enough(detectors, aggregation):
    detector = detectors[1]
    series = spiked(detector)
    scores, event = scored(detector, series, aggregation, share=0.3)
    explanation = explain(detector.bundle_, series, scores, event, steps=20)
    assert flagged(detector, apply(detector, series, explanation, 0.9), scores).any()


@each_aggregation
@pytest.mark.parametrize("place", ["at a gap", "around a missing value"])
def test_an_event_can_be_unflagged_where_windows_end(detectors, aggregation, place):
    series = spiked(detectors[2], rows=slice(SPIKE - 4, SPIKE + 5))
    series = with_gap(series, SPIKE) if place == "at a gap" else with_missing(series, SPIKE)
    scores, event = scored(detectors[2], series, aggregation, share=0.3)
    explanation = explain(detectors[2].bundle_, series, scores, event, steps=15)
    assert np.isfinite(explanation.noise_rms)
    assert not flagged(detectors[2], apply(detectors[2], series, explanation), scores)[event.start : event.stop].any()
    rows = slice(explanation.changed_first_row, explanation.changed_first_row + len(explanation.changed))
    assert not explanation.changed[np.isnan(series.values[rows])].any()


@each_aggregation
def test_a_bigger_spike_and_a_lower_threshold_need_a_bigger_change(detectors, aggregation):
    def size(sigmas, factor):
        series = spiked(detectors[1], sigmas)
        scores, event = scored(detectors[1], series, aggregation, threshold=factor * usual(detectors[1], aggregation))
        return np.linalg.norm(explain(detectors[1].bundle_, series, scores, event, steps=15).changed)

    middle = size(20, 1)
    assert size(14, 1) < middle
    assert 0 < size(20, 2) < middle


@pytest.mark.parametrize("threshold", [0.01, 1.0, 9.0, 20.0])
def test_the_noise_grows_with_the_distance_from_the_threshold(blind, threshold):
    series = spiked(blind[1], 10.0, flat=True)
    scores, event = scored(blind[1], series, "trailing_point", threshold=threshold)
    assert explain(blind[1].bundle_, series, scores, event).noise_rms == pytest.approx(10 - 2 * np.sqrt(threshold), rel=2e-3)


@pytest.mark.parametrize("n_features", [1, 2])
def test_where_nothing_is_reconstructed_the_spike_alone_matters_and_must_shrink_to_the_root_of_the_threshold(blind, n_features):
    """The root of the score is the mean over the features of |value| / 2 and |value| / 3; the second feature is 0."""
    series = spiked(blind[n_features], 10.0, flat=True)
    scores, event = scored(blind[n_features], series, "trailing_point", threshold=1.0 / n_features**2)
    explanation = explain(blind[n_features].bundle_, series, scores, event)
    assert (event.start, event.stop) == (SPIKE, SPIKE + 1)
    assert event.peak_score == pytest.approx(25 / n_features**2, rel=1e-5)
    assert np.count_nonzero(explanation.gradient) == 1
    assert explanation.top(1) == [(SPIKE, series.columns[0], pytest.approx(5 / n_features**2, rel=1e-5))]
    assert explanation.noise_largest == pytest.approx(8, rel=1e-3)
    assert explanation.noise_rms == pytest.approx(8 / np.sqrt(n_features), rel=1e-3)
    assert explanation.linear_rms == pytest.approx(8 / np.sqrt(n_features), rel=1e-5)


@each_aggregation
def test_where_nothing_is_reconstructed_all_scores_go_with_the_square_of_the_spike(blind, aggregation):
    series = spiked(blind[2], 10.0, flat=True)
    scores, event = scored(blind[2], series, aggregation, share=0.04)
    explanation = explain(blind[2].bundle_, series, scores, event, steps=20)
    assert np.count_nonzero(explanation.gradient) == 1
    assert explanation.top(1) == [(SPIKE, series.columns[0], pytest.approx(event.peak_score / 5, rel=1e-5))]
    assert explanation.noise_largest == pytest.approx(8, rel=1e-3)
    assert explanation.noise_rms == pytest.approx(8 / np.sqrt(2 * len(event)), rel=1e-3)
    assert explanation.linear_rms == pytest.approx(8 / np.sqrt(2 * len(event)), rel=1e-5)


@pytest.mark.parametrize("sigmas", [-3.0, 5.0, 300.0])
def test_a_level_shift_needs_its_height_less_the_root_of_the_threshold_on_every_row(blind, sigmas):
    rows = slice(30, 45)
    series = spiked(blind[1], sigmas, rows, flat=True)
    scores, event = scored(blind[1], series, "point_mean", threshold=0.25)
    explanation = explain(blind[1].bundle_, series, scores, event)
    assert (event.start, event.stop) == (rows.start, rows.stop)
    assert explanation.noise_rms == pytest.approx(abs(sigmas) - 1, rel=2e-3)
    assert explanation.noise_largest == pytest.approx(abs(sigmas) - 1, rel=2e-3)


def test_the_most_sensitive_values_come_first(detectors):
    series = spiked(detectors[2])
    scores, event = scored(detectors[2], series, "trailing", share=0.5)
    explanation = explain(detectors[2].bundle_, series, scores, event, steps=1)
    top = explanation.top(1_000)
    assert len(top) == explanation.sensitivity.size
    assert [value for _, _, value in top] == sorted(explanation.sensitivity.ravel(), reverse=True)
    row, name, value = top[0]
    assert explanation.sensitivity[row - explanation.first_row, series.columns.index(name)] == value
    assert explanation.top(2) == top[:2]


def test_no_change_found_is_infinite_and_zero(detectors):
    series = spiked(detectors[1], 1_000.0)
    scores, event = scored(detectors[1], series, "window_mean", share=1e-3)
    explanation = explain(detectors[1].bundle_, series, scores, event, steps=1)
    assert explanation.noise_rms == explanation.noise_largest == np.inf
    assert np.isfinite(explanation.linear_rms)
    assert not explanation.changed.any()


def test_columns_may_come_in_any_order(detectors):
    series = spiked(detectors[2])
    scores, event = scored(detectors[2], series, "window_mean", share=0.5)
    turned = replace(series, values=series.values[:, ::-1], columns=series.columns[::-1])
    found, expected = (explain(detectors[2].bundle_, s, scores, event, steps=8) for s in (turned, series))
    np.testing.assert_array_equal(found.gradient, expected.gradient)
    np.testing.assert_array_equal(found.changed, expected.changed)
    assert found.columns == series.columns


def test_what_does_not_belong_together_is_refused(detectors):
    series = spiked(detectors[2])
    bundle = detectors[2].bundle_
    scores, event = scored(detectors[2], series, "window_mean", share=0.5)
    with pytest.raises(DataError, match=r"must be the one that was scored: 90 rows .* Received: 89 rows"):
        explain(bundle, series[1:], scores, event)
    with pytest.raises(DataError, match=r"with the columns 's1', 's2'\. Received: 90 rows with 's1' "):
        explain(bundle, replace(series, values=series.values[:, :1], columns=("s1",)), scores, event)
    with pytest.raises(DataError, match="must be one that was found in these scores"):
        explain(bundle, series, replace(scores, threshold=scores.threshold * 2), event)
    with pytest.raises(DataError, match="must be one that was found in these scores"):
        explain(bundle, series, scores, replace(event, peak=event.peak + 1))
    with pytest.raises(DataError, match="must be one that was found in these scores"):
        explain(bundle, series, scores, replace(event, peak=500, stop=501))


def test_a_search_whose_time_is_up_says_how_far_it_came(detectors):
    detector, series = detectors[2], spiked(detectors[2])
    scores, event = scored(detector, series, "combined", share=0.5)
    told = []
    whole = explain(detector.bundle_, series, scores, event, on_step=lambda *step: told.append(step))
    assert [done for done, _ in told] == list(range(1, whole.n_steps + 1))
    assert len({total for _, total in told}) == 1 and told[-1][0] <= told[-1][1]
    assert not whole.ended_early
    cut = explain(detector.bundle_, series, scores, event, max_seconds=0)
    assert cut.ended_early and cut.n_steps == 0 and np.isinf(cut.noise_rms)
    np.testing.assert_array_equal(cut.sensitivity, whole.sensitivity)
    assert "no small change was found that leaves no event; the time was up after 0 steps" in explanation_text(
        1, event, cut, series, detector.bundle_.scaler
    )
