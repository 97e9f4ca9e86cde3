"""A series without a detector, row by row: the same in whatever pieces, after a restart, in files and live."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from conftest import HOUR
from hypothesis import given, settings
from hypothesis import strategies as st
from new_to_the_fleet import TEN, W, gone, members, new_series, still

from anomaly import DataError
from anomaly.detector.first_rows import Teacher
from anomaly.events.finder import EventFinder
from anomaly.files.scored_rows import ScoredRows
from anomaly.live.interleaved import Streams
from anomaly.live.learning import WINDOWS, LearningStream
from anomaly.live.stream import How, Rows, SeriesStream
from anomaly.live.stream_state import StateFile, StreamState
from anomaly.scoring.row_scores import STATUSES
from anomaly.sources.tolerance import Tolerance

TRAILING, COMBINED = How("trailing", live=True), How("combined", live=True, lag=W)
FIRST = WINDOWS[0] * W


@pytest.fixture(scope="module")
def teacher(detector):
    return Teacher.of(members(detector))


def rows_of(series, start=0, stop=None):
    stop = len(series) if stop is None else stop
    lines = [f"{i}" for i in range(start, stop)]
    return Rows(lines, np.arange(start, stop), series.times[start:stop], series.values[start:stop])


def stream_of(teacher, how=TRAILING, memory=None):
    return LearningStream("new", teacher, how, Tolerance(), memory)


def scored(stream, series, bounds=None):
    """Return all rows of a series and its events, from a stream that is at its beginning."""
    parts, events = [], []
    for start, stop in pairwise(bounds or [0, len(series)]):
        parts.append(stream.push(rows_of(series, start, stop))[1])
        events += stream.events(parts[-1])[0]
    parts.append(stream.finish()[1])
    return ScoredRows.joined(parts), events + stream.events(parts[-1], ended=True)[0]


def statuses(rows):
    return [STATUSES[code] for code in rows.status]


def same(found, wanted):
    assert found.lines == wanted.lines
    for name in ("times", "score", "by_feature", "deviation", "status", "threshold"):
        assert getattr(found, name).tobytes() == getattr(wanted, name).tobytes(), name


def test_rows_say_how_much_was_known_when_they_were_scored(teacher):
    rows, _ = scored(stream_of(teacher), new_series())
    assert statuses(rows) == ["not_learnt"] * FIRST + ["learning"] * (TEN - FIRST) + ["ok"] * (300 - TEN)
    assert np.isnan(rows.score[:FIRST]).all() and np.isnan(rows.threshold[:FIRST]).all() and np.isfinite(rows.score[FIRST:]).all()
    assert np.flatnonzero(np.diff(rows.threshold[FIRST:])).tolist() == [n * W - FIRST - 1 for n in WINDOWS[1:]]


def test_each_row_is_scored_by_what_the_rows_before_it_taught(teacher):
    """Slow and obvious: for each stage another detector, from the rows before it, over the whole series."""
    series = new_series()
    rows, _ = scored(stream_of(teacher), series)
    for start, stop in pairwise([*(n * W for n in WINDOWS), 300]):
        learnt = teacher.learnt(series.times[:start], series.values[:start], "new", last=start == TEN)
        one = SeriesStream(learnt.detector, TRAILING, Tolerance())
        wanted = one.push(rows_of(series))[1]
        np.testing.assert_array_equal(rows.score[start:stop], wanted.score[start:stop])
        assert set(rows.threshold[start:stop]) == {one.threshold} == {learnt.cuts["trailing"].value}


def test_what_comes_later_changes_no_score(teacher):
    series = new_series()
    changed = replace(series, values=np.where(np.arange(300)[:, None] < 90, series.values, series.values * 3 + 7))
    one, two = (scored(stream_of(teacher), made)[0] for made in (series, changed))
    assert one.score[:90].tobytes() == two.score[:90].tobytes() and (one.score[90:] != two.score[90:]).any()


def test_the_spike_is_an_event_after_learning_and_while_it_learns(teacher):
    for at in (200, 90):
        rows, events = scored(stream_of(teacher), new_series(spike=slice(at, at + 4)))
        assert [e for e in events if e.start < at + 4 and e.stop > at], at
        assert all(e.severity == pytest.approx(e.peak_score / rows.threshold[e.peak]) for e in events)


@pytest.fixture(scope="module")
def whole(teacher):
    """All rows of a faulty series and its events, taken at once."""
    return {how: scored(stream_of(teacher, how), faulty()) for how in (TRAILING, COMBINED)}


@settings(max_examples=4)
@given(cuts=st.lists(st.integers(1, 219), max_size=6), how=st.sampled_from([TRAILING, COMBINED]))
def test_pieces_make_no_difference(teacher, whole, cuts, how):
    series = faulty()
    rows, events = whole[how]
    found, others = scored(stream_of(teacher, how), series, [0, *sorted(set(cuts)), len(series)])
    same(found, rows)
    assert others == events


def faulty():
    """Rows with gaps, missing values, late and repeated ones."""
    made, rng = new_series(220, spike=slice(150, 154)), np.random.default_rng(5)
    times, values = made.times.copy(), made.values.copy()
    times[60:] += 3 * HOUR
    times[100:] += 40 * HOUR
    values[rng.random(220) < 0.05, 0] = np.nan
    values[70] = np.nan
    times[20], times[130] = times[17], times[120] + 1
    times[50], values[50] = times[49], values[49]
    return replace(made, times=times, values=values, labels=None)


@settings(max_examples=4)
@given(cuts=st.lists(st.integers(1, 219), min_size=1, max_size=4), how=st.sampled_from([TRAILING, COMBINED]))
def test_a_restart_makes_no_difference(teacher, whole, tmp_path_factory, cuts, how):
    series, file = faulty(), StateFile(tmp_path_factory.getbasetemp() / "learning.state", {}, 2)
    rows, wanted = whole[how]
    parts, events, memory, stream = [], [], None, None
    for start, stop in pairwise([0, *sorted(set(cuts)), len(series)]):
        stream = stream_of(teacher, how, memory)
        events += stream.ended
        parts.append(stream.push(rows_of(series, start, stop))[1])
        events += stream.events(parts[-1])[0]
        file.write(StreamState({"new": stream.remembered()}))
        memory = file.read().memories["new"]
    parts.append(stream.finish()[1])
    events += stream.events(parts[-1], ended=True)[0]
    same(ScoredRows.joined(parts), rows)
    assert events == wanted


def test_files_have_the_scores_of_live_streams(teacher):
    series = new_series()
    for live in (TRAILING, COMBINED):
        same(scored(stream_of(teacher, replace(live, live=False, lag=0)), series)[0], scored(stream_of(teacher, live), series)[0])


def test_a_beginning_that_stands_still_is_waited_out(teacher):
    series = still(new_series(400), 100)
    rows, _ = scored(stream_of(teacher), series)
    assert statuses(rows) == ["not_learnt"] * (100 + FIRST) + ["learning"] * (TEN - FIRST) + ["ok"] * (300 - TEN)
    later, _ = scored(stream_of(teacher), series[100:])
    assert rows.score[140:].tobytes() == later.score[40:].tobytes()


def test_rows_of_which_nothing_is_known_are_waited_out(teacher):
    rows, _ = scored(stream_of(teacher), gone(new_series(400), 100))
    assert statuses(rows) == ["missing"] * 100 + ["not_learnt"] * FIRST + ["learning"] * (TEN - FIRST) + ["ok"] * (300 - TEN)


def test_a_series_that_never_moves_has_no_score_and_takes_no_memory(teacher):
    stream = stream_of(teacher)
    rows, events = scored(stream, still(new_series(2_000), 2_000))
    assert set(statuses(rows)) == {"not_learnt"} and not events and np.isnan(rows.score).all()
    assert len(stream.memory.lesson.rows.lines) <= TEN
    assert stream.described()["status"] == "not_learnt" and "do not change" in stream.sentence()


def test_a_series_that_hardly_moves_has_no_score_and_takes_no_memory(teacher):
    series = still(new_series(2_000), 2_000)
    series.values[100::400] = 9.0
    stream = stream_of(teacher)
    rows, _ = scored(stream, series)
    assert set(statuses(rows)) == {"not_learnt"} and "change" in stream.sentence()
    assert len(stream.memory.lesson.rows.lines) <= TEN + W


def test_a_feature_that_comes_later_is_silent_until_then(teacher):
    series = gone(new_series(400), 90, 1)
    stream = stream_of(teacher)
    rows, _ = scored(stream, series)
    assert np.isnan(rows.by_feature[FIRST : 7 * W, 1]).all() and np.isfinite(rows.by_feature[FIRST:, 0]).all()
    assert set(statuses(rows)[FIRST : 7 * W]) == {"learning"}


def test_a_feature_that_never_comes_is_named(teacher):
    stream = stream_of(teacher)
    scored(stream, gone(new_series(400), 400, 1))
    assert stream.described() | {"threshold": 0, "own_share": 0, "widened": 0} == {
        "status": "ok", "learnt_rows": TEN, "wanted_rows": TEN, "reason": "", "threshold": 0, "own_share": 0, "widened": 0,
        "silent": ["s2"],
    }  # fmt: skip
    assert stream.sentence().endswith("(10 windows). Nothing is known of 's2', which no score speaks of.")


@pytest.mark.parametrize(
    ("n", "status", "text"),
    [
        (20, "not_learnt", "nothing could be learnt: 24 rows are needed, and there are 20."),
        (70, "learning", "still being learnt: from 60 of 120 rows (10 windows of 12), so its scores are provisional."),
        (150, "ok", "is learnt from its first 120 rows (10 windows)."),
    ],
)
def test_it_says_how_far_it_is(teacher, n, status, text):
    stream = stream_of(teacher)
    stream.push(rows_of(new_series(n)))
    assert stream.described()["status"] == status and stream.sentence().endswith(text)


def test_a_given_threshold_holds_from_the_first_score_on(teacher):
    rows, _ = scored(stream_of(teacher, replace(TRAILING, threshold=3.5)), new_series())
    assert set(rows.threshold[FIRST:]) == {3.5}


def test_rows_that_are_put_in_order_are_learnt_in_order(teacher):
    series = new_series()
    mixed = np.arange(300)
    mixed[40], mixed[41] = 41, 40
    moved = replace(series, times=series.times[mixed], values=series.values[mixed])
    rows, _ = scored(stream_of(teacher, replace(TRAILING, reorder=2)), moved)
    wanted, _ = scored(stream_of(teacher), series)
    assert rows.score.tobytes() == wanted.score.tobytes()


def test_an_event_goes_on_where_it_is_learnt_anew(teacher):
    """A spike on both sides of the row from which on the threshold is another one."""
    at = 7 * W
    rows, events = scored(stream_of(teacher), new_series(spike=slice(at - 3, at + 3)))
    assert rows.threshold[at - 1] != rows.threshold[at]
    (event,) = [event for event in events if event.start <= at < event.stop]
    assert event.start < at - 1
    assert event.peak_score == pytest.approx(rows.score[event.peak], rel=1e-12)
    flagged = np.flatnonzero(rows.flags[event.start : event.stop])
    assert event.n_flagged == len(flagged) and event.severity == pytest.approx((rows.score / rows.threshold)[event.peak])


def test_events_after_learning_are_those_of_an_ordinary_finder(teacher):
    series = new_series()
    rows, events = scored(stream_of(teacher), series)
    rest = rows.at(np.arange(TEN, 300))
    bundle = teacher.learnt(series.times[:TEN], series.values[:TEN], "new", last=True).detector.bundle_
    finder = EventFinder(float(rest.threshold[0]), bundle.columns, teacher.bundle.rules)
    wanted = finder.push(rest.times, rest.score, rest.by_feature, rest.deviation) + finder.finish()
    later = [event for event in events if event.start >= TEN]
    assert [(e.start, e.stop, e.shares) for e in later] == [(e.start + TEN, e.stop + TEN, e.shares) for e in wanted] != []
    np.testing.assert_allclose([e.peak_score for e in later], [e.peak_score for e in wanted], rtol=1e-12)


# Among others


def streams_of(detector, teacher, how, reports, **options):
    def detector_of(name):
        if name == "known":
            return detector
        raise DataError(f"no detector for {name!r}")

    return Streams(
        detector_of, 2, replace(how, several=True), Tolerance(), report=reports.append,
        teacher_of=lambda name: teacher if name == "new" else None, **options,
    )  # fmt: skip


def test_new_and_known_series_go_side_by_side(detector, teacher):
    series, reports = new_series(), []
    streams, out = streams_of(detector, teacher, TRAILING, reports), []
    for start in range(0, 300, 7):
        part = rows_of(series, start, min(start + 7, 300))
        n = len(part.lines)
        ids = np.array(["known", "new", "odd"] * n, object)
        out += streams.push(ids, part.at(np.repeat(np.arange(n), 3)))[0]
    rows = ScoredRows.joined(out)
    found = rows.at(np.arange(1, 900, 3))
    same(found, scored(stream_of(teacher), series)[0])
    assert {STATUSES[code] for code in rows.status[2::3]} == {"no_detector"}
    assert reports[0] == "no detector for 'odd'" and reports[1].startswith(
        "new: A series that the fleet was not trained on is learnt"
    )
    assert streams.learnt["new"]["status"] == "ok" and list(streams.learnt) == ["new"]
    list(streams.finish())
    assert len(reports) == 2 and streams.learnt["new"]["status"] == "ok" and streams.failed == 1


def test_a_new_series_of_another_pace_is_refused_alone(detector, teacher):
    series, reports = new_series(), []
    slow = replace(series, times=series.times[0] + (series.times - series.times[0]) * 5)
    streams = streams_of(detector, teacher, TRAILING, reports)
    rows, _ = streams.push(np.full(300, "new", object), rows_of(slow))
    assert {STATUSES[code] for part in rows for code in part.status} == {"no_detector"}
    assert streams.failed == 1 and reports[0].startswith("new: Rows must come about as often")


def test_a_reload_forgets_nothing_of_series_that_have_ended(detector, teacher):
    series, reports = new_series(), []
    before = streams_of(detector, teacher, TRAILING, reports).renewed(lambda name: detector, None, lambda name: teacher)
    for n in range(25):
        before.push(np.full(30, f"new {n}", object), rows_of(series, 0, 30))
    learnt = before.learnt
    for n in range(22):
        list(before.end(f"new {n}"))
    assert len(reports) == 20
    after = before.renewed(lambda name: detector, None, lambda name: teacher)
    assert after.learnt == learnt and len(learnt) == 25
    list(after.finish())
    assert len(reports) == 20 and after.learnt == learnt


def test_a_series_that_got_a_detector_meanwhile_goes_on_with_it(detector, teacher):
    series, reports = new_series(), []
    before = streams_of(detector, teacher, TRAILING, reports)
    before.push(np.full(200, "new", object), rows_of(series, 0, 200))
    after = before.renewed(lambda name: detector)
    rows, _ = after.push(np.full(100, "new", object), rows_of(series, 200, 300))
    wanted = SeriesStream(detector, TRAILING, Tolerance()).push(rows_of(series))[1]
    assert rows[0].score.tobytes() == wanted.score[200:].tobytes() and not after.learnt


def test_with_another_fleet_it_is_learnt_from_the_same_rows(detector, teacher):
    series = new_series()
    before = streams_of(detector, teacher, TRAILING, [])
    before.push(np.full(200, "new", object), rows_of(series, 0, 200))
    after = before.renewed(lambda name: detector, None, lambda name: teacher)
    rows, _ = after.push(np.full(100, "new", object), rows_of(series, 200, 300))
    assert rows[0].score.tobytes() == scored(stream_of(teacher), series)[0].score[200:].tobytes()
