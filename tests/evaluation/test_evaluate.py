"""Evaluation: what is compared on which rows, the figures it reports, and the sentence that sums them up."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import FIRST_TIME, HOUR, SPIKE, make_series
from made_events import EVENTS

from anomaly.errors import ConfigError, DataError
from anomaly.evaluation import baselines
from anomaly.evaluation.evaluate import LONGEST_BUFFER, evaluate
from anomaly.evaluation.metrics import average_precision, volume_under_surface
from anomaly.scoring.references import FORMS, References
from anomaly.scoring.row_scores import OK, WARM_UP
from anomaly.scoring.scores import Scores
from anomaly.windowing.scaling import Scaler

THRESHOLD = 1.0


def make_scores(series, score):
    score = np.asarray(score, np.float64)
    by_feature = np.repeat(score[:, None], series.n_features, axis=1)
    return Scores(
        score=score,
        by_feature=by_feature,
        deviation=np.zeros_like(by_feature),
        status=np.where(np.isnan(score), WARM_UP, OK).astype(np.uint8),
        threshold=THRESHOLD,
        aggregation="window_mean",
        times=series.times,
        columns=series.columns,
        time_column=series.time_column,
    )


def found(*ranges):
    """Return events as far as an evaluation reads them."""
    return [SimpleNamespace(start=start, stop=stop) for start, stop in ranges]


def good_score(series, seed=0):
    return np.random.default_rng(seed).random(len(series)) + 2 * series.labels


@pytest.fixture
def labelled():
    """500 hourly rows with two events: rows 100 to 119 and the spike."""
    series = make_series()
    labels = series.labels.copy()
    labels[100:120] = 1
    return replace(series, labels=labels)


def test_the_curve_metrics_are_those_of_the_scored_rows(labelled):
    score = good_score(labelled)
    score[:30] = np.nan
    result = evaluate(labelled, make_scores(labelled, score), [], buffer=7)
    volume = volume_under_surface(labelled.labels[30:], score[30:], 7)
    assert (result.vus_pr, result.vus_roc) == (volume.pr, volume.roc)
    assert result.auc_pr == average_precision(labelled.labels[30:], score[30:])
    assert (result.n_rows, result.n_scored, result.n_labelled, result.buffer) == (500, 470, 26, 7)


def test_the_baselines_know_the_same_rows_as_the_detector(labelled):
    score = good_score(labelled)
    score[:30] = np.nan
    scaler = Scaler.fit(labelled.values[:200])
    result = evaluate(labelled, make_scores(labelled, score), [], buffer=7, seed=5, scaler=scaler)
    values = scaler.transform(labelled.values[30:])[0]
    for name, own in [("amplitude", baselines.amplitude(values)), ("random", baselines.random_scores(470, 5))]:
        volume = volume_under_surface(labelled.labels[30:], own, 7)
        expected = {"vus_pr": volume.pr, "vus_roc": volume.roc, "auc_pr": average_precision(labelled.labels[30:], own)}
        assert result.baselines[name] == pytest.approx(expected)
    assert set(result.baselines) == {"random", "amplitude", "difference", "sub_pca"}


def test_rows_with_a_missing_value_count_as_far_as_they_have_a_score(labelled):
    values, score = labelled.values.copy(), good_score(labelled)
    values[50:60, 1] = values[70:80] = np.nan
    score[70:80] = np.nan
    result = evaluate(replace(labelled, values=values), make_scores(labelled, score), [])
    assert (result.n_rows, result.n_scored) == (500, 490)
    assert all(np.isfinite(list(found.values())).all() for found in result.baselines.values())


def test_an_infinite_value_is_clipped_as_for_the_detector(labelled):
    values = labelled.values.copy()
    values[50, 1] = np.inf
    assert evaluate(replace(labelled, values=values), make_scores(labelled, good_score(labelled)), []).n_scored == 500


def test_events_are_counted_on_all_rows(labelled):
    score = good_score(labelled)
    score[90:130] = np.nan  # the first known event has no score: it is missed, not forgotten
    result = evaluate(labelled, make_scores(labelled, score), found((SPIKE.start, SPIKE.stop), (200, 203), (300, 301)))
    assert (result.events.n_known, result.events.n_hit, result.events.n_found) == (2, 1, 3)
    assert result.n_false_alarms == result.events.n_false == 2
    np.testing.assert_array_equal(result.delays, [np.nan, 0])


def test_false_alarms_are_given_by_row_and_by_time(labelled):
    score = good_score(labelled)
    score[:20] = np.nan
    result = evaluate(labelled, make_scores(labelled, score), found((200, 203), (300, 301)))
    assert result.false_alarms_per_1000_rows == pytest.approx(2 / 480 * 1000)
    assert result.false_alarms_per_day == pytest.approx(2 / (480 / 24))


def test_the_time_in_a_gap_is_not_watched(labelled):
    later = replace(labelled, times=labelled.times + np.where(np.arange(500) >= 250, 1000 * HOUR, 0))
    scores = make_scores(later, good_score(labelled))
    assert evaluate(later, scores, found((200, 203))).false_alarms_per_day == pytest.approx(1 / (500 / 24))


def test_counted_rows_have_no_time(labelled):
    counted = replace(labelled, times=np.arange(500), time_column=None)
    result = evaluate(counted, make_scores(counted, good_score(labelled)), found((100, 110)))
    assert result.false_alarms_per_day is None
    assert result.median_delay_seconds is None
    assert result.median_delay == 0


def test_a_series_whose_time_stands_still_has_no_alarms_a_day(labelled):
    still = replace(labelled, times=np.full(500, FIRST_TIME))
    assert evaluate(still, make_scores(still, good_score(labelled)), found((200, 210))).false_alarms_per_day is None


def test_a_delay_is_counted_in_rows_and_in_time(labelled):
    score = np.zeros(500)
    score[104:110] = score[SPIKE.start + 1] = 2.0
    result = evaluate(labelled, make_scores(labelled, score), found((104, 110), (SPIKE.start + 1, SPIKE.stop)))
    assert result.delays == (4, 1)
    assert (result.median_delay, result.median_delay_seconds) == (2.5, 2.5 * 3600)


def test_a_flag_that_no_event_holds_raises_no_alarm(labelled):
    score = np.zeros(500)
    score[102] = score[104:110] = 2.0
    result = evaluate(labelled, make_scores(labelled, score), found((104, 110)))
    np.testing.assert_array_equal(result.delays, [4, np.nan])


def test_the_default_buffer_is_the_period(labelled):
    result = evaluate(labelled, make_scores(labelled, good_score(labelled)), [], scaler=Scaler.fit(labelled.values))
    assert result.buffer == 24  # two waves of 12 and 24 rows: the first strong period of both


@pytest.mark.parametrize("left_out", ["compared", "trained"])
def test_the_default_buffer_is_the_period_of_the_series_whichever_rows_are_compared(labelled, left_out):
    every_other = np.arange(500) % 2 == 0  # rows with a period of 12, if one looked at them alone
    chosen = {left_out: every_other}
    result = evaluate(labelled, make_scores(labelled, good_score(labelled)), [], scaler=Scaler.fit(labelled.values), **chosen)
    assert (result.n_rows, result.buffer) == (250, 24)


def test_without_a_period_the_default_buffer_is_the_median_length_of_the_known_events(labelled):
    noise = np.random.default_rng(0).normal(size=(500, 1))
    series = replace(labelled, values=noise, columns=("noise",))
    assert evaluate(series, make_scores(series, good_score(series)), []).buffer == (20 + 6) // 2


def test_the_default_buffer_is_at_most_a_tenth_of_the_rows(labelled):
    labels = np.zeros(500)
    labels[100:300] = 1
    noise = np.random.default_rng(0).normal(size=(500, 1))
    series = replace(labelled, values=noise, columns=("noise",), labels=labels)
    assert evaluate(series, make_scores(series, good_score(series)), []).buffer == 50 < LONGEST_BUFFER


def test_affiliation_is_given_beside_what_chance_gives(labelled):
    result = evaluate(labelled, make_scores(labelled, good_score(labelled)), found((100, 120), (SPIKE.start, SPIKE.stop)))
    assert (result.affiliation.precision, result.affiliation.recall) == pytest.approx((1, 1))
    assert 0.3 < result.affiliation_chance.precision < 0.8
    assert result.affiliation_chance.recall < 1


def test_a_good_detector_beats_the_baselines_and_the_verdict_says_so(labelled):
    result = evaluate(labelled, make_scores(labelled, good_score(labelled)), [], buffer=0)
    assert result.beats_baselines
    best = result.baselines[result.best_baseline]["vus_pr"]
    assert best == max(values["vus_pr"] for values in result.baselines.values())
    named = {"amplitude": "amplitude", "difference": "absolute difference", "sub_pca": "Sub-PCA"}[result.best_baseline]
    assert result.verdict == f"VUS-PR 0.999 beats the best of four trivial baselines ({named}, {best:.3f})."


def test_with_windows_of_training_the_nearest_one_is_a_rival_too(labelled):
    scaler = Scaler.fit(labelled.values[:200])
    scaled = scaler.transform(labelled.values[:100])[0]
    references = tuple(References.of(form, scaled, np.arange(69), 32, most=20)[0] for form in FORMS)
    result = evaluate(labelled, make_scores(labelled, good_score(labelled)), [], buffer=7, scaler=scaler, references=references)
    assert set(result.baselines) == {"random", "amplitude", "difference", "sub_pca", *(f"nearest_{form}" for form in FORMS)}
    own = baselines.nearest_window(scaler.transform(labelled.values)[0], references)
    volume = volume_under_surface(labelled.labels, own["course"], 7)
    assert result.baselines["nearest_course"]["vus_pr"] == pytest.approx(volume.pr)
    assert "the best of seven trivial baselines" in result.verdict
    assert "nearest window, shape" in [row[0] for row in result.comparison_rows()]


def test_a_detector_that_ranks_at_random_does_not_beat_the_baselines(labelled):
    score = np.random.default_rng(3).random(500)
    result = evaluate(labelled, make_scores(labelled, score), [])
    assert not result.beats_baselines
    assert "does not beat the best of four trivial baselines" in result.verdict


def test_an_equal_detector_does_not_beat_the_baselines(labelled):
    result = evaluate(labelled, make_scores(labelled, baselines.random_scores(500, 0)), [], seed=0)
    best = result.baselines[result.best_baseline]["vus_pr"]
    assert not replace(result, vus_pr=best).beats_baselines
    assert result.vus_pr == result.baselines["random"]["vus_pr"]


def test_point_adjustment_is_computed_only_if_asked(labelled):
    scores = make_scores(labelled, good_score(labelled))
    events = found((100, 101))
    assert evaluate(labelled, scores, events).point_adjusted_f1 is None
    assert evaluate(labelled, scores, events, point_adjust=True).point_adjusted_f1 == pytest.approx(2 * 20 / (20 + 26))


def test_plain_values_survive_json_and_hold_no_nan(labelled):
    result = evaluate(labelled, make_scores(labelled, np.zeros(500)), [])
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert plain == result.to_dict()
    assert plain["events"]["precision"] is plain["affiliation"]["precision"] is plain["median_delay"] is None
    assert plain["delays"] == [None, None]
    assert plain["verdict"] == result.verdict
    assert plain["beats_baselines"] is False


def test_the_rows_are_pairs_of_text(labelled):
    score = good_score(labelled)
    result = evaluate(labelled, make_scores(labelled, score), found((104, 110), (200, 203)), buffer=7, point_adjust=True)
    rows = dict(result.rows())
    assert rows["rows"] == "500 scored of 500, 26 of them labelled"
    assert rows["VUS-PR"].endswith("(buffer 7 rows)")
    assert rows["known events"] == "1 of 2 found (recall 0.500)"
    assert rows["found events"] == "2, 1 of them false (precision 0.500)"
    assert rows["median delay"] == "4 rows (4 h)"
    assert rows["false alarms"] == "1 (2 in 1,000 rows, 0.048 a day)"
    assert "flatters" in rows["point-adjusted F1"]


def test_the_rows_say_what_is_undefined(labelled):
    rows = dict(evaluate(labelled, make_scores(labelled, np.zeros(500)), []).rows())
    assert rows["found events"] == "0, 0 of them false (precision undefined)"
    assert rows["affiliation precision"] == "undefined (chance undefined)"
    assert rows["median delay"] == "none: no flag within a known event"
    assert "point-adjusted F1" not in rows


def test_the_comparison_has_the_best_detector_first(labelled):
    head, *rows = evaluate(labelled, make_scores(labelled, good_score(labelled)), []).comparison_rows()
    assert head == ("", "VUS-PR", "VUS-ROC", "AUC-PR")
    assert rows[0][0] == "this detector"
    assert len(rows) == 5
    assert [row[1] for row in rows] == sorted((row[1] for row in rows), reverse=True)


def test_the_same_seed_gives_the_same_evaluation(labelled):
    scores, events = make_scores(labelled, good_score(labelled)), found((104, 110), (SPIKE.start, SPIKE.stop))
    assert evaluate(labelled, scores, events, seed=3) == evaluate(labelled, scores, events, seed=3)
    assert evaluate(labelled, scores, events, seed=3) != evaluate(labelled, scores, events, seed=4)


def test_a_series_shorter_than_a_window_is_evaluated(labelled):
    short = labelled[95:125]
    assert evaluate(short, make_scores(short, good_score(short)), []).buffer <= 3


def test_a_series_without_labels_is_refused(labelled):
    with pytest.raises(DataError, match=r"Evaluation needs labels\. Received: none \(made\)\. Name their column with"):
        evaluate(replace(labelled, labels=None), make_scores(labelled, np.zeros(500)), [])


def test_a_series_without_a_labelled_row_is_refused(labelled):
    with pytest.raises(DataError, match=r"at least one row with label 1\. Received: none in 500 rows \(made\)\."):
        evaluate(replace(labelled, labels=np.zeros(500)), make_scores(labelled, np.zeros(500)), [])


@pytest.mark.parametrize(
    ("scored", "received"),
    [(slice(200, 300), "0 labelled of 100"), (slice(100, 120), "20 labelled of 20"), (slice(0), "0 labelled of 0")],
)
def test_scored_rows_of_one_kind_are_refused(labelled, scored, received):
    score = np.full(500, np.nan)
    score[scored] = 1.0
    with pytest.raises(DataError, match=rf"labelled and other rows among those with a score\. Received: {received} scored"):
        evaluate(labelled, make_scores(labelled, score), [])


def test_scores_of_other_rows_are_refused(labelled):
    with pytest.raises(DataError, match=r"of the rows of the series \(500\)\. Received: 400 scores, events up to row 0 \(made\)"):
        evaluate(labelled, make_scores(labelled[:400], np.zeros(400)), [])
    with pytest.raises(DataError, match=r"Received: 500 scores, events up to row 501"):
        evaluate(labelled, make_scores(labelled, np.zeros(500)), found((499, 501)))


def test_a_negative_buffer_is_refused(labelled):
    with pytest.raises(ConfigError, match=r"`buffer` must be at least 0 rows\. Received: buffer=-1\."):
        evaluate(labelled, make_scores(labelled, good_score(labelled)), [], buffer=-1)


def event(start, stop):
    return replace(EVENTS[0], start=start, stop=stop, peak=start)


def figures(result):
    """Return what an evaluation found, without what it says of the training."""
    return replace(result, n_trained=None, trained_counted=False).to_dict()


def test_rows_of_the_training_are_left_out_as_if_they_were_not_there(labelled):
    score, trained = good_score(labelled), np.arange(500) < 110  # the first known event lies in them in part
    events = [event(20, 30), event(100, 115), event(300, 301), event(SPIKE.start, SPIKE.stop)]
    result = evaluate(labelled, make_scores(labelled, score), events, trained=trained)
    rest = labelled[110:]
    alone = evaluate(
        rest, make_scores(rest, score[110:]), [event(0, 5), event(190, 191), event(SPIKE.start - 110, SPIKE.stop - 110)]
    )
    assert figures(result) == figures(alone)
    assert (result.n_trained, result.trained_counted, result.n_rows) == (110, False, 390)
    assert ("training rows", "110 left out of all figures") in result.rows()
    assert result.to_dict()["n_trained"] == 110


def test_rows_in_the_middle_leave_neighbours_behind_each_other(labelled):
    score, trained = good_score(labelled), (np.arange(500) >= 200) & (np.arange(500) < 260)
    kept = [row for row in range(500) if not 200 <= row < 260]
    left = replace(labelled, times=labelled.times[kept], values=labelled.values[kept], labels=labelled.labels[kept])
    result = evaluate(labelled, make_scores(labelled, score), [event(190, 210), event(220, 240), event(300, 310)], trained=trained)
    assert figures(result) == figures(evaluate(left, make_scores(left, score[kept]), [event(190, 200), event(240, 250)]))


def test_rows_of_the_training_count_if_that_is_asked_for(labelled):
    score, trained = good_score(labelled), np.arange(500) < 110
    given = labelled, make_scores(labelled, score), [event(100, 115)]
    result = evaluate(*given, trained=trained, count_training=True)
    assert figures(result) == figures(evaluate(*given))
    assert ("training rows", "110 counted above: these flatter the detector") in result.rows()
    assert "training rows" not in dict(evaluate(*given, trained=np.zeros(500, np.bool_)).rows())


def test_a_range_is_compared_and_only_its_training_rows_are_told(labelled):
    score, rows = good_score(labelled), np.arange(500)
    result = evaluate(labelled, make_scores(labelled, score), [], compared=rows >= 50, trained=rows < 60)
    assert (result.n_rows, result.n_trained) == (440, 10)
    assert figures(result) == figures(evaluate(labelled[60:], make_scores(labelled[60:], score[60:]), []))


def test_labels_in_the_training_alone_are_refused_with_the_way_out(labelled):
    with pytest.raises(DataError) as caught:
        evaluate(labelled, make_scores(labelled, good_score(labelled)), [], trained=np.arange(500) < 480)
    assert str(caught.value).endswith(
        "Received: 0 labelled of 20 scored rows (made). The 480 rows of the training are left out; --count-training counts them."
    )
