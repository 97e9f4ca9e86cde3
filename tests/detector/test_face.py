"""What a person sees of a detector, and a path in the place of a series."""

import numpy as np
import pytest

from anomaly import DataError, Detector, StorageError, read_csv


def test_a_detector_in_a_line(detector):
    value = detector.thresholds_["combined"].value
    assert repr(Detector(units=3)) == "Detector(units=3)"
    assert repr(detector) == (
        f"Detector of s1, s2, trained on 400 rows (2022-04-15 05:20 to 05-01 20:20), window 12, threshold {value:.4g}"
    )


def test_a_detector_of_counted_rows_in_a_line(detector, series):
    again = Detector(**detector.get_params() | {"epochs": 1, "steps_per_epoch": 1}).fit(series.values[:200])
    assert repr(again).startswith("Detector of feature_1, feature_2, trained on 200 rows, window 12, threshold ")


def test_a_threshold_in_a_line(detector):
    threshold = detector.thresholds_["combined"]
    assert repr(threshold) == f"Threshold {threshold}"
    assert "\n" not in repr(threshold)
    assert f">{threshold!r}<" in threshold._repr_html_()


def test_a_series_in_a_line(series):
    assert repr(series) == "TimeSeries 500 rows, 2022-04-15 05:20 to 05-06 00:20 UTC, every hour: s1, s2; 1 labelled event"
    assert repr(series[:0]) == "TimeSeries 0 rows: s1, s2"
    assert repr(series[:1]) == "TimeSeries 1 row, 2022-04-15 05:20 UTC: s1, s2"
    holed = series[:100].to_frame()
    holed.iloc[:10, 0] = np.nan
    from anomaly.frames.taking import as_time_series

    assert repr(as_time_series(holed)).endswith("every hour: s1, s2; 5 % missing")
    assert repr(as_time_series(holed.to_numpy())) == "TimeSeries 100 rows: feature_1, feature_2; 5 % missing"


def test_a_notebook_shows_the_line_above_the_view_of_scikit_learn(detector):
    html = detector._repr_mimebundle_()["text/html"]
    assert html.index("trained on 400 rows") < html.index("sk-estimator")


def test_a_name_of_a_feature_runs_nothing(series):
    frame = series.to_frame()[:200].rename(columns={"s1": "<script>alert(1)</script>"})
    fitted = Detector(window_size=12, units=2, epochs=1, steps_per_epoch=1, nearest_windows=0, seed=0).fit(frame)
    html = fitted._repr_mimebundle_()["text/html"]
    assert "<script>alert" not in html and "&lt;script&gt;alert(1)" in html


def test_a_path_is_read_as_in_training(detector, csv_path):
    whole = read_csv(csv_path, label_column="label")
    np.testing.assert_array_equal(detector.score(csv_path).score, detector.score(whole).score)
    assert detector.detect(str(csv_path)) == detector.detect(whole)
    np.testing.assert_array_equal(detector.predict(csv_path), detector.predict(whole))


def test_a_path_that_is_none_is_told(detector, tmp_path):
    with pytest.raises(StorageError, match="Received: .*nowhere.csv"):
        detector.score(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match="Read a file with read_csv first"):
        Detector().fit(tmp_path / "nowhere.csv")


def test_pictures_of_a_series_and_of_what_was_found(detector, series):
    figure = detector.plot(series)
    assert [axis.get_ylabel() for axis in figure.axes][-1] == "score"
    assert len(figure.axes) == 3
    plain = series.plot()
    assert [axis.get_ylabel() for axis in plain.axes] == ["s1", "s2"]
    np.testing.assert_allclose(plain.axes[0].lines[0].get_ydata(), series.values[:, 0])
    assert len(plain.axes[0].patches) == 1  # the labelled event


def test_a_picture_of_a_gap_has_no_line_across_it(series):
    from dataclasses import replace

    parted = replace(series, times=np.where(np.arange(500) < 250, series.times, series.times + 400 * 3_600_000_000))
    (line,) = parted.plot().axes[0].lines
    assert np.isnan(line.get_ydata()[250]) and len(line.get_ydata()) == 501


def test_a_file_read_in_a_zone_has_events_in_it(detector, csv_path):
    local = read_csv(csv_path, label_column="label", timezone="Asia/Tokyo")  # the file says Z, so that the instants are the same
    events = detector.detect(local)
    assert events == detector.detect(csv_path)
    assert str(events.to_frame()["first_time"].dt.tz) == "Asia/Tokyo"
    assert str(detector.score(local).to_frame().index.tz) == "Asia/Tokyo"
