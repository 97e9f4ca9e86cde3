"""All thresholds of a fleet at once, and many labelled series."""

from dataclasses import replace

import pytest
from conftest import make_series, to_csv

from anomaly import Detector
from anomaly.errors import ConfigError, DataError
from anomaly.evaluation.evaluate import evaluate
from anomaly.fleet.folder import Fleet, Index, replaced_fleet, write_member
from anomaly.fleet.scoring import Model
from anomaly.fleet.tuning import FIGURES, Trial, evaluate_many, retune_fleet


@pytest.fixture
def folder(detector, tmp_path):
    bundle = detector.bundle_
    with replaced_fleet(tmp_path / "fleet") as new:
        members = {
            name: write_member(tmp_path / "fleet", name, replace(bundle, fingerprint=f"{n:064x}")) for n, name in enumerate("abc")
        }
        new.finish(Index(None, bundle.time_column, bundle.columns, members))
    return tmp_path / "fleet"


def content_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_threshold_is_changed_as_that_of_a_detector_alone(folder, detector, tmp_path):
    retuned = retune_fleet(folder, lambda d: d.calibrate(alarms_per_day=2.0))
    detector.save(tmp_path / "alone")
    alone = Detector.load(tmp_path / "alone").calibrate(alarms_per_day=2.0).thresholds_
    fleet = Fleet.load(folder)
    assert all(fleet.detector(name).thresholds_ == alone for name in "abc") and len(list(folder.iterdir())) == 4
    assert {name: old for name, (old, _) in retuned.changed.items()} == dict.fromkeys("abc", detector.thresholds_["combined"])
    assert [row[:1] for row in retuned.rows()] == [("series",), ("a",), ("b",), ("c",)] and retuned.exit_code == 0
    assert retuned.to_dict()["series"]["b"]["after"]["value"] == alone["combined"].value


def test_a_dry_run_writes_nothing(folder):
    before = content_of(folder)
    retuned = retune_fleet(folder, lambda d: d.set_threshold(5.0), dry_run=True)
    assert [new.value for _, new in retuned.changed.values()] == [5.0] * 3
    assert content_of(folder) == before


def test_what_cannot_be_changed_stays_and_the_rest_is(folder, detector):
    def change(found):
        if found.bundle_.fingerprint.endswith("1"):
            raise DataError("No. Received: b.")
        found.set_threshold(5.0)

    retuned = retune_fleet(folder, change)
    assert retuned.exit_code == 3 and list(retuned.failed) == ["b"]
    values = [Fleet.load(folder).detector(name).thresholds_["combined"].value for name in "abc"]
    assert values == [5.0, detector.thresholds_["combined"].value, 5.0]


def test_a_bug_on_the_way_leaves_all_as_it_was(folder):
    before = content_of(folder)

    def change(found):
        found.set_threshold(5.0)
        if found.bundle_.fingerprint.endswith("2"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        retune_fleet(folder, change)
    assert content_of(folder) == before


def test_many_are_evaluated_as_each_alone_and_the_means_are_theirs(folder, tmp_path):
    for n, name in enumerate("abz"):
        to_csv(make_series(n=300, seed=n, spike=slice(200 + n, 206)), tmp_path / f"{name}.csv", labels=True)
    trials = [
        Trial(name=n, path=str(tmp_path / f"{n}.csv"), model=Model.of(folder), label_column="label", count_training=True)
        for n in "abz"
    ]
    found = evaluate_many(trials)
    assert list(found.found) == ["a", "b"] and list(found.failed) == ["z"] and found.exit_code == 3
    detector = Fleet.load(folder).detector("b")
    from anomaly import read_csv

    series = read_csv(tmp_path / "b.csv", label_column="label")
    scores = detector.score(series)
    trained = detector.trained_on(series)
    told = {"scaler": detector.bundle_.scaler, "trained": trained, "count_training": True}
    assert found.found["b"] == evaluate(series, scores, detector.detect(scores), **told)
    assert found.note == f"{2 * trained.sum():,} rows of the training are counted: these flatter the detectors."
    mean = sum(one.vus_pr for one in found.found.values()) / 2
    assert found.means["vus_pr"] == pytest.approx(mean) and list(found.means) == list(FIGURES)
    assert [row[0] for row in found.rows()] == ["series", "a", "b", "mean"] and found.rows()[3][1] == f"{mean:.3f}"
    assert found.to_dict()["mean"]["vus_pr"] == pytest.approx(mean)


def test_if_nothing_can_be_evaluated_there_are_no_means(folder):
    trials = [Trial(name="nobody", path="x.csv", model=Model.of(folder), label_column="label")]
    found = evaluate_many(trials)
    assert found.means == {} and found.rows()[1:] == [("mean",)] and found.exit_code == DataError.exit_code
    assert ConfigError.exit_code != found.exit_code
