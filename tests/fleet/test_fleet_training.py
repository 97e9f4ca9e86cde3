"""Many series to a fleet: each as if alone, or all with one network and a scale of their own."""

import statistics
from dataclasses import replace

import numpy as np
import pytest
from conftest import make_series, to_csv
from hypothesis import given
from hypothesis import strategies as st

from anomaly import Detector
from anomaly.config import AGGREGATIONS, DetectorConfig
from anomaly.errors import ConfigError, DataError, DivergedError
from anomaly.fitting.ready import Ready
from anomaly.fleet.folder import Fleet
from anomaly.fleet.plan import Plan, Source, find_sources
from anomaly.fleet.training import _all_ready, train_each, train_shared
from anomaly.ingest.reading import read_csv
from anomaly.sources.inputs import find_inputs
from anomaly.windowing.scaling import Scaler
from anomaly.windowing.split import alike, pooled

QUICK = {
    "window_size": 12, "units": 4, "epochs": 1, "steps_per_epoch": 2, "seed": 7, "penalty": "none", "deterministic": True,
}  # fmt: skip


def plan(**changes):
    settings = QUICK | {name: changes.pop(name) for name in list(changes) if name in QUICK}
    reading = {"time_column": "auto", "value_columns": None, "label_column": None}
    return Plan(config=DetectorConfig.from_settings(settings), reading=reading, **{"overwrite": True} | changes)


