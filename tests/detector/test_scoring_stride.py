"""The setting of the windows that are run: its choice, its limits, and its place in a detector file."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import TINY, make_series

from anomaly import ConfigError, Detector
from anomaly.bundle.file import from_bytes, to_bytes
from anomaly.config import AGGREGATIONS, DetectorConfig
from anomaly.scoring.overlaps import scoring_stride_of


@pytest.fixture(scope="module")
def strided():
    return Detector(**TINY | {"scoring_stride": 5}).fit(make_series(300, spike=None))


@pytest.mark.parametrize(("window_size", "pooling", "stride"), [(12, "auto", 1), (128, "auto", 7), (128, 3, 8), (512, "auto", 31)])
def test_auto_is_a_16th_of_a_window_without_a_common_factor_with_the_pooling(window_size, pooling, stride):
    assert scoring_stride_of(DetectorConfig.from_settings({"pooling": pooling}), window_size) == stride


def test_every_row_must_lie_in_a_window():
    message = (
        r"`scoring_stride` must be at most the window, 12 rows: else rows lie in no window\. "
        r"Received: scoring_stride=13\. Use a smaller one, or auto\."
    )
    with pytest.raises(ConfigError, match=message):
        Detector(**TINY | {"scoring_stride": 13}).fit(make_series(300))


def test_a_detector_file_keeps_it_and_one_without_it_runs_every_window(strided, detector):
    assert from_bytes(to_bytes(strided.bundle_)).scoring_stride == 5
    windows = replace(strided.bundle_.config.windows, scoring_stride=1)
    every = to_bytes(replace(strided.bundle_, config=replace(strided.bundle_.config, windows=windows)))
    assert b"scoring_stride" not in every
    assert from_bytes(every).scoring_stride == 1
    assert detector.bundle_.scoring_stride == 1


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_calibration_scores_are_those_that_scoring_gives(strided, aggregation):
    """Scored alone or beside the others: where all are asked for, every window is run for those that look at its end."""
    series, bundle = make_series(300, spike=None), strided.bundle_
    cut = len(series) - bundle.training["n_held_out_rows"]
    parts = [strided.score(part, aggregation=aggregation).score for part in (series[:cut], series[cut:])]
    np.testing.assert_array_equal(np.concatenate(parts), bundle.calibration_scores[aggregation])


def test_few_windows_run_where_a_score_looks_ahead_and_all_where_it_does_not(strided):
    series, n_run = make_series(200), []

    def counting(reconstruct):
        def run(windows):
            n_run.append(len(windows))
            return reconstruct(windows)

        return run

    for aggregation, n_windows in (("combined", 39), ("window_mean", 39), ("trailing", 189)):
        n_run.clear()
        scorer = strided.row_scorer(aggregation, through=counting)
        scorer.push(series.times, series.values)
        scorer.finish()
        assert sum(n_run) == n_windows  # of 189: those at 0, 5, ..., 185, and the last at 188
