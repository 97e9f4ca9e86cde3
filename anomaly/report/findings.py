"""What an evaluation and an explanation found, in words and as plain values."""

from typing import Any

import numpy as np

from anomaly.evaluation.evaluate import Evaluation
from anomaly.events.event import Event
from anomaly.explaining.attribution import Explanation
from anomaly.report.tables import TOP_FEATURES, aligned, as_json
from anomaly.series import TimeSeries, format_time
from anomaly.windowing.scaling import Scaler
from anomaly.words import counted, duration_text, stamp_text, zone_text

# From so many thresholds, and from so many training sigmas, on.
_HEIGHTS = ((100.0, "very far"), (10.0, "far"), (2.0, "clearly"), (1.2, "a little"), (0.0, "barely"))
_NEARNESS = ((2.0, "very far"), (0.5, "far"), (0.1, "near"), (0.0, "very near"))


def evaluation_text(evaluation: Evaluation, file_format: str) -> str:
    """Return an evaluation: "table" for people, "json" for programs."""
    if file_format == "json":
        return as_json(evaluation.to_dict())
    compared = aligned(evaluation.comparison_rows(), right=(1, 2, 3))
    return f"{aligned(evaluation.rows())}\n{compared}\n{evaluation.verdict}\n"


def explanation_text(
    number: int, event: Event, explanation: Explanation, series: TimeSeries, scaler: Scaler, width: int | None = None
) -> str:
    """Return in words and in the units of the columns what drove an event, when, how far off it was, and how far from none.

    Args:
        number: of the event, from 1.
        event: one of the series.
        explanation: of the event.
        series: what was scored.
        scaler: of the detector.
        width: characters that a line may have; None for any number.
    """
    n, span = len(event), event.last_time - event.first_time
    lasts = f", {duration_text(span)}" if series.time_column is not None and span > 0 else ""
    rows = [("  driven by", event.drivers)]
    rows += [("  furthest off", event.against)] if event.against else []
    rows += [
        ("  on average", _on_average(event, explanation, scaler)),
        ("  above threshold", _above(event, series)),
        ("  far from none", _far_from_none(explanation, series, scaler)),
        ("  most sensitive to", _most_sensitive(explanation, series)),
    ]
    head = f"{number}. {event.when}{zone_text(series.stamps)}, {counted(n, 'row')}{lasts}\n"
    return head + aligned(rows, width=width)


def explanation_values(number: int, event: Event, explanation: Explanation, series: TimeSeries, scaler: Scaler) -> dict[str, Any]:
    """Return the same as plain values for JSON; sensitivities as rows of numbers, from `first_row` on."""
    finite = bool(np.isfinite(explanation.noise_rms))
    sigmas = dict(zip(explanation.columns, scaler.scale.tolist(), strict=True))
    pairs = zip(event.shares, event.deviations, strict=True)
    return event.to_dict(series.time_column) | {
        "number": number,
        "mean_deviations": {name: float(f"{x * sigmas[name]:.6g}") for (name, _), x in pairs},
        "sigmas": sigmas,
        "noise_rms": explanation.noise_rms if finite else None,
        "noise_largest": explanation.noise_largest if finite else None,
        "largest_changes": _largest_changes(explanation, series, scaler) if finite else None,
        "steps": explanation.n_steps,
        "ended_early": explanation.ended_early,
        "linear_rms": explanation.linear_rms if np.isfinite(explanation.linear_rms) else None,
        "sensitivity": {
            "first_row": explanation.first_row,
            "columns": list(explanation.columns),
            "rows": np.round(explanation.sensitivity, 6).tolist(),
        },
    }


def nearness(noise_rms: float) -> str:
    """Return in two words how large a change is that would leave no event, training sigmas (root mean square)."""
    return next((words for least, words in _NEARNESS if noise_rms >= least), _NEARNESS[-1][1])


def _above(event: Event, series: TimeSeries) -> str:
    """Return how far the highest score is above the threshold, and when."""
    words = next(words for least, words in _HEIGHTS if event.severity >= least)
    times = f"{event.severity:.2f}" if event.severity < 100 else f"{event.severity:,.0f}"
    return f"{words}: at {stamp_text(series.stamps[event.peak])} the score is {times} times the threshold"


def _on_average(event: Event, explanation: Explanation, scaler: Scaler) -> str:
    """Return how far the features that drove an event were from what was expected, in their units and in sigmas."""
    sigmas = dict(zip(explanation.columns, scaler.scale.tolist(), strict=True))
    texts = []
    for i in event.named:
        name, deviation = event.shares[i][0], event.deviations[i]
        way = "above" if deviation >= 0 else "below"
        what = f"{name} " if len(event.shares) > 1 else ""
        texts.append(f"{what}{abs(deviation) * sigmas[name]:.3g} {way} what was expected ({abs(deviation):.2g} training sigmas)")
    return ", ".join(texts)


def _far_from_none(explanation: Explanation, series: TimeSeries, scaler: Scaler) -> str:
    """Return how little would leave no event."""
    late = f"; the time was up after {explanation.n_steps} steps: a smaller change may exist" if explanation.ended_early else ""
    if not np.isfinite(explanation.noise_rms):
        return f"no small change was found that leaves no event{late}"
    size = f"({explanation.noise_rms:.2g} training sigmas, root mean square)"
    (largest, *_) = _largest_changes(explanation, series, scaler)
    what = f"by {abs(largest['change']):.2g} at most" + (f", in {largest['feature']}" if len(explanation.columns) > 1 else "")
    return f"{nearness(explanation.noise_rms)}: with values changed {what} {size} there is no event{late}"


def _largest_changes(explanation: Explanation, series: TimeSeries, scaler: Scaler) -> list[dict[str, Any]]:
    """Return the largest change of each feature in the one that leaves no event, in its unit, from the most sigmas down."""
    changed = explanation.changed
    rows, columns = np.abs(changed).argmax(axis=0), np.arange(changed.shape[1])
    order = np.argsort(-np.abs(changed[rows, columns]), kind="stable")
    return [
        {
            "feature": explanation.columns[i],
            "time": format_time(int(series.times[explanation.changed_first_row + rows[i]]), series.time_column),
            "change": float(f"{changed[rows[i], i] * scaler.scale[i]:.6g}"),
        }
        for i in order
    ]


def _most_sensitive(explanation: Explanation, series: TimeSeries) -> str:
    """Return the values that the highest score hangs on most; with one feature only when they were."""
    stamps, several = series.stamps, len(explanation.columns) > 1
    found = [(stamp_text(stamps[row]), name) for row, name, _ in explanation.top(TOP_FEATURES)]
    return ", ".join(f"{name} at {when}" if several else when for when, name in found)
