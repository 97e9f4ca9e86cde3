"""A single row beyond all that a feature ever was: found, named, outside its band, and the same however its rows come."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from conftest import TINY, make_series
from hypothesis import given
from hypothesis import strategies as st

from anomaly import Detector
from anomaly.bundle.file import from_bytes, to_bytes
from anomaly.live.stream import How, Rows, SeriesStream
from anomaly.sources.tolerance import Tolerance

ROW = 820


@pytest.fixture(scope="module", params=[1, 3])
def fitted(request):
    series = make_series(n=900, n_features=request.param, spike=None)
    return Detector(**TINY | {"nearest_windows": 32}).fit(series[:700]), series


def with_value(series, value, column=-1):
    values = series.values.copy()
    values[ROW, column] = value
    return replace(series, values=values)


def limits_of(detector):
    """Return the limits of the values of the last feature, in the unit of its column."""
    scaler, values = detector.bundle_.scaler, detector.bundle_.recipe.extremes.values
    return values.lowest[-1] * scaler.scale[-1] + scaler.center[-1], values.highest[-1] * scaler.scale[-1] + scaler.center[-1]


def test_a_row_beyond_all_of_training_is_an_event_that_names_its_feature(fitted):
    detector, series = fitted
    lowest, highest = limits_of(detector)
    assert lowest < series.values[:700, -1].min() and highest > series.values[:700, -1].max()
    for value in (lowest - 0.1, highest + 0.1):
        found = [event for event in detector.detect(with_value(series, value)) if event.start <= ROW < event.stop]
        assert len(found) == 1 and found[0].peak == ROW and found[0].shares[0][0] == series.columns[-1]


def test_it_counts_as_far_as_anything_counts(fitted):
    detector, series = fitted
    highest = limits_of(detector)[1]
    below, above = (detector.score(with_value(series, highest + more)).score[ROW] for more in (-0.01, 0.01))
    assert above >= below > 0


def test_a_detector_of_before_knows_of_none_and_scores_as_it_did(fitted):
    detector, series = fitted
    bundle = detector.bundle_
    older = Detector(**TINY)
    older.bundle_, older._reconstruct = replace(bundle, recipe=replace(bundle.recipe, extremes=None)), detector._reconstruct
    again = from_bytes(to_bytes(older.bundle_))
    assert again.recipe.extremes is None
    kept = from_bytes(to_bytes(bundle)).recipe.extremes
    for own, read in zip((bundle.recipe.extremes.values, bundle.recipe.extremes.steps), (kept.values, kept.steps), strict=True):
        np.testing.assert_array_equal(own, read)
    assert older.score(series).score.tobytes() == detector.score(series).score.tobytes()


def test_no_band_goes_beyond_the_limits(fitted):
    detector, series = fitted
    lowest, highest = limits_of(detector)
    frame, name = detector.score(series).to_frame(details=True), series.columns[-1]
    lower, upper = frame[f"{name}_lower"].dropna(), frame[f"{name}_upper"].dropna()
    assert len(lower) > 500
    assert (lower >= lowest - 1e-5).all() and (upper <= highest + 1e-5).all()


@given(cuts=st.lists(st.integers(1, 899), max_size=6))
def test_in_whatever_pieces_its_rows_come_the_scores_are_the_same(fitted, cuts):
    detector, series = fitted
    series = with_value(series, limits_of(detector)[1] + 0.1)
    stream, parts = SeriesStream(detector, How("combined", live=True, lag=11), Tolerance()), []
    for start, stop in pairwise([0, *sorted(set(cuts)), 900]):
        names = [str(i) for i in range(start, stop)]
        rows = Rows(names, np.arange(start, stop), series.times[start:stop], series.values[start:stop])
        parts.append(stream.push(rows)[1])
    found = np.concatenate([part.score for part in [*parts, stream.finish()[1]]])
    np.testing.assert_array_equal(found, detector.score(series).score)
