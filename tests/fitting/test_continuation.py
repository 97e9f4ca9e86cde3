"""Trainings that go on from a detector: what is taken over, what is refused, and what is said of the scores."""

import hashlib
import json
from dataclasses import fields, replace

import numpy as np
import pytest
from click.testing import CliRunner
from commands import here
from conftest import TINY, make_series, to_csv
from made_bundles import made_bundle
from scipy.stats import spearmanr

from anomaly import ConfigError, DataError, Detector
from anomaly.bundle.container import RefusedError, file_sha256
from anomaly.bundle.file import from_bytes, read_bundle, to_bytes, write_bundle
from anomaly.bundle.header import MOST_ANCESTORS, Ancestry
from anomaly.cli import cli
from anomaly.config import BUDGETS, DetectorConfig, ScoringConfig
from anomaly.detector.comparison import Moved, Spread, compare, held_out_rows
from anomaly.detector.dismissing import with_dismissal
from anomaly.fitting.cleaned import fingerprint_of
from anomaly.fitting.continuation import Start, continued_settings
from anomaly.fitting.ready import Ready
from anomaly.report.detector_text import bundle_text
from anomaly.report.page import page_html
from anomaly.scoring.scorer import score_series

QUICK = {"epochs": 2, "steps_per_epoch": 4, "penalty": "none"}
LATER = make_series(700, seed=1, spike=None)[400:]


def gone_on(old, series=LATER, *, refit_scaler=False, **changes):
    """Return a detector that goes on from another one."""
    fit = {name: changes.pop(name) for name in ("checkpoint", "checkpoint_seconds", "resume", "on_step") if name in changes}
    settings = continued_settings(old.bundle_, QUICK | changes)
    return Detector(**settings).fit(series, start_from=old, refit_scaler=refit_scaler, **fit)


@pytest.fixture(scope="module")
def new(detector):
    """A detector that went on from the tiny one; do not change it."""
    return gone_on(detector)


# Rows that were dismissed


def test_windows_of_dismissed_rows_are_trained_on_and_nothing_else_of_them(detector, series):
    bundle = with_dismissal(detector, series, (418, 430), keep_rows=True)
    config = DetectorConfig.from_settings(continued_settings(bundle, QUICK))
    without, found = (Ready.of(config, LATER[100:], Start(old)) for old in (detector.bundle_, bundle))
    n, size, stride = len(without.scaled), found.split.window_size, found.split.stride
    assert found.n_dismissed == len(range(0, 12 + 2 * (size - 1) - size + 1, stride)) > 0
    added = found.split.train_starts[len(without.split.train_starts) :]
    for number, start in enumerate(added):
        rows = slice(418 - (size - 1) + number * stride, 418 - (size - 1) + number * stride + size)
        np.testing.assert_array_equal(found.scaled[start : start + size], detector.bundle_.scaler.transform(series.values[rows])[0])
        np.testing.assert_array_equal(found.clock[start : start + size], series.times[rows])
    np.testing.assert_array_equal(found.scaled[:n], without.scaled)
    np.testing.assert_array_equal(found.split.validation_starts, without.split.validation_starts)
    assert (found.fingerprint, found.cut) == (without.fingerprint, without.cut)


def test_dismissed_rows_that_are_among_the_new_ones_are_taken_from_there(detector, series):
    bundle = with_dismissal(detector, series, (418, 430), keep_rows=True)
    config = DetectorConfig.from_settings(continued_settings(bundle, QUICK))
    assert Ready.of(config, series, Start(bundle)).n_dismissed == 0


def test_a_training_says_how_many_windows_hold_dismissed_rows(detector, series, tmp_path):
    told, newer = tmp_path / "told.anomaly", tmp_path / "newer.anomaly"
    write_bundle(told, with_dismissal(detector, series, (418, 430), keep_rows=True))
    data = to_csv(LATER[100:], tmp_path / "later.csv")
    result = CliRunner().invoke(
        cli, ["train", str(data), "--model", str(newer), "--from", str(told), "--epochs", "1", "--steps-per-epoch", "1"]
    )
    assert result.exit_code == 0, result.stderr
    n = read_bundle(newer).training["n_dismissed_windows"]
    assert f"Of the windows {n} hold rows that were dismissed." in result.stderr


