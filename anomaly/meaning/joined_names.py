"""Names on several lines, as pandas writes columns of several levels: the last of them names the index alone."""

from collections.abc import Sequence

from anomaly.columns.column_names import is_called_like_times
from anomaly.meaning.heading import is_measured

# So many lines of names are looked for.
_MOST_LEVELS = 5


def joined_names(header: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[str], int]:
    """Return the names of columns that stand on several lines, and how many lines these are below the first; none if on one.

    A column is called as on the first line where all have names of their own there: Close; else as on all lines on which they
    are not all alike: Close AAPL.

    Args:
        header: the cells of the first line.
        rows: the cells of the lines below it.
    """
    n = next((n for n, row in enumerate(rows[:_MOST_LEVELS], 1) if _names_the_index(row, len(header))), 0)
    levels = [[cell.strip() for cell in row] for row in (header, *rows[: n - 1])]
    below = rows[n : n + 1]
    if not n or not below or not is_measured(below[0][0] if below[0] else "") or is_called_like_times(header[0]):
        return [], 0
    if not all(len(level) == len(header) and _are_labels(level[1:]) for level in levels) or any(map(is_measured, levels[0])):
        return [], 0
    index = rows[n - 1][0].strip()
    if not is_called_like_times(index):  # titles may end so
        return [], 0
    return [index, *_told_apart([level[1:] for level in levels])], n


def _names_the_index(cells: Sequence[str], n_cells: int) -> bool:
    return len(cells) == n_cells > 1 and bool(cells[0].strip()) and not any(cell.strip() for cell in cells[1:])


def _are_labels(cells: Sequence[str]) -> bool:
    """Tell what a level calls each column: texts, or numbers of them all."""
    return all(cells) and len({is_measured(cell) for cell in cells}) == 1


def _told_apart(levels: Sequence[Sequence[str]]) -> list[str]:
    for level in levels:
        if len(set(level)) == len(level):
            return list(level)
    telling = [level for level in levels if len(set(level)) > 1] or levels
    return [" ".join(parts) for parts in zip(*telling, strict=True)]
