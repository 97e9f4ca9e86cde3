"""Going on from a trained detector: what it hands on to the new training, and what must be as it was."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from anomaly.bundle.bundle import Bundle, require_built_in
from anomaly.bundle.file import to_bytes
from anomaly.bundle.header import MOST_ANCESTORS, Ancestry
from anomaly.config import DetectorConfig, NetworkConfig, PenaltyConfig, unheard, with_one_budget
from anomaly.errors import ConfigError, DataError, shorten
from anomaly.network.model import Weights, rows_of_timesteps
from anomaly.series import Bools, Floats, Ints, segments
from anomaly.windowing.begun import begun_features
from anomaly.windowing.missing import used_starts
from anomaly.windowing.missing_rows import with_missing_rows
from anomaly.windowing.scaling import CLIP, Scaler
from anomaly.windowing.split import Split
from anomaly.windowing.windows import starts_in

# The settings that say which weights there are and what they mean; `pooling`, `timesteps` and `window_size` are compared as they
# turn out.
_SHAPE = ("units", "layers", "bidirectional", "code_size", "output_order")
_CONTEXT = ("context_columns", "calendar")


@dataclass(frozen=True, eq=False)
class Start:
    """Where a training begins that goes on from a detector.

    Attributes:
        bundle: of that detector.
        refit_scaler: whether the scaler is fitted to the new rows; else it is the old one, and the network sees new values
            as it saw the old ones.
    """

    bundle: Bundle
    refit_scaler: bool = False

    def __post_init__(self) -> None:
        """Refuse a detector with a network of its own."""
        require_built_in(self.bundle)

    @classmethod
    def of(cls, detector: Any, refit_scaler: bool) -> "Start":
        """Return the start from a detector.

        Raises:
            ConfigError: if it is none.
            NotFittedError: if it was not trained.
        """
        fitted = getattr(detector, "_fitted", None)
        if fitted is None:
            path = repr(detector) if isinstance(detector, str) else type(detector).__name__
            raise ConfigError(
                f"`start_from` must be a trained Detector. Received: {path}. Load one from its file with Detector.load(path)."
            )
        return cls(fitted(), refit_scaler)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the old detector's file, in hexadecimal."""
        return hashlib.sha256(to_bytes(self.bundle)).hexdigest()

    @property
    def weights(self) -> Weights:
        """A copy of the old weights."""
        return {name: array.copy() for name, array in self.bundle.weights.items()}

    @property
    def identity(self) -> dict[str, Any]:
        """What must not change between two sittings of the training."""
        return {"start_from": self.sha256, "refit_scaler": self.refit_scaler}

    def sized(self, config: DetectorConfig) -> DetectorConfig:
        """Return the settings with the old window size in the place of "auto".

        Raises:
            ConfigError: if the shape of the network or the window size is another.
        """
        old, size = self.bundle.config.network, self.bundle.window_size
        pairs: dict[str, tuple[Any, Any]] = {name: (getattr(config.network, name), getattr(old, name)) for name in _SHAPE}
        pairs |= {name: (getattr(config.context, name), getattr(self.bundle.config.context, name)) for name in _CONTEXT}
        if config.windows.window_size != "auto":
            pairs["window_size"] = config.windows.window_size, size
        if _pooled(config.network, size) != _pooled(old, size):
            name = "pooling" if config.network.pooling != old.pooling else "timesteps"
            pairs[name] = getattr(config.network, name), getattr(old, name)
        for name, (given, wanted) in pairs.items():
            if given != wanted:
                wanted, given = (", ".join(value) if isinstance(value, tuple) else value for value in (wanted, given))
                raise ConfigError(
                    f"`{name}` must be that of the detector to go on from, {wanted}. Received: {name}={given}. "
                    f"Leave it out, or train from scratch."
                )
        return replace(config, windows=replace(config.windows, window_size=size))

    def scaler(self, values: Floats, held_out: Floats, name: str, window_size: int) -> Scaler:
        """Return the old scaler, which is kept.

        Args:
            values: the new training rows `(n, n_features)`; NaN = missing.
            held_out: the new held-out rows.
            name: of their source, for messages.
            window_size: rows in a window.

        Raises:
            DataError: if it does not fit: a value lies more than 10,000 old sigmas away, or a feature that was constant is
                another one now.
        """
        old = self.bundle.scaler
        with np.errstate(over="ignore"):
            misfits: Bools = np.asarray((np.abs((values - old.center) / old.scale) > CLIP).any(axis=0))
        for place in old.constant:
            misfits[place] |= bool(replace(old, constant=(place,)).changed(values).any())
        misfits[list(begun_features(old, held_out, window_size))] = True
        if misfits.any():
            raise DataError(
                f"While the scaler is kept, values must lie within {CLIP:,.0f} of the old sigmas, and a column that was constant "
                f"must be so still. Received: others in {shorten([self.bundle.columns[i] for i in np.flatnonzero(misfits)])} "
                f"({name}). Fit the scaler anew with --refit-scaler, or train from scratch."
            )
        return old

    def dismissed_rows(
        self, given: Ints, split: Split, longest: int, step: int, most_missing: float, n_judged: int
    ) -> tuple[Ints, Floats, Ints]:
        """Return rows of stretches that were dismissed with their rows: times, values, and where windows of them begin.

        A stretch whose rows are among the new ones is taken from there.

        Args:
            given: times of the new rows; none where rows are counted, whose numbers say nothing of another file.
            split: of the new rows.
            longest: a longer time between two rows is a gap.
            step: time between the rows of a regular series; 0 for any other.
            most_missing: of a window, a share.
            n_judged: columns that are judged, the first ones: only of these may too much be missing.
        """
        kept = [] if self.bundle.dismissed is None else self.bundle.dismissed.kept()
        clocks, parts, starts, n = [np.empty(0, np.int64)], [np.empty((0, len(self.bundle.columns)))], [np.empty(0, np.int64)], 0
        for own, times, values in kept:
            if np.isin(own, given).all():
                continue
            clock, rows, _ = with_missing_rows(times, values, step, longest)
            found = starts_in(segments(clock, longest), split.window_size, split.stride)
            starts.append(n + used_starts(rows[:, :n_judged], found, split.window_size, most_missing))
            clocks.append(clock)
            parts.append(rows)
            n += len(rows)
        return np.concatenate(clocks), np.concatenate(parts), np.concatenate(starts)

    def ancestry(self, held_out_loss: float | None) -> Ancestry:
        """Return what the new detector says of the old one, whose weights came to this loss on the new held-out rows."""
        older = self.bundle.ancestry.sha256 if self.bundle.ancestry else ()
        return Ancestry((self.sha256, *older)[:MOST_ANCESTORS], not self.refit_scaler, float(held_out_loss or 0.0))


def continued_settings(bundle: Bundle, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a training that goes on: those that are given, for the others those of the old detector.

    Args:
        bundle: of the old detector.
        given: names and values.
    """
    freed: dict[str, Any] = {}
    if given.get("penalty", bundle.config.penalty.penalty) != bundle.config.penalty.penalty:  # what the other form looked at
        freed = {"direction": None, "penalty_threshold": PenaltyConfig.penalty_threshold}
    old = bundle.config.to_settings()
    freed = unheard(old, given.get("threshold_method", old["threshold_method"])) | freed
    return old | freed | with_one_budget(given)


def _pooled(network: NetworkConfig, window_size: int) -> list[int]:
    return rows_of_timesteps(network, window_size)
