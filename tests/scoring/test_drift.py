"""Drift against loops over every value and score, in any pieces; when it warns, and what people see of it."""

import io
import json
import math
import shlex
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from commands import command
from conftest import make_series, to_csv
from hypothesis import given
from hypothesis import strategies as st
from made_bundles import GOLDEN, made_bundle

from anomaly import BundleError
from anomaly.bundle.container import RefusedError
from anomaly.bundle.file import from_bytes, read_bundle, to_bytes, write_bundle
from anomaly.cli import cli
from anomaly.files.checking import check_input
from anomaly.files.one_file import score_file
from anomaly.scoring.drift import Drift, ValueRange, joint_warning

CALIBRATION = np.random.default_rng(0).lognormal(size=3_000)
LIMITS = ValueRange(np.array([-1.0, 5.0]), np.array([2.0, 5.0]))
WINDOW = 10


def drift_of(values=None, scores=None, limits=LIMITS, calibration=CALIBRATION):
    drift = Drift(("a", "b"), limits, calibration, WINDOW)
    drift.push(values, scores)
    return drift.result()


def slow_distance(x, y):
    """The largest difference of two cumulative shares, over every score."""
    return max(abs(np.mean(x <= at) - np.mean(y <= at)) for at in np.concatenate([x, y]))


@pytest.mark.parametrize(("factor", "spread"), [(1, 1), (2, 1), (0.3, 1), (1, 3), (50, 0.1)])
def test_distance_and_ratio_are_those_of_all_scores_but_for_a_cell(factor, spread):
    scores = factor * np.random.default_rng(1).lognormal(sigma=spread, size=2_000)
    found = drift_of(scores=scores)
    cell = max(np.max(np.histogram(np.log2(x), np.arange(-15, 15, 1 / 32))[0]) / len(x) for x in (scores, CALIBRATION))
    assert found.distance == pytest.approx(slow_distance(scores, CALIBRATION), abs=2 * cell)
    assert found.median_ratio == pytest.approx(np.median(scores) / np.median(CALIBRATION), rel=2 / 32)
    assert found.scores == 2_000


def slow_shares(values, least, greatest):
    """Shares below and above, of the values that are there."""
    n = below = above = 0
    for value in values:
        if not math.isnan(value):
            n, below, above = n + 1, below + (value < least), above + (value > greatest)
    return n, below / n, above / n


def test_shares_outside_the_range_are_those_of_a_loop():
    values = np.random.default_rng(2).normal(size=(500, 2)) + np.array([0, 5])
    values[::7, 0] = np.nan
    values[3] = [np.inf, -np.inf]
    found = drift_of(values).columns
    for i, name in enumerate("ab"):
        column = found[name]
        assert (column.values, column.below, column.above) == slow_shares(values[:, i], LIMITS.minimum[i], LIMITS.maximum[i])
        assert (column.minimum, column.maximum) == (LIMITS.minimum[i], LIMITS.maximum[i])


def test_a_constant_in_other_digits_is_not_outside():
    assert drift_of(np.full((50, 2), [0, 5 * (1 + 1e-12)])).columns["b"].outside == 0
    assert drift_of(np.full((50, 2), [0, 5 * (1 + 1e-6)])).columns["b"].outside == 1


NUMBERS = st.one_of(st.floats(-10, 10), st.sampled_from([np.nan, np.inf, -np.inf]))
SCORES = st.one_of(st.floats(0, 1e300), st.sampled_from([np.nan, 0.0, 5e-324, 2.0**-40, 2.0**40]))


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=60), st.lists(SCORES, max_size=60), st.lists(st.integers(0, 60), max_size=6))
def test_pieces_make_no_difference(values, scores, cuts):
    values, scores = np.array(values, float).reshape(-1, 2), np.array(scores, float)
    whole, pieces = (Drift(("a", "b"), LIMITS, CALIBRATION, WINDOW) for _ in range(2))
    whole.push(values, scores)
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), 60], strict=True):
        pieces.push(values[start:stop])
        pieces.push(scores=scores[start:stop])
    assert repr(pieces.result()) == repr(whole.result())
    assert sum(n for _, n in whole.counts) == np.isfinite(scores).sum() == whole.result().scores


def test_rows_are_counted_once_enough_wait():
    one, many = (Drift(("a", "b"), LIMITS, CALIBRATION, WINDOW) for _ in range(2))
    values, scores = np.random.default_rng(3).normal(size=(30_000, 2)), np.tile(CALIBRATION, 10)
    one.push(values, scores)
    for start in range(0, 30_000, 100):
        many.push(values[start : start + 100], scores[start : start + 100])
        assert many._n_waiting < 1 << 16
    assert many.result() == one.result()


