"""Events and scores as a person sees them: text, tables, frames, slices by time."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest

from anomaly.errors import ConfigError
from anomaly.events.alarms import EventRules
from anomaly.events.event import Event
from anomaly.events.event_list import Events
from anomaly.events.finder import find_events
from anomaly.scoring.scores import Scores
from anomaly.series import TimeSeries

MINUTE = 60_000_000
START = pd.Timestamp("2014-10-30T16:00Z")
RULES = EventRules(merge_gap=0, longest_step=10 * MINUTE)


def scores_of(flagged, *, columns=("value",), index=None, timed=True, n=200):
    """Scores of 0.5, with 7.1 where they are flagged; all of the first feature."""
    score = np.full(n, 0.5)
    score[flagged] = 7.1
    parts = np.zeros((n, len(columns)))
    parts[:, 0] = score * len(columns)
    times = START.value // 1000 + np.arange(n) * MINUTE if timed else np.arange(n)
    return Scores(
        score=score, by_feature=parts, deviation=np.where(parts > 0, 2.0, 0.0), status=np.zeros(n, np.uint8), threshold=1.0,
        aggregation="combined", times=times, columns=columns, time_column="when" if timed else None, index=index,
    )  # fmt: skip


def test_runs_that_are_no_events_are_kept_beside_the_list():
    rules = EventRules(merge_gap=0, min_length=3, longest_step=10 * MINUTE)
    scores = scores_of([5, 20, 21, 22, 40])
    events = Events.found(scores, rules)
    assert [event.start for event in events] == [20]
    assert [(run.event.start, run.reason) for run in events.not_raised] == [(5, "too_short"), (40, "too_short")]
    assert repr(events).splitlines()[0] == "1 event; 2 runs of flagged rows are none (see not_raised)"
    assert [run.event.when for run in events.not_raised] == [str(scores.stamps[i])[:16] for i in (5, 40)]
    assert events[:1].not_raised == []


def events_of(*flagged, **options):
    return Events.found(scores_of([row for start, stop in flagged for row in range(start, stop)], **options), RULES)


def test_an_event_in_a_line():
    event = events_of((30, 90))[0]
    assert repr(event) == "Event 2014-10-30 16:30 to 17:29, severity 7.1, value up"


def test_an_event_of_several_features_names_those_that_matter():
    event = Event(3, 9, 3, 8, 5, 5, 2.0, 12_345.6, 6, (("a", 0.6), ("b", 0.3), ("c", 0.1)), (-1.0, 2.0, 0.0))
    assert repr(event) == "Event row 3 to 8, severity 12,346, a down 60 %, b up 30 %"


def test_events_in_lines():
    assert repr(events_of((30, 90), (100, 101))) == (
        "2 events\n  1  2014-10-30 16:30 to 17:29, severity 7.1, value up\n  2  2014-10-30 17:40, severity 7.1, value up"
    )
    assert repr(events_of()) == "No events"
    assert repr(events_of((5, 6), timed=False)) == "1 event\n  1  row 5, severity 7.1, value up"


def test_no_more_than_twenty_events_are_shown():
    events = events_of(*[(i, i + 1) for i in range(0, 50, 2)])
    assert repr(events).splitlines()[0] == "25 events"
    assert repr(events).splitlines()[-2:] == [" 20  2014-10-30 16:38, severity 7.1, value up", "     and 5 more"]
    assert events._repr_html_().count("<tr>") == 21 and "25 events, the first 20" in events._repr_html_()


def test_events_are_the_list_that_they_were():
    scores = scores_of([3, 4, 9])
    events, plain = Events.found(scores, RULES), find_events(scores, RULES)
    assert isinstance(events, list)
    assert events == plain and plain == events and events != plain[:1]
    assert [event.start for event in events] == [3, 9]
    assert isinstance(events[:1], Events) and events[:1] == plain[:1] and events[-1] == plain[-1]
    assert sorted(events, key=lambda event: -event.start) == plain[::-1]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda events: pickle.loads(pickle.dumps(events))])
def test_a_copy_shows_the_same(copied):
    events = events_of((30, 90))
    assert copied(events) == events
    assert repr(copied(events)) == repr(events)
    pd.testing.assert_frame_equal(copied(events).to_frame(), events.to_frame())


LOCAL = pd.date_range("2014-10-30 17:00", periods=200, freq="min")


@pytest.mark.parametrize(
    ("index", "first", "text"),
    [
        (None, pd.Timestamp("2014-10-30T16:30Z"), "16:30"),
        (LOCAL, pd.Timestamp("2014-10-30 17:30"), "17:30"),
        (LOCAL.tz_localize("Europe/Berlin"), pd.Timestamp("2014-10-30 17:30", tz="Europe/Berlin"), "17:30"),
        (LOCAL.to_period("min"), pd.Timestamp("2014-10-30 17:30"), "17:30"),
        (LOCAL.strftime("%H:%M"), pd.Timestamp("2014-10-30T16:30Z"), "16:30"),
    ],
    ids=["none", "naive", "zone", "periods", "text"],
)
def test_a_frame_of_events_has_the_times_of_the_input(index, first, text):
    events = events_of((30, 90), index=index)
    frame = events.to_frame()
    assert frame["first_time"].tolist() == [first]
    assert frame["last_time"].tolist() == [first + pd.Timedelta(59, "min")]
    assert f"2014-10-30 {text}" in repr(events[0])
    pd.testing.assert_series_equal(events_of(index=index).to_frame().dtypes, frame.dtypes)


def test_a_frame_of_events_has_a_row_for_each():
    frame = events_of((30, 90), (100, 101), columns=("a", "b")).to_frame()
    assert frame.index.tolist() == [1, 2] and frame.index.name == "event"
    assert frame[["start", "stop", "n_flagged"]].to_numpy().tolist() == [[30, 90, 60], [100, 101, 1]]
    assert frame["severity"].tolist() == pytest.approx([7.1, 7.1])
    assert frame[["feature", "share", "deviation"]].to_numpy().tolist() == [["a", 1.0, 2.0]] * 2
    assert events_of((5, 8), timed=False).to_frame()[["first_time", "last_time"]].to_numpy().tolist() == [[5, 7]]


def test_scores_in_a_line():
    scores = scores_of([3, 4])
    assert repr(scores) == "Scores of 200 rows, 2014-10-30 16:00 to 19:19 UTC: 2 above the threshold of 1"
    scores.score[:2] = np.nan
    assert repr(scores[:5]) == "Scores of 5 rows, 2014-10-30 16:00 to 16:04 UTC: 2 above the threshold of 1, 2 without a score"
    assert repr(scores[:0]) == "Scores of 0 rows: 0 above the threshold of 1"
    assert repr(scores_of([3], timed=False)) == "Scores of 200 rows: 1 above the threshold of 1"


def test_nothing_that_is_shown_runs_in_a_browser():
    scores = scores_of([3, 4], columns=("<script>", "b"))
    for shown in (
        Events.found(scores, RULES),
        scores,
        TimeSeries(scores.times, scores.by_feature, scores.columns, time_column="t"),
    ):
        html = shown._repr_html_()
        assert "<script" not in html
        assert shown is scores or "&lt;script&gt;" in html


def test_a_notebook_shows_scores_as_a_picture_and_events_as_a_table():
    scores = scores_of([3, 4])
    assert "200 rows" in scores._repr_html_() and scores._repr_html_().count("<polyline") == 1
    assert scores._repr_html_().count("<rect") == 1 and "stroke-dasharray" in scores._repr_html_()
    table = Events.found(scores, RULES)._repr_html_()
    assert [cell in table for cell in ("2014-10-30 16:03 to 16:04", "7.1", "value up")] == [True] * 3


def test_details_are_the_parts_of_the_score():
    scores = scores_of([3, 4], columns=("a", "b"))
    frame = scores.to_frame(details=True)
    assert frame.columns.tolist()[5:] == ["score_of_a", "score_of_b", "deviation_of_a", "deviation_of_b"]
    np.testing.assert_allclose(frame[["score_of_a", "score_of_b"]].mean(axis=1), frame["score"])
    pd.testing.assert_frame_equal(frame[frame.columns[:5]], scores.to_frame())


def test_scores_are_cut_by_time_as_series_are():
    scores = scores_of([3, 4], index=LOCAL)
    cut = scores["2014-10-30T17:03":"2014-10-30T17:10"]  # on the clock of the frame
    assert len(cut) == 7 and cut.flags.tolist() == [True, True, *[False] * 5]
    assert cut.to_frame().index.tolist() == LOCAL[3:10].tolist()
    assert len(scores[: pd.Timestamp("2014-10-30T17:03", tz="Europe/Berlin")]) == 3
    series = TimeSeries(scores.times, scores.by_feature, scores.columns, time_column="when")
    np.testing.assert_array_equal(series["2014-10-30T16:03":"2014-10-30T16:10"].times, cut.times)
    np.testing.assert_array_equal(series["2014-10-30T16:03":].times, series.since("2014-10-30T16:03").times)
    with pytest.raises(ConfigError, match="A cut by time needs times. Received: .* rows that are counted"):
        scores_of([3], timed=False)["2014-10-30":]
    with pytest.raises(ConfigError, match="A time must be ISO 8601"):
        scores["yesterday":]


def test_pictures_of_scores_have_threshold_and_flagged_rows():
    figure = scores_of([3, 4, 50]).plot()
    (axis,) = figure.axes
    assert len(axis.lines) == 2 and len(axis.patches) == 2
    assert axis.lines[1].get_ydata()[0] == 1.0


@pytest.mark.parametrize(
    "index", [LOCAL, LOCAL.tz_localize("Europe/Berlin"), LOCAL.to_period("min")], ids=["naive", "zone", "periods"]
)
def test_a_time_without_a_zone_is_read_on_the_clock_that_is_shown(index):
    scores = scores_of([3], index=index)
    assert [len(scores[start:]) for start in ("2014-10-30T17:03", "2014-10-30T16:03Z", "2014-10-30T17:02:30")] == [197] * 3


def test_a_series_that_was_read_in_a_zone_is_shown_in_it():
    times = START.value // 1000 + np.arange(200) * MINUTE
    series = TimeSeries(times, np.ones((200, 1)), ("a",), time_column="when", zone="Europe/Berlin")
    assert repr(series) == "TimeSeries 200 rows, 2014-10-30 17:00 to 20:19 Europe/Berlin, every minute: a"
    assert len(series["2014-10-30T17:03":]) == len(series.since("2014-10-30T17:03")) == 197
    assert series.to_frame().index[0] == START and str(series.to_frame().index.tz) == "Europe/Berlin"
