"""Show how far a training is: on the line of a terminal, in the cell of a notebook, or as a line an epoch on stderr."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from anomaly.words import counted

if TYPE_CHECKING:
    from anomaly.training.loop import Progress

# Of a notebook's cell: so many seconds lie between two drawings.
_EVERY = 0.25
_WIDTH = 20


class Line(Protocol):
    """A line of a terminal; `anomaly.cli.waiting.Waiting` is one."""

    def now(self, what: str) -> Any:
        """Name the stage that begins."""

    def at(self, share: float, details: str) -> None:
        """Note which share of it is done, and what else there is to say."""

    def say(self, text: str) -> None:
        """Write what stays, above it."""


class ProgressBar:
    """Shows a training: `update` is its `on_step`, `stage` says what comes before the steps and after them.

    Args:
        quiet: show nothing.
        verbose: say how the steps are run, and show the parts of the loss.
        line: of the terminal; None: in a notebook its cell, elsewhere a line an epoch on stderr.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False, line: Line | None = None) -> None:
        self._quiet, self._verbose = quiet, verbose
        self._line = line if line is not None or quiet or not in_notebook() else _Cell()
        self._told = self._stepping = False

    @classmethod
    def of(cls, progress: "bool | ProgressBar | None") -> "ProgressBar":
        """Return what shows a training, as `Detector.fit` takes it: True shows it, False does not, None does in a notebook."""
        if isinstance(progress, ProgressBar):
            return progress
        return cls(quiet=not (in_notebook() if progress is None else progress))

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        """Leave the cell of a notebook with what came out."""
        if isinstance(self._line, _Cell):
            self._line.end("Trained" if kind is None else "Stopped")

    def stage(self, what: str) -> None:
        """Say what begins, such as "Calibrating"; only a line that is drawn anew has room for it."""
        self._stepping = False
        if self._line is not None and not self._quiet:
            self._line.now(what)

    def before(self, on_step: "Callable[[Progress], None] | None") -> "Callable[[Progress], None]":
        """Return what calls `update`, and then `on_step` if there is one."""

        def both(progress: "Progress") -> None:
            self.update(progress)
            if on_step is not None:
                on_step(progress)

        return both

    def update(self, progress: "Progress") -> None:
        """Show where training stands; before the first step, what it trains on."""
        if self._quiet:
            return
        if not self._told:
            self._say(task_text(progress))
            if self._verbose:
                self._say(f"How: {progress.plan}.")
        losses = losses_text(progress, parts=self._verbose)
        if self._line is not None:
            if not self._stepping:
                self._line.now("Training")
            done = (progress.epoch - 1) * progress.steps + progress.step
            self._line.at(done / (progress.epochs * progress.steps), f"epoch {progress.epoch}/{progress.epochs}  {losses}")
        elif progress.ended:
            self._say(f"epoch {progress.epoch}/{progress.epochs}  {losses}")
        self._told = self._stepping = True

    def _say(self, text: str) -> None:
        if self._line is not None:
            self._line.say(text)
        else:
            print(text, file=sys.stderr, flush=True)  # noqa: T201


class _Cell:
    """What a notebook shows below a cell: what was said, and a line that is drawn anew."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._what = self._details = self._last = ""
        self._began, self._drawn = time.monotonic(), 0.0
        self._handle: Any = None

    def now(self, what: str) -> None:
        self._what, self._details, self._drawn = what, "", 0.0
        self._draw()

    def at(self, share: float, details: str) -> None:
        full, self._last = int(share * _WIDTH), details
        self._details = f"  [{'#' * full}{'.' * (_WIDTH - full)}] {share:.0%}  {details}"
        self._draw()

    def say(self, text: str) -> None:
        self._said.append(text)

    def end(self, what: str) -> None:
        """Say that it is over."""
        self._show(f"{what} in {time.monotonic() - self._began:.0f} s{self._last and f', {self._last}'}.")

    def _draw(self) -> None:
        if time.monotonic() - self._drawn > _EVERY:
            self._show(f"{self._what}{self._details}  {time.monotonic() - self._began:.0f} s")
            self._drawn = time.monotonic()

    def _show(self, line: str) -> None:
        from IPython.display import display

        text = {"text/plain": "\n".join([*self._said, line])}
        if self._handle is None:
            self._handle = display(text, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(text, raw=True)


def in_notebook() -> bool:
    """Tell whether this runs in the kernel of a notebook, whose cells can be drawn anew."""
    found = sys.modules.get("IPython")
    return getattr(found.get_ipython() if found is not None else None, "kernel", None) is not None


def task_text(progress: "Progress") -> str:
    """Say in a line what is trained on, and for how long at most; 80 characters hold it up to ten million rows."""
    rows, features = counted(progress.n_rows, "row"), counted(progress.n_features, "feature")
    return f"Training on {rows} of {features}, in windows of {progress.window_size}; {counted(progress.epochs, 'epoch')} at most."


def losses_text(progress: "Progress", *, parts: bool) -> str:
    """Return the loss of this epoch, with its parts if they are asked for, and that of the held-out rows."""
    text = f"loss {progress.loss:.4f}"
    if parts:
        text += f"  reconstruction {progress.reconstruction_loss:.4f}  penalty {progress.gradient_penalty:.4f}"
    return text if progress.validation_loss is None else f"{text}  held-out {progress.validation_loss:.4f}"
