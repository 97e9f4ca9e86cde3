"""Where a live run stands, in one file that is replaced atomically: a restart goes on from there.

The file, see `anomaly.storage.snapshot`, holds the rows that are remembered of each series (`anomaly.live.stream`), and how far
input and output had come when it was written. Everything is told apart by length: the arrays of all series stand one behind the
other.
"""

import itertools
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.errors import ConfigError
from anomaly.live.stream import Lesson, Memory, Rows
from anomaly.series import Ints
from anomaly.sources.growing import Position
from anomaly.storage.snapshot import Snapshots, changed, plain

_SNAPSHOTS = Snapshots("A state", "anomaly_stream", 2, "Remove it to begin anew.")
# Least time between two writes, and how much of the time writing may take: what a crash loses is read again from a file.
SECONDS, MOST_SHARE = 1.0, 0.1
_PARTS = ("past", "waiting", "held")
_NUMBERS = ("n_records", "next_row", "written", "refused", "counts")


@dataclass
class StreamState:
    """Where a live run stands, after whole records.

    Attributes:
        memories: what is remembered of each series, from the least recently used on.
        n_records: records that were taken.
        next_row: the time of the next row where rows are counted.
        source: how far the input was read; None if it is no file, or nothing was.
        written: bytes of output; None if it goes to standard output.
        refused: series that were refused for their pace, see `Streams`.
        drift: how far rows and scores of each series were compared with its training, see `SeriesDrift`.
        counts: what the summary of the run has counted.
        header: the line of the input that names its columns; empty where there is none, or none was read.
    """

    memories: dict[str, Memory] = field(default_factory=dict)
    n_records: int = 0
    next_row: int = 0
    source: Position | None = None
    written: int | None = None
    refused: dict[str, int] = field(default_factory=dict)
    drift: dict[str, Ints] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)
    header: str = ""


class StateFile:
    """The file of one live run.

    Args:
        path: where.
        identity: what must be the same after a restart: columns, formats and options, but not the detector.
        n_features: number of value columns.
    """

    def __init__(self, path: str | Path, identity: dict[str, Any], n_features: int) -> None:
        self.path = Path(path)
        self._identity = plain(identity)
        self._n_features = n_features
        self._due = 0.0
        self._began: float | None = None

    def is_due(self) -> bool:
        """Tell whether it is time to write; what is done from a yes on counts as writing."""
        now = time.monotonic()
        self._began = now if now >= self._due else None
        return self._began is not None

    def write(self, state: StreamState) -> None:
        """Replace the file.

        Raises:
            StorageError: if the system refuses; the file is then as it was.
        """
        began = time.monotonic() if self._began is None else self._began
        lessons = [(name, memory.lesson) for name, memory in state.memories.items() if memory.lesson is not None]
        rows = [getattr(memory, part) for memory in state.memories.values() for part in _PARTS]
        rows += [lesson.rows for _, lesson in lessons]
        whole = _joined([Rows.none(self._n_features), *rows])
        arrays = {"places": whole.places, "times": whole.times, "values": np.ascontiguousarray(whole.values)}
        arrays["drift"] = np.concatenate([np.empty(0, np.int64), *state.drift.values()])
        numbers = {
            "identity": self._identity,
            "series": list(state.memories),
            "rows": [memory.n_rows for memory in state.memories.values()],
            "finders": [memory.finder for memory in state.memories.values()],
            "phases": [memory.phase for memory in state.memories.values()],
            "lengths": [len(part.times) for part in rows],
            "lines": [part.lines for memory in state.memories.values() for part in (memory.waiting, memory.held)],
            "lessons": [(name, lesson.wait, lesson.n_learnt, lesson.is_over, lesson.cuts) for name, lesson in lessons],
            "drift": [(name, len(counts)) for name, counts in state.drift.items()],
            "source": None if state.source is None else asdict(state.source),
            "header": state.header,
            **{name: getattr(state, name) for name in _NUMBERS},
        }
        _SNAPSHOTS.write(self.path, numbers, arrays)
        ended, self._began = time.monotonic(), None
        self._due = ended + max(SECONDS, (ended - began) / MOST_SHARE)

    def read(self) -> StreamState | None:
        """Return the state in the file; None if there is no file.

        Raises:
            BundleError: if the file is damaged or of another version.
            ConfigError: if it belongs to a run with other options.
            StorageError: if it cannot be read.
        """
        if not self.path.exists():
            return None
        numbers, arrays = _SNAPSHOTS.read(self.path)
        if others := changed(numbers["identity"], self._identity):
            raise ConfigError(
                f"A live run must go on with the columns and options that it began with. Received: another {', '.join(others)} "
                f"({self.path}). Use the old ones, or name another --state."
            )
        drift_bounds = np.cumsum([length for _, length in numbers["drift"]])
        drift = dict(zip((name for name, _ in numbers["drift"]), np.split(arrays["drift"], drift_bounds[:-1]), strict=False))
        whole = Rows([""] * len(arrays["times"]), arrays["places"], arrays["times"], arrays["values"])
        bounds = [0, *itertools.accumulate(numbers["lengths"])]
        parts, lines = [whole.part(start, stop) for start, stop in itertools.pairwise(bounds)], numbers["lines"]
        memories = {}
        phases = numbers.get("phases", [0] * len(numbers["series"]))
        for i, (name, *of_series) in enumerate(zip(numbers["series"], numbers["rows"], numbers["finders"], phases, strict=True)):
            past, waiting, held = parts[3 * i : 3 * i + 3]
            memories[name] = Memory(past, waiting._replace(lines=lines[2 * i]), held._replace(lines=lines[2 * i + 1]), *of_series)
        lessons = zip(parts[3 * len(memories) :], numbers.get("lessons", []), strict=True)
        for rows, (name, wait, n_learnt, is_over, cuts) in lessons:
            memories[name].lesson = Lesson(rows, wait, n_learnt, is_over, [(row, cut) for row, cut in cuts])
        source = None if numbers["source"] is None else Position(**numbers["source"])
        header = numbers.get("header", "")  # which states of older versions lack
        return StreamState(memories, source=source, drift=drift, header=header, **{name: numbers[name] for name in _NUMBERS})


def _joined(rows: list[Rows]) -> Rows:
    lines = list(itertools.chain.from_iterable(part.lines for part in rows))
    places, times, values = (np.concatenate([part[i] for part in rows]) for i in (1, 2, 3))
    return Rows(lines, places, times, values)
