#!/usr/bin/env python3
"""Seconds and peak memory of `anomaly score` by the length of the file: one feature, window 16, 8 units.

    python scripts/benchmarks/scoring_growth.py --most 10000000 --output scripts/benchmarks/results/scoring_growth.csv

Each length runs in a process of its own, from CSV to CSV; the peak is VmHWM, which the kernel keeps. Lengths that `--output` holds
already are kept.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from scoring import command, read_lines, working_folder, write_lines, write_series

LENGTHS = (10_000, 100_000, 1_000_000, 10_000_000)
# Runs the command, and says at its end what it came to.
TOLD = """
import sys, time
began = time.perf_counter()
from anomaly.cli import cli
try:
    cli(prog_name="anomaly")
finally:
    with open("/proc/self/status") as handle:
        peak = next(int(line.split()[1]) for line in handle if line.startswith("VmHWM")) / 1024
    sys.stderr.write(f"{time.perf_counter() - began} {time.process_time()} {peak}")
"""
COLUMNS = ("rows", "input_mb", "seconds", "cpu_seconds", "peak_mb", "microseconds_a_row", "cpu_microseconds_a_row")
# A longer file repeats this many rows.
PIECE = 100_000


def write_long(path, n_rows):
    """Write rows without times: the same piece over and over."""
    piece = path.with_name("piece.csv")
    write_series(piece, min(PIECE, n_rows), 1)
    header, *lines = piece.read_text().splitlines()
    text = "".join(f"{line.partition(',')[2]}\n" for line in lines)
    with open(path, "w") as handle:
        handle.write(f"{header.partition(',')[2]}\n")
        for start in range(0, n_rows, PIECE):
            handle.write(text if n_rows - start >= PIECE else "".join(text.splitlines(keepends=True)[: n_rows - start]))


def scored(model, data, output):
    """Score a file; return seconds, seconds of the processor, and peak MB."""
    words = ["score", data, "--model", model, "--output", output, "--quiet"]
    done = subprocess.run([sys.executable, "-c", TOLD, *map(str, words)], capture_output=True, text=True, check=True)
    return tuple(map(float, done.stderr.split()[-3:]))


def untimed(folder):
    """Return a detector that counts rows instead of reading times."""
    path, data = folder / "small.anomaly", folder / "short.csv"
    if path.exists():
        return path
    write_long(data, 2_000)
    short = ["--window-size", "16", "--units", "8", "--epochs", "1", "--steps-per-epoch", "5", "--seed", "0", "--quiet"]
    subprocess.run([*command("train"), data, "--model", path, *short], check=True, capture_output=True)
    return path


def summary(lines):
    """Yield what doubles and what does not, between the shortest and the longest file of 100,000 rows or more."""
    long = sorted((line for line in lines if int(line["rows"]) >= 100_000), key=lambda line: int(line["rows"]))
    if len(long) < 2:
        return
    first, last = long[0], long[-1]
    times = int(last["rows"]) / int(first["rows"])
    cost = float(last["cpu_microseconds_a_row"]) / float(first["cpu_microseconds_a_row"])
    more = float(last["peak_mb"]) - float(first["peak_mb"])
    yield f"{times:g} times the rows of {int(first['rows']):,}: {cost:.2f} times the processor time a row, {more:+.1f} MB"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=1_000_000, help="the longest file, in rows; 10,000,000 need minutes")
    parser.add_argument("--folder", type=Path, help="an existing folder that keeps the detectors for the next call")
    parser.add_argument("--output", type=Path, help="CSV to write, and to go on with")
    return parser.parse_args()


def main():
    given = arguments()
    lines = read_lines(given.output)
    done = {int(line["rows"]) for line in lines}
    with working_folder(given.folder) as name:
        folder = Path(name)
        model = untimed(folder)
        for n_rows in (n for n in LENGTHS if n <= given.most and n not in done):
            data = folder / "long.csv"
            write_long(data, n_rows)
            seconds, busy, peak = scored(model, data, folder / "scored.csv")
            size = data.stat().st_size / 2**20
            figures = (n_rows, size, seconds, busy, peak, 1e6 * seconds / n_rows, 1e6 * busy / n_rows)
            line = {
                name: f"{value:.5g}" if isinstance(value, float) else str(value)
                for name, value in zip(COLUMNS, figures, strict=True)
            }
            lines.append(line)
            write_lines(given.output, COLUMNS, lines, ["seed 0, one run each", *summary(lines)])
            print(line, flush=True)
    print(*summary(lines), sep="\n")


if __name__ == "__main__":
    main()