# The network


def test_on_the_same_rows_the_loss_begins_where_it_was_and_never_ends_higher(detector, series):
    seen = []
    again = gone_on(detector, series[:400], on_step=seen.append)
    assert seen[0].validation_loss == again.bundle_.ancestry.held_out_loss
    assert again.bundle_.ancestry.held_out_loss == pytest.approx(detector.bundle_.held_out_loss, rel=1e-5)
    assert again.bundle_.held_out_loss <= again.bundle_.ancestry.held_out_loss


def test_the_old_weights_stay_where_no_epoch_is_better(detector, tmp_path):
    same = gone_on(detector, learning_rate=0.5, clip_norm=1e6)
    assert same.bundle_.training["best_epoch"] == 0
    assert min(same.bundle_.history["validation_loss"]) > same.bundle_.ancestry.held_out_loss == same.bundle_.held_out_loss
    for name, array in detector.bundle_.weights.items():
        np.testing.assert_array_equal(same.bundle_.weights[name], array)
    same.save(tmp_path / "same.anomaly")
    loaded = Detector.load(tmp_path / "same.anomaly")
    np.testing.assert_array_equal(loaded.score(LATER).score, same.score(LATER).score)
    assert "none of 2 epochs was better than the weights it went on from" in bundle_text(loaded.bundle_, "text")
    scores = loaded.score(LATER)
    page = page_html(LATER, scores, loaded.detect(scores), loaded.bundle_, title="t", explanations={})
    assert "the detector it went on from, as none of 2 epochs was better" in page


def test_an_epoch_that_is_better_is_taken(detector, new):
    assert new.bundle_.training["best_epoch"] > 0
    assert new.bundle_.held_out_loss == min(new.bundle_.history["validation_loss"]) < new.bundle_.ancestry.held_out_loss
    assert any((array != detector.bundle_.weights[name]).any() for name, array in new.bundle_.weights.items())


def test_the_scaler_is_kept_unless_it_is_to_be_fitted_anew(detector, new):
    moved = replace(LATER, values=2 * LATER.values)
    np.testing.assert_array_equal(new.bundle_.scaler.center, detector.bundle_.scaler.center)
    refitted = gone_on(detector, moved, refit_scaler=True).bundle_
    np.testing.assert_allclose(refitted.scaler.center, moved.values[:240].mean(axis=0))
    np.testing.assert_allclose(refitted.scaler.scale, moved.values[:240].std(axis=0))
    assert new.bundle_.ancestry.scaler_kept and not refitted.ancestry.scaler_kept


def test_units_and_thresholds_are_those_of_the_new_rows(detector, new):
    assert (new.bundle_.error_units.window != detector.bundle_.error_units.window).all()
    assert len(new.bundle_.calibration_times) == 300 and new.bundle_.training["n_held_out_rows"] == 60
    assert new.thresholds_["combined"] != detector.thresholds_["combined"]
    assert new.bundle_.fingerprint == fingerprint_of(LATER)
    np.testing.assert_array_equal(new.bundle_.value_range, [LATER.values.min(0), LATER.values.max(0)])


def test_a_detector_from_a_file_goes_on_to_the_very_same_whatever_the_order_of_the_columns(bundle_path, new):
    assert (new.window_size_, new.columns_) == (12, ("s1", "s2"))
    swapped = replace(LATER, values=LATER.values[:, ::-1].copy(), columns=("s2", "s1"))
    assert to_bytes(gone_on(Detector.load(bundle_path), swapped).bundle_) == to_bytes(new.bundle_)


class StopError(Exception):
    """Ends a training."""


