"""Series side by side, row by row: the scores of files of their own, wherever the stream was cut, stored and taken up."""

import functools
import pickle
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from conftest import HOUR, TINY, make_series
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly import BundleError, ConfigError, DataError, Detector, StorageError
from anomaly.config import FIGURES
from anomaly.detector.lookup import OneForAll
from anomaly.files.scored_rows import ScoredRows
from anomaly.fleet import folder
from anomaly.fleet.folder import Fleet, Index, Member
from anomaly.live import interleaved, stream_state
from anomaly.live.interleaved import InOrder, Streams
from anomaly.live.stream import How, Rows, SeriesStream
from anomaly.live.stream_state import StateFile, StreamState
from anomaly.scoring.row_scores import STATUSES
from anomaly.sources.growing import Position
from anomaly.sources.tolerance import Tolerance
from anomaly.storage import snapshot

N = 160
LIVE = {name: How(name, live=True, lag=11, figures=FIGURES) for name in ("trailing", "trailing_point", "combined", "point_mean")}
each = pytest.mark.parametrize("name", list(LIVE))


def faulty(seed=3):
    """Rows with gaps, missing values, late rows and repeated ones."""
    made, rng = make_series(N, seed=seed), np.random.default_rng(seed)
    times, values = made.times.copy(), made.values.copy()
    times[60:] += 3 * HOUR  # rows are missing
    times[90:] += 40 * HOUR  # a gap
    values[rng.random(N) < 0.05, 0] = np.nan
    values[110] = np.nan
    times[20], times[130] = times[17], times[120] + 1  # late
    times[70], values[70] = times[69], values[69]  # repeated
    return replace(made, times=times, values=values, labels=None)


def rows_of(series, start=0, stop=None, places=None):
    stop = len(series) if stop is None else stop
    numbers = np.arange(start, stop) if places is None else places[start:stop]
    return Rows([f"{series.name} {i}" for i in range(start, stop)], numbers, series.times[start:stop], series.values[start:stop])


def same(found, wanted):
    assert found.lines == wanted.lines
    for name in ("times", "score", "by_feature", "deviation", "status", "threshold"):
        assert getattr(found, name).tobytes() == getattr(wanted, name).tobytes(), name
    for name in ("measured", "expected", "figures"):  # a NaN may have either sign
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), err_msg=name)


def pushed(stream, series, bounds):
    return [stream.push(rows_of(series, a, b))[1] for a, b in pairwise(bounds)]


def whole_of(detector, how, series):
    stream = SeriesStream(detector, replace(how, live=False), Tolerance())
    return ScoredRows.joined([stream.push(rows_of(series))[1], stream.finish()[1]])


@functools.cache
def faulty_whole(name, detector):
    tolerance = Tolerance()
    stream = SeriesStream(detector, replace(LIVE[name], live=False), tolerance)
    rows = ScoredRows.joined([stream.push(rows_of(faulty()))[1], stream.finish()[1]])
    assert {"duplicate_rows", "steps_back", "gaps", "missing_rows"} <= tolerance.counts.keys()
    return rows, tolerance


@functools.cache
def with_stride(detector, stride):
    """The same detector, whose scores are made from every `stride`-th window."""
    other, config = Detector(**TINY), detector.bundle_.config
    config = replace(config, windows=replace(config.windows, scoring_stride=stride))
    other.bundle_, other._reconstruct = replace(detector.bundle_, config=config), detector._reconstruct
    return other


def stored_anywhere(detector, name, cuts, stored, folder):
    """Push rows in pieces, and go on from a file after some of them."""
    how, series, tolerance = LIVE[name], faulty(), Tolerance()
    file = StateFile(folder / f"{name}.state", {"a": 1}, 2)
    parts, stream = [], SeriesStream(detector, how, tolerance)
    for number, (start, stop) in enumerate(pairwise([0, *sorted(set(cuts)), N])):
        parts.append(stream.push(rows_of(series, start, stop))[1])
        if number in stored:
            file.write(StreamState({"x": stream.memory}))
            stream = SeriesStream(detector, how, tolerance, file.read().memories["x"])
    parts.append(stream.finish()[1])
    return ScoredRows.joined(parts), tolerance


