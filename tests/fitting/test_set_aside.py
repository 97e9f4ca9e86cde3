"""Stretches of the history that are no example of what is normal: which they are, and what they are left out of."""

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import TINY, make_series, to_csv
from hypothesis import given
from hypothesis import strategies as st
from made_bundles import made_bundle

from anomaly import Detector
from anomaly.bundle.container import RefusedError
from anomaly.bundle.file import from_bytes, to_bytes
from anomaly.cli import cli
from anomaly.config import AGGREGATIONS, DetectorConfig
from anomaly.fitting.held_out_aside import Taken, set_aside
from anomaly.fitting.measuring import measured
from anomaly.fitting.ready import Ready
from anomaly.fitting.set_aside import MOST_ASIDE, SetAside, TrainingWindows
from anomaly.fitting.trained import train_network
from anomaly.scoring.references import FORMS, GRID, References

SIZES, WINDOW = (32, 64, 80), 80


def beats(n=1_200, bump=slice(0, 0), n_features=1):
    """Return a rhythm of 32 rows with some noise, `(n, n_features)`, and one stretch like nothing else."""
    rows = np.arange(n)
    values = np.sin(2 * np.pi * rows / 32)[:, None] + 0.1 * np.random.default_rng(0).normal(size=(n, n_features))
    values[bump, 0] = 4 * np.cos(np.arange(bump.stop - bump.start) ** 2)
    return values.astype(np.float32)


def windows_of(scaled, n_rows=None, cut=None):
    """Return windows of training rows, or with `cut` of those before it, the others held out."""
    starts = np.arange(0, (len(scaled) if cut is None else cut) - WINDOW + 1, 3)
    n_rows = (len(scaled) if cut is None else cut) if n_rows is None else n_rows
    held_out = np.empty(0, np.int64) if cut is None else np.arange(cut, len(scaled) - WINDOW + 1, 3)
    return TrainingWindows(scaled, 10 * np.arange(len(scaled)), starts, held_out, WINDOW, n_rows, 0.2, np.ones(scaled.shape[1]))


def found_in(scaled, reconstruct, n_rows=None, most=128, cut=None):
    windows = windows_of(scaled, n_rows, cut)
    found, late = (
        [Taken(*References.of(form, scaled, starts, size, most)) for form, size in zip(FORMS, SIZES, strict=True)]
        for starts in (windows.starts, windows.held_out)
    )
    kept, late_kept, aside = set_aside(found, late, [10 * size for size in SIZES], windows, reconstruct)
    gone = [
        np.setdiff1d(np.concatenate([before.starts for before in one]), np.concatenate([after.starts for after in other]))
        for one, other in zip(zip(found, late, strict=True), zip(kept, late_kept, strict=True), strict=True)
    ]
    assert all(len(references.windows) == len(taken) for references, taken in (*kept, *late_kept))
    return gone, aside


def to_rhythm(windows):
    """Reconstruct no more than the rhythm: whatever else is there is an error."""
    return np.clip(windows, -1.2, 1.2)


def to_nothing(windows):
    return np.zeros_like(windows)


@pytest.mark.parametrize("n_features", [1, 3])
def test_what_comes_once_and_is_badly_reconstructed_is_set_aside_with_all_windows_that_hold_much_of_it(n_features):
    scaled = beats(bump=slice(600, 640), n_features=n_features)
    gone, aside = found_in(scaled, to_rhythm)
    rows = np.flatnonzero(aside.covers(10 * np.arange(len(scaled))))
    for starts, size in zip(gone[:2], SIZES, strict=False):
        assert len(starts) and (starts + size > 600).all() and (starts < 640).all()
    assert aside.stretches.tolist() == [[10 * gone[1][0], 10 * (gone[1][-1] + SIZES[1] - 1)]]
    assert set(range(605, 635)) <= set(rows.tolist()) and rows.min() > 600 - SIZES[1] and rows.max() < 640 + SIZES[1]


CUT = 900


def changed_from(first, n=1_200, last=1_200, **options):
    """Return a rhythm that is another from a row on: faster and larger, with much noise."""
    values, rows = beats(n, **options), np.arange(first, last)
    values[rows, 0] = 3 * np.sin(2 * np.pi * rows / 11) + np.random.default_rng(1).normal(size=len(rows))
    return values


