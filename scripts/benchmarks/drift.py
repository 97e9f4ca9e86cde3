#!/usr/bin/env python3
"""What the drift report says of rows after training, as they are and changed: does it warn seldom, and then when it should?

    scripts/benchmarks/drift.py --data DIR [--only NAME,NAME] [--detectors DIR] [--minutes M] [--output CSV]

DIR holds manifest.csv (name, file, train_end) and the series it names, each with a column `label`. A detector is trained with
all defaults, for M minutes at most, on the rows before train_end, or taken from --detectors if it was before. It scores
up to 4,000 rows after train_end; scores less than a window from a labelled row are left out. All features are changed alike,
in training sigmas: shifted by one, spread to twice the variance, given noise of half a sigma, frozen at their first value.

The limits of `anomaly.scoring.drift` come from here.
"""

import argparse
import csv
import os
from pathlib import Path

import numpy as np
from processor import described

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from thresholds import without_events

from anomaly import Detector, read_csv
from anomaly.bundle.bundle import library_versions
from anomaly.report.tables import aligned
from anomaly.scoring.drift import Drift, ValueRange
from anomaly.scoring.scorer import score_series

AGGREGATIONS = ("combined", "trailing")
MOST_ROWS = 4_000
COLUMNS = ("series", "change", "aggregation", "rows", "windows", "distance", "median_ratio", "outside", "shifted", "warned")


def changed(values, trained):
    """Yield the name of each change and the changed values.

    Args:
        values: `(n, n_features)`, the rows after training.
        trained: the training rows.
    """
    center, sigma = np.nanmean(trained, axis=0), np.nanstd(trained, axis=0)
    noise = np.random.default_rng(0).normal(size=values.shape)
    yield "none", values
    yield "shift", values + sigma
    yield "variance", center + (values - center) * np.sqrt(2)
    yield "noise", values + 0.5 * sigma * noise
    yield "frozen", np.broadcast_to(np.nan_to_num(values[0], nan=0.0), values.shape).copy()


def trained_on(name, series, folder, minutes):
    """Return the detector of a series, trained now or before."""
    path = folder / f"{name}.anomaly" if folder else None
    if path and path.exists():
        return Detector.load(path)
    detector = Detector(seed=0, max_minutes=minutes).fit(series)
    if path:
        folder.mkdir(parents=True, exist_ok=True)
        detector.save(path)
    return detector


def lines_for(name, path, train_end, folder, minutes):
    """Yield one line for each change and aggregation."""
    series = read_csv(path, label_column="label")
    detector = trained_on(name, series[:train_end], folder, minutes)
    bundle, later = detector.bundle_, series[train_end : train_end + MOST_ROWS]
    extent = ValueRange.of(series[:train_end].values)
    for change, values in changed(later.values, series[:train_end].values):
        scores = score_series(detector.row_scorer(*AGGREGATIONS), later.times, values)
        for aggregation, score in zip(AGGREGATIONS, scores, strict=True):
            drift = Drift(bundle.columns, extent, bundle.calibration_scores[aggregation], bundle.window_size)
            drift.push(values, without_events(score, later.labels, bundle.window_size))
            found = drift.result()
            outside = max(column.outside for column in found.columns.values())
            numbers = (f"{found.distance:.3f}", f"{found.median_ratio:.4g}") if found.scores else ("", "")
            shares = (f"{outside:.3f}", int(found.shifted), int(found.warning is not None))
            yield (name, change, aggregation, found.scores, f"{found.scores / bundle.window_size:.1f}", *numbers, *shares)


def main():
    """Write a line for each series, change and aggregation; print how many of them warned."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--detectors", type=Path)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    with open(args.data / "manifest.csv", encoding="utf-8") as handle:
        entries = [entry for entry in csv.DictReader(handle) if not args.only or entry["name"] in args.only.split(",")]
    lines = []
    for entry in entries:
        lines += lines_for(entry["name"], args.data / entry["file"], int(entry["train_end"]), args.detectors, args.minutes)
        print(entry["name"], flush=True)
    if args.output:
        with open(args.output, "w", encoding="utf-8", newline="") as handle:
            minutes = "" if args.minutes is None else f" but for {args.minutes:g} minutes of training"
            handle.write(f"# {described()}; {library_versions()}\n# seed 0, settings default{minutes}\n")
            csv.writer(handle, lineterminator="\n").writerows([COLUMNS, *lines])
    table = [("change", *AGGREGATIONS)]
    for change in dict.fromkeys(line[1] for line in lines):
        told = [[line[-1] for line in lines if line[1:3] == (change, name) and float(line[4]) >= 4] for name in AGGREGATIONS]
        table.append((change, *(f"{sum(warned)} of {len(warned)}" for warned in told)))
    print(aligned(table))


if __name__ == "__main__":
    main()