@pytest.mark.parametrize("name", ["combined", "point_mean"])
@given(cuts=st.lists(st.integers(1, N - 1), max_size=30), stored=st.sets(st.integers(0, 30)), stride=st.integers(2, 7))
def test_a_stream_goes_on_with_the_same_every_kth_window(detector, tmp_path_factory, name, cuts, stored, stride):
    own = with_stride(detector, stride)
    found, _ = stored_anywhere(own, name, cuts, stored, tmp_path_factory.getbasetemp())
    wanted, _ = faulty_whole(name, own)
    same(found, wanted)
    assert not np.array_equal(wanted.score, faulty_whole(name, detector)[0].score, equal_nan=True)


@each
@settings(max_examples=30)
@given(cuts=st.lists(st.integers(1, N - 1), max_size=30), stored=st.sets(st.integers(0, 30)))
def test_a_stream_cut_stored_and_taken_up_anywhere_has_the_scores_of_the_file(detector, tmp_path_factory, name, cuts, stored):
    found, tolerance = stored_anywhere(detector, name, cuts, stored, tmp_path_factory.getbasetemp())
    wanted, counted = faulty_whole(name, detector)
    same(found, wanted)
    assert (tolerance.counts, tolerance.places) == (counted.counts, counted.places)


@each
def test_what_is_remembered_does_not_grow(detector, name):
    series, stream = make_series(N), SeriesStream(detector, LIVE[name], Tolerance())
    for row in range(N):
        stream.push(rows_of(series, row, row + 1))
        assert len(stream.memory.past.times) <= 11
        assert len(stream.memory.waiting.times) == (0 if name.startswith("trailing") else min(row + 1, 11))


@given(st.data())
def test_rows_out_of_order_are_put_in_order_as_far_as_rows_are_held(detector, data):
    series, held = make_series(60), data.draw(st.integers(1, 6))
    # Each row is put off by up to `held` places: what a network does to datagrams.
    keys = np.arange(60) + np.array(data.draw(st.lists(st.integers(0, held), min_size=60, max_size=60)))
    shuffled = np.argsort(keys, kind="stable")
    mixed = replace(series, times=series.times[shuffled], values=series.values[shuffled], labels=None)
    how, tolerance = replace(LIVE["trailing"], reorder=held), Tolerance()
    stream = SeriesStream(detector, how, tolerance)
    cuts = sorted(data.draw(st.sets(st.integers(1, 59), max_size=12)))
    parts = pushed(stream, mixed, [0, *cuts, 60])
    assert sum(len(part.lines) for part in parts) == 60 - held
    found = ScoredRows.joined([*parts, stream.finish()[1]])
    wanted = whole_of(detector, LIVE["trailing"], series)
    assert found.score.tobytes() == wanted.score.tobytes()
    assert found.times.tolist() == series.times.tolist()
    assert "steps_back" not in tolerance.counts


def several(n_series=4, n=70, seed=0):
    """Series of different lengths, and the order in which their rows come."""
    rng = np.random.default_rng(seed)
    made = {f"p{i}": replace(make_series(n - 9 * i, seed=i), name=f"p{i}") for i in range(n_series)}
    order = np.concatenate([np.full(len(series), name, object) for name, series in made.items()])
    rng.shuffle(order)
    return made, order


def mixed_rows(made, order):
    """Return all rows in the order in which they come."""
    taken, parts = dict.fromkeys(made, 0), []
    for place, name in enumerate(order):
        row = taken[name]
        taken[name] += 1
        parts.append(rows_of(made[name], row, row + 1)._replace(places=np.array([place])))
    return parts


def joined(parts):
    whole = parts[0]
    for part in parts[1:]:
        whole = whole + part
    return whole


