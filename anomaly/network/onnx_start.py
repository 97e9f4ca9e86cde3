"""Load ONNX Runtime: the one place that does, so that it writes no file and asks no network.

From 1.32 on it sends its maker how it is used: as soon as it is imported it writes an identity of the machine and a database below
the home folder, looks up a host, and warns on standard error where that folder may not be written to. A variable that it reads then
holds this back; its `disable_telemetry_events` comes too late. Who sets the variable, to 0 for one, is heeded.
"""

import os
from typing import Any

_SWITCH = "ORT_DISABLE_TELEMETRY"


def load_onnxruntime() -> Any:
    """Return the module `onnxruntime`, imported without telemetry if that is still to be done, as in processes begun later."""
    os.environ.setdefault(_SWITCH, "1")
    import onnxruntime

    return onnxruntime
