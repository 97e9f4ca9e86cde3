"""How far a scoring run has come, kept through a crash: `anomaly score --resume`.

Two files stand beside the output while the run is under way. `.NAME.partial` holds the rows so far and becomes the output
at the end; `.NAME.progress`, the journal, has a line for the run and a line for each time it made sure of its rows:

    {"identity": {...}}                                                what the rows depend on beside the input
    {"rows": .., "read": .., "size": .., "input": .., "output": .., "scores": .., "flagged": ..}

`rows` rows are in the first `size` bytes of the partial output; they depend on the first `read` rows of the input; `input`
and `output` are SHA-256 of both; `scores` counts their scores, see `anomaly.scoring.drift`. `flagged` holds the flagged rows since
the line before, with their scores to the last bit. A line begins with a checksum of itself and all lines before it, and is
written once the rows are on the disk. A cut or damaged end therefore costs the last lines, and nothing else.

A run that goes on reads its input from the start: that is quick beside the network, counts again what is tolerated,
and shows whether the rows are still the same. Windows that no row to be written depends on skip the network. A block of windows
is run when its last row is pushed, so these are the blocks run before the first row that it takes, and all others
hold the same windows as ever: the scores are the same to the last bit. Events depend on flagged rows alone.
"""

import base64
import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np

from anomaly.bundle.bundle import library_versions
from anomaly.errors import ConfigError, DataError, StorageError
from anomaly.ingest.chunks import Chunk
from anomaly.network.inference import Reconstruct
from anomaly.scoring.drift import Counts
from anomaly.scoring.scores import flags
from anomaly.series import Float32s, Floats, Ints
from anomaly.storage.writing import GrowingFile, exclusive, is_special, remove, resolved, storage_errors

FORMAT_VERSION = 3
SECONDS = 2.0
# Between two pieces it can be made sure of the rows; thousands of rows take a second or so.
_PIECE_ROWS = 4_096
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class _Mark:
    """Up to where all is right; see above for the first six."""

    rows: int = 0
    read: int = 0
    size: int = 0
    input: str = ""
    output: str = ""
    scores: Counts = ()
    n_flagged: int = 0  # tables of flagged rows that wait to be written