def run_through(detector, name, order, rows, bounds):
    """Push the rows of several series in pieces; return all rows that come out, and the events by series."""
    streams, out, ended = Streams(lambda _: detector, 2, replace(LIVE[name], several=True), Tolerance()), [], []
    for start, stop in pairwise(bounds):
        found, events = streams.push(order[start:stop], joined(rows[start:stop]))
        out += found
        ended += events
    last = list(streams.finish())
    return ScoredRows.joined(out + [piece.rows for piece in last]), ended + [piece.ended for piece in last]


@functools.cache
def one_by_one(detector, name, seed):
    made, order = several(seed=seed)
    found, _ = run_through(detector, name, order, mixed_rows(made, order), range(len(order) + 1))
    for series, its_own in made.items():
        mine = np.flatnonzero([line.startswith(f"{series} ") for line in found.lines])
        same(found.at(mine), whole_of(detector, LIVE[name], its_own))
    if name == "trailing":
        assert [line.split()[0] for line in found.lines] == order.tolist()
    return found


@pytest.mark.parametrize("name", ["trailing", "combined"])
@settings(max_examples=8)
@given(cuts=st.lists(st.integers(1, 200), max_size=40), seed=st.integers(0, 1))
def test_series_side_by_side_have_the_scores_of_files_of_their_own_in_one_order(detector, name, cuts, seed):
    made, order = several(seed=seed)
    n = len(order)
    found, events = run_through(detector, name, order, mixed_rows(made, order), sorted({0, n, *(cut for cut in cuts if cut < n)}))
    same(found, one_by_one(detector, name, seed))
    assert {series for series, some, _ in events if some} <= set(made)


@given(st.lists(st.permutations(range(12)), min_size=1, max_size=3))
def test_rows_are_held_until_those_before_them_are_there(orders):
    hold, out, given_so_far, base = InOrder(), [], set(), 0
    for order in orders:
        for place in (base + place for place in order):
            nothing = np.zeros((1, 1))
            row = ScoredRows([str(place)], *(np.zeros(1),) * 2, nothing, nothing, np.zeros(1, np.uint8), np.zeros(1))
            piece = type("P", (), {"places": np.array([place]), "rows": row})
            out += [int(line) for part in hold.take([piece]) for line in part.lines]
            given_so_far.add(place)
            complete = next(i for i in range(len(given_so_far) + 1) if i not in given_so_far)
            assert out == list(range(complete))
        base += 12


def test_the_series_that_was_not_heard_of_for_the_longest_time_makes_room(detector):
    made, tolerance = {name: make_series(40, seed=i) for i, name in enumerate("abc")}, Tolerance()
    streams = Streams(lambda _: detector, 2, How("combined", live=True, lag=11, several=True), tolerance, most_series=2)
    out = []
    for name, first in (("a", 0), ("b", 0), ("a", 20), ("c", 0)):
        rows, _ = streams.push(np.full(20, name, object), rows_of(made[name], first, first + 20))
        out.append(sum(len(part.lines) for part in rows))
    assert list(streams.memories) == ["a", "c"]
    assert tolerance.counts["series_put_away"] == 1
    assert out == [9, 9, 20, 9 + 11], "the rows of b that waited go out with it"


def no_detector(name):
    raise DataError(f"no detector for {name!r}")


def test_rows_of_an_unknown_series_come_out_with_a_status_and_one_report(detector):
    made, reports = make_series(30), []
    streams = Streams(
        lambda name: detector if name == "a" else no_detector(name), 2, replace(LIVE["trailing"], several=True), Tolerance(),
        report=reports.append,
    )  # fmt: skip
    ids = np.array(["a", "b"] * 15, object)
    rows, _ = streams.push(ids, rows_of(made).at(np.repeat(np.arange(15), 2)))
    more, _ = streams.push(ids, rows_of(made).at(np.repeat(np.arange(15, 30), 2)))
    assert [STATUSES[code] == "no_detector" for part in rows + more for code in part.status] == [False, True] * 30
    assert (reports, streams.failed) == (["no detector for 'b'"], 1)


