"""The checkpoint file: whole or absent, of this training or refused; and kill -9 at any moment."""

import os
import random
import signal
import subprocess
import time

import numpy as np
import pytest
from commands import command, here
from conftest import make_series, to_csv
from forked import CODE

from anomaly.errors import BundleError, ConfigError
from anomaly.training.checkpoint import _SNAPSHOTS as SNAPSHOTS
from anomaly.training.checkpoint import CheckpointFile, History, TrainingState
from anomaly.training.step import Plan

IDENTITY = {"units": 4, "direction": (1.0, 2.0), "data": "abc"}


def state(step=3):
    rng = np.random.default_rng(step)
    weights = {"encoder_1/forward/kernel": rng.normal(size=(2, 16)).astype("f"), "output/bias": rng.normal(size=2).astype("f")}
    slots = {"0": np.array(step, np.int64), "1": np.float32(0.1) * np.ones(()), "2": rng.normal(size=(2, 16)).astype("f")}
    history = History([0.5, 0.1 + 0.2], [0.4, 0.3], [0.0, 1e-300], [0.25, 0.5], best_epoch=1, seconds=2.5)
    plan = Plan("two_pass", True, 2, 64)
    best = {name: array + 1 for name, array in weights.items()}
    return TrainingState(7, plan, step, weights, slots, best, 0.25, history, [0.1, 0.2, 0.3], [3, 3, 1])


def assert_equal(first, second):
    for name, value in vars(first).items():
        other = getattr(second, name)
        if isinstance(value, dict):
            assert value.keys() == other.keys()
            for key, array in value.items():
                np.testing.assert_array_equal(array, other[key])
                assert np.asarray(array).dtype == other[key].dtype
        else:
            assert value == other, name


@pytest.fixture
def checkpoint(tmp_path):
    return CheckpointFile(tmp_path / "made.checkpoint", IDENTITY, 0)


def test_what_is_written_is_read(checkpoint):
    assert checkpoint.read() is None
    for step in (3, 4):
        checkpoint.write(state(step))
        assert_equal(checkpoint.read(), state(step))
    checkpoint.remove()
    checkpoint.remove()
    assert checkpoint.read() is None


def test_a_first_state_without_a_best_epoch_is_read_too(checkpoint):
    fresh = TrainingState(1, Plan("none", False, 1, 8), 0, {}, {}, {})
    checkpoint.write(fresh)
    assert_equal(checkpoint.read(), fresh)


@pytest.mark.parametrize("change", [{"units": 5}, {"data": "abd"}, {"new": 1}])
def test_another_training_is_refused_and_the_difference_named(checkpoint, change):
    checkpoint.write(state())
    other = CheckpointFile(checkpoint.path, IDENTITY | change, 0)
    with pytest.raises(ConfigError, match=f"Received: another {next(iter(change))} .*--no-resume"):
        other.read()


def test_every_damaged_byte_is_found(checkpoint):
    checkpoint.write(state())
    content = checkpoint.path.read_bytes()
    for place in range(0, len(content), 7):
        checkpoint.path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises((BundleError, ConfigError)):
            checkpoint.read()
    for size in (0, 1, 8, 100, len(content) - 1):
        checkpoint.path.write_bytes(content[:size])
        with pytest.raises(BundleError, match="must be a whole file"):
            checkpoint.read()


def test_it_is_written_no_more_often_than_asked(tmp_path):
    assert CheckpointFile(tmp_path / "c", {}, 0).is_due()
    assert not CheckpointFile(tmp_path / "c", {}, 3600).is_due()


TRAINING = """
import os, signal, sys
import numpy as np
from anomaly import Detector

def wait_for_the_end(progress, left=iter(range({most}))):
    if next(left, None) is None:
        signal.pause()

print(os.getpid(), flush=True)
t = np.arange(400)
wave = 3 * np.sin(t / 2)[:, None] + np.random.default_rng(0).normal(size=(400, 2))
detector = Detector(**{settings}).fit(wave, on_step=wait_for_the_end, checkpoint="checkpoint", checkpoint_seconds=0, resume=True)
detector.save("result")
"""
SETTINGS = {
    "window_size": 12, "units": 4, "epochs": 8, "steps_per_epoch": 10, "dropout": 0.1, "penalty": "none", "seed": 7,
    "deterministic": True,
}  # fmt: skip


