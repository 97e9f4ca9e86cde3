#!/usr/bin/env python3
"""Time `anomaly score` from CSV to CSV beside PyTorch, stock Keras and its own floors, in turns; write rows a second.

    python scripts/benchmarks/scoring.py --output scripts/benchmarks/results/scoring.csv

Every contestant has the same rows, and a network of the same shape. PyTorch and Keras reconstruct a window at each row, as who
writes a detector with them does; ours runs every k-th (`scoring_stride`):

    process     `anomaly score in.csv --output out.csv`, start-up included
    ours        the same in this process, start-up left out: bytes of a CSV file in, bytes of a CSV file out
    network     our session alone on the windows that scoring runs, ready and in the blocks that it uses
    windows     our session alone on a window at each row: window for window against PyTorch
    reading     our reader alone, from the CSV file to checked numbers
    pandas      `pandas.read_csv` alone, without the checks
    PyTorch     `nn.LSTM` on windows that are ready: no reading, no scores, no writing
    Keras       `model.predict` of the stock model on windows that are ready

The floor is network + reading. PyTorch and Keras run in processes of their own, each with the batch size that suits it best of
two. Contestants take turns in an order that is drawn anew each time, so that a slow minute is everyone's; what counts is the best
of `--rounds` short turns. PyTorch takes part if it is installed here, or in the environment of `--torch-python`. Detectors are
trained for five steps: speed does not depend on the weights. Rounds that `--output` holds already count.
"""

import argparse
import contextlib
import csv
import importlib.util
import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from processor import described

# Name, features, settings of the detector.
CASES = (
    ("window 64, 64 units", 1, {"window_size": 64, "units": 64}),
    ("window 64, 64 units", 38, {"window_size": 64, "units": 64}),
    ("defaults", 1, {}),
    ("defaults", 38, {}),
)
BATCHES = (32, 256)
TRAINING_ROWS, PERIOD = 2_000, 64
COLUMNS = ("case", "features", "window", "units", "rows", "contestant", "batch", "rounds", "seconds", "rows_a_second", "times_ours")
FLOORS = ("network", "reading")


def write_series(path, n_rows, n_features):
    """Write a periodic series with noise, one row a minute, six decimals."""
    rows = np.arange(n_rows)
    values = np.sin(2 * np.pi * rows[:, None] / PERIOD + np.arange(n_features))
    values += np.random.default_rng(0).normal(0, 0.1, values.shape)
    times = np.datetime_as_string(np.datetime64("2025-01-01T00:00:00") + rows * np.timedelta64(1, "m"))
    with open(path, "w") as handle:
        handle.write(",".join(["timestamp", *(f"x{i}" for i in range(n_features))]) + "\n")
        for time_text, row in zip(times.tolist(), values.tolist(), strict=True):
            handle.write(",".join([time_text, *(f"{value:.6f}" for value in row)]) + "\n")


