"""Show training on stderr: a bar on a terminal, a line an epoch elsewhere."""

import sys
from types import TracebackType
from typing import Any, Self

from anomaly.training.loop import Progress


class ProgressBar:
    """A context manager whose `update` is the `on_step` of `Detector.fit`.

    Args:
        quiet: show nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
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
        """Show where training stands; before the first step, how it is run."""
        if not self._quiet and not self._begun:
            print(progress.plan, file=sys.stderr, flush=True)  # noqa: T201
        self._begun = True
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task("", total=progress.epochs * progress.steps, losses="")
            done = (progress.epoch - 1) * progress.steps + progress.step
            self._bar.update(
                self._task, completed=done, description=f"epoch {progress.epoch}/{progress.epochs}", losses=losses_text(progress)
            )
        elif not self._quiet and progress.step == progress.steps:
            print(f"epoch {progress.epoch}/{progress.epochs}  {losses_text(progress)}", file=sys.stderr, flush=True)  # noqa: T201


def losses_text(progress: Progress) -> str:
    """Return the parts of the loss side by side."""
    text = f"loss {progress.loss:.4f}  reconstruction {progress.reconstruction_loss:.4f}  penalty {progress.gradient_penalty:.4f}"
    return text if progress.validation_loss is None else f"{text}  held-out {progress.validation_loss:.4f}"
