#!/usr/bin/env python3
"""Which penalty costs nothing in the detector that is used, and where one pays.

    scripts/benchmarks/penalty_default.py --data DIR [--seeds N] [--only NAMES] [--conditions NAMES] [--jobs N] [--output CSV]
    scripts/benchmarks/penalty_default.py --output CSV --tables

DIR holds manifest.csv and the series it names, each with a column `label`. Each configuration of the penalty is trained with
all other settings as they are by default, on the training prefix of each series, under each condition:

    plain       nothing else
    units_16    16 units in each layer, and
    units_128   128: capacity
    dirty_1     1 % of the training rows hold anomalies: pieces of a quarter to a whole window, shifted, noisy, flat or
    dirty_5     5 %                                     scaled by 3 to 6 sigmas
    short       the last 500 rows of the prefix

Runs are compared in pairs with the one without a penalty of the same series, condition and seed: first weights, batches and
anomalies are the same. Of each family the first series in the manifest that are real, have an event after the prefix and vary
before it. What is measured, over all rows of the series as in quality.py:

    vus_pr      of the whole score          network     of the network's errors alone, without the other terms
    noisy_5     of the whole score with white noise of 5 % of a training sigma on the rows after the prefix; noisy_20: of 20 %
    network_20  of the network alone with 20 %
    event_f1, events_hit, false_alarms      at the stored threshold, after the prefix

`--tables` measures nothing: differences from no penalty by condition with their standard error over the series, and the
configuration that is chosen without each family, beside the one chosen with all: of those that were measured in every family the
heaviest that costs at most .005.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
from processor import described

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from quality import event_measures, filled, tsb_buffer

from anomaly import Detector, read_csv
from anomaly.bundle.bundle import library_versions
from anomaly.config import DetectorConfig
from anomaly.evaluation.metrics import volume_under_surface
from anomaly.fitting.measuring import measured
from anomaly.fitting.ready import Ready
from anomaly.fitting.trained import train_network
from anomaly.report.tables import aligned

FAMILIES = {"nab": 8, "ms_cloud": 5, "ucr": 6, "svdb": 2, "skab": 3, "asd": 1, "jumpstarter": 1, "daphnet": 1, "msl": 1}
# From light to heavy.
CONFIGURATIONS = {
    "none": {"penalty": "none"},
    "l2 0.01": {"penalty": "l2", "penalty_weight": 0.01},
    "directional 0.1": {"penalty": "directional", "penalty_weight": 0.1},
    "hinge 0.3": {"penalty": "hinge", "penalty_weight": 0.3},
    "l1 0.1": {"penalty": "l1", "penalty_weight": 0.1},
    "l2 0.1": {"penalty": "l2", "penalty_weight": 0.1},
    "l2 1": {"penalty": "l2", "penalty_weight": 1.0},
}
CONDITIONS = ("plain", "units_16", "units_128", "dirty_1", "dirty_5", "short")
SHORT_ROWS, NOISES, MOST_LOST = 500, (0.05, 0.2), 0.005
MEASURES = (
    *("vus_pr", "network", "noisy_5", "noisy_20", "network_20", "event_f1", "events_hit", "false_alarms"),
    *("held_out_loss", "train_seconds"),
)
COLUMNS = ("series", "family", "condition", "configuration", "seed", *MEASURES, "error")


def chosen(path):
    """Return the entries of the manifest that take part: the first few of each family."""
    with open(path / "manifest.csv", newline="") as handle:
        entries = [row for row in csv.DictReader(handle) if int(row["test_events"]) and "_art_" not in row["name"]]
    found = []
    for family, n in FAMILIES.items():
        found += islice((row for row in entries if row["family"] == family and varies(path, row)), n)
    return found


def varies(path, entry):
    """Tell whether there is anything to learn in the last rows of the prefix."""
    cut = int(entry["train_end"])
    values = read_csv(path / entry["file"], label_column="label").values[max(0, cut - SHORT_ROWS) : cut]
    return bool((np.nanmax(values, axis=0) > np.nanmin(values, axis=0)).any())


def with_anomalies(series, share, rng):
    """Return a series of which a share of the rows holds pieces that are shifted, noisy, flat or scaled."""
    values, sigma = series.values.copy(), np.maximum(np.nanstd(series.values, axis=0), 1e-9)
    left = share * len(series)
    while left > 0:
        n = min(int(rng.integers(32, 129)), len(series) // 4)
        start, feature = int(rng.integers(len(series) - n)), int(rng.integers(series.n_features))
        piece, size = values[start : start + n, feature], rng.uniform(3, 6) * rng.choice((-1, 1))
        kind = rng.integers(4)
        if kind == 0:
            piece += size * sigma[feature]
        elif kind == 1:
            piece += rng.normal(0, abs(size) * sigma[feature], n)
        elif kind == 2:
            piece[:] = piece[0]
        else:
            middle = np.nanmean(piece)
            piece[:] = middle + (piece - middle) * abs(size)
        left -= n
    return replace(series, values=values)


def prefix_of(series, condition, seed):
    """Return the rows to train on."""
    if condition == "short":
        return series[max(0, len(series) - SHORT_ROWS) :]
    if condition.startswith("dirty"):
        return with_anomalies(series, int(condition[6:]) / 100, np.random.default_rng(seed))
    return series


def settings_of(name, condition, n_features, seed):
    """Return the settings of a run."""
    settings = {"seed": seed} | CONFIGURATIONS[name]
    if name.startswith("directional"):
        settings["direction"] = (1.0,) * n_features
    if condition.startswith("units"):
        settings["units"] = int(condition[6:])
    return settings


def measure(entry, condition, name, seed, data):
    """Train and measure one configuration; return its line."""
    series = read_csv(data / entry["file"], label_column="label")
    prefix, labels = int(entry["train_end"]), series.labels == 1
    config = DetectorConfig.from_settings(settings_of(name, condition, series.n_features, seed))
    ready = Ready.of(config, prefix_of(series[:prefix], condition, seed))
    began = time.process_time()
    trained = train_network(ready.config, ready.split, ready.scaled)
    seconds = time.process_time() - began
    bundle, reconstruct = measured(ready, trained)
    whole, alone = (Detector.of_bundle(b, reconstruct) for b in (bundle, replace(bundle, recipe=None)))
    buffer = tsb_buffer(series.values[np.isfinite(series.values[:, 0]), 0])

    def ranked(detector, rows):
        scores = detector.score(rows)
        return scores, volume_under_surface(labels, filled(scores.score, np.isfinite(scores.score)), buffer).pr

    scores, vus_pr = ranked(whole, series)
    line = {"vus_pr": vus_pr, "network": ranked(alone, series)[1], "train_seconds": seconds}
    rng = np.random.default_rng(seed)
    for noise in NOISES:
        values = series.values.copy()
        values[prefix:] += noise * bundle.scaler.scale * rng.normal(size=values[prefix:].shape)
        noisy = replace(series, values=values)
        line[f"noisy_{100 * noise:.0f}"] = ranked(whole, noisy)[1]
    line["network_20"] = ranked(alone, noisy)[1]
    found = event_measures(whole, scores, labels, prefix)
    line |= {key: found[key] for key in ("event_f1", "events_hit", "false_alarms")}
    return line | {"held_out_loss": float(np.min(trained.history.validation_loss))}


def lines_of(entry, given, done):
    """Yield the lines of the runs of one series that are not done; each condition has a process of its own."""
    for condition in given.conditions:
        runs = [(name, seed) for seed in range(given.seeds) for name in given.configurations]
        runs = [run for run in runs if (entry["name"], condition, run[0], str(run[1])) not in done]
        if not runs:
            continue
        command = [sys.executable, __file__, "--data", given.data, "--one", json.dumps([entry["name"], condition, runs])]
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for name, seed in runs:
            text = process.stdout.readline()
            line = json.loads(text) if text else {"error": "the process ended"}
            about = {"series": entry["name"], "family": entry["family"], "condition": condition}
            yield about | {"configuration": name, "seed": seed} | line
        process.wait()


def answer(text, data):
    """Be the process of one series under one condition: write its lines as JSON."""
    wanted, condition, runs = json.loads(text)
    entry = next(entry for entry in chosen(data) if entry["name"] == wanted)
    for name, seed in runs:
        try:
            line = measure(entry, condition, name, seed, data)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs in the line
            line = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(line), flush=True)


def read_lines(path):
    """Return the lines of earlier runs that did not fail."""
    if not path or not path.exists():
        return []
    with open(path, newline="") as handle:
        return [row for row in csv.DictReader(line for line in handle if not line.startswith("#")) if not row["error"]]


def write_lines(path, lines):
    """Write all lines anew, completely or not at all."""
    new = path.with_suffix(".new")
    with open(new, "w", newline="") as handle:
        handle.write(f"# {described()}; {library_versions()}\n")
        writer = csv.DictWriter(handle, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: f"{v:.5g}" if isinstance(v, float) else v for key, v in line.items()} for line in lines)
    new.replace(path)


def differences(lines, condition, measure, name):
    """Return by family and series the mean over the seeds of what a configuration has more than none."""
    own = [line for line in lines if line["condition"] == condition and line[measure] not in ("", None)]
    none = {(x["series"], str(x["seed"])): float(x[measure]) for x in own if x["configuration"] == "none"}
    found = {}
    for line in own:
        key = line["series"], str(line["seed"])
        if line["configuration"] == name and key in none:
            found.setdefault(line["family"], {}).setdefault(line["series"], []).append(float(line[measure]) - none[key])
    return {family: {series: float(np.mean(v)) for series, v in own.items()} for family, own in found.items()}


def tables(lines):
    """Return the differences by condition, and the choice without each family, as text."""
    text = ""
    for condition in dict.fromkeys(line["condition"] for line in lines):
        shown = ("vus_pr", "network", "noisy_5", "noisy_20", "network_20", "event_f1", "false_alarms")
        table = [(condition, "series", *shown)]
        for name in CONFIGURATIONS:
            by = {m: [v for own in differences(lines, condition, m, name).values() for v in own.values()] for m in shown}
            if by["vus_pr"]:
                cells = [f"{np.mean(v):+.3f} ({np.std(v) / max(len(v) - 1, 1) ** 0.5:.3f})" for v in by.values()]
                table.append((name, str(len(by["vus_pr"])), *cells))
        text += aligned(table, right=tuple(range(1, len(shown) + 2))) + "\n"
    return text + left_out(lines)


def heaviest(means, families):
    """Return the heaviest configuration whose mean over some families is at most `MOST_LOST` below none."""
    within = [name for name, own in means.items() if np.mean([own[family] for family in families]) >= -MOST_LOST]
    return within[-1] if within else "none"


def left_out(lines):
    """Return what is chosen without each family, and what it then costs there."""
    names = [name for name in CONFIGURATIONS if name != "none"]
    means = {name: {f: np.mean(list(v.values())) for f, v in differences(lines, "plain", "vus_pr", name).items()} for name in names}
    families = list(dict.fromkeys(family for own in means.values() for family in own))
    means = {name: own for name, own in means.items() if own and set(own) == set(families)}  # measured everywhere
    table = [("family", "chosen without it", "difference here")]
    for family in families:
        name = heaviest(means, [other for other in families if other != family])
        table.append((family, name, f"{means[name][family]:+.3f}" if name != "none" else "0"))
    name = heaviest(means, families) if families else "none"
    table.append(("with all", name, f"{np.mean(list(means[name].values())):+.3f}" if name != "none" else "0"))
    return aligned(table, right=(2,))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, from 0")
    parser.add_argument("--only", type=lambda text: set(text.split(",")), help="families or series, with commas between")
    parser.add_argument("--conditions", type=lambda text: text.split(","), default=["plain"])
    parser.add_argument("--configurations", type=lambda text: text.split(","), default=list(CONFIGURATIONS))
    parser.add_argument("--jobs", type=int, default=1, help="series at a time")
    parser.add_argument("--output", type=Path, help="CSV to write, and to go on with")
    parser.add_argument("--tables", action="store_true", help="only show what is in --output")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # the process of one series under one condition
    given = parser.parse_args()
    if given.one:
        answer(given.one, given.data)
        return
    lines = read_lines(given.output)
    if not given.tables:
        done = {(line["series"], line["condition"], line["configuration"], line["seed"]) for line in lines}
        wanted = [e for e in chosen(given.data) if not given.only or {e["name"], e["family"]} & given.only]

        def run(entry):
            for line in lines_of(entry, given, done):
                lines.append(line)
                if given.output:
                    write_lines(given.output, lines)
                print(*(line[key] for key in COLUMNS[:1] + COLUMNS[2:5]), line.get("error") or f"{line['vus_pr']:.3f}", flush=True)

        with ThreadPoolExecutor(given.jobs) as pool:
            list(pool.map(run, wanted))
    print("\n" + tables([line for line in lines if not line.get("error")]), end="")


if __name__ == "__main__":
    main()
