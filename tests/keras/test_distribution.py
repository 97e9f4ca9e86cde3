"""In processes of their own: what is loaded when, and two devices."""

import subprocess
import sys

from commands import command
from forked import CODE

TWO_DEVICES = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from anomaly.keras import InputGradientModel, InputGradientPenalty
two = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
rng = np.random.default_rng(0)
x, y, w = (rng.normal(size=shape).astype("float32") for shape in ((12, 5, 3), (12, 2), (12,)))

def trained(strategy, method, every):
    with strategy.scope():
        keras.utils.set_random_seed(3)
        layers = keras.layers
        stack = [layers.Conv1D(4, 2, activation="tanh"), layers.Flatten(), layers.Dense(2)]
        network = keras.Sequential([keras.Input((5, 3)), *stack])
        model = InputGradientModel(network, InputGradientPenalty("l2", weight=2.0), method=method, every=every)
        model.compile(keras.optimizers.SGD(0.1), loss="mse")
    history = model.fit(x, y, sample_weight=abs(w), batch_size=6, epochs=2, shuffle=False, verbose=0).history
    measured = model.evaluate(x, y, batch_size=12, verbose=0, return_dict=True)
    return network.get_weights(), [v[-1] for v in history.values()], list(measured.values())

def with_noise():
    with two.scope():
        layers = keras.layers
        stack = [layers.BatchNormalization(), layers.Dropout(0.5), layers.LSTM(4), layers.Dense(2)]
        model = InputGradientModel(keras.Sequential([keras.Input((5, 3)), *stack]), InputGradientPenalty("l2", weight=1.0))
        model.compile("adam", loss="mse")
    return model.fit(x, y, batch_size=6, verbose=0).history["loss"][0]

for method, every in (("exact", 1), ("two_pass", 2)):
    found, expected = trained(two, method, every), trained(tf.distribute.get_strategy(), method, every)
    for a, b in zip(found, expected):
        one, other = (np.concatenate([np.ravel(array) for array in arrays]) for arrays in (a, b))
        # Each device takes the finite difference of its own half.
        assert np.linalg.norm(one - other) < (1e-5 if method == "exact" else 2e-3) * np.linalg.norm(other), (method, one, other)
assert np.isfinite(with_noise())
print("same")
"""


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_two_devices_train_as_one():
    result = subprocess.run(command(CODE, TWO_DEVICES), capture_output=True, text=True)
    assert result.stdout.split()[-1:] == ["same"], result.stderr[-3000:]


def test_importing_the_wing_loads_no_tensorflow_and_a_penalty_none_either():
    code = (
        "import sys, anomaly.keras; print('numpy' in sys.modules)\n"
        "from anomaly.keras import InputGradientPenalty, input_gradient\n"
        "InputGradientPenalty('l2', weight=1); print('tensorflow' in sys.modules, 'keras' in sys.modules)\n"
        "from anomaly.keras import InputGradientModel\n"
        "print('tensorflow' in sys.modules, InputGradientModel.__mro__[1].__module__.split('.')[0])"
    )
    assert run(code).stdout.split() == ["False", "False", "False", "True", "keras"]


def test_an_unknown_name_is_an_attribute_error():
    assert "module 'anomaly.keras' has no attribute 'nonsense'" in run("import anomaly.keras; anomaly.keras.nonsense").stderr
    assert run("import anomaly.keras; print(*dir(anomaly.keras))").stdout.split() == [
        "InputGradientModel",
        "InputGradientPenalty",
        "input_gradient",
    ]
