"""The threshold tuner: a slider moves all that hangs on the threshold, without a browser."""

import base64
import re
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from anomaly import ConfigError, Detector

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def tuner(bundle_path, series):
    pytest.importorskip("ipywidgets")
    pytest.importorskip("plotly")
    from anomaly.notebook.tuner import ThresholdTuner

    return ThresholdTuner(Detector.load(bundle_path), series)


def test_it_begins_at_the_detector_s_threshold(tuner, bundle_path):
    assert tuner.slider.value == pytest.approx(Detector.load(bundle_path).thresholds_["combined"].value)
    assert tuner.outcome.n_known == 1


def trace(tuner, name):
    (found,) = traces(tuner, name)
    return found


def traces(tuner, name):
    return [trace for trace in tuner.figure.data if trace.name == name]


def bands(band):
    """Return the first and the last moment of each rectangle of a trace."""
    assert len(band.x) % 5 == 0
    pieces = [[pd.Timestamp(x, tz="UTC") for x in band.x[i : i + 5] if x is not None] for i in range(0, len(band.x), 5)]
    assert all(len(piece) == 4 for piece in pieces)
    return sorted((min(piece), max(piece)) for piece in pieces)


def test_the_slider_moves_line_events_point_and_words_at_once(tuner):
    for value in (tuner.tradeoff.cuts[30], tuner.tradeoff.cuts[-1]):
        tuner.slider.value = value
        outcome = tuner.tradeoff.at(tuner.slider.value)
        assert set(trace(tuner, "threshold").y) == {tuner.slider.value}
        for band in traces(tuner, "event found"):
            assert len(bands(band)) == len(outcome.events)
        assert set(trace(tuner, "here").y) - {None} == {outcome.n_alarms}
        assert f"{outcome.n_alarms:,} alarms, {outcome.n_flagged:,} rows flagged" in tuner.summary.value
        assert f"{outcome.n_hit} of 1 known events" in tuner.summary.value
    assert outcome.n_alarms == 0


@pytest.mark.parametrize("place", [100, 200, 280])
def test_the_bands_are_the_events_that_detect_finds_in_every_panel(tuner, bundle_path, series, place):
    tuner.slider.value = tuner.tradeoff.cuts[place]
    events = Detector.load(bundle_path).detect(series, threshold=tuner.slider.value)
    stamps = series.stamps
    expected = [(stamps[event.start], stamps[event.stop - 1]) for event in events]
    assert len(traces(tuner, "event found")) == series.n_features + 1
    for band in traces(tuner, "event found"):
        assert [(first, last) for first, last in bands(band)] == expected
    assert tuner.outcome.events == [(event.start, event.stop) for event in events]


def test_the_series_is_drawn_with_its_known_events(tuner, series):
    for name, values in zip(series.columns, series.values.T, strict=True):
        line = trace(tuner, name)
        np.testing.assert_array_equal(np.array(line.y), values)
        assert pd.DatetimeIndex(line.x, tz="UTC").equals(series.stamps)
    start = int(np.flatnonzero(series.labels)[0])
    stop = start + int(series.labels.sum())
    for band in traces(tuner, "labelled"):
        assert bands(band) == [(series.stamps[start], series.stamps[stop - 1])]


def test_all_panels_but_the_last_have_the_time_of_the_series_for_an_axis(tuner, series):
    ends = tuple(stamp.tz_localize(None).isoformat() for stamp in (series.stamps[0], series.stamps[-1]))
    layout = tuner.figure.layout
    assert [tuple(map(str, axis.range)) for axis in (layout.xaxis, layout.xaxis2, layout.xaxis3)] == [ends] * 3
    assert (layout.xaxis2.matches, layout.xaxis3.matches, layout.xaxis4.matches) == ("x", "x", None)


def test_what_moves_changes_in_both_directions(tuner):
    """Of a line that changes in one alone, a browser with two views of the chart forgets the other."""
    cuts = [tuner.tradeoff.cuts[-3], tuner.tradeoff.cuts[-2]]  # one event at both, and the same
    shown = []
    for cut in cuts:
        tuner.slider.value = cut
        shown.append([(list(one.x), list(one.y)) for one in tuner.figure.data if one.name in ("event found", "threshold", "here")])
    for (x, y), (other_x, other_y) in zip(*shown, strict=True):
        assert (x != other_x and y != other_y) or x == []


