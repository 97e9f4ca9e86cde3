"""What people see: tables of events, the content of a bundle, a picture."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from anomaly.attribution import Explanation
from anomaly.bundle import Bundle
from anomaly.bundle_header import Ancestry
from anomaly.errors import ConfigError
from anomaly.evaluation import Evaluation
from anomaly.events import Event
from anomaly.folders import new_file
from anomaly.model import rows_of_timesteps
from anomaly.rejects import inert
from anomaly.scoring import Scores
from anomaly.series import (
    Bools,
    Floats,
    TimeSeries,
    breaks_between,
    format_time,
    labelled_ranges,
    longest_step,
    time_index,
)
from anomaly.threshold import expected_alarms

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOP_FEATURES = 3
_COLUMNS = (
    "start", "stop", "first_time", "last_time", "peak_time", "peak_score", "severity", "n_flagged", "features", "deviations",
)  # fmt: skip
_BLUE, _RED, _GREY = "#2a6fbb", "#c8362f", "#777777"
_MOST_PANELS = 6
# Cuts that a menu offers, in thresholds.
_MENU = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0)


def events_text(
    events: list[Event], time_column: str | None, file_format: str, *, series: list[str] | None = None, header: bool = True
) -> str:
    """Return events as text.

    Args:
        events: in order.
        time_column: as in `TimeSeries`.
        file_format: "table" for people, "csv" or "jsonl" for programs.
        series: which series each belongs to, if there are several.
        header: whether a CSV text begins with the names of its columns.
    """
    named: list[dict[str, Any]] = [{}] * len(events) if series is None else [{"series": name} for name in series]
    rows = [name | event.to_dict(time_column) for name, event in zip(named, events, strict=True)]
    if file_format == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    if file_format == "csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        columns = _COLUMNS if series is None else ("series", *_COLUMNS)
        if header:
            writer.writerow(columns)
        for event, row in zip(events, rows, strict=True):
            shares = " ".join(f"{name}:{share:.2f}" for name, share in event.shares)
            deviations = " ".join(f"{name}:{x:+.3g}" for (name, _), x in zip(event.shares, event.deviations, strict=True))
            row |= {"peak_score": f"{event.peak_score:.9g}", "features": inert(shares), "deviations": inert(deviations)}
            row |= {"series": inert(str(row.get("series", "")))}
            writer.writerow([row[name] for name in columns])
        return text.getvalue()
    return _events_table(events, time_column, series)


def _events_table(events: list[Event], time_column: str | None, series: list[str] | None) -> str:
    if not events:
        return "No events.\n"
    table: list[tuple[str, ...]] = [("#", "first", "last", "rows", "peak", "severity", "driven by")]
    for number, event in enumerate(events, start=1):
        times = [format_time(t, time_column) for t in (event.first_time, event.last_time, event.peak_time)]
        table.append(
            (str(number), times[0], times[1], f"{len(event):,}", times[2], f"{event.severity:.2f}", _shares(event, TOP_FEATURES))
        )
    if series is not None:
        table = [(row[0], name, *row[1:]) for row, name in zip(table, ["series", *series], strict=True)]
    return aligned(table, right=(0, 3, 5) if series is None else (0, 4, 6))


def _shares(event: Event, top: int) -> str:
    """Name features with their shares, and an arrow: above or below what was expected."""
    parts = list(zip(event.shares, event.deviations, strict=True))[:top]
    return " ".join(f"{name}:{share:.2f}{_arrow(deviation)}" for (name, share), deviation in parts)


def aligned(table: Sequence[tuple[str, ...]], right: tuple[int, ...] = ()) -> str:
    """Return rows of text in columns, two blanks apart; the columns in `right` end flush."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = (
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    )
    return "".join(line.rstrip() + "\n" for line in lines)


def _arrow(deviation: float) -> str:
    return "" if deviation == 0 else "↑" if deviation > 0 else "↓"


def write_events(path: str, events: list[Event], time_column: str | None, *, series: list[str] | None = None) -> None:
    """Write events, with their series if there are several, to a file: JSON Lines if its name ends in .jsonl, else CSV."""
    text = events_text(events, time_column, "jsonl" if Path(path).suffix == ".jsonl" else "csv", series=series)
    with new_file(path) as handle:
        handle.write(text.encode())


