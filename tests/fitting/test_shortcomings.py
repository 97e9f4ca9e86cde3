"""What a training series lacks, said at training and kept in the bundle."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from commands import here

from anomaly.bundle.container import RefusedError
from anomaly.bundle.file import from_bytes, to_bytes
from anomaly.config import AGGREGATIONS, DetectorConfig
from anomaly.fitting.set_aside import SetAside
from anomaly.fitting.shortcomings import (
    LEAST_TREND,
    MOST_ANOMALOUS,
    MOST_WATCHED,
    kind_of,
    long_periods,
    trend_of,
    with_notes,
)
from anomaly.series import TimeSeries
from anomaly.thresholds.calibration import rates_by_part
from anomaly.thresholds.tail import fit_maxima
from anomaly.windowing.windows import strong_periods
from tests.made_bundles import made_bundle, made_threshold

MINUTE = 60_000_000


def series_of(*columns, names=None, step=MINUTE, time_column="when"):
    values = np.column_stack(columns)
    times = np.arange(len(values)) * (step if time_column else 1)
    names = names or tuple(f"c{i}" for i in range(values.shape[1]))
    return TimeSeries(times, values, names, time_column=time_column)


def bundle_for(series, window_size=100, scores=None, n_held_out=None, **changes):
    """A detector of a series, as far as notes look at it: every score is half of the threshold unless given."""
    n_held_out = len(series) // 5 if n_held_out is None else n_held_out
    scores = np.full(len(series), 0.5) if scores is None else scores
    known = {
        "window_size": window_size, "time_column": series.time_column, "columns": series.columns,
        "step": MINUTE, "longest_step": 10 * MINUTE, "row_step": MINUTE, "calibration_times": series.times,
        "calibration_scores": dict.fromkeys(AGGREGATIONS, scores),
        "thresholds": dict.fromkeys(AGGREGATIONS, replace(made_threshold(1.0), reached=True, n_scores=len(series))),
        "training": made_bundle().training | {"n_held_out_rows": n_held_out, "n_calibration_rows": len(series)},
    }  # fmt: skip
    return made_bundle(**(known | changes))


def notes_of(series, **changes):
    return with_notes(bundle_for(series, **changes), series, SetAside()).training.get("notes", [])


def noise(n, seed=0):
    return np.random.default_rng(seed).normal(size=n)


def week(n_weeks=3):
    """A row every ten minutes, high on five days, low on two."""
    rows = np.arange(n_weeks * 1_008)
    noon = np.maximum(0, -np.cos(2 * np.pi * rows / 144))
    return noon * np.where(rows // 144 % 7 < 5, 1, 0.3) + 0.02 * noise(len(rows))


def test_a_series_that_lacks_nothing_has_no_notes():
    series = series_of(noise(1_000))
    bundle = bundle_for(series)
    assert with_notes(bundle, series, SetAside()) is bundle


@pytest.mark.parametrize(
    ("n_rows", "window_size", "told"),
    [(500, 100, False), (499, 100, True), (300, 50, False), (299, 10, True)],
)
def test_a_short_history_is_told_from_five_windows_and_300_rows_on(n_rows, window_size, told):
    found = notes_of(series_of(noise(n_rows)), window_size=window_size)
    assert [note.split(":")[0] for note in found] == (["Short history"] if told else [])


def test_the_note_of_a_short_history_word_by_word():
    assert notes_of(series_of(noise(240)), window_size=100) == [
        "Short history: 240 rows are 2.4 windows of 100; fewer than 5 windows or 300 rows are little to learn from. "
        "Give a longer history, or a smaller --window-size."
    ]


@pytest.mark.parametrize(("n_rows", "reached", "told"), [(999, False, True), (1_000, False, False), (999, True, False)])
def test_a_threshold_that_is_extrapolated_from_fewer_than_ten_windows_is_a_rough_one(n_rows, reached, told):
    thresholds = dict.fromkeys(AGGREGATIONS, replace(made_threshold(1.0), reached=reached, n_scores=n_rows, expected=0.1))
    found = notes_of(series_of(noise(n_rows)), thresholds=thresholds)
    assert found == told * [
        "Rough threshold: it is extrapolated from 9.9 windows of 100 rows; from fewer than 10 there may be several times as many "
        "false alarms as expected. Give a longer history."
    ]


@pytest.mark.parametrize(("height", "told"), [(1.0, False), (2.0, True), (4.0, True)])
def test_a_third_of_the_history_that_breaks_the_promise_is_named(height, told):
    """Of 3,000 rows the second thousand have higher scores; by the law of the maxima of these alone more alarms come."""
    rng = np.random.default_rng(0)
    scores = 0.3 * np.exp(0.2 * rng.normal(size=3_000)) * np.where(np.arange(3_000) // 1_000 == 1, height, 1.0)
    series = series_of(noise(3_000))
    bundle = bundle_for(series, scores=scores)
    cut = float(np.sort(scores[:1_000])[-1]) * 1.5
    threshold = replace(made_threshold(cut), n_scores=3_000, expected=0.2)
    found = notes_of(series, scores=scores, thresholds=dict.fromkeys(AGGREGATIONS, threshold))
    rates = [rate for _, rate in rates_by_part(bundle.calibration("combined"), cut)]
    assert (max(rates) > 4 * 0.2) == told
    assert rates.index(max(rates)) == 1 or not told
    uneven = [note for note in found if note.startswith("Uneven history")]
    assert uneven == told * [
        "Uneven history: where rows are as from 1970-01-01T16:40:00Z to 1970-01-02T09:19:00Z, false alarms come "
        f"{max(rates) / 0.2:.0f} times as often as expected. Give a longer history, or set a higher threshold."
    ]


def test_the_law_of_a_part_is_that_of_its_rows_alone():
    scores = np.random.default_rng(1).lognormal(size=1_200)
    calibration = bundle_for(series_of(noise(1_200)), scores=scores).calibration("combined")
    found = rates_by_part(calibration, 20.0)
    assert [(rows.start, rows.stop) for rows, _ in found] == [(0, 400), (400, 800), (800, 1_200)]
    assert [rate for _, rate in found] == [1000 * float(fit_maxima(scores[rows], 100).rate(20.0)) for rows, _ in found]
    short = bundle_for(series_of(noise(1_199)), scores=scores[:1_199]).calibration("combined")
    assert rates_by_part(short, 20.0) == [], "a third has three windows"


def test_day_and_week_that_are_longer_than_the_window_are_named_with_both_remedies():
    series = series_of(week(), step=10 * MINUTE)
    steps = {"step": 10 * MINUTE, "longest_step": 100 * MINUTE, "row_step": 10 * MINUTE}
    (note,) = notes_of(series, window_size=128, **steps)
    assert note == (
        "Long period: the series repeats every 144 rows (24 hours) and every 1,008 rows (7 days), and a window has 128, so what "
        "depends on the period cannot be seen. Use --window-size 144, or resample to a row every 4 hours."
    )
    (note,) = notes_of(series, window_size=300, **steps)
    assert "every 1,008 rows (7 days), and" in note and "144" not in note, "the day has room in the window"
    assert "--window-size" not in note, "605 held-out rows have no room for a week"


@pytest.mark.parametrize(("calendar", "named"), [("day", ["1,008"]), ("week", [])])
def test_a_period_that_the_network_reads_from_the_clock_need_not_fit_into_a_window(calendar, named):
    series = series_of(week(), step=10 * MINUTE)
    steps = {"step": 10 * MINUTE, "longest_step": 100 * MINUTE, "row_step": 10 * MINUTE}
    config = DetectorConfig.from_settings(made_bundle().config.to_settings() | {"calendar": calendar})
    notes = notes_of(series, window_size=128, config=config, **steps)
    assert [rows for rows in ("144", "1,008") if any(f"every {rows} rows" in note for note in notes)] == named


def test_a_period_of_counted_rows_is_told_in_rows():
    (note,) = notes_of(series_of(week(), time_column=None), window_size=128, step=1, longest_step=10, row_step=1)
    assert "every 144 rows, and" in note, "without a clock the week might be a multiple of the day by chance"
    assert note.endswith(", or make one row of every 3.")


@pytest.mark.parametrize("period", [300, 700, 1_500])
def test_a_long_period_is_found_in_any_length_within_its_rounding(period):
    rows = np.arange(30_000)
    series = series_of(np.sin(2 * np.pi * rows / period) + 0.3 * noise(len(rows)), noise(len(rows), 1) * 1e-9 + 5)
    bundle = bundle_for(series_of(series.values[:, 0]), window_size=128)
    found, *_ = long_periods(bundle, series_of(series.values[:, 0]))
    assert found == pytest.approx(period, abs=2 * 128 / 16)


def red(n, seed):
    """Noise in which a row remembers the one before."""
    steps, found = noise(n, seed), np.zeros(n)
    for i in range(1, n):
        found[i] = 0.95 * found[i - 1] + 0.31 * steps[i]
    return found


def test_a_day_in_noise_is_no_period_of_several_days():
    """A multiple of the day is the strongest by chance."""
    quarter = {"step": 15 * MINUTE, "longest_step": 150 * MINUTE, "row_step": 15 * MINUTE}
    found = []
    for seed in range(30):
        series = series_of(3 * np.sin(np.arange(4_000) * 2 * np.pi / 96) + 2 * red(4_000, seed), step=15 * MINUTE)
        found.append(long_periods(bundle_for(series, window_size=192, **quarter), series))
    assert found == [[]] * 30


@pytest.mark.parametrize("n_weeks", [3, 4, 5, 6, 8])
@pytest.mark.parametrize("seed", range(3))
def test_a_week_is_told_as_such_and_not_as_two_of_it(n_weeks, seed):
    series = series_of(week(n_weeks)[:, None] + 0.03 * noise(n_weeks * 1_008, seed)[:, None], step=10 * MINUTE)
    steps = {"step": 10 * MINUTE, "longest_step": 100 * MINUTE, "row_step": 10 * MINUTE}
    assert long_periods(bundle_for(series, window_size=300, **steps), series) == pytest.approx([1_008], abs=10)


@pytest.mark.parametrize("n_features", [1, 3])
def test_a_long_period_that_only_means_of_rows_show_is_told(n_features):
    day = np.sin(2 * np.pi * np.arange(8_064) / 288)
    series = series_of(*(day + 0.8 * noise(len(day), seed) for seed in range(n_features)), step=5 * MINUTE)
    assert strong_periods(series.values) == [], "single rows are mostly noise"
    steps = {"step": 5 * MINUTE, "longest_step": 50 * MINUTE, "row_step": 5 * MINUTE}
    (note,) = [note for note in notes_of(series, window_size=128, **steps) if note.startswith("Long period")]
    assert re.search(r"Use --window-size 28\d, or resample to a row every 30 minutes\.$", note)


def test_what_was_seen_twice_is_no_period_beside_a_shorter_one():
    series = series_of(week(3)[:2_700], step=10 * MINUTE)
    steps = {"step": 10 * MINUTE, "longest_step": 100 * MINUTE, "row_step": 10 * MINUTE}
    assert long_periods(bundle_for(series, window_size=300, **steps), series) == []


def test_rows_without_a_period_and_random_walks_repeat_nothing():
    assert strong_periods(noise(3_000)[:, None]) == []
    assert sum(bool(strong_periods(np.cumsum(noise(3_000, seed))[:, None])) for seed in range(20)) <= 3


def test_periods_are_found_across_missing_rows_and_gaps():
    keep = np.ones(3_024, bool)
    keep[[100, 101, 500]] = False
    keep[2_500:2_600] = False
    whole = series_of(week())
    series = TimeSeries(whole.times[keep], whole.values[keep], whole.columns, time_column="when")
    assert long_periods(bundle_for(series, window_size=16), series)[0] == 144


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (np.full(100, 3.0), "constant"),
        (np.where(np.arange(200) == 7, 1.0, 0.0), "nearly constant"),
        (np.where(np.arange(200) % 50 == 7, 1.0, 0.0), ""),
        (np.arange(100.0), "only rising"),
        (np.arange(100.0) // 5, "only rising"),
        (np.arange(100.0) // 25, ""),
        (np.append(np.arange(100.0), 98), ""),
        (np.arange(49.0), ""),
        (np.arange(100.0)[::-1], ""),
        (np.empty(0), ""),
    ],
)
def test_kinds_of_features(cells, kind):
    assert kind_of(cells) == kind


def test_features_that_teach_little_are_named_by_kind_and_missing_values_do_not_count():
    rows = np.arange(1_000.0)
    steps = rows.copy()
    steps[::3] = np.nan
    series = series_of(noise(1_000), rows * 0 + 4, steps, names=("flow", "valve", "litres"))
    assert notes_of(series) == [
        "Features that teach little: constant: 'valve'; only rising: 'litres'. With --value-columns leave out what is no sensor, "
        "and give a counter as differences."
    ]


@pytest.mark.parametrize("way", [1, -1])
def test_a_feature_that_drifts_throughout_the_history_is_told(way):
    """With a day that is larger than what a day of the trend brings, and a noise."""
    rows = np.arange(2_000)
    grown = way * 0.003 * rows + np.sin(2 * np.pi * rows / 96) + 0.3 * noise(2_000)
    (note,) = (note for note in notes_of(series_of(noise(2_000, 1), grown, names=("calm", "x"))) if note.startswith("Trend"))
    assert note == (
        f"Trend: 'x'. From sixth to sixth of the history 'x' goes {'up' if way > 0 else 'down'}, in all {abs(trend_of(grown)):.2g} "
        "times as far as it varies within one: rows that go on so will be flagged. Give the feature as differences or without its "
        "trend, or train anew, with --from, as it goes on."
    )
    assert 5 < way * trend_of(grown) * 1.2 < 9
    gaps = np.where(rows % 5 == 0, np.nan, grown)
    assert trend_of(gaps) == pytest.approx(trend_of(grown), rel=0.1)


def test_noise_seasons_and_a_step_are_no_trend():
    rows = np.arange(2_016)
    assert [seed for seed in range(100) if abs(trend_of(red(2_000, seed))) >= LEAST_TREND] == []
    for period in (24, 96, 288, 500, 1_000):
        assert abs(trend_of(np.sin(2 * np.pi * rows / period) + 0.1 * noise(2_016))) < LEAST_TREND, period
    assert abs(trend_of(week(2))) < LEAST_TREND
    assert trend_of(np.where(rows < 1_000, 0.0, 9.0) + noise(2_016) * 0.01) == 0, "one step is no trend"
    assert trend_of(rows[:100] * 1.0 - noise(100)) == 0, "of a part there is too little"


@pytest.mark.parametrize(("n_features", "told"), [(MOST_WATCHED, False), (MOST_WATCHED + 1, True)])
def test_many_features_are_told(n_features, told):
    series = series_of(*np.random.default_rng(0).normal(size=(n_features, 1_000)))
    assert bool([note for note in notes_of(series) if note.startswith(f"Many features: {n_features}")]) == told


def test_training_rows_above_the_threshold_are_told_with_their_share_and_place_and_held_out_rows_are_not():
    series = series_of(noise(1_000))
    scores = np.full(1_000, 0.5)
    scores[[3, 300, 310, 320, 450]] = 2
    scores[900:909] = 2
    assert notes_of(series, scores=scores) == []
    scores[500:510] = 2
    (note,) = notes_of(series, scores=scores)
    assert note == (
        "Anomalies in training: 15 of 800 training rows (1.9%) lie above the threshold themselves, 11 of them from "
        "1970-01-01T07:30:00Z to 1970-01-01T08:29:00Z. Look at them with `anomaly detect`; "
        "its events as CSV, given to `anomaly train --exclude`, are left out of a training."
    )
    assert 5 / 800 <= MOST_ANOMALOUS < 15 / 800


def test_one_low_alarm_of_many_rows_that_the_threshold_promises_is_not_told():
    series, scores = series_of(noise(1_000)), np.full(1_000, 0.5)
    scores[500:520] = 1.2
    told = [scores, np.where(scores > 1, 1.6, scores)]
    threshold = replace(made_threshold(1.0), reached=True, n_scores=1_000)
    promised = [replace(threshold, expected=rate) for rate in (1.25, 0.1)]  # of 800 rows 1, and .08
    found = [[_tells(notes_of(series, scores=s, thresholds=dict.fromkeys(AGGREGATIONS, p))) for p in promised] for s in told]
    assert found == [[False, True], [True, True]]


def _tells(notes):
    return any(note.startswith("Anomalies in training") for note in notes)


def test_notes_survive_in_the_bundle_and_old_bundles_have_none():
    series = series_of(noise(240), np.ones(240), names=("flow", "Drück" * 30))
    told = with_notes(made_bundle(), series, SetAside())
    assert from_bytes(to_bytes(told)).training == told.training
    assert "notes" not in from_bytes(to_bytes(made_bundle())).training


@pytest.mark.parametrize("notes", [[], ["x"] * 9, "x", [3], ["x" * 1_025], ["a\x1b[2J"], ["a\nb"], None])
def test_forged_notes_are_refused(notes):
    content = to_bytes(made_bundle(training=made_bundle().training | {"notes": notes}))
    with pytest.raises(RefusedError):
        from_bytes(content)


@pytest.mark.parametrize("shares", [{}, {"a": 0.0}, {"a": 1.5}, {"a": 1}, {"a": "x"}, [0.5], None])
def test_forged_shares_of_rows_that_are_not_judged_are_refused(shares):
    content = to_bytes(made_bundle(training=made_bundle().training | {"unjudged": shares}))
    with pytest.raises(RefusedError):
        from_bytes(content)


def test_what_only_rises_is_remembered():
    series = series_of(noise(1_000), np.arange(1_000.0), names=("flow", "litres"))
    assert with_notes(made_bundle(), series, SetAside()).training["rising"] == ["litres"]
    assert "rising" not in with_notes(made_bundle(), series_of(noise(1_000), names=("flow",)), SetAside()).training


@pytest.mark.parametrize("names", [[], "x", [3], {"x": 1}, None])
def test_forged_names_of_what_only_rises_are_refused(names):
    content = to_bytes(made_bundle(training=made_bundle().training | {"rising": names}))
    with pytest.raises(RefusedError):
        from_bytes(content)


def test_train_says_it_and_report_json_and_inspect_hold_it(tmp_path):
    rows = np.arange(240)
    lines = [f"2024-01-01T{i // 60:02}:{i % 60:02}:00Z,{np.sin(i / 3):.4f},5" for i in rows]
    (tmp_path / "in.csv").write_text("\n".join(["time,flow,valve", *lines]) + "\n")
    model, told = tmp_path / "m.anomaly", tmp_path / "told.json"
    small = ["--window-size", "24", "--units", "2", "--epochs", "1", "--steps-per-epoch", "2", "--penalty", "none", "--seed", "0"]
    trained = here("train", tmp_path / "in.csv", "--model", model, "--report-json", told, *small)
    said = [line for line in trained.stderr.splitlines() if line.startswith(("Short history", "Features that teach"))]
    notes = json.loads(told.read_text())["training"]["notes"]
    assert len(said) == 2 and set(said) <= set(notes)
    shown = here("inspect", model).stdout
    assert all(note in shown for note in notes)


@pytest.mark.parametrize(("rows", "height", "told"), [(9, 2.9, False), (1, 3.1, True), (21, 1.1, True), (0, 0.5, False)])
def test_held_out_rows_are_told_of_that_are_many_thresholds_high_or_many(rows, height, told):
    scores = np.full(1_000, 0.5)
    scores[950 : 950 + rows] = height
    notes = notes_of(series_of(noise(1_000)), scores=scores)
    high = [note for note in notes if note.startswith("High held-out rows")]
    assert bool(high) is told
    if told:
        assert f"{rows} of 200 ({rows / 200:.1%}), from " in high[0] and f"the highest at {height:g} times it" in high[0]


@pytest.mark.parametrize("seed", [0, 3, 5])  # of 3 it is a multiple of the job's period that first reaches half of the day's height
def test_a_multiple_of_a_short_period_is_no_period_and_what_would_lose_the_short_one_is_for_a_second_detector(seed):
    rng, rows = np.random.default_rng(seed), np.arange(5_000)
    heights = 4 * (1 + 0.3 * rng.normal(size=84))
    jobs = heights[rows // 60] * (rows % 60 < 4) + 5.0 * (rows % 1_440 < 40) + 0.3 * rng.normal(size=5_000)
    steps = {"step": MINUTE, "longest_step": 10 * MINUTE, "row_step": MINUTE, "window_size": 128}
    (note,) = notes_of(series_of(jobs, step=MINUTE), **steps)
    assert "repeats every 1,440 rows (24 hours), and a window has 128" in note
    assert "a row every 30 minutes for a second detector beside this one: what repeats every 60 rows would be lost in them." in note


def test_a_constant_that_changed_for_a_moment_in_held_out_rows_is_told():
    cells = np.full(1_000, 3.0)
    cells[[900, 905]] = 4.0
    scaler = replace(made_bundle().scaler, center=np.array([0.0, 3.0]), scale=np.ones(2), constant=(1,))
    (note, *_) = [n for n in notes_of(series_of(noise(1_000), cells, names=("a", "b")), scaler=scaler) if n.startswith("Changed")]
    assert note.startswith(
        "Changed constants: 'b', on 2 held-out rows from 1970-01-01T15:00:00Z to 1970-01-01T15:05:00Z. They set no"
    )
