"""The detector as a person in a notebook uses it."""

import io
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import SPIKE, TINY, make_series
from sklearn.base import clone

import anomaly
from anomaly import Detector, read_csv
from anomaly.config import AGGREGATIONS, DEFAULTS, SETTINGS, DetectorConfig
from anomaly.errors import BundleError, ConfigError, DataError, NotFittedError, StorageError
from anomaly.series import TimeSeries

QUICK = TINY | {"epochs": 1, "steps_per_epoch": 2, "penalty": "none"}


def test_a_spike_has_the_top_score_whatever_the_aggregation(detector, series):
    for aggregation in AGGREGATIONS:
        peak = int(np.nanargmax(detector.score(series, aggregation=aggregation).score))
        assert SPIKE.start <= peak < SPIKE.stop + detector.window_size_, aggregation


def test_detect_finds_the_spike_and_the_feature_that_drove_it(detector, series):
    events = detector.detect(series)
    worst = max(events, key=lambda event: event.severity)
    assert worst.start < SPIKE.stop and worst.stop > SPIKE.start
    assert worst.shares[0][0] == "s1" and worst.shares[0][1] > 0.6


def test_the_notebook_lines_of_the_readme_work(csv_path, tmp_path):
    series = read_csv(csv_path, label_column="label")
    detector = Detector(window_size="auto", penalty="l2", seed=0, epochs=1, units=4, steps_per_epoch=2)
    assert detector.fit(series.before("2022-05-01")) is detector
    scores, events = detector.score(series), detector.detect(series)
    detector.save(tmp_path / "d.anomaly")
    loaded = Detector.load(tmp_path / "d.anomaly")
    np.testing.assert_array_equal(loaded.score(series).score, scores.score)
    assert loaded.detect(series) == events


def test_constructor_stores_and_checks_nothing_until_fit(series):
    detector = Detector(units=-1)
    assert detector.units == -1
    with pytest.raises(ConfigError, match=r"`units` must be an integer at least 1 and at most 4,096. Received: units=-1"):
        detector.fit(series)


def test_parameters_are_the_settings_with_their_defaults():
    assert Detector().get_params() == DEFAULTS | {"network": None}


def test_scikit_learn_can_clone_it():
    assert clone(Detector(units=3, penalty="l1")).get_params() == Detector(units=3, penalty="l1").get_params()


def test_set_params_changes_and_refuses_unknown_names():
    assert Detector().set_params(units=3).units == 3
    with pytest.raises(ConfigError, match=r"Did you mean 'units'"):
        Detector().set_params(unit=3)


def test_repr_shows_what_differs_from_the_defaults():
    assert repr(Detector(units=3)) == "Detector(units=3)"


@pytest.mark.parametrize("call", [lambda d: d.score(np.zeros((50, 2))), lambda d: d.save("x"), lambda d: d.window_size_])
def test_methods_before_fit_say_so(call):
    with pytest.raises(NotFittedError, match=r"must be fitted first"):
        call(Detector())


def test_same_seed_gives_the_same_bundle_byte_for_byte(series, tmp_path):
    for name in ("a", "b"):
        Detector(**QUICK).fit(series[:200]).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_seed_that_was_drawn_is_kept_and_repeats_the_training(series):
    first = Detector(**QUICK | {"seed": None}).fit(series[:200])
    again = Detector(**QUICK | {"seed": first.bundle_.seed}).fit(series[:200])
    np.testing.assert_array_equal(first.score(series).score, again.score(series).score)


def test_labels_and_rows_after_the_training_part_change_nothing(series):
    relabelled = TimeSeries(series.times, series.values, series.columns, labels=1 - series.labels, time_column="timestamp")
    first, second = (Detector(**QUICK).fit(s[:200]) for s in (series, relabelled))
    for name, array in first.bundle_.weights.items():
        np.testing.assert_array_equal(array, second.bundle_.weights[name])


