"""A score as one line of a terminal, with the events marked below it.

The height says how the highest score of a column compares with the threshold: four steps below it, and four above, at 1, 2, 10 and
100 thresholds. Memory does not grow with the rows: of many, each place holds the highest of several.
"""

from collections.abc import Sequence

import numpy as np

from anomaly.events.event import Event
from anomaly.series import Floats

_MOST = 8192  # places: finer than any terminal
_BLOCKS = "▁▂▃▄▅▆▇█"
# What the lowest score above the threshold looks like.
ABOVE = _BLOCKS[4]
_STEPS = np.array([0.25, 0.5, 0.75, 1.0, 2.0, 10.0, 100.0])


class ScoreLine:
    """Takes the scores of a series as they come, as multiples of the threshold."""

    def __init__(self) -> None:
        self._highest = np.full(_MOST, np.nan)
        self._rows_each, self._n = 1, 0

    def push(self, anomaly_score: Floats) -> None:
        """Take further rows.

        Args:
            anomaly_score: `(n,)` score / threshold, NaN where there is none.
        """
        while self._n + len(anomaly_score) > _MOST * self._rows_each:
            pairs = self._highest.reshape(-1, 2)
            self._highest = np.append(np.fmax(pairs[:, 0], pairs[:, 1]), np.full(_MOST // 2, np.nan))
            self._rows_each *= 2
        np.fmax.at(self._highest, (self._n + np.arange(len(anomaly_score))) // self._rows_each, anomaly_score)
        self._n += len(anomaly_score)

    def text(self, events: Sequence[Event], width: int, first_row: int = 0, first_number: int = 1) -> str:
        """Return the line, and a line with the number of each event where it begins; nothing if no row came.

        Args:
            events: of these rows, in order; what has no room for its number is marked by ^.
            width: characters that a line may have.
            first_row: position of the first row that was taken, where the events are those of a series with others before it.
            first_number: of the first event.
        """
        places = -(-self._n // self._rows_each)
        n_columns = min(width, places)
        if n_columns < 1:
            return ""
        columns = np.full(n_columns, np.nan)
        np.fmax.at(columns, np.arange(places) * n_columns // places, self._highest[:places])
        # Above a cut is more than at it, as for flags.
        line = "".join(" " if np.isnan(x) else _BLOCKS[int(np.searchsorted(_STEPS, x, "left"))] for x in columns.tolist())
        marks = [" "] * n_columns
        for number, event in enumerate(events, start=first_number):
            rows = (min(max(row - first_row, 0), self._n - 1) for row in (event.start, event.stop - 1))
            first, last = (row // self._rows_each * n_columns // places for row in rows)
            text = str(number)
            free = first + len(text) <= n_columns and all(mark == " " for mark in marks[max(first - 1, 0) : first + len(text)])
            told = text.ljust(last - first + 1, "-") if free else "^" * (marks[first] == " ")
            marks[first : first + len(told)] = told
        return "".join(f"{text.rstrip()}\n" for text in (line, "".join(marks)) if text.strip())
