"""Thresholds of a fitted detector set anew: from its stored scores, labels, data without labels, or by hand."""

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from anomaly.arguments import names_arguments
from anomaly.config import AGGREGATIONS, ScoringConfig, refuse_unknown
from anomaly.detector.intake import Intake
from anomaly.errors import DataError
from anomaly.fitting.recalibration import recalibrated, with_cuts
from anomaly.scoring.scorer import OnRows, RowScorer, score_series
from anomaly.scoring.scores import Scores, check_threshold
from anomaly.series import Floats, TimeSeries, labelled_ranges
from anomaly.thresholds.conformal import p_values
from anomaly.thresholds.tuning import best_f_beta, discovery_cut

if TYPE_CHECKING:
    from anomaly.bundle.bundle import Bundle


class Thresholding(Intake):
    """Thresholds of a detector, and p-values beside them."""

    bundle_: "Bundle"
    f_beta_: dict[str, float]

    if TYPE_CHECKING:

        @property
        def window_size_(self) -> int:
            """Timesteps in a window."""

        def aggregation_name(self, name: str | None) -> str:
            """Return the name of an aggregation."""

        def row_scorer(self, *aggregations: str | None) -> RowScorer:
            """Return a scorer."""

    @names_arguments
    def calibrate(self, **settings: Any) -> Self:
        """Set the thresholds anew from the stored scores; neither data nor training is needed.

        Where only event rules change, a threshold from labels, from unlabelled data or by hand keeps its value.

        Args:
            settings: settings of `anomaly.config.ScoringConfig`, for example `alarms_per_day=0.5`,
                `threshold_method="pot"`, `merge_gap=12`; what is not named stays as it is.

        Raises:
            ConfigError: if a setting is none of these, breaks its rule, or says nothing to the threshold method.
            NotFittedError: before `fit`.
        """
        names = [item.name for item in fields(ScoringConfig)]
        refuse_unknown(settings, names, "scoring setting", f"The names are {', '.join(names)}.")
        self.bundle_ = recalibrated(self._fitted(), settings)
        return self._take_settings()

    @names_arguments
    def calibrate_on_labels(self, X: Any, *, beta: float = 1.0, on_rows: OnRows | None = None) -> Self:  # noqa: N803
        """Set the thresholds where they give the best F-beta over the labelled events of a series, give or take a window.

        The F-beta of each aggregation is then in `f_beta_`.

        Args:
            X: a `TimeSeries` with `labels`.
            beta: how much more a missed event counts than a false one.
            on_rows: as for `score`.

        Raises:
            DataError: if the series has no labels, or no labelled event among its scored rows, or is refused by `score`.
        """
        series = self._take(X, step=False).series
        if series.labels is None:
            raise DataError(
                f"The series must have labels. Received: none ({series.name}). Read it with read_csv(path, label_column=NAME), or "
                "set `labels`, 0 or 1 a row, of the TimeSeries."
            )
        known = labelled_ranges(series)
        scores = dict(zip(AGGREGATIONS, self._score_all(series, on_rows), strict=True))
        rules, slack = self._fitted().rules, self.window_size_
        found = {name: best_f_beta(score, series.times, known, rules, beta, slack) for name, score in scores.items()}
        self.bundle_ = with_cuts(self._fitted(), {name: cut for name, (cut, _) in found.items()}, "f_beta", beta)
        self.f_beta_ = {name: value for name, (_, value) in found.items()}
        return self

    @names_arguments
    def calibrate_on_discoveries(self, X: Any, *, rate: float = 0.1, on_rows: OnRows | None = None) -> Self:  # noqa: N803
        """Set the thresholds so that of what they flag in a series no more than `rate` is expected to be normal.

        The p-values are split-conformal ones. Where the held-out rows are too few for these to reject anything, they come
        from the law of the highest score in a window, without a guarantee, and the threshold says so.

        Args:
            X: a series as it comes, without labels; it may hold anomalies.
            rate: false-discovery rate, above 0 and below 1; see `anomaly.thresholds.tuning.discovery_cut`.
            on_rows: as for `score`.

        Raises:
            DataError: if no row stands out at that rate, or the series is refused by `score`.
        """
        series, bundle = self._take(X, step=False).series, self._fitted()
        cuts, counted, size = {}, {}, bundle.window_size
        for name, score in zip(AGGREGATIONS, self._score_all(series, on_rows), strict=True):
            calibration = bundle.calibration(name)
            cut = discovery_cut(p_values(calibration.spaced, score), score, rate, size)
            counted[name] = cut is not None
            if cut is None and calibration.law is not None and calibration.law.scale > 0:
                cut = discovery_cut(size * calibration.law.rate(score), score, rate, size)
            if cut is not None:
                cuts[name] = cut
        own = self.aggregation_name(None)
        if own not in cuts:
            raise DataError(
                f"Some rows must stand out from the held-out ones at a false-discovery rate of {rate:g}. Received: none among "
                f"{len(series):,} ({series.name}). Use a higher rate, data that hold anomalies, or another method."
            )
        self.bundle_ = with_cuts(bundle, cuts, "discoveries", rate, reached=counted)
        return self

    @names_arguments
    def set_threshold(self, value: float, *, aggregation: str | None = None) -> Self:
        """Set the threshold by hand: of every aggregation, that of live runs among them, or of one alone."""
        names = AGGREGATIONS if aggregation is None else (self.aggregation_name(aggregation),)
        self.bundle_ = with_cuts(self._fitted(), dict.fromkeys(names, check_threshold(value)), "fixed", value)
        return self

    def p_values(self, scores: Scores) -> Floats:
        """Return the split-conformal p-value of every row, `(n_timesteps,)`, NaN where there is no score.

        `anomaly.thresholds.conformal` says what it promises; the calibration scores are held-out ones a window apart.
        """
        scores = self._own(scores)
        return p_values(self._fitted().calibration(scores.aggregation).spaced, scores.score)

    def _take_settings(self) -> Self:
        for name, value in self._fitted().config.to_settings().items():
            setattr(self, name, value)
        return self

    def _score_all(self, series: TimeSeries, on_rows: OnRows | None) -> Floats:
        """Score by every aggregation, `(n_aggregations, n_timesteps)`."""
        self.check_step(series.times, series.name)
        scores = score_series(self.row_scorer(*AGGREGATIONS), series.times, series.values, on_rows)
        if np.isnan(scores).all():
            raise self.nothing_scored(len(series), series.name, np.isfinite(series.values).mean(axis=0))
        return scores