def bundle_text(bundle: Bundle, file_format: str, *, sha256: str | None = None) -> str:
    """Return what is in a bundle.

    Args:
        bundle: a detector's state.
        file_format: "text" for people, "json" with every setting for programs.
        sha256: of the file it came from, if it is to be shown.
    """
    described = bundle.describe()
    if file_format == "json":
        return _json(described | ({} if sha256 is None else {"sha256": sha256}))
    network, training = bundle.config.network, bundle.training
    own = bundle.config.scoring.aggregation
    rows = [
        ("columns", ", ".join(bundle.columns)),
        ("time", time_text(bundle)),
        ("window", f"{bundle.window_size} rows, trained at stride {bundle.stride}"),
        ("network", network_text(bundle)),
        ("penalty", penalty_text(bundle)),
        ("trained on", f"{training['n_rows']:,} rows, {training['first_time']} to {training['last_time']}"),
        ("training", f"{training['n_train_windows']:,} windows; {epochs_text(bundle)}"),
        ("held-out loss", f"{bundle.held_out_loss:.4g}"),
        *([] if bundle.ancestry is None else [("continued from", ancestry_text(bundle.ancestry))]),
        ("seed", str(bundle.seed)),
        *(
            (f"threshold {name}" + (" *" if name == own else ""), str(threshold) if name == own else f"{threshold.value:.6g}")
            for name, threshold in bundle.thresholds.items()
        ),
        ("parameters", f"{sum(array.size for array in bundle.weights.values()):,}"),
        ("data", f"sha256 {bundle.fingerprint[:16]}"),
        *([] if sha256 is None else [("file", f"sha256 {sha256}")]),
        ("made with", ", ".join(f"{name} {version}" for name, version in bundle.versions.items())),
    ]
    note = "\n* the aggregation this detector uses by default\n"
    return f"{network.layers}+{network.layers}-layer LSTM autoencoder, {len(bundle.columns)} feature(s)\n\n{aligned(rows)}{note}"


def menu_text(bundle: Bundle, file_format: str) -> str:
    """Return the threshold and what other cuts would cost: "text" for people, "json" for programs."""
    own = bundle.config.scoring.aggregation
    now, calibration = bundle.thresholds[own], bundle.calibration(own)
    cuts = [now.value * factor for factor in _MENU]
    expected = expected_alarms(calibration, np.array(cuts)).tolist()
    held_out = [calibration.curve.raised(cut) for cut in cuts]
    if file_format == "json":
        menu = [
            {"threshold": cut, "expected_per_1000_rows": rate, "held_out_alarms": count}
            for cut, rate, count in zip(cuts, expected, held_out, strict=True)
        ]
        return _json(_tuning(bundle) | {"menu": menu})
    table = [("threshold", "alarms held out", "expected on normal data")]
    for cut, rate, count in zip(cuts, expected, held_out, strict=True):
        table.append((f"{cut:.6g}" + (" *" if cut == now.value else "  "), f"{count:,}", now.rate_text(rate)))
    budget = "--alarms-per-1000-rows" if bundle.rows_per_day is None else "--alarms-per-day"
    return (
        f"Threshold {now}.\n\n{aligned(table, right=(0, 1))}\n* as it is. A row is flagged if its score is above the threshold.\n"
        f"To move it: {budget} N, or --value X, or --labels DATA.csv; `anomaly threshold -h` has more.\n"
    )


def retuning_text(before: Bundle, after: Bundle, file_format: str) -> str:
    """Return what a change of the threshold changes: "text" for people, "json" for programs."""
    if file_format == "json":
        return _json({"before": _tuning(before), "after": _tuning(after)})
    rows = [("", "before", "after")]
    pairs = [_tuning_rows(bundle) for bundle in (before, after)]
    rows += [(name, old, new) for (name, old), (_, new) in zip(*pairs, strict=True)]
    warning = after.thresholds[after.config.scoring.aggregation].warning
    return aligned(rows) + (f"\nNote: {warning}.\n" if warning else "")


def _tuning(bundle: Bundle) -> dict[str, Any]:
    own = bundle.config.scoring.aggregation
    threshold = bundle.thresholds[own]
    rules = asdict(bundle.rules)
    return {"aggregation": own, "threshold": asdict(threshold) | {"warning": threshold.warning}, "rules": rules}


def _tuning_rows(bundle: Bundle) -> list[tuple[str, str]]:
    own = bundle.config.scoring.aggregation
    threshold, rules = bundle.thresholds[own], bundle.rules
    merged = f"gaps up to {rules.merge_gap} rows merged"
    options = [
        merged,
        f"at least {rules.min_length} rows" if rules.min_length > 1 else "",
        f"severity above {rules.min_severity:g}" if rules.min_severity > 1 else "",
        f"{rules.cool_down} rows of cool-down" if rules.cool_down else "",
        f"direction {','.join(f'{x:g}' for x in rules.direction)} (not counted above)" if rules.direction else "",
    ]
    return [
        ("threshold", f"{threshold.value:.6g}"),
        ("chosen by", threshold.asked_text()),
        ("expected on normal data", threshold.rate_text(threshold.expected)),
        ("alarms in the held-out rows", f"{threshold.n_alarms:,}"),
        ("events", ", ".join(text for text in options if text)),
    ]


def evaluation_text(evaluation: Evaluation, file_format: str) -> str:
    """Return an evaluation: "table" for people, "json" for programs."""
    if file_format == "json":
        return _json(evaluation.to_dict())
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
    driven = ", ".join(f"{name} {share:.0%} {_arrow(x)} ({x:+.3g} sigmas on average)" for (name, share), x in pairs)
    noise = (
        f"a change of {explanation.noise_rms:.3g} training sigmas (root mean square), {explanation.noise_largest:.3g} at most"
        if np.isfinite(explanation.noise_rms)
        else "no small change was found"
    )
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
        "linear_rms": explanation.linear_rms if np.isfinite(explanation.linear_rms) else None,
        "sensitivity": {
            "first_row": explanation.first_row,
            "columns": list(explanation.columns),
            "rows": np.round(explanation.sensitivity, 6).tolist(),
        },
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def time_text(bundle: Bundle) -> str:
    """Say where the times of a detector come from, and how far they lie apart."""
    return f"{bundle.time_column}, a row every {bundle.step / 1e6:g} s" if bundle.time_column else "rows are counted"


