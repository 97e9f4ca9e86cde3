"""The fit loop: early stopping, repetition, divergence, interruption, and what the penalty does."""

import functools
import itertools
import os
import signal

import numpy as np
import pytest
from closeness import assert_close
from conftest import MOST_IDLE_ENGINES

from anomaly.config import DetectorConfig
from anomaly.errors import DivergedError
from anomaly.network.initial_weights import initial_weights
from anomaly.network.model import build_autoencoder, set_weights
from anomaly.tensorflow_start import load_tensorflow
from anomaly.training import loop
from anomaly.training import step as step_module
from anomaly.training.checkpoint import CheckpointFile
from anomaly.training.loop import WindowBatches, batch_size_of, epochs_of, fit_autoencoder, steps_in_epoch
from anomaly.training.penalty import input_gradient, scaled_penalty, window_losses
from anomaly.training.step import Engine, choose_plan
from anomaly.windowing.windows import make_windows

tf = load_tensorflow()

WINDOW = 10
VALUES = np.random.default_rng(0).normal(size=(300, 2)).astype("f") * 0.3 + np.sin(np.arange(300) / 3)[:, None].astype("f")
TRAIN, HELD_OUT = np.arange(0, 200), np.arange(220, 290)
TOLERANCE = {"exact": 1e-5, "two_pass": 1e-3}  # of a gradient: in float32 a difference of two has fewer digits
SMALL = {"units": 6, "penalty": "none", "epochs": 4, "steps_per_epoch": 10, "batch_size": 32}


def fit(seed=1, values=VALUES, train=TRAIN, on_step=None, checkpoint=None, resume_from=None, **settings):
    """Train; return the best weights, and the history."""
    config = DetectorConfig.from_settings(SMALL | settings)
    return fit_autoencoder(
        config,
        initial_weights(config.network, 2, seed),
        values,
        train,
        HELD_OUT,
        window_size=WINDOW,
        seed=seed,
        on_step=on_step,
        checkpoint=checkpoint,
        resume_from=resume_from,
    )


@functools.cache
def keras_network():
    return build_autoencoder(DetectorConfig.from_settings(SMALL).network, WINDOW, 2)


def network_of(weights):
    """Return the Keras model with these weights."""
    set_weights(keras_network(), weights)
    return keras_network()


def held_out_loss(weights):
    network = network_of(weights)
    windows = make_windows(VALUES, HELD_OUT, WINDOW)
    return float(tf.reduce_mean(window_losses(network(windows), windows)))


def assert_same_training(first, second):
    assert {k: v for k, v in vars(first[1]).items() if k != "seconds"} == {
        k: v for k, v in vars(second[1]).items() if k != "seconds"
    }
    for name, array in first[0].items():
        np.testing.assert_array_equal(array, second[0][name])


def test_training_lowers_the_held_out_loss():
    _, history = fit(epochs=16)
    assert min(history.validation_loss) < 0.7 * history.validation_loss[0]


def test_network_is_left_with_the_weights_of_its_best_epoch():
    weights, history = fit(epochs=30, patience=3, learning_rate=0.3)  # so large that the loss jumps about
    best = min(history.validation_loss)
    assert history.best_epoch == 1 + int(np.argmin(history.validation_loss))
    assert history.best_epoch < len(history.validation_loss), "the best epoch must not be the last, or this shows nothing"
    assert held_out_loss(weights) == pytest.approx(best, rel=1e-5)


def test_of_many_held_out_windows_some_from_all_over_say_what_the_loss_is(monkeypatch):
    """The loss is the mean of those windows, and of no others."""
    monkeypatch.setattr(loop, "MOST_VALIDATION_WINDOWS", 8)
    weights, history = fit(epochs=3)
    some = HELD_OUT[[0, 9, 19, 29, 39, 49, 59, 69]]
    windows = make_windows(VALUES, some, WINDOW)
    of_some = float(tf.reduce_mean(window_losses(network_of(weights)(windows), windows)))
    assert history.best_epoch == 3 and history.validation_loss[-1] == pytest.approx(of_some, rel=1e-5)
    assert abs(of_some / held_out_loss(weights) - 1) > 1e-3, "all windows have another loss, or this shows nothing"


def test_training_stops_after_patience_epochs_without_a_better_one():
    _, history = fit(epochs=50, patience=3, learning_rate=0.3)
    assert len(history.validation_loss) == history.best_epoch + 3 < 50


