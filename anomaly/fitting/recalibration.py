"""The thresholds of a bundle set anew: by other scoring settings, or to cuts that were found elsewhere."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from anomaly.bundle.bundle import Bundle
from anomaly.config import AGGREGATIONS, THRESHOLD_METHODS, DetectorConfig, refuse_unheard, unheard, with_one_budget
from anomaly.thresholds.calibration import calibrate, describe
from anomaly.windowing.per_feature import check_alarm_direction, check_limits

# The scoring settings that say what becomes of flags, and not where the cut is.
EVENT_SETTINGS = {
    "aggregation", "merge_gap", "min_length", "short_severity", "min_severity", "min_deviation", "cool_down", "alarm_direction",
}  # fmt: skip
# A least length of an event of "auto" is this part of a window. In older detectors it was a 32nd, and stays.
WINDOW_LENGTHS = 20


def recalibrated(bundle: Bundle, settings: Mapping[str, Any]) -> Bundle:
    """Return a bundle with some scoring settings changed and all thresholds set anew by them.

    Where only event rules change, a threshold that came from further data or by hand keeps its value.

    Raises:
        ConfigError: if a setting breaks its rule.
    """
    settings = with_one_budget(settings)
    before = bundle.config.to_settings()
    method = settings.get("threshold_method", before["threshold_method"])
    config = DetectorConfig.from_settings(before | unheard(before, method) | dict(settings))
    refuse_unheard(settings, method)
    check_alarm_direction(config, bundle.judged_columns)
    check_limits(config, bundle.judged_columns)
    automatic = automatic_rules(config, bundle.window_size)
    changed = replace(bundle, config=config, **{name: automatic[name] for name in automatic.keys() & settings.keys()})
    thresholds = {}
    for name in AGGREGATIONS:
        old, calibration = bundle.thresholds.get(name), changed.calibration(name)
        if old is not None and old.method not in THRESHOLD_METHODS and set(settings) <= EVENT_SETTINGS:
            thresholds[name] = describe(calibration, old.value, old.method, old.asked, old.reached)
        else:
            thresholds[name] = calibrate(calibration, config.scoring)
    return replace(changed, thresholds=thresholds)


def automatic_rules(config: DetectorConfig, window_size: int) -> dict[str, Any]:
    """Return what event rules of "auto" come to, in rows; None where a number was given.

    Runs less than a window apart are one event: they share windows, so that they are no evidence of their own.
    """
    length, gap = config.scoring.min_length, config.scoring.merge_gap
    return {
        "min_length": max(1, window_size // WINDOW_LENGTHS) if length == "auto" else None,
        "merge_gap": window_size if gap == "auto" else None,
    }


def with_cuts(
    bundle: Bundle, cuts: Mapping[str, float], method: str, asked: float, *, reached: Mapping[str, bool] | None = None
) -> Bundle:
    """Return a bundle with the thresholds of some aggregations replaced.

    Args:
        bundle: a detector's state.
        cuts: for each of these aggregations the value.
        method: how the values were found, for people.
        asked: what that method was asked for.
        reached: for each of these whether there was enough data for it; default: there was.
    """
    changed = {
        name: describe(bundle.calibration(name), value, method, asked, True if reached is None else reached[name])
        for name, value in cuts.items()
    }
    return replace(bundle, thresholds=bundle.thresholds | changed)
