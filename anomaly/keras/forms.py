"""The forms of the penalty, as functions of input gradients of any shape.

For sample i with input x_i of any shape and loss l_i, g_i = d l_i / d x_i. What varies along the last axis are its
features; what lies between it and the first are its positions (timesteps, pixels; a flat input has one).

`units="raw"` is the classic form, per sample:

    l2           sum of g^2                                             (Drucker and LeCun 1992)
    l1           sum of |g|
    directional  mean over positions of max(0, -<g/||g||, d/||d||>), norms over the features
    hinge        mean over positions of max(0, sum over features of |g| - threshold)

`units="error"` is that of the detector (`anomaly.training.penalty`): l_i P(n g_i / sqrt(l_i)), n the number of values of a
sample of which its loss is the mean, and P a mean. There weight and threshold mean the same for every size of input and of
error. It takes the loss for a mean squared error.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from anomaly.config import PenaltyConfig
from anomaly.errors import ConfigError
from anomaly.tensorflow_start import load_tensorflow
from anomaly.training.penalty import scaled_penalty

FORMS = ("l2", "l1", "directional", "hinge")
UNITS = ("raw", "error")
# Root of sum of squares + floor^2: a gradient far below the floor has no direction. In raw units nothing is known of
# the size of a gradient, so the floor is only there to keep the derivative finite at 0.
RAW_NORM_FLOOR = 1e-6


@dataclass(frozen=True)
class InputGradientPenalty:
    """What is penalised, and how much it weighs.

    Attributes:
        form: "l2", "l1", "directional" or "hinge".
        weight: factor of the mean penalty in the loss; not negative. With 0 it is measured and changes nothing.
        direction: for "directional": where gradients may point, one number a feature, or an array of the shape of a sample.
            Its length plays no part.
        threshold: for "hinge": the sum (in units of the error, the mean) of |g| over the features that costs nothing; not negative.
        units: "raw" or "error".

    Raises:
        ConfigError: if a value breaks its rule, or a form lacks what it needs.

    Example:
        >>> InputGradientPenalty("hinge", weight=1, threshold=0.5)
        InputGradientPenalty(form='hinge', weight=1.0, direction=None, threshold=0.5, units='raw')
    """

    form: str
    weight: float
    direction: Any = None
    threshold: float | None = None
    units: str = "raw"

    def __post_init__(self) -> None:
        """Check the values; turn the direction into tuples of numbers."""
        for name, value, choices in (("form", self.form, FORMS), ("units", self.units, UNITS)):
            if value not in choices:
                raise ConfigError(f"`{name}` must be one of {', '.join(choices)}. Received: {name}={value!r}.")
        object.__setattr__(self, "weight", _not_negative("weight", self.weight))
        for name, form, example in (("threshold", "hinge", "1.0"), ("direction", "directional", "[1, 0, -1]")):
            given = getattr(self, name) is not None
            if given != (self.form == form):
                rule = f"must be given with form {form!r}, and with no other"
                remedy = f"Leave it out, or use form {form!r}." if given else f"Add {name}={example}, for example."
                raise ConfigError(f"`{name}` {rule}. Received: {name}={getattr(self, name)!r} with form {self.form!r}. {remedy}")
        if self.threshold is not None:
            object.__setattr__(self, "threshold", _not_negative("threshold", self.threshold))
        if self.direction is not None:
            object.__setattr__(self, "direction", _direction(self.direction))

    def of(self, gradient: Any, losses: Any, valid: Any = None, sizes: Any = None) -> Any:
        """Return the penalty of each sample, before the weight.

        Args:
            gradient: g_i, `(n_samples, ...)`, a tensor of floats; 0 where `valid` is 0.
            losses: l_i, `(n_samples,)`; only used in units of the error.
            valid: `(n_samples, n_positions)`, 1 where a position takes part and 0 where not; None if all do.
            sizes: `(n_samples,)`, of how many values each loss is the mean; None if of all that take part. Only used in units of
                the error.

        Returns:
            `(n_samples,)`, not negative.

        Raises:
            ConfigError: if the direction does not fit the gradient's shape.
        """
        tf = load_tensorflow()

        rows = as_rows(gradient)
        n_positions = tf.cast(tf.shape(rows)[1], rows.dtype)
        n_valid = n_positions if valid is None else tf.maximum(tf.reduce_sum(valid, axis=1), 1)
        if self.units == "error":
            size = n_valid * tf.cast(tf.shape(rows)[2], rows.dtype) if sizes is None else tf.maximum(tf.cast(sizes, rows.dtype), 1)
            scaled = scaled_penalty(tf.reshape(size, (-1, 1, 1)) * rows, tf.cast(losses, rows.dtype), self._config(gradient))
            return scaled * (n_positions / n_valid)  # a mean over the positions that take part
        if self.form == "l2":
            return tf.reduce_sum(tf.square(rows), axis=(1, 2))
        if self.form == "l1":
            return tf.reduce_sum(tf.abs(rows), axis=(1, 2))
        return tf.reduce_sum(self._by_position(rows, gradient), axis=1) / n_valid

    def _by_position(self, rows: Any, gradient: Any) -> Any:
        """Return the raw hinge or directional penalty of each position, `(n_samples, n_positions)`."""
        tf = load_tensorflow()

        if self.form == "hinge":
            return tf.nn.relu(tf.reduce_sum(tf.abs(rows), axis=2) - self.threshold)
        direction = self._fitted_direction(gradient)
        length = np.linalg.norm(direction, axis=-1, keepdims=True)
        unit = np.divide(direction, length, out=np.zeros_like(direction), where=length > 0)
        norm = tf.sqrt(tf.reduce_sum(tf.square(rows), axis=2) + RAW_NORM_FLOOR**2)
        return tf.nn.relu(-tf.reduce_sum(rows * tf.constant(unit, rows.dtype), axis=2) / norm)

    def _fitted_direction(self, gradient: Any) -> Any:
        """Return the direction, `(n_features,)` or `(n_positions, n_features)`."""
        direction, shape = np.asarray(self.direction, np.float64), tuple(gradient.shape[1:])
        n_features = shape[-1] if shape else 1
        if direction.shape == (n_features,):
            return direction
        if direction.shape != shape:
            raise ConfigError(
                f"`direction` must have one number a feature ({n_features}), or the shape of a sample {shape}. "
                f"Received: shape {direction.shape}. Name the input it is for with inputs=, if there are several."
            )
        return direction.reshape(-1, n_features)

    def _config(self, gradient: Any) -> PenaltyConfig:
        """Return the same penalty in the detector's words."""
        direction = None if self.direction is None else self._fitted_direction(gradient).tolist()
        if direction is not None and isinstance(direction[0], list):
            direction = [tuple(row) for row in direction]
        return PenaltyConfig(
            penalty=self.form,
            direction=None if direction is None else tuple(direction),
            penalty_threshold=PenaltyConfig.penalty_threshold if self.threshold is None else self.threshold,
        )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, as JSON has them."""
        return {
            "form": self.form, "weight": self.weight, "direction": self.direction, "threshold": self.threshold, "units": self.units,
        }  # fmt: skip


def as_rows(gradient: Any) -> Any:
    """Return a gradient of any shape as `(n_samples, n_positions, n_features)`."""
    tf = load_tensorflow()

    n_features = 1 if gradient.shape.rank == 1 else tf.shape(gradient)[-1]
    rows = tf.reshape(gradient, (tf.shape(gradient)[0], -1, n_features))
    rows.set_shape((gradient.shape[0], None, 1 if gradient.shape.rank == 1 else gradient.shape[-1]))
    return rows


def _not_negative(name: str, value: Any) -> float:
    if (
        isinstance(value, bool)
        or not np.isscalar(value)
        or not isinstance(value, (int, float, np.number))
        or not 0 <= value < np.inf
    ):
        raise ConfigError(f"`{name}` must be a finite number of at least 0. Received: {name}={value!r}.")
    return float(value)


def _direction(given: Any) -> Any:
    """Return nested tuples of numbers."""
    try:
        direction = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        direction = np.array(np.nan)
    if direction.ndim < 1 or not np.isfinite(direction).all() or not direction.any():
        raise ConfigError(
            f"`direction` must be finite numbers, one a feature, and not all 0. Received: direction={given!r}. "
            "Use 1 or -1 for the features that matter."
        )

    def as_tuples(values: Any) -> Any:
        return tuple(as_tuples(value) for value in values) if isinstance(values, list) else values

    return as_tuples(direction.tolist())