def test_counts_of_an_earlier_run_are_taken_over():
    first, second = (Drift(("a", "b"), LIMITS, CALIBRATION, WINDOW) for _ in range(2))
    first.push(scores=CALIBRATION[:100] * 3)
    second.restore(tuple((cell, n) for cell, n in json.loads(json.dumps(first.counts))))
    second.push(scores=CALIBRATION[100:] * 3)
    assert second.result() == drift_of(scores=CALIBRATION * 3)


def test_the_unit_of_the_scores_makes_no_difference():
    scores = 1.7 * np.random.default_rng(4).lognormal(size=400)
    expected, found = drift_of(scores=scores), drift_of(scores=scores * 4, calibration=CALIBRATION * 4)
    assert found.distance == expected.distance
    assert found.median_ratio == pytest.approx(expected.median_ratio)


@pytest.mark.parametrize(
    ("scores", "shifted"),
    [
        (CALIBRATION, False),
        (CALIBRATION * 1.45, False),  # near
        (CALIBRATION * 6, True),
        (CALIBRATION / 6, True),
        (np.zeros(100), True),  # a sensor that stands still, reproduced exactly
        (np.where(np.arange(3_000) % 10 == 0, 1e6, CALIBRATION), False),  # one row of ten is an anomaly
        (np.full(100, np.median(CALIBRATION) * 1.2), False),  # far in distance, but neither high nor low
        (CALIBRATION[:39] * 6, False),  # fewer than four windows
        (CALIBRATION[:40] * 6, True),
        (np.full(100, np.nan), False),
    ],
)
def test_scores_have_shifted_when_they_are_far_and_high_or_low(scores, shifted):
    found = drift_of(scores=scores)
    assert found.shifted == shifted == (found.warning is not None)


def test_the_warning_names_what_has_changed():
    values = np.column_stack([np.where(np.arange(100) < 35, 3.0, 0.0), np.full(100, 4.0)])
    found = drift_of(values, CALIBRATION * 6)
    assert found.outside == ["b", "a"]
    assert found.warning == (
        f"scores have shifted (median {found.median_ratio:.3g} times that in training, distance {found.distance:.2f}) and values "
        "lie outside the training range in 'b', 'a' (100% at worst)"
    )
    assert drift_of(values[:39]).warning is None, "fewer rows than four windows"
    assert drift_of(np.full((100, 2), [2.0, 5.0])).warning is None
    assert "less than 0.001 times" in drift_of(scores=np.zeros(100)).warning
    assert "more than 1,000 times" in drift_of(scores=np.ones(100), calibration=np.zeros(100)).warning


@pytest.mark.parametrize(
    ("rising", "named"), [(["a"], "'a'"), (["b", "a"], "'a', 'b'"), (["c"], ""), ([], "")], ids=["one", "two", "another", "none"]
)
def test_what_only_rose_in_training_is_told_to_be_a_count_where_it_lies_outside(rising, named):
    rows = np.column_stack([np.arange(3.0, 103.0), np.where(np.arange(100) < 90, 9.0, 5.0)])
    remedy = (
        "only rose in training: if that is a count, no history holds what comes next; train anew on its differences, or without it"
    )
    assert drift_of(rows).counting(rising) == (f"{named} {remedy}" if named else "")
    assert drift_of(np.tile([0.0, 5.0], (100, 1))).counting(["a", "b"]) == ""


def test_the_last_line_of_a_run_advises_no_training_that_cannot_keep_up(detector, moved, tmp_path):
    bundle = replace(detector.bundle_, training=detector.bundle_.training | {"rising": ["s1"]})
    write_bundle(tmp_path / "m.anomaly", bundle)
    found = run("detect", moved / "shifted.csv", "--model", tmp_path / "m.anomaly").stderr.splitlines()[-1]
    assert found.startswith("Warning: ") and ": 's1' only rose in training: if that is a count, " in found and "--from" not in found


def test_without_a_range_nothing_is_said_of_values():
    found = drift_of(np.full((100, 2), 1e6), limits=None)
    assert found.warning is None and found.rows == 100
    assert found.to_dict()["columns"]["a"] == {"values": 100, "below": None, "above": None, "minimum": None, "maximum": None}


def test_plain_values_can_be_written_as_json():
    for found in (drift_of(), drift_of(np.ones((50, 2)), CALIBRATION)):
        assert json.loads(json.dumps(found.to_dict(), allow_nan=False)) == found.to_dict()


# In a detector file


def ranged(minimum=(0.0, -3.0), maximum=(0.0, 4.5)):
    return made_bundle(value_range=ValueRange(np.array(minimum), np.array(maximum)))