def test_a_line_breaks_where_rows_or_values_are_missing(bundle_path, series):
    from anomaly.notebook.tuner import ThresholdTuner

    values, times = series.values.copy(), series.times.copy()
    values[50, 0] = np.nan
    times[100:] += 30 * (times[1] - times[0])
    line = trace(ThresholdTuner(Detector.load(bundle_path), replace(series, values=values, times=times)), series.columns[0])
    y = np.array(line.y)
    assert np.flatnonzero(np.isnan(y)).tolist() == [50, 100]
    np.testing.assert_array_equal(y[~np.isnan(y)], np.delete(values[:, 0], 50))


@pytest.mark.parametrize("beyond", [0.999, 1.001])
def test_a_threshold_beyond_the_chart_is_refused_and_changes_nothing(tuner, beyond):
    before = tuner.slider.value
    low, high = tuner.tradeoff.cuts[[0, -1]]
    value = beyond * (low if beyond < 1 else high)
    with pytest.raises(ConfigError) as error:
        tuner.slider.value = value
    assert str(error.value) == (
        f"A threshold under the slider must be from {low:.4g} to {high:.4g}, the range of its chart. "
        f"Received: {value:.4g}. Use detector.set_threshold({value:.4g}) for one beyond."
    )
    assert tuner.slider.value == before


def test_a_number_that_is_typed_moves_the_slider_or_is_told_why_not(tuner):
    tuner.entry.value = 3.14159265
    assert tuner.slider.value == 3.14159265
    tuner.entry.value = 1e9
    assert tuner.slider.value == 3.14159265
    assert "must be from" in tuner.message.value and "Received: 1e+09." in tuner.message.value
    tuner.slider.value = 2.71828
    assert (tuner.message.value, tuner.entry.value) == ("", 2.718)
    assert tuner.slider.value == 2.71828


def test_where_no_slider_can_be_shown_there_is_a_picture_and_what_is_missing(tuner):
    tuner.slider.value = 3.0
    shown = tuner._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in shown
    assert base64.b64decode(shown["image/png"]).startswith(b"\x89PNG")
    assert "pip install ipywidgets anywidget" in shown["text/html"] and shown["image/png"] in shown["text/html"]
    assert shown["text/plain"] == repr(tuner)
    assert repr(tuner).startswith(f"ThresholdTuner: 3, {tuner.outcome.n_alarms:,} alarms, ")


def test_a_chart_that_no_browser_has_drawn_says_what_it_lacks(tuner):
    (note,) = [child for child in tuner.widget.children if "lacks anywidget" in str(getattr(child, "value", ""))]
    tuner.figure._view_count = 1
    assert note.value == ""


def test_a_lower_threshold_shows_more_alarms_expected(tuner):
    shown = []
    for value in (tuner.tradeoff.cuts[10], tuner.tradeoff.cuts[150]):
        tuner.slider.value = value
        shown.append(re.search(r"expect (.*?) on normal data", tuner.summary.value)[1])
    assert shown[0] != shown[1]


def test_the_button_gives_the_detector_the_threshold_and_save_writes_it(tuner, tmp_path):
    tuner.slider.value = 3.0
    tuner.widget.children[-1].click()
    tuner.save(tmp_path / "tuned.anomaly")
    threshold = Detector.load(tmp_path / "tuned.anomaly").thresholds_["combined"]
    assert (threshold.value, threshold.method) == (pytest.approx(3.0), "fixed")


def test_costs_move_the_slider_to_the_cheapest_threshold(tuner):
    figure = tuner.costs(per_alarm=1, per_miss=1000)
    assert tuner.slider.value == tuner.tradeoff.cheapest(1, 1000)
    assert tuner.outcome.n_hit == 1
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), tuner.tradeoff.costs(1, 1000))


def test_without_labels_alarms_are_shown_and_costs_refused(bundle_path, series):
    from anomaly.notebook.tuner import ThresholdTuner

    tuner = ThresholdTuner(Detector.load(bundle_path), replace(series, labels=None))
    assert "known events" not in tuner.summary.value
    with pytest.raises(ConfigError, match="Costs need the known events"):
        tuner.costs(1, 1)


def test_a_long_series_is_drawn_by_its_highest_and_lowest_scores():
    from anomaly.notebook.tuner_chart import rows_to_draw

    score = np.random.default_rng(0).exponential(size=50_000)
    score[[7, 40_000]] = np.nan, 99.0
    rows = rows_to_draw(score)
    assert len(rows) <= 4000 and 40_000 in rows and 7 not in rows
    assert (np.diff(rows) > 0).all()


def test_without_the_libraries_it_says_how_to_get_them(monkeypatch, bundle_path, series):
    from anomaly.notebook.tuner import ThresholdTuner

    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ConfigError, match="Run: pip install "):
        ThresholdTuner(Detector.load(bundle_path), series)