def test_an_interrupted_training_goes_on_to_the_very_same(detector, new, tmp_path):
    def stop(progress):
        if (progress.epoch, progress.step) == (2, 1):
            raise StopError

    kept = {"checkpoint": tmp_path / "c", "checkpoint_seconds": 0.0}
    with pytest.raises(StopError):
        gone_on(detector, on_step=stop, **kept)
    with pytest.raises(ConfigError, match=r"Received: another refit_scaler "):
        gone_on(detector, refit_scaler=True, resume=True, **kept)
    with pytest.raises(ConfigError, match=r"Received: another start_from "):
        gone_on(new, resume=True, **kept)
    with pytest.raises(ConfigError, match=r"Received: another refit_scaler, start_from "):
        Detector(**continued_settings(detector.bundle_, QUICK)).fit(LATER, resume=True, **kept)
    seen = []
    assert to_bytes(gone_on(detector, resume=True, on_step=seen.append, **kept).bundle_) == to_bytes(new.bundle_)
    assert (seen[0].epoch, seen[0].step) == (2, 1), "the step that was not kept is taken again, and none before it"


# Refusals


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"units": 5}, r"`units` must be that of the detector to go on from, 4. Received: units=5."),
        ({"layers": 2}, r"`layers` must be .*, 1. Received: layers=2."),
        ({"bidirectional": True}, r"`bidirectional` must be .*, False. Received: bidirectional=True."),
        ({"code_size": 3}, r"`code_size` must be .*, None. Received: code_size=3."),
        ({"output_order": "forward"}, r"`output_order` must be .*, reversed. Received: output_order=forward."),
        ({"window_size": 16}, r"`window_size` must be .*, 12. Received: window_size=16."),
        ({"pooling": 2}, r"`pooling` must be .*, auto. Received: pooling=2. Leave it out, or train from scratch."),
        ({"timesteps": 6}, r"`timesteps` must be .*, 64. Received: timesteps=6. Leave it out, or train from scratch."),
    ],
)
def test_another_shape_is_refused(detector, change, told):
    with pytest.raises(ConfigError, match=told):
        gone_on(detector, **change)


def test_settings_that_shape_nothing_may_change(detector):
    changed = {
        "pooling": 1,
        "timesteps": 12,
        "dropout": 0.1,
        "learning_rate": 0.01,
        "stride": 3,
        "window_size": "auto",
        "merge_gap": 2,
    }
    config = DetectorConfig.from_settings(continued_settings(detector.bundle_, changed))
    sized = Start(detector.bundle_).sized(config)
    assert sized.windows.window_size == 12 and config.windows.window_size == "auto"
    assert sized == replace(config, windows=sized.windows)


def test_one_alarm_budget_takes_the_place_of_the_other():
    settings = continued_settings(made_bundle(), {"alarms_per_1000_rows": 3})
    assert (settings["alarms_per_day"], settings["alarms_per_1000_rows"]) == ("auto", 3)
    assert continued_settings(made_bundle(), {})["units"] == made_bundle().config.network.units


@pytest.mark.parametrize("given", [{"alarms_per_day": "auto"}, *({name: 3.0} for name in BUDGETS)], ids=str)
@pytest.mark.parametrize("old", [{}, *({name: 2.0} for name in BUDGETS)], ids=str)
def test_whatever_the_old_alarm_budget_the_given_one_takes_its_place(old, given):
    bundle = made_bundle()
    bundle = replace(bundle, config=DetectorConfig.from_settings(bundle.config.to_settings() | old))
    config = DetectorConfig.from_settings(continued_settings(bundle, given))
    assert {name: getattr(config.scoring, name) for name in BUDGETS} == BUDGETS | given


def test_every_alarm_budget_is_in_the_table():
    names = {item.name for item in fields(ScoringConfig) if item.name.startswith("alarms_per")}
    assert {name: getattr(ScoringConfig, name) for name in names} == BUDGETS


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (lambda x: np.column_stack([x[:, 0], x[:, 1] * 1e6]), "'s2'"),
        (lambda x: x * 1e6, "'s1', 's2'"),
    ],
)
def test_values_that_the_old_scaler_does_not_fit_are_refused(detector, values, names):
    with pytest.raises(DataError, match=f"within 10,000 of the old sigmas.* Received: others in {names} .* refit_scaler"):
        gone_on(detector, replace(LATER, values=values(LATER.values)))


