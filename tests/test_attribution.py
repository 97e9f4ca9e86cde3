"""The gradient against finite differences of the product's own scores, and changes put back through `Detector.score`."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import HOUR, TINY, make_series

from anomaly import Detector, attribution
from anomaly.attribution import explain
from anomaly.config import AGGREGATIONS
from anomaly.errors import DataError

WINDOW = TINY["window_size"]
SPIKE = 30  # row
each_aggregation = pytest.mark.parametrize("aggregation", AGGREGATIONS)


@pytest.fixture(scope="module", autouse=True)
def small_batches():
    """The events here then need several, the last one not full."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attribution, "BATCH", 48)
        yield


@pytest.fixture(scope="module")
def detectors(detector):
    """By number of features: the shared detector, and what is left of it without its second feature."""
    bundle = detector.bundle_
    weights = dict(bundle.weights)
    weights["encoder_1/forward/kernel"] = weights["encoder_1/forward/kernel"][:1]
    weights |= {f"output/{name}": weights[f"output/{name}"][..., :1] for name in ("kernel", "bias")}
    scaler = replace(bundle.scaler, center=bundle.scaler.center[:1], scale=bundle.scaler.scale[:1])
    return {1: made_of(replace(bundle, weights=weights, scaler=scaler, columns=bundle.columns[:1], probe=None)), 2: detector}


@pytest.fixture(scope="module")
def blind(detectors):
    """By number of features: detectors that expect 0, the training mean, whatever they see."""
    bundles = {n: detector.bundle_ for n, detector in detectors.items()}
    return {
        n: made_of(replace(b, weights={k: np.zeros_like(a) for k, a in b.weights.items()}, probe=None)) for n, b in bundles.items()
    }


def made_of(bundle):
    made = Detector(**bundle.config.to_settings())
    made.bundle_, made._reconstruct = bundle, None
    return made


def spiked(detector, sigmas=12.0, rows=slice(SPIKE, SPIKE + 1), n=80, flat=False):
    """A short series with a shift in its first feature; flat: at the training mean everywhere else."""
    scaler, made = detector.bundle_.scaler, make_series(n, len(detector.columns_), seed=5, spike=None)
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
    """Central finite differences of one row's score by every scaled value up to a window away."""
    found, scale = np.zeros(series.values.shape), detector.bundle_.scaler.scale
    near = np.abs(np.arange(len(series)) - row)[:, None] <= WINDOW
    for place in zip(*np.nonzero(near & ~np.isnan(series.values)), strict=True):
        ends = []
        for sign in (1, -1):
            values = series.values.copy()
            values[place] += sign * step * scale[place[1]]
            ends.append(detector.score(replace(series, values=values), aggregation=scores.aggregation).score[row])
        found[place] = (ends[0] - ends[1]) / (2 * step)
    return found


def over_all_rows(explanation, series):
    gradient = np.zeros(series.values.shape)
    gradient[explanation.first_row : explanation.first_row + len(explanation.gradient)] = explanation.gradient
    return gradient


def with_gap(series, row):
    return replace(series, times=series.times + 100 * HOUR * (np.arange(len(series)) >= row))


def with_missing(series, row):
    values = series.values.copy()
    values[row, -1] = np.nan
    return replace(series, values=values)


@each_aggregation
@pytest.mark.parametrize(
    ("n_features", "place"),
    [(1, "inside"), (2, "inside"), (2, "after a gap"), (2, "before a missing value"), (2, "at the end")],
)
def test_the_gradient_is_that_of_finite_differences_of_the_scores(detectors, aggregation, n_features, place):
    detector = detectors[n_features]
    series = spiked(detector, n=54)
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


@each_aggregation
def test_the_sensitive_rows_are_exactly_those_that_the_windows_of_the_peak_see(detectors, aggregation):
    series = spiked(detectors[2])
    scores, event = scored(detectors[2], series, aggregation, share=0.999)
    explanation = explain(detectors[2].bundle_, series, scores, event, steps=1)
    ahead = WINDOW - 1 if aggregation in ("window_mean", "point_mean") else 0
    assert explanation.first_row == event.peak - (WINDOW - 1)
    assert explanation.first_row + len(explanation.sensitivity) == event.peak + ahead + 1
    assert (explanation.sensitivity > 0).all()


