"""Show on a terminal that a command is at work, where it takes more than two seconds: how far it is, how fast, how much longer."""

import itertools
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from anomaly.ingest.chunks import Chunk

# Nothing is shown before; then so often.
_SILENT, _EVERY = 2.0, 0.25
_WIDTH = 20
_SECONDS_A_MINUTE, _SECONDS_AN_HOUR = 60, 3_600


class Waiting:
    """A line on stderr that is drawn anew while a block runs, and is gone behind it; nothing but on a terminal.

    Args:
        what: is being done, such as "Scoring".
        quiet: show nothing.
        source: the file that is read; where its length is known, it is told how much is left.
    """

    def __init__(self, what: str, *, quiet: bool, source: object = None) -> None:
        self._what, self._shows = what, not quiet and sys.stderr.isatty()
        self._share: float | None = None
        self._details, self._drawn = "", 0
        self._n_rows = self._n_characters = 0
        self._size = _size_of(source) if self._shows else 0
        self._began, self._ended = time.monotonic(), threading.Event()
        self._thread = threading.Thread(target=self._draw_again, daemon=True)

    def __enter__(self) -> Self:
        """Begin to count the time."""
        if self._shows:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        """Take the line away."""
        if self._shows:
            self._ended.set()
            self._thread.join()
            self.clear()

    def clear(self) -> None:
        """Take the line away until it is drawn again, so that other text can stand in its place."""
        if self._drawn:
            sys.stderr.write("\r" + " " * self._drawn + "\r")
            sys.stderr.flush()
            self._drawn = 0

    def read(self, chunk: "Chunk") -> None:
        """Count the records of a chunk."""
        if self._shows:
            self._n_rows += len(chunk.lines)
            self._n_characters += sum(map(len, chunk.lines)) + len(chunk.lines)
            speed = self._n_rows / max(time.monotonic() - self._began, 1e-9)
            self._details = f"{self._n_characters / 1e6:,.0f} MB, {self._n_rows:,} rows, {speed:,.0f} rows/s"
            self._share = min(self._n_characters / self._size, 1.0) if self._size else None

    def step(self, done: int, total: int) -> None:
        """Note how many steps are done, of at most how many."""
        self._share, self._details = done / max(total, 1), f"step {done} of at most {total}"

    def counting(self, on_end: Callable[..., None], total: int) -> Callable[..., None]:
        """Return what calls `on_end`, whose words get a line of their own, and counts how often it was called, of `total` times."""
        done = itertools.count(1)

        def ended(*arguments: Any) -> None:
            self.clear()
            on_end(*arguments)
            n = next(done)
            self._share, self._details = n / max(total, 1), f"{n:,} of {total:,} series"

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
        if self._ended.wait(_SILENT):
            return
        while True:
            width = shutil.get_terminal_size().columns - 1
            line = self.text()[: max(width, 0)]
            sys.stderr.write("\r" + line.ljust(self._drawn))
            sys.stderr.flush()
            self._drawn = len(line)
            if self._ended.wait(_EVERY):
                return


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
