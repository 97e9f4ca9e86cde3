"""scikit-learn's protocol for an outlier detector, without scikit-learn: loading it would double the start of scoring.

scikit-learn asks its estimators for methods, attributes and tags, and for no class of its own: what it asks for is here.
Tags need scikit-learn itself, and load it when they are asked for, which scikit-learn does.

**Signs.** Everywhere in this package higher is more anomalous. The methods that have scikit-learn's names have its sign:

    score_samples       -score              higher = more normal
    decision_function   threshold - score   negative = anomaly
    predict             -1 = anomaly, +1 = normal, 0 = no score

and the attributes that have PyOD's names have PyOD's, which is ours: `decision_scores_` is higher and `labels_` is 1 for
anomalies.
"""

import sys
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np

from anomaly.arguments import names_arguments
from anomaly.config import SETTINGS, refuse_unknown
from anomaly.errors import NotFittedError
from anomaly.scoring.scores import flags
from anomaly.series import Floats, Ints

if TYPE_CHECKING:
    from anomaly.bundle.bundle import Bundle
    from anomaly.scoring.scores import Scores


class OutlierEstimator:
    """What scikit-learn and PyOD ask of an outlier detector, in terms of `score` and of what `fit` learnt."""

    # For versions of scikit-learn, and libraries around it, that do not read tags.
    _estimator_type = "outlier_detector"

    if TYPE_CHECKING:

        def fit(self, X: Any, y: None = None) -> Self:  # noqa: N803
            """Train."""

        def score(self, X: Any) -> Scores:  # noqa: N803
            """Score every row."""

        def aggregation_name(self, name: str | None) -> str:
            """Return the name of the detector's aggregation."""

        def _fitted(self) -> Bundle: ...

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments; `deep` is there for scikit-learn and changes nothing."""
        return {name: getattr(self, name) for name in (*SETTINGS, "network")}

    def set_params(self, **params: Any) -> Self:
        """Change constructor arguments; they take effect at the next `fit`.

        Raises:
            ConfigError: if a name is unknown.
        """
        refuse_unknown(params, (*SETTINGS, "network"), "parameter", "See help(Detector) for the names.")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    @names_arguments
    def fit_predict(self, X: Any, y: None = None, **settings: Any) -> Ints:  # noqa: N803
        """Train on a series and return `predict` of the same rows.

        Args:
            X: as for `fit`.
            y: ignored.
            settings: arguments of `fit` by name.
        """
        return self.fit(X, y, **settings).predict(X)

    @names_arguments
    def predict(self, X: Any) -> Ints:  # noqa: N803
        """Return for each row -1 if it is an anomaly, +1 if it is not, 0 if it has no score, `(n_timesteps,)` int64.

        Args:
            X: as for `score`.

        Raises:
            DataError: as `score`.
            NotFittedError: before `fit`.
        """
        scores = self.score(X)
        return np.where(np.isnan(scores.score), 0, np.where(scores.flags, -1, 1)).astype(np.int64)

    @names_arguments
    def score_samples(self, X: Any) -> Floats:  # noqa: N803
        """Return `-score` of each row, `(n_timesteps,)`: higher = more normal, NaN where there is no score.

        Args:
            X: as for `score`.

        Raises:
            DataError: as `score`.
            NotFittedError: before `fit`.
        """
        return -self.score(X).score

    @names_arguments
    def decision_function(self, X: Any) -> Floats:  # noqa: N803
        """Return `score_samples` less `offset_`, `(n_timesteps,)`: negative = anomaly, NaN where there is no score.

        Args:
            X: as for `score`.

        Raises:
            DataError: as `score`.
            NotFittedError: before `fit`.
        """
        return self.score_samples(X) - self.offset_

    @property
    def offset_(self) -> float:
        """The threshold with a minus sign: rows whose `score_samples` is below it are anomalies."""
        return -self._fitted().thresholds[self.aggregation_name(None)].value

    @property
    def decision_scores_(self) -> Floats:
        """Scores of the training series, `(n,)` in time order: higher = more anomalous, NaN where a row has none.

        Those that the detector keeps: of the held-out rows and of at most 100,000 before them. The two stretches were
        scored apart, so that rows beside the cut have other scores than `score` gives them.
        """
        return self._fitted().calibration_scores[self.aggregation_name(None)]

    @property
    def labels_(self) -> Ints:
        """Of these rows 1 for an anomaly, else 0 (also where there is no score), `(n,)` int64."""
        return flags(self.decision_scores_, -self.offset_).astype(np.int64)

    @property
    def n_features_in_(self) -> int:
        """Number of features in training."""
        return len(self._fitted().columns)

    @property
    def feature_names_in_(self) -> Any:
        """Names of the features in training, `(n_features,)` of objects, as scikit-learn has them."""
        return np.array(self._fitted().columns, dtype=object)

    def __sklearn_tags__(self) -> Any:
        """Say what this is and takes: an outlier detector that takes NaN and never labels."""
        from sklearn.utils import InputTags, Tags, TargetTags

        return Tags(
            estimator_type="outlier_detector",
            target_tags=TargetTags(required=False),
            input_tags=InputTags(allow_nan=True),
        )

    def __sklearn_is_fitted__(self) -> bool:
        """Tell whether there is something to score with."""
        return hasattr(self, "bundle_")


def not_fitted() -> NotFittedError:
    """Return the error for a detector before `fit`; where scikit-learn is loaded, it is one of scikit-learn's too."""
    message = "The detector must be fitted first. Received: a new Detector. Call fit, or Detector.load."
    theirs = sys.modules.get("sklearn.exceptions")
    if theirs is None:
        return NotFittedError(message)
    both = type("NotFittedError", (NotFittedError, theirs.NotFittedError), {"__doc__": NotFittedError.__doc__})
    return cast(NotFittedError, both(message))
