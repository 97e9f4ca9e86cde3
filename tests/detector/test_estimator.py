"""scikit-learn's own checks, pipelines, searches and views; the signs of both sides; PyOD's names."""

import copy
import io
import pickle
import subprocess
import sys
import warnings

import joblib
import numpy as np
import pytest
import sklearn
from conftest import TINY, make_series
from sklearn.base import clone, is_outlier_detector
from sklearn.exceptions import NotFittedError as TheirNotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import check_is_fitted

import anomaly
from anomaly import DataError, Detector

QUICK = {"window_size": 12, "units": 4, "epochs": 1, "steps_per_epoch": 4, "penalty": "none", "seed": 0}
# What scikit-learn checks and sequences, or this package's API, cannot have.
EXPECTED_FAILED = {
    "check_methods_sample_order_invariance": "the order of rows is time, and a score depends on the rows before and after",
    "check_methods_subset_invariance": "one row alone is no window and has no score",
    "check_pipeline_consistency": "score returns the scores of all rows with their reasons, not one number",
    "check_fit1d": "a 1-D array is a series of one feature",
    "check_fit2d_1sample": "one row is refused, in words about rows and windows instead of samples",
    "check_dtype_object": "a cell that is no number is a DataError, which is a ValueError and no TypeError",
}


@pytest.fixture(scope="module")
def frame(series):
    return series.to_frame()


def test_scikit_learns_own_checks_hold_but_for_those_that_cannot():
    """The list of the others is exact: a check that begins to hold must leave it."""
    settings = QUICK | {"window_size": 2, "units": 2, "steps_per_epoch": 1, "threshold_method": "quantile", "alarm_rate": 0.1}
    settings["batch_size"] = 4  # no training has fewer windows: one program for all of a shape
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Estimator Detector does not inherit from `sklearn.base.BaseEstimator`")
        found = check_estimator(Detector(**settings), expected_failed_checks=EXPECTED_FAILED, on_skip=None, on_fail=None)
    failed = {result["check_name"]: result["exception"] for result in found if result["status"] in ("failed", "xfail")}
    assert {name: str(error) for name, error in failed.items() if name not in EXPECTED_FAILED} == {}
    assert set(failed) == set(EXPECTED_FAILED)
    assert sum(result["status"] == "passed" for result in found) >= 36


def test_it_is_an_outlier_detector_that_takes_missing_values_and_no_labels():
    tags = get_tags(Detector())
    assert is_outlier_detector(Detector())
    assert tags.input_tags.allow_nan
    assert not tags.target_tags.required
    assert not tags.input_tags.sparse


def test_scikit_learn_is_not_loaded_by_scoring(bundle_path, csv_path):
    code = (
        "import sys; from anomaly import Detector, read_csv\n"
        f"detector = Detector.load({str(bundle_path)!r})\n"
        f"series = read_csv({str(csv_path)!r}, label_column='label')\n"
        "detector.predict(series), detector.decision_function(series), detector.labels_\n"
        "print('sklearn' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False"]


def test_the_signs_are_scikit_learns(detector, series):
    scores = detector.score(series)
    np.testing.assert_array_equal(detector.score_samples(series), -scores.score)
    np.testing.assert_array_equal(detector.decision_function(series), scores.threshold - scores.score)
    assert detector.offset_ == -scores.threshold
    flagged = detector.predict(series) == -1
    assert flagged.any()
    np.testing.assert_array_equal(flagged, scores.flags)
    np.testing.assert_array_equal(flagged, detector.decision_function(series) < 0)


def test_a_row_at_the_threshold_is_normal_on_both_sides(detector, series):
    scores = detector.score(series)
    moved = copy.deepcopy(detector).set_threshold(float(np.median(scores.score)))
    at = np.flatnonzero(scores.score == moved.thresholds_["combined"].value)
    moved.set_threshold(float(scores.score[100]))
    assert moved.predict(series)[100] == 1
    assert moved.decision_function(series)[100] == 0
    assert len(at) <= 1


def test_a_row_without_a_score_is_neither_normal_nor_an_anomaly(detector):
    series = make_series(n=100, spike=None)
    series.values[50] = np.nan
    assert detector.predict(series)[50] == 0
    assert np.isnan(detector.decision_function(series)[50])


def test_the_attributes_with_pyods_names_have_pyods_sign(detector, series):
    scores = detector.decision_scores_
    assert len(scores) == 400
    flagged = scores > detector.thresholds_["combined"].value
    np.testing.assert_array_equal(detector.labels_, flagged.astype(int))
    # Each stretch is scored for itself: away from the cut these are the scores that `score` gives.
    np.testing.assert_array_equal(scores[:300], detector.score(series[:400]).score[:300])


