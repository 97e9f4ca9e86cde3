"""Where the cut between normal and anomalous comes from; knows nothing of the network.

Every method takes the scores of the training series (`Calibration`) and gives a cut. None looks at the rows that are
scored later: the same row is flagged alone, in a chunk and in a whole file.

    alarm_budget   at most so many alarms on normal data, counted in events, after the event rules
    quantile       the score that a share of the held-out rows exceeds
    conformal      the same with a finite-sample guarantee, from held-out scores a window apart
    k_sigma        mean of the held-out scores plus so many standard deviations
    mad            median plus so many standard deviations, these estimated by the median absolute deviation
    pot            peaks over threshold: a generalised Pareto tail (`anomaly.thresholds.tail`)

`anomaly.thresholds.tuning` has the two that need further data: best F-beta from labels, and false-discovery control.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from anomaly.config import ScoringConfig
from anomaly.drawing import html_line
from anomaly.errors import ConfigError, DataError
from anomaly.events.alarms import AlarmCurve, EventRules, peak_curve
from anomaly.scoring.scores import SMALLEST_THRESHOLD
from anomaly.series import Floats, Ints
from anomaly.thresholds.conformal import spaced
from anomaly.thresholds.tail import MaximaLaw, fit_maxima, fit_tail

# Rates such as 1 - 0.8 lie a rounding error below what they mean; so many scores too few still count.
_SLACK = 1e-9
# With fewer alarms expected in the held-out rows, counting them says less than the law of the maxima.
_COUNTABLE = 10
_MAD_TO_SIGMA = 1.4826
# A history is looked at in so many parts, each of which needs so many maxima.
_PARTS, _FEWEST_BLOCKS = 3, 4
# No history shows anything rarer than one alarm in so many days, or thousands of rows.
_MOST_DAYS = 365


@dataclass(frozen=True)
class Threshold:
    """A cut and how it came about.

    Attributes:
        value: a row is flagged if its score is greater.
        method: one of those above, or f_beta, discoveries or fixed; or lent, by others to a series that is only beginning.
        asked: what the method was asked for: alarms in 1,000 rows, share of rows, sigmas, beta, rate, or the value.
        reached: whether there were enough scores for what was asked; if not, `warning` says what was done.
        n_held_out: rows with a score that were held out of training.
        n_scores: these and the training rows with a score.
        n_above: held-out rows with a score above `value`.
        n_alarms: alarms that `value` raises on the held-out rows, `alarm_direction` not looked at.
        expected: alarms to be expected in 1,000 normal rows; see `expected_alarms`.
        rows_per_day: rows in a day at the median step; None if rows are counted.
    """

    value: float
    method: str
    asked: float
    reached: bool
    n_held_out: int
    n_scores: int
    n_above: int
    n_alarms: int
    expected: float
    rows_per_day: float | None

    @property
    def warning(self) -> str | None:
        """What the calibration rows could not show, in one sentence; None if all is well."""
        if self.reached:
            return None
        if self.method == "alarm_budget" and self.asked * self.n_scores >= 1000:
            return "the scores of the training series hardly vary, or no event is long enough: this is the highest one"
        if self.method == "alarm_budget":
            history, wanted = self._span(self.n_scores), self._span(1000 / self.asked)
            return f"extrapolated, since one alarm in {wanted} was asked for and the history has {history}"
        if self.method in ("quantile", "conformal"):
            needed = int(np.ceil(1 / self.asked - _SLACK)) - (self.method == "conformal")
            apart = " a window apart" if self.method == "conformal" else ""
            return f"too few held-out scores{apart} for that share, which needs {needed:,}: this is the largest one"
        if self.method == "pot":
            return "too few held-out scores to fit a tail, or all the same: this is the largest one"
        if self.method == "discoveries":
            return "by the law of the highest scores, since the held-out rows are too few to be counted"
        return "fewer than 30 held-out scores"

    def __repr__(self) -> str:
        """Say the same as `str`, and that it is a threshold."""
        return f"Threshold {self}"

    def _repr_html_(self) -> str:
        """Say it in a notebook, folded between words."""
        return html_line(repr(self))

    def __str__(self) -> str:
        """Say in one line what the threshold is, where it comes from, and what to expect of it."""
        warning = f"; {self.warning}" if self.warning else ""
        return f"{self.value:.6g} ({self.origin}; expect {self.rate_text(self.expected)} on normal data{warning})"

    @property
    def origin(self) -> str:
        """What the method was asked for, and how many alarms the held-out rows raise."""
        seen = f"{self.n_alarms:,} alarm{'s' if self.n_alarms != 1 else ''} in the {self._span(self.n_held_out)} held out"
        return f"{self.asked_text()}; {seen}"

    def asked_text(self) -> str:
        """Say what the method was asked for."""
        asked = self.asked
        return {
            "alarm_budget": f"alarm_budget: at most {self.rate_text(asked, rarest=np.inf)}",
            "quantile": f"quantile: {asked:.4g} of the held-out rows above it",
            "conformal": f"conformal: a normal row is above it with probability at most {asked:.4g}",
            "k_sigma": f"k_sigma: mean + {asked:g} standard deviations",
            "mad": f"mad: median + {asked:g} robust standard deviations",
            "pot": f"pot: a normal row is above it with probability {asked:.4g}",
            "f_beta": f"f_beta: best F{asked:g} on labelled events",
            "discoveries": f"discoveries: at most {asked:.4g} of the flagged rows false",
            "fixed": "fixed: given by hand",
            "lent": "lent: by other series, widened by what is unknown",
        }[self.method]

    def rate_text(self, per_1000_rows: float, *, rarest: float = _MOST_DAYS) -> str:
        """Say a rate of alarms in the unit that gives a readable number.

        Args:
            per_1000_rows: alarms in 1,000 rows, not negative.
            rarest: a rate of less than one in so many days, a year, or in so many thousand rows is told as "less than".
        """
        if self.rows_per_day is None:
            if per_1000_rows >= 1:
                return f"{_short(per_1000_rows)} in 1,000 rows"
            rare = per_1000_rows * rarest < 1
            return f"less than 1 in {rarest * 1000:,.0f} rows" if rare else f"1 in {1000 / per_1000_rows:,.0f} rows"
        per_day = per_1000_rows * self.rows_per_day / 1000
        for days, name in ((1, "day"), (7, "week")):
            if per_day * days >= 0.995:
                return f"{_short(per_day * days)} a {name}"
        return "less than 1 a year" if per_day * rarest < 1 else f"1 in {1 / per_day:,.0f} days"

    @property
    def expectation(self) -> str:
        """What to expect on normal data, in words; never rarer than one alarm a year, which no history shows."""
        timed = self.rows_per_day is not None
        rate, unit = (self.expected * (self.rows_per_day or 0) / 1000, "day") if timed else (self.expected, "1,000 rows")
        frequent = [(rate, "a day"), (7 * rate, "a week")] if timed else [(rate, f"in {unit}")]
        for number, span in frequent:
            if number >= 0.995:
                n = _short(float(f"{number:.2g}"))
                return f"about {'one false alarm' if n == '1' else f'{n} false alarms'} {span}"
        if rate * _MOST_DAYS < 1:
            told = "less than one false alarm " + ("a year" if timed else f"in {1000 * _MOST_DAYS:,} rows")
        else:
            told = f"about one false alarm in {self._roughly(1000 / self.expected)}"
        beyond = self.expected * self.n_scores < 1000
        return f"{told} (extrapolated from a history of {self._roughly(self.n_scores)})" if beyond else told

    def _roughly(self, n_rows: float) -> str:
        """Return how long some rows take, to two digits or to a day."""
        if self.rows_per_day is None:
            return f"{n_rows:,.0f} rows"
        days = n_rows / self.rows_per_day
        return f"{24 * days:.2g} hours" if days < 1 else f"{days:.2g} days" if days < 9.95 else f"{days:,.0f} days"

    def _span(self, n_rows: float) -> str:
        if self.rows_per_day is None:
            return f"{n_rows:,.0f} rows"
        days = n_rows / self.rows_per_day
        for size, name in ((24, "hours"), (1440, "minutes"), (86_400, "seconds")):
            if days < 1 and (size * days >= 1 or name == "seconds"):
                return f"{size * days:.3g} {name}"
        return f"{days:.3g} days" if days < 1000 else f"{days:,.0f} days"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 1000 else f"{number:.3g}"


@dataclass(frozen=True, eq=False)
class Calibration:
    """The scores of the training series, and what turns scores into alarms.

    Attributes:
        scores: `(n,)` in time order, NaN where there is none.
        times: `(n,)`, as in `TimeSeries`.
        n_held_out: the last so many rows were held out of training.
        window_size: rows in a window; scores that far apart share none.
        rows_per_day: rows in a day at the median step; None if rows are counted.
        rules: from flagged rows to alarms.
    """

    scores: Floats
    times: Ints
    n_held_out: int
    window_size: int
    rows_per_day: float | None
    rules: EventRules

    @cached_property
    def held_out(self) -> Floats:
        """Scores of the held-out rows that have one, `(m,)` in time order.

        Raises:
            DataError: if there is none.
        """
        part = self.scores[len(self.scores) - self.n_held_out :]
        known = part[np.isfinite(part)]
        if not len(known):
            raise DataError("A threshold needs at least one calibration score. Received: none.")
        return known

    @cached_property
    def spaced(self) -> Floats:
        """Held-out scores a window apart, `(m,)`; see `anomaly.thresholds.conformal.spaced`."""
        return spaced(self.scores[len(self.scores) - self.n_held_out :], self.window_size)

    @cached_property
    def curve(self) -> AlarmCurve:
        """Alarms on the held-out rows."""
        first = len(self.scores) - self.n_held_out
        return AlarmCurve(self.scores[first:], self.times[first:], self.rules)

    @cached_property
    def peaks(self) -> tuple[Floats, float]:
        """Where alarms begin on the held-out rows, descending, and what to divide them by; see `peak_curve`."""
        return self._peaks_by(self.rules)

    @property
    def weak_peaks(self) -> Floats:
        """The same, those of events that `min_severity` leaves out among them."""
        return (self.peaks if self.rules.min_severity <= 1 else self._peaks_by(replace(self.rules, min_severity=1.0)))[0]

    def _peaks_by(self, rules: EventRules) -> tuple[Floats, float]:
        first = len(self.scores) - self.n_held_out
        curve, divisor = peak_curve(self.scores[first:], self.times[first:], rules)
        return curve.peaks, divisor

    @cached_property
    def law(self) -> MaximaLaw | None:
        """The law of the highest score in a window of rows, over the whole training series.

        A network reconstructs the rows it was trained on a little better than others, so their scores are
        multiplied by what the medians differ by; never made smaller. See `MaximaLaw.steadied`.
        """
        first = len(self.scores) - self.n_held_out
        trained = self.scores[:first][np.isfinite(self.scores[:first])]
        factor = max(1.0, float(np.median(self.held_out) / max(np.median(trained), SMALLEST_THRESHOLD))) if len(trained) else 1.0
        levelled = np.concatenate([self.scores[:first] * factor, self.scores[first:]])
        law = fit_maxima(levelled, self.window_size)
        return None if law is None else law.steadied()


def expected_alarms(calibration: Calibration, cut: Any) -> Any:
    """Return how many alarms to expect in 1,000 normal rows at a cut, or at each of an array of cuts.

    Where the held-out rows have nine alarms or more, at this cut or at a higher one, these are counted. Where they have
    fewer, the law of the maxima says how often a window of rows reaches the cut: event rules make alarms fewer than
    that, short merge gaps more. A higher cut never has more.
    """
    cuts, rules = np.atleast_1d(np.asarray(cut, np.float64)), calibration.rules
    peaks, divisor = calibration.peaks
    counted = len(peaks) - np.searchsorted(peaks[::-1] / divisor, cuts, "right")
    by_count = 1000 * (counted + 1) / len(calibration.held_out)
    law = calibration.law
    highest = 1000 * _COUNTABLE / len(calibration.held_out)
    by_law = by_count if law is None else np.minimum(1000 * law.rate(cuts * rules.min_severity), highest)
    found = np.where(counted + 1 >= _COUNTABLE, by_count, by_law)
    return found if np.ndim(cut) else float(found[0])


def rates_by_part(calibration: Calibration, cut: float) -> list[tuple[slice, float]]:
    """Return what the law of the maxima says of each third of the training series alone: its rows, and alarms in 1,000 rows.

    Args:
        calibration: of which a third has too few windows for a law of its own if it has fewer than four; then there are no parts.
        cut: as for `expected_alarms`.
    """
    n, block = len(calibration.scores), calibration.window_size
    thirds = [slice(n * k // _PARTS, n * (k + 1) // _PARTS) for k in range(_PARTS)]
    laws = [fit_maxima(calibration.scores[rows], block) for rows in thirds]
    if any(law is None or law.n_blocks < _FEWEST_BLOCKS for law in laws):
        return []
    height = cut * calibration.rules.min_severity
    return [(rows, 1000 * float(law.rate(height))) for rows, law in zip(thirds, laws, strict=True) if law is not None]


def calibrate(calibration: Calibration, config: ScoringConfig) -> Threshold:
    """Choose the cut by `config.threshold_method`.

    Raises:
        DataError: if no held-out row has a score.
        ConfigError: if alarms a day, or a week, are asked for and rows are counted.
    """
    value, asked, reached = METHODS[config.threshold_method](calibration, config)
    return describe(calibration, value, config.threshold_method, asked, reached)


def describe(calibration: Calibration, value: float, method: str, asked: float, reached: bool = True) -> Threshold:
    """Return a cut with what the calibration rows say about it."""
    value = max(float(value), SMALLEST_THRESHOLD)
    held_out = calibration.held_out
    return Threshold(
        value=value,
        method=method,
        asked=float(asked),
        reached=bool(reached),
        n_held_out=len(held_out),
        n_scores=int(np.isfinite(calibration.scores).sum()),
        n_above=int((held_out > value).sum()),
        n_alarms=calibration.curve.raised(value),
        expected=expected_alarms(calibration, value),
        rows_per_day=calibration.rows_per_day,
    )


def budget_per_1000_rows(config: ScoringConfig, rows_per_day: float | None) -> float:
    """Return the alarm budget in alarms per 1,000 rows.

    "auto" is 1, but at most one alarm a day, and at least 0.1: more than a history can show is not asked of it.

    Raises:
        ConfigError: if alarms a day are asked for and rows are counted.
    """
    if config.alarms_per_1000_rows is not None:
        return config.alarms_per_1000_rows
    weekly = config.alarms_per_week
    if weekly is None and config.alarms_per_day == "auto":
        return 1.0 if rows_per_day is None else max(0.1, min(1.0, 1000 / rows_per_day))
    if rows_per_day is None:
        told = f"alarms_per_day={config.alarms_per_day:g}" if weekly is None else f"alarms_per_week={weekly:g}"
        raise ConfigError(
            f"Alarms a {'day' if weekly is None else 'week'} need a series with times. "
            f"Received: {told} for rows that are counted. Use --alarms-per-1000-rows."
        )
    return 1000 * (float(config.alarms_per_day) if weekly is None else weekly / 7) / rows_per_day


Cut = tuple[float, float, bool]  # value, what was asked for, whether there were enough scores


def _alarm_budget(calibration: Calibration, config: ScoringConfig) -> Cut:
    """Choose the smallest cut that keeps the budget; what `min_severity` leaves out lowers it no further.

    Divided by it, the cut would flag all rows, and their runs would be one event.

    With ten expected alarms or more in the held-out rows it is one of their peaks: if alarms come independently of
    each other, as many are to be expected above the j-th highest peak in another such stretch of rows as j. With
    fewer it is the quantile of the law of the maxima over the whole training series.
    """
    budget = budget_per_1000_rows(config, calibration.rows_per_day)
    allowed = budget * len(calibration.held_out) / 1000
    n_scores = int(np.isfinite(calibration.scores).sum())
    law = calibration.law
    if allowed < _COUNTABLE and law is not None and law.scale > 0:
        return law.cut(budget / 1000), budget, budget * n_scores >= 1000 * (1 - _SLACK)
    peaks = calibration.weak_peaks
    if allowed < _COUNTABLE or not len(peaks):  # scores that do not vary have no law, and long events may have no peak
        return calibration.held_out.max(), budget, False
    return peaks[min(int(allowed + _SLACK) - 1, len(peaks) - 1)], budget, True


def _quantile(calibration: Calibration, config: ScoringConfig) -> Cut:
    held_out = calibration.held_out
    allowed = int(np.floor(config.alarm_rate * len(held_out) + _SLACK))
    return np.sort(held_out)[::-1][min(allowed, len(held_out) - 1)], config.alarm_rate, allowed >= 1


def _conformal(calibration: Calibration, config: ScoringConfig) -> Cut:
    """Choose the split-conformal quantile: the score with k others above it, (k + 1) / (n + 1) <= rate, k largest."""
    kept = np.sort(calibration.spaced)[::-1]
    most = int(np.floor(config.alarm_rate * (len(kept) + 1) + _SLACK))
    if most < 1:
        return calibration.held_out.max(), config.alarm_rate, False
    return kept[min(most - 1, len(kept) - 1)], config.alarm_rate, True


def _k_sigma(calibration: Calibration, config: ScoringConfig) -> Cut:
    held_out = calibration.held_out
    return held_out.mean() + config.sigmas * held_out.std(), config.sigmas, len(held_out) >= 30


def _mad(calibration: Calibration, config: ScoringConfig) -> Cut:
    held_out = calibration.held_out
    median = np.median(held_out)
    spread = _MAD_TO_SIGMA * np.median(np.abs(held_out - median))
    return median + config.sigmas * spread, config.sigmas, len(held_out) >= 30


def _pot(calibration: Calibration, config: ScoringConfig) -> Cut:
    tail = fit_tail(calibration.held_out)
    if tail is None:
        return calibration.held_out.max(), config.alarm_rate, False
    return tail.exceeded_with(config.alarm_rate), config.alarm_rate, True


METHODS: dict[str, Callable[[Calibration, ScoringConfig], Cut]] = {
    "alarm_budget": _alarm_budget,
    "quantile": _quantile,
    "conformal": _conformal,
    "k_sigma": _k_sigma,
    "mad": _mad,
    "pot": _pot,
}