def test_scaler_and_training_windows_do_not_see_the_held_out_rows(series):
    changed = TimeSeries(series.times, series.values.copy(), series.columns, time_column="timestamp")
    changed.values[320:400] += 3
    first, second = (Detector(**QUICK | {"epochs": 1}).fit(s[:400]) for s in (series, changed))
    np.testing.assert_array_equal(first.bundle_.scaler.center, second.bundle_.scaler.center)
    for name, array in first.bundle_.weights.items():
        np.testing.assert_array_equal(array, second.bundle_.weights[name])
    assert first.bundle_.training["n_held_out_rows"] == 80
    assert (first.calibration_scores_["trailing"] != second.calibration_scores_["trailing"]).any()


def test_calibration_scores_are_those_of_the_held_out_rows_alone(detector, series):
    held_out = series[320:400]
    for aggregation in AGGREGATIONS:
        expected = detector.score(held_out, aggregation=aggregation).score
        np.testing.assert_array_equal(detector.calibration_scores_[aggregation], expected)


def test_calibrate_changes_the_thresholds_and_not_the_scores(series, bundle_path):
    detector = Detector.load(bundle_path)
    before, cut = detector.score(series), detector.thresholds_["combined"].value
    detector.calibrate(alarms_per_1000_rows=40)
    assert detector.thresholds_["combined"].value < cut
    np.testing.assert_array_equal(detector.score(series).score, before.score)
    assert detector.score(series).flags.sum() > before.flags.sum()


def test_scores_of_the_training_rows_are_kept_beside_the_held_out_ones(detector, series):
    assert detector.bundle_.training["n_calibration_rows"] == 400
    for aggregation in AGGREGATIONS:
        # No window lies on both sides of the cut.
        kept, found = detector.bundle_.calibration_scores[aggregation], detector.score(series[320:400], aggregation=aggregation)
        np.testing.assert_array_equal(kept[320:400], found.score)
        # Beside the training rows their own windows are not compared with themselves.
        seen = detector.score(series[:320], aggregation=aggregation).score
        assert (np.isnan(kept[:320]) == np.isnan(seen)).all() and (kept[:320] >= seen)[~np.isnan(seen)].mean() > 0.99


def test_scores_of_a_long_history_are_kept_of_its_last_rows_only(series, monkeypatch):
    monkeypatch.setattr("anomaly.fitting.measuring.MOST_TRAINING_SCORES", 50)
    bundle = Detector(**QUICK | {"epochs": 1}).fit(series[:400]).bundle_
    assert len(bundle.calibration_times) == bundle.training["n_calibration_rows"] == 130
    np.testing.assert_array_equal(bundle.calibration_times, series.times[270:400])


def test_calibrate_refuses_what_is_no_scoring_setting(bundle_path):
    with pytest.raises(ConfigError, match=r"Unknown scoring setting\. Received: 'alarm_rates'\. Did you mean 'alarm_rate'"):
        Detector.load(bundle_path).calibrate(alarm_rates=0.1)


def test_a_refused_calibration_changes_nothing(bundle_path):
    detector = Detector.load(bundle_path)
    before = detector.bundle_
    with pytest.raises(ConfigError):
        detector.calibrate(alarms_per_day=-1)
    assert detector.bundle_ is before


def test_labels_set_the_threshold_of_every_aggregation(bundle_path, series):
    detector = Detector.load(bundle_path).calibrate_on_labels(series)
    for aggregation in AGGREGATIONS:
        (event,) = detector.detect(series, aggregation=aggregation)
        assert event.start < 426 and event.stop > 420
        assert detector.thresholds_[aggregation].method == "f_beta"


def test_discoveries_set_the_threshold_without_labels(bundle_path, series):
    detector = Detector.load(bundle_path).calibrate_on_discoveries(series, rate=0.3)
    threshold = detector.thresholds_["combined"]
    assert threshold.method == "discoveries"
    assert detector.score(series).flags[420:426].all()