def scaled_by(series, factor):
    return replace(series, values=series.values * factor + factor)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three series that differ in level and length, and one that is too short."""
    folder = tmp_path_factory.mktemp("data")
    for n, factor in enumerate((1, 10, 1000)):
        to_csv(scaled_by(make_series(n=180 + 60 * n, seed=n, spike=None), factor), folder / f"pump {n}.csv")
    to_csv(make_series(n=9, spike=None), folder / "short.csv")
    return folder


@pytest.fixture(scope="module")
def shared(folder, tmp_path_factory):
    """A fleet with one network."""
    target = tmp_path_factory.mktemp("fleets") / "shared"
    sources, settled = find_sources(find_inputs([str(folder)]), plan())
    return Fleet.load(target) if train_shared(target, sources, settled).trained else None


def test_each_detector_is_the_one_that_would_be_trained_alone(folder, tmp_path):
    ended = []
    sources, settled = find_sources(find_inputs([str(folder)]), plan(on_end=lambda name, outcome: ended.append(name)))
    outcomes = train_each(tmp_path / "fleet", sources, settled)
    fleet = Fleet.load(tmp_path / "fleet")
    assert fleet.ids == ("pump 0", "pump 1", "pump 2") and ended == [*fleet.ids, "short"]
    assert (fleet.columns, fleet.time_column, fleet.index.id_column) == (("s1", "s2"), "timestamp", None)
    alone = Detector(**QUICK).fit(read_csv(folder / "pump 1.csv")).bundle_
    found = fleet.detector("pump 1").bundle_
    for name, array in alone.weights.items():
        np.testing.assert_array_equal(found.weights[name], array)
    assert found.thresholds == alone.thresholds and found.fingerprint == alone.fingerprint
    assert outcomes.exit_code == 3 and str(outcomes) == "3 of 4 series trained, 1 failed."
    told = outcomes.to_dict()["series"]
    assert "must hold a stretch of `window_size` rows" in told["short"]["error"] and told["short"]["exit_code"] == 3
    assert told["pump 2"]["training"]["n_rows"] == 300 and told["pump 2"]["file"] == fleet.path("pump 2").name


def test_a_shared_network_has_a_scale_units_and_thresholds_for_each_series(shared, folder):
    assert shared.ids == ("pump 0", "pump 1", "pump 2")
    bundles = [shared.detector(name).bundle_ for name in shared.ids]
    for name, array in bundles[0].weights.items():
        assert all(np.array_equal(bundle.weights[name], array) for bundle in bundles)
    for bundle, name in zip(bundles, shared.ids, strict=True):
        series = read_csv(folder / f"{name}.csv")
        expected = Scaler.fit(series.values[: len(series) - round(0.2 * len(series))])
        np.testing.assert_array_equal(bundle.scaler.center, expected.center)
        np.testing.assert_array_equal(bundle.scaler.scale, expected.scale)
        assert bundle.training["n_rows"] == len(series)
    assert len({bundle.thresholds["combined"].value for bundle in bundles}) == 3
    assert len({float(bundle.error_units.window[0]) for bundle in bundles}) == 3


def test_the_calibration_scores_are_those_of_the_held_out_rows_compared_with_others_than_themselves(shared, folder):
    for name in shared.ids:
        series, detector = read_csv(folder / f"{name}.csv"), shared.detector(name)
        held_out = series[len(series) - detector.bundle_.training["n_held_out_rows"] :]
        for aggregation in AGGREGATIONS:
            found, alone = detector.calibration_scores_[aggregation], detector.score(held_out, aggregation=aggregation).score
            # Windows of the held-out rows are among those that later ones are compared with, and are not compared with themselves.
            assert len(found) == len(alone) and np.nanmean(found) > np.nanmean(alone)


def test_the_calibration_scores_of_the_network_alone_are_what_the_held_out_rows_score(folder):
    series = read_csv(folder / "pump 1.csv")
    detector = Detector(**QUICK, nearest_windows=0).fit(series)
    n_held_out = detector.bundle_.training["n_held_out_rows"]
    for aggregation in AGGREGATIONS:
        found = detector.score(series[len(series) - n_held_out :], aggregation=aggregation).score
        np.testing.assert_array_equal(detector.calibration_scores_[aggregation][-n_held_out:], found)


def test_pooled_windows_lie_within_one_series_each_and_all_series_count_alike():
    many = {name: make_series(n=n, seed=n, spike=None) for name, n in (("a", 100), ("b", 150), ("c", 400))}
    ready = [Ready.of(plan().config, series) for series in many.values()]
    split, rows = pooled([found.split for found in ready], [found.scaled for found in ready])
    bounds = np.cumsum([0, *(len(found.scaled) for found in ready)])
    for starts, own in ((split.train_starts, "train_starts"), (split.validation_starts, "validation_starts")):
        counts = []
        for found, first, stop in zip(ready, bounds, bounds[1:], strict=False):
            mine = starts[(starts >= first) & (starts < stop)]
            counts.append(len(mine))
            assert set((mine - first).tolist()) <= set(getattr(found.split, own).tolist())
            for start in mine:
                np.testing.assert_array_equal(rows[start : start + 12], found.scaled[start - first : start - first + 12])
        assert counts == [round(statistics.median(len(getattr(found.split, own)) for found in ready))] * 3


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(1, 100))
def test_windows_are_thinned_evenly_or_repeated(lengths, most):
    starts = [100 * i + np.arange(n) for i, n in enumerate(lengths)]
    taken = alike(starts, most)
    number = len(taken[0])
    assert all(len(found) == number for found in taken) and 1 <= number <= max(1, statistics.median(lengths) + 1)
    assert number * len(lengths) <= max(most, len(lengths))
    for found, own in zip(taken, starts, strict=True):
        times = [int((found == start).sum()) for start in own]
        assert sum(times) == number
        assert max(times) - min(times) <= 1
        if len(own) > number:  # evenly: no two neighbours are further apart than the rest by more than one
            assert np.ptp(np.diff(found)) <= 1 if number > 1 else True


def test_the_window_size_is_the_median_of_those_that_the_series_choose():
    sources = [Source(str(n), make_series(n=n, seed=n, spike=None)) for n in (300, 900, 2000)]
    alone = [Ready.of(plan(window_size="auto").config, source.rows).split.window_size for source in sources]
    config, ready = _all_ready(sources, plan(window_size="auto"), outcomes := type("O", (), {"failed": {}, "trained": {}})())
    assert config.windows.window_size == statistics.median_low(alone)
    fits = {source.name for source in sources} - set(outcomes.failed)
    assert set(ready) == fits and all(found.split.window_size == statistics.median_low(alone) for found in ready.values())


def test_one_series_with_an_unreadable_name_fails_alone(tmp_path):
    sources = [Source("a\x1b", make_series(n=200)), Source("b", make_series(n=200))]
    outcomes = train_each(tmp_path / "fleet", sources, plan())
    assert Fleet.load(tmp_path / "fleet").ids == ("b",)
    assert "without a control character" in str(outcomes.failed["a\x1b"])


def test_if_all_fail_the_old_fleet_stays_and_the_code_is_theirs(tmp_path, shared):
    before = {path.name: path.read_bytes() for path in shared.path("pump 0").parent.iterdir()}
    folder = shared.path("pump 0").parent
    short = [Source(name, make_series(n=9)) for name in "ab"]
    for train in (train_each, train_shared):
        assert train(folder, short, plan()).exit_code == DataError.exit_code
    assert train_each(folder, short, replace(plan(), train_end="0.0")).exit_code == 2
    wrong = DetectorConfig.from_settings(QUICK | {"alarm_direction": (1.0, 1.0, 1.0)})
    assert train_each(folder, [Source("a", make_series(n=200))], replace(plan(), config=wrong)).exit_code == ConfigError.exit_code
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    train_each(tmp_path / "new", short, plan())
    assert not (tmp_path / "new").exists()


def test_a_shared_training_that_diverges_leaves_the_old_fleet(shared, monkeypatch):
    folder = shared.path("pump 0").parent
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    wild = DetectorConfig.from_settings(QUICK | {"learning_rate": 1e30, "clip_norm": 1e30, "steps_per_epoch": 20})
    with pytest.raises(DivergedError):
        train_shared(folder, [Source("a", make_series(n=200))], replace(plan(), config=wild))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_all_series_have_the_columns_of_the_first_that_can_be_read(tmp_path):
    to_csv(make_series(n=200, n_features=2), tmp_path / "b.csv")
    to_csv(make_series(n=200, n_features=3), tmp_path / "c.csv")
    to_csv(make_series(n=200, n_features=1), tmp_path / "d.csv")
    (tmp_path / "a.csv").write_text("")
    outcomes = train_each(tmp_path / "fleet", *find_sources(find_inputs([str(tmp_path)]), plan()))
    assert sorted(outcomes.trained) == ["b", "c"] and Fleet.load(tmp_path / "fleet").columns == ("s1", "s2")
    assert "must begin with a header" in str(outcomes.failed["a"]) and "no 's2' among" in str(outcomes.failed["d"])


def test_series_of_several_long_files_are_joined(tmp_path):
    whole = make_series(n=200, spike=None)
    for name, part in (("1.csv", slice(0, 120)), ("2.csv", slice(120, 200))):
        frame = whole[part].to_frame().reset_index().drop(columns="label", errors="ignore")
        frame["timestamp"] = frame["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
        frame.assign(host="a").to_csv(tmp_path / name, index=False)
    sources, _ = find_sources(find_inputs([str(tmp_path)]), replace(plan(), id_column="host"))
    (source,) = sources
    assert source.name == "a" and source.rows.columns == ("s1", "s2")
    np.testing.assert_array_equal(source.rows.times, whole.times)
    np.testing.assert_array_equal(source.rows.values, whole.values)


def test_a_series_that_fails_keeps_its_detector_and_one_without_an_input_is_named(folder, tmp_path):
    data, target = tmp_path / "data", tmp_path / "fleet"
    data.mkdir()
    for n in range(3):
        (data / f"pump {n}.csv").write_bytes((folder / f"pump {n}.csv").read_bytes())

    def train():
        sources, settled = find_sources(find_inputs([str(data)]), plan())
        return train_each(target, sources, settled)

    assert not train().failed
    before = Fleet.load(target).path("pump 1").read_bytes()
    (data / "pump 1.csv").write_text("garbage")
    (data / "pump 2.csv").unlink()
    outcomes = train()
    assert (outcomes.kept, outcomes.dropped) == (("pump 1",), ("pump 2",))
    assert "They keep the detectors of before: 'pump 1'. Without an input any more, and dropped: 'pump 2'." in str(outcomes)
    assert outcomes.to_dict()["kept"] == ["pump 1"] and outcomes.to_dict()["dropped"] == ["pump 2"]
    fleet = Fleet.load(target)
    assert fleet.ids == ("pump 0", "pump 1") and fleet.path("pump 1").read_bytes() == before
    fleet.detector("pump 1").score(read_csv(folder / "pump 1.csv"))
