"""What the commands do where they are about many series: several files, a folder of detectors, an id column."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from anomaly.cli.many_options import given_executor, refuse_given
from anomaly.cli.shared import FOUND, given_of_input, given_range, given_reading, typed, warn_of_drift, write_json
from anomaly.cli.terminal import print_text, say, terminal_width
from anomaly.cli.waiting import current
from anomaly.errors import ConfigError, shorten
from anomaly.sources.inputs import Input, find_inputs, find_sound_inputs
from anomaly.storage.addresses import ObjectUri
from anomaly.storage.folders import Folder, LocalFolder, folder_at
from anomaly.storage.writing import require_writable

if TYPE_CHECKING:
    from anomaly.detector.detector import Detector
    from anomaly.engines.pool import Executor
    from anomaly.errors import AnomalyError
    from anomaly.fleet.outcomes import Success
    from anomaly.fleet.plan import Plan
    from anomaly.fleet.results import Results, Scored
    from anomaly.fleet.scoring import Model, Options
    from anomaly.training.progress import ProgressBar


def train_many(reading: dict[str, Any]) -> None:
    """Train a fleet, as the options of the command say; leave with the exit code for what came out."""
    from anomaly.fleet.folder import require_fleet_folder
    from anomaly.fleet.pieces import refuse_pieces
    from anomaly.fleet.plan import find_sources
    from anomaly.fleet.training import train_each, train_shared
    from anomaly.training.progress import ProgressBar

    line, given = current().now("Reading"), click.get_current_context().params
    alone = {"rejects": reading.get("rejects"), "from": given["start_from"], "exclude": given["exclude"]}
    continuing = {name: given[name.replace("-", "_")] for name in ("refit-scaler", "old-data", "expect-sha256")}
    refuse_given(alone | continuing)
    model, report_json = given["model"], given["report_json"]
    require_fleet_folder(model)
    if report_json is not None and report_json != "-":
        require_writable(report_json)
    inputs = find_sound_inputs(given["data"])
    bar = ProgressBar(quiet=given["quiet"], verbose=given["verbose"], line=line if line.shows else None)
    with _progress_hint(model), given_executor(given) as executor:
        plan = _training_plan(given, reading, executor, bar)
        if not given["per_series"] and given["id_column"] is None:
            refuse_pieces(inputs, plan.reading)
        sources, plan = find_sources(inputs, plan)
        plan = replace(plan, on_end=line.counting(plan.on_end, len(sources)))
        bar.stage("Training" if given["per_series"] else "Reading")
        outcomes = (train_each if given["per_series"] else train_shared)(model, sources, plan)
    write_json(report_json, outcomes.to_dict())
    if not given["quiet"]:
        say(f"{outcomes} {f'Saved {folder_at(model)}' if outcomes.trained else 'Nothing was saved'}.")
    if outcomes.exit_code:
        sys.exit(outcomes.exit_code)


@contextlib.contextmanager
def _progress_hint(model: str) -> Iterator[None]:
    """Say how to go on after an interruption."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        say(f"What was trained so far is in {model}; the same command goes on with it.")
        raise


def _training_plan(given: dict[str, Any], reading: dict[str, Any], executor: "Executor", bar: "ProgressBar") -> "Plan":
    from anomaly.config import SETTINGS, DetectorConfig
    from anomaly.fleet.plan import Plan

    columns = {name: given[name] for name in ("time_column", "value_columns", "label_column", "strict", "max_bytes")}
    columns["time_column"] = None if given["time_column"] == "none" else given["time_column"]
    columns |= {"context_columns": context} if (context := given["context_columns"]) else {}
    return Plan(
        config=DetectorConfig.chosen({name: given[name] for name in SETTINGS}),
        reading=reading | columns,
        id_column=given["id_column"],
        train_start=None if given["train_start"] is None else str(given["train_start"]),
        train_end=None if given["train_end"] is None else str(given["train_end"]),
        executor=executor,
        on_end=partial(_say_trained, quiet=given["quiet"]),
        on_step=bar.update,
        on_stage=bar.stage,
        anew=given["resume"] is False,
        overwrite=given["overwrite"],
        checkpoint_seconds=given["checkpoint_every"],
    )


def _say_trained(name: str, outcome: "Success | AnomalyError", *, quiet: bool) -> None:
    """Say in a line what came of a series."""
    if isinstance(outcome, Exception):
        _say_failed(name, outcome)
    elif not quiet and not outcome.unchanged:
        training = outcome.described["training"]
        say(
            f"{name}: {training['n_rows']:,} rows in windows of {outcome.described['window_size']}; best of "
            f"{training['n_epochs']} epochs: {training['best_epoch']}; threshold {outcome.described['threshold']:.6g}.",
        )


