"""The report page as text: what it says, what it holds, what it must not let in."""

import base64
import json
import re
import sys
from dataclasses import dataclass, replace
from html.parser import HTMLParser

import numpy as np
import pytest
from closeness import assert_close

from anomaly import ConfigError
from anomaly.bundle.bundle import Bundle
from anomaly.config import AGGREGATIONS, DetectorConfig
from anomaly.events.alarms import EventRules
from anomaly.events.event import NotRaised
from anomaly.events.finder import find_events
from anomaly.events.not_raised import TOO_SHORT
from anomaly.report.chart import MOST_DETAILED_EVENTS, MOST_POINTS, Marks, panels_of
from anomaly.report.page import page_html
from anomaly.scoring.row_scores import MISSING, OK
from anomaly.scoring.scores import Scores
from anomaly.series import TimeSeries
from anomaly.thresholds.calibration import Calibration, describe
from anomaly.windowing.scaling import CLIP, ErrorUnits, Scaler

pytest.importorskip("plotly")
pytest.importorskip("tsdownsample")

MINUTE = 60_000_000
BEGIN = 1_650_000_000_000_000  # 2022-04-15T05:20:00Z
HOSTILE = "<script>alert(1)</script>"


@dataclass(frozen=True)
class Made:
    """What a page is made of."""

    series: TimeSeries
    scores: Scores
    events: list
    bundle: Bundle

    def page(self, **options):
        return page_html(self.series, self.scores, self.events, self.bundle, **({"title": "A report"} | options))


@dataclass(frozen=True)
class Explained:
    noise_rms: float
    sensitivity: np.ndarray
    first_row: int