def test_a_constant_column_that_moves_needs_a_new_scaler():
    bundle = made_bundle()  # the second column is constant
    values = np.full((50, 2), bundle.scaler.center)
    values[3, 1] = np.nan
    assert Start(bundle).scaler(values, values[:0], "new.csv", 8) is bundle.scaler
    values[4, 1] += 0.1
    with pytest.raises(DataError, match=r"a column that was constant must be so still. Received: others in 'Drück' \(new.csv\)"):
        Start(bundle).scaler(values, values[:0], "new.csv", 8)


def test_other_columns_another_pace_and_a_scaler_without_a_start_are_refused(detector):
    with pytest.raises(DataError, match="Received: no 's2' among 's1'"):
        gone_on(detector, replace(LATER, values=LATER.values[:, :1], columns=("s1",)))
    with pytest.raises(DataError, match="Rows must come about as often as in training, every 3600 s"):
        gone_on(detector, replace(LATER, times=LATER.times * 3))
    with pytest.raises(ConfigError, match="`refit_scaler` must go with `start_from`"):
        Detector(**QUICK).fit(LATER, refit_scaler=True)


# Ancestry


def test_a_detector_names_its_ancestors(detector, bundle_path, new):
    assert new.bundle_.ancestry.sha256 == (file_sha256(bundle_path),)
    assert hashlib.sha256(bundle_path.read_bytes()).hexdigest() == Start(detector.bundle_).sha256
    third = replace(new.bundle_, ancestry=Start(new.bundle_).ancestry(0.5))
    assert third.ancestry.sha256 == (Start(new.bundle_).sha256, file_sha256(bundle_path))
    assert from_bytes(to_bytes(third)).ancestry == third.ancestry
    text = bundle_text(third, "text")
    assert f"continued from            sha256 {Start(new.bundle_).sha256[:16]}, with 1 before it; scaler kept; its held-out" in text
    assert json.loads(bundle_text(third, "json"))["ancestry"]["sha256"] == list(third.ancestry.sha256)
    assert detector.bundle_.ancestry is None and "continued from" not in bundle_text(detector.bundle_, "text")


def test_old_ancestors_are_forgotten():
    bundle = made_bundle(ancestry=Ancestry(tuple(f"{i:064x}" for i in range(MOST_ANCESTORS)), True, 0.5))
    found = Start(bundle).ancestry(0.25)
    assert found.sha256 == (Start(bundle).sha256, *bundle.ancestry.sha256[:-1])
    assert from_bytes(to_bytes(replace(bundle, ancestry=found))).ancestry == found


@pytest.mark.parametrize(
    "ancestry",
    [
        Ancestry((), True, 0.5),
        Ancestry(("ab" * 32,) * (MOST_ANCESTORS + 1), True, 0.5),
        Ancestry(("AB" * 32,), True, 0.5),
        Ancestry(("../../x",), True, 0.5),
        Ancestry(("ab" * 32,), 1, 0.5),
        Ancestry(("ab" * 32,), True, -0.5),
        Ancestry(("ab" * 32,), True, 1),
    ],
)
def test_an_ancestry_that_is_none_is_refused(ancestry):
    with pytest.raises(RefusedError, match="an incomplete or contradictory description"):
        from_bytes(to_bytes(made_bundle(ancestry=ancestry)))


def test_only_a_detector_that_went_on_may_have_no_best_epoch():
    training = made_bundle().training | {"best_epoch": 0}
    kept = made_bundle(training=training, ancestry=Ancestry(("ab" * 32,), False, 0.5))
    assert from_bytes(to_bytes(kept)).held_out_loss == 0.5
    with pytest.raises(RefusedError, match="best_epoch=0"):
        from_bytes(to_bytes(made_bundle(training=training)))


# How scores moved


