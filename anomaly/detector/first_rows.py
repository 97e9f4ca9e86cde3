"""A detector for a series that is only beginning: from its first rows, and a network that others like it have trained.

The network stays as it is. Scale, error units, nearest windows and scores come from the rows, as in a training; the threshold is
that of the others, widened by what is unknown (`anomaly.thresholds.borrowed`). The rows are taken in two halves, of which the later
one takes the place of held-out rows: the network has seen neither.

**What teaches nothing is not learnt from.** Rows before the first change of a series that stands still are left out. A feature that
is constant but for a few values, in one of the halves or in both, or of which half is missing, is silent: it is read as missing,
and no score speaks of it. With more than half of the features silent nothing is learnt. A feature that does not vary in the others
either is no reason to wait.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from anomaly.bundle.bundle import Bundle
from anomaly.config import AGGREGATIONS, THRESHOLD_METHODS, DetectorConfig
from anomaly.detector.detector import Detector
from anomaly.errors import ConfigError, DataError
from anomaly.fitting.cleaned import Cleaned
from anomaly.fitting.measuring import measured
from anomaly.fitting.ready import Ready
from anomaly.fitting.recalibration import with_cuts
from anomaly.fitting.shortcomings import kind_of
from anomaly.fitting.trained import Trained
from anomaly.meaning.sentinels import refuse_sentinels
from anomaly.network.inference import Reconstruct, shared_reconstructor
from anomaly.series import STEP_TOLERANCE, Bools, Floats, Ints, TimeSeries, segments
from anomaly.thresholds.borrowed import BorrowedCut, Lenders, Lent
from anomaly.training.checkpoint import History
from anomaly.windowing.missing import LEAST_FEATURES, used_starts
from anomaly.windowing.scaling import Scaler
from anomaly.windowing.split import LARGEST_VALUE, Split
from anomaly.windowing.windows import choose_stride, starts_in

# A feature of which a smaller share is known teaches nothing.
LEAST_KNOWN = 0.5
# One that has fewer values in a half, beside the most frequent one, is constant there: a spike or two are no variation.
_LEAST_OTHERS = 5
# A series that has stood still for so many rows, or an eighth of a window, has not begun.
_LEAST_STILL, _STILL_WINDOWS = 8, 8


class NothingLearntError(Exception):
    """The rows teach nothing yet; the reason is a clause."""


@dataclass(frozen=True, eq=False)
class Learnt:
    """What some first rows taught.

    Attributes:
        detector: scores the rows after them.
        silent: features of which nothing is known yet, `(n_features,)`; they must be read as missing.
        n_rows: rows that it comes from.
        cuts: the threshold of each aggregation, and where it comes from.
    """

    detector: Detector
    silent: Bools
    n_rows: int
    cuts: dict[str, BorrowedCut]


@dataclass(frozen=True, eq=False)
class Teacher:
    """What series with one network know that holds for another one.

    Attributes:
        bundle: of one of them, for the network, the settings and the pace.
        lenders: by aggregation their cuts.
        constant: features that do not vary in half of them or more, `(n_features,)`.
        fixed: whether their thresholds were not chosen by their scores: then those of a new series are not either.
    """

    bundle: Bundle
    lenders: dict[str, Lenders]
    constant: Bools
    fixed: bool

    @classmethod
    def of(cls, bundles: Iterable[Bundle]) -> "Teacher":
        """Learn what some detectors have in common; those of another pace than most have no say.

        Args:
            bundles: at least one; they are looked at one by one.

        Raises:
            ConfigError: if they do not share one network.
        """
        network, fixed = None, False
        lent, steps, constant = [], [], []
        first: dict[int, Bundle] = {}
        for bundle in bundles:
            if not bundle.context.is_none:
                raise ConfigError(
                    "A new series is learnt with a network that reads nothing but what it is judged by. Received: detectors with "
                    "context_columns or calendar. Train the folder without them, or leave --new-series out."
                )
            own = _network_of(bundle)
            if network is not None and own != network:
                raise ConfigError(
                    "A new series is learnt with the network that all others share. Received: detectors with networks of their "
                    "own. Train the folder without --per-series, or leave --new-series out."
                )
            network = own
            lent.append({name: Lent.of(bundle.calibration(name), bundle.thresholds[name].value) for name in AGGREGATIONS})
            steps.append(bundle.step)
            constant.append(np.isin(np.arange(len(bundle.columns)), bundle.scaler.constant))
            fixed |= bundle.thresholds[bundle.config.scoring.aggregation].method not in THRESHOLD_METHODS
            first.setdefault(bundle.step, bundle)
        usual = sorted(steps)[(len(steps) - 1) // 2]
        alike = [i for i, step in enumerate(steps) if 1 / STEP_TOLERANCE <= step / usual <= STEP_TOLERANCE]
        lenders = {name: Lenders([lent[i][name] for i in alike]) for name in AGGREGATIONS}
        return cls(first[usual], lenders, np.mean([constant[i] for i in alike], axis=0) >= 0.5, fixed)

    @property
    def window_size(self) -> int:
        """Timesteps in a window."""
        return self.bundle.window_size

    @cached_property
    def detector(self) -> Detector:
        """The detector that the bundle is of; it knows the pace."""
        return Detector.of_bundle(self.bundle, self._reconstruct)

    @cached_property
    def _reconstruct(self) -> Reconstruct:
        bundle = self.bundle
        return shared_reconstructor(bundle.config.network, bundle.weights, bundle.window_size, len(bundle.columns))

    def is_usable(self, values: Floats) -> Bools:
        """Tell which rows can be learnt from, `(n,)`: those of which half of the features are known.

        Args:
            values: `(n, n_features)`; NaN = missing.
        """
        return np.asarray(np.isfinite(values).mean(axis=1) >= LEAST_FEATURES)

    def n_moving(self, values: Floats) -> int:
        """Return how many rows there are from the first change on, in a series that stood still before; else all.

        Args:
            values: `(n, n_features)` rows of a series from its first one on; NaN = missing.
        """
        return len(values) - _first_row(values, self.window_size)

    def learnt(self, times: Ints, values: Floats, name: str, *, last: bool = False) -> Learnt:
        """Return what some first rows teach.

        Args:
            times: `(n,)` in order.
            values: `(n, n_features)`, unscaled; NaN = missing.
            name: of the series, for messages.
            last: whether it will not be learnt anew: a feature that is constant is then taken for one, as in a training.

        Raises:
            NothingLearntError: if they teach nothing, with the reason.
        """
        if not np.isfinite(values).any():
            raise NothingLearntError("most values are missing")
        first = _first_row(values, self.window_size)
        times, values = times[first:], np.where(np.abs(values[first:]) > LARGEST_VALUE, np.nan, values[first:])
        silent = self._silent(values, last=last)
        bundle = self.bundle
        series = TimeSeries(times, np.where(silent, np.nan, values), bundle.columns, name=name, time_column=bundle.time_column)
        try:
            refuse_sentinels(series.values, series.columns, name, bundle.config.reading.missing_values)
            bundle, _ = measured(self._ready(series, silent), Trained(bundle.weights, History(), bundle.seed))
        except DataError as error:
            raise NothingLearntError(str(error)) from error
        n_windows = len(series) // self.window_size
        cuts = {aggregation: self._cut(bundle, aggregation, n_windows) for aggregation in AGGREGATIONS}
        bundle = with_cuts(bundle, {key: cut.value for key, cut in cuts.items()}, "lent", float(n_windows))
        return Learnt(Detector.of_bundle(bundle, self._reconstruct), silent, len(series), cuts)

    def _silent(self, values: Floats, *, last: bool) -> Bools:
        """Return which features teach nothing; refuse rows of which too many do."""
        if not len(values):
            raise NothingLearntError("the values do not change")
        missing = np.isfinite(values).mean(axis=0) < LEAST_KNOWN
        still = np.array([_is_still(cells) for cells in values.T]) & ~missing & ~self.constant
        if (missing | still).sum() > (1 - LEAST_FEATURES) * values.shape[1]:
            raise NothingLearntError("most values are missing" if missing.sum() >= still.sum() else "the values hardly change")
        return np.asarray(missing if last else missing | still)

    def _ready(self, series: TimeSeries, silent: Bools) -> Ready:
        """Return the series as it is measured: its later half in the place of held-out rows, its scale from all."""
        size, old = self.window_size, self.bundle.config
        config = DetectorConfig.from_settings(old.to_settings() | {"window_size": size, "stride": "auto"})
        rows = Cleaned.of(series, config.windows)
        filled, longest = rows.filled, rows.longest_step
        cut = len(filled) // 2
        halves = [(0, cut), (cut, len(filled))]
        parts = [[(a + x, a + y) for x, y in segments(filled.times[a:b], longest)] for a, b in halves]
        starts = [used_starts(filled.values, starts_in(part, size, 1), size, config.windows.max_missing) for part in parts]
        if not all(len(found) for found in starts):
            raise NothingLearntError(f"each half must hold a stretch of {size} rows without a gap and with few missing values")
        everywhere = starts_in(segments(filled.times, longest), size, choose_stride(len(filled), size))
        everywhere = used_starts(filled.values, everywhere, size, config.windows.max_missing)
        scaler = Scaler.fit(np.where(silent, 0.0, filled.values))
        scaler = replace(scaler, constant=tuple(i for i in scaler.constant if not silent[i]))
        split = Split(size, 1, cut, everywhere, starts[1])
        return Ready.made(rows, config=config, split=split, context=self.bundle.context, scaler=scaler)

    def _cut(self, bundle: Bundle, aggregation: str, n_windows: int) -> BorrowedCut:
        own, law = bundle.thresholds[aggregation].value, bundle.calibration(aggregation).law
        if self.fixed or law is None:
            return self.lenders[aggregation].cut(n_windows)
        return self.lenders[aggregation].cut(n_windows, (own, law.n_blocks), law.scale)


def _network_of(bundle: Bundle) -> str:
    """Return what tells the network of a detector from any other."""
    digest = hashlib.sha256(repr((bundle.config.network, bundle.window_size, bundle.columns)).encode())
    for name in sorted(bundle.weights):
        digest.update(np.ascontiguousarray(bundle.weights[name]).data)
    return digest.hexdigest()


def _is_still(cells: Floats) -> bool:
    """Tell whether the values of a feature, `(n,)`, hardly change in one of their halves."""
    halves = np.array_split(cells[np.isfinite(cells)], 2)
    counts = [np.unique(half, return_counts=True)[1] for half in halves]
    others = [int(found.sum() - found.max()) if len(found) else 0 for found in counts]
    return min(others) < _LEAST_OTHERS or kind_of(np.concatenate(halves)) == "nearly constant"


def _first_row(values: Floats, window_size: int) -> int:
    """Return the first row to learn from: the first of all, or the one in which a series begins to move that stood still."""
    if not len(values):
        return 0
    first = np.array([cells[np.isfinite(cells)][:1].sum() for cells in values.T])  # 0 where nothing is known
    moved = (np.isfinite(values) & (values != first)).any(axis=1)
    begin = int(np.argmax(moved)) if moved.any() else len(values)
    return begin if begin >= max(_LEAST_STILL, window_size // _STILL_WINDOWS) else 0
