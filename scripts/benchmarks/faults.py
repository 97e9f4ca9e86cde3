#!/usr/bin/env python3
"""Faults put into normal rows of real series: which the default detector finds, how soon, and whether it names the right feature.

    scripts/benchmarks/faults.py --data DIR [--only NAMES] [--places N] [--seed N] [--settings TOML] [--output CSV]

DIR holds manifest.csv and the series it names, each with a column `label`. A detector is trained with all defaults on the
training prefix of each series. Then each fault is put into stretches of 3.75 windows after the prefix, without a label and without
an event: in one feature (drawn by lot, each before any comes twice), in a third of them, or in all. The
stretch is scored alone. Sizes are in training sigmas of the feature.

    spike       one row, +6, +30
    burst       twelve rows, +6
    shift       two windows, +1, +3
    drift       two windows, rising to +3
    stuck       a window at its first value
    jitter      a window at its first value, with noise of .02 sigmas
    quiet       a window that goes a tenth of its way from its first value
    noise       a window with noise of 3 sigmas
    dropout     a window at zero
    swapped     a window in which the feature has the values of another (several features)
    decoupled   a window of the feature's own training rows, from elsewhere (several features)
    slower      a window played at two thirds of its speed

A fault is found if an event shares a row with it; `rows` is the median number of rows until the first flag, `first` how often the
feature of the largest share is one of those with the fault. `tame` are features that jump by less than 6 sigmas from one row to
the next, and leave no more than 6, in 99.9 % of the training rows. The last lines count the events of all untouched stretches.
"""

import argparse
import csv
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from processor import described
from quality import value_columns

from anomaly import Detector, read_csv
from anomaly.bundle.bundle import library_versions
from anomaly.config import read_toml
from anomaly.report.tables import aligned

WINDOWS, BEFORE = 3.75, 1.25  # in a stretch, and until the fault begins
TAME_SIGMAS, TAME_SHARE = 6.0, 0.999
FAULTS = {
    "spike 6": ("spike", 6.0, 1), "spike 30": ("spike", 30.0, 1), "burst 6": ("spike", 6.0, 12),
    "shift 1": ("spike", 1.0, None), "shift 3": ("spike", 3.0, None), "drift 3": ("drift", 3.0, None),
    "stuck": ("stuck", 0.0, None), "noise 3": ("noise", 3.0, None), "dropout": ("dropout", 0.0, None),
    "swapped": ("swapped", 0.0, None), "decoupled": ("decoupled", 0.0, None), "slower": ("slower", 0.0, None),
    "jitter": ("jitter", 0.02, None), "quiet": ("quiet", 0.1, None),
}  # fmt: skip
TWO_WINDOWS = ("shift 1", "shift 3", "drift 3")
SEVERAL = ("swapped", "decoupled")
SPREADS = ("one tame", "one wild", "a third", "all")


@dataclass
class Count:
    """What became of the trials of one fault."""

    trials: int = 0
    found: int = 0
    named: int = 0
    delays: list[int] = field(default_factory=list)


def faulty(name, values, rows, features, detector, training, rng):
    """Return values with a fault.

    Args:
        name: of `FAULTS`.
        values: `(n, n_features)` of the stretch.
        rows: a slice of them.
        features: those with the fault.
        detector: whose scaler knows a sigma.
        training: `(n, n_features)` of the training rows.
        rng: draws noise and places.
    """
    kind, size, _ = FAULTS[name]
    changed, n = values.copy(), rows.stop - rows.start
    for feature in features:
        column, sigma = changed[rows, feature], detector.bundle_.scaler.scale[feature]
        if kind == "spike":
            column += size * sigma
        elif kind == "drift":
            column += size * sigma * np.linspace(0, 1, n)
        elif kind == "stuck":
            column[:] = column[0]
        elif kind == "jitter":
            column[:] = column[0] + rng.normal(0, size * sigma, n)
        elif kind == "quiet":
            column[:] = column[0] + size * (column - column[0])
        elif kind == "noise":
            column += rng.normal(0, size * sigma, n)
        elif kind == "dropout":
            column[:] = 0
        elif kind == "swapped":
            other = (feature + 1 + rng.integers(values.shape[1] - 1)) % values.shape[1]
            own, others = detector.bundle_.scaler.scale[feature], detector.bundle_.scaler.scale[other]
            centre = detector.bundle_.scaler.center
            column[:] = centre[feature] + (values[rows, other] - centre[other]) / others * own
        elif kind == "decoupled":
            start = rng.integers(len(training) - n + 1)
            column[:] = training[start : start + n, feature]
        else:
            column[:] = np.interp(np.arange(n) * 2 / 3, np.arange(n), column)
    return changed


def tame_features(values):
    """Return which features of `(n, n_features)` scaled training rows neither jump nor stray far, `(n_features,)`."""
    found = np.ones(values.shape[1], bool)
    for size in (np.abs(values), np.abs(np.diff(values, axis=0))):
        found &= np.nanquantile(size, TAME_SHARE, axis=0) < TAME_SIGMAS
    return found