@pytest.mark.parametrize("kind", [BundleError, StorageError])
def test_a_detector_that_cannot_be_read_is_missing_for_its_series_alone(detector, kind):
    made, reports = make_series(20), []

    def detector_of(name):
        if name == "a":
            return detector
        raise kind("The file is gone.")

    how = replace(LIVE["trailing"], several=True)
    streams = Streams(detector_of, 2, how, Tolerance(), report=reports.append)
    rows, _ = streams.push(np.array(["a", "b"] * 20, object), rows_of(made).at(np.repeat(np.arange(20), 2)))
    assert [STATUSES[code] == "no_detector" for part in rows for code in part.status] == [False, True] * 20
    assert (reports, streams.failed) == (["b: The file is gone."], 1)


def test_a_series_that_is_refused_does_not_end_the_others_and_loses_no_row(detector):
    good, reports = make_series(40), []
    bad = replace(good, times=good.times[0] + (good.times - good.times[0]) * 3)
    how = replace(LIVE["trailing"], several=True)
    streams, out = Streams(lambda _: detector, 2, how, Tolerance(), report=reports.append), []
    for row in range(40):
        for name, series in (("good", good), ("bad", bad)):
            out += streams.push(np.array([name], object), rows_of(series, row, row + 1)._replace(lines=[name]))[0]
    lines = [line for part in out for line in part.lines]
    assert lines.count("good") == lines.count("bad") == 40
    assert len(reports) == streams.failed == 1 and reports[0].startswith("bad: Rows must come about as often")
    alone = Streams(lambda _: detector, 2, replace(how, several=False), Tolerance())
    with pytest.raises(DataError, match="about as often"):
        alone.push(np.full(40, "", object), rows_of(bad))


def unknown_rows(streams, names):
    """Push a row of each of some series that have no detector."""
    for place, name in enumerate(names):
        streams.push(np.array([name], object), rows_of(make_series(60), place, place + 1))


@pytest.mark.parametrize("most", [2, 30])
def test_a_series_without_a_detector_is_looked_up_counted_and_reported_once(most):
    asked, reports = [], []

    def lookup(name):
        asked.append(name)
        no_detector(name)

    streams = Streams(lookup, 2, replace(LIVE["trailing"], several=True), Tolerance(), most_series=most, report=reports.append)
    unknown_rows(streams, ["x", "y", "z"] * 10)
    assert streams.failed == 3 and asked == ["x", "y", "z"] and len(reports) == 3
    again = streams.renewed(lookup)
    unknown_rows(again, ["x", "y", "z"] * 2)
    assert again.failed == 3 and asked == ["x", "y", "z"] * 2


def test_of_too_many_series_without_a_detector_the_oldest_is_looked_up_again(monkeypatch):
    monkeypatch.setattr(interleaved, "MOST_TOLD_APART", 3)
    asked = []

    def lookup(name):
        asked.append(name)
        no_detector(name)

    streams = Streams(lookup, 2, replace(LIVE["trailing"], several=True), Tolerance(), most_series=1)
    unknown_rows(streams, "abcadacb")
    assert "".join(asked) == "abcdb" and streams.failed == 3


def test_the_words_on_a_series_without_a_detector_are_looked_for_where_they_are_read(monkeypatch):
    asked, reports = [], []
    fleet = Fleet("nowhere", Index("id", "t", ("a", "b"), {name: Member(f"{name}.anomaly", "0" * 64) for name in ("x1", "x2")}))
    monkeypatch.setattr(folder.difflib, "get_close_matches", lambda name, *others: asked.append(name) or ["x1"])
    streams = Streams(fleet.detector, 2, replace(LIVE["trailing"], several=True), Tolerance(), report=reports.append)
    names = [f"x{n}" for n in range(10, 50)]
    unknown_rows(streams, names)
    assert streams.failed == 40 and asked == names[:20] and len(reports) == 20
    assert reports[0] == (
        "A series must be one of the 2 that the fleet was trained on. Received: 'x10' (nowhere). The nearest are 'x1'. "
        "Call it as in training, train the fleet with it, or leave it out."
    )
    with pytest.raises(DataError) as found:
        fleet.detector("x9")
    assert asked == names[:20] and str(pickle.loads(pickle.dumps(found.value))) == str(found.value) and asked[20:] == ["x9"]
    assert fleet.ids is fleet.ids


