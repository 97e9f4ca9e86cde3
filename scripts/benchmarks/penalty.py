#!/usr/bin/env python3
"""What the penalty buys, form by form and weight by weight, beside cheaper ways to the same end.

    scripts/benchmarks/penalty.py --data DIR [--seeds N] [--only NAMES] [--jobs N] [--output CSV] [--figure PNG]

DIR holds manifest.csv and the series it names, each with a column `label`. Every configuration below is trained on an excerpt of
each series with each seed: same first weights, same batches, same noise, so that runs are compared in pairs with the run without
a penalty. Settings are the product's defaults, but for what a configuration names, the number of steps, batches of 64 windows, the
penalty at every step, and the aggregation.

Which excerpts: of each family in the manifest the first so many real series that have an event after `train_end`; at most
`TRAIN_ROWS` rows before `train_end` to train on, and `SCORED_ROWS` rows from up to `LEAD_ROWS` before the first event there. A
series whose training excerpt is constant is passed over.

What is measured, on the rows after the training:

    vus_pr         VUS-PR, buffer as in quality.py
    held_out_loss  reconstruction loss of the held-out end of the training rows, no noise
    passed         |J^T e|^2 / |e|^2 over held-out windows, J the derivative of the reconstruction by the input: the share of the
                   error that the network passes back to its input. It is what `l2` penalises, over the loss
    flips_p        share of rows whose flag changes under white noise of p % of a training sigma; own_p: the same if the
                   network took no notice of it (`anomaly.notebook.stability`): what is left between the two is the network's doing
    hiding         the smallest change found, in training sigmas, after which no row of a true event is flagged
                   (`anomaly.explaining.attribution`): root of its sum of squares over the number of values in the labelled
                   event; 0 for an event that is not detected. At most `EVENTS` events, the first, and of a long one the rows about
                   its peak.
    hiding_linear  the same to first order, for the peak of the event alone
    through        |d score| / |d score with the reconstruction held| at the peak of these events: above 1, an attacker
                   gains that much from what the network does with a change

The CSV is written line by line: a run that was stopped goes on where it ended, and a run that failed has a line with its error, is
left out of the table and is tried again. A series has a process of its own, so that its networks are compiled once.
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
from threading import Lock

import numpy as np
from processor import described

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from penalty_effects import draw, summary
from quality import filled, tsb_buffer

from anomaly import Detector, read_csv
from anomaly.bundle.bundle import library_versions
from anomaly.config import read_toml
from anomaly.evaluation.metrics import event_ranges, volume_under_surface
from anomaly.explaining.attribution import MARGIN, _smallest_change
from anomaly.explaining.score_slope import Stretch, reach_of
from anomaly.notebook.stability import measure_stability
from anomaly.training.step import _programs
from anomaly.windowing.missing import fill_missing
from anomaly.windowing.windows import make_windows

FAMILIES = {"nab": 6, "ms_cloud": 3, "asd": 1, "daphnet": 1, "svdb": 1}
TRAIN_ROWS, SCORED_ROWS, LEAD_ROWS = 3_000, 1_500, 500
EVENTS, MOST_EVENT_ROWS, SEARCH_STEPS = 2, 300, 8
NOISES = (0.02, 0.05, 0.1)
HELD_OUT_WINDOWS = 64
# Not a setting of the product: `weight_decay`, in units of the learning rate (Loshchilov and Hutter 2019).
CONFIGURATIONS = {
    "none": {"penalty": "none"},
    **{f"l2 {w:g}": {"penalty": "l2", "penalty_weight": w} for w in (0.01, 0.03, 0.1, 1.0)},
    **{f"l1 {w:g}": {"penalty": "l1", "penalty_weight": w} for w in (0.03, 0.1)},
    **{f"hinge {w:g}": {"penalty": "hinge", "penalty_weight": w} for w in (0.03, 0.3)},
    "directional 0.1": {"penalty": "directional", "penalty_weight": 0.1, "direction": "ones"},
    **{f"noise {s:g}": {"penalty": "none", "input_noise": s} for s in (0.1, 0.3)},
    "noise 0.1 + l2 0.1": {"penalty": "l2", "penalty_weight": 0.1, "input_noise": 0.1},
    "dropout 0.2": {"penalty": "none", "dropout": 0.2},
    "decay 0.1": {"penalty": "none", "weight_decay": 0.1},
}
PERCENTS = tuple(f"{100 * noise:.0f}" for noise in NOISES)
MEASURES = (
    *("vus_pr", "held_out_loss", "passed", *(f"flips_{p}" for p in PERCENTS), *(f"own_{p}" for p in PERCENTS)),
    *(
        "change_10",
        "own_change_10",
        "hiding",
        "hiding_linear",
        "through",
        "severity",
        "flagged",
        "false_alarms",
        "window_size",
        "ms_per_step",
        "seconds",
    ),
)
COLUMNS = ("series", "family", "configuration", "seed", *MEASURES, "error")


def excerpts(path):
    """Return the entries of the manifest that take part: the first few of each family, by its order alone."""
    with open(path / "manifest.csv", newline="") as handle:
        entries = [row for row in csv.DictReader(handle) if int(row["test_events"]) and "_art_" not in row["name"]]
    found = []
    for family, n in FAMILIES.items():
        found += list(islice((row for row in entries if row["family"] == family and varies(path, row)), n))
    return found


def varies(path, entry):
    """Tell whether there is anything to learn: a training excerpt that is constant is reconstructed without error."""
    values = read_csv(path / entry["file"], label_column="label").values[rows_of(entry)[0]]
    return bool((np.nanmax(values, axis=0) > np.nanmin(values, axis=0)).any())


def rows_of(entry):
    """Return the rows to train on and the rows to score, as slices."""
    cut = int(entry["train_end"])
    first = max(cut, int(entry["first_test_anomaly"]) - LEAD_ROWS)
    return slice(max(0, cut - TRAIN_ROWS), cut), slice(first, first + SCORED_ROWS)


def trained(series, name, seed, given):
    """Train one configuration; return the detector and the median milliseconds of a step."""
    settings = {"seed": seed, "aggregation": "window_mean", "steps_per_epoch": given.steps // given.epochs, "epochs": given.epochs}
    settings |= {"penalty_every": 1, "batch_size": 64}  # those of the trainings on record
    settings |= given.settings | CONFIGURATIONS[name]
    if settings.get("direction") == "ones":
        settings["direction"] = (1.0,) * series.n_features
    decay, stamps = settings.pop("weight_decay", 0.0), []
    with decaying(decay):
        detector = Detector(**settings).fit(series, on_step=lambda progress: stamps.append(time.perf_counter()))
    return detector, 1e3 * float(np.median(np.diff(stamps)))


class decaying:  # noqa: N801 - a context manager
    """Let the optimizer of the trainings inside decay the weights; the product has no such setting."""

    def __init__(self, decay):
        self._decay = decay

    def __enter__(self):
        import keras

        self._adam = keras.optimizers.Adam
        if self._decay:
            keras.optimizers.Adam = lambda rate, **options: keras.optimizers.AdamW(rate, weight_decay=self._decay, **options)

    def __exit__(self, *error):
        import keras

        keras.optimizers.Adam = self._adam


def bare(bundle):
    """Return the detector without the dropout and noise of its training: the programs of all configurations are then the same."""
    network = replace(bundle.config.network, dropout=0.0, input_noise=0.0)
    return replace(bundle, config=replace(bundle.config, network=network))


def passed(bundle, series):
    """Return the mean of |J^T e|^2 over that of |e|^2, over a batch of windows of the held-out rows."""
    import tensorflow as tf

    held_out = series[len(series) - bundle.training["n_held_out_rows"] :]
    rows = bundle.scaler.transform(held_out.values)[0]
    starts = np.linspace(0, len(rows) - bundle.window_size, HELD_OUT_WINDOWS).astype(int)
    windows = tf.constant(fill_missing(make_windows(rows, starts, bundle.window_size)))
    weights = {name: tf.constant(array) for name, array in bundle.weights.items()}
    run, _ = _programs(bundle.config.network, True)  # the one that trained it, if nothing is dropped
    found = run(weights, windows, windows, tf.zeros(2, tf.int32))
    gradient = found.by_input.numpy() * windows.shape[1] * windows.shape[2] / 2
    return float(np.square(gradient).mean() / found.losses.numpy().mean())


class Held(Stretch):
    """Scores as a function of what is compared alone: the network goes on reading the values as they were."""

    def _to_source(self, by_read):
        return np.zeros_like(by_read)


def hiding(bundle, series, scores, event):
    """Return what hides an event, found by search and to first order, root of the sum of squares, and the slope's share.

    Only the rows that the event's scores depend on may change, and only its own rows must not be flagged any more: the
    product's `explain` asks for more, that no row nearby is flagged instead, and may find nothing beside another event.
    """
    start, stop = max(event.start, event.peak - MOST_EVENT_ROWS // 2), min(event.stop, event.peak + MOST_EVENT_ROWS // 2)
    behind, ahead = reach_of(scores.aggregation, bundle.window_size)
    first, last = max(0, start - behind), min(len(series), stop + ahead)
    stretches = [kind(bundle, series, scores.aggregation, first, last) for kind in (Stretch, Held)]
    slopes = [np.linalg.norm(stretch.gradient_of(event.peak - first)[1]) for stretch in stretches]
    rows = np.arange(first, last)
    own = (rows >= start) & (rows < stop) & np.isfinite(scores.score[first:last])
    found = _smallest_change(stretches[0], stretches[0].known, own, scores.threshold * (1 - MARGIN), SEARCH_STEPS)
    linear = 2 * (event.peak_score - np.sqrt(event.peak_score * scores.threshold)) / slopes[0]
    return (np.nan if found is None else np.linalg.norm(found)), linear, slopes[0] / slopes[1]


def events_of(detector, series, scores):
    """Return, for the first labelled events, what hides them, by search and to first order, and the slopes and severities."""
    bundle, found, through, severity = bare(detector.bundle_), detector.detect(scores), [], []
    hidden, linear = {}, {}
    for start, stop in event_ranges(series.labels == 1)[:EVENTS]:
        own = [event for event in found if event.start < stop and event.stop > start]
        if not own:
            hidden[start] = linear[start] = 0.0
            continue
        event = max(own, key=lambda event: event.severity)
        sizes = np.array(hiding(bundle, series, scores, event))
        root = np.sqrt(np.isfinite(series.values[start:stop]).sum())
        hidden[start], linear[start] = (sizes[:2] / root).tolist()
        through.append(float(sizes[2]))
        severity.append(float(event.severity))
    return hidden, linear, through, severity


def measured(entry, name, seed, given):
    """Train and measure one configuration on one excerpt; return its line."""
    began = time.perf_counter()
    series = read_csv(given.data / entry["file"], label_column="label")
    before, after = (series[rows] for rows in rows_of(entry))
    detector, ms = trained(before, name, seed, given)
    scores = detector.score(after)
    usable, labels = np.isfinite(scores.score), after.labels == 1
    channel = series.values[np.isfinite(series.values[:, 0]), 0]
    hidden, linear, through, severity = events_of(detector, after, scores)
    false = [event for event in detector.detect(scores) if not labels[event.start : event.stop].any()]
    line = {
        "vus_pr": volume_under_surface(labels, filled(scores.score, usable), tsb_buffer(channel)).pr,
        "held_out_loss": float(detector.history_["validation_loss"].min()),
        "passed": passed(bare(detector.bundle_), before),
        "hiding": ";".join(f"{start}:{size:.5g}" for start, size in hidden.items()),
        "hiding_linear": ";".join(f"{start}:{size:.5g}" for start, size in linear.items()),
        "through": float(np.median(through)) if through else "",
        "severity": float(np.median(severity)) if severity else "",
        "flagged": float(scores.flags[usable].mean()),
        "false_alarms": len(false),
        "window_size": detector.window_size_,
        "ms_per_step": ms,
    }
    for noise, percent in zip(NOISES, PERCENTS, strict=True):
        found = measure_stability(detector, after, noise, repeats=1, seed=seed)
        line |= {f"flips_{percent}": found.flip_rate, f"own_{percent}": found.unavoidable_flips}
        line |= {"change_10": found.score_change, "own_change_10": found.unavoidable} if percent == "10" else {}
    return line | {"seconds": time.perf_counter() - began}


def run_series(entry, given, done, keep):
    """Run what is not yet done of one series in a process of its own; hand each line to `keep` as it comes."""
    todo = [
        (name, seed) for seed in range(given.seeds) for name in given.configurations if (entry["name"], name, str(seed)) not in done
    ]
    if not todo:
        return
    options = ["--data", given.data, "--steps", given.steps, "--one", entry["name"]]
    options += ["--settings", given.settings_file] if given.settings_file else []
    command = [sys.executable, __file__, *(str(option) for option in options)]
    run = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    about = {"series": entry["name"], "family": entry["family"]}
    for name, seed in todo:
        try:
            run.stdin.write(json.dumps([name, seed]) + "\n")
            run.stdin.flush()
            line = json.loads(run.stdout.readline())
        except (OSError, ValueError):  # the process is gone
            line = {"error": f"the process ended with {run.wait()}"}
        keep(about | {"configuration": name, "seed": seed} | line)
    run.stdin.close()
    run.wait()


def answer(given):
    """Be the process of one series: read runs as JSON from stdin, write their lines as JSON to stdout."""
    entry = next(entry for entry in excerpts(given.data) if entry["name"] == given.one)
    for text in sys.stdin:
        name, seed = json.loads(text)
        try:
            line = measured(entry, name, seed, given)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs in the line
            line = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(line), flush=True)


class Lines:
    """The lines of this and of earlier runs, and their file."""

    def __init__(self, given):
        self._path, self._said, self._lock = (
            given.output,
            f"# steps {given.steps}, settings {given.settings or 'default'}\n",
            Lock(),
        )
        self.lines = []
        if self._path and self._path.exists():
            text = self._path.read_text().splitlines(keepends=True)
            if self._said not in text:
                sys.exit(f"{self._path} holds lines of other steps or settings. Name another --output.")
            self.lines = [row for row in csv.DictReader(line for line in text if not line.startswith("#")) if not row["error"]]

    def add(self, line):
        """Take a line, write all anew, completely or not at all, and show it."""
        with self._lock:
            self.lines.append({name: f"{v:.5g}" if isinstance(v, float) else str(v) for name, v in line.items()})
            if self._path:
                new = self._path.with_suffix(".new")
                with open(new, "w", newline="") as handle:
                    handle.write(f"# {described()}; {library_versions()}\n{self._said}")
                    writer = csv.DictWriter(handle, COLUMNS, restval="", lineterminator="\n")
                    writer.writeheader()
                    writer.writerows(self.lines)
                new.replace(self._path)
        shown = line.get("error") or f"{line['vus_pr']:.3f}  {line['seconds']:.0f} s"
        print(line["series"], line["configuration"], line["seed"], shown, sep="  ", flush=True)


def arguments():
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, from 0")
    parser.add_argument("--steps", type=int, default=320, help="training steps, in eight epochs")
    parser.add_argument("--only", type=lambda text: set(text.split(",")), help="families or series, with commas between")
    parser.add_argument("--configurations", type=lambda text: text.split(","), default=list(CONFIGURATIONS))
    parser.add_argument("--jobs", type=int, default=1, help="series at a time; the times are those of one only at 1")
    parser.add_argument("--settings", dest="settings_file", type=Path, help="TOML of settings other than the defaults")
    parser.add_argument("--output", type=Path, help="CSV to write, and to go on with")
    parser.add_argument("--figure", type=Path, help="picture to draw of all lines, PNG")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # the process of one series
    given = parser.parse_args()
    given.settings, given.epochs = read_toml(given.settings_file) if given.settings_file else {}, 8
    return given


def main():
    given = arguments()
    if given.one:
        answer(given)
        return
    kept = Lines(given)
    done = {(line["series"], line["configuration"], line["seed"]) for line in kept.lines}
    wanted = [entry for entry in excerpts(given.data) if not given.only or {entry["name"], entry["family"]} & given.only]
    with ThreadPoolExecutor(given.jobs) as pool:
        list(pool.map(lambda entry: run_series(entry, given, done, kept.add), wanted))
    lines = [line for line in kept.lines if not line.get("error")]
    print("\n" + summary(lines), end="")
    if given.figure:
        draw(lines, given.figure)


if __name__ == "__main__":
    main()
