"""The guide is a promise: its code runs, and what it names exists."""

import re
from pathlib import Path

import numpy as np

from anomaly import Detector
from anomaly.keras import forms
from anomaly.keras.differentiation import STEPS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "anomaly" / "keras" / "README.md").read_text()


def test_its_code_runs_from_top_to_bottom(series):
    rng = np.random.default_rng(0)
    names = {"x": rng.normal(size=(60, 24)), "y": rng.normal(size=(60, 1)), "series": series[:400], "Detector": Detector}
    blocks = re.findall(r"^```python\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    exec("\n".join(blocks), names)
    assert names["g"].shape == names["slope"].shape == (60, 24)
    kernel = names["network"].get_weights()[0]
    assert np.isfinite(kernel).all()
    assert isinstance(names["events"], list)


def test_what_it_names_exists():
    for path in re.findall(r"`((?:notebooks|anomaly|tests|scripts)/[\w/.]+)`", TEXT):
        assert (ROOT / path).exists(), path
    assert re.findall(r"^\| `(\w+)`", TEXT, flags=re.MULTILINE)[: len(forms.FORMS)] == list(forms.FORMS)
    assert f"{STEPS['float32']:.0e}".replace("e-04", "e-4") in TEXT