def _say_scored(name: str, outcome: "Scored | AnomalyError") -> None:
    """Say what failed, of the series in a long input too."""
    _say_failed(name, outcome)
    for sentence in () if isinstance(outcome, Exception) else outcome.refusals:
        say(f"{name}: {sentence}")


def _say_failed(name: str, outcome: object) -> None:
    """Say what failed; a name that would steer the terminal is shown as Python writes it."""
    if isinstance(outcome, Exception):
        say(f"Error: {name if name.isprintable() else ascii(name)}: {outcome}")


def score_many(reading: dict[str, Any]) -> None:
    """Score many inputs into a folder, as the options of the command say; leave with the exit code for what came out."""
    from anomaly.fleet.scoring import score_many as score_inputs
    from anomaly.report.tables import write_events

    given = click.get_current_context().params
    folder = _output_folder(given["output"])
    inputs = find_inputs(given["data"])
    events = _events_path(folder, given["events"], [item.name for item in inputs])
    for path in (given["events"], given["report_json"]):
        if path not in (None, "-") and not (isinstance(folder, LocalFolder) and Path(path).parent == folder.path):
            require_writable(path)
    model, options = _model_and_options(given, reading)
    anew = given["resume"] is False
    with given_executor(given) as executor:
        on_end = current().now("Scoring").counting(_say_scored, len(inputs))
        results = score_inputs(inputs, model, given["output"], options, executor=executor, anew=anew, on_end=on_end)
    found, names = results.events(item.name for item in inputs)
    write_events(events, found, model.time_column, series=names)
    _tell_of_joints(results, model, inputs)
    _conclude(results, given)


def detect_many(reading: dict[str, Any]) -> None:
    """List the events of many series, as the options of the command say; leave with the exit code for what came out."""
    from anomaly.fleet.scoring import Task
    from anomaly.fleet.scoring import detect_many as detect_inputs
    from anomaly.report.tables import events_text

    given = click.get_current_context().params
    inputs = find_inputs(given["data"])
    model, options = _model_and_options(given, reading)
    tasks = (Task(item.name, item.path, model, options, refusal=item.refusal) for item in inputs)
    with given_executor(given) as executor:
        on_end = current().now("Scoring").counting(_say_scored, len(inputs))
        results = detect_inputs(tasks, executor=executor, on_end=on_end)
    found, names = results.events(item.name for item in inputs)
    left_out = results.left_out(item.name for item in inputs) if given["all"] else None
    numbers = results.first_numbers(item.name for item in inputs)
    told = partial(events_text, found, model.time_column, given["format"], series=names, left_out=left_out, first_number=numbers)
    if results.scored or given["format"] != "table":  # of what could not be scored nobody knows that it has no events
        print_text(told(width=terminal_width()))
    _tell_of_joints(results, model, inputs)
    _conclude(results, given)


def _tell_of_joints(results: "Results", model: "Model", inputs: Sequence[Input]) -> None:
    """Say that files go on from one another, and that no window and no event spans two; and how they are one series."""
    step = model.step
    names = [] if step is None else results.following(step)
    if not names:
        return
    places = {item.name: item.path for item in inputs}
    paths = [typed(str(places[name]), "FILE") for name in names]
    if any(isinstance(places[name], ObjectUri) or str(places[name]).lower().endswith(".parquet") for name in names):
        how = "To score them as one series, write their rows to one file"
    else:
        command = click.get_current_context().info_name
        output = " --output SCORED.csv" if command == "score" else ""
        words = ["-", f"--model {typed(model.path, 'MODEL')}", *given_of_input()]
        how = f"As one series: cat {' '.join(paths)} | anomaly {command} {' '.join(words)}{output}"
    results.note = (
        f"{len(names)} files follow one another, such as {shorten(names)}, and each is scored for itself: no window or event spans "
        f"two. {how}"
    )


def _model_and_options(given: dict[str, Any], reading: dict[str, Any]) -> "tuple[Model, Options]":
    from anomaly.fleet.scoring import Model, Options
    from anomaly.scoring.scores import check_threshold

    refuse_given({"follow": given.get("follow"), "rejects": reading.get("rejects")})
    if given["format"] in ("influx", "openmetrics"):
        raise ConfigError(
            f"Scored rows of several files must be csv or jsonl. Received: --format {given['format']}. Use another format."
        )
    model = Model.of(given["model"], given["expect_sha256"])
    options = Options(
        id_column=given["id_column"] or model.id_column,
        aggregation=given["aggregation"],
        threshold=None if given["threshold"] is None else check_threshold(given["threshold"]),
        file_format=given["format"] or "csv",
        strict=given["strict"],
        max_bytes=given["max_bytes"],
        figures=given.get("with") or (),
        new_series=given["new_series"],
        reading=reading,
        list_all=bool(given.get("all")),
        **given_range(),
    )
    if options.new_series == "learn":
        model.of_several(options.new_series)  # what is wrong is said before anything is scored
    return model, options


