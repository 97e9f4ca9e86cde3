#!/usr/bin/env python3
"""Detections of the default detector against labels, beside trivial detectors and published ones.

    scripts/benchmarks/quality.py --data DIR [--only NAMES] [--protocol manifest|tsb] [--jobs N] [--output CSV]
    scripts/benchmarks/quality.py --leave-out CSV CSV ...

DIR holds manifest.csv and the series it names, each with a column `label`. A detector is trained with all defaults on the
training prefix of each series and scores the whole series. Nothing is chosen by labels.

Two protocols say what the prefix is and which rows are scored:

    manifest   train on rows [0, train_end), score all rows, with their times
    tsb        train on `tsb_tr` rows from row `tsb_offset`, score from there on; rows are counted, because the TSB-AD files
               have no times; only series that are TSB-AD files

The curve metrics are computed as TSB-AD publishes them: over all scored rows, the training prefix among them, with the
largest buffer from the autocorrelation of the first channel (its `find_length_rank`). A row without a score ranks
lowest; so does, for the trivial detectors, a row with a missing value. `test_vus_pr` is the same over the rows after the prefix.
Events, delays and false alarms are counted after the prefix, at the threshold that the training stored. A series without an
event there is a control: it has false alarms and no curves.

The CSV is written line by line: a run that was stopped goes on where it ended, and a series that failed has a line with its
error, is left out of the means and is tried again by the next run. Each series runs in a process of its own, so `peak_mb` is
its own. Published scores are read from tsb_vus_pr_baselines.csv in DIR.

`--leave-out` compares the results of several settings: for each family the one that is best on all other families, beside the
one that is best on all of them. What is chosen must hold where it was not chosen.
"""

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from processor import described

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import rivals
from leave_out import by_family, leave_out, of_the_same

from anomaly import Detector, read_csv
from anomaly.bundle.bundle import library_versions
from anomaly.config import read_toml
from anomaly.evaluation import baselines
from anomaly.evaluation.metrics import (
    average_precision,
    detection_delays,
    event_ranges,
    event_scores,
    roc_auc,
    volume_under_surface,
)
from anomaly.fitting.terms import reference_sizes
from anomaly.report.tables import aligned
from anomaly.series import complete_rows

TRIVIAL = ("random", "amplitude", "difference", "sub_pca", *(f"nearest_{form}" for form in rivals.FORMS))
MEASURES = (
    *("vus_pr", "vus_roc", "auc_pr", "auc_roc", "test_vus_pr", "event_precision", "event_recall", "event_f1"),
    *("events", "events_hit", "false_alarms", "median_delay", "false_alarms_per_1000_rows", "fit_seconds", "score_seconds"),
    *("peak_mb", "window_size", "buffer", "unscored_rows"),
)
COLUMNS = ("series", "family", "rows", "channels", *MEASURES, *TRIVIAL, "published_best", "published_by", "error")
SHOWN = ("vus_pr", "test_vus_pr", "event_f1", "false_alarms_per_1000_rows", "seconds", *TRIVIAL)
LAGS, FIRST_LAG, LONGEST_PERIOD, NO_PERIOD, ROWS_FOR_PERIOD = 400, 3, 300, 125, 20_000


def tsb_buffer(channel):
    """Return the largest buffer as TSB-AD 1.5 sets it: the lag of the highest peak of the autocorrelation, or 125.

    Args:
        channel: `(n,)` values of the first channel, no NaN; the first 20,000 count.
    """
    x = channel[:ROWS_FOR_PERIOD] - channel[:ROWS_FOR_PERIOD].mean()
    power = np.abs(np.fft.rfft(x, 2 ** int(np.ceil(np.log2(2 * len(x)))))) ** 2
    correlation = np.fft.irfft(power)[FIRST_LAG : min(LAGS + 1, len(x))]
    peaks = np.flatnonzero((correlation[1:-1] > correlation[:-2]) & (correlation[1:-1] > correlation[2:])) + 1
    if not len(peaks):
        return NO_PERIOD
    highest = int(peaks[np.argmax(correlation[peaks])])
    return highest + FIRST_LAG if FIRST_LAG <= highest <= LONGEST_PERIOD else NO_PERIOD