def test_kills_at_random_moments_and_a_resume_give_the_same_file_as_no_kill(tmp_path):
    """Each of the three takes 12 steps at most, and waits then: however fast it is, the 80 steps do not end."""
    killed, whole = (tmp_path / name for name in ("killed", "whole"))
    checkpoint, draw = killed / "checkpoint", random.Random(0)

    def begun(folder, most):
        folder.mkdir(exist_ok=True)
        code = TRAINING.format(settings=SETTINGS, most=most)
        return subprocess.Popen([*command(CODE, code)], cwd=folder, stdout=subprocess.PIPE, text=True)

    def steps():
        return SNAPSHOTS.read(checkpoint)[0]["step"] if checkpoint.exists() else 0

    for _ in range(3):
        wanted = steps() + draw.randint(1, 10)
        with begun(killed, 12) as training:
            child = int(training.stdout.readline())
            while steps() < wanted:
                assert training.poll() is None
                time.sleep(0.002)
            time.sleep(draw.uniform(0, 0.01))  # of a step, or of the writing of a checkpoint
            os.kill(child, signal.SIGKILL)
            assert training.wait() == -signal.SIGKILL
    for folder in (killed, whole):
        with begun(folder, 1000) as training:
            assert training.wait() == 0
    assert (killed / "result").read_bytes() == (whole / "result").read_bytes()
    left = sorted(path.name for path in killed.iterdir() if not path.name.endswith(".tmp"))
    assert left == ["checkpoint", "result"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return to_csv(make_series(spike=None), tmp_path_factory.mktemp("resume") / "made.csv")


def training(data, model, *options):
    """Return the arguments of a command that trains a little."""
    small = ("--window-size", 8, "--units", 4, "--epochs", 3, "--steps-per-epoch", 10, "--seed", 7, "--deterministic")
    return ["train", data, "--model", model, "--overwrite", "--checkpoint-every", 0, *small, *options]


# Compiled anew in each process, and from outside a signal at the same step.
STOPPED = """
import os, signal
from anomaly.cli import cli
from anomaly.training import step
from anomaly.training.checkpoint import CheckpointFile

write = CheckpointFile.write

def write_and_send(self, state):
    write(self, state)
    if state.step == {step}:
        os.kill(os.getpid(), {number})

CheckpointFile.write, step._COMPILE_SECONDS = write_and_send, {seconds}
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
    signal.signal(number, handler)
cli({arguments}, prog_name="anomaly")
"""
COMPILED, NOT_COMPILED = 0, 1000


def trained(arguments, step=0, number=0, seconds=NOT_COMPILED):
    """Train in a process which gets a signal after a step; return its exit code and what was said."""
    code = STOPPED.format(step=step, number=int(number), seconds=seconds, arguments=list(map(str, arguments)))
    ended = subprocess.run(command(CODE, code), capture_output=True, text=True)
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["int", "term"])
def test_a_signal_leaves_a_checkpoint_and_the_old_detector(tmp_path, data, number, code):
    model = tmp_path / "made.anomaly"
    model.write_bytes(b"the old one")
    returned, said = trained(training(data, model), 7, number)
    assert returned == code and "with --resume goes on" in said
    assert SNAPSHOTS.read(tmp_path / "made.anomaly.checkpoint")[0]["step"] in (7, 8)
    assert model.read_bytes() == b"the old one"


def test_a_killed_command_goes_on_where_it_was_told_to_in_a_process_that_compiles_anew(tmp_path, data, monkeypatch):
    model, checkpoint = tmp_path / "made.anomaly", tmp_path / "made.anomaly.checkpoint"
    assert trained(training(data, model), 13, signal.SIGKILL, COMPILED)[0] == -signal.SIGKILL
    kept = SNAPSHOTS.read(checkpoint)[0]
    assert kept["step"] == 13 and Plan(*kept["plan"]).compiled

    refused = here(*training(data, model), code=2)
    assert "--resume to go on" in refused.stderr and checkpoint.exists()

    other = here(*training(data, model, "--resume", "--penalty-weight", 0.5), code=2)
    assert "Received: another penalty_weight" in other.stderr and checkpoint.exists()

    assert here(*training(data, model, "--resume", "--quiet")).stderr == ""
    assert not checkpoint.exists()
    straight = tmp_path / "straight.anomaly"
    monkeypatch.setattr("anomaly.training.step._COMPILE_SECONDS", COMPILED)
    assert here(*training(data, straight, "--quiet")).stderr == ""
    assert straight.read_bytes() == model.read_bytes()
