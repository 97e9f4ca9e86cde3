#!/usr/bin/env python3
"""What a series is worth that a fleet has never seen, scored by its own first rows, beside its own detector.

    scripts/benchmarks/new_series.py --data DIR [--groups NAME,NAME] [--detectors DIR] [--minutes M] [--output CSV]

DIR holds manifest.csv (name, file, family, train_end) and the series it names, each with a column `label`. Each series of a
group is taken out once: the others train one network on their rows before train_end, and it is then scored from its first row to
its last as `--new-series learn` does. Its own detector is trained on its rows before train_end, with all defaults. Every training
takes M minutes at most, or comes from --detectors if it was done before. VUS-PR is that of the rows which both have scored; an
alarm is false if it touches no labelled event; early ones begin in the first ten windows. `promised` is what the thresholds of
the fleet promise for so many rows.
"""

import argparse
import csv
import os
from pathlib import Path

import numpy as np
from processor import described
from quality import curves, tsb_buffer

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from anomaly import Detector, read_csv
from anomaly.bundle.bundle import library_versions
from anomaly.config import DetectorConfig
from anomaly.detector.first_rows import Teacher
from anomaly.evaluation.metrics import event_ranges
from anomaly.fleet.folder import Fleet
from anomaly.fleet.plan import Plan, Source
from anomaly.fleet.training import train_shared
from anomaly.live.learning import WINDOWS, LearningStream
from anomaly.live.stream import How, Rows
from anomaly.report.tables import aligned
from anomaly.sources.tolerance import Tolerance

# By group the series of one family and pace, as far as there are several.
GROUPS = {
    "nab 5 min": "nab_ec2_cpu_utilization_24ae8d nab_ec2_cpu_utilization_53ea38 nab_ec2_cpu_utilization_825cc2 "
    "nab_ec2_cpu_utilization_ac20cd nab_ec2_network_in_257a54 nab_rds_cpu_utilization_e47b3b",
    "ms_cloud 1 min": "ms_ingress_01 ms_ingress_02 ms_ingress_04 ms_ingress_05",
    "ms_cloud 1 h": "ms_app2_01 ms_app2_02 ms_app2_04 ms_app2_06 ms_app2_09 ms_purchase_02 ms_purchase_04 ms_purchase_05",
}
COLUMNS = (
    *("group", "series", "aggregation", "rows", "window", "events", "vus_pr", "own_vus_pr", "hit", "own_hit", "early_false"),
    *("own_early_false", "early_promised", "later_false", "own_later_false", "later_promised", "threshold", "own_threshold"),
)


def fleet_without(name, group, series, given):
    """Return what the others of a group teach, trained now or before."""
    folder = given.detectors / f"{group.replace(' ', '_')}_without_{name}"
    if not (folder / "index.json").exists():
        config = DetectorConfig.from_settings({"seed": 0, "max_minutes": given.minutes})
        others = [Source(other, rows) for other, rows in series.items() if other != name]
        train_shared(folder, others, Plan(config=config, reading={}))
    fleet = Fleet.load(folder)
    return Teacher.of(fleet.detector(other).bundle_ for other in fleet.ids)


def own_detector(name, rows, given):
    """Return the detector of a series, trained now or before."""
    path = given.detectors / f"{name}.anomaly"
    if not path.exists():
        Detector(seed=0, max_minutes=given.minutes).fit(rows).save(path)
    return Detector.load(path)


def learnt_scores(name, series, teacher, aggregation):
    """Return score and threshold of each row, `(n,)` each, and the events, as `--new-series learn` has them."""
    stream = LearningStream(name, teacher, How(aggregation), Tolerance())
    events, parts = [], []
    for start in range(0, len(series), 4_096):
        some = slice(start, start + 4_096)
        n = len(series.times[some])
        parts.append(stream.push(Rows([""] * n, np.arange(start, start + n), series.times[some], series.values[some]))[1])
        events += stream.events(parts[-1])[0]
    parts.append(stream.finish()[1])
    events += stream.events(parts[-1], ended=True)[0]
    return np.concatenate([part.score for part in parts]), stream, events