def rows_of(entry, protocol):
    """Return the first row and the row after the prefix, of the rows in the file."""
    if protocol == "manifest":
        return 0, int(entry["train_end"])
    first = max(0, int(entry["tsb_offset"]))
    return first, first + int(entry["tsb_tr"])


def filled(score, usable):
    """Return scores in which the rows that are not usable rank lowest, together."""
    known = score[usable]
    return np.where(usable, score, (known.min() - 1) if len(known) else 0.0)


def curves(labels, score, buffer):
    """Return the curve metrics of one ranking."""
    volume = volume_under_surface(labels, score, buffer)
    return {
        "vus_pr": volume.pr,
        "vus_roc": volume.roc,
        "auc_pr": average_precision(labels, score),
        "auc_roc": roc_auc(labels, score),
    }


def trivial_scores(values, training, window_size, period, seed):
    """Yield name and scores of the trivial detectors.

    Args:
        values: scaled, no NaN, `(n, n_features)`.
        training: those of the training rows.
        window_size: of Sub-PCA.
        period: rows in the windows that are compared with those of training.
        seed: of the random one.
    """
    yield "random", baselines.random_scores(len(values), seed)
    yield "amplitude", baselines.amplitude(values)
    yield "difference", baselines.absolute_difference(values)
    yield "sub_pca", baselines.sub_pca(values, max(2, min(window_size, len(values))))
    for form in rivals.FORMS:
        yield f"nearest_{form}", rivals.nearest_window(values, training, min(period, len(training)), form)


def event_measures(detector, scores, labels, prefix):
    """Return the event metrics of the rows from `prefix` on, at the stored threshold."""
    known = event_ranges(labels[prefix:])
    found = [(max(0, event.start - prefix), event.stop - prefix) for event in detector.detect(scores) if event.stop > prefix]
    counted = {"events": len(known), "false_alarms": len(found)}
    n_scored = int(np.isfinite(scores.score[prefix:]).sum())
    if known:
        met = event_scores(found, known)
        delays = detection_delays(scores.flags[prefix:], known)
        counted |= {"events_hit": met.n_hit, "false_alarms": met.n_false, "event_recall": met.recall, "event_f1": met.f1}
        counted["event_precision"] = met.precision
        counted["median_delay"] = float(np.nanmedian(delays)) if np.isfinite(delays).any() else float("nan")
    return counted | {"false_alarms_per_1000_rows": 1000 * counted["false_alarms"] / max(1, n_scored)}


def measured(entry, given):
    """Train on one series, score it, and return its line.

    Args:
        entry: its line of the manifest.
        given: the options.
    """
    timed = {"time_column": None, "value_columns": value_columns(given.data / entry["file"])} if given.protocol == "tsb" else {}
    first, stop = rows_of(entry, given.protocol)
    series = read_csv(given.data / entry["file"], label_column="label", **timed)[first:]
    prefix, began = stop - first, time.perf_counter()
    detector = Detector(**({"seed": given.seed} | given.settings)).fit(series[:prefix])
    fitted = time.perf_counter()
    scores = detector.score(series)
    ended = time.perf_counter()
    whole = complete_rows(series.values)
    usable = np.isfinite(scores.score)
    score, labels = filled(scores.score, usable), series.labels == 1
    buffer = tsb_buffer(series.values[np.isfinite(series.values[:, 0]), 0])
    line = {
        "rows": len(series),
        "channels": series.n_features,
        "fit_seconds": fitted - began,
        "score_seconds": ended - fitted,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10),
        "window_size": detector.window_size_,
        "buffer": buffer,
        "unscored_rows": int((~usable).sum()),
    }
    line |= event_measures(detector, scores, labels, prefix)
    if not labels[prefix:].any():  # a control: false alarms are all there is to count
        return line
    line |= curves(labels, score, buffer)
    if not labels[prefix:].all():
        line["test_vus_pr"] = volume_under_surface(labels[prefix:], score[prefix:], buffer).pr
    values = detector.bundle_.scaler.transform(series.values[whole])[0].astype(np.float64)
    period = reference_sizes(values[: int(whole[:prefix].sum())].astype(np.float32), detector.window_size_)[0]
    for name, trivial in trivial_scores(values, values[: int(whole[:prefix].sum())], buffer, period, given.seed):
        spread = np.zeros(len(series))
        spread[whole] = trivial
        line[name] = volume_under_surface(labels, filled(spread, whole), buffer).pr
    return line


