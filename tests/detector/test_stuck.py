"""A sensor that is stuck at a value as it has had before: found, named, and the same however its rows come."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from conftest import TINY, make_series
from hypothesis import given
from hypothesis import strategies as st

from anomaly import Detector
from anomaly.bundle.container import RefusedError
from anomaly.bundle.file import from_bytes, to_bytes
from anomaly.explaining.score_slope import Stretch
from anomaly.live.stream import How, Rows, SeriesStream
from anomaly.live.stream_state import StateFile, StreamState
from anomaly.sources.tolerance import Tolerance
from anomaly.watches.relations import Relations
from anomaly.watches.settled import MOST_STATES, N_SPANS, Settled

STUCK = slice(300, 340)


@pytest.fixture(scope="module", params=[1, 3])
def fitted(request):
    series = make_series(n=400, n_features=request.param, spike=None)
    return Detector(**TINY | {"nearest_windows": 32}).fit(series[:250]), series


def rows_of(series, start, stop):
    return Rows([str(i) for i in range(start, stop)], np.arange(start, stop), series.times[start:stop], series.values[start:stop])


def stuck(series, column=0, rows=STUCK, jitter=0.0):
    values = series.values.copy()
    values[rows, column] = values[rows.start, column]
    values[rows.start : rows.stop : 2, column] += jitter * values[:250, column].std()
    return replace(series, values=values)


@pytest.mark.parametrize("jitter", [0.0, 0.01])
def test_a_stuck_sensor_is_found_and_named_and_nothing_else_is(fitted, jitter):
    detector, series = fitted
    column = series.values.shape[1] - 1
    before, events = (list(detector.detect(rows)) for rows in (series, stuck(series, column, jitter=jitter)))
    new = [event for event in events if event.start < STUCK.stop + 12 and event.stop > STUCK.start - 12]
    assert len(new) == 1 and new[0].shares[0][0] == series.columns[column]
    assert STUCK.start <= new[0].stop <= STUCK.stop + 12
    ends = [(event.start, event.stop) for event in before]
    assert [(event.start, event.stop) for event in events if event not in new] == ends


def test_what_stood_still_as_long_in_training_is_normal():
    series = make_series(n=600, n_features=2, spike=None)
    values = series.values.copy()
    for start in range(40, 600, 97):
        values[start : start + 15, 0] = 10.0
    detector = Detector(**TINY | {"nearest_windows": 32}).fit(replace(series, values=values)[:400])
    recipe = detector.bundle_.recipe
    longest, least = recipe.movement.longest_runs, recipe.movement.least
    assert longest[0] == 15 and longest[1] < 3 and least[0] == 0 < least[1]
    units = np.ones((1, 2))
    assert (recipe.with_unusual("combined", units, np.array([[False, True]])) > units).tolist() == [[False, True]]


def test_the_values_of_rest_are_those_of_the_file_and_older_files_have_none(fitted):
    bundle = fitted[0].bundle_
    movement = bundle.recipe.movement

    def again(**changed):
        recipe = replace(bundle.recipe, movement=replace(movement, **changed))
        return from_bytes(to_bytes(replace(bundle, recipe=recipe))).recipe.movement

    resting, others = np.arange(len(bundle.columns)) - 1.5, movement.longest_runs - 1
    found = again(resting=resting, other_runs=others)
    assert found.resting.tolist() == resting.tolist() and found.other_runs.tolist() == others.tolist()
    older = again(resting=None, other_runs=None)
    assert older.resting is None and older.other_runs is None and older.least.tolist() == movement.least.tolist()
    for value in (np.nan, np.inf, -2e4):
        with pytest.raises(RefusedError, match="resting values must be within 10000"):
            again(resting=np.full(len(bundle.columns), value))


def test_set_points_are_those_of_the_file(fitted):
    bundle = fitted[0].bundle_
    n = len(bundle.columns)
    points, most = np.eye(n)[0], np.zeros((N_SPANS, n))
    states, spans = np.outer(np.arange(MOST_STATES), points), np.arange(MOST_STATES) % 3.0
    relations = Relations(np.arange(n) / 2, np.eye(n), most[0], np.ones(n))

    def again(**changed):
        settled = replace(Settled(relations, points, states, spans, most), **changed)
        return from_bytes(to_bytes(replace(bundle, recipe=replace(bundle.recipe, settled=settled)))).recipe.settled

    found = again()
    for name in ("points", "states", "spans", "most"):
        assert getattr(found, name).tolist() == locals()[name].tolist()
    for name in ("center", "weights", "most", "sharpness"):
        assert getattr(found.relations, name).tolist() == getattr(relations, name).tolist()
    assert bundle.recipe.settled is None and from_bytes(to_bytes(bundle)).recipe.settled is None
    for wrong, message in (
        ({"states": states * 1e4}, "set points must be within 10000"),
        ({"points": points * 2}, "a set point or not"),
        ({"points": points * 0}, "a set point or not"),
        ({"spans": spans + 0.5}, "0 to 8 spans"),
        ({"spans": spans + N_SPANS}, "0 to 8 spans"),
        ({"most": most - 1}, "must not be negative"),
        ({"most": most + np.nan}, "must be within"),
    ):
        with pytest.raises(RefusedError, match=message):
            again(**wrong)


def test_a_detector_of_before_knows_of_no_stuck_sensor_and_scores_as_it_did(fitted):
    detector, series = fitted
    bundle = detector.bundle_
    older = Detector(**TINY)
    older.bundle_, older._reconstruct = replace(bundle, recipe=replace(bundle.recipe, movement=None)), detector._reconstruct
    again = from_bytes(to_bytes(older.bundle_))
    assert again.recipe.movement is None and from_bytes(to_bytes(bundle)).recipe.movement is not None
    assert older.score(series).score.tobytes() == detector.score(series).score.tobytes()
    assert np.nanmax(older.score(stuck(series)).score[STUCK]) < np.nanmax(detector.score(stuck(series)).score[STUCK])


def test_what_explains_a_stuck_sensor_has_its_scores(fitted):
    detector, series = fitted
    series = stuck(series)
    whole = detector.score(series).score
    stretch = Stretch(detector.bundle_, series, "combined", 270, 370)
    own = stretch.scores(np.zeros(stretch.rows.shape))
    np.testing.assert_allclose(own[30:70], whole[300:340], rtol=1e-4)
    change = np.zeros(stretch.rows.shape)
    change[35, 0] = 1e-3
    assert stretch.scores(change)[36] < own[36]  # which ends the run


@given(cuts=st.lists(st.integers(1, 399), max_size=6), stored=st.sets(st.integers(0, 6)))
def test_a_stream_that_is_stored_and_taken_up_finds_the_same(fitted, tmp_path_factory, cuts, stored):
    detector, series = fitted
    series, how = stuck(series), How("combined", live=True, lag=11)
    file = StateFile(tmp_path_factory.getbasetemp() / "stuck.state", {"a": 1}, series.values.shape[1])
    whole = detector.score(series)
    stream, parts = SeriesStream(detector, how, Tolerance()), []
    bounds = [0, *sorted(set(cuts)), 400]
    for number, (start, stop) in enumerate(pairwise(bounds)):
        parts.append(stream.push(rows_of(series, start, stop))[1])
        if number in stored:
            file.write(StreamState({"x": stream.memory}))
            stream = SeriesStream(detector, how, Tolerance(), file.read().memories["x"])
    parts.append(stream.finish()[1])
    found = np.concatenate([part.score for part in parts])
    np.testing.assert_array_equal(found, whole.score)