@pytest.mark.parametrize("penalty", ["l2", "none"])
def test_same_seed_repeats_training_bit_for_bit(penalty):
    tf.config.experimental.enable_op_determinism()
    first, second = (fit(penalty=penalty, penalty_weight=0.1, dropout=0.2, input_noise=0.1, epochs=2) for _ in range(2))
    assert_same_training(first, second)


def test_a_training_in_the_engine_of_another_is_what_it_is_alone(monkeypatch):
    monkeypatch.setattr(step_module, "_IDLE", {})
    settings = {"penalty": "l2", "penalty_weight": 0.1, "dropout": 0.2, "epochs": 2}
    alone = fit(seed=1, **settings)
    assert len(step_module._IDLE) == 1
    fit(seed=2, **settings)
    assert len(step_module._IDLE) == 1
    assert_same_training(fit(seed=1, **settings), alone)


def test_what_is_put_in_as_a_number_makes_no_new_engine(monkeypatch):
    monkeypatch.setattr(step_module, "_IDLE", {})
    fit(epochs=1)
    (first,) = step_module._IDLE.values()
    fit(epochs=2, learning_rate=0.01, patience=2, seed=5)
    assert list(step_module._IDLE.values()) == [first]
    fit(epochs=1, clip_norm=0.5)
    assert len(step_module._IDLE) == 2


def test_trainings_at_the_same_time_have_an_engine_each(monkeypatch):
    monkeypatch.setattr(step_module, "_IDLE", {})
    config = DetectorConfig.from_settings(SMALL)
    weights = initial_weights(config.network, 2, seed=3)
    plan = choose_plan(config, WINDOW, 2, 32, 1)
    first, second = (step_module.borrowed_engine(config, weights, WINDOW, plan) for _ in range(2))
    assert first is not second
    step_module.give_back(second)
    assert step_module.borrowed_engine(config, weights, WINDOW, plan) is second


def test_few_engines_are_kept(monkeypatch):
    monkeypatch.setattr(step_module, "_IDLE", {})
    monkeypatch.setattr(step_module, "_MOST_IDLE", MOST_IDLE_ENGINES)
    for units in range(2, 9):
        step_module.give_back(engine(units=units))
    assert [key[0].units for key in step_module._IDLE] == [5, 6, 7, 8]


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
    settings = options | {"penalty_weight": 0.5, "epochs": 6, "patience": 6}
    config = DetectorConfig.from_settings(settings).penalty
    windows = tf.constant(make_windows(VALUES, HELD_OUT, WINDOW))

    def measured(weights):
        network = network_of(weights)
        losses = window_losses(network(windows), windows)
        return float(tf.reduce_mean(scaled_penalty(input_gradient(network, windows), losses, config)))

    with_penalty, _ = fit(**settings)
    assert measured(with_penalty) < 0.8 * measured(trained_without_a_penalty())


@functools.cache
def trained_without_a_penalty():
    return fit(epochs=6, patience=6)[0]


def test_penalty_every_second_step_is_computed_every_second_step_with_twice_the_weight():
    seen = []
    fit(penalty="l2", penalty_weight=0.1, penalty_every=2, epochs=1, on_step=seen.append)
    # The mean over the steps that computed it stays as it was where a step did not.
    repeats = [later.gradient_penalty == earlier.gradient_penalty for earlier, later in itertools.pairwise(seen)]
    assert repeats == [True, False] * 4 + [True]
    assert all(progress.gradient_penalty > 0 for progress in seen)
    assert seen[0].loss == pytest.approx(seen[0].reconstruction_loss + 0.2 * seen[0].gradient_penalty, rel=1e-5)


def test_progress_reports_the_parts_of_the_loss_apart():
    seen = []
    _, history = fit(penalty="l2", penalty_weight=0.3, penalty_every=1, epochs=2, on_step=seen.append)
    assert [(p.epoch, p.step) for p in seen] == [(e, s) for e in (1, 2) for s in range(1, 11)]
    for p in seen:
        assert p.loss == pytest.approx(p.reconstruction_loss + 0.3 * p.gradient_penalty, rel=1e-5)
    assert seen[0].validation_loss is None
    assert [p.validation_loss for p in seen[8:11]] == [None, history.validation_loss[0], history.validation_loss[0]]
    assert seen[-1].validation_loss == history.validation_loss[1]
    assert [p.ended for p in seen] == [p.step == 10 for p in seen]
    assert history.gradient_penalty[-1] == seen[-1].gradient_penalty
    assert "two_pass" in seen[0].plan