def made_detector(columns, *, timed):
    """A bundle of made-up numbers; nothing is trained."""
    rng = np.random.default_rng(1)
    scores, times = rng.exponential(size=400) * 0.2, np.arange(400) * (MINUTE if timed else 1)
    step = MINUTE if timed else 1
    calibration = Calibration(
        scores, times, 150, 16, 1440.0 if timed else None, EventRules(merge_gap=8, longest_step=step * 3 // 2)
    )
    threshold = describe(calibration, 1.0, "fixed", 1.0)
    k = len(columns)
    return Bundle(
        config=DetectorConfig.from_settings({"window_size": 16, "units": 3, "epochs": 3, "seed": 11}),
        columns=columns, time_column="when" if timed else None, window_size=16, stride=1, step=step, longest_step=step * 3 // 2,
        seed=11, scaler=Scaler(center=np.full(k, 1000.0), scale=np.full(k, 2.0)),
        error_units=ErrorUnits(np.ones(k), np.ones(k)), row_step=0, weights={"w": np.zeros(7, np.float32)},
        calibration_times=times, calibration_scores=dict.fromkeys(AGGREGATIONS, scores),
        thresholds=dict.fromkeys(AGGREGATIONS, threshold),
        history=dict.fromkeys(("loss", "reconstruction_loss", "gradient_penalty", "validation_loss"), np.array([0.9, 0.4, 0.5])),
        training={
            "n_rows": 400, "n_train_windows": 235, "n_held_out_rows": 150, "n_epochs": 3, "best_epoch": 2,
            "first_time": "2022-04-01T00:00:00Z", "last_time": "2022-04-01T06:39:00Z",
        },
        fingerprint="ab" * 32, versions={"anomaly": "0.1.0"},
    )  # fmt: skip


def made(n=1_000, columns=("flow", "heat"), *, timed=True, at=(300, 700), labels=False, missing=slice(0), length=12):
    """A series whose first feature is 10 sigmas too high at the beginning of every event, and 5 after."""
    rng = np.random.default_rng(0)
    bundle = made_detector(columns, timed=timed)
    deviation = rng.uniform(-0.5, 0.5, size=(n, len(columns)))
    for start in at:
        deviation[start : start + length, 0] = 5
        deviation[start, 0] = 10
    values = 1000 + np.sin(np.arange(n) / 50)[:, None] + 2 * deviation
    values[missing] = deviation[missing] = np.nan
    times = BEGIN + np.arange(n) * MINUTE if timed else np.arange(n)
    label = np.zeros(n)
    for start in at:
        label[start + 2 : start + 5] = 1
    series = TimeSeries(times, values, columns, label if labels else None, "made.csv", "when" if timed else None)
    by_feature = deviation**2
    status = np.where(np.isnan(deviation[:, 0]), MISSING, OK).astype(np.uint8)
    score = by_feature.mean(axis=1)
    scores = Scores(score, by_feature, deviation, status, 1.0, "window_mean", times, columns, series.time_column)
    return Made(series, scores, find_events(scores, bundle.rules), bundle)


class Reader(HTMLParser):
    """Collect tags with their attributes, and the visible text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.scripts, self.text, self._inside = [], [], "", []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data):
        if self._inside and self._inside[-1] == "script":
            self.scripts[-1] += data
        elif not self._inside or self._inside[-1] != "style":
            self.text += data

    @property
    def data(self):
        return json.loads(self.scripts[0])

    def rows(self):
        return [attrs for tag, attrs in self.tags if tag == "tr" and "data-event" in attrs]


def numbers(text, dtype="<f4"):
    return np.frombuffer(base64.b64decode(text), dtype).astype(np.float64)


def own_part(page):
    """Return the page without plotly.js, which is 5 MB of somebody else's."""
    return re.sub(r"</script>\n<script>.*?</script>", "", page, count=1, flags=re.DOTALL)


@pytest.fixture(scope="module")
def page():
    return made(labels=True).page()


@pytest.fixture(scope="module")
def long():
    return made(n=30_000, at=range(500, 29_000, 400), missing=slice(10_000, 11_000))


def test_a_page_loads_nothing(page):
    tags = Reader(page).tags
    assert [attrs for _, attrs in tags if "src" in attrs] == []
    assert [attrs["href"] for _, attrs in tags if "href" in attrs] == ["data:,"]
    assert re.findall(r"https?://|@import|url\(", own_part(page)) == []


def test_a_page_allows_its_own_two_scripts_only(page):
    reader = Reader(page)
    (policy,) = [attrs["content"] for tag, attrs in reader.tags if tag == "meta" and "http-equiv" in attrs]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert policy.count("sha256-") == len(reader.scripts) - 1 == 2
    assert "unsafe-eval" not in policy
    assert "unsafe-inline" not in policy.split(";")[1]


def test_a_page_says_how_many_events_there_are_and_which_is_the_worst(page):
    # 10 sigmas in one of two features: a score of about 50.
    assert re.search(r"2 events in 1,000 rows; the worst, event \d, peaked at 2022-04-15 1\d:\d\d:00, 50\.\d\d times the", page)


def test_a_page_lists_the_events_with_what_drove_them(page):
    reader = Reader(page)
    assert [row["data-event"] for row in reader.rows()] == ["0", "1"]
    assert all(row["tabindex"] == "0" and row["aria-label"] for row in reader.rows())
    assert "flow 100% ↑" in reader.text


def test_a_page_tells_a_value_below_the_expected_one():
    case = made()
    events = [replace(event, deviations=tuple(-x for x in event.deviations)) for event in case.events]
    assert "flow 100% ↓" in Reader(replace(case, events=events).page()).text


def test_a_page_describes_the_detector_and_its_threshold(page):
    text = Reader(page).text
    for part in ("3 units", "16 rows, trained at stride 1", "400 rows, 2022-04-01T00:00:00Z", "sha256 abababab", "anomaly 0.1.0"):
        assert part in text
    assert f"Threshold: {made().bundle.thresholds['combined']}." in text
    assert "epoch 2 of 3: validation loss 0.4" in text


def test_a_page_says_so_if_the_threshold_is_not_that_of_the_detector():
    case = made()
    assert "Threshold: 2.5, given by hand." in replace(case, scores=replace(case.scores, threshold=2.5)).page()


def test_a_page_without_events_still_has_everything():
    case = made(at=())
    page = case.page()
    reader = Reader(page)
    assert case.events == []
    assert "No events in 1,000 rows; the highest score is 0." in reader.text
    assert "No events: no stretch of rows" in reader.text
    assert len(reader.data["panels"]) == 3
    assert reader.data["calibration"]["cuts"]
    assert reader.rows() == []


def test_a_page_of_one_event_speaks_of_one():
    assert "1 event in 1,000 rows; it peaked at" in made(at=(300,)).page()


def test_a_page_of_counted_rows_has_row_numbers():
    case = made(timed=False)
    reader = Reader(case.page())
    assert not reader.data["timed"]
    assert reader.data["calibration"]["unit"] == "in 1,000 rows"
    assert "peaked at row 300," in reader.text or "peaked at row 700," in reader.text
    np.testing.assert_array_equal(numbers(reader.data["panels"][0]["x"], "<f8"), np.arange(1_000))


def test_times_are_milliseconds():
    case = made()
    x = numbers(Reader(case.page()).data["panels"][0]["x"], "<f8")
    np.testing.assert_array_equal(x, case.series.times / 1000)


def test_a_short_series_is_drawn_row_by_row():
    case = made()
    data = Reader(case.page()).data
    flow = data["panels"][0]
    assert [panel["name"] for panel in data["panels"]] == ["flow", "heat", "score"]
    measured, expected = (numbers(flow[name]) + flow["base"] for name in ("measured", "expected"))
    assert_close(measured, case.series.values[:, 0], 1e-8)
    assert_close(expected, 1000 + np.sin(np.arange(1_000) / 50), 1e-8)
    assert_close(numbers(data["panels"][2]["measured"]), case.scores.score, 1e-6)
    assert data["details"] == {}


def test_the_calibration_curve_falls_and_passes_the_threshold():
    case = made()
    curve, threshold = Reader(case.page()).data["calibration"], case.bundle.thresholds["combined"]
    assert curve["cuts"][0] < threshold.value < curve["cuts"][-1]
    assert curve["rates"][0] > curve["rates"][-1]
    assert curve["unit"] == "a day"
    assert curve["rate"] == pytest.approx(threshold.expected * 1.44)


def test_labelled_ranges_are_there_only_if_there_are_labels(page):
    known = Reader(page).data["known"]
    np.testing.assert_array_equal(numbers(known["first"], "<f8"), (BEGIN + np.array([302, 702]) * MINUTE) / 1000)
    np.testing.assert_array_equal(numbers(known["last"], "<f8"), (BEGIN + np.array([304, 704]) * MINUTE) / 1000)
    assert "labelled</li>" in page
    without = made().page()
    assert "labelled</li>" not in without
    assert Reader(without).data["known"] == {"first": "", "last": ""}


def test_missing_rows_are_not_bridged():
    measured = numbers(Reader(made(missing=slice(500, 510)).page()).data["panels"][0]["measured"])
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(measured)), np.arange(500, 510))


