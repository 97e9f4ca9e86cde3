#!/usr/bin/env python3
"""What is it worth to set aside what is unlike all the rest of a history? Anomalies in the training rows, with and without.

    scripts/benchmarks/unclean_history.py --data DIR [--only NAMES] [--shares 0,1,5] [--seed N] [--output CSV]

DIR holds manifest.csv and the series it names, each with a column `label`. Into the training prefix of a series pieces are put
that are shifted, noisy, flat or scaled (as in `penalty_default.py`), until they fill a share of it, per cent. One network is
trained on it with all defaults, and becomes two detectors: one sets aside what is odd (`set_aside` auto), the other nothing.
Both score the series as it was. `aside` are the rows that were set aside, `hit` how many of these hold or touch a piece that was
put in, or a labelled row. Measures are those of `quality.py`.
"""

import argparse
import csv
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from processor import described

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from penalty_default import chosen, with_anomalies
from quality import event_measures, filled, tsb_buffer

from anomaly import Detector, read_csv
from anomaly.bundle.bundle import library_versions
from anomaly.config import DetectorConfig
from anomaly.evaluation.metrics import volume_under_surface
from anomaly.fitting.measuring import measured
from anomaly.fitting.ready import Ready
from anomaly.fitting.trained import train_network
from anomaly.report.tables import aligned

CHOICES = ("none", "auto")
MEASURES = ("vus_pr", "test_vus_pr", "event_f1", "events", "events_hit", "false_alarms", "aside", "hit")
COLUMNS = ("series", "family", "share", "set_aside", *MEASURES)


def lines_of(entry, share, given):
    """Yield the line of each choice for one series and one share."""
    series = read_csv(given.data / entry["file"], label_column="label")
    prefix, labels = int(entry["train_end"]), series.labels == 1
    history = series[:prefix]
    if share:
        history = with_anomalies(history, share / 100, np.random.default_rng(given.seed))
    odd = (history.values != series.values[:prefix]).any(axis=1) & np.isfinite(history.values).any(axis=1) | labels[:prefix]
    ready = Ready.of(DetectorConfig.from_settings({"seed": given.seed}), history)
    trained = train_network(ready.config, ready.split, ready.scaled)
    buffer = tsb_buffer(series.values[np.isfinite(series.values[:, 0]), 0])
    for choice in CHOICES:
        config = DetectorConfig.from_settings({"seed": given.seed, "set_aside": choice})
        detector = Detector.of_bundle(*measured(replace(ready, config=config), trained))
        scores = detector.score(series)
        ranked = filled(scores.score, np.isfinite(scores.score))
        aside = rows_aside(detector, history)
        yield {
            "series": entry["name"], "family": entry["family"], "share": share, "set_aside": choice,
            "vus_pr": volume_under_surface(labels, ranked, buffer).pr,
            "test_vus_pr": volume_under_surface(labels[prefix:], ranked[prefix:], buffer).pr,
            "aside": int(aside.sum()), "hit": int((aside & odd).sum()),
            **{name: found for name, found in event_measures(detector, scores, labels, prefix).items() if name in MEASURES},
        }  # fmt: skip


def rows_aside(detector, history):
    """Return which rows of the history were set aside."""
    found = np.zeros(len(history), np.bool_)
    for first, last in detector.bundle_.training.get("set_aside", []):
        if history.time_column is None:
            found |= (history.times >= int(first)) & (history.times <= int(last))
        else:
            first, last = (np.datetime64(text.removesuffix("Z"), "us").astype(np.int64) for text in (first, last))
            found |= (history.times >= first) & (history.times <= last)
    return found


def summary(lines):
    """Return the means by share and choice, as a table."""
    table = [("share", "set_aside", "series", *MEASURES)]
    for share in dict.fromkeys(line["share"] for line in lines):
        for choice in CHOICES:
            own = [line for line in lines if (line["share"], line["set_aside"]) == (share, choice)]
            means = [f"{np.nanmean([line[name] for line in own]):.3f}" for name in MEASURES[:3]]
            totals = [str(sum(line[name] for line in own)) for name in MEASURES[3:]]
            table.append((f"{share:g} %", choice, str(len(own)), *means, *totals))
    return aligned(table, right=tuple(range(2, len(table[0]))))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", type=lambda text: set(text.split(",")), help="families or series, with commas between")
    parser.add_argument("--shares", type=lambda text: [float(part) for part in text.split(",")], default=[0.0, 1.0, 5.0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    lines = []
    for entry in chosen(given.data):
        if given.only and not {entry["name"], entry["family"]} & given.only:
            continue
        for share in given.shares:
            for line in lines_of(entry, share, given):
                lines.append(line)
                print(*(f"{line[name]:.4g}" if isinstance(line[name], float) else line[name] for name in COLUMNS), flush=True)
            if given.output:
                with open(given.output, "w", newline="") as handle:
                    handle.write(f"# {described()}; {library_versions()}\n# seed {given.seed}\n")
                    writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
                    writer.writeheader()
                    writer.writerows({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in line.items()} for line in lines)
    print("\n" + summary(lines), end="")


if __name__ == "__main__":
    main()
