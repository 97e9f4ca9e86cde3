"""The input-gradient penalty for any Keras model: train one so that its loss changes little when its input does.

    from anomaly.keras import InputGradientModel, InputGradientPenalty, input_gradient

    model = InputGradientModel(my_model, InputGradientPenalty("l2", weight=0.01))
    model.compile("adam", loss="mse")

The README of this folder says which form is for what, what it costs, and where the traps are. Nothing is loaded
before a name is used: TensorFlow takes seconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anomaly.keras.forms import InputGradientPenalty
    from anomaly.keras.gradient import input_gradient
    from anomaly.keras.model import InputGradientModel

_HOMES = {"InputGradientModel": "model", "InputGradientPenalty": "forms", "input_gradient": "gradient"}

__all__ = ["InputGradientModel", "InputGradientPenalty", "input_gradient"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'anomaly.keras' has no attribute {name!r}")
    return getattr(import_module(f"anomaly.keras.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