def test_a_reload_says_of_no_more_than_twenty_series_that_the_old_detector_stays(detector):
    reports = []
    streams = Streams(lambda _: detector, 2, replace(LIVE["trailing"], several=True), Tolerance(), report=reports.append)
    unknown_rows(streams, [f"x{n}" for n in range(30)])
    again = streams.renewed(no_detector)
    assert len(reports) == 20 and len(again.memories) == 30


def test_a_series_that_was_refused_stays_so_until_its_detector_takes_rows_of_another_pace(detector, tmp_path):
    good, how = make_series(60), replace(LIVE["trailing"], several=True)
    bad = replace(good, times=good.times[0] + (good.times - good.times[0]) * 3)
    before = Streams(lambda _: detector, 2, how, Tolerance())
    for row in range(20):
        before.push(np.array(["bad"], object), rows_of(bad, row, row + 1))
    StateFile(tmp_path / "s", {}, 2).write(StreamState(before.memories, refused=before.refused))
    state = StateFile(tmp_path / "s", {}, 2).read()
    slower = tuned(detector, 3.5)
    slower.bundle_ = replace(detector.bundle_, step=3 * HOUR)
    for streams, stays_so in (
        (Streams(lambda _: detector, 2, how, Tolerance(), memories=state.memories, refused=state.refused), True),
        (before.renewed(lambda _: detector), True),
        (before.renewed(lambda _: slower), False),
    ):
        rows = [streams.push(np.array(["bad"], object), rows_of(bad, row, row + 1))[0] for row in range(20, 40)]
        assert [STATUSES[code] == "no_detector" for parts in rows for part in parts for code in part.status] == [stays_so] * 20
        assert list(streams.refused) == ["bad"] * stays_so


def test_a_remembered_series_without_a_detector_loses_no_row_and_ends_no_other(detector):
    made, how, reports = make_series(60), replace(LIVE["combined"], several=True), []
    before = Streams(lambda _: detector, 2, how, Tolerance())
    for name in "ab":
        before.push(np.full(30, name, object), rows_of(made, 0, 30))
    after = Streams(
        lambda name: detector if name == "a" else no_detector(name), 2, how, Tolerance(),
        memories=before.memories, report=reports.append,
    )  # fmt: skip
    rows, _ = after.push(np.full(30, "a", object), rows_of(made, 30, 60))
    assert reports == ["no detector for 'b'"]
    assert [len(part.lines) for part in rows] == [11, 30]
    assert {STATUSES[code] for code in rows[0].status} == {"no_detector"}


def test_a_pace_that_changed_on_the_way_does_not_keep_a_stream_from_going_on(detector):
    made = make_series(80)
    times = made.times.copy()
    times[20:] = times[20] + np.arange(60) * HOUR // 3
    series = replace(made, times=times)
    stream = SeriesStream(detector, LIVE["trailing"], Tolerance())
    first = pushed(stream, series, [0, 16, 50])
    second = SeriesStream(detector, LIVE["trailing"], Tolerance(), stream.memory).push(rows_of(series, 50, 80))[1]
    whole = pushed(SeriesStream(detector, LIVE["trailing"], Tolerance()), series, [0, 16, 80])
    found = np.concatenate([part.score for part in (*first, second)])
    assert found.tobytes() == np.concatenate([part.score for part in whole]).tobytes()