class Journal:
    """The journal of one run, and what it has written; `journalled` makes one.

    Args:
        target: the output.
        seconds: least time between two lines.
        say: receives a sentence where a run goes on, or cannot.

    Attributes:
        rows: rows that runs before this one have written.
        kept: rows that would not have to be scored again.
        scores: of the rows that runs before this one have written, counted.
    """

    def __init__(self, target: Path, seconds: float, say: Callable[[str], None]) -> None:
        self.rows = self.kept = 0
        self.scores: Counts = ()
        self._target, self._seconds, self._say = target, seconds, say
        self._open: list[GrowingFile] = []
        self._start = self._mark = self._noted = _Mark()
        self._name, self._chain, self._time = "", "", time.monotonic()
        self._input, self._output = _Digest(), hashlib.sha256()
        self._read = self._scored = 0
        self._is_old = self._ended = False
        self._waiting: list[Floats] = []
        self._flagged: Iterator[Floats] = iter(())
        self._recalled: Floats | None = None

    def begin(self, identity: dict[str, Any], name: str) -> None:
        """Find out where to begin.

        Args:
            identity: what the rows depend on beside the input; a run goes on with the same only.
            name: of the input, for messages.

        Raises:
            ConfigError: if a run with another identity stands here.
            StorageError: if the system refuses.
        """
        self._name = name
        identity = json.loads(json.dumps(identity | {"format of the journal": FORMAT_VERSION} | _versions()))
        partial, log = _files_of(self._target)
        was_there = partial.exists() and log.exists()
        found = self._find(identity, partial, log) if was_there else None
        self._open = [GrowingFile(partial), GrowingFile(log)]
        if found:
            self._start, end, self._chain, self._output = found
            self._open[0].cut(self._start.size)
            self._open[1].cut(end)
            self._mark = self._noted = self._start
            self.rows, self.scores = self._start.rows, self._start.scores
            self.kept = self.rows
            self._flagged = self._read_flagged(log, end)
            self._say(f"Going on after {self.rows:,} rows.")
        else:
            for file in self._open:
                file.cut(0)
            self._chain = self._append({"identity": identity})

    def write(self, content: bytes) -> None:
        """Append to the partial output."""
        self._open[0].append(content)
        self._output.update(content)

    def through(self, reconstruct: Reconstruct) -> Reconstruct:
        """Return what runs the network, but for windows whose rows are all written."""

        def run(windows: Float32s) -> Float32s:
            return windows if self._is_old else reconstruct(windows)

        return run

    def pieces(self, chunk: Chunk) -> Iterator[Chunk]:
        """Yield the rows of a chunk in pieces; the scores of each must have been taken before the next is asked for.

        Args:
            chunk: the next rows of the input.

        Raises:
            DataError: if they are not the rows of the run before.
        """
        n, goal = len(chunk.lines), self._start
        cuts = {*range(0, n, _PIECE_ROWS), goal.rows - self._read, goal.read - self._read, n}
        for start, stop in pairwise(sorted(cut for cut in cuts if 0 <= cut <= n)):
            times, values = chunk.times[start:stop], chunk.values[start:stop]
            self._input.update(chunk.lines[start:stop], times, values)
            self._read += stop - start
            if self._read == goal.read and self._input.hexdigest() != goal.input:
                raise _other_rows(goal.read, "others", self._name)
            self._is_old = self._read <= goal.rows
            yield replace(chunk, lines=chunk.lines[start:stop], times=times, values=values, labels=None)

    def end_input(self) -> None:
        """Note that no row follows; the scores of the last rows would be others if one did, and are not kept.

        Raises:
            DataError: if there are fewer rows than the run before has read.
        """
        if self._read < self._start.read:
            raise _other_rows(self._start.read, f"{self._read:,} rows", self._name)
        self._is_old, self._ended = False, True

    def settle(self, table: Floats, threshold: float) -> int:
        """Put what is known of rows that are written in the place of what was made of them now; keep the other flagged rows.

        Args:
            table: `(n, columns)`, the scores of the next rows in the first column, changed in place. Of rows that are
                written only the flagged ones come back, the others are NaN.
            threshold: a row is flagged if its score is greater.

        Returns:
            How many of the rows are written.
        """
        first, n = self._scored, len(table)
        n_old = min(max(self.rows - first, 0), n)
        self._scored += n
        if n_old:
            table[:n_old] = np.nan
            for row in self._recall(first, first + n_old):
                table[int(row[0]) - first] = row[1:]
        fresh = n_old + np.flatnonzero(flags(table[n_old:, 0], threshold))
        if len(fresh):
            self._waiting.append(np.column_stack([first + fresh, table[fresh]]))
        return n_old

    def mark(self, scores: Counts = ()) -> None:
        """Note that all rows that were settled are written; make sure of them if it is time.

        Args:
            scores: of all these rows, counted.

        Raises:
            StorageError: if the system refuses.
        """
        if self._ended or self._read < self._start.read or self._scored < self.rows:
            return
        # One assignment: an interruption finds the mark before or this one.
        self._mark = _Mark(
            self._scored,
            self._read,
            self._open[0].size,
            self._input.hexdigest(),
            self._output.hexdigest(),
            scores,
            len(self._waiting),
        )
        if time.monotonic() - self._time >= self._seconds:
            self._note()

    def publish(self) -> None:
        """Make the partial output the output."""
        self._open[0].become(self._target)
        self._open[1].close()  # Windows removes no file that is open
        remove(self._open[1].path)

    def keep(self) -> None:
        """Leave what a run can go on from; remove the files if it cannot."""
        if not self._open:
            return
        with contextlib.suppress(StorageError):  # as on a full disk; what was noted before holds
            self._note()
        if not self.kept:
            self.close()
            for file in self._open:
                remove(file.path)

    def close(self) -> None:
        """Close both files."""
        for file in self._open:
            file.close()

    def _note(self) -> None:
        mark = self._mark
        if mark == self._noted:
            return
        self._open[0].sync()
        waiting = self._waiting[: mark.n_flagged]
        shape = [sum(len(table) for table in waiting), waiting[0].shape[1] if waiting else 0]
        flagged = base64.b64encode(b"".join(table.tobytes() for table in waiting)).decode()
        numbers = asdict(mark)
        del numbers["n_flagged"]
        chain = self._append(numbers | {"shape": shape, "flagged": flagged})
        self._chain, self._noted, self.kept = chain, mark, mark.rows
        del self._waiting[: mark.n_flagged]
        self._time = time.monotonic()

    def _append(self, values: dict[str, Any]) -> str:
        """Append a line to the journal and return its checksum; where that fails the next line takes its place."""
        content, log = json.dumps(values).encode(), self._open[1]
        chain, size = _chained(self._chain, content), log.size
        try:
            log.append(f"{chain} ".encode() + content + b"\n")
            log.sync()
        except BaseException:
            log.size = size
            raise
        return chain

    def _find(self, identity: dict[str, Any], partial: Path, log: Path) -> tuple[_Mark, int, str, Any] | None:
        """Return the last mark that the partial output bears out, its end in the journal, its checksum, the output's hash."""
        found, output = None, hashlib.sha256()
        with storage_errors(log), open(log, "rb") as lines, open(partial, "rb") as written:
            for end, chain, values in _records(lines):
                if "identity" in values:
                    _refuse_other(identity, values["identity"], self._target)
                    continue
                numbers = {name: values[name] for name in ("rows", "read", "size", "input", "output")}
                mark = _Mark(**numbers, scores=tuple((cell, n) for cell, n in values["scores"]))
                while written.tell() < mark.size:
                    content = written.read(min(_READ_BYTES, mark.size - written.tell()))
                    if not content:
                        break
                    output.update(content)
                if written.tell() < mark.size or output.hexdigest() != mark.output:
                    break
                found = mark, end, chain, output.copy()
        if found is None and log.stat().st_size:
            self._say(f"Nothing that can be used was left of the run before ({log}): scoring begins anew.")
        return found

    def _read_flagged(self, log: Path, stop: int) -> Iterator[Floats]:
        """Yield tables of flagged rows, their positions in the first column."""
        with storage_errors(log), open(log, "rb") as lines:
            for end, _, values in _records(lines):
                if values.get("flagged"):
                    yield np.frombuffer(base64.b64decode(values["flagged"])).reshape(values["shape"])
                if end >= stop:
                    return

    def _recall(self, start: int, stop: int) -> Floats:
        """Return the flagged ones of the rows `start` to `stop`; the calls go forward."""
        tables = [] if self._recalled is None else [self._recalled]
        while not tables or not len(tables[-1]) or tables[-1][-1, 0] < stop:
            table = next(self._flagged, None)
            if table is None:
                break
            tables.append(table)
        if not tables:
            return np.empty((0, 1))
        joined = np.concatenate(tables)
        joined = joined[joined[:, 0] >= start]  # an interruption may have left the same ones in two lines
        before = joined[:, 0] < stop
        self._recalled = joined[~before]
        return joined[before]


