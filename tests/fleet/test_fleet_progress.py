"""Trainings of many series that are interrupted, or done again: what is there already is not trained once more."""

import json
import signal
import subprocess
from dataclasses import replace

import commands
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import make_series, to_csv
from forked import CODE

from anomaly.cli import cli
from anomaly.config import DetectorConfig
from anomaly.engines.pool import here
from anomaly.errors import BundleError, ConfigError, DataError
from anomaly.fitting.cleaned import fingerprint_of
from anomaly.fleet import one_series
from anomaly.fleet import training as fleet_training
from anomaly.fleet.folder import CHECKPOINT, MANIFEST, Fleet
from anomaly.fleet.plan import Plan, find_sources
from anomaly.fleet.progress import described_options
from anomaly.fleet.training import train_each, train_shared
from anomaly.sources.inputs import find_inputs

QUICK = {"window_size": 12, "units": 4, "epochs": 2, "steps_per_epoch": 3, "seed": 7, "penalty": "none", "deterministic": True}
NAMES = ("a", "b", "c")
each_way = pytest.mark.parametrize("train", [train_each, train_shared])


def plan(**changes):
    settings = QUICK | {name: changes.pop(name) for name in list(changes) if name in QUICK}
    reading = {"time_column": "auto", "value_columns": None, "label_column": None}
    return Plan(config=DetectorConfig.from_settings(settings), reading=reading, **{"overwrite": True} | changes)


@pytest.fixture
def data(tmp_path):
    (tmp_path / "data").mkdir()
    for n, name in enumerate(NAMES):
        to_csv(make_series(n=150 + 20 * n, seed=n, spike=None), tmp_path / "data" / f"{name}.csv")
    return tmp_path / "data"


@pytest.fixture(scope="module")
def fits():
    """What was trained on which rows with which settings."""
    return {}


@pytest.fixture(autouse=True)
def quick_fits(monkeypatch, fits):
    """Each training is done once in this module: it is deterministic, and here it matters whether it is asked for."""
    fit = one_series.fit_bundle

    def once(config, series, **options):
        key = repr(config), fingerprint_of(series)
        if key not in fits:
            fits[key] = fit(config, series, **options)
        return fits[key]

    monkeypatch.setattr(one_series, "fit_bundle", once)


def run(train, data, **changes):
    """Train, and return what came out by name: whether the detector was there already."""
    outcomes = train(data.parent / "fleet", *find_sources(find_inputs([str(data)]), plan(**changes)))
    assert not outcomes.failed
    return {name: success.unchanged for name, success in outcomes.trained.items()}


def files(data):
    return {path.name: path.read_bytes() for path in (data.parent / "fleet").iterdir()}


@each_way
def test_the_same_training_again_trains_nothing(data, train, monkeypatch):
    assert run(train, data) == dict.fromkeys(NAMES, False)
    before = files(data)
    assert set(before) == {MANIFEST, "index.json", *(m.file for m in Fleet.load(data.parent / "fleet").index.series.values())}
    monkeypatch.setattr(one_series, "fit_bundle", None)
    monkeypatch.setattr(fleet_training, "train_network", None)
    assert run(train, data) == dict.fromkeys(NAMES, True)
    assert files(data) == before


def change_entry(data, change):
    path = data.parent / "fleet" / MANIFEST
    described = json.loads(path.read_text())
    change(described["series"]["b"])
    path.write_text(json.dumps(described))


def bundle_of(data):
    return Fleet.load(data.parent / "fleet").path("b")