def normal_places(detector, series, prefix, rng):
    """Yield in random order the stretches without a label, and the events found in them."""
    window, normal = detector.window_size_, series.labels != 1
    stretch = int(WINDOWS * window)
    starts = [i for i in range(prefix, len(series) - stretch + 1, max(1, window // 8)) if normal[i : i + stretch].all()]
    rng.shuffle(starts)
    for start in starts:
        part = series[start : start + stretch]
        yield part, detector.detect(part)


def measure(series, prefix, settings, places, seed):
    """Train on a prefix; return by fault and spread what became of the trials, and the events of the untouched stretches."""
    detector = Detector(**({"seed": seed} | settings)).fit(series[:prefix])
    rng = np.random.default_rng(seed)
    n_false, n_rows, counts, order = 0, 0, {}, []
    tame = tame_features(detector.bundle_.scaler.transform(series.values[:prefix])[0])
    for part, events in normal_places(detector, series, prefix, rng):
        n_false, n_rows = n_false + len(events), n_rows + len(part)
        if events:
            continue
        order = order or list(rng.permutation(series.n_features))
        one = order.pop()
        third = rng.permutation(series.n_features)[: -(-series.n_features // 3)]
        spreads = {"one tame" if tame[one] else "one wild": [one], "a third": third, "all": np.arange(series.n_features)}
        if series.n_features < 4:
            del spreads["a third"]
        if series.n_features == 1:
            del spreads["all"]
        try_all(counts, detector, part, spreads, series.values[:prefix], rng)
        places -= 1
        if not places:
            break
    return counts, n_false, n_rows


def try_all(counts, detector, part, spreads, training, rng):
    """Put every fault into a stretch, and count what is found."""
    window = detector.window_size_
    first = int(BEFORE * window)
    for spread, features in spreads.items():
        for name, (_, _, length) in FAULTS.items():
            if name in SEVERAL and (part.n_features == 1 or not spread.startswith("one")):
                continue
            rows = slice(first, first + (length or window * (2 if name in TWO_WINDOWS else 1)))
            values = faulty(name, part.values, rows, features, detector, training, rng)
            count = counts.setdefault((name, spread), Count())
            judge(count, detector, replace(part, values=values), rows, {part.columns[k] for k in features})


def judge(count, detector, part, rows, features):
    """Count whether a fault was found."""
    count.trials += 1
    scores = detector.score(part)
    found = [event for event in detector.detect(scores) if event.start < rows.stop and event.stop > rows.start]
    if found:
        count.found += 1
        worst = max(found, key=lambda event: event.severity)
        count.named += worst.shares[0][0] in features
        flagged = np.flatnonzero(scores.flags[rows])
        count.delays.append(int(flagged[0]) if len(flagged) else 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", type=lambda text: set(text.split(",")), help="families or series, with commas between")
    parser.add_argument("--places", type=int, default=8, help="stretches of each series")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--settings", type=Path, help="TOML of settings other than the defaults")
    parser.add_argument("--output", type=Path, help="CSV to write")
    given = parser.parse_args()
    with open(given.data / "manifest.csv", newline="") as handle:
        entries = [row for row in csv.DictReader(handle) if not given.only or {row["name"], row["family"]} & given.only]
    lines = []
    for entry in entries:
        path = given.data / entry["file"]
        series = read_csv(path, label_column="label", value_columns=value_columns(path))
        settings = read_toml(given.settings) if given.settings else {}
        counts, n_false, n_rows = measure(series, int(entry["train_end"]), settings, given.places, given.seed)
        print(entry["name"], f"{sum(c.found for c in counts.values())} of {sum(c.trials for c in counts.values())} found,",
              f"{n_false} events in {n_rows} untouched rows", flush=True)  # fmt: skip
        about = {"series": entry["name"], "family": entry["family"], "features": series.n_features}
        for (name, spread), c in counts.items():
            delay = float(np.median(c.delays)) if c.delays else ""
            told = {"fault": name, "in": spread, "trials": c.trials, "found": c.found, "named": c.named, "rows": delay}
            lines.append(about | told)
        lines.append(about | {"fault": "none", "in": "", "trials": n_rows, "found": n_false, "named": "", "rows": ""})
    report(lines, given.output)


def _order(kind):
    name, spread = kind
    return SPREADS.index(spread), list(FAULTS).index(name)


def report(lines, output):
    """Print what became of each fault in one feature and in several, and write all lines."""
    for several in (False, True):
        table = [("fault", "in", "trials", "found", "right feature first", "rows")]
        own = [line for line in lines if (line["features"] > 1) == several and line["fault"] != "none"]
        for name, spread in sorted({(line["fault"], line["in"]) for line in own}, key=_order):
            some = [line for line in own if (line["fault"], line["in"]) == (name, spread)]
            trials, found, named = (sum(line[key] for line in some) for key in ("trials", "found", "named"))
            delays = [line["rows"] for line in some if line["rows"] != ""]
            table.append((name, spread, str(trials), f"{found / trials:.0%}", f"{named / found:.0%}" if found else "-",
                          f"{np.median(delays):g}" if delays else "-"))  # fmt: skip
        if len(table) > 1:
            print("\n" + ("several features" if several else "one feature") + "\n" + aligned(table, right=(2, 3, 4, 5)), end="")
    quiet = [line for line in lines if line["fault"] == "none"]
    print(f"\n{sum(x['found'] for x in quiet)} events in {sum(x['trials'] for x in quiet)} untouched rows")
    if output:
        with open(output, "w", newline="") as handle:
            handle.write(f"# {described()}; {library_versions()}\n")
            writer = csv.DictWriter(handle, list(lines[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(lines)


if __name__ == "__main__":
    main()
