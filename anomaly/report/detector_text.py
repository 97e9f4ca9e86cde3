"""What is in a detector, what its threshold is and what another would cost, in words."""

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from anomaly.bundle.bundle import Bundle
from anomaly.bundle.dismissals import Dismissals
from anomaly.bundle.header import Ancestry
from anomaly.errors import shorten
from anomaly.events.alarms import AlarmCurve, EventRules
from anomaly.network.model import rows_of_timesteps
from anomaly.report.tables import aligned, as_json
from anomaly.series import format_time
from anomaly.thresholds.calibration import Threshold, expected_alarms
from anomaly.words import counted, step_text

if TYPE_CHECKING:
    pass


# Cuts that a menu offers, in thresholds.
_MENU = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0)


def bundle_text(bundle: Bundle, file_format: str, *, sha256: str | None = None, width: int | None = None) -> str:
    """Return what is in a bundle.

    Args:
        bundle: a detector's state.
        file_format: "text" for people, "json" with every setting for programs.
        sha256: of the file it came from, if it is to be shown.
        width: characters that a line may have; None for any number.
    """
    described = bundle.describe()
    if file_format == "json":
        told = {} if bundle.dismissed is None else {"dismissed": dismissed_facts(bundle)}
        return as_json(described | told | ({} if sha256 is None else {"sha256": sha256}))
    network, training = bundle.config.network, bundle.training
    own = bundle.config.scoring.aggregation
    rows = [
        ("columns", ", ".join(bundle.judged_columns)),
        *([("context", context)] if (context := context_text(bundle)) else []),
        ("time", time_text(bundle)),
        ("window", f"{bundle.window_size} rows, trained at stride {bundle.stride}"),
        ("network", network_text(bundle)),
        ("penalty", penalty_text(bundle)),
        ("trained on", f"{training['n_rows']:,} rows, {training['first_time']} to {training['last_time']}"),
        ("training", f"{training['n_train_windows']:,} windows; {epochs_text(bundle)}"),
        *([("read as", reading_text(training["reading"]))] if "reading" in training else []),
        *(("note", sentence) for sentence in training.get("notes", [])),
        ("held-out loss", f"{bundle.held_out_loss:.4g}"),
        *([] if bundle.ancestry is None else [("continued from", ancestry_text(bundle.ancestry))]),
        ("seed", str(bundle.seed)),
        *(
            (f"threshold {name}" + (" *" if name == own else ""), str(threshold) if name == own else f"{threshold.value:.6g}")
            for name, threshold in bundle.thresholds.items()
        ),
        *((f"dismissed {number}", text) for number, text in enumerate(_dismissed_texts(bundle), start=1)),
        *([("parameters", f"{n:,}")] if (n := sum(array.size for array in bundle.weights.values())) else []),
        ("data", f"sha256 {bundle.fingerprint[:16]}"),
        *([] if sha256 is None else [("file", f"sha256 {sha256}")]),
        ("made with", ", ".join(f"{name} {version}" for name, version in bundle.versions.items())),
    ]
    note = "* the aggregation this detector uses by default"
    head = f"{network.layers}+{network.layers}-layer LSTM autoencoder, {counted(len(bundle.judged_columns), 'feature')}"
    return f"{head}\n\n{aligned(rows, width=width)}\n{note}\n"


def context_text(bundle: Bundle) -> str:
    """Return what the network reads beside the features, in words; empty if there is nothing."""
    read = {"none": (), "day": ("the time of day",), "week": ("the time of day and the day of the week",)}
    return ", ".join((*(bundle.config.context.context_columns or ()), *read[bundle.config.context.calendar]))


def reading_text(reading: dict[str, str]) -> str:
    """Return how a training file was read, in words."""
    words = {"delimiter": "fields between", "decimal": "decimal mark", "thousands": "between thousands", "time_format": "times as"}
    parts = [f"{words[name]} {reading[name]!r}" for name in words if name in reading]
    parts += ["times with their offset from UTC"] * ("offsets" in reading)
    parts += [", ".join(f"{name} in {unit}" for name, unit in json.loads(reading.get("units", "{}")).items())]
    parts += [f"true and false in {shorten(json.loads(reading['truths']))}" if "truths" in reading else ""]
    return ", ".join(filter(None, parts))


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
        return as_json(_tuning(bundle) | {"menu": menu})
    table = [("threshold", "alarms held out", "expected on normal data")]
    for cut, rate, count in zip(cuts, expected, held_out, strict=True):
        table.append((f"{cut:.6g}" + (" *" if cut == now.value else "  "), f"{count:,}", now.rate_text(rate)))
    budget = "--alarms-per-1000-rows" if bundle.rows_per_day is None else "--alarms-per-day"
    return (
        f"{threshold_text(now)}\n\n{aligned(table, right=(0, 1))}\n"
        "* as it is. A row is flagged if its score is above the threshold.\n"
        f"To move it: {budget} N, or --value X, or --labels DATA.csv; `anomaly threshold -h` has more.\n"
    )


def threshold_text(threshold: Threshold) -> str:
    """Return what to expect of a threshold, what it is and where it comes from, a line each; what is amiss only once."""
    expected, warning = threshold.expectation, threshold.warning
    said = warning is None or (warning.startswith("extrapolated") and "extrapolated" in expected)
    note = "" if said else f"\nNote: {warning}."
    return f"Expect {expected}.\nThreshold: {threshold.value:.6g} ({threshold.origin}).{note}"