def test_a_gap_in_time_is_not_bridged():
    case = made()
    times = case.series.times + np.where(np.arange(1_000) < 500, 0, 90 * MINUTE)
    flow = Reader(replace(case, series=replace(case.series, times=times)).page()).data["panels"][0]
    assert np.flatnonzero(np.isnan(numbers(flow["measured"]))).tolist() == [500]
    np.testing.assert_array_equal(np.delete(numbers(flow["x"], "<f8"), 500), times / 1000)


def test_an_overview_has_few_points_and_the_extremes(long):
    for panel, line in zip(Reader(long.page()).data["panels"], [*long.series.values.T, long.scores.score], strict=True):
        measured = numbers(panel["measured"]) + panel["base"]
        assert len(measured) < 1.05 * MOST_POINTS
        assert np.nanmax(measured) == pytest.approx(np.nanmax(line), rel=1e-6)
        assert np.nanmin(measured) == pytest.approx(np.nanmin(line), rel=1e-6)


def test_an_overview_keeps_a_long_hole(long):
    panel = Reader(long.page()).data["panels"][0]
    x, measured = numbers(panel["x"], "<f8"), numbers(panel["measured"])
    hole = (x >= (BEGIN + 10_000 * MINUTE) / 1000) & (x < (BEGIN + 11_000 * MINUTE) / 1000)
    assert hole.any()
    assert np.isnan(measured[hole]).all()


def test_the_most_severe_events_of_a_long_series_have_all_their_rows(long):
    data = Reader(long.page()).data
    severe = sorted(range(len(long.events)), key=lambda i: -long.events[i].severity)[:MOST_DETAILED_EVENTS]
    assert len(long.events) > MOST_DETAILED_EVENTS
    assert set(data["details"]) == {str(i) for i in severe}
    event, detail = long.events[severe[0]], data["details"][str(severe[0])]
    rows = slice(event.start - 16, event.stop + 16)
    np.testing.assert_array_equal(numbers(detail["x"], "<f8"), long.series.times[rows] / 1000)
    measured = numbers(detail["panels"][0]["measured"]) + data["panels"][0]["base"]
    assert_close(measured, long.series.values[rows, 0], 1e-8)


def test_a_detail_takes_the_place_of_the_points_in_its_range(long):
    data = Reader(long.page()).data
    for detail in data["details"].values():
        x = numbers(detail["x"], "<f8")
        for panel, strip in zip(data["panels"], detail["panels"], strict=True):
            whole = numbers(panel["x"], "<f8")
            low, high = strip["cut"]
            assert (whole[:low] < x[0]).all()
            assert ((whole[low:high] >= x[0]) & (whole[low:high] <= x[-1])).all()
            assert (whole[high:] > x[-1]).all()