@each_aggregation
@pytest.mark.parametrize(("n_features", "sigmas"), [(1, 12.0), (2, 12.0), (1, 1_000.0), (2, 1e7)])
def test_the_change_unflags_the_event_and_flags_nothing_else(detectors, aggregation, n_features, sigmas):
    detector = detectors[n_features]
    series = spiked(detector, sigmas)
    scores, event = scored(detector, series, aggregation, threshold=usual(detector, aggregation))
    explanation = explain(detector.bundle_, series, scores, event, steps=20)
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
    assert not explanation.changed[np.isnan(series.values[rows]).any(axis=1)].any()


@each_aggregation
def test_a_bigger_spike_and_a_lower_threshold_need_a_bigger_change(detectors, aggregation):
    def size(sigmas, factor):
        series = spiked(detectors[1], sigmas)
        scores, event = scored(detectors[1], series, aggregation, threshold=factor * usual(detectors[1], aggregation))
        return np.linalg.norm(explain(detectors[1].bundle_, series, scores, event, steps=15).changed)

    middle = size(20, 1)
    assert size(14, 1) < middle
    assert 0 < size(20, 2) < middle


@pytest.mark.parametrize("threshold", [0.01, 1.0, 9.0, 90.0])
def test_the_noise_grows_with_the_distance_from_the_threshold(blind, threshold):
    series = spiked(blind[1], 10.0, flat=True)
    scores, event = scored(blind[1], series, "trailing_point", threshold=threshold)
    assert explain(blind[1].bundle_, series, scores, event).noise_rms == pytest.approx(10 - np.sqrt(threshold), rel=2e-3)


@pytest.mark.parametrize("n_features", [1, 2])
def test_where_nothing_is_reconstructed_the_spike_alone_matters_and_must_shrink_to_the_root_of_the_threshold(blind, n_features):
    series = spiked(blind[n_features], 10.0, flat=True)
    scores, event = scored(blind[n_features], series, "trailing_point", threshold=4.0 / n_features)
    explanation = explain(blind[n_features].bundle_, series, scores, event)
    assert (event.start, event.stop) == (SPIKE, SPIKE + 1)
    assert np.count_nonzero(explanation.gradient) == 1
    assert explanation.top(1) == [(SPIKE, series.columns[0], pytest.approx(20 / n_features, rel=1e-5))]
    assert explanation.noise_largest == pytest.approx(8, rel=1e-3)
    assert explanation.noise_rms == pytest.approx(8 / np.sqrt(n_features), rel=1e-3)
    assert explanation.linear_rms == pytest.approx(8 / np.sqrt(n_features), rel=1e-5)


@pytest.mark.parametrize("sigmas", [-3.0, 5.0, 300.0])
def test_a_level_shift_needs_its_height_less_the_root_of_the_threshold_on_every_row(blind, sigmas):
    rows = slice(30, 45)
    series = spiked(blind[1], sigmas, rows, flat=True)
    scores, event = scored(blind[1], series, "point_mean", threshold=1.0)
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
    with pytest.raises(DataError, match=r"must be the one that was scored: 80 rows .* Received: 79 rows"):
        explain(bundle, series[1:], scores, event)
    with pytest.raises(DataError, match=r"with the columns 's1', 's2'\. Received: 80 rows with 's1' "):
        explain(bundle, replace(series, values=series.values[:, :1], columns=("s1",)), scores, event)
    with pytest.raises(DataError, match="must be one that was found in these scores"):
        explain(bundle, series, replace(scores, threshold=scores.threshold * 2), event)
    with pytest.raises(DataError, match="must be one that was found in these scores"):
        explain(bundle, series, scores, replace(event, peak=event.peak + 1))
    with pytest.raises(DataError, match="must be one that was found in these scores"):
        explain(bundle, series, scores, replace(event, peak=500, stop=501))
