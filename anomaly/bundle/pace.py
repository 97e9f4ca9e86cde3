"""How often rows came in training, and the refusal of rows that come at another pace."""

from dataclasses import dataclass

import numpy as np

from anomaly.bundle.bundle import Bundle
from anomaly.errors import DataError
from anomaly.series import STEP_TOLERANCE, Ints, check_ascending, format_time, median_step, other_pace, steps_at_a_pace


@dataclass(frozen=True)
class Pace:
    """How often rows came in training.

    Attributes:
        time_column: its name; None if rows are counted, and have no pace.
        step: time between two rows, microseconds.
        only: the same where the training had one pace throughout; else 0.
        window_size: rows of a window.
    """

    time_column: str | None
    step: int
    only: int
    window_size: int

    @classmethod
    def of(cls, bundle: Bundle) -> "Pace":
        """Return the pace of a detector's training."""
        return cls(bundle.time_column, bundle.step, bundle.only_pace, bundle.window_size)

    def check_all(self, times: Ints, name: str) -> None:
        """Refuse rows that come at another pace on the whole, or in a stretch.

        Raises:
            DataError: if the times do not go forward, or their median step differs from training by more than half; and as
                `check_stretches`.
        """
        check_ascending(times, self.time_column, name)
        if self.time_column is None or len(times) < 3:
            return
        found = median_step(times)
        if not 1 / STEP_TOLERANCE <= found / self.step <= STEP_TOLERANCE:
            raise DataError(
                f"Rows must come about as often as in training, every {self.step / 1e6:g} s. "
                f"Received: every {found / 1e6:g} s ({name}). Resample the data, or train on data like it."
            )
        self.check_stretches(times, name)

    def check_stretches(self, times: Ints, name: str) -> None:
        """Refuse a window or more of rows that come at another pace than a regular series in training.

        Raises:
            DataError: if many rows one after the other do.
        """
        found = other_pace(times, self.only, self.window_size) if self.only else None
        if found is not None:
            first, n, step = found
            raise DataError(
                f"Rows must come about as often as in training, every {self.step / 1e6:g} s. Received: every {step / 1e6:g} s, "
                f"for {n:,} rows from {format_time(int(times[first]), self.time_column)} on ({name}). Resample the data, or "
                "train on data like it."
            )


class PaceSoFar:
    """The pace of rows that come in pieces, which makes no difference: first some are looked at together, then each stretch.

    Args:
        pace: that of the training.
        name: of the input, for messages.
        n_first: rows that are looked at together; until they are there none is good.
    """

    def __init__(self, pace: Pace, name: str, n_first: int) -> None:
        self._pace, self._name, self._n_first = pace, name, n_first
        self._before: Ints | None = None  # the last good rows; None until the first ones are told

    def good(self, times: Ints, *, ended: bool = False) -> tuple[int, DataError | None]:
        """Return how many of some rows are good, and why the one behind them is not, if it is told already.

        Args:
            times: `(n,)` of the rows behind those that were called good.
            ended: whether no row comes after them.
        """
        if self._before is None:
            if len(times) < self._n_first and not ended:
                return 0, None
            try:
                self._pace.check_all(times[: self._n_first], self._name)
            except DataError as error:
                return 0, error
            self._before = times[:0]
        return self._in_stretches(times, self._before)

    def _in_stretches(self, times: Ints, before: Ints) -> tuple[int, DataError | None]:
        known = np.concatenate([before, times])
        n_good, error = len(known), self._wrong(known)
        if error is not None:  # the first row that makes a stretch too long
            low, n_good = len(before), len(known)
            while n_good - low > 1:
                middle = (low + n_good) // 2
                found = self._wrong(known[:middle])
                low, n_good, error = (middle, n_good, error) if found is None else (low, middle, found)
            n_good -= 1
        self._before = known[max(0, n_good - steps_at_a_pace(self._pace.window_size)) : n_good]
        return n_good - len(before), error

    def _wrong(self, times: Ints) -> DataError | None:
        try:
            self._pace.check_stretches(times, self._name)
        except DataError as error:
            return error
        return None
