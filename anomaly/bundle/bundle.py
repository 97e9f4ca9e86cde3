"""Everything a trained detector is, and what follows from it: rules of events, calibrations, its description."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from anomaly.bundle.dismissals import Dismissals
from anomaly.bundle.header import Ancestry, written_settings
from anomaly.config import NEVER, DetectorConfig
from anomaly.errors import ConfigError
from anomaly.events.alarms import EventRules
from anomaly.limits import limits_from
from anomaly.network.model import Weights
from anomaly.scoring.drift import Drift, ValueRange, trained_rows
from anomaly.scoring.overlaps import scoring_stride_of
from anomaly.scoring.recipe import Recipe
from anomaly.scoring.references import References
from anomaly.series import MICROSECONDS_A_DAY, Floats, Ints
from anomaly.thresholds.calibration import Calibration, Threshold
from anomaly.windowing.context import Context
from anomaly.windowing.scaling import ErrorUnits, Scaler

FORMAT_VERSION = 3
_THOUSAND = 1_000
_LIBRARIES = ("anomaly", "tensorflow", "keras", "numpy", "pandas", "scikit-learn", "onnxruntime")


@dataclass(frozen=True, eq=False, kw_only=True)
class Bundle:
    """Everything a trained detector is.

    Attributes:
        config: the settings it was made with.
        columns: names of the columns that are read: the features that are judged, then the context.
        time_column: name of the time column; None if rows are counted.
        window_size: timesteps in a window, chosen or given.
        stride: timesteps between training windows, chosen or given.
        step: median time between rows in training, microseconds (1 if rows are counted).
        longest_step: a longer time between two rows is a gap.
        row_step: time between the rows of a regular series, whose missing rows are put in; 0 puts none in.
        seed: the seed that was used, drawn or given.
        scaler: of all columns, fitted on the training rows.
        error_units: what errors of the judged features are measured in.
        weights: arrays under the names of `anomaly.network.model.weight_shapes`.
        calibration_times: times of the training rows whose scores are kept, and of the held-out rows after them, `(n,)`.
        calibration_scores: for each aggregation the scores of these rows, `(n,)`, NaN where a row has none.
        thresholds: for each aggregation the calibrated threshold.
        history: per-epoch means `(n_epochs,)` under the names of `anomaly.training.loop.History`.
        training: counts and times that describe the training, for people.
        fingerprint: SHA-256 of the training values and times, in hexadecimal.
        versions: versions of the libraries that made it.
        probe: mean squared error of each synthetic window where it was made, `(4,)`; None in files without it.
        ancestry: what it went on from; None if it was trained from scratch.
        value_range: least and greatest value of each column in training; None in files without it.
        recipe: the terms of a score beside the network's; None if there are none.
        dismissed: stretches that count as normal since somebody said so; None if there are none.
        program: a network of one's own as an ONNX graph, in the place of weights; None for the built-in one.
        min_length: what a least length of "auto" comes to, rows; None where it is no "auto", and in older files: a 32nd of a
            window. So an event does not move when the rule for "auto" does.
        merge_gap: the same of a gap; in older files half a window.
    """

    config: DetectorConfig
    columns: tuple[str, ...]
    time_column: str | None
    window_size: int
    stride: int
    step: int
    longest_step: int
    row_step: int
    seed: int
    scaler: Scaler
    error_units: ErrorUnits
    weights: Weights
    calibration_times: Ints
    calibration_scores: dict[str, Floats]
    thresholds: dict[str, Threshold]
    history: dict[str, Floats]
    training: dict[str, Any]
    fingerprint: str
    versions: dict[str, str] = field(default_factory=lambda: library_versions())
    probe: tuple[float, ...] | None = None
    ancestry: Ancestry | None = None
    value_range: ValueRange | None = None
    recipe: Recipe | None = None
    dismissed: Dismissals | None = None
    program: bytes | None = None
    min_length: int | None = None
    merge_gap: int | None = None

    @property
    def context(self) -> Context:
        """Which of the columns are judged, and what else the network reads."""
        return Context.of(self.config, len(self.columns))

    @property
    def judged_columns(self) -> tuple[str, ...]:
        """Names of the features that are judged: all that scores and events speak of."""
        return self.columns[: self.context.n_judged]

    @property
    def judged_scaler(self) -> Scaler:
        """The scaler of these features."""
        return self.scaler.first(self.context.n_judged)

    @property
    def held_out_loss(self) -> float:
        """Reconstruction loss of the held-out windows with the weights that were kept."""
        best = self.training["best_epoch"]
        return self.ancestry.held_out_loss if self.ancestry and not best else float(self.history["validation_loss"][best - 1])

    @property
    def scoring_stride(self) -> int:
        """Rows between the windows that are run where a score looks ahead."""
        return scoring_stride_of(self.config, self.window_size)

    @property
    def references(self) -> tuple[References, ...] | None:
        """Windows of the training rows, by form; None in files without them."""
        return None if self.recipe is None else self.recipe.references

    @property
    def rules(self) -> EventRules:
        """What becomes of flagged rows."""
        scoring = self.config.scoring
        direction = scoring.alarm_direction
        return EventRules(
            merge_gap=self._rows_of("merge_gap", self.window_size // 2),
            min_length=self._rows_of("min_length", max(1, self.window_size // 32)),
            short_severity=None if scoring.short_severity >= NEVER else scoring.short_severity,
            min_severity=scoring.min_severity,
            direction=None if direction is None else tuple(float(x) for x in direction if not isinstance(x, tuple)),
            min_deviation=() if scoring.min_deviation is None else tuple(limits_from(scoring.min_deviation).items()),
            cool_down=scoring.cool_down,
            longest_step=self.longest_step,
            halo=self.window_size,  # no window of a term is longer, so none that sees a row reaches farther
            dismissed=None if self.dismissed is None else self.dismissed.signatures,
        )

    def _rows_of(self, rule: str, in_older_files: int) -> int:
        given, automatic = getattr(self.config.scoring, rule), getattr(self, rule)
        return int(given) if given != "auto" else in_older_files if automatic is None else int(automatic)

    @property
    def only_pace(self) -> int:
        """Time between the rows where the training had one pace throughout; else 0."""
        return 0 if "paces" in self.training else self.row_step

    @property
    def reading(self) -> dict[str, Any]:
        """How new data are read, by the names of `CsvReader`: by the settings, and in doubt as the training file was."""
        context = self.config.context.context_columns or ()
        before = self.training.get("reading", {}) | ({"large": json.dumps(large)} if (large := self._large()) else {})
        # Times of the seventies are hardly any: such counted from 0.
        from_zero = self.time_column is not None and self.training["first_time"].startswith("197")
        before |= {"from_zero": "yes"} if from_zero else {}
        return asdict(self.config.reading) | {"before": before, "context_columns": context}

    def _large(self) -> dict[str, str]:
        """Return the features that were whole numbers of a thousand and more in training, by their range, with the least."""
        if self.value_range is None:
            return {}
        ends = zip(self.columns, self.value_range.minimum.tolist(), self.value_range.maximum.tolist(), strict=True)
        return {name: f"{low:.0f}" for name, low, high in ends if low >= _THOUSAND and low.is_integer() and high.is_integer()}

    @property
    def rows_per_day(self) -> float | None:
        """Rows in a day at the median step; None if rows are counted."""
        return None if self.time_column is None else MICROSECONDS_A_DAY / self.step

    def calibration(self, aggregation: str) -> Calibration:
        """Return what thresholds of one aggregation are made from; rows that are dismissed count as held-out ones.

        A dismissed score is no higher than the highest of the training series: one stretch must not make the detector blind.
        """
        scores, times, n = self.calibration_scores[aggregation], self.calibration_times, self.training["n_held_out_rows"]
        if self.dismissed is not None:
            found = np.minimum(self.dismissed.scores[aggregation], np.nanmax(scores))
            scores, times = np.concatenate([scores, found]), np.concatenate([times, self.dismissed.times])
            n += len(found)
        return Calibration(
            scores=scores, times=times, n_held_out=n, window_size=self.window_size, rows_per_day=self.rows_per_day,
            rules=self.rules,
        )  # fmt: skip

    def drift(self, aggregation: str) -> Drift:
        """Return what compares new rows, scored by one aggregation, with the training rows."""
        trained = trained_rows(self.training, self.time_column, self.calibration_times, self.fingerprint)
        return Drift(self.columns, self.value_range, self.calibration_scores[aggregation], self.window_size, trained)

    def describe(self) -> dict[str, Any]:
        """Return what is in the bundle as plain values, without the arrays."""
        return {
            "format_version": FORMAT_VERSION,
            "columns": list(self.columns),
            "time_column": self.time_column,
            "window_size": self.window_size,
            "stride": self.stride,
            "step": self.step,
            "longest_step": self.longest_step,
            "row_step": self.row_step,
            "seed": self.seed,
            "thresholds": {name: asdict(threshold) for name, threshold in self.thresholds.items()},
            "training": self.training,
            "fingerprint": self.fingerprint,
            "versions": self.versions,
            "settings": written_settings(self.config),
            **({} if self.recipe is None else {"nearest": _nearest_of(self.recipe)}),
            **({} if self.dismissed is None else {"dismissed": self.dismissed.described()}),
            **({} if self.program is None else {"program": len(self.program)}),
            **({} if self.min_length is None else {"min_length": self.min_length}),
            **({} if self.merge_gap is None else {"merge_gap": self.merge_gap}),
            **({} if self.probe is None else {"probe": list(self.probe)}),
            **({} if self.ancestry is None else {"ancestry": asdict(self.ancestry) | {"sha256": list(self.ancestry.sha256)}}),
        }


def require_built_in(bundle: Bundle) -> None:
    """Refuse a detector whose network is no built-in one.

    Raises:
        ConfigError: if it has no weights that a bundle knows.
    """
    if not bundle.weights:
        raise ConfigError(
            "This needs the built-in network, whose derivatives and weights are known. Received: a detector with network=. "
            "Train one without it."
        )


def _nearest_of(recipe: Recipe) -> dict[str, dict[str, int]]:
    return {of_form.form: {"window_size": of_form.window_size, "n_windows": len(of_form.windows)} for of_form in recipe.references}


def library_versions() -> dict[str, str]:
    """Return the versions of the installed libraries that shape a detector; a missing one is left out."""
    from importlib import metadata  # which scoring does without

    versions = {}
    for name in _LIBRARIES:
        for distribution in (name, f"{name}-cpu"):
            try:
                versions[name] = metadata.version(distribution)
            except metadata.PackageNotFoundError:
                continue
    return versions
