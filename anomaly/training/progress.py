"""Show training on stderr: a bar on a terminal, a line an epoch elsewhere."""

import sys
from types import TracebackType
from typing import Any, Self

from anomaly.training.loop import Progress
from anomaly.words import counted


class ProgressBar:
    """A context manager whose `update` is the `on_step` of `Detector.fit`.

    Args:
        quiet: show nothing.
        verbose: say how the steps are run, and show the parts of the loss.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self._quiet, self._verbose = quiet, verbose
        self._bar: Any = None
        self._task: Any = None
        self._begun = False

    def __enter__(self) -> Self:
        """Start the bar, if there is a terminal to draw it on."""
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), TextColumn("{task.fields[losses]}"))
            self._bar = Bar(*columns, console=Console(stderr=True))
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        """Stop the bar, so that what follows begins on its own line."""
        if self._bar is not None:
            self._bar.stop()

    def update(self, progress: Progress) -> None:
        """Show where training stands; before the first step, what it trains on."""
        if not self._quiet and not self._begun:
            self._say(task_text(progress))
            if self._verbose:
                self._say(f"How: {progress.plan}.")
        self._begun = True
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task("", total=progress.epochs * progress.steps, losses="")
            done = (progress.epoch - 1) * progress.steps + progress.step
            self._bar.update(
                self._task, completed=done, description=f"epoch {progress.epoch}/{progress.epochs}", losses=self._losses(progress)
            )
        elif not self._quiet and progress.step == progress.steps:
            self._say(f"epoch {progress.epoch}/{progress.epochs}  {self._losses(progress)}")

    def _losses(self, progress: Progress) -> str:
        return losses_text(progress, parts=self._verbose)

    @staticmethod
    def _say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)  # noqa: T201


def task_text(progress: Progress) -> str:
    """Say in a line what is trained on, and for how long at most; 80 characters hold it up to ten million rows."""
    rows, features = counted(progress.n_rows, "row"), counted(progress.n_features, "feature")
    return f"Training on {rows} of {features}, in windows of {progress.window_size}; {counted(progress.epochs, 'epoch')} at most."


def losses_text(progress: Progress, *, parts: bool) -> str:
    """Return the loss of this epoch, with its parts if they are asked for, and that of the held-out rows."""
    text = f"loss {progress.loss:.4f}"
    if parts:
        text += f"  reconstruction {progress.reconstruction_loss:.4f}  penalty {progress.gradient_penalty:.4f}"
    return text if progress.validation_loss is None else f"{text}  held-out {progress.validation_loss:.4f}"
