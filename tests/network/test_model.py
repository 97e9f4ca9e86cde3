"""The Keras network: shapes, weights, what the decoder sees."""

import functools

import numpy as np
import pytest
from closeness import assert_close
from hypothesis import given
from hypothesis import strategies as st

from anomaly.config import NetworkConfig
from anomaly.network.model import build_autoencoder, get_weights, rows_of_timesteps, set_weights, weight_shapes
from anomaly.tensorflow_start import load_keras

keras = load_keras()

VARIANTS = [
    {},
    {"layers": 3},
    {"bidirectional": True},
    {"code_size": 2},
    {"layers": 2, "bidirectional": True, "code_size": 3},
    {"output_order": "forward"},
    {"layers": 2, "dropout": 0.3, "input_noise": 0.1},
    {"pooling": 3},
    {"layers": 2, "bidirectional": True, "code_size": 3, "dropout": 0.3, "input_noise": 0.1, "pooling": 2},
]
WINDOW, FEATURES = 7, 3


def build(seed=1, **options):
    return build_autoencoder(NetworkConfig(units=5, **options), WINDOW, FEATURES, seed=seed)


@functools.cache
def _built(options):
    return build(**dict(options))


def built(options):
    """Return the network of some options, built once for all tests: do not change it."""
    return _built(tuple(options.items()))


@pytest.fixture(params=VARIANTS, ids=str)
def options(request):
    return request.param


def test_network_maps_windows_to_windows(options):
    windows = np.random.default_rng(0).normal(size=(4, WINDOW, FEATURES)).astype("f")
    assert built(options)(windows).shape == windows.shape


def test_network_is_a_stock_functional_model(options):
    network = built(options)
    assert type(network) is keras.Model or type(network).__module__.startswith("keras.")
    assert all(type(layer).__module__.startswith("keras.") for layer in network.layers)


def test_weight_shapes_are_those_of_the_network(options):
    found = {name: array.shape for name, array in get_weights(built(options)).items()}
    assert found == weight_shapes(NetworkConfig(units=5, **options), FEATURES)


def test_weights_survive_the_way_into_another_network(options):
    first, second = built(options), build(seed=2, **options)
    windows = np.random.default_rng(0).normal(size=(4, WINDOW, FEATURES)).astype("f")
    expected = first(windows).numpy()
    assert np.abs(expected - second(windows).numpy()).max() > 1e-3
    set_weights(second, get_weights(first))
    np.testing.assert_array_equal(expected, second(windows).numpy())


def test_same_seed_gives_the_same_weights_and_another_seed_does_not(options):
    first, same, other = map(get_weights, (built(options), *(build(seed=seed, **options) for seed in (1, 2))))
    assert all((first[name] == same[name]).all() for name in first)
    assert any((first[name] != other[name]).any() for name in first)


def test_layers_of_one_network_start_from_different_weights():
    weights = get_weights(build(layers=2))
    assert (weights["encoder_2/forward/kernel"] != weights["decoder_2/forward/kernel"]).any()


def test_cudnn_is_off_because_it_has_no_second_derivative(options):
    lstms = [layer for layer in built(options)._flatten_layers() if isinstance(layer, keras.layers.LSTM)]
    assert lstms and all(layer.use_cudnn is False for layer in lstms)


def test_reversed_output_is_the_forward_one_flipped_in_time():
    forward, backward = build(output_order="forward"), build(output_order="reversed")
    windows = np.random.default_rng(0).normal(size=(2, WINDOW, FEATURES)).astype("f")
    np.testing.assert_array_equal(forward(windows).numpy()[:, ::-1], backward(windows).numpy())


def test_decoder_starts_from_the_state_of_the_encoder():
    # With the decoder's kernel at zero the code cannot reach it: what is left comes through the state.
    network = build()
    weights = get_weights(network)
    weights["decoder_1/forward/kernel"][:] = 0
    set_weights(network, weights)
    windows = np.random.default_rng(0).normal(size=(2, WINDOW, FEATURES)).astype("f")
    first, second = network(windows).numpy()
    assert np.abs(first - second).max() > 1e-3