def test_loss_that_is_not_finite_stops_training_and_says_where(tmp_path):
    broken = VALUES.copy()
    broken[150] = np.inf
    checkpoint = CheckpointFile(tmp_path / "c", {}, 0)
    with pytest.raises(
        DivergedError, match=r"must be finite. Received: loss=\S+, reconstruction_loss=\S+, gradient_penalty=\S+ at step 1\. "
    ):
        fit(values=broken, train=np.arange(141, 151), epochs=1, checkpoint=checkpoint)
    assert list(tmp_path.iterdir()) == []


def test_training_that_diverges_says_at_which_step():
    with pytest.raises(DivergedError, match=r"at step [2-9]\d*\. Nothing was saved"):
        fit(learning_rate=1e30, clip_norm=1e30)


def test_validation_loss_that_is_not_finite_stops_training_too():
    broken = VALUES.copy()
    broken[250] = np.inf
    with pytest.raises(DivergedError, match="validation loss must be finite"):
        fit(values=broken, epochs=1, steps_per_epoch=1)


def test_batches_hold_every_window_once_before_any_twice():
    values = np.arange(14, dtype="f")[:, None]
    batches = WindowBatches(values, np.arange(12), 3, 0.2, 5, seed=0)
    drawn = np.concatenate([batches.starts_of(step) for step in range(24)])
    for first in range(0, 120, 12):
        assert sorted(drawn[first : first + 12].tolist()) == list(range(12))
    assert (drawn[:12] != drawn[12:24]).any()
    batches.close()


def test_a_batch_depends_on_seed_and_step_alone():
    batches, again = (WindowBatches(VALUES, TRAIN, WINDOW, 0.2, 32, seed=4) for _ in range(2))
    ordered = [batches.take(step) for step in range(15)]
    for step in (14, 0, 7, 8):
        np.testing.assert_array_equal(again.take(step), ordered[step])
        for array in ordered[step]:
            np.testing.assert_array_equal(array, make_windows(VALUES, batches.starts_of(step), WINDOW))
    assert (WindowBatches(VALUES, TRAIN, WINDOW, 0.2, 32, seed=5).starts_of(0) != batches.starts_of(0)).any()
    batches.close()
    again.close()


def test_an_epoch_sees_every_window_once_within_bounds():
    training = DetectorConfig().training
    assert [steps_in_epoch(training, n, 64) for n in (1, 1600, 1601, 3200, 100_000)] == [25, 25, 26, 50, 50]
    assert steps_in_epoch(DetectorConfig.from_settings({"steps_per_epoch": 7}).training, 10_000, 64) == 7


def test_several_features_have_larger_batches_and_more_epochs_and_no_batch_exceeds_the_windows():
    training = DetectorConfig().training
    assert [epochs_of(training, n) for n in (1, 2, 300)] == [24, 40, 40]
    assert epochs_of(DetectorConfig.from_settings({"epochs": 7}).training, 2) == 7
    assert [batch_size_of(training, n, 1) for n in (31, 32, 5000)] == [31, 32, 32]
    assert [batch_size_of(training, n, 2) for n in (31, 64, 5000)] == [31, 64, 64]
    assert batch_size_of(DetectorConfig.from_settings({"batch_size": 7}).training, 5000, 2) == 7


def test_fewer_windows_than_a_batch_are_trained_on_all_together():
    _, history = fit(train=np.arange(7), epochs=1)
    assert np.isfinite(history.loss).all()


def test_training_ends_after_max_minutes_with_a_whole_epoch():
    _, history = fit(epochs=100_000, steps_per_epoch=10_000, max_minutes=0.01)
    assert len(history.loss) == len(history.validation_loss) == history.best_epoch == 1
    assert history.seconds >= 0.6


class StopError(Exception):
    pass


def stop_after(n):
    seen = []

    def on_step(progress):
        seen.append(progress)
        if len(seen) == n:
            raise StopError

    return on_step


EVERYTHING = {"penalty": "l2", "penalty_every": 2, "dropout": 0.2, "input_noise": 0.1, "learning_rate": 0.03}


@functools.cache
def uninterrupted(compiled):
    """Return what a training came to with everything that is drawn; it runs as `_COMPILE_SECONDS` says."""
    return fit(**EVERYTHING)


@pytest.mark.parametrize(("steps", "compiled"), [(1, False), (9, False), (10, True), (23, False)])
def test_an_interrupted_training_goes_on_to_the_same_end(tmp_path, steps, compiled, monkeypatch):
    tf.config.experimental.enable_op_determinism()
    monkeypatch.setattr(step_module, "_COMPILE_SECONDS", 0 if compiled else np.inf)
    checkpoint = CheckpointFile(tmp_path / "c", {}, 0)
    with pytest.raises(StopError):
        fit(**EVERYTHING, checkpoint=checkpoint, on_step=stop_after(steps + 1))
    state = checkpoint.read()
    assert state.step == steps and state.plan.compiled is compiled
    # Other weights and another seed at the start: all must come from the file.
    assert_same_training(uninterrupted(compiled), fit(**EVERYTHING, seed=1, checkpoint=checkpoint, resume_from=state))


