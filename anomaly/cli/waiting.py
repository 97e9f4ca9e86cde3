"""Show on a terminal that a command is at work, where it takes more than two seconds: what it does, how far, how much longer.

Every command runs inside of such a line, see `anomaly.cli.help.GroupedCommand`, and names its stages; so none can be silent.
"""

import contextlib
import itertools
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from anomaly.ingest.chunks import Chunk

# Nothing is shown before; then so often.
_SILENT, _EVERY = 2.0, 0.25
_WIDTH = 20
_SECONDS_A_MINUTE, _SECONDS_AN_HOUR = 60, 3_600


class Waiting:
    """A line on stderr that is drawn anew while a block runs, and is gone behind it.

    Args:
        shows: whether it is drawn at all; nobody looks at a pipe.
    """

    def __init__(self, *, shows: bool) -> None:
        self.shows = shows
        self._what, self._details = "Working", ""
        self._share: float | None = None
        self._drawn = self._size = self._n_rows = self._n_characters = 0
        self._began, self._ended = time.monotonic(), threading.Event()
        self._pen = threading.RLock()  # who holds it may write to the terminal
        self._thread: threading.Thread | None = None
        self._screen: IO[str] | None = None

    def __enter__(self) -> Self:
        """Begin to count the time; `current` is this line from now on."""
        _lines.append(self)
        if self.shows:
            # Its own descriptor: standard error leads elsewhere while TensorFlow is imported.
            self._screen = open(os.dup(sys.stderr.fileno()), "w", errors="replace")
            self._thread = threading.Thread(target=self._draw_again, daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # the system allows no further thread: the work goes on without a line
                self._screen.close()
                self._thread = self._screen = None
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        """Take the line away."""
        _lines.remove(self)
        if self._thread is not None and self._screen is not None:
            self._ended.set()
            self._thread.join()
            self._clear()
            with contextlib.suppress(OSError):
                self._screen.close()
            self._thread = self._screen = None

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Keep the line away while other text is written in its place."""
        with self._pen:
            self._clear()
            yield

    def say(self, text: str) -> None:
        """Write a line that stays."""
        with self.aside():
            print(text, file=sys.stderr, flush=True)  # noqa: T201

    def now(self, what: str, source: object = None) -> Self:
        """Name the stage that begins; how far it is, and its time, are counted anew.

        Args:
            what: is done, such as "Scoring".
            source: the file that is read; where its length is known, it is told how much is left.
        """
        with self._pen:
            self._what, self._share, self._details, self._began = what, None, "", time.monotonic()
            self._n_rows = self._n_characters = 0
            self._size = _size_of(source) if self.shows else 0
        return self

    def at(self, share: float, details: str) -> None:
        """Note which share of the stage is done, and what else there is to say."""
        with self._pen:
            self._share, self._details = share, details

    def read(self, chunk: "Chunk") -> None:
        """Count the records of a chunk."""
        if self.shows:
            self._n_rows += len(chunk.lines)
            self._n_characters += sum(map(len, chunk.lines)) + len(chunk.lines)
            speed = self._n_rows / max(time.monotonic() - self._began, 1e-9)
            self._details = f"{self._n_characters / 1e6:,.0f} MB, {self._n_rows:,} rows, {speed:,.0f} rows/s"
            self._share = min(self._n_characters / self._size, 1.0) if self._size else None

    def rows(self, done: int, total: int) -> None:
        """Note how many rows are done, of how many."""
        self.at(done / max(total, 1), f"{done:,} of {total:,} rows")

    def step(self, done: int, total: int) -> None:
        """Note how many steps are done, of at most how many."""
        self.at(done / max(total, 1), f"step {done} of at most {total}")

    def series(self, done: int, total: int) -> None:
        """Note how many series are done, of how many."""
        self.at(done / max(total, 1), f"{done:,} of {total:,} series")

    def counting(self, on_end: Callable[..., None], total: int) -> Callable[..., None]:
        """Return what calls `on_end`, and counts how often it was called, of `total` times."""
        done = itertools.count(1)

        def ended(*arguments: Any) -> None:
            on_end(*arguments)
            self.series(next(done), total)

        return ended

    def text(self) -> str:
        """Return the line as it is now."""
        seconds = time.monotonic() - self._began
        parts = [self._what]
        if self._share is not None:
            full = int(self._share * _WIDTH)
            parts.append(f"[{'#' * full}{'.' * (_WIDTH - full)}] {self._share:.0%}")
        parts += [self._details] if self._details else []
        left = f", {_spoken(seconds / self._share - seconds)} left" if self._share else ""
        return "  ".join([*parts, _spoken(seconds) + left])

    def _draw_again(self) -> None:
        wait = _SILENT
        while not self._ended.wait(wait):
            wait = _EVERY
            with self._pen:
                line = self.text()[: max(shutil.get_terminal_size().columns - 1, 0)]
                self._write("\r" + line.ljust(self._drawn))
                self._drawn = len(line)

    def _clear(self) -> None:
        if self._drawn:
            self._write("\r" + " " * self._drawn + "\r")
            self._drawn = 0

    def _write(self, text: str) -> None:
        if self._screen is not None:
            with contextlib.suppress(OSError):  # a terminal that is gone takes nothing away
                self._screen.write(text)
                self._screen.flush()


# Those that are shown, the innermost last; the first is for what runs outside of a command.
_lines = [Waiting(shows=False)]


def current() -> Waiting:
    """Return the line of the command that runs."""
    return _lines[-1]


def _size_of(source: object) -> int:
    """Return the bytes of a plain file; 0 where nobody knows how much text there will be."""
    if not isinstance(source, (str, Path)) or str(source) == "-" or not Path(source).is_file():
        return 0
    with open(source, "rb") as handle:
        start = handle.read(4)
    return 0 if start[:2] == b"\x1f\x8b" or start == b"PAR1" else Path(source).stat().st_size


def _spoken(seconds: float) -> str:
    """Return a time as people read it: 7 s, 2:05, 1:00:09."""
    whole = round(seconds)
    if whole < _SECONDS_A_MINUTE:
        return f"{whole} s"
    minutes, rest = divmod(whole, _SECONDS_A_MINUTE)
    if whole < _SECONDS_AN_HOUR:
        return f"{minutes}:{rest:02}"
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
