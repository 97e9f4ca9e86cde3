#!/usr/bin/env python3
"""How many small series are scored in a minute, by this process, by a pool of processes and by Ray?

    scripts/benchmarks/cluster.py [--series 1000] [--rows 500] [--jobs 2] [--model FILE] [--output CSV]

Each series is a CSV file of its own and becomes a file of scored rows. Times are whole runs: the start of the processes and of
Ray, reading, scoring, writing and the manifest. Needs the extra `cluster`.
"""

import argparse
import contextlib
import csv
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from anomaly import Detector
from anomaly.cluster import connected
from anomaly.executors import here, run
from anomaly.fleet_scoring import Model, Options, score_many
from anomaly.inputs import find_inputs

COLUMNS = ("engine", "series", "rows", "seconds", "start_seconds", "series_per_minute")


def write_series(folder, n_series, detector, n_rows):
    """Write files with the columns of a detector."""
    step = pd.Timedelta(detector.bundle_.step, unit="us")
    times = pd.date_range("2026-01-01", periods=n_rows, freq=step).strftime("%Y-%m-%dT%H:%M:%SZ")
    waves = np.sin(np.arange(n_rows) / 7)[:, None] * np.ones(len(detector.columns_))
    for number in range(n_series):
        values = waves + np.random.default_rng(number).normal(scale=0.1, size=waves.shape)
        frame = pd.DataFrame(values, columns=list(detector.columns_), index=pd.Index(times, name=detector.bundle_.time_column))
        frame.to_csv(folder / f"series{number:05d}.csv")


@contextlib.contextmanager
def ready(executor):
    """Yield an executor that needs no start."""
    yield executor


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--model", default="models/demo/water_flow.anomaly")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    model, results = Model.of(given.model, None), []
    engines = {
        "this process": lambda: ready(here),
        f"pool of {given.jobs}": lambda: ready(partial(run, jobs=given.jobs)),
        f"Ray, {given.jobs} CPUs": lambda: connected(None, given.jobs),
    }
    with tempfile.TemporaryDirectory() as folder:
        sources = Path(folder) / "series"
        sources.mkdir()
        write_series(sources, given.series, Detector.load(given.model), given.rows)
        inputs = find_inputs([str(sources)])
        for number, (name, engine) in enumerate(engines.items()):
            began = time.perf_counter()
            with engine() as executor:
                started = time.perf_counter() - began
                found = score_many(inputs, model, Path(folder) / f"scored{number}", Options(), executor=executor)
                seconds = time.perf_counter() - began
            if found.failed:
                raise SystemExit(str(next(iter(found.failed.values()))))
            results.append((name, given.series, given.rows, f"{seconds:.1f}", f"{started:.1f}", f"{given.series / seconds * 60:.0f}"))
            print(*results[-1], sep=", ", flush=True)
    if given.output:
        with open(given.output, "w", newline="") as handle:
            csv.writer(handle).writerows([COLUMNS, *results])


if __name__ == "__main__":
    main()
