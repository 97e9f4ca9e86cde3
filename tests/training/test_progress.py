"""What a training says while it runs, where there is no terminal: what it trains on, and a line an epoch."""

import pytest

from anomaly.training.loop import Progress
from anomaly.training.progress import ProgressBar

PLAN = "penalty by two_pass, compiled by XLA, 2 shards of 32 windows"
TASK = "Training on 1,520 rows of 1 feature, in windows of 24; 40 epochs at most."


def said(capsys, **options):
    """Return the lines of a training of two epochs of two steps, on standard error."""
    with ProgressBar(**options) as bar:
        for epoch, step in ((1, 1), (1, 2), (2, 1), (2, 2)):
            held_out = None if epoch == 1 else 0.5
            bar.update(Progress(epoch, 40, step, 2, 0.25, 0.2, 0.05, held_out, PLAN, n_rows=1520, n_features=1, window_size=24))
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