def test_data_in_which_nothing_stands_out_set_no_threshold(bundle_path, series):
    detector = Detector.load(bundle_path)
    before = detector.bundle_
    with pytest.raises(DataError, match="Some rows must stand out from the held-out ones"):
        detector.calibrate_on_discoveries(series[320:400], rate=0.01)
    assert detector.bundle_ is before


def test_p_values_are_small_where_scores_are_high(detector, series):
    scores = detector.score(series)
    p = detector.p_values(scores)
    assert p[420] == pytest.approx(1 / 8)  # seven held-out scores a window apart
    assert np.nanmin(p) == p[420] and np.nanmax(p) <= 1


def test_a_detector_whose_network_does_something_else_here_does_not_score(bundle_path, series):
    detector = Detector.load(bundle_path)
    detector.bundle_ = replace(detector.bundle_, probe=tuple(2 * error for error in detector.bundle_.probe))
    for _ in range(2):  # a second call must not slip by
        with pytest.raises(BundleError, match="The network must do here what it did where it was trained"):
            detector.score(series)


def test_a_threshold_set_by_hand_is_saved(bundle_path, tmp_path):
    Detector.load(bundle_path).set_threshold(1.5, aggregation="trailing").save(tmp_path / "m")
    loaded = Detector.load(tmp_path / "m").thresholds_
    assert (loaded["trailing"].value, loaded["trailing"].method) == (1.5, "fixed")
    assert loaded["combined"] == Detector.load(bundle_path).thresholds_["combined"]


def test_a_threshold_set_by_hand_survives_a_change_of_the_event_rules(bundle_path):
    detector = Detector.load(bundle_path).set_threshold(1.5).calibrate(merge_gap=0, min_length=2)
    assert (detector.thresholds_["combined"].value, detector.thresholds_["combined"].method) == (1.5, "fixed")
    assert {cut.value for cut in detector.thresholds_.values()} == {1.5}  # live runs have another aggregation
    alone = Detector.load(bundle_path).set_threshold(1.5, aggregation="trailing")
    assert (alone.thresholds_["trailing"].value, alone.thresholds_["combined"].method) == (1.5, "alarm_budget")
    assert detector.calibrate(alarms_per_day=1).thresholds_["combined"].method == "alarm_budget"


def test_columns_are_matched_by_name_and_more_of_them_are_ignored(detector, series):
    frame = series.to_frame()
    shuffled = frame.assign(extra=1.0)[["s2", "extra", "s1"]]
    np.testing.assert_array_equal(detector.score(shuffled).score, detector.score(frame).score)


def test_missing_column_is_refused_by_name(detector, series):
    with pytest.raises(DataError, match=r"no 's2' among 's1'"):
        detector.score(series.to_frame()[["s1"]])


def test_array_without_times_can_be_fitted_and_scored():
    values = make_series(spike=None).values
    detector = Detector(**QUICK).fit(values[:300])
    assert detector.bundle_.time_column is None
    assert np.isfinite(detector.score(values).score).all()


def test_a_row_without_any_value_has_no_score_and_an_incomplete_one_has(series):
    frame = series.to_frame()
    frame.iloc[100] = np.nan
    frame.iloc[200, 1] = np.nan
    detector = Detector(**QUICK).fit(frame.iloc[:400])
    scores = detector.score(frame)
    assert detector.bundle_.training["n_incomplete_rows"] == 2
    assert np.flatnonzero(np.isnan(scores.score)).tolist() == [100]
    assert np.argwhere(np.isnan(scores.deviation)).tolist() == [[100, 0], [100, 1], [200, 1]]
    assert scores.to_frame()["status"].iloc[100] == "missing"


def test_no_window_spans_a_gap_in_training(series):
    kept = pd.concat([series.to_frame().iloc[:200], series.to_frame().iloc[210:400]])
    whole, cut = (Detector(**QUICK | {"stride": 1}).fit(frame) for frame in (series.to_frame().iloc[:390], kept))
    assert whole.bundle_.training["n_train_windows"] == 312 - 11
    assert cut.bundle_.training["n_train_windows"] == 312 - 2 * 11


