"""Distances to the nearest training windows against loops, the same to the last bit in any pieces."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.scoring import neighbours, overlaps
from anomaly.scoring.neighbours import Neighbours, NeighboursByForm, stride_of
from anomaly.scoring.references import FORMS, GRID, LARGEST_VALUE, References, steps_of
from anomaly.windowing.missing import fill_missing

MAX_MISSING = 0.2
SIZES = st.sampled_from([2, 5, 33, 40, 70])


@pytest.fixture(scope="module", autouse=True, params=[16, 4], ids=["a 16th apart", "a quarter apart"])
def small_blocks(request):
    """Windows of 40 rows lie one row apart, or nine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlaps, "BLOCK_WINDOWS", 4)
        patch.setattr(neighbours, "_STRIDES", request.param)
        yield


def noise(seed, n, n_features):
    rows = np.random.default_rng(seed).normal(size=(n, n_features)).astype(np.float32)
    rows[np.random.default_rng(seed + 1).random(rows.shape) < 0.05] = np.nan
    return rows


def references(form, size, n_features, most=12):
    return References.of(form, noise(99, 200, n_features), np.arange(200 - size), size, most)


def steps_by_loops(window):
    """Return the means of the steps of one window of one feature, less their mean; rows left over are the first."""
    rows = max(1, len(window) // 32)
    means = [np.mean(window[stop - rows : stop]) for stop in range(len(window), rows - 1, -rows)][::-1]
    return np.array(means) - np.mean(means)


def form_by_loops(course, form, known=None):
    """Return what is compared of a window; of changes those between steps that are both known."""
    if form == "change":
        places = range(len(course)) if known is None else np.flatnonzero(known)
        change = np.array([b - a for (k, a), (m, b) in pairwise(zip(places, course, strict=True)) if m == k + 1])
        return change / (np.mean(change**2) + 0.03**2) ** 0.5 if len(change) else change
    return course if form == "course" else course / (np.mean(course**2) + 0.1**2) ** 0.5


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [2, 5, 33, 40, 70, 128])
def test_a_distance_is_the_smallest_mean_square_between_a_window_and_the_references(size, form):
    own, taken = references(form, size, 2)
    training = fill_missing(np.stack([noise(99, 200, 2)[start : start + size] for start in taken]))
    windows = fill_missing(np.stack([noise(3, size + 4, 2)[start : start + size] for start in range(4)]))
    found = own.distances(windows)
    assert found.shape == (4, 2) and own.windows.shape == (len(taken), steps_of(size), 2)
    for n in range(4):
        for feature in range(2):
            this = form_by_loops(steps_by_loops(windows[n, :, feature].astype(np.float64)), form)
            others = [form_by_loops(steps_by_loops(w[:, feature].astype(np.float64)), form) for w in training]
            nearest = min(np.mean((this - other) ** 2) for other in others)
            assert found[n, feature] == pytest.approx(nearest, abs=0.02 * max(nearest, 0.2))  # values are rounded to 1/512


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [33, 70])
def test_what_is_missing_in_a_window_is_compared_with_nothing(size, form):
    own, _ = references(form, size, 1)
    windows = np.repeat(noise(3, size, 1)[None], 3, axis=0)
    windows[1, 5 : size // 2] = np.nan
    windows[2, 3:] = np.nan
    found = own.distances(windows)[:, 0]
    rows = size // steps_of(size)
    for n, window in enumerate(windows[:, :, 0]):
        by_step = window[size - rows * steps_of(size) :].reshape(-1, rows)
        known = ~np.isnan(by_step).all(axis=1)
        course = np.nanmean(by_step[known], axis=1)
        this = form_by_loops(course - course.mean(), form, known)
        others = [form_by_loops(w[known] - w[known].mean(), form, known) for w in own.windows[:, :, 0].astype(np.float64)]
        nearest = min(np.mean((this - other) ** 2) for other in others)
        assert found[n] == pytest.approx(nearest, abs=0.02 * max(nearest, 0.2))


@pytest.mark.parametrize("form", FORMS)
def test_a_window_of_which_no_two_steps_that_follow_each_other_are_known_says_nothing_of_changes(form):
    own, _ = references(form, 33, 2)
    windows = np.repeat(noise(3, 33, 2)[None], 2, axis=0)
    windows[1, 1::2, 0] = np.nan
    found = own.distances(windows)
    assert np.isfinite(found[0]).all() and np.isfinite(found[1, 1])
    assert np.isfinite(found[1, 0]) == (form != "change")


def test_a_reference_itself_is_no_distance_away_in_the_form_that_is_stored():
    rows = np.random.default_rng(5).normal(size=(100, 1)).astype(np.float32)
    for form, most in (("course", 0), ("shape", 1e-4), ("change", 1e-4)):
        own, taken = References.of(form, rows, np.arange(60), 33, 8)
        assert own.distances(np.stack([rows[start : start + 33] for start in taken])).max() <= most


def test_shape_takes_no_notice_of_level_and_hardly_of_size():
    rows = np.sin(np.arange(300) / 5)[:, None].astype(np.float32)
    by_form = [References.of(form, rows, np.arange(200), 64, 64)[0] for form in FORMS]
    shape, course, change = (own.distances(np.stack([5 + 3 * rows[210:274]]))[0, 0] for own in by_form)
    assert shape < 0.02 < 1 < course and change < 0.05


def test_a_change_is_heard_that_is_small_beside_the_whole_shape():
    rows = 10 * np.sin(np.arange(400) / 20)[:, None].astype(np.float32)
    by_form = {form: References.of(form, rows, np.arange(200), 128, 200)[0] for form in FORMS}
    rough = rows[260:388].copy()
    rough[60:76] += np.array([1.5, -1.5]).repeat(4)[np.arange(16) % 8, None]  # a stutter of a seventh of the swing
    far, near = (
        {form: own.distances(np.stack([window]))[0, 0] for form, own in by_form.items()} for window in (rough, rows[260:388])
    )
    assert far["change"] > 5 * far["shape"] and far["change"] > 0.1 > 10 * near["change"], (far, near)


def test_references_are_on_the_grid_and_bounded():
    rows = np.array([[0.0], [1e4], [3.0], [-1e4], [1.0], [2.0]], np.float32)
    windows = References.of("course", rows, np.arange(4), 2, 9)[0].windows
    assert np.abs(windows).max() == LARGEST_VALUE
    np.testing.assert_array_equal(windows * GRID % 1, 0)


def test_many_features_have_fewer_references():
    rows = np.random.default_rng(0).normal(size=(600, 300)).astype(np.float32)
    windows = References.of("shape", rows, np.arange(500), 64, 512)[0].windows
    assert 16 <= len(windows) < 512 and windows.size <= 1 << 20


def covering_by_loops(own, rows, size):
    """Average the distances of every k-th window, and of the last one but for its first row, over the rows they cover."""
    starts = [start for start in range(len(rows) - size + 1) if start % stride_of(size) == 0]
    last = len(rows) - size
    said = [[[] for _ in range(rows.shape[1])] for _ in rows]
    for start in [*starts, *([last] if last >= 0 and last not in starts else [])]:
        window = rows[start : start + size]
        found = own.distances(window[None])[0]
        for row in range(start if start in starts else start + 1, start + size):
            for feature in range(rows.shape[1]):
                if np.isnan(window[:, feature]).sum() <= MAX_MISSING * size:
                    said[row][feature].append(found[feature])
    expected = np.full(rows.shape, np.nan)
    for row, by_feature in enumerate(said):
        for feature, some in enumerate(by_feature):
            if some and not np.isnan(rows[row]).all():
                expected[row, feature] = np.mean(some)
    return expected


def told(own, rows, bounds, *, ahead, ending, eager):
    told_by = Neighbours(own, MAX_MISSING, rows.shape[1], ahead=ahead, ending=ending, eager=eager)
    times = np.arange(len(rows))
    parts = [told_by.push(rows[a:b], times[a:b]) for a, b in pairwise(bounds)]
    return np.concatenate([*parts, told_by.finish()], axis=1)


@given(seed=st.integers(0, 1000), n=st.integers(1, 150), size=SIZES, n_features=st.integers(1, 3), form=st.sampled_from(FORMS))
def test_a_row_is_told_the_mean_of_the_windows_that_cover_it(seed, n, size, n_features, form):
    own, rows = references(form, size, n_features)[0], noise(seed, n, n_features)
    found = told(own, rows, [0, n], ahead=True, ending=False, eager=False)
    assert found.shape == (2, n, n_features)
    np.testing.assert_allclose(found[0], covering_by_loops(own, rows, size), rtol=1e-12)


@given(seed=st.integers(0, 1000), n=st.integers(1, 120), size=SIZES, form=st.sampled_from(FORMS))
def test_a_row_is_told_the_window_that_ends_at_it(seed, n, size, form):
    own, rows = references(form, size, 2)[0], noise(seed, n, 2)
    found = told(own, rows, [0, n], ahead=False, ending=True, eager=False)[1]
    for row in range(n):
        window = rows[max(0, row - size + 1) : row + 1]
        spoken = (np.isnan(window).sum(axis=0) <= MAX_MISSING * size) & (len(window) == size) & ~np.isnan(rows[row]).all()
        distances = own.distances(window[None])[0] if len(window) == size else np.zeros(2)
        np.testing.assert_array_equal(found[row], np.where(spoken, distances, np.nan))


@given(
    seed=st.integers(0, 1000), n=st.integers(1, 150), size=SIZES, steps=st.lists(st.integers(0, 9), min_size=40, max_size=150),
    heard=st.sampled_from([(True, False), (False, True), (True, True)]), eager=st.booleans(), form=st.sampled_from(FORMS),
)  # fmt: skip
def test_pieces_change_no_bit(seed, n, size, steps, heard, eager, form):
    own, rows = references(form, size, 2)[0], noise(seed, n, 2)
    ahead, ending = heard
    whole = told(own, rows, [0, n], ahead=ahead, ending=ending, eager=False)
    bounds = [*(b for b in np.cumsum([0, *steps]) if b < n), n]
    pieces = told(own, rows, bounds, ahead=ahead, ending=ending, eager=eager)
    assert pieces[0 if ahead else 1].tobytes() == whole[0 if ahead else 1].tobytes()
    assert pieces.shape == whole.shape


@given(
    seed=st.integers(0, 1000), n=st.integers(1, 150), sizes=st.tuples(SIZES, SIZES, SIZES),
    steps=st.lists(st.integers(0, 9), min_size=40), eager=st.booleans(),
    heard=st.sampled_from([(True, False), (False, True), (True, True)]),
)  # fmt: skip
def test_all_forms_are_those_of_each_alone_whatever_their_sizes(seed, n, sizes, eager, steps, heard):
    by_form = tuple(references(form, size, 2)[0] for form, size in zip(FORMS, sizes, strict=True))
    rows, times, options = noise(seed, n, 2), np.arange(n), {"ahead": heard[0], "ending": heard[1], "eager": eager}
    alone = [told(own, rows, [0, n], **options) for own in by_form]
    both, bounds = NeighboursByForm(by_form, MAX_MISSING, 2, None, **options), [*(b for b in np.cumsum([0, *steps]) if b < n), n]
    found = np.concatenate([*(both.push(rows[a:b], times[a:b]) for a, b in pairwise(bounds)), both.finish()], axis=2)
    place = 0 if heard[0] else 1
    np.testing.assert_array_equal(found[place], np.stack([of_form[place] for of_form in alone]))


def test_training_rows_are_not_compared_with_themselves():
    rows = np.random.default_rng(2).normal(size=(200, 1)).astype(np.float32)
    own, taken = References.of("course", rows, np.arange(0, 160, 8), 40, 20)
    times = np.arange(200)
    options = {"ahead": True, "ending": False, "eager": False}
    with_own, blind = Neighbours(own, 0.2, 1, **options, own=(taken, 40)), Neighbours(own, 0.2, 1, **options)
    honest, copied = (np.concatenate([x.push(rows, times), x.finish()], axis=1)[0, :, 0] for x in (with_own, blind))
    assert (honest >= copied).all() and honest.mean() > 1.2 * copied.mean()


@pytest.mark.parametrize("most", [1, 3, 16, 4_096])
def test_no_more_windows_are_kept_than_are_asked_for(most):
    kept, taken = References.of("shape", noise(99, 200, 2), np.arange(168), 32, most)
    assert len(kept.windows) == len(taken) == min(most, 168)
