#!/usr/bin/env python3
"""Time the volume under the surface against a plain loop over thresholds and buffers.

    python scripts/benchmarks/metrics.py

A line a size: the least time of the function over some repeats, and, at the smaller size, that of the loop of
`tests/naive_metrics.py` and the ratio. The loop gets few thresholds and buffers, because it takes hours otherwise; its
time is scaled up to 250 thresholds and all buffers, which it is proportional to.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from anomaly.evaluation.metrics import N_THRESHOLDS, volume_under_surface
from anomaly.report.tables import aligned

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
import naive_metrics

N_EVENTS, EVENT_ROWS = 20, 100
LOOP_THRESHOLDS, LOOP_BUFFER = 10, 2


def make_input(n_rows, seed):
    """Return labels with events of 100 rows, evenly spread, and noisy scores that are higher there."""
    labels = np.zeros(n_rows, int)
    for start in np.linspace(0, n_rows - EVENT_ROWS, N_EVENTS).astype(int):
        labels[start : start + EVENT_ROWS] = 1
    return labels, np.random.default_rng(seed).normal(size=n_rows) + labels


def seconds(function, repeats):
    """Return the least time of some runs."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return min(times)


def loop_seconds(labels, score, buffer):
    """Return the time of the loop, scaled up from few thresholds and buffers."""
    arguments = labels.tolist(), score.tolist(), LOOP_BUFFER, LOOP_THRESHOLDS
    few = seconds(lambda: naive_metrics.volume_under_surface(*arguments), 1)
    return few * (N_THRESHOLDS / LOOP_THRESHOLDS) * (buffer + 1) / (LOOP_BUFFER + 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--buffer", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    table = [("rows", "buffer", "seconds", "loop, scaled", "ratio")]
    for n_rows, with_loop in ((10_000, True), (100_000, False)):
        labels, score = make_input(n_rows, arguments.seed)

        def run(labels=labels, score=score):
            volume_under_surface(labels, score, arguments.buffer)

        fast = seconds(run, arguments.repeats)
        slow = loop_seconds(labels, score, arguments.buffer) if with_loop else None
        cells = ("-", "-") if slow is None else (f"{slow:.0f}", f"{slow / fast:,.0f}")
        table.append((f"{n_rows:,}", str(arguments.buffer), f"{fast:.4f}", *cells))
    print(aligned(table, right=(0, 1, 2, 3, 4)), end="")


if __name__ == "__main__":
    main()