def test_too_short_a_series_is_refused_with_the_numbers(series):
    with pytest.raises(
        DataError, match=r"`window_size` rows without a gap.*Received: window_size=12, and at most 8 such held-out rows of 40"
    ):
        Detector(**QUICK).fit(series[:40])


def test_automatic_window_is_cut_to_what_the_series_has_room_for(series):
    assert Detector(**QUICK | {"window_size": "auto"}).fit(series[:60]).window_size_ == 12


def test_infinite_training_value_is_refused_with_its_place(series):
    frame = series.to_frame()
    frame.iloc[7, 1] = np.inf
    with pytest.raises(DataError, match=r"must be finite, and within \S+ Received: inf in column 's2', row 7"):
        Detector(**QUICK).fit(frame)


def test_column_without_any_number_is_refused_by_name(series):
    with pytest.raises(DataError, match=r"nothing but missing values in 'empty'"):
        Detector(**QUICK).fit(series.to_frame().assign(empty=np.nan))


@pytest.mark.parametrize("direction", [(1.0,), (1.0, 0.0, 1.0), ((1.0, 0.0),) * 5])
def test_direction_of_another_shape_is_refused(series, direction):
    with pytest.raises(ConfigError, match=r"`direction` must have one number a feature \(2\), or 12 rows of them"):
        Detector(**QUICK | {"penalty": "directional", "direction": direction}).fit(series)


def test_scoring_another_sampling_step_is_refused(detector, series):
    slow = TimeSeries(series.times * 5, series.values, series.columns, time_column="timestamp")
    with pytest.raises(DataError, match=r"every 3600 s. Received: every 18000 s"):
        detector.score(slow)


def test_series_too_short_to_score_is_refused(detector, series):
    with pytest.raises(DataError, match=r"`window_size` rows \(12\).*Received: 11 rows without one"):
        detector.score(series[:11])
    assert np.isfinite(detector.score(series[:12]).score).all()


def test_unknown_aggregation_is_refused(detector, series):
    with pytest.raises(ConfigError, match=r"must be one of combined"):
        detector.score(series, aggregation="median")


def test_public_names_are_imported_on_first_use():
    code = "import sys, anomaly; print(sorted({'numpy', 'pandas', 'tensorflow'} & set(sys.modules))); anomaly.Detector"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
    assert anomaly.Detector is Detector
    with pytest.raises(AttributeError, match=r"no attribute 'detector_'"):
        _ = anomaly.detector_


def test_a_fitted_detector_can_be_copied_and_pickled(detector, series):
    import copy
    import pickle

    expected = detector.score(series).score
    for twin in (copy.deepcopy(detector), pickle.loads(pickle.dumps(detector))):
        np.testing.assert_array_equal(twin.score(series).score, expected)


def test_a_pandas_series_keeps_its_times(series):
    column = series.to_frame()["s1"]
    detector = Detector(**QUICK).fit(column[:400])
    assert detector.bundle_.time_column == "timestamp"
    assert detector.columns_ == ("s1",)


def test_rows_in_descending_order_are_sorted_to_train_and_refused_to_score(detector, series):
    frame = series.to_frame()
    with pytest.raises(DataError, match=r"Received: 499 of 500 rows behind later ones, .* Sort them: frame.sort_index\(\)"):
        detector.score(frame[::-1])
    trained = [Detector(**QUICK).fit(rows) for rows in (frame, frame[::-1])]
    assert trained[0].bundle_.fingerprint == trained[1].bundle_.fingerprint


def test_counted_rows_cannot_be_scored_by_a_detector_with_a_clock(detector, series):
    with pytest.raises(DataError, match=r"must have a time column, as in training. Received: rows that are counted"):
        detector.score(series.values)


@pytest.mark.parametrize("threshold", [float("nan"), float("inf"), 0.0])
def test_a_threshold_by_hand_must_be_a_cut(detector, series, threshold):
    with pytest.raises(ConfigError, match=r"A threshold must be a finite number of at least 1e-09"):
        detector.detect(series, threshold=threshold)


