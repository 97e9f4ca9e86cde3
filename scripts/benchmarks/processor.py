"""On which processor a result was measured: its model, what it can do that matters here, and whether oneDNN is on."""

import os
import platform
import sys
from pathlib import Path

# Names that people know, where the model's own name does not tell it: by vendor, family and model.
_KINDS = {("GenuineIntel", 6, 143): "Sapphire Rapids", ("GenuineIntel", 6, 207): "Emerald Rapids"}
_FEATURES = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "AVX-512 BF16", "amx_tile": "AMX"}


def described() -> str:
    """Return it in a few words, for the head of a result."""
    fields = _fields()
    name = fields.get("model name") or platform.processor() or platform.machine()
    kind = _KINDS.get((fields.get("vendor_id", ""), int(fields.get("cpu family", -1)), int(fields.get("model", -1))))
    flags = fields.get("flags", "").split()
    able = [words for flag, words in _FEATURES.items() if flag in flags]
    # As TensorFlow has it: on where the processor is of this kind, unless it is told otherwise.
    wanted = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") not in ("0", "false")
    onednn = "on" if wanted and sys.platform == "linux" and platform.machine() in ("x86_64", "AMD64") else "off"
    return f"{name}{f' ({kind})' if kind else ''}, {os.cpu_count()} cores; {' '.join(able) or 'no AVX2'}; oneDNN {onednn}"


def _fields() -> dict[str, str]:
    """Return what Linux says of the first core; nothing elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
