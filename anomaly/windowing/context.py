"""What the network reads beside the features that it is judged by: further columns, and the calendar.

The network reads all columns and the calendar side by side,

    judged features | context columns | calendar

and gives back as many. Of what it gives back only the judged features are compared with anything: the others have no error, in
training or in scoring, no unit and no name in what is said. The columns of a detector stand in the same order.

The calendar is sine and cosine of the time of day, times sqrt(2) so that their variance is 1, as that of scaled values is, and
for `week` those of the time of the week too. Both are counted in UTC: a shift of local clocks moves what people do by an hour.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from anomaly.config import DetectorConfig
from anomaly.errors import ConfigError, shorten
from anomaly.series import MICROSECONDS_A_DAY, Bools, Float32s, Floats, Ints, TimeSeries, format_time, median_step
from anomaly.windowing.scaling import Scaler
from anomaly.words import step_text

# What a calendar reads, microseconds.
PERIODS = {"none": (), "day": (MICROSECONDS_A_DAY,), "week": (MICROSECONDS_A_DAY, 7 * MICROSECONDS_A_DAY)}
# 1970 began on a Thursday; weeks on Monday. It is no more than where the phase is 0.
_MONDAY = 4 * MICROSECONDS_A_DAY
# So many days, or weeks, the history must have seen.
LEAST_SEEN = 2


@dataclass(frozen=True)
class Context:
    """Which of the columns are judged, and what else is read.

    Attributes:
        n_judged: features that are judged, the first of the columns.
        n_columns: all of them.
        calendar: a name of `config.CALENDARS`.
    """

    n_judged: int
    n_columns: int
    calendar: str = "none"

    @classmethod
    def of(cls, config: DetectorConfig, n_columns: int) -> "Context":
        """Return that of a detector with these settings and so many columns."""
        return cls(n_columns - len(config.context.context_columns or ()), n_columns, config.context.calendar)

    @property
    def n_inputs(self) -> int:
        """What the network reads of each row."""
        return self.n_columns + 2 * len(PERIODS[self.calendar])

    @property
    def is_none(self) -> bool:
        """Whether all that is read is judged."""
        return self.n_inputs == self.n_judged

    def read(self, times: Ints, values: Floats, scaler: Scaler) -> tuple[Float32s, Bools]:
        """Return what the network reads of some rows.

        Args:
            times: `(n,)` as in `TimeSeries`.
            values: `(n, n_columns)`, unscaled; NaN = missing.
            scaler: of all columns.

        Returns:
            `(n, n_inputs)` float32, scaled and clipped, NaN = missing; and for each row whether one of its judged values had to
            be clipped.
        """
        scaled, clipped = scaler.transform(values)
        if self.is_none:
            return scaled, clipped
        _, clipped = scaler.first(self.n_judged).transform(values[:, : self.n_judged])
        return np.concatenate([scaled, calendar_of(times, self.calendar)], axis=1), clipped


def n_judged_of(config: DetectorConfig, n_inputs: int) -> int:
    """Return how many of what a network reads are features that are judged: the first ones."""
    return Context.of(config, n_inputs - 2 * len(PERIODS[config.context.calendar])).n_judged


def with_wide_direction(config: DetectorConfig, n_inputs: int) -> DetectorConfig:
    """Return the settings with a preferred direction that is 0 for all that is read and not judged."""
    direction, n_beside = config.penalty.direction, n_inputs - n_judged_of(config, n_inputs)
    if direction is None or not n_beside:
        return config
    beside = (0.0,) * n_beside
    wide: Any = tuple((*row, *beside) if isinstance(row, tuple) else row for row in direction)
    wide = wide if isinstance(direction[0], tuple) else (*wide, *beside)
    return replace(config, penalty=replace(config.penalty, direction=wide))


def calendar_of(times: Ints, calendar: str) -> Float32s:
    """Return sine and cosine of where times stand in each period of a calendar, times sqrt(2).

    Args:
        times: `(n,)` microseconds since 1970, UTC.
        calendar: a name of `config.CALENDARS`.

    Returns:
        `(n, 0)` for none, `(n, 2)` for day, `(n, 4)` for week: sine and cosine of the day, then those of the week from Monday on.
    """
    waves = []
    for period in PERIODS[calendar]:
        phase = 2 * np.pi * ((times - _MONDAY) % period / period)
        waves += [np.sin(phase), np.cos(phase)]
    return np.stack(waves, axis=1).astype(np.float32) * np.float32(np.sqrt(2)) if waves else np.empty((len(times), 0), np.float32)


def judged_first(config: DetectorConfig, series: TimeSeries) -> TimeSeries:
    """Return a training series with its context columns behind the others, in the order of the setting.

    Raises:
        ConfigError: if one of them is no column, or none is left to be judged.
    """
    context = config.context.context_columns or ()
    if missing := [name for name in context if name not in series.columns]:
        raise ConfigError(
            f"`context_columns` must name columns of the data, {shorten(series.columns)}. Received: {shorten(missing)} "
            f"({series.name}). Name others, or leave them out."
        )
    judged = [name for name in series.columns if name not in context]
    if not judged:
        raise ConfigError(
            f"`context_columns` must leave a column to be judged. Received: {shorten(context)}, which are all ({series.name}). "
            "Leave out those that shall raise events."
        )
    return series.of_columns((*judged, *context))


def check_calendar(config: DetectorConfig, series: TimeSeries, *, seen_before: bool = False) -> None:
    """Refuse a calendar that the history cannot teach.

    Args:
        config: all settings.
        series: what is to be trained on, its rows in order.
        seen_before: whether the network has learnt the calendar from another history.

    Raises:
        ConfigError: if rows are counted, come once a period or less often, or span less than two of it.
    """
    calendar = config.context.calendar
    if calendar == "none":
        return
    period = PERIODS[calendar][-1]
    if series.time_column is None:
        raise ConfigError(
            f"`calendar` must be none where rows are counted. Received: calendar={calendar} ({series.name}). "
            "Name the column of times with --time-column, or leave the calendar out."
        )
    step = median_step(series.times)
    if step >= period:
        raise ConfigError(
            f"`calendar` must be longer than the step between two rows. Received: calendar={calendar} for a row every "
            f"{step_text(step)} ({series.name}). Leave the calendar out."
        )
    first, last = int(series.times[0]), int(series.times[-1])
    if last - first + step < LEAST_SEEN * period and not seen_before:
        raise ConfigError(
            f"`calendar` must be one of which the history has seen {LEAST_SEEN} {calendar}s. Received: calendar={calendar} for "
            f"{format_time(first, series.time_column)} to {format_time(last, series.time_column)} ({series.name}). Give a longer "
            "history, or leave the calendar out."
        )