class _Digest:
    """SHA-256 of rows, as they stand in the file and as they were read, whatever the pieces they come in."""

    def __init__(self) -> None:
        self._parts = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()

    def update(self, lines: list[str], times: Ints, values: Floats) -> None:
        contents = "".join(f"{line}\n" for line in lines).encode(), times.tobytes(), values.tobytes()
        for part, content in zip(self._parts, contents, strict=True):
            part.update(content)

    def hexdigest(self) -> str:
        return hashlib.sha256(b"".join(part.digest() for part in self._parts)).hexdigest()


@contextlib.contextmanager
def journalled(path: str | Path, *, seconds: float = SECONDS, say: Callable[[str], None] = lambda _: None) -> Iterator[Journal]:
    """Yield the journal of a run that writes `path`; other runs are kept out, as by `atomic_output`.

    Where the block ends without an exception `path` has become what was written, and partial output and journal are gone.
    Else `path` is as it was, and the next run goes on.

    Args:
        path: the output, a regular file or none yet.
        seconds: least time between two lines of the journal.
        say: receives a sentence where a run goes on, or cannot.

    Raises:
        StorageError: as `atomic_output`.
    """
    with exclusive(path) as target:
        journal = Journal(target, seconds, say)
        try:
            yield journal
            journal.publish()
        except BaseException:
            journal.keep()
            raise
        finally:
            journal.close()


def refuse_to_lose(path: str, *, begin_anew: bool) -> None:
    """Refuse to write `path` past an unfinished run of `journalled`; or remove what it left.

    Args:
        path: an output; nothing is left of one that is "-", a pipe or a device.
        begin_anew: whether what was left is removed.

    Raises:
        ConfigError: if a run was left unfinished, and shall not begin anew.
        StorageError: if it is still under way, or the files cannot be removed.
    """
    if path == "-" or is_special(path):
        return
    with storage_errors(path):
        files = _files_of(resolved(path))
        left = [file for file in files if file.exists()]
    if not left:
        return
    with exclusive(path):
        if len(left) == len(files) and not begin_anew:
            raise ConfigError(
                f"Scored rows must not be lost. Received: no word on those of an unfinished run ({files[0]}). "
                "Use --resume to go on with it, or --no-resume to begin anew."
            )
        for file in files:  # one without the other is of no use
            remove(file)


def _files_of(target: Path) -> tuple[Path, Path]:
    return target.with_name(f".{target.name}.partial"), target.with_name(f".{target.name}.progress")


def _records(lines: IO[bytes]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Yield the end of each line, its checksum and its content, up to the first one that is cut or damaged."""
    end, chain = 0, ""
    for line in lines:
        checksum, _, content = line.partition(b" ")
        chain = _chained(chain, content[:-1])
        if not line.endswith(b"\n") or checksum != chain.encode():
            return
        end += len(line)
        yield end, chain, json.loads(content)


def _chained(before: str, content: bytes) -> str:
    return hashlib.sha256(before.encode() + content).hexdigest()


def _refuse_other(wanted: dict[str, Any], found: dict[str, Any], target: Path) -> None:
    changed = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if changed:
        raise ConfigError(
            f"A scoring run can only be resumed with the detector and the options it began with. Received: another "
            f"{', '.join(changed)} ({target}). Use the old ones, or begin anew with --no-resume."
        )


def _other_rows(n_rows: int, received: str, name: str) -> DataError:
    return DataError(
        f"A scoring run can only be resumed on the rows that it has read, the first {n_rows:,}. Received: {received} ({name}). "
        "Use the old file and the old way to read it, or begin anew with --no-resume."
    )


def _versions() -> dict[str, str | None]:
    """Return the versions of all that shapes a score; another one may round differently."""
    installed = library_versions()
    return {f"version of {name}": installed.get(name) for name in ("anomaly", "numpy", "onnxruntime")}