def value_columns(path):
    """Return the columns of a file but the first, its times, and `label`."""
    with open(path, newline="") as handle:
        head = next(csv.reader(handle))
    return [name for name in head[1:] if name != "label"]


def line_of(entry, given):
    """Measure one series in a process of its own; return its line, with an error if it failed."""
    command = [sys.executable, __file__, "--data", given.data, "--protocol", given.protocol, "--seed", given.seed]
    command += ["--one", entry["name"], *(["--settings", given.settings_file] if given.settings_file else [])]
    run = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    try:
        line = json.loads(run.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = (run.stderr.strip().splitlines() or [f"exit code {run.returncode}"])[-1]
        line = {"error": last[:300]}
    return {"series": entry["name"], "family": entry["family"], **line}


def published(data):
    """Return the published VUS-PR, series -> method -> value; nothing if the file is absent."""
    path = data / "tsb_vus_pr_baselines.csv"
    if not path.exists():
        return {}
    with open(path, newline="") as handle:
        rows = list(csv.DictReader(handle))
    about = ("name", "tsb_file", "ts_len", "tr", "first", "anomaly_len")
    return {row["name"]: {m: float(v) for m, v in row.items() if m not in about and v} for row in rows}


def said(given):
    """Return the head line that tells what the lines below it have in common."""
    return f"# protocol {given.protocol}, seed {given.seed}, settings {given.settings or 'default'}\n"


def read_lines(path, given):
    """Return the lines of an earlier run without those that failed; refuse those of other settings."""
    if not path or not path.exists():
        return []
    with open(path, newline="") as handle:
        text = handle.readlines()
    if said(given) not in text:
        sys.exit(f"{path} holds lines of another protocol, seed or settings. Name another --output.")
    return [row for row in csv.DictReader(line for line in text if not line.startswith("#")) if not row["error"]]


def write_lines(path, lines, given):
    """Write all lines anew, completely or not at all."""
    if not path:
        return
    new = path.with_suffix(".new")
    with open(new, "w", newline="") as handle:
        handle.write(f"# {described()}; {library_versions()}\n")
        handle.write(said(given))
        writer = csv.DictWriter(handle, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{v:.5g}" if isinstance(v, float) else v for name, v in line.items()} for line in lines)
    new.replace(path)


def mean(lines, name):
    """Return the mean of a measure over the lines that have it, as text."""
    values = [number(line, name) for line in lines]
    values = [value for value in values if np.isfinite(value)]
    return f"{np.mean(values):.3f}" if values else "-"


def number(line, name):
    """Return a measure of a line as a number; NaN if it has none."""
    if name == "seconds":
        return number(line, "fit_seconds") + number(line, "score_seconds")
    value = line.get(name)
    return float("nan") if value is None or value == "" else float(value)


def summary(lines):
    """Return the means by family, the last line over all, as a table."""
    lines = [line for line in lines if not line.get("error")]
    table = [("family", "series", *SHOWN)]
    groups = {family: [line for line in lines if line["family"] == family] for family in dict.fromkeys(x["family"] for x in lines)}
    for family, own in [*groups.items(), ("all", lines)]:
        table.append((family, str(len(own)), *(mean(own, name) for name in SHOWN)))
    seconds = [number(line, "seconds") for line in lines]
    median = f"{np.median(seconds):.0f} s, peak memory at most {max(number(x, 'peak_mb') for x in lines):.0f} MB" if lines else "-"
    return aligned(table, right=tuple(range(1, len(table[0])))) + f"fit and score, median: {median}\n"


def comparison(lines, known):
    """Return our mean and those of the published methods over the series that they all have, best first."""
    ours = {line["series"]: number(line, "vus_pr") for line in lines if line["series"] in known and not line.get("error")}
    if not ours:
        return ""
    methods = sorted({method for name in ours for method in known[name]})
    rows = [("ours", list(ours), [ours[name] for name in ours])]
    for method in methods:
        names = [name for name in ours if method in known[name]]
        rows.append((method, names, [known[name][method] for name in names]))
    rows.append(("best of all by series", list(ours), [max(known[name].values()) for name in ours]))
    table = [("method", "series", "mean VUS-PR", "ours on the same")]
    for method, names, values in sorted(rows, key=lambda row: -float(np.mean(row[2]))):
        table.append((method, str(len(names)), f"{np.mean(values):.3f}", f"{np.mean([ours[name] for name in names]):.3f}"))
    return "\n" + aligned(table, right=(1, 2, 3))


def arguments():
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--leave-out", type=Path, nargs="+", metavar="CSV", help="results to choose among; nothing is measured")
    parser.add_argument("--only", type=lambda text: set(text.split(",")), help="families or series, with commas between")
    parser.add_argument("--protocol", choices=("manifest", "tsb"), default="manifest")
    parser.add_argument("--jobs", type=int, default=1, help="series at a time; the times are those of one only at 1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--settings", dest="settings_file", type=Path, help="TOML of settings other than the defaults")
    parser.add_argument("--output", type=Path, help="CSV to write, and to go on with")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # the process of one series: its line as JSON on stdout
    given = parser.parse_args()
    if not given.data and not given.leave_out:
        parser.error("Name --data, or results with --leave-out.")
    given.settings = read_toml(given.settings_file) if given.settings_file else {}
    return given


def chosen_elsewhere(paths):
    """Return what the best of some results is worth on families that it was not chosen on, as text."""
    candidates = {}
    for path in paths:
        with open(path, newline="") as handle:
            candidates[path.stem] = by_family(csv.DictReader(line for line in handle if not line.startswith("#")))
    return leave_out(of_the_same(candidates))[0]


def main():
    given = arguments()
    if given.leave_out:
        print(chosen_elsewhere(given.leave_out), end="")
        return
    with open(given.data / "manifest.csv", newline="") as handle:
        entries = [row for row in csv.DictReader(handle) if given.protocol == "manifest" or row["tsb_file"]]
    if given.one:
        print(json.dumps(measured(next(entry for entry in entries if entry["name"] == given.one), given)))
        return
    known = published(given.data)
    wanted = [e for e in entries if not given.only or {e["name"], e["family"]} & given.only]
    lines = read_lines(given.output, given)
    done = {line["series"] for line in lines}
    with ThreadPoolExecutor(given.jobs) as pool:
        for line in pool.map(lambda entry: line_of(entry, given), [e for e in wanted if e["name"] not in done]):
            if given.protocol == "tsb" and line["series"] in known:
                by = known[line["series"]]
                line |= {"published_best": max(by.values()), "published_by": max(by, key=lambda method: by[method])}
            lines.append(line)
            write_lines(given.output, lines, given)
            print(line["series"], line.get("error") or mean([line], "vus_pr"), sep="  ", flush=True)
    print("\n" + summary(lines) + (comparison(lines, known) if given.protocol == "tsb" else ""), end="")


if __name__ == "__main__":
    main()
