"""Detectors that read columns, or the calendar, without judging them: what they find, keep, hand on and refuse."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import FIRST_TIME, HOUR, TINY

from anomaly import ConfigError, DataError, Detector, TimeSeries
from anomaly.bundle.container import RefusedError
from anomaly.bundle.export import keras_bytes, onnx_bytes
from anomaly.bundle.file import from_bytes, to_bytes
from anomaly.config import DetectorConfig
from anomaly.detector.comparison import held_out_rows
from anomaly.detector.dismissing import with_dismissal, without_dismissal
from anomaly.detector.first_rows import Teacher
from anomaly.notebook.stability import measure_stability
from anomaly.report.detector_text import bundle_text, context_text
from anomaly.report.pictures import plot_scores
from anomaly.scoring.row_scores import RowScores

CUT, N = 1_000, 1_500
# Rows in which y goes on as it did 700 rows before: normal by itself, and not what the load says.
APART = [slice(start, start + 40) for start in (1_100, 1_250, 1_400)]
SETTINGS = {
    "window_size": 12, "units": 8, "epochs": 4, "steps_per_epoch": 40, "learning_rate": 0.01, "penalty": "none",
    "nearest_windows": 20, "seed": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def driven():
    """Hourly rows of a load and of y, which follows it but for three stretches."""
    rng = np.random.default_rng(0)
    load = np.convolve(rng.normal(size=N + 11), np.ones(12) / 12**0.5, "valid")
    y = load + 0.1 * rng.normal(size=N)
    values = np.column_stack([load, y])
    for rows in APART:
        values[rows, 1] = y[rows.start - 700 : rows.stop - 700]
    times = FIRST_TIME + np.arange(N) * HOUR
    return TimeSeries(times, values, ("load", "y"), name="driven", time_column="time")


@pytest.fixture(scope="module")
def knowing(driven):
    """A detector of y that reads load and the time of day; do not change it."""
    return Detector(**SETTINGS, context_columns=("load",), calendar="day").fit(driven[:CUT])


def rank_of(scores):
    """Return the share of pairs of a row of `APART` and another one of which the first has the higher score."""
    apart = np.zeros(N, np.bool_)
    for rows in APART:
        apart[rows] = True
    score, apart = scores.score, apart[CUT:]
    return np.mean(score[apart][:, None] > score[~apart][None])


def test_what_no_longer_follows_its_context_is_found_by_what_reads_it_and_by_nothing_else(driven, knowing):
    alone = Detector(**SETTINGS).fit(driven[:CUT].of_columns(["y"]))
    by_network = [Detector.of_bundle(replace(found.bundle_, recipe=None)) for found in (knowing, alone)]
    with_load, without = (rank_of(found.score(driven[CUT:])) for found in by_network)
    assert with_load > 0.7
    assert without < 0.6


def test_all_that_is_said_is_of_what_is_judged(driven, knowing):
    scores, bundle = knowing.score(driven), knowing.bundle_
    assert (bundle.columns, bundle.judged_columns, knowing.columns_, scores.columns) == (("y", "load"), ("y",), ("y",), ("y",))
    assert {array.shape for array in (scores.by_feature, scores.deviation, scores.measured, scores.expected)} == {(N, 1)}
    np.testing.assert_array_equal(scores.measured[:, 0], driven.values[:, 1])
    assert {len(unit) for unit in bundle.error_units} == {1}
    assert bundle.recipe.odd.shape[2] == bundle.recipe.unit.shape[1] == bundle.references[0].windows.shape[2] == 1
    assert "load" not in repr(knowing) + str(bundle.training.get("notes"))
    assert context_text(bundle) == "load, the time of day"
    assert "1 feature" in bundle_text(bundle, "text").splitlines()[0]
    assert list(bundle.drift("combined").result().columns) == ["y", "load"]
    events = knowing.detect(scores, threshold=float(np.nanquantile(scores.score, 0.95)))
    assert {name for event in events for name, _ in event.shares} == {"y"}


def test_a_bundle_comes_back_with_its_context_and_one_without_has_none(driven, knowing, detector):
    again = Detector.of_bundle(from_bytes(to_bytes(knowing.bundle_)))
    assert (again.context_columns, again.calendar) == (("load",), "day")
    np.testing.assert_array_equal(again.score(driven).score, knowing.score(driven).score)
    settings = detector.bundle_.describe()["settings"]
    assert not {"context_columns", "calendar"} & settings.keys()
    assert from_bytes(to_bytes(detector.bundle_)).config.to_settings()["calendar"] == "none"


def with_settings(bundle, **settings):
    return replace(bundle, config=DetectorConfig.from_settings(bundle.config.to_settings() | settings))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"context_columns": ("y",)}, "context_columns=('y',) that are not the last of the columns"),
        ({"context_columns": ("y", "load")}, "context_columns=('y', 'load') that are not the last of the columns"),
        ({"calendar": "week"}, "arrays that do not fit its settings"),
        ({"calendar": "none"}, "arrays that do not fit its settings"),
        ({"context_columns": None}, "arrays that do not fit its settings"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(knowing, change, reason):
    with pytest.raises(RefusedError) as caught:
        from_bytes(to_bytes(with_settings(knowing.bundle_, **change)))
    assert reason in str(caught.value)


def test_a_file_with_a_calendar_of_counted_rows_is_refused(knowing):
    with pytest.raises(RefusedError, match="calendar='day' where rows are counted"):
        from_bytes(to_bytes(replace(knowing.bundle_, time_column=None)))


@pytest.mark.parametrize("aggregation", ["combined", "trailing"])
def test_rows_one_by_one_and_in_pieces_have_the_scores_of_all_at_once(driven, knowing, aggregation):
    some = driven[1_050:1_200]
    values = some.of_columns(knowing.bundle_.columns).values
    whole = knowing.score(some, aggregation=aggregation)
    for size, eager in ((1, True), (37, False)):
        rows = knowing.row_scorer(aggregation, eager=eager)
        parts = [rows.push(some.times[i : i + size], values[i : i + size]) for i in range(0, len(some), size)]
        found = RowScores.joined([*parts, rows.finish()], *rows.shape)
        assert found.by_feature[0].tobytes() == whole.by_feature.tobytes()
        assert found.deviation[0].tobytes() == whole.deviation.tobytes()


def test_columns_may_come_in_any_order_and_missing_context_is_filled(driven, knowing):
    some = driven[CUT:]
    np.testing.assert_array_equal(knowing.score(some.of_columns(["y", "load"])).score, knowing.score(some).score)
    np.testing.assert_array_equal(knowing.score(some.to_frame()[["y", "load"]]).score, knowing.score(some).score)
    values = some.values.copy()
    values[50:53, 0], values[300:, 0] = np.nan, np.nan
    found = knowing.score(replace(some, values=values))
    assert np.isfinite(found.score).all()
    assert not (found.score == knowing.score(some).score)[50]


def test_without_the_context_column_nothing_is_scored(driven, knowing):
    with pytest.raises(DataError, match=r"must have the columns of the training series. Received: no 'load' among 'y'"):
        knowing.score(driven.of_columns(["y"]))


def test_dismissed_rows_are_kept_with_their_context_and_trained_on(driven, knowing):
    told = with_dismissal(knowing, driven[CUT:], (100, 140), keep_rows=True)
    again = from_bytes(to_bytes(told))
    assert again.dismissed.kept_values.shape[1] == 2
    assert again.dismissed.signatures.shares.shape[1] == 1
    assert without_dismissal(again, 1).dismissed is None
    settings = again.config.to_settings() | {"epochs": 1, "steps_per_epoch": 2}
    found = Detector(**settings).fit(driven[200:900], start_from=Detector.of_bundle(again))
    assert found.bundle_.training["n_dismissed_windows"] > 0
    assert np.isfinite(found.score(driven[CUT:]).score).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"context_columns": None},
            "`context_columns` must be that of the detector to go on from, load. Received: context_columns=None. "
            "Leave it out, or train from scratch.",
        ),
        (
            {"calendar": "week"},
            "`calendar` must be that of the detector to go on from, day. Received: calendar=week. "
            "Leave it out, or train from scratch.",
        ),
    ],
)
def test_going_on_with_other_context_is_refused(driven, knowing, settings, message):
    with pytest.raises(ConfigError) as caught:
        Detector(**SETTINGS | {"context_columns": ("load",), "calendar": "day"} | settings).fit(driven[:CUT], start_from=knowing)
    assert str(caught.value) == message


def test_what_speaks_of_features_speaks_of_judged_ones(driven, knowing):
    with pytest.raises(ConfigError) as caught:
        Detector(**SETTINGS, context_columns=("load",), min_deviation="load=2").fit(driven)
    assert str(caught.value) == (
        "`min_deviation` must name features ('y'), and not context, which is never judged. Received: 'load'. Leave it out."
    )
    with pytest.raises(ConfigError, match=r"`alarm_direction` must have one number a feature \(1: 'y'\). Received: 2."):
        Detector(**SETTINGS, context_columns=("load",), alarm_direction=(1.0, 0.0)).fit(driven)
    changed = Detector.of_bundle(knowing.bundle_).calibrate(alarm_direction=[1.0], min_deviation={"y": 0.5})
    assert changed.bundle_.rules.direction == (1.0,)


def test_a_directional_penalty_has_one_number_a_judged_feature(driven):
    quick = {"epochs": 1, "steps_per_epoch": 2, "penalty": "directional", "nearest_windows": 0}
    found = Detector(**SETTINGS | quick, context_columns=("load",), calendar="day", direction=(1.0,)).fit(driven[:300])
    assert found.bundle_.config.penalty.direction == (1.0,)
    with pytest.raises(ConfigError, match=r"`direction` must have one number a feature \(1\)"):
        Detector(**SETTINGS | quick, context_columns=("load",), direction=(1.0, 0.0)).fit(driven[:300])


@pytest.mark.parametrize("export", [onnx_bytes, keras_bytes])
def test_what_reads_more_than_it_judges_is_not_exported(knowing, export):
    with pytest.raises(ConfigError) as caught:
        export(knowing.bundle_)
    assert str(caught.value) == (
        "An exported network must read nothing but the features that it is judged by. Received: a detector with context_columns "
        "or calendar. Score with `anomaly score`, or train one without them."
    )


def test_a_new_series_is_not_learnt_with_it(knowing):
    with pytest.raises(ConfigError) as caught:
        Teacher.of([knowing.bundle_])
    assert str(caught.value) == (
        "A new series is learnt with a network that reads nothing but what it is judged by. Received: detectors with "
        "context_columns or calendar. Train the folder without them, or leave --new-series out."
    )


def test_a_network_of_ones_own_reads_all_and_is_judged_by_the_first(driven):
    from anomaly.tensorflow_start import load_keras

    keras, asked = load_keras(), []

    def own(window_size, n_features):
        asked.append(n_features)
        return keras.Sequential([keras.Input((window_size, n_features)), keras.layers.Dense(n_features)])

    quick = {"window_size": 12, "epochs": 1, "steps_per_epoch": 2, "seed": 0, "nearest_windows": 0}
    found = Detector(**quick, network=own, context_columns=("load",), calendar="week").fit(driven[:400])
    assert asked == [6]
    assert found.score(driven[:100]).by_feature.shape == (100, 1)


def test_an_array_keeps_its_order_and_one_for_named_columns_is_refused(driven, knowing):
    quick = {"window_size": 12, "units": 2, "epochs": 1, "steps_per_epoch": 2, "seed": 0, "nearest_windows": 0}
    found = Detector(**quick, context_columns=("feature_1",)).fit(driven.values[:300])
    assert found.bundle_.columns == ("feature_2", "feature_1")
    scores = found.score(driven.values[:100])
    np.testing.assert_array_equal(scores.measured[:, 0], driven.values[:100, 1])
    with pytest.raises(DataError) as caught:
        knowing.score(driven.values[:100])
    assert str(caught.value) == (
        "Where columns are context they must have names, 'y', 'load'. Received: an array. Give a frame with these columns."
    )


def test_pictures_and_noise_take_the_columns_by_name(driven, knowing):
    """In the series the context stands before the feature, in the detector behind it."""
    some, scores = driven[CUT : CUT + 200], knowing.score(driven[CUT : CUT + 200])
    figure = plot_scores(some, scores, [])
    assert [axis.get_ylabel() for axis in figure.axes] == ["y", "score"]
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), some.values[:, 1])
    moved = [measure_stability(knowing, rows, 0.1, repeats=1) for rows in (some, some.of_columns(["y", "load"]))]
    assert moved[0] == moved[1]


def test_the_rows_it_was_trained_on_are_known_whatever_the_order_of_the_columns(driven, knowing):
    n = knowing.bundle_.training["n_held_out_rows"]
    for rows in (driven, driven.of_columns(["y", "load"])):
        found = held_out_rows(knowing.bundle_, rows)
        assert found.columns == ("y", "load")
        np.testing.assert_array_equal(found.values[:, 1], driven.values[CUT - n : CUT, 0])
        assert knowing.trained_on(rows).sum() == CUT


def test_the_shared_detector_with_a_context_is_as_one_of_its_first_feature(detector, series):
    """The same weights, told that the second feature is context: errors of the first are as they were."""
    bundle = with_settings(detector.bundle_, context_columns=("s2",))
    units = type(bundle.error_units)(*(unit[:1] for unit in bundle.error_units))
    told = Detector.of_bundle(replace(bundle, error_units=units))
    assert TINY["nearest_windows"] == 0
    both, alone = detector.score(series), told.score(series)
    np.testing.assert_array_equal(alone.deviation[:, 0], both.deviation[:, 0])
    np.testing.assert_array_equal(alone.status, both.status)