def test_a_range_comes_back_from_a_file(tmp_path):
    write_bundle(tmp_path / "d.anomaly", ranged())
    found = read_bundle(tmp_path / "d.anomaly")
    np.testing.assert_array_equal(found.value_range, ranged().value_range)
    assert to_bytes(found) == (tmp_path / "d.anomaly").read_bytes()


def test_files_from_before_have_no_range():
    found = read_bundle(GOLDEN)
    assert found.value_range is None and found.ancestry is None
    drift = found.drift("combined")
    drift.push(np.full((100, 2), 1e9), found.calibration_scores["combined"])
    assert drift.result().warning is None and drift.result().distance == 0


@pytest.mark.parametrize(
    ("minimum", "maximum"),
    [((1.0, 0.0), (0.0, 1.0)), ((np.nan, 0.0), (0.0, 1.0)), ((0.0, 0.0), (1.0, np.inf)), ((-1e300, 0.0), (0.0, 1.0))],
)
def test_a_range_that_is_none_is_refused(minimum, maximum, tmp_path):
    with pytest.raises(RefusedError):
        from_bytes(to_bytes(ranged(minimum, maximum)))
    with pytest.raises(BundleError, match="must be readable once it is saved"):
        write_bundle(tmp_path / "d.anomaly", ranged(minimum, maximum))
    assert not (tmp_path / "d.anomaly").exists()


def test_half_a_range_is_refused():
    with pytest.raises(RefusedError):
        from_bytes(to_bytes(ranged()).replace(b'"range/maximum"', b'"range/maximus"'))


def test_the_range_is_that_of_the_rows_trained_on_and_held_out(detector, series):
    np.testing.assert_array_equal(detector.bundle_.value_range, [series[:400].values.min(0), series[:400].values.max(0)])


# Over a file


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """Later rows of the same process, as they are and with a feature shifted by some sigmas."""
    folder, later = tmp_path_factory.mktemp("drift"), make_series(800, spike=None)[400:]
    to_csv(later, folder / "same.csv")
    to_csv(replace(later, values=later.values + np.array([12.0, 0.0])), folder / "shifted.csv")
    return folder


@pytest.mark.parametrize("aggregation", ["combined", "trailing"])
def test_a_run_over_a_file_counts_every_value_and_score_once(detector, csv_path, series, aggregation):
    output = io.BytesIO()
    found = score_file(detector, csv_path, output=output, aggregation=aggregation).drift
    scores = detector.score(series, aggregation=aggregation).score
    expected = detector.bundle_.drift(aggregation)
    # The first 400 rows are those of the training.
    expected.push(series.values, scores[400:])
    assert found == expected.result() and found.rows == 500 and found.scores == np.isfinite(scores[400:]).sum() > 80
    assert score_file(detector, csv_path, aggregation=aggregation).drift == found, "also where nothing is written"


def test_rows_like_those_of_training_do_not_warn_and_shifted_ones_do(detector, moved):
    same, shifted = (score_file(detector, moved / f"{name}.csv").drift for name in ("same", "shifted"))
    assert same.warning is None and same.distance < 0.2
    assert shifted.shifted and shifted.outside == ["s1"]


def run(*arguments, stdin=""):
    return subprocess.run(command(*arguments), input=stdin, capture_output=True, text=True, timeout=120)


def test_the_last_line_of_a_run_says_how_to_retrain(bundle_path, moved, tmp_path):
    data, report = moved / "shifted.csv", tmp_path / "r.json"
    ran = run("score", data, "--model", bundle_path, "--output", tmp_path / "o.csv", "--report-json", report)
    assert ran.returncode == 0
    told = json.loads(report.read_text())["drift"]
    assert told["shifted"] is True and told["outside"] == ["s1"] and told["columns"]["s2"]["above"] < 0.05
    assert json.loads(report.read_text())["events"]
    assert ran.stderr.splitlines()[-1] == (
        f"Warning: {told['warning']}: retrain with `anomaly train {data} --model NEW.anomaly --from {bundle_path}` if it stays so; "
        "--exclude EVENTS.csv leaves out the events that are none of it."
    )


def test_the_training_that_it_recommends_reads_the_file_as_the_run_did(bundle_path, moved, tmp_path):
    data = tmp_path / "other names.csv"
    data.write_text((moved / "shifted.csv").read_text().replace("timestamp", "clock", 1))
    ran = run("detect", data, "--model", bundle_path, "--time-column", "clock", "--tz", "UTC", "--on-bad-rows", "skip")
    told = ran.stderr.partition("`anomaly ")[2].partition("`")[0]
    assert set(told.split()) >= {"--time-column", "--tz", "skip"}
    words = shlex.split(told.replace("NEW.anomaly", str(tmp_path / "new.anomaly")))
    again = run(*words, "--epochs", "1", "--steps-per-epoch", "1")
    assert again.returncode == 0, again.stderr


