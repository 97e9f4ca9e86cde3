"""Columns that runs of blanks separate, in lines that nothing else cuts into fields."""

from collections import Counter
from collections.abc import Sequence

from anomaly.meaning.heading import is_measured
from anomaly.meaning.marks import is_grouped
from anomaly.times.moments import are_iso
from anomaly.times.written import written_formats

# So many of the lines, as a share, have as many parts; lines of units and of dashes may have others.
_ALIKE = 0.9
# Of those so many are numbers or times.
_FEWEST_MEASURED, _FEWEST_LINES = 2, 3


def n_between_blanks(header: str, cells: Sequence[str]) -> int:
    """Return how many fields blanks separate in each record; 0 if they do not.

    A time of two parts, or of three with AM or PM, and a number with blanks between its thousands are one field.

    Args:
        header: the first line.
        cells: the lines below it.
    """
    parts = [cell.split() for cell in cells if cell.strip(" -=")]
    if len(header.split()) < _FEWEST_MEASURED or len(parts) < _FEWEST_LINES:
        return 0
    n, often = Counter(map(len, parts)).most_common(1)[0]
    alike = [own for own in parts if len(own) == n and sum(map(is_measured, own)) >= _FEWEST_MEASURED]
    if n < _FEWEST_MEASURED or often < _ALIKE * len(parts) or len(alike) < _ALIKE * len(parts):
        return 0
    whole = [" ".join(own) for own in alike]
    is_one = are_iso(whole) or bool(written_formats(whole)) or all(map(is_grouped, whole))
    return 0 if is_one else n
