#!/usr/bin/env python3
"""Time one training step: ours beside stock Keras and PyTorch, alternating in one run; print and write ratios.

    python scripts/benchmarks/training.py --output scripts/benchmarks/results/training.csv

Every contestant takes the same step: forward, loss, gradients, global norm clipped to 1, Adam. PyTorch takes part if
it is installed (`pip install torch==2.13.0`). The floor is the number of floating-point operations of the matrix
products that a step cannot do without, over the rate of this machine at a large matrix product. Contestants take turns
in an order that is drawn anew each time, so that a slow minute is everyone's; the medians are over `--steps`
turns after `--warm-up`.

Below the table stand the ratios, the time to the first step and the peak memory of fresh processes, and where the
time of a two_pass step goes: programs that stop earlier and earlier are timed, and the differences told.
"""

import argparse
import csv
import importlib.util
import os
import subprocess
import sys
import time
from functools import partial

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from processor import described

SIZES = ((64, 64, 4, 64), (128, 128, 38, 128), (256, 32, 1, 32))  # batch, window, features, units
WEIGHT, RATE = 0.01, 1e-3
OURS = {
    "ours plain": {"penalty": "none"},
    "ours exact": {"penalty_method": "exact", "penalty_every": 1},
    "ours two_pass": {"penalty_method": "two_pass", "penalty_every": 1},
    "ours two_pass every 4": {"penalty_method": "two_pass", "penalty_every": 4},
}
PYTORCH = ("plain", "exact", "two_pass")
COLUMNS = ("batch", "window", "features", "units", "contestant", "median_ms", "least_ms", "times_plain", "times_floor", "steps")


def ours(settings, size):
    """Return a function of number and windows that takes one step of ours."""
    from anomaly.config import DetectorConfig
    from anomaly.network.model import build_autoencoder, get_weights
    from anomaly.training.step import Engine, choose_plan

    batch, window, features, units = size
    config = DetectorConfig.from_settings({"units": units, "batch_size": batch, "penalty_weight": WEIGHT} | settings)
    plan = choose_plan(config, window, features, batch, 10**6)
    engine = Engine(config, get_weights(build_autoencoder(config.network, window, features)), window, plan)
    every = config.penalty.penalty_every
    return lambda n, x: engine.step(x, x, 0, n, RATE, with_penalty=n % every == 0)


def stock_keras(exact, size):
    """Return a step of the stock Keras model by tapes."""
    import keras
    import tensorflow as tf

    from anomaly.config import NetworkConfig, PenaltyConfig
    from anomaly.network.model import build_autoencoder
    from anomaly.training.penalty import exact_objective, plain_objective

    batch, window, features, units = size
    network = build_autoencoder(NetworkConfig(units=units), window, features)
    optimizer = keras.optimizers.Adam(RATE, global_clipnorm=1.0)
    optimizer.build(network.trainable_variables)

    @tf.function(input_signature=[tf.TensorSpec((batch, window, features))])
    def step(x):
        found = exact_objective(network, x, PenaltyConfig(), WEIGHT) if exact else plain_objective(network, x)
        optimizer.apply(found.gradients, network.trainable_variables)
        return found.loss

    return lambda n, x: step(x).numpy()


def pytorch(method, size):
    """Return a step of the same network with torch.nn.LSTM."""
    import torch

    batch, window, features, units = size

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = torch.nn.LSTM(features, units, batch_first=True)
            self.decoder = torch.nn.LSTM(units, units, batch_first=True)
            self.output = torch.nn.Linear(units, features)

        def forward(self, x):
            _, state = self.encoder(x)
            decoded, _ = self.decoder(state[0][0][:, None].expand(-1, x.shape[1], -1), state)
            return torch.flip(self.output(decoded), (1,))

    torch.manual_seed(0)
    network = Network()
    parameters = list(network.parameters())
    optimizer, n = torch.optim.Adam(parameters, RATE), window * features

    def losses(x, target):
        return ((network(x) - target) ** 2).mean((1, 2))

    def step(number, windows):
        x = torch.from_numpy(windows)
        optimizer.zero_grad()
        if method == "plain":
            losses(x, x).mean().backward()
        elif method == "exact":
            moving = x.clone().requires_grad_()
            found = losses(moving, x)
            (gradient,) = torch.autograd.grad(found.sum(), moving, create_graph=True)
            (found.mean() + WEIGHT * ((n * gradient) ** 2).mean()).backward()
        else:
            moving = x.clone().requires_grad_()
            raw, *here = torch.autograd.grad(losses(moving, x).sum(), [moving, *parameters])
            direction = 2 * n * raw
            distance = 3e-4 / direction.square().mean().sqrt()
            there = torch.autograd.grad(losses(x + distance * direction, x).sum(), parameters)
            for parameter, a, b in zip(parameters, here, there, strict=True):
                parameter.grad = (a + WEIGHT * (b - a) / distance) / batch
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    return step


