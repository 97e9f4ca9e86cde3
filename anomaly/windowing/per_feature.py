"""Settings that speak of features fit them: a preferred direction, the direction of alarms, least deviations."""

import numpy as np

from anomaly.config import DetectorConfig, PenaltyConfig
from anomaly.errors import ConfigError, shorten
from anomaly.limits import limits_from


def check_direction(config: PenaltyConfig, window_size: int, n_features: int) -> None:
    """Refuse what the penalty at hand does not look at, and a preferred direction of another shape than the windows.

    Args:
        config: of the penalty.
        window_size: rows of a window.
        n_features: that are judged.

    Raises:
        ConfigError: see above.
    """
    if config.direction is not None and config.penalty != "directional":
        raise ConfigError(
            "`direction` must go with the directional penalty. "
            f"Received: a direction with penalty={config.penalty}. Use --penalty directional, or leave --direction out."
        )
    if config.penalty_threshold != PenaltyConfig().penalty_threshold and config.penalty != "hinge":
        raise ConfigError(
            "`penalty_threshold` must go with the hinge penalty. Received: "
            f"{config.penalty_threshold:g} with penalty={config.penalty}. Use --penalty hinge, or leave --penalty-threshold out."
        )
    if config.penalty != "directional":
        return
    shape = np.asarray(config.direction).shape
    if shape not in ((n_features,), (window_size, n_features)):
        raise ConfigError(
            f"`direction` must have one number a feature ({n_features}), or {window_size} rows of them. "
            f"Received: shape {shape}. Use --direction with {n_features} numbers."
        )


def check_alarm_direction(config: DetectorConfig, columns: tuple[str, ...]) -> None:
    """Refuse a direction of alarms that is none, or not one a feature.

    Args:
        config: all settings.
        columns: names of the features that are judged.

    Raises:
        ConfigError: see above.
    """
    direction = config.scoring.alarm_direction
    if direction is None:
        return
    if len(direction) != len(columns):
        raise ConfigError(
            f"`alarm_direction` must have one number a feature ({len(columns)}: {shorten(columns)}). "
            f"Received: {len(direction)}. Write 1 for up, -1 for down, 0 for both."
        )
    if others := [x for x in direction if x not in (-1, 0, 1)]:
        raise ConfigError(f"`alarm_direction` must be 1 for up, -1 for down or 0 for both. Received: {others[0]}. Use one of them.")


def check_limits(config: DetectorConfig, columns: tuple[str, ...]) -> None:
    """Refuse least deviations of what is no feature.

    Args:
        config: all settings.
        columns: names of the features that are judged.

    Raises:
        ConfigError: see above.
    """
    given = config.scoring.min_deviation
    unknown = [] if given is None else [name for name in limits_from(given) if name not in columns]
    if context := [name for name in unknown if name in (config.context.context_columns or ())]:
        raise ConfigError(
            f"`min_deviation` must name features ({shorten(columns)}), and not context, which is never judged. "
            f"Received: {shorten(context)}. Leave it out."
        )
    if unknown:
        raise ConfigError(
            f"`min_deviation` must name features ({shorten(columns)}). Received: {shorten(unknown)}. Write NAME=NUMBER, or NAME=2%."
        )
