"""What a training says while it runs, where there is no terminal: what it trains on, and a line an epoch."""

import numpy as np
import pytest

from anomaly import Detector
from anomaly.training import progress as progress_module
from anomaly.training.loop import Progress
from anomaly.training.progress import ProgressBar

PLAN = "penalty by two_pass, compiled by XLA, 2 shards of 32 windows"
TASK = "Training on 1,520 rows of 1 feature, in windows of 24; 40 epochs at most."


def train(**options):
    """Show a training of two epochs of two steps."""
    with ProgressBar(**options) as bar:
        bar.stage("Preparing")
        for epoch, step in ((1, 1), (1, 2), (2, 1), (2, 2)):
            held_out = None if epoch == 1 else 0.5
            how = {"n_rows": 1520, "n_features": 1, "window_size": 24, "ended": step == 2}
            bar.update(Progress(epoch, 40, step, 2, 0.25, 0.2, 0.05, held_out, PLAN, **how))
        bar.stage("Calibrating")


def said(capsys, **options):
    """Return its lines on standard error."""
    train(**options)
    found = capsys.readouterr()
    assert found.out == ""
    return found.err.splitlines()


def test_a_training_says_what_it_trains_on_and_where_it_stands(capsys):
    assert said(capsys) == [TASK, "epoch 1/40  loss 0.2500", "epoch 2/40  loss 0.2500  held-out 0.5000"]


def test_how_the_steps_are_run_and_the_penalty_are_said_only_where_they_are_asked_for(capsys):
    parts = "loss 0.2500  reconstruction 0.2000  penalty 0.0500"
    assert said(capsys, verbose=True) == [TASK, f"How: {PLAN}.", f"epoch 1/40  {parts}", f"epoch 2/40  {parts}  held-out 0.5000"]


@pytest.mark.parametrize("verbose", [False, True])
def test_quiet_wins(capsys, verbose):
    assert said(capsys, quiet=True, verbose=verbose) == []


class Line:
    """Notes what a terminal is asked to show."""

    def __init__(self):
        self.asked = []

    def now(self, what):
        self.asked.append(what)

    def at(self, share, details):
        self.asked.append((share, details))

    def say(self, text):
        self.asked.append(f"said: {text}")


def test_on_a_terminal_the_line_shows_every_step_and_what_lies_around_them(capsys):
    line = Line()
    assert said(capsys, line=line) == []
    steps = [
        (1 / 80, "epoch 1/40  loss 0.2500"),
        (2 / 80, "epoch 1/40  loss 0.2500"),
        (3 / 80, "epoch 2/40  loss 0.2500  held-out 0.5000"),
        (4 / 80, "epoch 2/40  loss 0.2500  held-out 0.5000"),
    ]
    assert line.asked == ["Preparing", f"said: {TASK}", "Training", *steps, "Calibrating"]


def test_quiet_wins_over_a_line():
    line = Line()
    train(line=line, quiet=True)
    assert line.asked == []


@pytest.fixture
def cell(monkeypatch):
    """Return what a notebook shows below its cell, in order; the last is what stays."""
    display = pytest.importorskip("IPython.display")
    shown = []

    class Handle:
        def update(self, data, *, raw):
            shown.append(data["text/plain"])

    def show(data, *, raw, display_id):
        shown.append(data["text/plain"])
        return Handle()

    monkeypatch.setattr(display, "display", show)
    monkeypatch.setattr(progress_module, "in_notebook", lambda: True)
    monkeypatch.setattr(progress_module, "_EVERY", -1.0)
    return shown


def test_a_notebook_shows_one_text_that_is_drawn_anew_and_stays(capsys, cell):
    assert said(capsys) == []
    assert cell[0] == "Preparing  0 s"
    assert f"{TASK}\nTraining  [#...................] 5%  epoch 2/40  loss 0.2500  held-out 0.5000  0 s" in cell
    assert cell[-1] == f"{TASK}\nTrained in 0 s, epoch 2/40  loss 0.2500  held-out 0.5000."


def test_what_was_stopped_says_so_in_a_notebook(cell):
    with pytest.raises(KeyboardInterrupt), ProgressBar() as bar:
        bar.stage("Preparing")
        raise KeyboardInterrupt
    assert cell[-1] == "Stopped in 0 s."


@pytest.mark.parametrize(
    ("asked", "is_notebook", "shows"),
    [
        (None, False, False),
        (None, True, True),
        (True, False, True),
        (True, True, True),
        (False, True, False),
        (False, False, False),
    ],
)
def test_without_a_word_only_a_notebook_shows_a_training(asked, is_notebook, shows, monkeypatch):
    monkeypatch.setattr(progress_module, "in_notebook", lambda: is_notebook)
    assert ProgressBar.of(asked)._quiet is not shows
    own = ProgressBar(quiet=True)
    assert ProgressBar.of(own) is own


def test_fit_shows_itself_and_calls_on_step_too(capsys):
    calls = []
    values = np.sin(np.arange(300) / 5)[:, None]
    detector = Detector(window_size=8, epochs=2, steps_per_epoch=2, seed=0)
    detector.fit(values, progress=True, on_step=calls.append)
    assert [(call.epoch, call.step) for call in calls] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    losses = zip(detector.history_["loss"], detector.history_["validation_loss"], strict=True)
    lines = [f"epoch {epoch}/2  loss {loss:.4f}  held-out {held_out:.4f}" for epoch, (loss, held_out) in enumerate(losses, 1)]
    assert capsys.readouterr().err.splitlines()[1:] == lines
    detector.fit(values)
    assert capsys.readouterr().err == ""


def test_a_plain_program_is_no_notebook():
    assert not progress_module.in_notebook()