def test_decoder_sees_the_code_at_each_step():
    network = build()
    repeat, decoder = network.get_layer("repeat"), network.get_layer("decoder_1")
    assert repeat.output.shape == (None, WINDOW, 5)
    assert decoder._inbound_nodes[0].arguments.args[0] is repeat.output


def test_nothing_passes_beside_a_narrower_code():
    network = build(code_size=1)
    weights = get_weights(network)
    weights["code/kernel"][:] = 0  # the code is constant, so the output must not depend on the input
    set_weights(network, weights)
    windows = np.random.default_rng(0).normal(size=(2, WINDOW, FEATURES)).astype("f")
    first, second = network(windows).numpy()
    np.testing.assert_array_equal(first, second)


def test_dropout_and_noise_act_in_training_only():
    network = build(dropout=0.5, input_noise=0.5)
    windows = np.random.default_rng(0).normal(size=(2, WINDOW, FEATURES)).astype("f")
    np.testing.assert_array_equal(network(windows).numpy(), network(windows).numpy())
    assert (network(windows, training=True).numpy() != network(windows, training=True).numpy()).any()


@given(st.integers(1, 50), st.integers(1, 60))
def test_every_row_is_in_one_timestep_and_only_the_first_may_be_short(window_size, pooling):
    rows = rows_of_timesteps(NetworkConfig(pooling=pooling), window_size)
    assert sum(rows) == window_size and len(rows) == -(-window_size // pooling)
    assert all(n == pooling for n in rows[1:]) and 1 <= rows[0] <= pooling


@pytest.mark.parametrize(
    ("window_size", "least", "pooling"), [(31, 32, 1), (63, 32, 1), (64, 32, 2), (128, 32, 4), (512, 64, 8), (9, 1, 9)]
)
def test_pooling_leaves_the_network_its_timesteps(window_size, least, pooling):
    rows = rows_of_timesteps(NetworkConfig(timesteps=least), window_size)
    assert rows[-1] == pooling and len(rows) >= min(least, window_size)


def means_and_back(network, windows, pooling):
    """Take windows through the network as means of rows, counted from the last row on, and repeat what comes out."""
    stops = list(range(windows.shape[1], 0, -pooling))[::-1]
    slices = [slice(max(0, stop - pooling), stop) for stop in stops]
    outputs = network(np.stack([windows[:, rows].mean(axis=1) for rows in slices], axis=1)).numpy()
    found = np.empty_like(windows)
    for n, rows in enumerate(slices):
        found[:, rows] = outputs[:, n : n + 1]
    return found


@pytest.mark.parametrize(
    ("pooling", "output_order"), [(2, "forward"), (3, "reversed"), (6, "forward"), (7, "reversed"), (20, "forward")]
)
def test_pooled_network_is_the_plain_one_over_means_of_rows(pooling, output_order):
    pooled = build(pooling=pooling, output_order=output_order)
    plain = build_autoencoder(NetworkConfig(units=5, output_order=output_order), -(-WINDOW // pooling), FEATURES)
    set_weights(plain, get_weights(pooled))
    windows = np.random.default_rng(0).normal(size=(4, WINDOW, FEATURES)).astype("f")
    assert_close(pooled(windows).numpy(), means_and_back(plain, windows, pooling), 1e-5)


def test_pooling_of_one_row_adds_nothing_to_the_network():
    assert [type(layer).__name__ for layer in build(pooling=1).operations] == [
        "InputLayer", "LSTM", "RepeatVector", "LSTM", "Dense", "Flip",
    ]  # fmt: skip


def test_input_noise_falls_on_rows_and_not_on_their_means():
    network = build(input_noise=0.5, pooling=3)
    noise = next(layer for layer in network.layers if isinstance(layer, keras.layers.GaussianNoise))
    assert noise.output.shape == (None, WINDOW, FEATURES)
