#!/usr/bin/env python3
"""Time one training step of four Keras models with and without the input-gradient penalty, and of the same in PyTorch.

    python scripts/benchmarks/keras_penalty.py --output scripts/benchmarks/results/keras_penalty.csv

Every contestant takes the same step: forward, mean squared error, gradients, Adam. "Keras" is the model as it is, compiled
and trained by `train_on_batch`; "ours" is `InputGradientModel` around it with the raw L2 form. "PyTorch exact" is double
backward with `create_graph=True`. PyTorch takes part if it is installed (`pip install torch==2.13.0`). Contestants take
turns in an order drawn anew each time, so that a slow minute is everyone's; medians and least times are over `--steps` turns
after `--warm-up`, and `times_plain` is the median of the ratios to the plain step of the same turn.

The attention model has no layer normalisation: nested tapes differentiate that wrongly, and are refused (see
`anomaly/keras/README.md`).
"""

import argparse
import csv
import importlib.util
import os
import subprocess
import sys
import time
from functools import partial

import numpy as np
from processor import described

from anomaly.tensorflow_start import load_keras

WEIGHT, RATE, FEATURES, WINDOW = 0.01, 1e-3, 8, 64
BATCHES = {"dense": 256, "convolution": 64, "LSTM": 64, "attention": 64}
PAUSE = 0.01  # seconds before every step: threads of the contestant before wind down
OURS = {
    "ours two_pass": {"method": "two_pass"},
    "ours two_pass every 4": {"method": "two_pass", "every": 4},
    "ours exact": {"method": "exact"},
}
PYTORCH = ("plain", "exact")
COLUMNS = ("network", "batch", "contestant", "median_ms", "least_ms", "times_plain", "least_times_plain", "steps")


def keras_network(kind):
    """Build one of the four networks: windows (64, 8) to 8 numbers."""
    keras = load_keras()
    layers = keras.layers
    x = inputs = keras.Input((WINDOW, FEATURES))
    if kind == "dense":
        x = layers.Flatten()(x)
        for _ in range(2):
            x = layers.Dense(1024, "tanh")(x)
    elif kind == "convolution":
        for _ in range(3):
            x = layers.Conv1D(64, 5, padding="same", activation="gelu")(x)
        x = layers.GlobalAveragePooling1D()(x)
    elif kind == "LSTM":
        x = layers.LSTM(64)(x)
    else:
        x = layers.Dense(64)(x)
        x = layers.MultiHeadAttention(4, 16)(x, x) + x
        x = layers.Dense(64)(layers.Dense(128, "gelu")(x)) + x
        x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(FEATURES)(x))


def keras_step(kind, settings):
    """Return a function of inputs and targets that takes one step."""
    from anomaly.keras import InputGradientModel, InputGradientPenalty

    keras = load_keras()
    keras.utils.set_random_seed(0)
    model = keras_network(kind)
    if settings is not None:
        model = InputGradientModel(model, InputGradientPenalty("l2", weight=WEIGHT), **settings)
    model.compile(keras.optimizers.Adam(RATE), loss="mse")
    return model.train_on_batch


def torch_network(kind):
    """Build the same network in PyTorch."""
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            if kind == "dense":
                self.body = nn.Sequential(nn.Flatten(), nn.Linear(512, 1024), nn.Tanh(), nn.Linear(1024, 1024), nn.Tanh())
            elif kind == "convolution":
                sizes = (FEATURES, 64, 64)
                self.body = nn.Sequential(*[part for n in sizes for part in (nn.Conv1d(n, 64, 5, padding=2), nn.GELU())])
            elif kind == "LSTM":
                self.body = nn.LSTM(FEATURES, 64, batch_first=True)
            else:
                self.body = nn.Linear(FEATURES, 64)
                self.attention = nn.MultiheadAttention(64, 4, batch_first=True)
                self.further = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 64))
            self.out = nn.Linear(1024 if kind == "dense" else 64, FEATURES)

        def forward(self, x):
            if kind == "convolution":
                return self.out(self.body(x.transpose(1, 2)).mean(2))
            x = self.body(x)
            if kind == "LSTM":
                return self.out(x[0][:, -1])
            if kind == "attention":
                x = self.attention(x, x, x, need_weights=False)[0] + x
                x = (self.further(x) + x).mean(1)
            return self.out(x)

    torch.manual_seed(0)
    return Network()


