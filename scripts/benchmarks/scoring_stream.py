#!/usr/bin/env python3
"""Time `anomaly score - --follow`: a row in, its score out; then rows as fast as they go. One series, window 64, 64 units.

    python scripts/benchmarks/scoring_stream.py --output scripts/benchmarks/results/scoring_stream.csv

The command runs as a process of its own and is fed through a pipe. For the latency a row is written, its line awaited, and
a pause made (`--pause`), as with rows that come one by one; the first `--warm-up` are left out. The memory is what the kernel
says of the process after the last row: resident, and of that what belongs to it alone. For the throughput all rows are
piped at once; the seconds are those from the first answer to the last, so that start-up is left out, and those of the
processor from the start to the end. Ways take turns; the round with the lowest p99 counts, and all rounds are written.

Beside them: the same on one core (`taskset -c 0`), without PyArrow, which pandas loads where it is installed, and what the
session alone takes for one window, in this process.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from scoring import command, read_lines, trained, working_folder, write_lines, write_series

# Imports nothing of PyArrow, as where it is not installed.
WITHOUT_PYARROW = "import sys; sys.modules['pyarrow'] = None; from anomaly.cli import cli; cli(prog_name='anomaly')"
ONE_CORE = ("taskset", "-c", "0")
WAYS = {
    "as installed": ((), command("score")),
    "one core": (ONE_CORE, command("score")),
    "one core, without PyArrow": (ONE_CORE, [sys.executable, "-c", WITHOUT_PYARROW, "score"]),
}
COLUMNS = (
    "way", "round", "rows", "least_ms", "p50_ms", "p99_ms", "most_ms", "cpu_ms_a_row", "first_answer_s",
    "resident_mb", "own_mb", "peak_mb", "piped_rows", "piped_rows_a_second", "piped_cpu_rows_a_second",
)  # fmt: skip


def memory(pid):
    """Return resident memory, what of it belongs to the process alone, and the peak, in MB."""
    with open(f"/proc/{pid}/status") as handle:
        found = dict(line.split(":", 1) for line in handle)
    return tuple(int(found[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon", "VmHWM"))


def processor_seconds(pid):
    """Return the processor time that a process has taken."""
    with open(f"/proc/{pid}/stat") as handle:
        fields = handle.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def following(way, model):
    """Yield a process that follows its standard input."""
    before, started = WAYS[way]
    words = [*before, *started, "-", "--model", str(model), "--follow", "--quiet"]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        process.wait()


def send(process, line):
    process.stdin.write(line)
    process.stdin.flush()


def one_by_one(way, model, lines, given):
    """Feed row after row; return latencies and memory."""
    with following(way, model) as process:
        began = time.perf_counter()
        send(process, lines[0])
        send(process, lines[1])
        process.stdout.readline()  # the header
        process.stdout.readline()
        first = time.perf_counter() - began
        taken, busy = [], 0.0
        for number, line in enumerate(lines[2 : given.warm_up + given.rows + 2]):
            if number == given.warm_up:
                busy = processor_seconds(process.pid)
            sent = time.perf_counter()
            send(process, line)
            process.stdout.readline()
            taken.append(time.perf_counter() - sent)
            time.sleep(given.pause)
        busy = processor_seconds(process.pid) - busy
        resident, own, peak = memory(process.pid)
    least, p50, p99, most = 1e3 * np.percentile(taken[given.warm_up :], (0, 50, 99, 100))
    return {
        "least_ms": least, "p50_ms": p50, "p99_ms": p99, "most_ms": most,
        "cpu_ms_a_row": 1e3 * busy / given.rows, "first_answer_s": first, "resident_mb": resident, "own_mb": own, "peak_mb": peak,
    }  # fmt: skip


def all_at_once(way, model, folder, n_rows):
    """Pipe all rows; return rows a second after the first answer, and rows a second of processor time in all."""
    with following(way, model) as process:
        feeder = subprocess.Popen(["cat", folder / "piped.csv"], stdout=process.stdin)
        process.stdin.close()
        process.stdout.readline()
        process.stdout.readline()
        began = time.perf_counter()
        n_left = 0
        for _ in process.stdout:
            n_left += 1
        seconds = time.perf_counter() - began
        feeder.wait()
        # The process may have ended, but nobody has asked it how yet.
        busy = processor_seconds(process.pid)
    return {"piped_rows": n_rows, "piped_rows_a_second": n_left / seconds, "piped_cpu_rows_a_second": n_rows / busy}


def session_alone(model):
    """Return what one window takes in this process, the best of many, with one thread and with one for each core."""
    from anomaly.detector.detector import Detector
    from anomaly.network.inference import Reconstructor

    bundle = Detector.load(model).bundle_
    window = np.zeros((1, bundle.window_size, len(bundle.columns)), np.float32)
    told = []
    for threads in (1, 0):
        session = Reconstructor(bundle.config.network, bundle.weights, bundle.window_size, len(bundle.columns), threads=threads)
        best = np.inf
        for _ in range(500):
            began = time.perf_counter()
            session(window)
            best = min(best, time.perf_counter() - began)
        told.append(f"{1e3 * best:.2f} ms with {threads or 'all'} thread{'s' if threads != 1 else ''}")
    return f"the session alone, one window: {', '.join(told)}"


def summary(lines):
    """Yield a line for each way: its best round."""
    for way in dict.fromkeys(line["way"] for line in lines):
        rounds = [{name: float(line[name]) for name in COLUMNS[3:]} for line in lines if line["way"] == way]
        best = min(rounds, key=lambda line: line["p99_ms"])
        yield (
            f"{way}: least {best['least_ms']:.2f} ms, p50 {best['p50_ms']:.2f} ms, p99 {best['p99_ms']:.2f} ms, "
            f"{best['cpu_ms_a_row']:.2f} ms of processor a row; "
            f"{best['resident_mb']:.0f} MB resident, {best['own_mb']:.0f} MB its own; "
            f"piped {max(line['piped_rows_a_second'] for line in rounds):,.0f} rows/s "
            f"({max(line['piped_cpu_rows_a_second'] for line in rounds):,.0f} a second of processor, start-up included)"
        )


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--warm-up", type=int, default=100)
    parser.add_argument("--piped-rows", type=int, default=20_000)
    parser.add_argument("--pause", type=float, default=0.002, help="seconds between an answer and the next row")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="an existing folder that keeps the detectors for the next call")
    parser.add_argument("--output", type=Path, help="CSV to write, and to go on with")
    return parser.parse_args()


def main():
    given = arguments()
    lines = read_lines(given.output)
    done = {(line["way"], line["round"]) for line in lines}
    with working_folder(given.folder) as name:
        folder = Path(name)
        model = trained(folder, 1, {"window_size": 64, "units": 64})
        write_series(folder / "piped.csv", max(given.piped_rows, given.warm_up + given.rows + 2), 1)
        rows = (folder / "piped.csv").read_bytes().splitlines(keepends=True)
        notes = [f"seed 0, a pause of {1e3 * given.pause:g} ms, {given.warm_up} rows left out", session_alone(model)]
        for turn in range(given.rounds):
            for way in WAYS:
                if (way, str(turn)) in done:
                    continue
                line = {"way": way, "round": turn, "rows": given.rows} | one_by_one(way, model, rows, given)
                line |= all_at_once(way, model, folder, len(rows) - 1)
                lines.append({name: f"{v:.5g}" if isinstance(v, float) else str(v) for name, v in line.items()})
                write_lines(given.output, COLUMNS, lines, [*notes, *summary(lines)])
                print(*summary(lines[-1:]), sep="\n", flush=True)
    print("", *notes, *summary(lines), sep="\n")


if __name__ == "__main__":
    main()
