"""Weights in one vector, and back."""

import numpy as np
import pytest

from anomaly.config import NetworkConfig
from anomaly.network.initial_weights import initial_weights
from anomaly.training.weight_vector import WeightVector


@pytest.mark.parametrize("options", [{}, {"layers": 2, "bidirectional": True}, {"code_size": 3}], ids=["plain", "both", "narrow"])
def test_arrays_come_back_from_the_vector(options):
    config = NetworkConfig(units=5, **options)
    weights, layout = initial_weights(config, 3, seed=0), WeightVector(config, 3)
    vector = layout.joined(weights)
    assert vector.dtype == np.float32 and len(vector) == sum(layout.sizes) == sum(array.size for array in weights.values())
    for found in (layout.parts(vector), {name: tensor.numpy() for name, tensor in layout.tensors(vector).items()}):
        assert list(found) == list(weights)
        for name, array in weights.items():
            np.testing.assert_array_equal(found[name], array)
    np.testing.assert_array_equal(layout.joined_tensors(layout.tensors(vector)), vector)


def test_arrays_are_joined_by_name_and_parts_are_copies():
    config = NetworkConfig(units=2)
    weights, layout = initial_weights(config, 1, seed=0), WeightVector(config, 1)
    vector = layout.joined(dict(reversed(weights.items())))
    np.testing.assert_array_equal(vector, layout.joined(weights))
    layout.parts(vector)["output/bias"][:] = 7
    np.testing.assert_array_equal(vector, layout.joined(weights))
