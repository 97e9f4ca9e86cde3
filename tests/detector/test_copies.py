"""Copies of a detector in other processes."""

import subprocess
import sys

import pytest

_SCORED = """
import multiprocessing, sys
import numpy as np
from anomaly import Detector, read_csv

detector, series = Detector.load(sys.argv[1]), read_csv(sys.argv[2], label_column="label")
whole = detector.score(series).score
with multiprocessing.get_context("fork").Pool(2) as pool:
    for scores in pool.map(detector.score, [series, series]):
        np.testing.assert_array_equal(scores.score, whole)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no fork")
def test_a_forked_child_scores_as_its_parent_does(bundle_path, csv_path):
    """Threads do not go with a fork: what waits for those of the parent waits for ever."""
    command = [sys.executable, "-W", "ignore", "-c", _SCORED, str(bundle_path), str(csv_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