def epochs_text(bundle: Bundle) -> str:
    """Say which epoch's weights were kept."""
    n_epochs, best = bundle.training["n_epochs"], bundle.training["best_epoch"]
    return (
        f"best of {n_epochs} epochs: {best}" if best else f"none of {n_epochs} epochs was better than the weights it went on from"
    )


def ancestry_text(ancestry: Ancestry) -> str:
    """Say what a detector went on from."""
    before = len(ancestry.sha256) - 1
    older = f", with {before:,} before it" if before else ""
    scaler = "kept" if ancestry.scaler_kept else "refitted"
    return f"sha256 {ancestry.sha256[0][:16]}{older}; scaler {scaler}; its held-out loss {ancestry.held_out_loss:.4g}"


def network_text(bundle: Bundle) -> str:
    """Describe the shape of the network."""
    config = bundle.config.network
    rows = rows_of_timesteps(config, bundle.window_size)[-1]
    extras = [
        f"{rows} rows a timestep" if rows > 1 else "",
        "bidirectional encoder" if config.bidirectional else "",
        f"code of {config.code_size}" if config.code_size else "",
        f"dropout {config.dropout:g}" if config.dropout else "",
        f"input noise {config.input_noise:g}" if config.input_noise else "",
    ]
    return ", ".join([f"{config.units} units", f"{config.output_order} output", *(text for text in extras if text)])


def penalty_text(bundle: Bundle) -> str:
    """Name the penalty, its weight, and how often it is applied."""
    config = bundle.config.penalty
    if config.penalty == "none":
        return "none"
    every = f", every {config.penalty_every} steps" if config.penalty_every > 1 else ""
    return f"{config.penalty}, weight {config.penalty_weight:g}{every}"


def plot_scores(series: TimeSeries, scores: Scores, events: list[Event], *, known: list[tuple[int, int]] | None = None) -> "Figure":
    """Draw the series, its scores, the threshold and the events.

    Args:
        series: what was scored; at most six features are drawn, those with the largest scores.
        scores: of the same rows.
        events: found in them.
        known: half-open row ranges of labelled events; default: those of `series.labels`, if it has any.

    Raises:
        ConfigError: if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ConfigError("A picture needs matplotlib. Received: no such package. Run: pip install 'anomaly[plot]'.") from error
    x = time_index(series.times, series.time_column)
    broken = np.append(breaks_between(series.times, longest_step(series.times, "auto")), False)
    features = features_to_draw(scores)
    heights = [*[2.0] * len(features), 1.6]
    figure = Figure(figsize=(11, 1.4 + 0.95 * sum(heights)), layout="constrained")
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    for axis, feature in zip(axes, features, strict=False):
        _draw_line(axis, x, series.values[:, feature], broken, _BLUE)
        axis.set_ylabel(series.columns[feature])
    _draw_line(axes[-1], x, scores.score, broken, _GREY)
    axes[-1].set_yscale("log")
    axes[-1].axhline(scores.threshold, color=_RED, linewidth=1, linestyle="--", label=f"threshold {scores.threshold:.3g}")
    axes[-1].set_ylabel("score")
    known = labelled_ranges(series) if known is None else known
    for axis in axes:  # a range of one row has no width but that of its line
        for i, event in enumerate(events):
            label = "event found" if i == 0 else None
            axis.axvspan(x[event.start], x[event.stop - 1], color=_RED, alpha=0.18, linewidth=1, label=label)
        for i, (start, stop) in enumerate(known):
            label = "labelled" if i == 0 else None
            axis.axvspan(x[start], x[stop - 1], ymin=0.96, color="black", alpha=0.7, linewidth=1, label=label)
        axis.margins(x=0.005)
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(handles=axes[-1].get_legend_handles_labels()[0], loc="outside upper right", ncols=3, frameon=False)
    return figure


def _draw_line(axis: Any, x: pd.Index, y: Floats, broken: Bools, color: str) -> None:
    """Draw y over x, with no line across a gap."""
    gaps = np.flatnonzero(broken) + 1
    axis.plot(np.insert(x.to_numpy(), gaps, x.to_numpy()[gaps - 1]), np.insert(y, gaps, np.nan), color=color, linewidth=0.8)


def features_to_draw(scores: Scores) -> list[int]:
    """Return the features that contribute most to the flagged rows, or to all if none is flagged."""
    rows = scores.flags if scores.flags.any() else np.isfinite(scores.score)
    order = np.argsort(-np.nan_to_num(scores.by_feature[rows]).sum(axis=0), kind="stable")
    return [int(i) for i in order[:_MOST_PANELS]]