CHANGES = {
    "another row": lambda data: to_csv(make_series(n=171, seed=1, spike=None), data / "b.csv"),
    "no bundle": lambda data: bundle_of(data).unlink(),
    "a damaged bundle": lambda data: bundle_of(data).write_bytes(bundle_of(data).read_bytes()[:-1]),
    "another bundle": lambda data: bundle_of(data).write_bytes(Fleet.load(data.parent / "fleet").path("a").read_bytes()),
    "strange input": lambda data: change_entry(data, lambda entry: entry.update(input=[])),
    "other options": lambda data: change_entry(data, lambda entry: entry["options"].update(version="0")),
    "strange options": lambda data: change_entry(data, lambda entry: entry.update(options=None)),
    "no file": lambda data: change_entry(data, lambda entry: entry.update(bundle={"file": "../x", "sha256": "0" * 64})),
    "strange bundle": lambda data: change_entry(data, lambda entry: entry.update(bundle=3)),
    "nothing": lambda data: change_entry(data, lambda entry: entry.clear()),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_missing_or_changed_is_trained_again_and_nothing_else(data, change):
    run(train_each, data)
    before = Fleet.load(data.parent / "fleet").detector("b").bundle_.weights
    change(data)
    assert run(train_each, data) == {"a": True, "b": False, "c": True}
    fleet = Fleet.load(data.parent / "fleet")
    assert fleet.ids == NAMES and fleet.detector("b").bundle_.weights.keys() == before.keys()
    assert run(train_each, data) == dict.fromkeys(NAMES, True)


def test_a_network_for_all_series_is_trained_again_if_one_of_them_changed(data):
    run(train_shared, data)
    to_csv(make_series(n=171, seed=9, spike=None), data / "b.csv")
    assert run(train_shared, data) == dict.fromkeys(NAMES, False)


@each_way
def test_other_settings_train_all_again_and_so_does_anew(data, train):
    run(train, data)
    assert run(train, data, units=5) == dict.fromkeys(NAMES, False)
    assert run(train, data, units=5, anew=True) == dict.fromkeys(NAMES, False)
    assert run(train, data, units=5) == dict.fromkeys(NAMES, True)


def test_a_series_that_came_and_one_that_went(data):
    run(train_each, data)
    (data / "a.csv").rename(data / "d.csv")
    assert run(train_each, data) == {"b": True, "c": True, "d": False}
    assert Fleet.load(data.parent / "fleet").ids == ("b", "c", "d")
    assert "a" not in json.loads((data.parent / "fleet" / MANIFEST).read_text())["series"]


def test_what_counts_of_a_told_description_is_the_bundle(data):
    run(train_each, data)
    change_entry(data, lambda entry: entry.update(described={"threshold": "x", "training": None}))
    outcomes = train_each(data.parent / "fleet", *find_sources(find_inputs([str(data)]), plan()))
    assert outcomes.trained["b"].unchanged
    assert outcomes.trained["b"].described["training"]["n_rows"] == 170 and outcomes.n_unchanged == 3
    assert str(outcomes) == "3 of 3 series trained, 3 unchanged." and outcomes.to_dict()["unchanged"] == 3


def stops_after(n):
    """What runs tasks here, and is interrupted before the one after the first `n`."""

    def executor(work, tasks):
        for i, found in enumerate(here(work, tasks)):
            if i == n:
                raise KeyboardInterrupt
            yield found

    return executor


@pytest.mark.parametrize("there", [False, True])
def test_an_interrupted_training_goes_on_and_the_old_fleet_stays_meanwhile(data, there):
    if there:
        run(train_each, data, seed=1)
    with pytest.raises(KeyboardInterrupt):
        run(train_each, data, executor=stops_after(2))
    waiting = {entry["bundle"]["file"] for entry in json.loads((data.parent / "fleet" / MANIFEST).read_text())["series"].values()}
    assert waiting <= set(files(data))
    if there:
        assert Fleet.load(data.parent / "fleet").detector("a").bundle_.seed == 1
    else:
        with pytest.raises(BundleError, match=r"must hold the index.json"):
            Fleet.load(data.parent / "fleet")
    assert run(train_each, data) == {"a": True, "b": True, "c": False}
    fleet = Fleet.load(data.parent / "fleet")
    assert {fleet.detector(name).bundle_.seed for name in fleet.ids} == {7}
    assert set(files(data)) == {MANIFEST, "index.json", *(member.file for member in fleet.index.series.values())}


def test_a_network_for_all_series_goes_on_from_its_checkpoint(data, monkeypatch):
    run(train_shared, data)
    expected = {name: Fleet.load(data.parent / "fleet").detector(name).bundle_ for name in NAMES}
    (data.parent / "fleet").rename(data.parent / "whole")
    steps = []

    def stop(progress):
        steps.append(progress)
        if len(steps) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(train_shared, data, on_step=stop, checkpoint_seconds=0.0)
    assert set(files(data)) == {CHECKPOINT}
    with pytest.raises(ConfigError, match="settings and the data it began with"):
        run(train_shared, data, units=5)
    assert set(files(data)) == {CHECKPOINT}
    steps.clear()
    assert run(train_shared, data, on_step=steps.append) == dict.fromkeys(NAMES, False)
    assert 0 < len(steps) < QUICK["epochs"] * QUICK["steps_per_epoch"]
    assert CHECKPOINT not in files(data)
    for name in NAMES:
        found = Fleet.load(data.parent / "fleet").detector(name).bundle_
        for array, other in zip(found.weights.values(), expected[name].weights.values(), strict=True):
            np.testing.assert_array_equal(array, other)


def test_what_was_measured_with_a_network_stays_measured(data):
    with pytest.raises(KeyboardInterrupt):
        run(train_shared, data, executor=stops_after(2))
    assert {MANIFEST, CHECKPOINT} <= set(files(data))
    steps = []
    assert run(train_shared, data, on_step=steps.append) == {"a": True, "b": True, "c": False}
    assert not steps
    weights = [Fleet.load(data.parent / "fleet").detector(name).bundle_.weights for name in NAMES]
    assert all(np.array_equal(weights[0][key], other[key]) for other in weights for key in weights[0])


def test_a_checkpoint_is_only_dropped_when_asked(data):
    with pytest.raises(KeyboardInterrupt):
        run(train_shared, data, executor=stops_after(0))
    other = plan(units=5)
    path = data.parent / "fleet" / CHECKPOINT
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="--no-resume"):
        train_shared(data.parent / "fleet", *find_sources(find_inputs([str(data)]), other))
    assert path.read_bytes() == before
    train_shared(data.parent / "fleet", *find_sources(find_inputs([str(data)]), replace(other, anew=True)))
    assert not path.exists() and Fleet.load(data.parent / "fleet").detector("a").bundle_.config.network.units == 5


