"""What a bundle file has no room for, refused before a training rather than after it."""

import json

from anomaly.bundle.container import LARGEST_HEADER, LONGEST_NAME, brief, canonical
from anomaly.bundle.header import MOST_COLUMNS, MOST_PARAMETERS, checked_columns, checked_time_column, n_parameters
from anomaly.config import DetectorConfig
from anomaly.errors import ConfigError, DataError
from anomaly.windowing.context import Context

# Room in the header for all but settings and names, bytes.
_OTHER_HEADER = 1 << 15


def require_storable(config: DetectorConfig, columns: tuple[str, ...], time_column: str | None) -> None:
    """Refuse before a training what could not be saved after it.

    Args:
        config: the settings.
        columns: names of the features, and of the context.
        time_column: name of the time column; None if rows are counted.

    Raises:
        DataError: if there are more than 4,096 columns, or a name is longer than 1,024 characters or holds a line break
            or another control character.
        ConfigError: if the network has more than 50,000,000 parameters, or the settings fill more than 1 MiB.
    """
    try:
        checked_columns(list(columns))
        checked_time_column(time_column, columns)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"A detector has at most {MOST_COLUMNS:,} columns, each with a name of at most {LONGEST_NAME:,} characters and no "
            f"control character. Received: {brief(error)}. Rename the columns, or name those to use."
        ) from error
    count = n_parameters(config, Context.of(config, len(columns)).n_inputs)
    if count > MOST_PARAMETERS:
        raise ConfigError(
            f"A network must have at most {MOST_PARAMETERS:,} parameters. Received: {count:,}. Use fewer `units` or `layers`."
        )
    size = len(json.dumps(canonical([config.to_settings(), columns, time_column])))
    if size > LARGEST_HEADER - _OTHER_HEADER:
        raise ConfigError(
            f"Settings and names must fit into 1 MiB. Received: {size:,} bytes. Give `direction` once for all timesteps, "
            "or shorten the names of the columns."
        )
