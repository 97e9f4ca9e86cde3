"""The fit loop: early stopping, repetition, divergence, and what the penalty does."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from anomaly.config import NetworkConfig, PenaltyConfig, TrainingConfig
from anomaly.errors import DivergedError
from anomaly.model import build_autoencoder, get_weights
from anomaly.penalty import input_gradient, window_losses
from anomaly.training import fit_autoencoder
from anomaly.windowing import make_windows

WINDOW = 10
VALUES = np.random.default_rng(0).normal(size=(300, 2)).astype("f") * 0.3 + np.sin(np.arange(300) / 3)[:, None].astype("f")
TRAIN, HELD_OUT = np.arange(0, 200), np.arange(220, 290)


def fit(penalty=None, seed=1, on_step=None, network_options=None, **training):
    network = build_autoencoder(NetworkConfig(units=6, **(network_options or {})), WINDOW, 2, seed=seed)
    history = fit_autoencoder(
        network,
        VALUES,
        TRAIN,
        HELD_OUT,
        penalty=penalty or PenaltyConfig(penalty="none"),
        training=TrainingConfig(**({"epochs": 4, "steps_per_epoch": 10, "batch_size": 32} | training)),
        seed=seed,
        on_step=on_step,
    )
    return network, history


def held_out_loss(network):
    windows = make_windows(VALUES, HELD_OUT, WINDOW)
    return float(tf.reduce_mean(window_losses(network(windows), windows)))


def test_training_lowers_the_held_out_loss():
    _, history = fit(epochs=8)
    assert min(history.validation_loss) < 0.7 * history.validation_loss[0]


def test_network_is_left_with_the_weights_of_its_best_epoch():
    network, history = fit(epochs=12, patience=3, learning_rate=0.3)  # so large that the loss jumps about
    best = min(history.validation_loss)
    assert history.best_epoch == 1 + int(np.argmin(history.validation_loss))
    assert history.best_epoch < len(history.validation_loss), "the best epoch must not be the last, or this shows nothing"
    assert held_out_loss(network) == pytest.approx(best, rel=1e-5)


def test_training_stops_after_patience_epochs_without_a_better_one():
    _, history = fit(epochs=50, patience=3, learning_rate=0.3)
    assert len(history.validation_loss) == history.best_epoch + 3 < 50


@pytest.mark.parametrize(
    "penalty",
    [PenaltyConfig(penalty="l2", penalty_weight=0.1), PenaltyConfig(penalty="none")],
    ids=["penalty", "none"],
)
def test_same_seed_repeats_training_bit_for_bit(penalty):
    tf.config.experimental.enable_op_determinism()
    options = {"dropout": 0.2, "input_noise": 0.1}
    first, second = (fit(penalty, network_options=options, epochs=2) for _ in range(2))
    assert first[1].loss == second[1].loss
    for name, array in get_weights(first[0]).items():
        np.testing.assert_array_equal(array, get_weights(second[0])[name])


def test_another_seed_trains_to_other_weights():
    first, second = fit(seed=1, epochs=1), fit(seed=2, epochs=1)
    assert first[1].loss != second[1].loss


@pytest.mark.parametrize(
    "options",
    [
        {"penalty": "l2"},
        {"penalty": "l2", "penalty_method": "exact"},
        {"penalty": "l1"},
        {"penalty": "hinge", "penalty_threshold": 0.05},
        {"penalty": "directional", "direction": (1.0, -1.0)},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_training_with_the_penalty_lowers_the_input_gradient_on_held_out_windows(options):
    from anomaly.penalty import penalty_of

    config = PenaltyConfig(**options, penalty_weight=0.5)
    windows = tf.constant(make_windows(VALUES, HELD_OUT, WINDOW))

    def measured(network):
        return float(tf.reduce_mean(penalty_of(input_gradient(network, windows), config)))

    with_penalty, _ = fit(config, epochs=6, patience=6)
    without, _ = fit(epochs=6, patience=6)
    assert measured(with_penalty) < 0.8 * measured(without)


def test_penalty_every_second_step_is_computed_every_second_step():
    seen = []
    penalty = PenaltyConfig(penalty="l2", penalty_weight=0.1, penalty_every=2)
    fit(penalty, epochs=1, on_step=lambda progress: seen.append(progress))
    # The mean over the steps that computed it stays as it was where a step did not.
    repeats = [later.gradient_penalty == earlier.gradient_penalty for earlier, later in itertools.pairwise(seen)]
    assert repeats == [True, False] * 4 + [True]
    assert all(progress.gradient_penalty > 0 for progress in seen)


def test_penalty_every_second_step_has_twice_the_weight():
    seen = []
    penalty = PenaltyConfig(penalty="l2", penalty_weight=0.1, penalty_every=2)
    fit(penalty, epochs=1, on_step=lambda progress: seen.append(progress))
    first = seen[0]
    assert first.loss == pytest.approx(first.reconstruction_loss + 0.2 * first.gradient_penalty, rel=1e-5)


def test_progress_reports_the_parts_of_the_loss_apart():
    seen = []
    penalty = PenaltyConfig(penalty="l2", penalty_weight=0.3)
    _, history = fit(penalty, epochs=2, on_step=lambda progress: seen.append(progress))
    assert [(p.epoch, p.step) for p in seen] == [(e, s) for e in (1, 2) for s in range(1, 11)]
    for p in seen:
        assert p.loss == pytest.approx(p.reconstruction_loss + 0.3 * p.gradient_penalty, rel=1e-5)
    assert seen[0].validation_loss is None
    assert seen[-1].validation_loss == history.validation_loss[0]
    assert history.gradient_penalty[-1] == seen[-1].gradient_penalty


def test_loss_that_is_not_finite_stops_training_and_says_where():
    broken = VALUES.copy()
    broken[150] = np.inf
    network = build_autoencoder(NetworkConfig(units=4), WINDOW, 2)
    with pytest.raises(
        DivergedError, match=r"must be finite. Received: loss=\S+, reconstruction_loss=\S+, gradient_penalty=\S+ at step 1"
    ):
        fit_autoencoder(
            network,
            broken,
            np.arange(141, 151),
            HELD_OUT,
            penalty=PenaltyConfig(penalty="none"),
            training=TrainingConfig(epochs=1),
            seed=0,
        )


def test_validation_loss_that_is_not_finite_stops_training_too():
    broken = VALUES.copy()
    broken[250] = np.inf
    network = build_autoencoder(NetworkConfig(units=4), WINDOW, 2)
    with pytest.raises(DivergedError, match="validation loss must be finite"):
        fit_autoencoder(
            network,
            broken,
            TRAIN,
            HELD_OUT,
            penalty=PenaltyConfig(penalty="none"),
            training=TrainingConfig(epochs=1, steps_per_epoch=1),
            seed=0,
        )


def test_gradients_are_clipped():
    # One Adam step with a clipped gradient moves like one without; the clip shows in the optimizer's settings.
    from anomaly.training import _Trainer

    network = build_autoencoder(NetworkConfig(units=4), WINDOW, 2)
    trainer = _Trainer(network, PenaltyConfig(), TrainingConfig(clip_norm=0.25))
    assert trainer.optimizer.global_clipnorm == 0.25


def test_batches_hold_every_window_once_before_any_twice():
    from anomaly.training import _batches

    batches = _batches(np.arange(12), 5, np.random.default_rng(0))
    drawn = np.concatenate([next(batches) for _ in range(24)])
    for first in range(0, 120, 12):
        assert sorted(drawn[first : first + 12].tolist()) == list(range(12))
    assert len(next(_batches(np.arange(3), 5, np.random.default_rng(0)))) == 3
