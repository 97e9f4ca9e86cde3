"""The packages that some features need beside those that are always there, and the folder that some packages need.

This project is on no package index, so a message names packages to install, never this project with an extra: that command
would fail today, and would install a stranger's code the day somebody takes the name.
"""

import tempfile
from importlib.util import find_spec

from anomaly.errors import LackingError, StorageError

# What every installation has, though one that only scores may leave it out (`scripts/deploy/`): by what cannot do without.
LEFT_OUT = {
    "learning": ("tensorflow", "keras"),
    "pot": ("scipy",),
}
# Where a module is called otherwise than its package.
_MODULES = {"prometheus-client": "prometheus_client"}
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


def lacking(what: str, extra: str, received: str = "") -> LackingError:
    """Return the error of a feature without its packages, which names those that are not installed.

    Args:
        what: the feature, as the beginning of a sentence: "A picture".
        extra: its extra, or its name in `LEFT_OUT`.
        received: what was asked for, if the message is to name it.
    """
    names = (EXTRAS | LEFT_OUT)[extra]
    absent = [name for name in names if find_spec(_MODULES.get(name, name)) is None] or list(names)
    came = f"{received}, and no {' and no '.join(absent)}" if received else f"no {' and no '.join(absent)}"
    return LackingError(f"{what} needs {_listed(names)}. Received: {came}. Run: pip install {' '.join(absent)}.")


def lacking_to_learn() -> LackingError:
    """Return the error of what trains or explains, where only scoring is installed."""
    return lacking("What trains or explains", "learning")


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def require_temporary_folder() -> None:
    """Refuse a machine without a folder for temporary files, which TensorFlow and matplotlib look for while they are imported.

    Raises:
        StorageError: if none can be written to.
    """
    try:
        tempfile.gettempdir()
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"A temporary folder must be writable. Received: {reason[:1].lower()}{reason[1:]}. Set TMPDIR to a folder that is."
        ) from error
