"""What people read: tables, JSON, the text about a bundle, the picture."""

import csv
import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_bundles import made_bundle
from made_events import BEGIN, EVENTS

from anomaly import ConfigError
from anomaly.config import DetectorConfig
from anomaly.events.event import Event, NotRaised
from anomaly.events.event_list import Events
from anomaly.events.not_raised import DISMISSED, TOO_SHORT
from anomaly.report.detector_text import bundle_text
from anomaly.report.pictures import plot_scores
from anomaly.report.tables import aligned, events_text, write_events
from anomaly.scoring.row_scores import OK
from anomaly.scoring.scores import Scores
from anomaly.series import TimeSeries, labelled_ranges

GOLDEN = Path(__file__).parents[1] / "golden"


HOUR = 3_600_000_000


@pytest.mark.parametrize("file_format", ["table", "csv", "jsonl"])
def test_events_are_written_as_agreed(file_format):
    assert events_text(EVENTS, "when", file_format) == (GOLDEN / f"events_{file_format}.txt").read_text("utf-8")


@pytest.mark.parametrize("file_format", ["table", "csv", "jsonl"])
def test_what_is_no_event_stands_among_the_events_with_its_reason(file_format):
    left_out = [("", NotRaised(EVENTS[1], TOO_SHORT))]
    text = events_text([EVENTS[0], EVENTS[2]], "when", file_format, left_out=left_out)
    assert text == (GOLDEN / f"all_events_{file_format}.txt").read_text("utf-8")


def test_of_several_series_what_is_no_event_has_its_series():
    left_out = [("south", NotRaised(EVENTS[0], DISMISSED)), ("north", NotRaised(EVENTS[2], TOO_SHORT))]
    rows = csv.DictReader(io.StringIO(events_text(EVENTS[1:2], "when", "csv", series=["north"], left_out=left_out)))
    assert [(row["series"], row["start"], row["not_raised"]) for row in rows] == [
        ("south", "7", "dismissed"), ("north", "1200", ""), ("north", "4000", "too_short"),
    ]  # fmt: skip


def test_events_of_counted_rows_are_told_by_row_numbers():
    counted = [replace(EVENTS[0], first_time=7, last_time=7, peak_time=7)]
    assert events_text(counted, None, "table") == (GOLDEN / "events_of_counted_rows.txt").read_text("utf-8")


@pytest.mark.parametrize(
    ("file_format", "text"),
    [
        ("table", "No events.\n"),
        ("csv", "start,stop,first_time,last_time,peak_time,peak_score,severity,n_flagged,features,deviations,measured,expected\n"),
        ("jsonl", ""),
    ],
)
def test_no_events_are_told_too(file_format, text):
    assert events_text([], "when", file_format) == text


def test_every_line_of_a_table_fits_its_columns():
    header, *lines = events_text(EVENTS, "when", "table").splitlines()
    for name in ("first", "peak", "driven by"):
        at = header.index(name)
        assert all(line[at - 1] == " " and line[at] != " " for line in lines)
    for name in ("lasts", "rows", "severity"):
        end = header.index(name) + len(name)
        assert all(line[end - 1] != " " and line[end] == " " for line in lines)


@pytest.mark.parametrize("width", [100, 80, 70, 50])
def test_events_are_shown_as_agreed_in_a_terminal(width):
    text = events_text(EVENTS, "when", "table", width=width)
    assert text == (GOLDEN / f"events_table_{width}.txt").read_text("utf-8")


@pytest.mark.parametrize("width", range(50, 130, 3))
def test_a_table_is_no_wider_than_the_terminal_and_breaks_no_name(width):
    text = events_text(EVENTS, "when", "table", width=width)
    assert max(map(len, text.splitlines())) <= width
    for part in ("flow:1.00↓", "flow:0.56↑", "pressure:0.30↓", 'Drück, "cold":0.75↑', "flow:0.25↓"):
        assert part in text


def test_of_one_feature_it_is_said_only_where_its_values_lay():
    ways = [replace(EVENTS[0], shares=(("flow", 1.0),), deviations=(deviation,)) for deviation in (-3.2, 0.1, 0.0)]
    assert [line.split()[-1] for line in events_text(ways, "when", "table").splitlines()] == ["value", "down", "up", "1.00"]


def test_measured_and_expected_stand_in_the_unit_of_the_column():
    one = replace(EVENTS[0], shares=(("flow", 1.0),), deviations=(-3.2,), measured=(39197.4,), expected=(24000.1,))
    unknown = replace(one, measured=(None,))
    header, *lines = events_text([one, unknown], "when", "table").splitlines()
    assert header.split()[-2:] == ["measured", "expected"]
    assert [line.split()[-2:] for line in lines] == [["39,197", "24,000"], ["-", "-"]]
    assert header.endswith("expected") and lines[0].endswith("24,000")
    assert repr(one).endswith("flow down: 39,197 where 24,000 was expected")
    assert repr(unknown).endswith("flow down")


