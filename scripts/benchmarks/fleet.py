#!/usr/bin/env python3
"""Time many small series: scored by one process and by two, and loaded into memory with one network for all.

    python scripts/benchmarks/fleet.py --series 1000 --output scripts/benchmarks/results/fleet.csv

The series are noisy waves of `--rows` hourly rows each. One network is trained on a few of them, briefly; the fleet gives it to
all of them, each with its own bundle, as a shared training does. Then `anomaly score FOLDER --model FLEET --output OUT`
runs as a process of its own, start-up included, by turns with each number of jobs, into a new folder each time; and once
more over its own result, when there is nothing to do. The processes of a pool have one thread each; a single one takes all
cores for the network, and is measured with one thread too, which shows what a second process adds. The best of `--rounds`
counts, all are written, with the seconds that the processors were at work: where others use the machine, these say more than
the clock. The outputs of all runs are compared.
"""

import argparse
import csv
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from processor import described

from anomaly.fleet.folder import Fleet, Index, replaced_fleet, write_member

STEP, FIRST = np.timedelta64(1, "h"), np.datetime64("2022-01-01T00:00:00")
COLUMNS = ("round", "jobs", "series", "rows", "seconds", "cpu_seconds", "series_a_minute")


def write_series(folder: Path, number: int, rows: int) -> None:
    """Write the history of some series: a daily wave with noise, at a level of its own."""
    folder.mkdir(parents=True)
    times = np.datetime_as_string(FIRST + STEP * np.arange(rows), unit="s")
    for n in range(number):
        rng = np.random.default_rng(n)
        values = (n + 1) * (np.sin(2 * np.pi * np.arange(rows) / 24) + 0.1 * rng.normal(size=rows))
        lines = [f"{t}Z,{x:.6g}\n" for t, x in zip(times, values, strict=True)]
        (folder / f"host-{n:05}.csv").write_text("timestamp,load\n" + "".join(lines))


def command(*arguments: object) -> list[str]:
    """Return the command line of `anomaly` in this environment."""
    return [sys.executable, "-m", "anomaly", *map(str, arguments)]


def make_fleet(data: Path, folder: Path, names: list[str]) -> None:
    """Train one network on a few series, and give it to all of them."""
    some = [data / f"{name}.csv" for name in names[:4]]
    options = ["--epochs", 2, "--steps-per-epoch", 10, "--seed", 0, "--window-size", 64, "-q"]
    subprocess.run(command("train", *some, "--model", folder, *options), check=True)
    bundle = Fleet.load(folder).detector(names[0]).bundle_
    with replaced_fleet(folder) as new:
        members = {}
        for n, name in enumerate(names):
            scaler = replace(bundle.scaler, center=bundle.scaler.center * 0, scale=bundle.scaler.scale * (n + 1))
            members[name] = write_member(folder, name, replace(bundle, scaler=scaler))
        new.finish(Index(None, bundle.time_column, bundle.columns, members))


def timed(*arguments: object, threads: int | None = None) -> tuple[float, float]:
    """Run a command; return its seconds by the clock and by the processors."""
    environment = os.environ | ({} if threads is None else {"OMP_NUM_THREADS": str(threads)})
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command(*arguments), check=True, env=environment)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def digest(folder: Path) -> str:
    """Return a digest of all outputs of a run."""
    found = hashlib.sha256()
    for path in sorted(folder.glob("host-*.csv")):
        found.update(path.read_bytes())
    return found.hexdigest()


def resident(fleet: Fleet, names: list[str]) -> float:
    """Return the resident memory that detectors ready to score take, MB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    detectors = [fleet.detector(name) for name in names]
    for detector in detectors:
        detector.row_scorer()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--ray", action="store_true", help="also on a Ray cluster that each run starts here, with as many CPUs")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    names, found, digests = [f"host-{n:05}" for n in range(options.series)], [], set()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_series(folder / "data", options.series, options.rows)
        make_fleet(folder / "data", folder / "fleet", names)
        for turn in range(options.rounds):
            ways = [("1, one thread", 1, "local", 1), *((str(jobs), jobs, "local", None) for jobs in options.jobs)]
            ways += [(f"{max(options.jobs)}, ray", max(options.jobs), "ray", None)] * options.ray
            for name, jobs, engine, threads in ways:
                out = folder / f"out-{turn}-{name.replace(', ', '-').replace(' ', '-')}"
                arguments = ("score", folder / "data", "--model", folder / "fleet", "--output", out, "--jobs", jobs, "-q")
                arguments += ("--engine", engine)
                for kind in (name, f"{name}, again"):
                    seconds, cpu = timed(*arguments, threads=threads)
                    found.append(
                        (
                            turn,
                            kind,
                            options.series,
                            options.rows,
                            f"{seconds:.2f}",
                            f"{cpu:.2f}",
                            f"{60 * options.series / seconds:.0f}",
                        )
                    )
                    print(dict(zip(COLUMNS, found[-1], strict=True)), f"load {os.getloadavg()[0]:.1f}")
                digests.add(digest(out))
        print("the same outputs" if len(digests) == 1 else "DIFFERENT OUTPUTS")
        fleet = Fleet.load(folder / "fleet", most_loaded=options.series)
        print(f"{options.series} detectors ready to score, one network: {resident(fleet, names):.0f} MB")
    for kind in dict.fromkeys(row[1] for row in found):
        print(f"--jobs {kind}: {min(float(row[4]) for row in found if row[1] == kind):.1f} s at best")
    if options.output:
        with open(options.output, "w", newline="") as handle:
            handle.write(f"# {described()}\n")
            csv.writer(handle).writerows([COLUMNS, *found])


if __name__ == "__main__":
    main()
