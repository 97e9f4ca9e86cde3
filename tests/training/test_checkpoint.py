"""The checkpoint file: whole or absent, of this training or refused; and kill -9 at any moment."""

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from commands import PLAIN, run
from conftest import make_series, to_csv
from heeding import heeding

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
    import json, os, sys
    from anomaly import Detector
    from anomaly.tensorflow_start import load_tensorflow
    from conftest import make_series

    settings = json.loads(os.environ["SETTINGS"])
    load_tensorflow()
    for folder in sys.stdin:  # a fork for each line: importing TensorFlow takes longer than training
        child = os.fork()
        if child == 0:
            path, result = (os.path.join(folder.strip(), name) for name in ("checkpoint", "result"))
            detector = Detector(**settings).fit(make_series()[:400], checkpoint=path, checkpoint_seconds=0, resume=True)
            detector.save(result)
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_ten_kills_at_random_moments_and_a_resume_give_the_same_file_as_no_kill(tmp_path):
    settings = {"window_size": 12, "units": 4, "epochs": 16, "steps_per_epoch": 25, "seed": 7, "deterministic": True}
    environment = os.environ | {
        "SETTINGS": json.dumps(settings | {"dropout": 0.1, "penalty": "none"}),
        "PYTHONPATH": os.path.dirname(os.path.dirname(__file__)),
    }

    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    trainer = subprocess.Popen([sys.executable, "-c", textwrap.dedent(TRAINING)], **pipes, text=True, env=environment)

    def begin(name):
        (tmp_path / name).mkdir(exist_ok=True)
        trainer.stdin.write(f"{tmp_path / name}\n")
        trainer.stdin.flush()
        return int(trainer.stdout.readline())

    def ended():
        return int(trainer.stdout.readline())

    draw, checkpoint, kills = random.Random(0), tmp_path / "killed" / "checkpoint", 0
    with trainer:
        begin("whole")
        assert ended() == 0
        while kills < 10:
            child, seen = begin("killed"), checkpoint.stat().st_mtime_ns if checkpoint.exists() else None
            while not checkpoint.exists() or checkpoint.stat().st_mtime_ns == seen:  # some progress each time
                time.sleep(0.002)
            time.sleep(draw.uniform(0, 0.1))
            os.kill(child, signal.SIGKILL)
            code = ended()
            assert code in (-signal.SIGKILL, 0)
            if code == 0:
                break
            kills += 1
        assert kills == 10, "the training is too short to be killed ten times"
        begin("killed")
        assert ended() == 0
    assert (tmp_path / "killed" / "result").read_bytes() == (tmp_path / "whole" / "result").read_bytes()
    left = sorted(path.name for path in (tmp_path / "killed").iterdir() if not path.name.endswith(".tmp"))
    assert left == ["checkpoint", "result"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return to_csv(make_series(spike=None), tmp_path_factory.mktemp("resume") / "made.csv")


def training(data, model, *options):
    """Return the arguments of a command that trains for some seconds."""
    small = ("--window-size", 8, "--units", 4, "--epochs", 6, "--steps-per-epoch", 50, "--seed", 7, "--deterministic")
    return ["train", data, "--model", model, "--overwrite", *small, *options]


def stopped(data, model, number):
    """Train until there is a checkpoint, send a signal, return exit code and what was said."""
    command = heeding([*PLAIN, *training(data, model, "--checkpoint-every", 0)])
    first, checkpoint = subprocess.Popen(command, stderr=subprocess.PIPE, text=True), model.with_name(model.name + ".checkpoint")
    while not checkpoint.exists():
        assert first.poll() is None
        time.sleep(0.01)
    first.send_signal(number)
    _, said = first.communicate()
    assert SNAPSHOTS.read(checkpoint)[0]["step"] >= 1
    return first.returncode, said


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["int", "term"])
def test_a_signal_leaves_a_checkpoint_and_the_old_detector(tmp_path, data, number, code):
    model = tmp_path / "made.anomaly"
    model.write_bytes(b"the old one")
    returned, said = stopped(data, model, number)
    assert returned == code and "with --resume goes on" in said
    assert model.read_bytes() == b"the old one"


def test_a_killed_command_goes_on_where_it_was_told_to(tmp_path, data):
    model, checkpoint = tmp_path / "made.anomaly", tmp_path / "made.anomaly.checkpoint"
    assert stopped(data, model, signal.SIGKILL)[0] == -signal.SIGKILL

    refused = run(*training(data, model), code=2)
    assert "--resume to go on" in refused.stderr and checkpoint.exists()

    other = run(*training(data, model, "--resume", "--penalty-weight", 0.5), code=2)
    assert "Received: another penalty_weight" in other.stderr and checkpoint.exists()

    assert run(*training(data, model, "--resume", "--quiet")).stderr == ""
    assert not checkpoint.exists()
    straight = tmp_path / "straight.anomaly"
    assert run(*training(data, straight, "--quiet")).stderr == ""
    assert straight.read_bytes() == model.read_bytes()
