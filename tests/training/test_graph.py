"""TensorFlow's graph optimiser is off while trainings run, and as it was afterwards."""

import pytest

from anomaly.tensorflow_start import load_tensorflow
from anomaly.training.graph import without_graph_optimiser


def is_off():
    return load_tensorflow().config.optimizer.get_experimental_options().get("disable_meta_optimizer", False)


def test_it_comes_back_when_the_last_of_several_trainings_ends_whichever_that_is():
    first, second = without_graph_optimiser(), without_graph_optimiser()
    assert not is_off()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert is_off()
    second.__exit__(None, None, None)
    assert not is_off()


def test_it_comes_back_after_an_error():
    with pytest.raises(ZeroDivisionError), without_graph_optimiser():
        raise ZeroDivisionError
    assert not is_off()
