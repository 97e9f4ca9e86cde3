"""Which rows of a file are asked for, told while they are read: a file of any length is scored whole, and some of it written."""

from pathlib import Path
from typing import Any

import numpy as np

from anomaly.ingest.csv_rows import CsvReader
from anomaly.ranges import RowRange, extent_text, needs_end
from anomaly.series import Bools, Ints
from anomaly.storage.addresses import ObjectUri


def range_in_file(path: str | Path, since: str | None, until: str | None, options: dict[str, Any]) -> RowRange:
    """Return the range of rows that is asked for; where it counts from the end a file on disk is read once more, for its last time.

    Args:
        path: the file.
        since: the first row, see `RowRange.of`.
        until: the last one.
        options: how the file is read, by the names of `CsvReader`.

    Raises:
        ConfigError: as `RowRange.of`, of a span before the end too if the input cannot be read twice.
        DataError, StorageError: as `CsvReader`.
    """
    if since is None and until is None:
        return RowRange()
    timed, end = options["time_column"] is not None, None
    if timed and needs_end(since, until) and can_be_read_twice(path):
        with CsvReader(path, keep_lines=False, **options | {"rejects": None}) as reader:
            lasts = [int(chunk.times.max()) for chunk in reader if len(chunk.times)]
        end = max(lasts, default=None)
    return RowRange.of(since, until, timed=timed, end=end, zone=options.get("timezone", "UTC"))


def can_be_read_twice(path: str | Path) -> bool:
    """Tell whether an input is a file on disk, or an object."""
    return isinstance(path, ObjectUri) or (str(path) != "-" and Path(path).is_file())


class AskedRows:
    """Tell of rows that come in order which of them are asked for.

    Args:
        wanted: the range.

    Attributes:
        n_outside: rows so far that are not in it.
        first: number of the first row in it; 0 until there is one.
    """

    def __init__(self, wanted: RowRange) -> None:
        self._wanted, self._n, self._n_inside = wanted, 0, 0
        self._ends: tuple[int, int] | None = None
        self.first = self.n_outside = 0

    def take(self, times: Ints) -> Bools:
        """Tell for each of the next rows whether it lies in the range, `(n,)`."""
        inside = self._wanted.holds(np.arange(self._n, self._n + len(times)), times)
        if len(times):
            ends = int(times.min()), int(times.max())
            self._ends = ends if self._ends is None else (min(self._ends[0], ends[0]), max(self._ends[1], ends[1]))
        if not self._n_inside and inside.any():
            self.first = self._n + int(np.argmax(inside))
        self._n, self._n_inside = self._n + len(times), self._n_inside + int(inside.sum())
        self.n_outside = self._n - self._n_inside
        return inside

    def check(self, time_column: str | None) -> None:
        """Refuse a range without a row, once all rows have come.

        Raises:
            ConfigError: if none of them lies in it.
        """
        if self._wanted and not self._n_inside and self._ends is not None:
            raise self._wanted.nothing_in(extent_text(self._n, *self._ends, time_column))
