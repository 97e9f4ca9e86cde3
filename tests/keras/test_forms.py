"""The forms of the penalty against loops over every sample, position and feature."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly import config as settings
from anomaly.config import PenaltyConfig
from anomaly.errors import ConfigError
from anomaly.keras import InputGradientPenalty
from anomaly.keras.forms import FORMS
from anomaly.tensorflow_start import load_tensorflow
from anomaly.training.penalty import scaled_penalty

tf = load_tensorflow()

SHAPES = [(3,), (5, 3), (4, 2, 3)]
DIRECTION = [1.0, 0.0, -2.0]
PENALTIES = {
    "l2": InputGradientPenalty("l2", weight=1),
    "l1": InputGradientPenalty("l1", weight=1),
    "directional": InputGradientPenalty("directional", weight=1, direction=DIRECTION),
    "hinge": InputGradientPenalty("hinge", weight=1, threshold=1.5),
}


def gradients(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_every_penalty_of_a_detector_is_one_of_any_model():
    assert {*FORMS, "none"} == {*PENALTIES, "none"} == set(settings.PENALTIES)


def naive(form, gradient):
    """One sample, one number at a time."""
    rows = [[float(value) for value in row] for row in gradient.reshape(-1, gradient.shape[-1])]
    if form == "l2":
        return sum(value * value for row in rows for value in row)
    if form == "l1":
        return sum(abs(value) for row in rows for value in row)
    if form == "hinge":
        return sum(max(0.0, sum(abs(value) for value in row) - 1.5) for row in rows) / len(rows)
    total = 0.0
    for row in rows:
        norm = sum(value * value for value in row) ** 0.5
        length = sum(value * value for value in DIRECTION) ** 0.5
        total += max(0.0, -sum(a * b for a, b in zip(row, DIRECTION, strict=True)) / norm / length)
    return total / len(rows)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("form", PENALTIES)
def test_raw_forms_are_those_of_a_loop(form, shape):
    g = gradients(6, *shape)
    found = PENALTIES[form].of(tf.constant(g), None)
    np.testing.assert_allclose(found, [naive(form, one) for one in g], rtol=1e-9)


@pytest.mark.parametrize("form", PENALTIES)
def test_in_units_of_the_error_they_are_the_detectors(form):
    g, losses = gradients(6, 5, 3), tf.constant(np.linspace(0.1, 2, 6))
    penalty = InputGradientPenalty(**PENALTIES[form].get_config() | {"units": "error"})
    direction = tuple(DIRECTION) if form == "directional" else None
    config = PenaltyConfig(penalty=form, direction=direction, penalty_threshold=1.5)
    np.testing.assert_allclose(penalty.of(tf.constant(g), losses), scaled_penalty(tf.constant(15 * g), losses, config), rtol=1e-12)


@pytest.mark.parametrize("form", PENALTIES)
def test_in_units_of_the_error_those_values_count_of_which_the_loss_is_the_mean(form):
    g, losses, sizes = gradients(3, 5, 3), tf.constant([0.1, 1.0, 2.0], tf.float64), np.array([15.0, 10.0, 0.0])
    penalty = InputGradientPenalty(**PENALTIES[form].get_config() | {"units": "error"})
    counted = np.maximum(sizes, 1)[:, None, None] / 15
    np.testing.assert_allclose(
        penalty.of(tf.constant(g), losses, None, sizes), penalty.of(tf.constant(counted * g), losses), rtol=1e-12
    )


@pytest.mark.parametrize("units", ["raw", "error"])
@pytest.mark.parametrize("form", PENALTIES)
def test_masked_positions_count_for_nothing(form, units):
    """A padded sample has the penalty of the sample without its padding."""
    g, losses = gradients(4, 3, 3), tf.constant(np.linspace(0.1, 2, 4))
    padded = np.concatenate([g, np.zeros((4, 2, 3))], axis=1)
    valid = tf.constant([[1.0, 1, 1, 0, 0]] * 4, tf.float64)
    penalty = InputGradientPenalty(**PENALTIES[form].get_config() | {"units": units})
    np.testing.assert_allclose(penalty.of(tf.constant(padded), losses, valid), penalty.of(tf.constant(g), losses), rtol=1e-12)


@pytest.mark.parametrize("units", ["raw", "error"])
@pytest.mark.parametrize("form", PENALTIES)
def test_the_derivative_is_finite_where_the_gradient_is_0(form, units):
    zero = tf.zeros((2, 5, 3))
    penalty = InputGradientPenalty(**PENALTIES[form].get_config() | {"units": units})
    with tf.GradientTape() as tape:
        tape.watch(zero)
        value = penalty.of(zero, tf.zeros(2))
    slope = tape.gradient(value, zero)
    assert np.isfinite(value).all()
    assert slope is None or np.isfinite(slope).all()


@given(st.integers(0, 10_000), st.sampled_from(sorted(PENALTIES)), st.floats(0.1, 10))
def test_penalties_are_not_negative_and_grow_as_their_form_says(seed, form, factor):
    g = tf.constant(gradients(3, 4, 3, seed=seed))
    here, there = (PENALTIES[form].of(gradient, None).numpy() for gradient in (g, factor * g))
    assert (here >= 0).all()
    if form == "hinge":
        assert ((there >= here - 1e-12) == (factor >= 1) | (abs(there - here) < 1e-12)).all()
    else:
        np.testing.assert_allclose(there, here * factor ** {"l2": 2, "l1": 1, "directional": 0}[form], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_direction_may_have_the_shape_of_a_sample(shape):
    whole = np.broadcast_to(DIRECTION, shape)
    g = tf.constant(gradients(4, *shape))
    penalty = InputGradientPenalty("directional", weight=1, direction=whole)
    np.testing.assert_allclose(penalty.of(g, None), PENALTIES["directional"].of(g, None), rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"form": "l3"}, "`form` must be one of l2, l1, directional, hinge. Received: form='l3'."),
        ({"units": "cm"}, "`units` must be one of raw, error. Received: units='cm'."),
        ({"weight": -1}, "`weight` must be a finite number of at least 0. Received: weight=-1."),
        ({"weight": float("nan")}, "`weight` must be a finite number of at least 0. Received: weight=nan."),
        ({"weight": "1"}, "`weight` must be a finite number of at least 0. Received: weight='1'."),
        (
            {"form": "hinge"},
            "`threshold` must be given with form 'hinge', and with no other. Received: threshold=None with form 'hinge'.",
        ),
        ({"threshold": 1}, "Received: threshold=1 with form 'l2'. Leave it out, or use form 'hinge'."),
        ({"form": "directional"}, "`direction` must be given with form 'directional', and with no other. Received: direction=None"),
        ({"form": "directional", "direction": [0, 0]}, "`direction` must be finite numbers, one a feature, and not all 0."),
        ({"form": "directional", "direction": [[1, 0], [1]]}, "`direction` must be finite numbers, one a feature, and not all 0."),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ConfigError) as caught:
        InputGradientPenalty(**{"form": "l2", "weight": 1.0} | arguments)
    assert message in str(caught.value)


def test_a_direction_of_another_size_is_refused():
    with pytest.raises(ConfigError, match=r"`direction` must have one number a feature \(4\), or the shape of a sample \(4,\)"):
        PENALTIES["directional"].of(tf.zeros((2, 4)), None)


def test_a_penalty_is_made_again_from_its_config():
    for penalty in PENALTIES.values():
        assert InputGradientPenalty(**penalty.get_config()) == penalty
