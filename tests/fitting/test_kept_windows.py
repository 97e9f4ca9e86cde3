"""Which training windows are kept: half evenly, half the farthest, none of what is set aside."""

import numpy as np
import pytest
from test_set_aside import SIZES, WINDOW, beats, to_rhythm, windows_of

from anomaly.config import WindowConfig
from anomaly.fitting import kept_windows as module
from anomaly.fitting.kept_windows import kept_windows
from anomaly.fitting.set_aside import TrainingWindows
from anomaly.scoring.references import FORMS, References

STEP = 10


def kept_of(scaled, most=64, set_aside="none", **changed):
    windows = windows_of(scaled)
    if changed:
        windows = TrainingWindows(**{**vars(windows), **changed})
    kept, aside = kept_windows(windows, WindowConfig(nearest_windows=most, set_aside=set_aside), SIZES, STEP, to_rhythm)
    return kept, aside, windows


def evenly(of, n):
    return np.unique(of[np.linspace(0, len(of) - 1, n).astype(np.int64)])


@pytest.mark.parametrize("n_features", [1, 3])
def test_half_lie_evenly_and_the_others_are_the_farthest_in_their_own_form(n_features):
    scaled = beats(n_features=n_features)
    kept, aside, windows = kept_of(scaled)
    assert not len(aside.stretches)
    for (references, taken), form, size in zip(kept, FORMS, SIZES, strict=True):
        everything = References.at(form, scaled, windows.starts, size)
        places = np.searchsorted(windows.starts, taken)
        assert (windows.starts[places] == taken).all() and (np.diff(taken) > 0).all() and len(taken) == 64
        np.testing.assert_array_equal(references.windows, everything.windows[places])
        assert np.isin(evenly(windows.starts, 32), taken).all()
        near = np.zeros((len(windows.starts), 64), np.bool_)
        even, _ = References.of(form, scaled, windows.starts, size, 64)
        farthest, of_even = (everything.distances_from(own, near).sum(axis=1).max() for own in (references, even))
        assert farthest < of_even  # no training window is as far from those that are kept


@pytest.mark.parametrize("place", [601, 609, 617, 633])
def test_a_rare_shape_has_its_likes_among_them_wherever_it_lies(place):
    scaled = beats(bump=slice(place, place + 40))
    kept, _, windows = kept_of(scaled, most=24)
    even = evenly(windows.starts, 24)
    for (references, taken), size in zip(kept, SIZES, strict=True):
        held, held_evenly = (np.minimum(of + size, place + 40) - np.maximum(of, place) >= 24 for of in (taken, even))
        assert held.sum() > held_evenly.sum() + 2 and len(references.windows) == 24


def test_what_is_set_aside_is_not_among_them_and_others_take_its_place():
    scaled = beats(bump=slice(600, 640))
    kept, aside, _ = kept_of(scaled, set_aside="auto", most=128)
    left, nothing, _ = kept_of(scaled, most=128)
    assert len(aside.stretches) == 1 and not len(nothing.stretches)
    for (_, taken), (_, all_taken), size in zip(kept, left, SIZES, strict=True):
        within = [(these + size > 610) & (these < 630) for these in (taken, all_taken)]
        # Between a window that is set aside and one that stays lies one that holds little of it.
        assert within[0].sum() <= 4 < within[1].sum() and len(taken) == 128


def test_a_history_of_few_windows_keeps_them_all():
    scaled = beats(3 * 60 + WINDOW)
    kept, _, windows = kept_of(scaled, most=512)
    for _, taken in kept:
        np.testing.assert_array_equal(taken, windows.starts)


def test_one_window_is_the_first_one():
    assert [taken.tolist() for _, taken in kept_of(beats(), most=1)[0]] == [[0]] * len(FORMS)


def test_a_history_that_repeats_itself_keeps_no_window_twice_but_for_those_that_lie_evenly():
    scaled = np.tile(beats(96)[:96], (12, 1))
    kept, _, windows = kept_of(scaled, most=200)
    for references, taken in kept:
        even = np.isin(taken, evenly(windows.starts, 100))
        others = references.windows[~even]
        assert len(np.unique(others, axis=0)) == len(others) and len(taken) < 200


@pytest.mark.parametrize(("n_flat", "kept_each"), [(0, 20), (3, 20), (4, 24), (5, 32), (6, 49), (7, 64)])
def test_of_many_features_fewer_are_kept_and_flat_ones_do_not_count(monkeypatch, n_flat, kept_each):
    monkeypatch.setattr(module, "_MOST_IN_ALL", 98)
    monkeypatch.setattr(module, "_FEWEST", 20)
    scaled = beats(n_features=8)
    scaled[:, 8 - n_flat :] = 0.5
    kept, _, _ = kept_of(scaled, most=64)
    assert [len(taken) for _, taken in kept] == [kept_each] * len(FORMS)


def test_of_a_long_history_some_windows_are_looked_at(monkeypatch):
    monkeypatch.setattr(module, "_MOST_CANDIDATES", 80)
    kept, _, windows = kept_of(beats(), most=64)
    looked_at = evenly(windows.starts, 80)
    assert all(np.isin(taken, looked_at).all() and len(taken) == 64 for _, taken in kept)


def test_dismissed_windows_behind_the_others_may_be_kept():
    scaled = beats(1_400, bump=slice(1_300, 1_340))
    kept, _, _ = kept_of(scaled, set_aside="auto", n_rows=1_200)
    assert all((taken > 1_340 - WINDOW).any() for _, taken in kept)