def test_a_large_offset_does_not_hide_what_differs():
    event = replace(EVENTS[0], shares=(("flow", 1.0),), deviations=(3.0,), measured=(1e9 + 123.4,), expected=(1e9,))
    assert repr(event).endswith("flow up: 1000000123 where 1000000000 was expected")
    (row,) = csv.DictReader(io.StringIO(events_text([event], "when", "csv")))
    assert (row["measured"], row["expected"]) == ("flow:1000000123", "flow:1000000000")
    assert event.to_dict("when")["measured"] == {"flow": 1000000123.0}
    unknown = replace(event, expected=())
    assert next(csv.DictReader(io.StringIO(events_text([unknown], "when", "csv"))))["measured"] == "flow:1.00000012e+09"


def test_of_several_features_each_that_is_named_has_its_values():
    event = replace(EVENTS[1], measured=(1013.2, None, 3.0, 4.0), expected=(1012.9, 5.0, 2.0, 4.0))
    text = events_text([event], "when", "table")
    assert text.endswith("flow:0.56↑ 1,013.2 (expected 1,012.9) pressure:0.30↓\n")
    assert repr(event).endswith("pressure down 30 %: flow 1,013.2 where 1,012.9 was expected")
    (row,) = csv.DictReader(io.StringIO(events_text([event], "when", "csv")))
    assert row["measured"] == "flow:1013.2 heat:3 noise:4"
    assert row["expected"] == "flow:1012.9 pressure:5 heat:2 noise:4"
    found = json.loads(events_text([event], "when", "jsonl"))
    assert found["measured"] == {"flow": 1013.2, "pressure": None, "heat": 3.0, "noise": 4.0}
    assert event.to_dict("when", top=1)["expected"] == {"flow": 1012.9}


def test_seconds_are_told_of_a_column_where_one_has_some():
    late = replace(EVENTS[0], first_time=BEGIN + 1_000_000)
    text = events_text([EVENTS[0], late], "when", "table")
    assert "2022-04-15T05:20:00Z" in text and "2022-04-15T05:20:01Z" in text and "2022-04-15T05:20Z" in text


def test_a_csv_of_events_has_all_features_in_one_quoted_cell():
    rows = list(csv.DictReader(io.StringIO(events_text(EVENTS, "when", "csv"))))
    assert [row["features"] for row in rows][1:] == ["flow:0.56 pressure:0.30 heat:0.14 noise:0.00", 'Drück, "cold":0.75 flow:0.25']


def test_the_guide_has_every_column_of_events():
    """Those of files, of a list with what is no event, and of frames."""
    guide = (Path(__file__).parents[2] / "anomaly" / "scoring" / "README.md").read_text()
    guide = guide[guide.index("### The columns of events") : guide.index("## A part of the rows")]
    header = events_text(EVENTS, "timestamp", "csv").splitlines()[0].split(",")
    assert {*header, "not_raised", "series", *Events(EVENTS).to_frame().columns} <= set(re.findall(r"`(\w+)`", guide))


def test_json_lines_of_events_are_the_events():
    lines = events_text(EVENTS, "when", "jsonl").splitlines()
    assert [json.loads(line) for line in lines] == [event.to_dict("when") for event in EVENTS]


@pytest.mark.parametrize(("name", "file_format"), [("events.jsonl", "jsonl"), ("events.csv", "csv"), ("events", "csv")])
def test_the_name_of_an_events_file_decides_its_format(tmp_path, name, file_format):
    write_events(str(tmp_path / name), EVENTS, "when")
    assert (tmp_path / name).read_text("utf-8") == events_text(EVENTS, "when", file_format)


def bundle_of_text():
    return made_bundle(versions={"anomaly": "0.1.0", "numpy": "2.4.0"})


def with_settings(**settings):
    made = bundle_of_text()
    return replace(made, config=DetectorConfig.from_settings(made.config.to_settings() | settings))


def test_a_bundle_is_described_as_agreed():
    assert bundle_text(replace(bundle_of_text(), history={"validation_loss": np.array([0.25, 0.5])}), "text") == (
        GOLDEN / "bundle_text.txt"
    ).read_text("utf-8")


def test_the_json_about_a_bundle_holds_every_setting_and_threshold():
    made = bundle_of_text()
    described = json.loads(bundle_text(made, "json"))
    assert described == json.loads(json.dumps(made.describe()))
    assert DetectorConfig.from_settings(described["settings"]) == made.config
    assert described["thresholds"]["trailing"]["value"] == made.thresholds["trailing"].value