def test_detect_warns_too_and_a_pipe_has_no_name(bundle_path, moved):
    found = run("detect", "-", "--model", bundle_path, stdin=(moved / "shifted.csv").read_text())
    assert found.returncode == 0 and "retrain with `anomaly train NEW.csv --model NEW.anomaly --from " in found.stderr
    assert found.stderr.count("Warning") == 1


def test_nothing_is_said_where_nothing_has_changed_or_quiet_was_asked_for(bundle_path, moved, tmp_path):
    for name, option in (("same", "--strict"), ("shifted", "--quiet")):
        report = tmp_path / "r.json"
        arguments = ["detect", moved / f"{name}.csv", "--model", bundle_path, "--report-json", report, option]
        found = CliRunner().invoke(cli, [str(part) for part in arguments])
        assert found.exit_code == 0 and "Warning" not in found.stderr
        assert json.loads(report.read_text())["drift"]["warning"] is None or name == "shifted"


def test_check_says_which_values_lie_outside(detector, moved):
    found = check_input(moved / "shifted.csv", detector.bundle_)
    assert found.drift.outside == ["s1"] and found.drift.scores == 0 and found.drift.distance is None
    assert "`anomaly train --from` goes on from the detector with rows like these." in str(found)
    assert not found.faults and found.to_dict()["drift"]["outside"] == ["s1"]
    rising = replace(detector.bundle_, training=detector.bundle_.training | {"rising": ["s1"]})
    found = check_input(moved / "shifted.csv", rising)
    assert "; 's1' only rose in training: if that is a count, " in str(found) and "--from" not in str(found)
    assert check_input(moved / "same.csv", detector.bundle_).notes == []
    assert "drift" not in check_input(moved / "same.csv").to_dict()


def test_rows_that_arrive_one_by_one_are_compared_too(detector, bundle_path, moved, tmp_path):
    report = tmp_path / "r.json"
    text = (moved / "shifted.csv").read_text()
    ran = run("score", "-", "--model", bundle_path, "--follow", "--report-json", report, stdin=text)
    assert ran.returncode == 0 and ran.stderr.count("Warning: scores have shifted") == 1
    expected = score_file(detector, moved / "shifted.csv", aggregation="trailing").drift
    assert json.loads(report.read_text())["drift"] == json.loads(json.dumps(expected.to_dict()))


def test_an_extent_is_the_distance_or_the_worst_share_outside():
    assert drift_of(scores=CALIBRATION).extent == 0
    shifted = drift_of(scores=CALIBRATION * 4)
    assert shifted.extent == shifted.distance > 0.5
    values = np.tile([[1.0, 5.0]], (100, 1))
    values[:30, 0] = 1e6
    assert drift_of(values).extent == 0.3


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=60), st.lists(SCORES, max_size=60), st.integers(0, 60))
def test_one_that_goes_on_from_what_another_remembers_comes_to_the_same(values, scores, cut):
    values, scores = np.array(values, float).reshape(-1, 2), np.array(scores, float)
    whole = Drift(("a", "b"), LIMITS, CALIBRATION, WINDOW)
    first, second = whole.anew(), whole.anew()
    whole.push(values, scores)
    first.push(values[:cut], scores[:cut])
    second.go_on(first.memory())
    second.push(values[cut:], scores[cut:])
    assert repr(second.result()) == repr(whole.result())
    assert second.memory().tolist() == whole.memory().tolist()


def test_what_was_compared_with_something_else_is_left():
    first = Drift(("a", "b"), LIMITS, CALIBRATION, WINDOW)
    first.push(np.ones((9, 2)), CALIBRATION)
    for limits, calibration in ((None, CALIBRATION), (LIMITS, CALIBRATION[:-1])):
        second = Drift(("a", "b"), limits, calibration, WINDOW)
        second.go_on(first.memory())
        assert (second.result().rows, second.result().scores) == (0, 0)


def test_the_warning_about_several_series_counts_them_and_names_the_furthest():
    assert joint_warning({}, 3) is None
    extents = {f"p{i}": i / 10 for i in range(6)} | {"a\n": 0.5}
    assert joint_warning(extents, 1200) == (
        "7 of 1,200 series no longer look like in training (the furthest first: 'a\\n', 'p5', 'p4' and 4 more)"
    )