def torch_step(kind, method):
    """Return a function of inputs and targets that takes one step in PyTorch."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    network = torch_network(kind)
    optimizer = torch.optim.Adam(network.parameters(), RATE)

    def step(x, y):
        x, y = torch.from_numpy(x), torch.from_numpy(y)
        optimizer.zero_grad()
        if method == "plain":
            ((network(x) - y) ** 2).mean().backward()
        else:
            x.requires_grad_()
            with sdpa_kernel(SDPBackend.MATH):  # the fused one has no second derivative
                losses = ((network(x) - y) ** 2).mean(1)
                (gradient,) = torch.autograd.grad(losses.sum(), x, create_graph=True)
                (losses.mean() + WEIGHT * (gradient**2).sum((1, 2)).mean()).backward()
        optimizer.step()

    return step


def batch_of(kind, rng):
    """Draw inputs and targets."""
    n = BATCHES[kind]
    return rng.normal(size=(n, WINDOW, FEATURES)).astype(np.float32), rng.normal(size=(n, FEATURES)).astype(np.float32)


class Worker:
    """PyTorch in a process of its own: in one process with TensorFlow it crashes. It times its own steps."""

    def __init__(self, kind):
        command = [sys.executable, __file__, "--worker", kind]
        environment = os.environ | {"OMP_WAIT_POLICY": "passive"}  # else its idle threads take the cores from the next one
        self._process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def step(self, method):
        """Return the seconds of one step."""
        self._process.stdin.write(f"{method}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


def work(kind):
    """Take a step for each line of standard input that names a method."""
    steps, rng = {method: torch_step(kind, method) for method in PYTORCH}, np.random.default_rng(0)
    for line in sys.stdin:
        batch = batch_of(kind, rng)
        began = time.perf_counter()
        steps[line.strip()](*batch)
        sys.stdout.write(f"{time.perf_counter() - began}\n")
        sys.stdout.flush()


def measure(kind, steps, warm_up):
    """Return the lines of one network."""
    runners = {"Keras": keras_step(kind, None)} | {name: keras_step(kind, settings) for name, settings in OURS.items()}
    if importlib.util.find_spec("torch"):
        worker = Worker(kind)
        runners |= {f"PyTorch {method}": partial(worker.step, method) for method in PYTORCH}
    times, rng = {name: [] for name in runners}, np.random.default_rng(0)
    for turn in range(-warm_up, steps):
        batch = batch_of(kind, rng)
        for name in rng.permutation(list(runners)):  # nobody always comes after the same one
            step = runners[name]
            time.sleep(PAUSE)
            began = time.perf_counter()
            taken = step() if name.startswith("PyTorch") else step(*batch)
            if turn >= 0:
                times[name].append(taken if name.startswith("PyTorch") else time.perf_counter() - began)
    # Three of four steps of "every 4" are plain: its step is the mean, not the median.
    ms = {name: 1e3 * (np.mean(all_) if "every" in name else np.median(all_)) for name, all_ in times.items()}
    plain = {name: "PyTorch plain" if name.startswith("PyTorch") else "Keras" for name in times}
    ratios = {
        name: np.sum(all_) / np.sum(times["Keras"]) if "every" in name else np.median(np.divide(all_, times[plain[name]]))
        for name, all_ in times.items()
    }
    least = {name: 1e3 * min(all_) for name, all_ in times.items()}
    return [
        dict(
            zip(
                COLUMNS,
                (kind, BATCHES[kind], name, round(ms[name], 2), round(least[name], 2), round(ratios[name], 2),
                 round(least[name] / least[plain[name]], 2), steps),
                strict=True,
            )
        )
        for name in ms
    ]  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--warm-up", type=int, default=4)
    parser.add_argument("--network", choices=BATCHES, action="append", help="only this one; may be repeated")
    parser.add_argument("--output", help="CSV file")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker)
        return
    import keras
    import tensorflow as tf

    lines = []
    for kind in options.network or BATCHES:
        for line in measure(kind, options.steps, options.warm_up):
            print(*line.values(), sep="\t", flush=True)
            lines.append(line)
    note = f"# {described()}; TensorFlow {tf.__version__}, Keras {keras.__version__}"
    print(note)
    if options.output:
        with open(options.output, "w", newline="") as handle:
            handle.write(f"{note}\n# {time.strftime('%Y-%m-%d')}, seed 0, {options.steps} turns after {options.warm_up}\n")
            writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(lines)


if __name__ == "__main__":
    main()