@pytest.mark.parametrize("n_features", [1, 3])
@pytest.mark.parametrize("first", [905, 1_000, 1_020])
def test_of_held_out_rows_what_comes_once_is_set_aside_by_the_same_tests(first, n_features):
    scaled = beats(bump=slice(first, first + 20), n_features=n_features)
    gone, aside = found_in(scaled, to_rhythm, cut=CUT)
    rows = np.flatnonzero(aside.covers(10 * np.arange(len(scaled))))
    assert set(range(first + 3, first + 17)) <= set(rows.tolist()), "the fault"
    assert rows.min() >= CUT and rows.max() < first + 20 + SIZES[1] and (gone[1] >= CUT).all()
    assert len(rows) <= (len(scaled) - CUT) / 2


@pytest.mark.parametrize(
    ("scaled", "reconstruct"),
    [
        (beats(), to_rhythm),
        (changed_from(1_000), to_rhythm),  # to the end
        (changed_from(1_080), to_rhythm),  # to the end
        (changed_from(1_640, n=1_800, last=1_800), to_rhythm),  # for less than a quarter, to the end
        (changed_from(950, last=1_150), to_rhythm),  # for more than a quarter
        (beats(bump=slice(1_000, 1_020)), lambda windows: windows + 0.3),  # no worse than all others
    ],
    ids=["nothing", "a change", "near the end", "a late change", "long", "learnt"],
)
def test_of_held_out_rows_a_change_or_what_is_learnt_stays(scaled, reconstruct):
    assert not len(found_in(scaled, reconstruct, cut=CUT)[1].stretches)


def test_of_held_out_rows_what_comes_again_stays():
    scaled = beats(bump=slice(930, 950))
    scaled[1_080:1_100] = scaled[930:950]
    assert not len(found_in(scaled, to_rhythm, cut=CUT)[1].stretches)


def machine(starts, n=1_200, odd=slice(0, 0), n_features=1):
    """Return a machine that is idle but for runs that begin at `starts`, each with a noise and a length of its own."""
    rng = np.random.default_rng(3)
    values = 0.02 * rng.normal(size=(n, n_features))
    for start in starts:
        length = int(rng.integers(50, 64))
        ripple = 0.5 * np.sin(np.arange(length) / 3) + 0.1 * rng.normal(size=length)
        values[start : start + length] += (4 + ripple)[:, None]
    values[odd, 0] = 9 * np.cos(np.arange(odd.stop - odd.start) ** 2)
    return values.astype(np.float32)


RUNS = (110, 300, 470, 730)


@pytest.mark.parametrize("n_features", [1, 3])
@pytest.mark.parametrize(
    ("runs", "cut"),
    [(RUNS, None), (RUNS[:2], None), ((*RUNS, 960), CUT), ((*RUNS, 920, 1_080), CUT)],
    ids=["four", "two", "one held out", "two held out"],
)
def test_runs_of_a_machine_that_is_mostly_idle_stay(runs, cut, n_features):
    aside = found_in(machine(runs, n_features=n_features), to_rhythm, cut=cut)[1]
    assert aside.covers(10 * np.arange(1_200)).sum() <= SIZES[1], "one window, of the one run that is the longest"


@pytest.mark.parametrize(("odd", "cut"), [(slice(590, 620), None), (slice(1_060, 1_090), CUT)])
def test_what_comes_once_among_such_runs_is_set_aside(odd, cut):
    aside = found_in(machine(RUNS, odd=odd), to_rhythm, cut=cut)[1]
    rows = np.flatnonzero(aside.covers(10 * np.arange(1_200)))
    assert set(range(odd.start + 3, odd.stop - 3)) <= set(rows.tolist())
    elsewhere = rows[(rows <= odd.start - SIZES[1]) | (rows >= odd.stop + SIZES[1])]
    assert len(elsewhere) <= SIZES[1]


def test_a_run_that_comes_once_is_set_aside():
    assert len(found_in(machine(RUNS[:1]), to_rhythm)[1].stretches)


@given(st.integers(0, 10_000), st.integers(1, 60))
def test_windows_are_mostly_in_rows_if_half_of_theirs_are(seed, size):
    rng, windows = np.random.default_rng(seed), windows_of(beats(200), n_rows=150)
    rows, taken = rng.random(150) < 0.5, np.sort(rng.integers(0, 200 - size, 12))
    expected = [sum(row < 150 and bool(rows[row]) for row in range(start, start + size)) >= size / 2 for start in taken.tolist()]
    assert windows.mostly_in(rows, taken, size).tolist() == expected


def test_of_changes_the_windows_go_that_lie_in_what_is_set_aside_of_the_course():
    scaled = beats(bump=slice(600, 640))
    gone, aside = found_in(scaled, to_rhythm)
    rows = aside.covers(10 * np.arange(len(scaled)))
    assert len(gone[2]) and all(rows[start : start + SIZES[2]].sum() >= SIZES[2] / 2 for start in gone[2].tolist())