def trained(folder, n_features, settings):
    """Return the path of a detector that was trained for five steps, in a process of its own."""
    path, data = folder / f"{n_features}-{'-'.join(map(str, settings.values()))}.anomaly", folder / "training.csv"
    if path.exists():
        return path
    write_series(data, TRAINING_ROWS, n_features)
    options = [text for name, value in settings.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    short = ["--epochs", "1", "--steps-per-epoch", "5", "--seed", "0", "--quiet"]
    subprocess.run([*command("train"), data, "--model", path, *options, *short], check=True, capture_output=True)
    return path


def command(name):
    """Return how a command of ours is started."""
    return [sys.executable, "-m", "anomaly", name]


def working_folder(folder):
    """Return a folder as a context: the one that is named, or one that is removed afterwards."""
    return contextlib.nullcontext(str(folder)) if folder else tempfile.TemporaryDirectory()


def shape_of(bundle):
    """Return what a worker needs to know of a network: window, features, units, rows of each timestep."""
    from anomaly.network.model import rows_of_timesteps

    network = bundle.config.network
    return bundle.window_size, len(bundle.columns), network.units, rows_of_timesteps(network, bundle.window_size)[-1]


def pytorch(shape):
    """Return the network with `nn.LSTM`: windows in, reconstructions out."""
    import torch

    window, features, units, pooling = shape
    if window % pooling:
        raise SystemExit(f"The window must be a multiple of the pooling. Received: {window}, {pooling}.")

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = torch.nn.LSTM(features, units, batch_first=True)
            self.decoder = torch.nn.LSTM(units, units, batch_first=True)
            self.output = torch.nn.Linear(units, features)

        def forward(self, x):
            pooled = x.reshape(len(x), -1, pooling, features).mean(2) if pooling > 1 else x
            _, state = self.encoder(pooled)
            decoded, _ = self.decoder(state[0][0][:, None].expand(-1, pooled.shape[1], -1), state)
            return torch.flip(self.output(decoded), (1,)).repeat_interleave(pooling, 1)

    network = Network().eval()

    def run(windows, batch):
        with torch.inference_mode():
            return [network(torch.from_numpy(windows[i : i + batch])).numpy() for i in range(0, len(windows), batch)]

    return run


def stock_keras(shape):
    """Return the stock Keras model's `predict`."""
    from anomaly.config import NetworkConfig
    from anomaly.network.model import build_autoencoder

    window, features, units, pooling = shape
    network = build_autoencoder(NetworkConfig(units=units, pooling=pooling), window, features)
    return lambda windows, batch: network.predict(windows, batch_size=batch, verbose=0)


def work(name, shape, n_windows):
    """Find the best batch size, and then run all windows once for each line of standard input; answer with the seconds."""
    run = {"PyTorch": pytorch, "Keras": stock_keras}[name](shape)
    windows = np.random.default_rng(0).normal(size=(n_windows, *shape[:2])).astype(np.float32)

    def seconds(batch, n):
        began = time.perf_counter()
        run(windows[:n], batch)
        return time.perf_counter() - began

    for batch in BATCHES:  # Keras compiles for each
        seconds(batch, batch)
    best = min(BATCHES, key=lambda batch: min(seconds(batch, min(512, n_windows)) for _ in range(2)))
    print(best, flush=True)
    for _ in sys.stdin:
        print(seconds(best, n_windows), flush=True)


class Worker:
    """A contestant in a process of its own; it times itself."""

    def __init__(self, python, name, shape, n_windows):
        words = [python, __file__, "--worker", name, "--shape", ",".join(map(str, shape)), "--rows", str(n_windows)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.batch = int(self._process.stdout.readline())

    def turn(self):
        """Return the seconds that all windows take."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self):
        """End the process."""
        self._process.communicate()


def ours(model, data, folder):
    """Return what runs here, by name: functions without arguments that return nothing; and the detector's bundle."""
    import pandas as pd

    from anomaly.detector.detector import Detector
    from anomaly.files.one_file import open_for, score_file
    from anomaly.network.inference import Reconstructor
    from anomaly.scoring.overlaps import BLOCK_WINDOWS

    detector = Detector.load(model)
    bundle = detector.bundle_
    session = Reconstructor(bundle.config.network, bundle.weights, bundle.window_size, len(bundle.columns))
    scaled, _ = bundle.scaler.transform(pd.read_csv(data, usecols=list(bundle.columns)).to_numpy())
    windows = np.lib.stride_tricks.sliding_window_view(scaled, bundle.window_size, axis=0).swapaxes(1, 2)

    # As the session reads them the fastest: timestep by timestep.
    def by_time(stride):
        starts = range(0, len(windows), stride * BLOCK_WINDOWS)
        return [np.ascontiguousarray(windows[i : i + stride * BLOCK_WINDOWS : stride].swapaxes(0, 1)) for i in starts]

    some, every = by_time(bundle.scoring_stride), by_time(1)

    def reading():
        with open_for(detector, data) as reader:
            for _ in reader:
                pass

    started = [*command("score"), data, "--model", model, "--output", folder / "scored.csv", "--quiet"]
    return bundle, {
        "process": lambda: subprocess.run(started, check=True, capture_output=True),
        "ours": lambda: score_file(detector, data, output=io.BytesIO()),
        "network": lambda: [session(block.swapaxes(0, 1)) for block in some],
        "windows": lambda: [session(block.swapaxes(0, 1)) for block in every],
        "reading": reading,
        "pandas": lambda: pd.read_csv(data),
    }


def measure(case, given, folder, before):
    """Yield the lines of one case after each further round; those `before` it count too."""
    name, n_features, settings = case
    model, data = trained(folder, n_features, settings), folder / "new.csv"
    write_series(data, given.rows, n_features)
    bundle, here = ours(model, data, folder)
    shape = shape_of(bundle)
    workers = {"Keras": Worker(sys.executable, "Keras", shape, given.rows)}
    if given.torch_python or importlib.util.find_spec("torch"):
        workers["PyTorch"] = Worker(given.torch_python or sys.executable, "PyTorch", shape, given.rows)
    batches = {contestant: worker.batch for contestant, worker in workers.items()}
    order = np.random.default_rng()
    best = dict.fromkeys([*here, *workers], np.inf) | {line["contestant"]: float(line["seconds"]) for line in before}
    n_done = max((int(line["rounds"]) for line in before), default=0)
    for turn in range(n_done + 1, given.rounds + 1):
        for contestant in order.permutation([*here, *workers]):  # nobody always comes after the same one
            if contestant in workers:
                took = workers[contestant].turn()
            else:
                began = time.perf_counter()
                here[contestant]()
                took = time.perf_counter() - began
            best[contestant] = min(best[contestant], took)
        fixed = (name, n_features, shape[0], shape[2], given.rows)
        yield [
            dict(zip(COLUMNS, (*fixed, who, batches.get(who, ""), turn, took, given.rows / took, took / best["ours"]), strict=True))
            for who, took in best.items()
        ]
    for worker in workers.values():
        worker.close()


def ratios(lines):
    """Yield what the design asks for, a line a case."""
    for key in dict.fromkeys((line["case"], line["features"]) for line in lines):
        seconds = {x["contestant"]: float(x["seconds"]) for x in lines if (x["case"], x["features"]) == key}
        floor = sum(seconds[name] for name in FLOORS)
        said = [f"ours / (network + reading) {seconds['ours'] / floor:.2f}"]
        said += [f"{name} / ours {seconds[name] / seconds['ours']:.2f}" for name in ("PyTorch", "Keras") if name in seconds]
        if {"PyTorch", "windows"} <= seconds.keys():
            said.append(f"window for window PyTorch / ours {seconds['PyTorch'] / seconds['windows']:.2f}")
        if "pandas" in seconds:
            said.append(f"reading / pandas {seconds['reading'] / seconds['pandas']:.2f}")
        yield f"{key[0]}, features {key[1]}: " + ", ".join(said)


def read_lines(path):
    """Return the lines that are there already."""
    if not path or not path.exists():
        return []
    with open(path, newline="") as handle:
        return list(csv.DictReader(line for line in handle if not line.startswith("#")))


def write_lines(path, columns, lines, notes):
    """Write all lines anew, completely or not at all, below the machine, the versions and the notes."""
    from anomaly.bundle.bundle import library_versions

    if not path:
        return
    new = path.with_suffix(".new")
    with open(new, "w", newline="") as handle:
        head = [f"{described()}; {library_versions()}", time.strftime("%Y-%m-%d"), *notes]
        handle.writelines(f"# {text}\n" for text in head)
        writer = csv.DictWriter(handle, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{v:.5g}" if isinstance(v, float) else v for name, v in line.items()} for line in lines)
    new.replace(path)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_096)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--case", type=int, action="append", help="number of a case, from 0; default: all of them")
    parser.add_argument("--torch-python", help="the Python of an environment with PyTorch; default: this one")
    parser.add_argument("--folder", type=Path, help="an existing folder that keeps the detectors for the next call")
    parser.add_argument("--output", type=Path, help="CSV to write, and to go on with")
    parser.add_argument("--worker", choices=("PyTorch", "Keras"), help=argparse.SUPPRESS)
    parser.add_argument("--shape", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    given = arguments()
    if given.worker:
        work(given.worker, tuple(map(int, given.shape.split(","))), given.rows)
        return
    lines = read_lines(given.output)
    for number, case in enumerate(CASES):
        before = [
            line for line in lines if (line["case"], line["features"], line["rows"]) == (case[0], str(case[1]), str(given.rows))
        ]
        if (given.case and number not in given.case) or any(int(line["rounds"]) >= given.rounds for line in before):
            continue
        others = [line for line in lines if line not in before]
        with working_folder(given.folder) as folder:
            for found in measure(case, given, Path(folder), before):
                lines = others + [{k: f"{v:.5g}" if isinstance(v, float) else str(v) for k, v in line.items()} for line in found]
                write_lines(given.output, COLUMNS, lines, ["seed 0, best of the rounds", *ratios(lines)])
        for line in lines[len(others) :]:
            print(f"{line['contestant']:>10} {line['seconds']:>8} s {float(line['rows_a_second']):10,.0f} rows/s  {line['batch']}")
        print(*ratios(lines[len(others) :]), sep="\n", flush=True)


if __name__ == "__main__":
    main()