def test_numbers_of_moved_scores_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    old, new = rng.lognormal(size=(2, 200)).round(1)
    old[[3, 7]], new[[7, 9]], old[11] = np.nan, np.nan, 0.0
    pairs = [(a, b) for a, b in zip(old, new, strict=True) if not (np.isnan(a) or np.isnan(b))]
    found = Moved.between(old, new, 2.0, 1.5)
    assert found.rows == len(pairs) == 197
    assert found.ratio == np.median([b / a for a, b in pairs if a > 0])
    assert found.newly_flagged == sum(b > 1.5 and not a > 2.0 for a, b in pairs)
    assert found.no_longer_flagged == sum(a > 2.0 and not b > 1.5 for a, b in pairs)
    assert found.rank_correlation == pytest.approx(spearmanr(*zip(*pairs, strict=True)).statistic)


def test_rows_that_say_nothing_give_no_numbers():
    nothing, same = np.full(4, np.nan), np.ones(4)
    assert Moved.between(nothing, same, 1.0, 1.0) == Moved(0, None, None, 0, 0)
    assert Moved.between(same, np.arange(4.0), 1.0, 1.0).rank_correlation is None
    assert Spread.of(nothing, 2.0) == Spread(0, None, None, 2.0, None)
    assert "times -" in str(Moved.between(nothing, same, 1.0, 1.0))


def test_a_spread_is_that_of_the_scores_there_are():
    scores = np.append(np.arange(101.0), np.nan)
    assert Spread.of(scores, 89.0) == Spread(101, 50.0, 99.0, 89.0, pytest.approx(11 / 101))


def test_the_comparison_is_that_of_the_rows_scored_by_both(detector, new, series):
    rows = held_out_rows(detector.bundle_, series)
    found = compare(detector, new, LATER, rows)
    cuts = [one.thresholds_["combined"].value for one in (detector, new)]

    def scored(one, *parts):
        return np.concatenate([score_series(one.row_scorer("combined"), part.times, part.values)[0] for part in parts])

    before = scored(detector, LATER[:240], LATER[240:])
    after = new.bundle_.calibration_scores["combined"]  # its own windows are not compared with themselves
    np.testing.assert_array_equal(after[240:], scored(new, LATER[240:]))
    assert found.before == Spread.of(before, cuts[0]) and found.after == Spread.of(after, cuts[1])
    assert found.new_rows == Moved.between(before, after, *cuts)
    assert found.old_held_out == Spread.of(scored(detector, series[320:400]), cuts[0])
    assert found.new_held_out == Spread.of(scored(new, LATER[240:]), cuts[1])
    assert found.old_held_out_after == Spread.of(scored(new, series[320:400]), cuts[1])
    assert found.old_rows == Moved.between(scored(detector, series[320:400]), scored(new, series[320:400]), *cuts)
    assert compare(detector, new, LATER).old_rows is None


def test_a_threshold_that_was_not_taken_over_is_named(detector, new, bundle_path):
    cut = Detector.load(bundle_path).set_threshold(3.0)
    assert "The old threshold (fixed: given by hand) was not taken over" in str(compare(cut, new, LATER))
    assert compare(detector, new, LATER).old_threshold is None


def test_old_rows_must_be_those_of_the_old_training(detector, series):
    held_out = held_out_rows(detector.bundle_, series)
    np.testing.assert_array_equal(held_out.values, series[320:400].values)
    for other in (series[1:], series[:399], replace(series, values=series.values + 1e-9)):
        with pytest.raises(DataError, match=r"must begin with the 400 rows .* Received: other rows \(made\)"):
            held_out_rows(detector.bundle_, other)


# The command


@pytest.fixture(scope="module")
def folder(tmp_path_factory, series, bundle_path):
    folder = tmp_path_factory.mktemp("continuation")
    to_csv(LATER, folder / "later.csv")
    to_csv(series, folder / "old.csv")
    (folder / "old.anomaly").write_bytes(bundle_path.read_bytes())
    return folder


def arguments(folder, *more, model="new.anomaly"):
    return ["train", str(folder / "later.csv"), "--model", str(folder / model), *map(str, more)]


