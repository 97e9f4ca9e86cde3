"""The packages that some features need beside those that are always there: their names in one place.

This project is on no package index, so a message names packages to install, never this project with an extra: that command
would fail today, and would install a stranger's code the day somebody takes the name.
"""

from importlib.util import find_spec

from anomaly.errors import ConfigError

# By extra of pyproject.toml what it brings, in the order of a message; a test holds the two to each other.
EXTRAS = {
    "plot": ("matplotlib",),
    "report": ("plotly", "tsdownsample"),
    "parquet": ("pyarrow",),
    "object-store": ("pyarrow",),
    "cluster": ("ray",),
    "metrics": ("prometheus-client",),
    "own-network": ("tf2onnx",),
    "notebook": ("ipywidgets", "anywidget", "matplotlib", "plotly", "tsdownsample"),
}


def lacking(what: str, extra: str, received: str = "") -> ConfigError:
    """Return the error of a feature without its packages, which names those that are not installed.

    Args:
        what: the feature, as the beginning of a sentence: "A picture".
        extra: its extra.
        received: what was asked for, if the message is to name it.
    """
    names = EXTRAS[extra]
    absent = [name for name in names if find_spec(name) is None] or list(names)
    came = f"{received}, and no {' and no '.join(absent)}" if received else f"no {' and no '.join(absent)}"
    return ConfigError(f"{what} needs {_listed(names)}. Received: {came}. Run: pip install {' '.join(absent)}.")


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