def counted(events, known, begin):
    """Return how many known events are touched, and how many alarms touch none: before `begin`, and from there on."""
    touched = [any(a < event.stop and event.start < b for event in events) for a, b in known]
    false = [event for event in events if not any(a < event.stop and event.start < b for a, b in known)]
    early = sum(event.start < begin for event in false)
    return sum(touched), early, len(false) - early


def vus_pr(labels, score, usable, buffer):
    """Return VUS-PR over the rows that both have scored; nan without a labelled one."""
    if not labels[usable].any() or labels[usable].all():
        return float("nan")
    return curves(labels[usable], score[usable], buffer)["vus_pr"]


def lines_for(group, name, series, teacher, own):
    """Yield a line of each aggregation."""
    buffer, known = tsb_buffer(series.values[np.isfinite(series.values[:, 0]), 0]), event_ranges(series.labels == 1)
    for aggregation in ("combined", "trailing"):
        score, stream, events = learnt_scores(name, series, teacher, aggregation)
        scores = own.score(series, aggregation=aggregation)
        usable = np.isfinite(score) & np.isfinite(scores.score)
        begin = WINDOWS[-1] * teacher.window_size
        hit, early, later = counted(events, known, begin)
        own_hit, own_early, own_later = counted(own.detect(scores), known, begin)
        rate = teacher.bundle.thresholds[aggregation].asked / 1000
        values = vus_pr(series.labels == 1, score, usable, buffer), vus_pr(series.labels == 1, scores.score, usable, buffer)
        told = stream.described()["threshold"] or float("nan")
        yield (
            group, name, aggregation, len(series), teacher.window_size, len(known), *(f"{v:.4f}" for v in values), hit, own_hit,
            early, own_early, f"{rate * min(begin, len(series)):.2f}", later, own_later,
            f"{rate * max(len(series) - begin, 0):.2f}", f"{told:.4g}", f"{own.thresholds_[aggregation].value:.4g}",
        )  # fmt: skip


def table_of(lines):
    """Return means of VUS-PR and sums of the rest by group and aggregation."""
    rows = [("group", "aggregation", "series", *COLUMNS[5:-2])]
    for group, aggregation in dict.fromkeys((line[0], line[2]) for line in lines):
        some = [[float(x) for x in line[5:-2]] for line in lines if (line[0], line[2]) == (group, aggregation)]
        means, sums = np.nanmean(some, axis=0), np.sum(some, axis=0)
        cells = [f"{means[i]:.3f}" if COLUMNS[5 + i].endswith("vus_pr") else f"{sums[i]:.4g}" for i in range(len(sums))]
        rows.append((group, aggregation, str(len(some)), *cells))
    return aligned(rows, right=tuple(range(2, len(rows[0]))))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--groups", default=",".join(GROUPS))
    parser.add_argument("--detectors", type=Path, default=Path("new_series"))
    parser.add_argument("--minutes", type=float, default=0.5)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    given.detectors.mkdir(parents=True, exist_ok=True)
    with open(given.data / "manifest.csv", encoding="utf-8", newline="") as handle:
        entries = {entry["name"]: entry for entry in csv.DictReader(handle)}
    lines = []
    for group in given.groups.split(","):
        whole = {name: read_csv(given.data / entries[name]["file"], label_column="label") for name in GROUPS[group].split()}
        train = {name: rows[: int(entries[name]["train_end"])] for name, rows in whole.items()}
        for name, series in whole.items():
            teacher, own = fleet_without(name, group, train, given), own_detector(name, train[name], given)
            lines += lines_for(group, name, series, teacher, own)
            print(*lines[-2], *lines[-1], sep=" ", flush=True)
    if given.output:
        with open(given.output, "w", encoding="utf-8", newline="") as handle:
            handle.write(f"# {described()}; {library_versions()}\n# seed 0, {given.minutes:g} minutes of training at most\n")
            csv.writer(handle, lineterminator="\n").writerows([COLUMNS, *lines])
    print(table_of(lines))


if __name__ == "__main__":
    main()
