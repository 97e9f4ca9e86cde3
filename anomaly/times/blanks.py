"""Blanks in times: those that are narrow, wide or do not break are blanks, as browsers and tables of the web write them."""

import re
from collections.abc import Sequence

from anomaly.times.moments import are_iso
from anomaly.times.time_parts import is_time_of_day
from anomaly.times.written import written_formats

_OTHER_BLANKS = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")


def with_blanks(text: str) -> str:
    """Return a text in which each blank is the common one."""
    return _OTHER_BLANKS.sub(" ", text)


def times_with_blanks(cells: Sequence[str]) -> Sequence[str]:
    """Return cells with common blanks where they are times with others; between thousands these stay as they are."""
    if all(map(str.isascii, cells)):  # as nearly always
        return cells
    odd = next((cell for cell in cells if _OTHER_BLANKS.search(cell.strip())), None)
    if odd is None:
        return cells
    first = [with_blanks(odd)]
    are_times = are_iso(first) or bool(written_formats(first)) or is_time_of_day(first[0])
    return [with_blanks(cell) for cell in cells] if are_times else cells
