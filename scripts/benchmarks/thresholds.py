#!/usr/bin/env python3
"""Alarms that a threshold promises against alarms that come, on rows without a labelled event.

    scripts/benchmarks/thresholds.py --data DIR [--only NAME,NAME] [--detectors DIR] [--output CSV]

DIR holds manifest.csv (name, file, train_end) and the series it names, each with a column `label`. A detector is trained
with all defaults on the rows before train_end, or taken from --detectors if it was before. Rows less than a window
from a labelled one are left out of the count of false alarms; hits are labelled events after train_end with a flag.
"""

import argparse
import csv
import os
from pathlib import Path

import numpy as np
from processor import described

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from anomaly import Detector, read_csv
from anomaly.bundle.bundle import library_versions
from anomaly.events.alarms import AlarmCurve
from anomaly.series import labelled_ranges

WAYS = {
    "budget, default": {},
    "budget, 5 in 1,000 rows": {"alarms_per_1000_rows": 5},
    "budget, 1 in 5,000 rows": {"alarms_per_1000_rows": 0.2},
    "quantile .005": {"threshold_method": "quantile"},
    "conformal .005": {"threshold_method": "conformal"},
    "k_sigma 4": {"threshold_method": "k_sigma"},
    "mad 4": {"threshold_method": "mad"},
    "pot .0001": {"threshold_method": "pot", "alarm_rate": 1e-4},
}
COLUMNS = ("series", "way", "threshold", "rows", "expected", "seen", "hits", "events")


def trained(name, series, folder):
    """Return the detector of a series, trained now or before."""
    path = folder / f"{name}.anomaly" if folder else None
    if path and path.exists():
        return Detector.load(path)
    detector = Detector(seed=0).fit(series)
    if path:
        folder.mkdir(parents=True, exist_ok=True)
        detector.save(path)
    return detector


def without_events(score, labels, margin):
    """Return the scores of rows at least `margin` from a labelled one; the others are missing."""
    near = np.convolve(labels, np.ones(2 * margin + 1), "same") > 0
    return np.where(near, np.nan, score)


def lines_for(name, path, train_end, folder):
    """Yield one line for each way of setting the threshold."""
    series = read_csv(path, label_column="label")
    detector = trained(name, series[:train_end], folder)
    scores = detector.score(series)
    later = series[train_end:]
    clean = without_events(scores.score, series.labels, detector.window_size_)[train_end:]
    events = labelled_ranges(later)
    for way, settings in WAYS.items():
        threshold = detector.calibrate(**{"threshold_method": "alarm_budget", "alarms_per_1000_rows": None} | settings).thresholds_[
            "combined"
        ]
        curve = AlarmCurve(clean, later.times, detector.bundle_.rules)
        hits = sum(bool((scores.score[train_end:][a:b] > threshold.value).any()) for a, b in events)
        expected = threshold.expected * curve.n_scored / 1000
        yield (
            name,
            way,
            f"{threshold.value:.4g}",
            curve.n_scored,
            f"{expected:.2f}",
            curve.raised(threshold.value),
            hits,
            len(events),
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", type=lambda text: text.split(","))
    parser.add_argument("--detectors", type=Path)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    with open(given.data / "manifest.csv", newline="") as handle:
        entries = [row for row in csv.DictReader(handle) if not given.only or row["name"] in given.only]
    lines = []
    for entry in entries:
        found = list(lines_for(entry["name"], given.data / entry["file"], int(entry["train_end"]), given.detectors))
        print(*found[0], sep="  ", flush=True)
        lines += found
    print(f"\n{'way':26}{'expected':>10}{'seen':>6}{'hits':>6} of {sum(line[7] for line in lines) // len(WAYS)}")
    for way in WAYS:
        own = [line for line in lines if line[1] == way]
        print(
            f"{way:26}{sum(float(line[4]) for line in own):10.1f}{sum(line[5] for line in own):6}{sum(line[6] for line in own):6}"
        )
    if given.output:
        with open(given.output, "w", newline="") as handle:
            handle.write(f"# {described()}; {library_versions()}\n")
            csv.writer(handle, lineterminator="\n").writerows([COLUMNS, *lines])


if __name__ == "__main__":
    main()