def test_nothing_is_set_aside_of_a_history_that_has_nothing_odd():
    gone, aside = found_in(beats(), to_rhythm)
    assert not any(len(starts) for starts in gone) and aside.stretches.shape == (0, 2)


def test_a_rare_shape_that_the_network_has_learnt_stays():
    gone, aside = found_in(beats(bump=slice(600, 640)), lambda windows: windows)
    assert not any(len(starts) for starts in gone) and not len(aside.stretches)


def test_what_is_badly_reconstructed_everywhere_stays():
    assert not len(found_in(beats(), to_nothing)[1].stretches)


def test_what_comes_twice_stays():
    scaled = beats(bump=slice(600, 640))
    scaled[807:1_027] = scaled[510:730]  # at another place between the windows that are compared
    assert len(found_in(beats(bump=slice(600, 640)), to_rhythm)[1].stretches) == 1
    assert not len(found_in(scaled, to_rhythm)[1].stretches)


def test_a_valve_that_seldom_opens_is_no_anomaly():
    scaled = np.full((1_200, 1), -0.1, np.float32)
    for start in (131, 560, 987):
        scaled[start : start + 40] = 8
    assert not len(found_in(scaled, to_rhythm)[1].stretches)
    scaled[700:720] = 8  # once, and for another time
    [[first, last]] = found_in(scaled, to_rhythm)[1].stretches.tolist()
    assert 10 * (700 - SIZES[1]) < first <= 7_000 <= 7_200 <= last < 10 * (720 + SIZES[1])


def test_dismissed_rows_stay_they_begin_behind_the_training_rows():
    scaled = beats(bump=slice(1_100, 1_140))
    assert len(found_in(scaled, to_rhythm)[1].stretches) == 1
    assert not len(found_in(scaled, to_rhythm, n_rows=1_000)[1].stretches)


def test_at_most_a_quarter_of_the_rows_is_set_aside():
    scaled = beats()
    rng = np.random.default_rng(1)
    for start in range(100, 1_100, 180):  # each like none of the others
        scaled[start : start + 60] = 4 * rng.normal(size=(60, 1))
    gone, aside = found_in(scaled, to_rhythm)
    assert len(aside.stretches) and aside.covers(10 * np.arange(len(scaled))).sum() <= MOST_ASIDE * len(scaled)
    assert all(len(starts) for starts in gone[:2])


def test_a_history_of_one_window_has_nothing_to_be_unlike():
    assert not len(found_in(beats(WINDOW), to_rhythm)[1].stretches)


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 1_000))
def test_stretches_cover_the_rows_that_they_were_made_of(rows, step):
    times = step * np.arange(len(rows))
    aside = SetAside.of(np.array(rows, np.bool_), times)
    assert aside.covers(times).tolist() == rows
    assert (np.diff(aside.stretches.ravel()) >= 0).all()
    assert len(aside.stretches) == sum(a and not b for a, b in zip(rows, [False, *rows], strict=False))


@given(st.integers(0, 10_000), st.sampled_from(FORMS), st.integers(1, 40))
def test_a_distance_from_the_others_is_the_least_of_all_pairs_that_are_not_too_near(seed, form, apart):
    rng = np.random.default_rng(seed)
    scaled = rng.normal(size=(150, 2)).astype(np.float32)
    references, taken = References.of(form, scaled, np.arange(0, 110, 5), 40, 22)
    near = np.abs(taken[:, None] - taken) < apart
    found = references.distances_from(references, near)
    for feature in range(2):
        own = references.windows[:, :, feature].astype(np.float64)
        if form == "change":
            own = np.diff(own, axis=1)
        if form != "course":
            own = own / np.sqrt(np.mean(own**2, axis=1, keepdims=True) + (0.1 if form == "shape" else 0.03) ** 2)
        own = np.rint(own * GRID) / GRID
        for n, this in enumerate(own):
            others = [np.mean((this - other) ** 2) for other, close in zip(own, near[n], strict=True) if not close]
            assert found[n, feature] == pytest.approx(min(others), rel=1e-12)