def test_a_file_in_the_way_is_not_written_over(data):
    (data.parent / "fleet").mkdir()
    (data.parent / "fleet" / MANIFEST).write_text('{"name": "an app"}')
    with pytest.raises(DataError, match=r"A training.json in the way must be one that `anomaly train` wrote"):
        run(train_each, data)
    assert files(data) == {MANIFEST: b'{"name": "an app"}'}


def command(data, **settings):
    options = [f"--{name.replace('_', '-')}={value}" for name, value in (QUICK | settings).items() if name != "deterministic"]
    return ["train", str(data), "--model", str(data.parent / "fleet"), "--per-series", *options]


def test_a_command_that_was_killed_goes_on(data):
    code = f"""
import os, signal
from anomaly.cli import cli
from anomaly.training import loop
advance, seen = loop._Training._advance, []
def killed(training, *arguments):
    if training not in seen:
        seen.append(training)
    elif len(seen) == 2:  # in the midst of the second training
        os.kill(os.getpid(), signal.SIGKILL)
    return advance(training, *arguments)
loop._Training._advance = killed
cli({command(data)})
"""
    assert subprocess.run(commands.command(CODE, code), capture_output=True).returncode == -signal.SIGKILL
    assert (data.parent / "fleet" / MANIFEST).exists()
    assert "3 of 3 series trained, 1 unchanged" in commands.here(*command(data)).stderr
    assert Fleet.load(data.parent / "fleet").ids == NAMES


def test_an_interrupted_command_says_how_to_go_on(data, monkeypatch):
    fits, fit = [], one_series.fit_bundle

    def interrupted(*arguments, **options):
        fits.append(arguments)
        if len(fits) == 2:
            raise KeyboardInterrupt
        return fit(*arguments, **options)

    monkeypatch.setattr(one_series, "fit_bundle", interrupted)
    result = CliRunner().invoke(cli, command(data))
    assert result.exit_code == 130 and "the same command goes on with it" in result.stderr
    result = CliRunner().invoke(cli, command(data))
    assert result.exit_code == 0 and "3 of 3 series trained, 1 unchanged." in result.stderr


def test_options_have_a_start_only_where_there_is_one():
    config = DetectorConfig()
    assert "train_start" not in described_options(config, {}, (None, "100"))
    assert described_options(config, {}, ("2d", "100"))["train_start"] == "2d"
