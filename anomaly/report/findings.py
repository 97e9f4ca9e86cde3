"""What an evaluation and an explanation found, in words and as plain values."""

from typing import TYPE_CHECKING, Any

import numpy as np

from anomaly.evaluation.evaluate import Evaluation
from anomaly.explaining.attribution import Explanation
from anomaly.report.tables import TOP_FEATURES, aligned, arrow, as_json
from anomaly.scoring.events import Event
from anomaly.series import (
    TimeSeries,
    format_time,
)

if TYPE_CHECKING:
    pass


def evaluation_text(evaluation: Evaluation, file_format: str) -> str:
    """Return an evaluation: "table" for people, "json" for programs."""
    if file_format == "json":
        return as_json(evaluation.to_dict())
    compared = aligned(evaluation.comparison_rows(), right=(1, 2, 3))
    return f"{aligned(evaluation.rows())}\n{compared}\n{evaluation.verdict}\n"


def explanation_text(number: int, event: Event, explanation: Explanation, series: TimeSeries) -> str:
    """Return in words what an event hangs on.

    Args:
        number: of the event, from 1.
        event: one of the series.
        explanation: of the event.
        series: what was scored.
    """

    def when(time: int) -> str:
        return format_time(time, series.time_column)

    pairs = list(zip(event.shares, event.deviations, strict=True))[:TOP_FEATURES]
    driven = ", ".join(f"{name} {share:.0%} {arrow(x)} ({x:+.3g} sigmas on average)" for (name, share), x in pairs)
    noise = (
        f"a change of {explanation.noise_rms:.3g} training sigmas (root mean square), {explanation.noise_largest:.3g} at most"
        if np.isfinite(explanation.noise_rms)
        else "no small change was found"
    )
    if explanation.ended_early:
        noise += f"; the time was up after {explanation.n_steps} steps: a smaller change may exist"
    places = [f"{when(int(series.times[row]))} {name} ({size:.3g} a sigma)" for row, name, size in explanation.top(TOP_FEATURES)]
    rows = [
        ("  driven by", driven),
        ("  to unflag it", noise),
        ("  most sensitive to", ", ".join(places)),
    ]
    head = f"{number}. {when(event.first_time)} to {when(event.last_time)}, severity {event.severity:.4g}\n"
    return head + aligned(rows)


def explanation_values(number: int, event: Event, explanation: Explanation, series: TimeSeries) -> dict[str, Any]:
    """Return the same as plain values for JSON; sensitivities as rows of numbers, from `first_row` on."""
    finite = bool(np.isfinite(explanation.noise_rms))
    return event.to_dict(series.time_column) | {
        "number": number,
        "noise_rms": explanation.noise_rms if finite else None,
        "noise_largest": explanation.noise_largest if finite else None,
        "steps": explanation.n_steps,
        "ended_early": explanation.ended_early,
        "linear_rms": explanation.linear_rms if np.isfinite(explanation.linear_rms) else None,
        "sensitivity": {
            "first_row": explanation.first_row,
            "columns": list(explanation.columns),
            "rows": np.round(explanation.sensitivity, 6).tolist(),
        },
    }