@given(st.integers(0, 10_000))
def test_how_badly_a_window_is_reconstructed_is_told_by_the_window_of_the_network_that_holds_it_best(seed):
    rng = np.random.default_rng(seed)
    scaled = rng.normal(size=(200, 2)).astype(np.float32)
    scaled[rng.random(scaled.shape) < 0.05] = np.nan
    windows, taken = windows_of(scaled), rng.integers(0, 200 - SIZES[0], 5)
    found = windows.errors(taken, SIZES[0], windows.starts, to_nothing)
    for n, start in enumerate(taken.tolist()):
        best = min(windows.starts.tolist(), key=lambda at: abs(at + WINDOW // 2 - start - SIZES[0] // 2))
        rows = [row for row in range(start, start + SIZES[0]) if best <= row < best + WINDOW]
        known = [feature for feature in (0, 1) if np.isnan(scaled[best : best + WINDOW, feature]).mean() <= 0.2]
        means = [np.nanmean(scaled[rows, feature].astype(np.float64) ** 2) for feature in known]
        assert found[n] == pytest.approx(np.mean(np.sqrt(means)) ** 2, rel=1e-6)


@pytest.fixture(scope="module")
def odd_history():
    """A history of which a stretch is like nothing else."""
    series = make_series(n=900, spike=None)
    series.values[300:330] += 30 * np.cos(np.arange(30)[:, None] ** 2)
    return series


@pytest.fixture(scope="module")
def detectors(odd_history):
    options = TINY | {"window_size": 32, "nearest_windows": 200, "epochs": 8, "pooling": 1, "penalty": "none"}
    configs = {choice: DetectorConfig.from_settings(options | {"set_aside": choice}) for choice in ("auto", "none")}
    ready = Ready.of(configs["auto"], odd_history)
    trained = train_network(ready.config, ready.split, ready.scaled)
    return {choice: Detector.of_bundle(*measured(replace(ready, config=config), trained)) for choice, config in configs.items()}


def test_rows_that_are_set_aside_set_no_threshold_and_a_note_says_which_they_are(detectors, odd_history):
    bundle, all_of_it = detectors["auto"].bundle_, detectors["none"].bundle_
    [[first, last]] = bundle.training["set_aside"]
    aside = (np.datetime64(first[:-1]) <= odd_history.times.astype("M8[us]")) & (
        odd_history.times.astype("M8[us]") <= np.datetime64(last[:-1])
    )
    assert aside[305:325].all() and not aside[:250].any() and not aside[380:].any()
    for name in AGGREGATIONS:
        unknown = np.isnan(all_of_it.calibration_scores[name])
        assert unknown.sum() < 100
        assert np.array_equal(np.isnan(bundle.calibration_scores[name]), unknown | aside)
    assert bundle.thresholds["combined"].value < all_of_it.thresholds["combined"].value
    assert (
        f"Set aside: {aside.sum()} rows that are unlike all others, from {first} to {last}, are no example of what is "
        "normal. If they are, there will be false alarms where they come again; use --set-aside none."
    ) in bundle.training["notes"]
    assert "set_aside" not in all_of_it.training


def test_the_anomaly_of_the_history_is_told_and_another_like_it_too(detectors, odd_history):
    again = make_series(n=900, seed=5, spike=None)
    again.values[500:530] = odd_history.values[300:330]
    for series, rows in ((odd_history, slice(300, 330)), (again, slice(500, 530))):
        told, blind = (
            detectors[choice].score(series).score / detectors[choice].thresholds_["combined"].value for choice in ("auto", "none")
        )
        assert told[rows].max() > 1
        assert told[rows].max() > 2 * blind[rows].max()


def test_the_file_says_it_and_old_files_say_nothing(detectors):
    bundle = detectors["auto"].bundle_
    again = from_bytes(to_bytes(bundle))
    assert again.training == bundle.training and again.config.windows.set_aside == "auto"
    old = from_bytes(to_bytes(detectors["none"].bundle_))
    assert b'"set_aside"' not in to_bytes(old) and old.config.windows.set_aside == "none"


@pytest.mark.parametrize(
    "stretches",
    [[], "x", None, [["0"]], [["0", "1", "2"]], [["0", "now"]], [["0", 1]], [["0", "\x1b[2J"]], {"0": "1"}, [["0", "1"]] * 4_097],
)
def test_forged_stretches_are_refused(stretches):
    content = to_bytes(made_bundle(training=made_bundle().training | {"set_aside": stretches}))
    with pytest.raises(RefusedError):
        from_bytes(content)


def test_the_command_says_what_it_sets_aside_and_the_remedy_exists(odd_history, tmp_path):
    to_csv(odd_history, tmp_path / "in.csv")
    options = ["--window-size", "32", "--pooling", "1", "--nearest-windows", "200", "--seed", "7"]
    short = ["--units", "4", "--epochs", "1", "--steps-per-epoch", "2", "--penalty", "none"]
    run = CliRunner().invoke(cli, ["train", str(tmp_path / "in.csv"), "--model", str(tmp_path / "m.anomaly"), *options, *short])
    assert run.exit_code == 0
    assert "Set aside: " in run.stderr
    assert "--set-aside" in {name for option in cli.commands["train"].params for name in option.opts}