def test_a_trained_bundle_can_be_described(detector):
    text = bundle_text(detector.bundle_, "text")
    assert "12 rows, trained at stride 1" in text
    assert f"sha256 {detector.bundle_.fingerprint[:16]}" in text


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"penalty": "none"}, "penalty                   none\n"),
        ({"penalty": "l1", "penalty_every": 4}, "l1, weight 0.01, every 4 steps\n"),
        ({"penalty": "l2", "penalty_weight": 0.5, "penalty_method": "exact", "penalty_every": 1}, "l2, weight 0.5\n"),
        ({"bidirectional": True}, "3 units, reversed output, bidirectional encoder\n"),
        (
            {"code_size": 2, "dropout": 0.1, "input_noise": 0.2},
            "3 units, reversed output, code of 2, dropout 0.1, input noise 0.2\n",
        ),
        ({"aggregation": "trailing"}, "threshold trailing *"),
    ],
)
def test_settings_that_matter_are_told_in_words(settings, expected):
    assert expected in bundle_text(with_settings(**settings), "text")


def test_a_bundle_without_times_says_that_rows_are_counted():
    assert "rows are counted" in bundle_text(replace(bundle_of_text(), time_column=None), "text")


def labelled(labels):
    n = len(labels)
    return TimeSeries(np.arange(n), np.zeros((n, 1)), ("a",), labels=np.array(labels, np.float64))


@pytest.mark.parametrize(
    ("labels", "ranges"),
    [
        ([], []),
        ([0, 0, 0], []),
        ([1, 1, 1], [(0, 3)]),
        ([1, 0, 1], [(0, 1), (2, 3)]),
        ([0, 1, 1, 0, 0, 1, 0], [(1, 3), (5, 6)]),
    ],
)
def test_labelled_ranges_are_half_open_runs_of_ones(labels, ranges):
    assert labelled_ranges(labelled(labels)) == ranges


def test_a_series_without_labels_has_no_labelled_ranges():
    assert labelled_ranges(replace(labelled([0, 1]), labels=None)) == []


def made_scores(series, score, n_features=2):
    return Scores(
        score=score,
        by_feature=np.column_stack([score * (i + 1) for i in range(n_features)]),
        deviation=np.column_stack([score - i for i in range(n_features)]),
        status=np.full(len(score), OK, np.uint8),
        threshold=2.0,
        aggregation="window_mean",
        times=series.times,
        columns=series.columns,
        time_column=series.time_column,
    )


@pytest.fixture
def scored():
    """Twenty hourly rows of two features, one event of three rows, one labelled range of four."""
    rng = np.random.default_rng(0)
    labels = np.zeros(20)
    labels[9:13] = 1
    series = TimeSeries(BEGIN + np.arange(20) * HOUR, rng.normal(size=(20, 2)), ("flow", "heat"), labels=labels, time_column="when")
    score = np.concatenate([[np.nan] * 4, rng.uniform(0.5, 1.5, 16)])
    score[10:13] = 3.0, 5.0, 4.0
    event = Event(
        start=10, stop=13, first_time=int(series.times[10]), last_time=int(series.times[12]), peak=11,
        peak_time=int(series.times[11]), peak_score=5.0, severity=2.5, n_flagged=3, shares=(("heat", 2 / 3), ("flow", 1 / 3)),
        deviations=(1.0, 2.0),
    )  # fmt: skip
    return series, made_scores(series, score), [event]


def spans(axis):
    """Return first and last day of the shaded ranges, and where they begin in height."""
    boxes = [patch.get_bbox() for patch in axis.patches]
    return [(box.x0, box.x1, box.y0) for box in boxes]


def days(time):
    return time / (24 * HOUR)


def test_a_picture_holds_the_series_and_its_scores(scored):
    pytest.importorskip("matplotlib")
    series, scores, events = scored
    axes = plot_scores(series, scores, events).axes
    assert [axis.get_ylabel() for axis in axes] == ["heat", "flow", "score"]
    np.testing.assert_array_equal(axes[0].lines[0].get_ydata(), series.values[:, 1])
    np.testing.assert_array_equal(axes[1].lines[0].get_ydata(), series.values[:, 0])
    np.testing.assert_array_equal(axes[2].lines[0].get_ydata(), scores.score)


def test_a_picture_holds_the_times(scored):
    pytest.importorskip("matplotlib")
    from matplotlib.dates import date2num

    series, scores, events = scored
    for axis in plot_scores(series, scores, events).axes:
        found = axis.convert_xunits(axis.lines[0].get_xdata())
        np.testing.assert_allclose(found, date2num(series.times.astype("datetime64[us]")), rtol=0, atol=1e-9)


