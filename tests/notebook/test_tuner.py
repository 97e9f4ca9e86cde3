"""The threshold tuner: a slider moves all that hangs on the threshold, without a browser."""

import re
import sys
from dataclasses import replace

import numpy as np
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
    (found,) = [trace for trace in tuner.figure.data if trace.name == name]
    return found


def test_the_slider_moves_line_events_point_and_words_at_once(tuner):
    for value in (tuner.tradeoff.cuts[30], tuner.tradeoff.cuts[-1]):
        tuner.slider.value = value
        outcome = tuner.tradeoff.at(tuner.slider.value)
        assert set(trace(tuner, "threshold").y) == {tuner.slider.value}
        assert len(trace(tuner, "events").x) == 3 * len(outcome.events)
        assert tuple(trace(tuner, "here").y) == (outcome.n_alarms,)
        assert f"{outcome.n_alarms:,} alarms, {outcome.n_flagged:,} rows flagged" in tuner.summary.value
        assert f"{outcome.n_hit} of 1 known events" in tuner.summary.value
    assert outcome.n_alarms == 0


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
    np.testing.assert_array_equal(figure.data[0].y, tuner.tradeoff.costs(1, 1000))


def test_without_labels_alarms_are_shown_and_costs_refused(bundle_path, series):
    from anomaly.notebook.tuner import ThresholdTuner

    tuner = ThresholdTuner(Detector.load(bundle_path), replace(series, labels=None))
    assert "known events" not in tuner.summary.value
    with pytest.raises(ConfigError, match="Costs need the known events"):
        tuner.costs(1, 1)


def test_a_long_series_is_drawn_by_its_highest_and_lowest_scores(bundle_path):
    from anomaly.notebook.tuner import _rows_to_draw

    score = np.random.default_rng(0).exponential(size=50_000)
    score[[7, 40_000]] = np.nan, 99.0
    rows = _rows_to_draw(score)
    assert len(rows) <= 4000 and 40_000 in rows and 7 not in rows
    assert (np.diff(rows) > 0).all()


def test_without_the_libraries_it_says_how_to_get_them(monkeypatch, bundle_path, series):
    from anomaly.notebook.tuner import ThresholdTuner

    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ConfigError, match="Run: pip install "):
        ThresholdTuner(Detector.load(bundle_path), series)