def retuning_text(before: Bundle, after: Bundle, file_format: str, width: int | None = None) -> str:
    """Return what a change of the threshold changes.

    Args:
        before: the detector as it was.
        after: as it is.
        file_format: "text" for people, "json" for programs.
        width: characters that a line of the table may have; None for any number.
    """
    if file_format == "json":
        return as_json({"before": _tuning(before), "after": _tuning(after)})
    rows = [("", "before", "after")]
    pairs = [_tuning_rows(bundle) for bundle in (before, after)]
    rows += [(name, old, new) for (name, old), (_, new) in zip(*pairs, strict=True)]
    own = after.config.scoring.aggregation
    warning = after.thresholds[own].warning
    told = f"Expect {after.thresholds[own].expectation}; before, {before.thresholds[own].expectation}.\n\n"
    return told + aligned(rows, width=width) + (f"\nNote: {warning}.\n" if warning else "")


def dismissed_facts(bundle: Bundle) -> list[dict[str, Any]]:
    """Return for each dismissed stretch first and last time, rows, signatures, and how far an event may be that they mute."""
    found = bundle.dismissed
    if found is None:
        return []
    rows = zip(found.spans(), found.n_rows, found.n_signatures, found.reaches(), found.n_kept, strict=True)
    return [
        {
            "first_time": format_time(first, bundle.time_column),
            "last_time": format_time(last, bundle.time_column),
            "n_rows": n,
            "n_signatures": k,
            "reach": reach,
        }
        | ({"n_kept": kept} if kept else {})
        for (first, last), n, k, reach, kept in rows
    ]


def _dismissed_texts(bundle: Bundle) -> list[str]:
    """Say of each dismissed stretch what it is and mutes."""
    texts = []
    for one in dismissed_facts(bundle):
        muted = f"events within {one['reach']:g} of it are not raised" if one["n_signatures"] else "mutes no event"
        kept = "; its rows are kept" if "n_kept" in one else ""
        texts.append(f"{one['n_rows']:,} rows, {one['first_time']} to {one['last_time']}; {muted}{kept}")
    return texts


def _history_alarms(bundle: Bundle, stretches: Dismissals | None) -> int:
    """Return how many alarms a detector raises on its held-out rows and on some stretches, of which it may mute a few."""
    own = bundle.config.scoring.aggregation
    cut, count = bundle.thresholds[own].value, replace(bundle, dismissed=None).calibration(own).curve
    muted = {(one["first_time"], one["last_time"]) for one in dismissed_facts(bundle) if one["n_signatures"]}
    n, parts = count.raised(cut), [] if stretches is None else stretches.parts(own)
    for times, scores in parts:
        if tuple(format_time(int(times[i]), bundle.time_column) for i in (0, -1)) not in muted:
            n += AlarmCurve(scores, times, bundle.rules).raised(cut)
    return n


def dismissal_text(before: Bundle, after: Bundle, file_format: str, events: tuple[int, int] | None = None) -> str:
    """Return what a dismissal, or the end of one, changes: "text" for people, "json" for programs.

    Args:
        before: the detector as it was.
        after: as it is.
        file_format: "text" or "json".
        events: raised before and after in the data at hand, if there are any.
    """
    own = after.config.scoring.aggregation
    cuts = [bundle.thresholds[own] for bundle in (before, after)]
    stretches = max((before.dismissed, after.dismissed), key=lambda found: 0 if found is None else len(found))
    alarms = [_history_alarms(bundle, stretches) for bundle in (before, after)]
    if file_format == "json":
        sides = [
            {
                "threshold": cut.value,
                "expected_per_1000_rows": cut.expected,
                "history_alarms": n,
                "dismissed": dismissed_facts(bundle),
            }
            for cut, n, bundle in zip(cuts, alarms, (before, after), strict=True)
        ]
        counted = {} if events is None else {"events_before": events[0], "events_after": events[1]}
        return as_json({"before": sides[0], "after": sides[1]} | counted)
    rows = [
        ("", "before", "after"),
        ("threshold", *(f"{cut.value:.6g}" for cut in cuts)),
        ("expected on normal data", *(cut.rate_text(cut.expected) for cut in cuts)),
        ("alarms in the stored history", *(f"{n:,}" for n in alarms)),
        *([] if events is None else [("events in the data", *(f"{n:,}" for n in events))]),
        ("dismissed stretches", *(f"{len(dismissed_facts(bundle)):,}" for bundle in (before, after))),
    ]
    return aligned(rows)


def _tuning(bundle: Bundle) -> dict[str, Any]:
    own = bundle.config.scoring.aggregation
    threshold = bundle.thresholds[own]
    rules = asdict(replace(bundle.rules, dismissed=None))
    del rules["dismissed"]
    told = {"warning": threshold.warning, "expectation": threshold.expectation}
    return {"aggregation": own, "threshold": asdict(threshold) | told, "rules": rules}


def _or_high(rules: EventRules) -> str:
    return "" if rules.short_severity is None else f" or severity above {rules.short_severity:g}"


def _tuning_rows(bundle: Bundle) -> list[tuple[str, str]]:
    own = bundle.config.scoring.aggregation
    threshold, rules = bundle.thresholds[own], bundle.rules
    merged = f"gaps up to {rules.merge_gap} rows merged"
    options = [
        merged,
        f"at least {rules.min_length} rows{_or_high(rules)}" if rules.min_length > 1 else "",
        f"severity above {rules.min_severity:g}" if rules.min_severity > 1 else "",
        f"a deviation of {' or '.join(f'{limit} of {name}' for name, limit in rules.min_deviation)} (not counted above)"
        if rules.min_deviation
        else "",
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


def time_text(bundle: Bundle) -> str:
    """Say where the times of a detector come from, and how far they lie apart."""
    return f"{bundle.time_column}, a row every {step_text(bundle.step)}" if bundle.time_column else "rows are counted"


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
    if bundle.program is not None:
        return f"a Keras model of its own, as an ONNX graph of {len(bundle.program):,} bytes"
    if not bundle.weights:
        return "a Keras model of its own"
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