def test_the_command_goes_on_and_says_how_scores_moved(folder, new):
    quick = ["--epochs", "2", "--steps-per-epoch", "4", "--penalty", "none", "--expect-sha256", file_sha256(folder / "old.anomaly")]
    begun = arguments(
        folder, "--from", folder / "old.anomaly", "--old-data", folder / "old.csv", "--report-json", folder / "r.json"
    )
    ran = here(*begun, *quick)
    found, told = read_bundle(folder / "new.anomaly"), json.loads((folder / "r.json").read_text())["continued"]
    assert found.config == new.bundle_.config and found.config.training.seed == TINY["seed"], "all else is the old detector's"
    assert found.ancestry.sha256 == (file_sha256(folder / "old.anomaly"),) == tuple(told["sha256"])
    assert found.held_out_loss == pytest.approx(new.bundle_.held_out_loss, rel=1e-5)
    compared = compare(Detector.load(folder / "old.anomaly"), Detector.load(folder / "new.anomaly"), LATER, make_series()[320:400])
    assert told["scores"] == json.loads(json.dumps(compared.to_dict()))
    assert f"Held-out loss on the new rows: {told['held_out_loss']:.4g} before, {found.held_out_loss:.4g} after.\n" in ran.stderr
    assert f"{compared}\n" in ran.stderr
    assert not (folder / "new.anomaly.checkpoint").exists()


@pytest.mark.parametrize(
    ("more", "code", "told"),
    [
        (["--units", "5"], 2, "`units` must be that of the detector to go on from, 4. Received: units=5."),
        (["--window-size", "16"], 2, "`window_size` must be that of the detector to go on from, 12. Received: window_size=16."),
        (["--value-columns", "s1"], 2, "--value-columns must be that of the detector to go on from, 's1', 's2'. Received: 's1'."),
        (["--time-column", "none"], 2, "--time-column must be that of the detector to go on from, timestamp. Received: none."),
        (["--old-data", "{folder}/later.csv"], 3, "The old data must begin with the 400 rows"),
        (["--old-data", "{folder}/none.anomaly"], 2, "does not exist"),
        (["--expect-sha256", "0" * 64], 4, "must be the one that was pinned"),
        (["--expect-sha256", "0"], 2, "`expect_sha256` must be 64 hexadecimal digits"),
    ],
)
def test_the_command_refuses_what_contradicts_the_old_detector(folder, more, code, told):
    more = [part.format(folder=folder) for part in more]
    found = CliRunner().invoke(cli, arguments(folder, "--from", folder / "old.anomaly", *more, model="none.anomaly"))
    assert found.exit_code == code and told in found.stderr
    assert not (folder / "none.anomaly").exists()


@pytest.mark.parametrize("more", [["--refit-scaler"], ["--old-data", "{folder}/old.csv"], ["--expect-sha256", "0" * 64]])
def test_the_command_refuses_what_means_nothing_from_scratch(folder, more):
    found = CliRunner().invoke(cli, arguments(folder, *(part.format(folder=folder) for part in more)))
    assert found.exit_code == 2 and f"{more[0]} must go with --from. Received: {more[0]} without it." in found.stderr


def test_the_old_detector_is_not_overwritten(folder):
    found = CliRunner().invoke(cli, arguments(folder, "--from", folder / "old.anomaly", model="old.anomaly"))
    assert found.exit_code == 2 and "Files must differ." in found.stderr


def test_a_config_file_for_training_serves_a_training_that_goes_on(folder, monkeypatch):
    (folder / "c.toml").write_text(f'units = 4\nepochs = 1\nsteps_per_epoch = 2\nstart_from = "{folder / "old.anomaly"}"\n')
    monkeypatch.setenv("ANOMALY_VALUE_COLUMNS", "s2,s1")
    found = CliRunner().invoke(cli, arguments(folder, "--config", folder / "c.toml", "--quiet", model="third.anomaly"))
    assert (found.exit_code, found.stderr) == (0, "")
    made = read_bundle(folder / "third.anomaly")
    assert made.columns == ("s1", "s2") and made.training["n_epochs"] == 1 and made.ancestry