def test_fit_predict_is_fit_and_predict(series, frame):
    np.testing.assert_array_equal(
        Detector(**QUICK).fit_predict(frame[:400]), Detector(**QUICK).fit(series[:400]).predict(series[:400])
    )


def test_features_have_number_and_names(detector):
    assert detector.n_features_in_ == 2
    assert detector.feature_names_in_.tolist() == ["s1", "s2"]
    assert not hasattr(Detector(), "n_features_in_")


def test_before_fit_it_is_scikit_learns_error_and_ours():
    for ask in (lambda: Detector().predict(np.zeros((30, 2))), lambda: check_is_fitted(Detector())):
        with pytest.raises(TheirNotFittedError):
            ask()
    with pytest.raises(anomaly.NotFittedError, match="Call fit, or Detector.load"):
        Detector().decision_scores_  # noqa: B018


@pytest.mark.parametrize("copied", [lambda d: pickle.loads(pickle.dumps(d)), copy.deepcopy, lambda d: through_joblib(d)])
def test_a_copy_of_a_fitted_one_scores_alike(detector, series, copied):
    other = copied(detector)
    np.testing.assert_array_equal(other.score_samples(series), detector.score_samples(series))
    assert other.get_params() == detector.get_params()


def through_joblib(detector):
    file = io.BytesIO()
    joblib.dump(detector, file)
    file.seek(0)
    return joblib.load(file)


def test_a_clone_is_unfitted_and_has_the_settings(detector):
    cloned = clone(detector)
    assert cloned.get_params() == detector.get_params()
    assert not hasattr(cloned, "bundle_")


def test_last_in_a_pipeline(series):
    values = series.values
    pipeline = make_pipeline(StandardScaler(), Detector(**TINY)).fit(values[:400])
    assert set(np.unique(pipeline.predict(values))) == {-1, 1}
    scaled = pipeline[0].transform(values)
    np.testing.assert_array_equal(pipeline.decision_function(values), pipeline[-1].decision_function(scaled))
    np.testing.assert_array_equal(pipeline.score_samples(values), pipeline[-1].score_samples(scaled))
    assert len(pipeline.score(values)) == len(values)
    assert "Detector" in pipeline._repr_html_()


def search(frame, scoring, y=None):
    grid = {"detector__units": [2, 4]}
    pipeline = sklearn.pipeline.Pipeline([("detector", Detector(**QUICK))])
    return GridSearchCV(pipeline, grid, cv=TimeSeriesSplit(2), scoring=scoring, error_score="raise").fit(frame, y)


def test_a_search_by_labels(series, frame):
    """Labels as scikit-learn has them for outliers: -1 is an anomaly."""
    y = np.where(np.arange(500) % 40 < 4, -1, 1)
    found = search(frame, "roc_auc", y)
    best = found.best_estimator_
    train, test = list(TimeSeriesSplit(2).split(frame))[-1]
    again = clone(best).fit(frame.iloc[train])
    expected = roc_auc_score(y[test], again.decision_function(frame.iloc[test]))
    assert found.cv_results_["split1_test_score"][found.best_index_] == pytest.approx(expected)


def test_a_search_without_labels(frame):
    """How well held-out rows are reconstructed: the less their score, the better."""

    def reconstructs(pipeline, X, y=None):
        return float(np.nanmedian(pipeline.score_samples(X)))

    found = search(frame, reconstructs)
    assert np.isfinite(found.cv_results_["mean_test_score"]).all()
    assert found.best_params_ in ({"detector__units": 2}, {"detector__units": 4})


def test_a_notebook_shows_the_view_of_scikit_learn_and_a_terminal_the_text(detector):
    view = detector._repr_mimebundle_()
    assert view["text/plain"] == repr(detector)
    assert "sk-estimator" in view["text/html"]
    assert "window_size" in view["text/html"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.ones((30, 2), complex), "Complex data not supported: a series must hold real numbers. Received: complex ones. "),
        (np.ones((30, 0)), r"Found array with 0 feature\(s\) \(shape=\(30, 0\)\) while a minimum of 1 is required. "),
        (np.ones((30, 3)), "X has 3 features, but Detector is expecting 2 features as input: 's1', 's2'. Received: an array of "),
        (np.ones(30), r"Reshape your data to \(n_timesteps, 2\)."),
    ],
)
def test_what_numpy_would_take_a_part_of_is_refused(detector, data, message):
    with pytest.raises(DataError, match=message):
        detector.predict(data)


def test_sparse_rows_are_refused():
    scipy_sparse = pytest.importorskip("scipy.sparse")
    for made in (scipy_sparse.csr_matrix, scipy_sparse.csr_array):
        with pytest.raises(DataError, match=r"Sparse data not supported: .* Use its toarray\(\)."):
            Detector(**QUICK).fit(made(np.ones((60, 2))))