class Worker:
    """PyTorch in a process of its own: in one process with TensorFlow it crashes. It times its own steps."""

    def __init__(self, size):
        command = [sys.executable, __file__, "--worker", "--size", ",".join(map(str, size))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def step(self, method, number, windows):
        """Return the seconds of one step."""
        self._process.stdin.write(f"{method}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


def work(size):
    """Take a step for each line of standard input that names a method."""
    steps, rng = {method: pytorch(method, size) for method in PYTORCH}, np.random.default_rng(0)
    for number, line in enumerate(sys.stdin):
        windows = rng.normal(size=size[:3]).astype(np.float32)
        began = time.perf_counter()
        steps[line.strip()](number, windows)
        sys.stdout.write(f"{time.perf_counter() - began}\n")
        sys.stdout.flush()


def contestants(size):
    """Yield names and steps."""
    for name, settings in OURS.items():
        yield name, ours(settings, size)
    yield "Keras plain", stock_keras(False, size)
    yield "Keras exact", stock_keras(True, size)
    if importlib.util.find_spec("torch"):
        worker = Worker(size)
        for method in PYTORCH:
            yield f"PyTorch {method}", partial(worker.step, method)


def operations(size, penalised):
    """Floating-point operations of the products that a step needs: forward, backward, weights; twice with a penalty.

    The decoder's input is the same at every timestep, so its projection counts once.
    """
    batch, window, features, units = size
    by_timestep = features * 4 * units + 2 * units * 4 * units + units * features
    return 2 * 3 * batch * (window * by_timestep + units * 4 * units) * (2 if penalised else 1)


def matrix_rate():
    """Return floating-point operations a second at a large matrix product, the best of several."""
    import tensorflow as tf

    a = tf.random.normal((2048, 2048))
    best = np.inf
    for _ in range(10):
        began = time.perf_counter()
        tf.matmul(a, a)[0, 0].numpy()
        best = min(best, time.perf_counter() - began)
    return 2 * 2048**3 / best


def measure(size, steps, warm_up, rate):
    """Return the lines of one size."""
    rng = np.random.default_rng(0)
    batches = [rng.normal(size=size[:3]).astype(np.float32) for _ in range(8)]
    runners = dict(contestants(size))
    times, order = {name: [] for name in runners}, np.random.default_rng()
    for turn in range(-warm_up, steps):
        for name in order.permutation(list(runners)):  # nobody always comes after the same one
            step = runners[name]
            began = time.perf_counter()
            taken = step(turn + warm_up, batches[turn % 8])
            if turn >= 0:
                times[name].append(taken if name.startswith("PyTorch") else time.perf_counter() - began)
    # Three of four steps of "every 4" are plain: its step is the mean, not the median.
    middle = {name: np.mean(t) if "every" in name else np.median(t) for name, t in times.items()}
    for name, taken in times.items():
        plain = middle[f"{name.split()[0]} plain"]
        floor = operations(size, penalised="plain" not in name) / rate
        figures = (1e3 * middle[name], 1e3 * min(taken), middle[name] / plain, middle[name] / floor)
        yield dict(zip(COLUMNS, (*size, name, *figures, len(taken)), strict=True))


def ratios(rows):
    """Yield what the design asks for, a line a size."""
    for size in SIZES:
        found = {r["contestant"]: r for r in rows if (r["batch"], r["window"], r["features"], r["units"]) == size}
        if not found:
            continue
        ms = {name: row["median_ms"] for name, row in found.items()}
        best = min("ours exact", "ours two_pass", key=ms.__getitem__)
        said = [f"two_pass / plain {ms['ours two_pass'] / ms['ours plain']:.2f}"]
        said.append(f"every 4 / plain {ms['ours two_pass every 4'] / ms['ours plain']:.2f}")
        said.append(f"{best} / floor {found[best]['times_floor']:.2f}")
        if "PyTorch plain" in ms:
            said.append(f"ours plain / PyTorch plain {ms['ours plain'] / ms['PyTorch plain']:.2f}")
            said.append(f"PyTorch exact / {best} {ms['PyTorch exact'] / ms[best]:.1f}")
        yield f"{size}: " + ", ".join(said)


def profile(size, turns):
    """Return a line that says where the milliseconds of a two_pass step go."""
    import tensorflow as tf

    from anomaly.config import DetectorConfig
    from anomaly.network.model import build_autoencoder, get_weights
    from anomaly.network.passes import Passes
    from anomaly.training.gradients import first_order
    from anomaly.training.step import choose_plan

    batch, window, features, units = size
    config = DetectorConfig.from_settings({"units": units, "batch_size": batch, "penalty_method": "two_pass", "penalty_every": 1})
    plan = choose_plan(config, window, features, batch, 10**6)
    weights = {name: tf.constant(a) for name, a in get_weights(build_autoencoder(config.network, window, features)).items()}

    def forward(x):
        return Passes(config.network, weights, x.shape, None, tangents=False).forward(x)

    def backward(x):
        passes = Passes(config.network, weights, x.shape, None, tangents=False)
        return passes.backward(passes.forward(x) - x)

    def everything(x):
        found = first_order(config.network, weights, x, tf.identity(x), None)
        return found.by_input, list(found.by_weight.values())

    x = np.random.default_rng(0).normal(size=size[:3]).astype(np.float32)
    step, n = ours(OURS["ours two_pass"], size), [0]

    def whole():
        n[0] += 1
        step(n[0], x)

    runners = {"step": whole}
    for name, function in (("forward", forward), ("backward", backward), ("everything", everything)):
        compiled = tf.function(function, jit_compile=True, autograph=False)

        def sharded(windows, compiled=compiled):
            return [tf.nest.map_structure(lambda a: a[..., -1:], compiled(shard)) for shard in tf.split(windows, plan.shards)]

        traced = tf.function(sharded, autograph=False).get_concrete_function(tf.TensorSpec(size[:3]))
        runners[name] = lambda traced=traced: [a.numpy() for a in tf.nest.flatten(traced(tf.constant(x)))]
    times = {name: [] for name in runners}
    for turn in range(-3, turns):
        for name, run in runners.items():
            began = time.perf_counter()
            run()
            if turn >= 0:
                times[name].append(time.perf_counter() - began)
    ms = {name: 1e3 * float(np.median(t)) for name, t in times.items()}
    parts = {
        "2 forward passes": 2 * ms["forward"],
        "2 backward passes": 2 * (ms["backward"] - ms["forward"]),
        "2 x weight gradients": 2 * (ms["everything"] - ms["backward"]),
        "penalty, sums, clipping, Adam, calls": ms["step"] - 2 * ms["everything"],
    }
    return f"a two_pass step of {ms['step']:.1f} ms: " + ", ".join(f"{name} {value:.1f}" for name, value in parts.items())


def first_step(size, name):
    """Time a fresh engine's first step, TensorFlow imported before; print seconds and peak memory in MB."""
    import keras  # noqa: F401 - 4 to 8 s, and not the engine's

    windows = np.random.default_rng(0).normal(size=size[:3]).astype(np.float32)
    began = time.perf_counter()
    step = ours(OURS[name], size)
    step(0, windows)
    seconds = time.perf_counter() - began
    for n in range(1, 20):
        step(n, windows)
    sys.stdout.write(f"{seconds:.2f} {peak_megabytes():.0f}\n")


def peak_megabytes():
    """Return this process's peak memory; `getrusage` would count what its parent had before it."""
    with open("/proc/self/status") as handle:
        return next(int(line.split()[1]) for line in handle if line.startswith("VmHWM")) / 1024


def fresh(size, name):
    """Run `first_step` in a process of its own."""
    command = [sys.executable, __file__, "--only-first-step", name, "--size", ",".join(map(str, size))]
    seconds, megabytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(seconds), float(megabytes)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--warm-up", type=int, default=4)
    parser.add_argument("--size", action="append", help="batch,window,features,units; default: three of them")
    parser.add_argument("--output")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--only-first-step", choices=OURS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sizes = [tuple(map(int, text.split(","))) for text in arguments.size] if arguments.size else SIZES
    if arguments.worker:
        work(sizes[0])
        return
    if arguments.only_first_step:
        first_step(sizes[0], arguments.only_first_step)
        return
    from anomaly.bundle.bundle import library_versions
    from anomaly.report.tables import aligned

    rate, rows, notes = matrix_rate(), [], []
    for size in sizes:
        rows += measure(size, arguments.steps, arguments.warm_up, rate)
    notes.append(f"{described()}, {rate / 1e9:.0f} GFLOP/s; {library_versions()}")
    notes.append(f"{time.strftime('%Y-%m-%d')}, seed 0, {arguments.steps} turns after {arguments.warm_up}")
    notes += ratios(rows)
    for size in (*sizes[:2], (64, 512, 4, 64)):
        told = [
            f"{name[5:]} {seconds:.1f} s, {megabytes:.0f} MB"
            for name in list(OURS)[:3]
            for seconds, megabytes in [fresh(size, name)]
        ]
        notes.append(f"{size} first step and peak memory: " + "; ".join(told))
    notes += [f"{size} {profile(size, min(15, arguments.steps))}" for size in sizes]
    text = [tuple(f"{row[c]:.4g}" if isinstance(row[c], float) else str(row[c]) for c in COLUMNS) for row in rows]
    sys.stdout.write(aligned([COLUMNS, *text], right=(0, 1, 2, 3, *range(5, len(COLUMNS)))) + "\n".join(notes) + "\n")
    if arguments.output:
        with open(arguments.output, "w", newline="") as handle:
            handle.writelines(f"# {note}\n" for note in notes)
            writer = csv.DictWriter(handle, COLUMNS)
            writer.writeheader()
            writer.writerows({name: f"{v:.6g}" if isinstance(v, float) else v for name, v in row.items()} for row in rows)


if __name__ == "__main__":
    main()