def test_the_expected_value_is_that_of_the_scores_where_a_value_is_out_of_range():
    case = made()
    case.series.values[500, 0] = 1e6  # 499,500 sigmas: scored as if it lay 10,000 away
    case.scores.deviation[500, 0] = CLIP
    scores = replace(case.scores, measured=case.series.values, scaler=case.bundle.scaler)
    expected = panels_of(case.series, scores, case.bundle)[0].expected
    np.testing.assert_allclose(expected[500], 1000, rtol=1e-9)
    np.testing.assert_array_equal(expected, scores.expected[:, 0])


def test_a_page_of_a_million_rows_stays_small():
    case = made(n=1_000_000, columns=tuple("abcdef"), at=range(1_000, 990_000, 16_000), length=6_000)
    assert len(case.events) > MOST_DETAILED_EVENTS
    assert len(case.page().encode()) < 8_000_000


def test_a_page_of_many_features_draws_six_and_has_the_others_to_choose_from():
    case = made(n=6_000, columns=tuple(f"feature {i}" for i in range(38)))
    page = case.page()
    data = Reader(page).data
    assert {panel["name"] for panel in data["panels"]} == {*case.series.columns, "score"}
    assert data["panels"][0]["name"] == "feature 0" and data["panels"][-1]["name"] == "score"
    assert [len(numbers(panel["measured"])) <= 1_100 for panel in data["panels"]] == [False] * 6 + [True] * 32 + [False]
    assert [strip is None for strip in data["details"]["0"]["panels"]] == [False] * 6 + [True] * 32 + [False]
    assert "6 of 38 features are drawn at first: those that drive the flagged rows most. All can be chosen." in page
    assert len(page.encode()) < 7_000_000


def test_of_hundreds_of_features_sixty_can_be_chosen():
    page = made(columns=tuple(f"feature {i}" for i in range(300))).page()
    assert len(Reader(page).data["panels"]) == 61
    assert "those that drive the flagged rows most. 60 of them can be chosen." in page


def cells(reader, page):
    """Return the cells of each row with an event, by their labels."""
    rows = re.findall(r"<tr [^>]*data-event[^>]*>(.*?)</tr>", page)
    return [
        {name: re.sub("<[^>]*>", "", cell) for name, cell in re.findall(r'data-label="(.*?)"[^>]*>(.*?)</td>', row)} for row in rows
    ]


def test_with_labels_a_page_says_what_was_found_what_was_missed_and_what_is_false():
    case = made(at=(300, 700, 900))
    labels = np.zeros(1_000)
    labels[302:305] = labels[500:520] = 1
    page = replace(case, series=replace(case.series, labels=labels)).page()
    reader = Reader(page)
    assert "1 of 2 known events found, 1 missed; 2 of 3 events false." in reader.text
    assert [row["labels"] for row in cells(reader, page)] == ["known", "false", "false"]
    known = re.findall(r'<tr role="row">(.*?)</tr>', page.split("Known events, each with how it was found</summary>")[1])
    assert [re.sub("<[^>]*>", " ", row).split()[-1] for row in known[1:]] == ["1", "missed"]
    without = case.page()
    assert "known event" not in without and "labels" not in cells(Reader(without), without)[0]


def test_known_events_of_the_training_do_not_count():
    case, trained = made(at=(300, 700), labels=True), np.zeros(1_000, np.bool_)
    trained[:500] = True
    page = case.page(marks=Marks(trained=trained))
    reader = Reader(page)
    assert "1 of 1 known event found, 0 missed; 0 of 1 event false." in reader.text
    assert [row["labels"] for row in cells(reader, page)] == ["", "known"]
    assert ["data-training" in row for row in reader.rows()] == [True, False]


def test_a_page_tells_values_and_how_long_an_event_lasts():
    case = made(columns=("flow",))
    events = [replace(event, measured=(39197.4,), expected=(24000.1,)) for event in case.events]
    page = replace(case, events=events).page()
    (first, _), (row, _) = cells(Reader(page), page), Reader(page).rows()
    assert first["driven by"] == "flow ↑39,197 where 24,000 was expected"  # of one feature there is no share
    assert first["lasts"] == "11 min"
    assert float(row["data-severity"]) == case.events[0].severity
    assert int(row["data-duration"]) == 11 * MINUTE