def test_a_picture_holds_the_threshold(scored):
    pytest.importorskip("matplotlib")
    line = plot_scores(*scored).axes[-1].lines[1]
    assert list(line.get_ydata()) == [2.0, 2.0]
    assert line.get_label() == "threshold 2"


def test_a_picture_shades_found_and_labelled_ranges_from_first_to_last_row(scored):
    pytest.importorskip("matplotlib")
    series, scores, events = scored
    for axis in plot_scores(series, scores, events).axes:
        found, known = spans(axis)
        assert found == pytest.approx((days(series.times[10]), days(series.times[12]), 0), abs=1e-6)
        assert known == pytest.approx((days(series.times[9]), days(series.times[12]), 0.96), abs=1e-6)


def test_a_picture_takes_known_ranges_instead_of_labels(scored):
    pytest.importorskip("matplotlib")
    series, scores, _ = scored
    (known,) = spans(plot_scores(series, scores, [], known=[(1, 3)]).axes[0])
    assert known[:2] == pytest.approx((days(series.times[1]), days(series.times[2])), abs=1e-6)


def test_a_picture_without_events_and_labels_shades_nothing(scored):
    pytest.importorskip("matplotlib")
    series, scores, _ = scored
    assert not any(axis.patches for axis in plot_scores(replace(series, labels=None), scores, []).axes)


def test_a_picture_draws_the_six_features_with_the_largest_scores():
    pytest.importorskip("matplotlib")
    names = tuple("abcdefgh")
    series = TimeSeries(np.arange(5), np.ones((5, 8)), names)
    scores = made_scores(series, np.array([1.0, 3.0, 1.0, 1.0, 1.0]), n_features=8)
    assert [axis.get_ylabel() for axis in plot_scores(series, scores, []).axes] == ["h", "g", "f", "e", "d", "c", "score"]


def test_a_picture_of_counted_rows_has_row_numbers():
    pytest.importorskip("matplotlib")
    series = TimeSeries(np.arange(5), np.ones((5, 1)), ("a",))
    figure = plot_scores(series, made_scores(series, np.arange(1.0, 6), n_features=1), [])
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_xdata(), np.arange(5))


@pytest.mark.parametrize("kind", ["event", "known"])
def test_a_range_of_one_row_can_be_seen(scored, kind):
    pytest.importorskip("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    series, scores, (event,) = scored
    one, known = ([replace(event, start=11, stop=12)], []) if kind == "event" else ([], [(11, 12)])
    axis_pixels = []
    for events in (one, []):
        figure = plot_scores(series, scores, events, known=known if events is one else [])
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        at = figure.axes[0].transData.transform((days(series.times[11]), 0))[0]
        box = figure.axes[0].get_window_extent()
        pixels = np.asarray(canvas.buffer_rgba())[::-1].astype(int)  # from the bottom up, as the box is
        axis_pixels.append(pixels[int(box.y0) : int(box.y1), int(at) - 1 : int(at) + 2])
    assert np.abs(axis_pixels[0] - axis_pixels[1]).max() > 20


def test_no_line_is_drawn_across_a_gap(scored):
    pytest.importorskip("matplotlib")
    series, scores, events = scored
    late = series.times + np.where(np.arange(20) < 8, 0, 50 * HOUR)
    line = plot_scores(replace(series, times=late), scores, events).axes[0].lines[0]
    drawn = line.get_ydata()
    np.testing.assert_array_equal(drawn[:8], series.values[:8, 1])
    assert np.isnan(drawn[8])
    np.testing.assert_array_equal(drawn[9:], series.values[8:, 1])


def test_a_picture_can_be_saved(scored, tmp_path):
    pytest.importorskip("matplotlib")
    plot_scores(*scored).savefig(tmp_path / "scores.png")
    assert (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_without_matplotlib_names_what_to_install(scored, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match="Run: pip install matplotlib"):
        plot_scores(*scored)


def test_a_table_that_is_too_wide_is_folded_between_words_in_its_widest_columns():
    table = [
        ("", "before", "after"),
        ("chosen by", "alarm_budget: at most 1 in 42 days", "fixed: given by hand"),
        ("file", "", "0123456789abcdefghi"),
    ]
    assert aligned(table, width=48).splitlines() == [
        "           before             after",
        "chosen by  alarm_budget: at   fixed: given by",
        "           most 1 in 42 days  hand",
        "file",
        "  0123456789abcdefghi",
    ]
    assert aligned(table, width=200) == aligned(table)
