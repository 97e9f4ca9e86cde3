"""How far a feature must deviate, as a person writes it: flow=0.5,temp=2%."""

import csv
import math
from collections.abc import Mapping
from typing import Any, NamedTuple


class Limit(NamedTuple):
    """The least deviation of a feature that matters."""

    amount: float  # above 0: in the unit of the column, or a share of the expected value
    is_share: bool

    def __str__(self) -> str:
        """Return it as it is written."""
        return f"{100 * self.amount:.9g}%" if self.is_share else f"{self.amount:.9g}"


def limits_from(text: str) -> dict[str, Limit]:
    """Return what is written, by feature.

    Args:
        text: NAME=NUMBER, in the unit of the column, or NAME=NUMBER% of the expected value, with commas between; a name that holds
            a comma stands in double quotes.

    Raises:
        ValueError: if it is something else, or a feature is named twice.
    """
    limits: dict[str, Limit] = {}
    for part in next(csv.reader([text], skipinitialspace=True), []):
        name, mark, written = (piece.strip() for piece in part.rpartition("="))
        number, is_share = written.removesuffix("%"), written.endswith("%")
        amount = float(number) / (100 if is_share else 1)
        if not name or not mark or name in limits or not 0 < amount < math.inf:
            raise ValueError(part)
        limits[name] = Limit(amount, is_share)
    if not limits:
        raise ValueError(text)
    return limits


def are_limits(value: object) -> bool:
    """Tell whether a value is such a text."""
    try:
        return isinstance(value, str) and bool(limits_from(value))
    except (ValueError, csv.Error):
        return False


def limits_text(limits: Mapping[str, Any]) -> str:
    """Return limits as they are written: numbers, texts such as 2%, or `Limit`s, by feature."""
    quoted = {name: '"' + str(name).replace('"', '""') + '"' if set(',"') & set(str(name)) else str(name) for name in limits}
    return ",".join(f"{quoted[name]}={limit}" for name, limit in limits.items())