def test_shares_that_say_nothing_are_not_shown():
    case = made(columns=tuple("abcdefg"))
    even = {"shares": tuple((name, 1 / 7) for name in "abcdefg"), "deviations": (1.0,) * 7}
    page = replace(case, events=[replace(event, **even) for event in case.events]).page()
    assert cells(Reader(page), page)[0]["driven by"] == "spread over all 7"


def test_infinite_values_are_drawn_as_gaps():
    case = made()
    case.series.values[5, 0] = np.inf
    case.series.values[6, 0] = 1e300
    measured = numbers(Reader(case.page()).data["panels"][0]["measured"])
    assert np.isnan(measured[5])
    assert np.isfinite(measured[6])


@pytest.mark.parametrize("name", [HOSTILE, "<!--<script>", '"><img src=x onerror=alert(1)>', "{{data}}", "a & b"])
def test_text_from_data_stays_text(name):
    case = made(columns=(name, "heat"))
    page = case.page(title=f"Of {name}")
    reader, plain = Reader(page), Reader(made().page())
    assert [tag for tag, _ in reader.tags] == [tag for tag, _ in plain.tags]
    assert len(reader.scripts) == 3
    assert reader.data["panels"][0]["name"] == name
    assert f"Of {name}" in reader.text
    assert f"{name} 100% ↑" in reader.text


def test_explanations_are_shown_with_their_event():
    sensitivity = np.random.default_rng(3).exponential(size=(500, 2))
    page = made().page(explanations={0: Explained(0.123, sensitivity, 100), 1: Explained(np.inf, sensitivity[:5], 700)})
    reader = Reader(page)
    assert [row["far from none"] for row in cells(reader, page)] == ["near", "nothing small found"]
    assert "0.123 training sigmas" in page
    maps = reader.data["heatmaps"]
    assert set(maps) == {"0", "1"}
    z = numbers(maps["0"]["z"]).reshape(2, -1)
    assert z.shape[1] == 200
    assert z.max() == pytest.approx(sensitivity.max(), rel=1e-6)
    np.testing.assert_array_equal(numbers(maps["1"]["x"], "<f8"), (BEGIN + np.arange(700, 705) * MINUTE) / 1000)


def test_without_explanations_there_is_no_column_for_them(page):
    assert "far from none" not in page


def test_the_same_report_is_the_same_text(page):
    assert made(labels=True).page() == page


@pytest.mark.parametrize("module", ["plotly.offline", "tsdownsample"])
def test_a_page_without_its_packages_names_what_to_install(monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match="Run: pip install "):
        made().page()


def test_rows_of_the_training_are_marked_and_their_events_do_not_count():
    one = made(at=(300, 700))
    trained = np.arange(1_000) < 500
    found = Reader(one.page(marks=Marks(trained=trained)))
    n = [event.stop <= 500 for event in one.events].count(True)
    assert n and "1 more lies in the 500 rows of the training, which do not count." in found.text
    assert "1 event in 500 rows; it peaked at" in found.text
    assert " · 500 rows of the training, not counted" in found.text
    assert numbers(found.data["trained"]["last"], "<f8").tolist() == [(BEGIN + 499 * MINUTE) / 1000]
    assert found.text.count("(training)") == n
    counted = Reader(one.page(marks=Marks(trained=trained, count_training=True)))
    assert "2 events in 1,000 rows; the worst" in counted.text and "(training)" not in counted.text
    assert " · 500 rows of the training, counted" in counted.text
    every = Reader(one.page(marks=Marks(trained=np.ones(1_000, np.bool_))))
    assert "No events in 0 rows; no row has a score. 2 more lie in the 1,000 rows" in every.text


def test_events_of_a_range_keep_their_numbers():
    found = Reader(made().page(marks=Marks(first_number=8)))
    assert found.data["first_number"] == 8
    assert "the worst, event 8," in found.text or "the worst, event 9," in found.text
    assert found.rows()[0]["aria-label"].startswith("Event 8, ")


def test_flagged_rows_that_are_no_event_have_thin_marks_and_a_sentence():
    one = made()
    marks = Marks(not_raised=[NotRaised(one.events[0], TOO_SHORT)])
    found = Reader(one.page(marks=marks))
    assert len(numbers(found.data["not_raised"]["first"], "<f8")) == 1
    assert "1 run of flagged rows was too short to be an event." in found.text
    assert "flagged, no event" in found.text and "flagged, no event" not in Reader(one.page()).text