@pytest.mark.parametrize("value", [np.inf, 1e200])
def test_training_value_whose_square_overflows_is_refused(series, value):
    frame = series.to_frame()
    frame.iloc[7, 1] = value
    with pytest.raises(DataError, match=r"must be finite, and within 1e\+100. Received: \S+ in column 's2', row 7"):
        Detector(**QUICK).fit(frame)


@pytest.mark.parametrize("names", [("a", "a"), ("timestamp", "b"), ("", "b")])
def test_columns_that_could_not_be_told_apart_are_refused(series, names):
    frame = series.to_frame().set_axis(list(names), axis=1)
    with pytest.raises(DataError, match=r"a name of its own|must not be called like a column"):
        Detector(**QUICK).fit(frame)


@pytest.mark.parametrize("settings", [{"sigmas": 1.0}, {"alarm_rate": 0.1}, {"threshold_method": "mad", "alarms_per_day": 1}])
def test_a_calibration_refuses_what_says_nothing_to_its_method(bundle_path, settings):
    with pytest.raises(ConfigError, match="must go with the threshold method"):
        Detector.load(bundle_path).calibrate(**settings)


def test_another_method_forgets_what_the_one_before_was_asked_for(bundle_path):
    detector = Detector.load(bundle_path).calibrate(alarms_per_day=2).calibrate(threshold_method="k_sigma")
    assert (detector.alarms_per_day, detector.sigmas) == ("auto", 4.0)
    assert detector.calibrate(sigmas=3).thresholds_["combined"].asked == 3
    DetectorConfig.chosen({name: getattr(detector, name) for name in SETTINGS})  # so it can be trained anew


def test_a_training_refuses_what_says_nothing_to_its_method(detector):
    with pytest.raises(ConfigError, match="`sigmas` must go with the threshold method"):
        Detector(sigmas=3.0).fit(np.zeros((100, 1)))


UNTRAINED = {
    "notes_": lambda new: new.notes_,
    "network_": lambda new: new.network_,
    "history_": lambda new: new.history_,
    "offset_": lambda new: new.offset_,
}


@pytest.mark.parametrize("name", UNTRAINED)
def test_what_a_training_gives_is_not_there_before_it(name):
    with pytest.raises(NotFittedError, match="The detector must be fitted first"):
        UNTRAINED[name](Detector())


def test_arguments_of_another_kind_are_refused_in_a_sentence(detector, tmp_path):
    rows = np.zeros((30, 2))
    with pytest.raises(DataError, match="Scores must come from `score`. Received: ndarray."):
        detector.p_values(rows)
    with pytest.raises(ConfigError, match="`start_from` must be a trained Detector. Received: 'x.anomaly'. Load one"):
        Detector().fit(rows, start_from="x.anomaly")
    for path in (None, 3, io.BytesIO(), b"x"):
        for given in (detector.save, Detector.load):
            with pytest.raises(ConfigError, match="A file must be named by its path, text or a Path. Received: "):
                given(path)
    detector.save(tmp_path / "d.anomaly")
    with pytest.raises(ConfigError, match="`expect_sha256` must be 64 hexadecimal digits. Received: '3'."):
        Detector.load(tmp_path / "d.anomaly", expect_sha256=3)


def test_a_checkpoint_that_cannot_be_written_is_told_before_the_training(tmp_path):
    steps = []
    with pytest.raises(StorageError, match="its folder does not exist"):
        Detector(**TINY).fit(np.sin(np.arange(300) / 5), checkpoint=tmp_path / "no" / "x", on_step=steps.append)
    assert steps == []


def test_notes_name_arguments_and_no_options(detector):
    training = detector.bundle_.training | {"notes": ["Try a smaller --window-size, or --set-aside none."]}
    told = Detector.of_bundle(replace(detector.bundle_, training=training))
    assert told.notes_ == ("Try a smaller window_size, or set_aside none.",)