def _output_folder(output: str) -> Folder:
    """Return the folder that outputs go to, which need not exist."""
    refused = ConfigError(f"Scored rows of many series must go to a folder. Received: --output {output}. Name a new folder.")
    if output == "-":
        raise refused
    folder = folder_at(output)
    folder.require_folder(refused)
    return folder


def _events_path(folder: Folder, given: str | None, names: list[str]) -> str:
    """Return where the events of all series go; it must not be where the rows of one go."""
    if given == "-":
        raise ConfigError("Events of many series must go to a file. Received: --events -. Name a file, or use anomaly detect.")
    if given is None and "events" in names:
        raise ConfigError(
            "Events and rows must go to different files. Received: a series called 'events', and "
            f"{folder.file('events.csv')} for all events. Name another file with --events."
        )
    return given or str(folder.file("events.csv"))


def _conclude(results: "Results", given: dict[str, Any]) -> None:
    write_json(given["report_json"], results.to_dict())
    if not given["quiet"]:
        say(str(results))
        for sentence, names in results.of_times.items():
            say(f"{shorten(names)}: {sentence}")
        if results.note is not None:
            say(results.note)
        warn_of_drift(results.drift_warning)
    if results.exit_code:
        sys.exit(results.exit_code)
    if given["fail_on_anomaly"] and results.n_events:
        sys.exit(FOUND)


def inspect_many(folder: str, file_format: str) -> None:
    """Show what is in a folder of detectors; leave with the exit code for those that are refused.

    Args:
        folder: the fleet.
        file_format: "text" or "json".
    """
    from anomaly.fleet.listing import list_fleet
    from anomaly.report.tables import aligned, as_json

    found = list_fleet(folder, on_end=current().now("Reading").series)
    for name, error in found.failed.items():
        _say_failed(name, error)
    text = aligned(found.facts()) + "\n" + aligned(found.rows(), right=(1, 2, 3, 6))
    print_text(as_json(found.to_dict()) if file_format == "json" else text)
    if found.exit_code:
        sys.exit(found.exit_code)


def evaluate_many() -> None:
    """Compare many series with their labels, as the options of the command say; leave with the exit code for what failed."""
    from anomaly.fleet.scoring import Model
    from anomaly.fleet.tuning import Trial, trials_of
    from anomaly.fleet.tuning import evaluate_many as evaluate_inputs
    from anomaly.report.tables import aligned, as_json

    given = click.get_current_context().params
    refuse_given({"events-file": given["events_file"]})
    names = ("label_column", "aggregation", "threshold", "buffer", "point_adjust", "since", "until", "count_training")
    common = {name: given[name] for name in names} | {"model": Model.of(given["model"], given["expect_sha256"])}
    reading = given_reading() | {"max_bytes": given["max_bytes"]}
    id_column = given["id_column"] or common["model"].id_column
    inputs = (find_inputs if id_column is None else find_sound_inputs)(given["data"])
    if id_column is None:
        trials = [Trial(name=item.name, path=item.path, refusal=item.refusal, reading=reading, **common) for item in inputs]
    else:
        trials = trials_of([item.path for item in inputs], id_column, reading, **common)
    with given_executor(given) as executor:
        found = evaluate_inputs(trials, executor=executor, on_end=current().now("Comparing").series)
    for name, error in found.failed.items():
        _say_failed(name, error)
    if given["format"] == "json":
        print_text(as_json(found.to_dict()))
    elif found.found:
        print_text(aligned(found.rows(), right=tuple(range(1, 8))) + (f"\n{found.note}\n" if found.note else ""))
    if found.exit_code:
        sys.exit(found.exit_code)


def threshold_many(change: "Callable[[Detector], None]", changes: Mapping[str, Any], output: str | None) -> None:
    """Show or change the thresholds of a fleet, as the options of the command say; leave with the exit code for what failed.

    Args:
        change: changes a detector.
        changes: what is to be changed; nothing only shows the thresholds.
        output: where the changed fleet goes, if that was asked for.
    """
    from anomaly.fleet.tuning import retune_fleet
    from anomaly.report.tables import aligned, as_json

    given = click.get_current_context().params
    refuse_given({"labels": changes.get("labels"), "unlabelled": changes.get("unlabelled"), "output": output})
    dry_run = given["dry_run"] or not (changes or given["method"])
    on_end = current().now("Choosing thresholds").series
    found = retune_fleet(given["model"], change, dry_run=dry_run, expect_sha256=given["expect_sha256"], on_end=on_end)
    for name, error in found.failed.items():
        _say_failed(name, error)
    print_text(as_json(found.to_dict()) if given["format"] == "json" else aligned(found.rows(), right=(1, 2)))
    if not given["quiet"]:
        say("Nothing was written." if dry_run else f"Saved {given['model']}.")
    if found.exit_code:
        sys.exit(found.exit_code)