def test_a_finished_training_is_not_trained_further(tmp_path):
    checkpoint = CheckpointFile(tmp_path / "c", {}, 0)
    first = fit(checkpoint=checkpoint)
    seen = []
    assert_same_training(first, fit(checkpoint=checkpoint, resume_from=checkpoint.read(), on_step=seen.append))
    assert not seen


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["int", "term"])
def test_a_signal_waits_for_the_end_of_the_step_and_the_checkpoint(tmp_path, number):
    checkpoint = CheckpointFile(tmp_path / "c", {}, 3600)
    before = signal.signal(number, lambda *_: (_ for _ in ()).throw(StopError()))
    try:
        with pytest.raises(StopError):
            fit(checkpoint=checkpoint, on_step=lambda p: os.kill(os.getpid(), number) if p.step == 7 else None)
    finally:
        signal.signal(number, before)
    assert checkpoint.read().step == 7


def test_without_a_checkpoint_signals_are_left_alone():
    seen = []
    fit(epochs=1, on_step=lambda p: seen.append(signal.getsignal(signal.SIGINT)))
    assert set(seen) == {signal.getsignal(signal.SIGINT)}


def engine(n_steps=1, cores=2, **settings):
    config = DetectorConfig.from_settings(SMALL | {"batch_size": 32} | settings)
    plan = choose_plan(config, WINDOW, 2, 32, n_steps, cores)
    return Engine(config, initial_weights(config.network, 2, seed=3), WINDOW, plan)


def one_step(made, learning_rate=0.01):
    windows = make_windows(VALUES, np.arange(32), WINDOW)
    made.step(windows, windows, 0, 0, learning_rate, with_penalty=True)
    return made.weights()


def gradients_of_one_step(made):
    """Return ten times Adam's first moments after one step; the weights know little more than their signs."""
    arrays = [10 * array for array in made.slots().values() if array.ndim]
    return arrays[::2]


@pytest.mark.parametrize("penalty_method", ["exact", "two_pass"])
def test_gradients_do_not_depend_on_shards_and_compiler_but_for_rounding(penalty_method):
    settings = {"penalty": "l2", "penalty_weight": 0.1, "penalty_method": penalty_method}

    def found(cores, n_steps):
        made = engine(n_steps, cores, **settings)
        one_step(made)
        return gradients_of_one_step(made)

    expected = found(1, 1)
    for cores, n_steps in ((4, 1), (2, 10**6)):
        for array, other in zip(found(cores, n_steps), expected, strict=True):
            assert_close(array, other, TOLERANCE[penalty_method])


def test_gradients_are_clipped_to_the_norm():
    made = engine(clip_norm=0.01)
    one_step(made)
    norm = np.sqrt(sum((array.astype(float) ** 2).sum() for array in gradients_of_one_step(made)))
    assert norm == pytest.approx(0.01, rel=1e-3)


def test_losses_are_those_of_the_keras_model_for_any_number_of_windows():
    made = engine()
    network = network_of(made.weights())
    for n in (1, 31, 32, 33, 70):
        windows = make_windows(VALUES, np.arange(n), WINDOW)
        assert_close(made.losses(windows, windows), window_losses(network(windows), windows), 1e-5)


def test_plan_follows_the_penalty_the_length_and_the_cores():
    def plan(n_steps=1000, cores=2, batch_size=64, window_size=48, n_features=4, **settings):
        config = DetectorConfig.from_settings(settings)
        return choose_plan(config, window_size, n_features, batch_size, n_steps, cores)

    assert plan().method == "two_pass"
    assert plan(penalty="none").method == plan(penalty_weight=0).method == "none"
    assert plan(penalty="directional", direction=(1, 1, 1, 1)).method == "exact"
    assert plan(penalty_method="exact").method == "exact"
    assert plan().compiled and not plan(n_steps=10).compiled
    assert [plan(cores=n).shards for n in (1, 2, 4, 64)] == [1, 2, 4, 8]
    assert plan(batch_size=63).shards in (1, 3) and plan(batch_size=7).shards == 1
    assert plan(window_size=512, units=128, pooling=1).shards == 8, "large arrays are cut further"
    assert "two_pass, compiled by XLA, 2 shards of 32 windows" in str(plan())
