"""Tables of HTML, small lines of SVG, and lines of matplotlib, from plain values: what notebooks show of an object.

Everything that is shown is escaped: names come from files. Nothing heavy is imported before a figure is asked for.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Sequence
from functools import partial
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from anomaly.errors import ConfigError
from anomaly.extras import lacking, require_temporary_folder
from anomaly.quick_start import pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, RED, GREY = "#2a6fbb", "#c8362f", "#777777"
# Of a line in a notebook, in pixels.
_WIDTH, _HEIGHT, _MARGIN = 640, 80, 3
_CELL = 'style="text-align:left;white-space:nowrap;padding:2px 10px"'

Line = npt.NDArray[np.float64]


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """Return a table.

    Args:
        header: names of the columns.
        rows: cells as text, as many as there are names.
        caption: a line above it.
    """
    names = "".join(f"<th {_CELL}>{escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td {_CELL}>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"{html_line(caption)}<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"


def html_line(text: str) -> str:
    """Return a line of text."""
    return f'<div style="font-family:monospace">{escape(text)}</div>'


def svg_line(
    values: Line, label: str, *, cut: float | None = None, marks: Sequence[tuple[int, int]] = (), log: bool = False,
) -> str:  # fmt: skip
    """Return a line over the rows as a picture of 640 x 80 pixels, with the extremes of each pixel; holes stay holes.

    Args:
        values: `(n,)`; what is not finite is left out.
        label: what a screen reader says, and a pointer that rests on it.
        cut: where a dashed line lies.
        marks: half-open ranges of rows with another background.
        log: whether the scale is logarithmic; values and cut of 0 or less then lie at the smallest one above.
    """
    values, cut = _on_log_scale(values, cut) if log else _within_one(values, cut)
    low, high = _range(values, cut)
    scale = (_WIDTH - 1) / max(1, len(values) - 1)

    def height(value: float) -> float:
        return _HEIGHT - _MARGIN - (value - low) / (high - low) * (_HEIGHT - 2 * _MARGIN)

    parts = [
        f'<rect x="{start * scale:.1f}" y="0" width="{max(1.0, (stop - 1 - start) * scale):.1f}" height="{_HEIGHT}" '
        f'fill="{RED}" fill-opacity="0.2"/>'
        for start, stop in marks
    ]
    if cut is not None:
        parts.append(f'<path d="M0 {height(cut):.1f}H{_WIDTH}" stroke="{RED}" stroke-dasharray="4 3" fill="none"/>')
    for rows in _pieces(values):
        points = " ".join(f"{row * scale:.1f},{height(float(values[row])):.1f}" for row in rows)
        parts.append(f'<polyline points="{points}" stroke="{BLUE}" stroke-linecap="square" fill="none"/>')
    title = escape(label)
    return (
        f'<svg role="img" aria-label="{title}" width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'style="max-width:100%;display:block"><title>{title}</title>{"".join(parts)}</svg>'
    )


def _on_log_scale(values: Line, cut: float | None) -> tuple[Line, float | None]:
    positive = np.isfinite(values) & (values > 0)
    known = np.append(values[positive], [] if cut is None or cut <= 0 else cut)
    least = float(known.min()) if len(known) else 1.0
    logs = np.log10(np.maximum(np.where(np.isfinite(values), values, least), least))
    return np.where(np.isfinite(values), logs, np.nan), None if cut is None else float(np.log10(max(cut, least)))


def _within_one(values: Line, cut: float | None) -> tuple[Line, float | None]:
    """Divide by the largest magnitude, so that no difference overflows; only the proportions are drawn."""
    known = np.abs(np.append(values[np.isfinite(values)], [] if cut is None else cut))
    most = float(known.max()) if len(known) and known.max() > 0 else 1.0
    return np.where(np.isfinite(values), values / most, np.nan), None if cut is None else cut / most


def _range(values: Line, cut: float | None) -> tuple[float, float]:
    known = np.append(values[np.isfinite(values)], [] if cut is None else cut)
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _pieces(values: Line) -> list[list[int]]:
    """Return the rows to draw, of each pixel those with the least and the greatest value, apart where something is missing."""
    known = np.isfinite(values)
    pieces: list[list[int]] = []
    for start, stop in pairwise([0, *(np.flatnonzero(np.diff(known)) + 1).tolist(), len(values)]):
        if stop > start and known[start]:
            edges = np.unique(np.linspace(start, stop, min(stop - start, _WIDTH) + 1).astype(np.int64)).tolist()
            pieces.append([row for one, other in pairwise(edges) for row in _extremes(values, one, other)])
    return pieces


def _extremes(values: Line, start: int, stop: int) -> list[int]:
    return sorted({start + int(np.argmin(values[start:stop])), start + int(np.argmax(values[start:stop]))})


def new_figure(heights: Sequence[float]) -> tuple[Figure, Any]:
    """Return an empty figure of matplotlib with panels one below the other, and these.

    Args:
        heights: of the panels, as shares.

    Raises:
        ConfigError: if matplotlib is not installed.
        StorageError: if it has no folder to keep something in.
    """
    figure = load_figure()(figsize=(11, 1.4 + 0.95 * sum(heights)), layout="constrained")
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=list(heights), squeeze=False)[:, 0]
    for axis in axes:
        axis.margins(x=0.005)
        axis.spines[["top", "right"]].set_visible(False)
    # A notebook shows figures by itself only after pyplot was imported.
    figure._repr_png_ = partial(_png, figure)  # type: ignore[attr-defined]
    return figure, axes


def load_figure() -> type[Figure]:
    """Return the class `Figure` of matplotlib, imported if that is still to be done; errors as `new_figure`.

    Where the home folder may not be written to, matplotlib takes a temporary one, and warns of it each time: it is not done here.
    """
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise lacking("A picture", "plot") from error
    except ValueError as error:
        raise ConfigError(
            f"MPLBACKEND must name a backend of matplotlib. Received: {os.environ.get('MPLBACKEND', '')[:40]!r}. "
            "Unset it: none is needed here."
        ) from error
    except OSError:
        require_temporary_folder()
        raise
    finally:
        log.setLevel(level)
    return Figure


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def draw_line(axis: Any, x: pd.Index, y: Line, broken: npt.NDArray[np.bool_], color: str) -> None:
    """Draw y over x, with no line across a gap.

    Args:
        axis: a panel of matplotlib.
        x: `(n,)` times or row numbers.
        y: `(n,)`.
        broken: `(n,)`, whether a gap comes behind each row.
        color: of the line.
    """
    gaps = np.flatnonzero(broken) + 1
    axis.plot(np.insert(x.to_numpy(), gaps, x.to_numpy()[gaps - 1]), np.insert(y, gaps, np.nan), color=color, linewidth=0.8)
