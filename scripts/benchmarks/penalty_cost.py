#!/usr/bin/env python3
"""Train every penalty by both methods on one series; print and write what each cost and did.

    python scripts/benchmarks/penalty_cost.py DATA.csv --train-end 5160 --label-column label --output penalty_cost.csv

A line a penalty and method: the loss and its parts in the last epoch, the held-out reconstruction loss, the held-out
mean of g^2 (the same yardstick for all forms: the normalised input gradient of `anomaly.training.penalty`), the median time of a
step, and its ratio to a step without penalty in the same run.
"""

import argparse
import csv
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from processor import described

from anomaly import Detector, read_csv
from anomaly.bundle.bundle import library_versions
from anomaly.config import PENALTIES, PENALTY_METHODS
from anomaly.network.model import build_autoencoder, set_weights
from anomaly.report.tables import aligned
from anomaly.training.penalty import input_gradient
from anomaly.windowing.windows import make_windows

COLUMNS = (
    "penalty", "method", "loss", "reconstruction_loss", "gradient_penalty", "held_out_loss", "held_out_gradient",
    "ms_per_step", "times_plain", "seconds",
)  # fmt: skip


def measure(series, penalty, method, arguments):
    """Train once; return the figures of one line."""
    stamps = []
    began = time.perf_counter()
    detector = Detector(
        penalty=penalty,
        penalty_method=method,
        penalty_every=1,
        penalty_weight=arguments.weight,
        direction=(1.0,) * series.n_features if penalty == "directional" else None,
        epochs=arguments.epochs,
        seed=arguments.seed,
    ).fit(series, on_step=lambda progress: stamps.append(time.perf_counter()))
    history = detector.history_
    return {
        "penalty": penalty,
        "method": method if penalty != "none" else "-",
        "loss": history["loss"][-1],
        "reconstruction_loss": history["reconstruction_loss"][-1],
        "gradient_penalty": history["gradient_penalty"][-1],
        "held_out_loss": history["validation_loss"].min(),
        "held_out_gradient": held_out_gradient(detector, series),
        "ms_per_step": 1e3 * float(np.median(np.diff(stamps))),
        "seconds": time.perf_counter() - began,
    }


def held_out_gradient(detector, series):
    """Return the mean square of the normalised input gradient over up to 256 held-out windows."""
    bundle = detector.bundle_
    network = build_autoencoder(bundle.config.network, bundle.window_size, series.n_features)
    set_weights(network, bundle.weights)
    held_out = series[len(series) - len(bundle.calibration_times) :]
    scaled, _ = bundle.scaler.transform(held_out.values)
    starts = np.linspace(0, len(scaled) - bundle.window_size, 256).astype(int)
    gradient = input_gradient(network, tf.constant(make_windows(scaled, starts, bundle.window_size)))
    return float(tf.reduce_mean(tf.square(gradient)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--train-end", default=None)
    parser.add_argument("--label-column", default=None)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--weight", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default=None)
    arguments = parser.parse_args()
    series = read_csv(arguments.data, label_column=arguments.label_column)
    series = series if arguments.train_end is None else series[: series.cut_row(arguments.train_end)]
    rows = [measure(series, "none", "exact", arguments)]
    for penalty in PENALTIES[1:]:
        rows += [measure(series, penalty, method, arguments) for method in PENALTY_METHODS]
    for row in rows:
        row["times_plain"] = row["ms_per_step"] / rows[0]["ms_per_step"]
    text = [tuple(f"{row[c]:.4g}" if isinstance(row[c], float) else str(row[c]) for c in COLUMNS) for row in rows]
    sys.stdout.write(aligned([COLUMNS, *text], right=tuple(range(2, len(COLUMNS)))))
    if arguments.output:
        with open(arguments.output, "w", newline="") as handle:
            handle.write(f"# {described()}; {library_versions()}\n")
            handle.write(f"# {series.name}, {len(series)} rows, weight {arguments.weight}, seed {arguments.seed}\n")
            writer = csv.DictWriter(handle, COLUMNS)
            writer.writeheader()
            writer.writerows({name: f"{v:.6g}" if isinstance(v, float) else v for name, v in row.items()} for row in rows)


if __name__ == "__main__":
    main()
