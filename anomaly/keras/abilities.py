"""What the layers of a network can do, and what follows from it: which way to differentiate, whether XLA may compile it."""

from typing import Any

from anomaly.errors import ConfigError, shorten
from anomaly.keras.forms import InputGradientPenalty
from anomaly.tensorflow_start import load_keras, load_tensorflow

METHODS = ("auto", "exact", "two_pass")
_FROM_COARSE = ("bfloat16", "float16", "float32", "float64")


def choose_method(method: str, penalty: InputGradientPenalty, network: Any) -> str:
    """Return "exact" or "two_pass".

    A finite difference is right to a thousandth and needs first derivatives only, so it is chosen where one may choose. It
    is too coarse for unit vectors and for half precision, so these are exact, unless a layer cannot be.

    Args:
        method: "auto", "exact" or "two_pass".
        penalty: what is penalised.
        network: the model.

    Raises:
        ConfigError: if there is no such method, or a layer's nested derivative is known to be wrong.
    """
    if method not in METHODS:
        raise ConfigError(f"`method` must be one of {', '.join(METHODS)}. Received: method={method!r}.")
    cut = [layer.name for layer in layers_of(network) if cuts_a_derivative(layer)]
    if method == "exact" and cut:
        raise ConfigError(moments_message(shorten(cut)))
    if method != "auto":
        return method
    fine = penalty.form != "directional" and coarsest_dtype(network) in ("float32", "float64")
    return "two_pass" if fine or cut or runs_on_cudnn(network) else "exact"


def cuts_a_derivative(layer: Any) -> bool:
    """Tell whether a layer takes a variance by `tf.nn.moments`.

    That holds the mean constant, as the first derivative does not depend on it; a tape inside a tape then lacks a part.
    """
    keras = load_keras()

    if isinstance(layer, keras.layers.BatchNormalization):
        return bool(layer.trainable)  # else it takes no statistics
    return isinstance(layer, keras.layers.LayerNormalization | keras.layers.GroupNormalization)


def moments_message(where: str) -> str:
    """Say why "exact" is refused."""
    return (
        "method='exact' must not be used with a variance of tf.nn.moments, which cuts a part of its second derivative off: "
        f"nested tapes give wrong gradients. Received: {where}. Use method='two_pass', which does not need it."
    )


def runs_on_cudnn(network: Any) -> bool:
    """Tell whether cuDNN may run a recurrent layer: its kernel has no second derivative (tensorflow#37091)."""
    tf = load_tensorflow()

    fused = any(getattr(layer, "use_cudnn", False) in (True, "auto") for layer in layers_of(network))
    return fused and bool(tf.config.list_logical_devices("GPU"))


def may_hold_a_loop(network: Any) -> bool:
    """Tell whether a layer may run a loop: a recurrent one that is not unrolled, or one that is not Keras' own."""
    keras = load_keras()

    return any(
        not type(layer).__module__.startswith("keras.")
        or (isinstance(layer, keras.layers.RNN) and not getattr(layer, "unroll", False))
        for layer in layers_of(network)
    )


def coarsest_dtype(network: Any) -> str:
    """Return the floating-point type of the fewest digits that a layer computes in."""
    found = {str(layer.compute_dtype) for layer in layers_of(network)} & set(_FROM_COARSE)
    return min(found or {"float32"}, key=_FROM_COARSE.index)


def scales_its_loss(network: Any) -> bool:
    """Tell whether a layer computes in float16, so that small gradients vanish unless the loss is scaled up."""
    return any(layer.dtype_policy.name == "mixed_float16" for layer in layers_of(network))


def layers_of(network: Any) -> list[Any]:
    """Return a network and all layers in it, at any depth."""
    return list(network._flatten_layers())