@pytest.mark.parametrize(("threshold", "counts"), [(3.0, [1, 0]), (3.5, [0])])
def test_an_event_that_is_open_when_the_detector_changes_is_not_lost(detector, threshold, counts):
    made = make_series(60, spike=slice(27, 30))
    before, after = tuned(detector, 3.5), tuned(detector, threshold)
    streams = Streams(lambda _: before, 2, LIVE["trailing"], Tolerance())
    assert streams.push(np.full(30, "", object), rows_of(made, 0, 30))[1] == [("", [], [])]
    streams = streams.renewed(lambda _: after)
    _, ended = streams.push(np.full(1, "", object), rows_of(made, 30, 31))
    assert [len(events) for _, events, _ in ended] == counts
    assert sum(len(piece.events) for piece in streams.finish()) == 1


def tuned(detector, threshold):
    found = type(detector)(**detector.get_params())
    found.bundle_, found._reconstruct = detector.bundle_, None
    return found.set_threshold(threshold, aggregation="trailing")


@settings(max_examples=30)
@given(cuts=st.lists(st.integers(1, N - 1), max_size=8))
def test_events_over_restarts_are_those_of_one_run(detector, tmp_path_factory, cuts):
    series, how = faulty(), replace(LIVE["combined"], threshold=0.9)
    file = StateFile(tmp_path_factory.getbasetemp() / "events.state", {}, 2)
    runs = []
    for bounds in ([0, N], [0, *sorted(set(cuts)), N]):
        events, state = [], StreamState()
        for start, stop in pairwise(bounds):
            streams = Streams(lambda _: detector, 2, how, Tolerance(), memories=state.memories)
            _, ended = streams.push(np.full(stop - start, "", object), rows_of(series, start, stop))
            events += [event for _, some, _ in ended for event in some]
            file.write(StreamState(streams.memories))
            state = file.read()
        runs.append(events + [event for piece in streams.finish() for event in piece.events])
    assert runs[1] == runs[0]
    assert len(runs[0]) > 3


def test_a_detector_that_was_tuned_anew_goes_on_without_a_break(detector):
    series, streams = make_series(60), Streams(OneForAll(detector).detector, 2, LIVE["trailing"], Tolerance())
    first, _ = streams.push(np.full(30, "", object), rows_of(series, 0, 30))
    second, _ = streams.renewed(OneForAll(tuned(detector, 123.0)).detector).push(np.full(30, "", object), rows_of(series, 30, 60))
    wanted = whole_of(detector, LIVE["trailing"], series)
    assert np.concatenate([first[0].score, second[0].score]).tobytes() == wanted.score.tobytes()
    assert second[0].threshold.tolist() == [123.0] * 30


@pytest.mark.parametrize("window", [8, 20])
@each
def test_a_detector_with_other_windows_gives_each_row_once(detector, other_windows, name, window):
    series, streams = make_series(90), Streams(lambda _: detector, 2, replace(LIVE[name], lag=30), Tolerance())
    out = list(streams.push(np.full(50, "", object), rows_of(series, 0, 50))[0])
    streams = streams.renewed(lambda _: other_windows[window])
    for row in range(50, 90):
        out += streams.push(np.full(1, "", object), rows_of(series, row, row + 1))[0]
    out += [piece.rows for piece in streams.finish()]
    found, wanted = ScoredRows.joined(out), whole_of(other_windows[window], LIVE[name], series)
    assert found.lines == wanted.lines
    # As soon as all its rows are remembered ones, a window has the score that it always had.
    np.testing.assert_array_equal(found.score[75:], wanted.score[75:])


@pytest.fixture(scope="module")
def other_windows(detector, series):
    from conftest import TINY

    from anomaly import Detector

    short = TINY | {"epochs": 1, "steps_per_epoch": 2, "penalty": "none"}
    return {size: Detector(**short | {"window_size": size}).fit(series[:400]) for size in (8, 20)}


def test_looking_ahead_needs_a_lag(detector):
    with pytest.raises(ConfigError, match=r"looks 11 rows ahead, and --lag must be at least that. Received: --lag 10"):
        SeriesStream(detector, How("combined", live=True, lag=10), Tolerance())


# The state


