"""Detectors whose scores have terms beside the network's: derivative, scores of a stretch, and changes that unflag."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from conftest import HOUR, TINY, make_series
from hypothesis import given
from hypothesis import strategies as st

from anomaly import Detector
from anomaly.config import AGGREGATIONS
from anomaly.explaining.attribution import explain
from anomaly.explaining.score_slope import Stretch
from anomaly.scoring import neighbours, references
from anomaly.scoring.recipe import MOST_ODD
from anomaly.windowing import windows

each_aggregation = pytest.mark.parametrize("aggregation", AGGREGATIONS)
WINDOW = 40


@pytest.fixture(scope="module", autouse=True)
def strides():
    """Windows of 32 rows then lie seven rows apart, those of 40 of the network ten."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "_WINDOWS_A_ROW", 4)
        patch.setattr(neighbours, "_STRIDES", 4)
        yield


@pytest.fixture(scope="module")
def detectors():
    options = TINY | {"window_size": WINDOW, "nearest_windows": 24, "penalty": "none"}
    return {n: Detector(**options).fit(make_series(400, n, spike=None)) for n in (1, 2)}


def spiked(n_features, n=200, row=101, height=25.0):
    series = make_series(n, n_features, seed=5, spike=None)
    values, times = series.values.copy(), series.times.copy()
    values[row, 0] += height
    values[60, 0] = np.nan
    times[150:] += 100 * HOUR
    return replace(series, values=values, times=times, labels=None)


def test_the_detectors_have_such_terms_and_a_stride(detectors):
    for detector in detectors.values():
        assert detector.bundle_.recipe is not None
        assert [neighbours.stride_of(of_form.window_size) for of_form in detector.bundle_.references] == [7, 9, 9]
        assert detector.bundle_.scoring_stride == 10


@pytest.mark.parametrize("n_features", [1, 2])
@each_aggregation
def test_the_scores_of_a_stretch_are_those_of_the_product(detectors, aggregation, n_features):
    series = spiked(n_features)
    expected = detectors[n_features].score(series, aggregation=aggregation).score
    for first in (0, 3, 17):
        found = Stretch(detectors[n_features].bundle_, series, aggregation, first, len(series)).scores(
            np.zeros((200 - first, n_features))
        )
        inside = slice(first + WINDOW - 1 if first else 0, None)
        np.testing.assert_allclose(found[inside.start - first :], expected[inside], rtol=2e-4)


@pytest.mark.parametrize("n_features", [1, 2])
@each_aggregation
def test_the_slope_is_that_of_finite_differences(detectors, aggregation, n_features, monkeypatch):
    """On a finer grid than the product's, on which values do not move in steps; and below the limits of the odd terms."""
    monkeypatch.setattr(references, "GRID", 2**30)
    monkeypatch.setattr("anomaly.scoring.recipe.MOST_ODD", dict.fromkeys(MOST_ODD, 1e9))
    monkeypatch.setattr("anomaly.scoring.recipe.MOST_ALONE", 1e9)
    bundle = detectors[n_features].bundle_
    recipe = replace(bundle.recipe, references=tuple(map(replace, bundle.references)))  # nothing kept from the other grid
    stretch = Stretch(replace(bundle, recipe=recipe), spiked(n_features, height=6.0), aggregation, 0, 200)
    rng = np.random.default_rng(3)
    by_score = np.where(np.isfinite(stretch.scores(np.zeros(stretch.rows.shape))), rng.uniform(0, 1, 200), 0)
    for _ in range(3):
        at, way = rng.normal(0, 0.3, stretch.rows.shape), rng.normal(size=stretch.rows.shape)
        step = 5e-3 / np.linalg.norm(way)
        ends = [np.nansum(by_score * stretch.scores(at + sign * step * way)) for sign in (1, -1)]
        slopes = np.nan_to_num(stretch.slope(at, by_score))
        usual = np.linalg.norm(slopes)  # along a random way of this length; a way across the slope has next to none
        assert float((slopes * way).sum()) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=0.03, abs=0.01 * usual)


@pytest.mark.parametrize("n_features", [1, 2])
@each_aggregation
def test_the_change_unflags_the_event_in_the_product(detectors, aggregation, n_features):
    detector, series = detectors[n_features], spiked(n_features)
    scores = detector.score(series, aggregation=aggregation)
    quiet = detector.score(spiked(n_features, height=0.0), aggregation=aggregation).score
    scores = replace(scores, threshold=1.2 * float(np.nanmax(quiet)))
    event = max(detector.detect(scores), key=lambda found: found.peak_score)
    explanation = explain(detector.bundle_, series, scores, event)
    assert np.isfinite(explanation.noise_rms)
    rows = slice(explanation.changed_first_row, explanation.changed_first_row + len(explanation.changed))
    values = series.values.copy()
    values[rows] += explanation.changed * detector.bundle_.scaler.scale
    after = detector.score(replace(series, values=values), aggregation=aggregation).score
    assert (np.nan_to_num(after[event.start : event.stop]) <= scores.threshold).all()


@given(bounds=st.lists(st.integers(1, 199), max_size=6), aggregation=st.sampled_from(AGGREGATIONS))
def test_pieces_of_rows_have_the_scores_of_the_whole(detectors, bounds, aggregation):
    detector, series = detectors[2], spiked(2)
    expected = detector.score(series, aggregation=aggregation)
    scorer, edges = detector.row_scorer(aggregation), [0, *sorted(bounds), len(series)]
    parts = [scorer.push(series.times[a:b], series.values[a:b]) for a, b in pairwise(edges)] + [scorer.finish()]
    found = np.concatenate([part.by_feature[0] for part in parts])
    np.testing.assert_array_equal(found, expected.by_feature)


def test_a_saved_detector_has_the_same_scores_and_bytes(detectors, tmp_path):
    for name, detector in detectors.items():
        detector.save(tmp_path / f"{name}.anomaly")
        again = Detector.load(tmp_path / f"{name}.anomaly")
        again.save(tmp_path / "again.anomaly")
        assert (tmp_path / "again.anomaly").read_bytes() == (tmp_path / f"{name}.anomaly").read_bytes()
        np.testing.assert_array_equal(again.score(spiked(name)).score, detector.score(spiked(name)).score)
