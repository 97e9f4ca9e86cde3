"""The weights that a training starts from, beside those that Keras draws."""

import numpy as np
import pytest

from anomaly.config import NetworkConfig
from anomaly.network.initial_weights import initial_weights
from anomaly.network.model import build_autoencoder, get_weights, weight_shapes

OPTIONS = [{}, {"layers": 3}, {"bidirectional": True}, {"code_size": 3}]


@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "layers", "both", "narrow"])
def test_names_shapes_and_biases_are_those_of_the_keras_model(options):
    config = NetworkConfig(units=6, **options)
    found, keras = initial_weights(config, 4, seed=1), get_weights(build_autoencoder(config, 12, 4))
    assert {name: array.shape for name, array in found.items()} == weight_shapes(config, 4)
    assert set(found) == set(keras) and {array.dtype for array in found.values()} == {np.dtype(np.float32)}
    for name in (name for name in keras if name.endswith("bias")):
        np.testing.assert_array_equal(found[name], keras[name])


def test_kernels_are_spread_as_keras_spreads_them():
    config = NetworkConfig(units=48)
    found, keras = initial_weights(config, 40, seed=1), get_weights(build_autoencoder(config, 12, 40))
    for name in (name for name in keras if name.endswith("/kernel")):
        limit = np.sqrt(6 / sum(found[name].shape))
        for array in (found[name], keras[name]):
            assert 0.98 * limit < np.abs(array).max() <= limit
            assert array.std() == pytest.approx(limit / np.sqrt(3), rel=0.05)
            assert abs(array.mean()) < 0.05 * limit


def test_recurrent_kernels_have_orthonormal_rows():
    found = initial_weights(NetworkConfig(units=7, layers=2), 2, seed=3)
    recurrent = [array for name, array in found.items() if name.endswith("recurrent_kernel")]
    assert len(recurrent) == 4
    for array in recurrent:
        np.testing.assert_allclose(array @ array.T, np.eye(7), atol=1e-6)


def test_a_seed_always_gives_the_same_weights_and_no_two_arrays_are_alike():
    first, same, other = (initial_weights(NetworkConfig(units=5, layers=2), 5, seed=seed) for seed in (1, 1, 2))
    drawn = [name for name in first if not name.endswith("bias")]
    for name in drawn:
        np.testing.assert_array_equal(first[name], same[name])
        assert not np.array_equal(first[name], other[name])
    alike = [(a, b) for a in drawn for b in drawn if a < b and np.array_equal(first[a].ravel()[:5], first[b].ravel()[:5])]
    assert not alike
