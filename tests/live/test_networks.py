"""Networks of many series: a few are ready to run at a time, and which ones makes no difference to any result."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from conftest import TINY, make_series
from test_stream import rows_of, same

from anomaly import Detector
from anomaly.files.scored_rows import ScoredRows
from anomaly.live import networks
from anomaly.live.interleaved import Streams
from anomaly.live.networks import Networks
from anomaly.live.stream import How
from anomaly.network import inference
from anomaly.scoring import references
from anomaly.sources.tolerance import Tolerance


@pytest.fixture(scope="module")
def bundles(detector):
    """Detectors alike but for their weights."""
    found = {}
    for number, name in enumerate("abcde"):
        weights = {key: array * np.float32(1 + number / 50) for key, array in detector.bundle_.weights.items()}
        found[name] = replace(detector.bundle_, weights=weights, probe=None)
    return found


@pytest.fixture(scope="module")
def compared(series):
    """Detectors whose rows are compared with windows of the history too."""
    bundle = Detector(**TINY | {"nearest_windows": 200}).fit(series[:400]).bundle_
    return dict.fromkeys("abcde", bundle)


def fresh(bundle):
    """A detector as a fleet loads it."""
    detector = Detector()
    detector.bundle_, detector._reconstruct = bundle, None
    return detector


def test_a_network_that_is_made_ready_again_gives_the_same_to_the_last_bit(bundles, monkeypatch):
    made = []
    shared = networks.shared_reconstructor
    monkeypatch.setattr(networks, "shared_reconstructor", lambda *parts: made.append(1) or shared(*parts))
    windows = np.random.default_rng(0).normal(size=(130, 12, 2)).astype(np.float32)
    few = Networks(most_ready=2)
    run = {name: few.of(bundle) for name, bundle in bundles.items()}
    first = {name: run[name](windows).tobytes() for name in run}
    again = {name: run[name](windows).tobytes() for name in run}
    assert again == first and len(set(first.values())) == 5
    assert len(made) == 10
    run["e"](windows), run["d"](windows), run["e"](windows)
    assert len(made) == 10, "the last two are still ready"
    gc.collect()
    assert len(few._ready) == 2


def test_detectors_with_the_same_network_share_it(bundles):
    some = Networks()
    alike = replace(bundles["a"], weights={key: array.copy() for key, array in bundles["a"].weights.items()})
    network = some.of(bundles["a"])
    assert some.of(alike) is network
    assert some.of(bundles["b"]) is not network


@pytest.mark.parametrize("live", [True, False])
def test_a_stream_of_many_networks_keeps_few_sessions_and_no_detector(bundles, monkeypatch, live):
    monkeypatch.setattr(networks.Networks.__init__, "__defaults__", (2,))
    how, made = How("trailing", live=live, several=True), {name: make_series(40, seed=i) for i, name in enumerate(bundles)}
    loaded = []

    def load(name):
        detector = fresh(bundles[name])
        loaded.append(weakref.ref(detector))
        return detector

    gc.collect()
    others = len(inference._running)
    streams, out = Streams(load, 2, how, Tolerance()), {name: [] for name in bundles}
    for row in range(0, 40, 4):
        for name, series in made.items():
            out[name] += streams.push(np.full(4, name, object), rows_of(series, row, row + 4))[0]
    gc.collect()
    assert len(inference._running) - others <= 2
    assert [reference() for reference in loaded] == [None] * 5
    for piece in streams.finish():
        out[piece.series].append(piece.rows)
    for name, series in made.items():
        alone = Streams(lambda _, name=name: fresh(bundles[name]), 2, how, Tolerance())
        rows = alone.push(np.full(40, name, object), rows_of(series))[0] + [piece.rows for piece in alone.finish()]
        same(ScoredRows.joined(out[name]), ScoredRows.joined(rows))


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("most", [1, 1 << 30])
def test_series_that_are_idle_keep_their_windows_alone(compared, monkeypatch, live, most):
    """Each has references of its own, as detectors that were loaded from files have."""
    monkeypatch.setattr(references, "_used", references._Used())
    monkeypatch.setattr(references, "MOST_READY_BYTES", most)
    kept, how = {}, How("combined", live=live, lag=11, several=True)

    def load(name):
        recipe = compared[name].recipe
        own = tuple(replace(form, windows=form.windows.copy()) for form in recipe.references)
        kept[name] = own
        return fresh(replace(compared[name], recipe=replace(recipe, references=own)))

    streams, made = Streams(load, 2, how, Tolerance()), {name: make_series(600, seed=i) for i, name in enumerate(compared)}
    out = {name: [] for name in compared}
    for row in range(0, 600, 200):
        for name, series in made.items():
            for piece in streams.pieces(np.full(200, name, object), rows_of(series, row, row + 200)):
                out[name].append(piece.rows)
        n_ready = sum(set(vars(form)) != {"form", "window_size", "windows"} for own in kept.values() for form in own)
        limit = 1 if most == 1 else 3 * len(compared)
        assert n_ready == limit if live else n_ready <= limit  # a file's windows wait until there are many
    for piece in streams.finish():
        out[piece.series].append(piece.rows)
    for name, series in made.items():
        alone = Streams(lambda _, name=name: fresh(compared[name]), 2, how, Tolerance())
        rows = [piece.rows for piece in alone.pieces(np.full(600, name, object), rows_of(series))]
        same(ScoredRows.joined(out[name]), ScoredRows.joined(rows + [piece.rows for piece in alone.finish()]))


def test_references_that_are_gone_take_no_room(monkeypatch):
    used = references._Used()
    monkeypatch.setattr(references, "_used", used)
    monkeypatch.setattr(references, "MOST_READY_BYTES", 250)
    some = [references.References("shape", 32, np.zeros((1, 32, 1), np.float32)) for _ in range(4)]
    for one in some[:2]:
        used.note(one, 100)
    del some[0], one
    gc.collect()
    some[0].__dict__["_ready"] = "ready"
    used.note(some[1], 100)
    assert "_ready" in vars(some[0])
    used.note(some[2], 100)
    assert "_ready" not in vars(some[0]) and len(used._bytes) == 2