def test_a_state_comes_back_as_it_was(tmp_path, detector):
    stream = SeriesStream(detector, replace(LIVE["combined"], reorder=2), Tolerance())
    stream.push(rows_of(faulty(), 0, 50))
    state = StreamState({"Ünï, \n": stream.remembered()}, 7, 8, Position(1, 2**60, 3, 4, "5f"), 5, {"a": 3}, {}, {"n_rows": 6})
    state.drift |= {"Ünï, \n": np.array([-(2**60), 7]), "": np.array([], np.int64), "b": np.array([5])}
    file = StateFile(tmp_path / "s", {"columns": ["a"]}, 2)
    file.write(state)
    found = file.read()
    assert replace(found, memories={}, drift={}) == replace(state, memories={}, drift={})
    drifts = [[(name, counts.tolist()) for name, counts in kept.drift.items()] for kept in (state, found)]
    assert drifts[0] == drifts[1]
    assert list(found.memories) == ["Ünï, \n"]
    (memory,) = found.memories.values()
    for part in ("past", "waiting", "held"):
        for old, new in zip(getattr(stream.memory, part), getattr(memory, part), strict=True):
            np.testing.assert_array_equal(old, new)
    assert (memory.n_rows, memory.finder) == (50, stream.finder.memory())
    assert [len(memory.past.times), len(memory.waiting.times), len(memory.held.times)] == [11, 11, 2]


@pytest.mark.parametrize(("seconds", "pause"), [(0.01, 1.0), (2.0, 20.0)])
def test_writing_a_state_takes_a_tenth_of_the_time_at_most(tmp_path, monkeypatch, seconds, pause):
    clock = [100.0]
    monkeypatch.setattr(stream_state.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(snapshot, "atomic_write", lambda *_: clock.append(clock.pop() + seconds))
    file = StateFile(tmp_path / "s", {}, 1)
    assert file.is_due()
    file.write(StreamState())
    clock[0] = 100 + seconds + pause - 0.001
    assert not file.is_due()
    clock[0] += 0.002
    assert file.is_due()


def test_what_is_gathered_for_a_state_counts_as_writing_it(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(stream_state.time, "monotonic", lambda: clock[0])
    file = StateFile(tmp_path / "s", {}, 1)
    assert file.is_due()
    clock[0] += 2
    file.write(StreamState())
    clock[0] += 19.9
    assert not file.is_due()
    clock[0] += 0.2
    assert file.is_due()


def test_a_state_without_a_file_is_none(tmp_path):
    assert StateFile(tmp_path / "s", {}, 1).read() is None


def test_the_state_of_another_run_is_refused(tmp_path):
    StateFile(tmp_path / "s", {"columns": ["a"], "lag": 1}, 1).write(StreamState())
    with pytest.raises(ConfigError, match="another columns, lag"):
        StateFile(tmp_path / "s", {"columns": ["b"], "lag": 2}, 1).read()


def test_a_state_of_another_version_is_told(tmp_path, monkeypatch):
    file = StateFile(tmp_path / "s", {}, 1)
    with monkeypatch.context() as patch:
        patch.setattr(stream_state, "_SNAPSHOTS", replace(stream_state._SNAPSHOTS, version=1))
        file.write(StreamState())
    with pytest.raises(BundleError, match=r"of format version 2\. Received: .*s \(format version 1\)\. Remove it to begin anew\."):
        file.read()


def test_any_damage_to_a_state_is_found(tmp_path, detector):
    stream = SeriesStream(detector, LIVE["trailing"], Tolerance())
    stream.push(rows_of(make_series(30)))
    file = StateFile(tmp_path / "s", {}, 2)
    file.write(StreamState({"": stream.memory}))
    content = file.path.read_bytes()
    rng = np.random.default_rng(0)
    damaged = [content[: rng.integers(len(content))] for _ in range(20)]
    for place in rng.integers(len(content), size=60).tolist():
        damaged.append(content[:place] + bytes([content[place] ^ 1 << int(rng.integers(8))]) + content[place + 1 :])
    for version in damaged:
        file.path.write_bytes(version)
        with pytest.raises(BundleError, match="must be a whole file"):
            file.read()
