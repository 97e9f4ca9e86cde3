"""`anomaly train` and `anomaly demo`: the commands that need TensorFlow."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from anomaly.cli.help import GroupedCommand, rank_of
from anomaly.cli.many import train_many
from anomaly.cli.many_options import inputs_argument, is_about_many, one_file, one_model, training_options
from anomaly.cli.options import Command, FiniteRange, NameList, config_option, settings_options
from anomaly.cli.shared import (
    SETTINGS_CONTEXT,
    DetectorFile,
    bad_rows_options,
    given_reading,
    ignore_option,
    max_bytes_option,
    quiet_option,
    refuse_same_file,
    report_json_option,
    strict_option,
    typed,
    verbose_option,
    write_json,
)
from anomaly.cli.terminal import print_words, say
from anomaly.cli.waiting import current
from anomaly.config import (
    SETTINGS,
    SPEAKS_TO,
    ContextConfig,
    DetectorConfig,
    NetworkConfig,
    PenaltyConfig,
    ReadingConfig,
    ScoringConfig,
    TrainingConfig,
    WindowConfig,
    refuse_unheard,
    unheard,
)
from anomaly.errors import ConfigError, DataError, shorten
from anomaly.quick_start import without_pandas
from anomaly.storage.writing import exclusive, is_special, remove, require_writable, storage_errors

if TYPE_CHECKING:
    from anomaly.detector.comparison import Comparison
    from anomaly.detector.detector import Detector
    from anomaly.series import TimeSeries
    from anomaly.sources.tolerance import Tolerance
    from anomaly.training.progress import ProgressBar

# The keys of `anomaly.files.demo.DEMONSTRATIONS`, which is slow to import; the first one is the default.
_DEMONSTRATIONS = ("water", "heartbeats")


def continuing_options(command: Command) -> Command:
    """Add the options of a training that goes on from a detector."""
    for option in (
        click.option(
            "--old-data", type=click.Path(exists=True, dir_okay=False), metavar="OLD.csv",
            help="What OLD was trained on: say how the scores of its held-out rows move.",
        ),
        click.option("--expect-sha256", metavar="HEX", help="With --from, refuse another SHA-256 of OLD."),
        click.option("--refit-scaler", is_flag=True, help="With --from, fit the scaler to the new rows.  [default: keep it]"),
        click.option(
            "--from", "--start-from", "start_from", type=DetectorFile(), metavar="OLD",
            help="Go on from the weights and settings of this detector.  [default: train from scratch]",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command(cls=GroupedCommand, context_settings=SETTINGS_CONTEXT)
@inputs_argument
@click.option(
    "--model",
    required=True,
    type=click.Path(),
    metavar="FILE|FOLDER",
    help="Where to save the detector, or those of several series.",
)
@training_options
@click.option(
    "--train-start", metavar="ROW|FRACTION|TIME|90d", help="Train on the rows from this one on, or from so long before the end on."
)
@click.option(
    "--train-end", metavar="ROW|FRACTION|TIME|7d",
    help="Train on the rows before this one, or up to so long before the end.  [default: all rows]",
)  # fmt: skip
@click.option("--time-column", default="auto", show_default=True, metavar="NAME", help="Column of times; 'none' counts rows.")
@ignore_option
@click.option("--value-columns", type=NameList(), metavar="A,B", help="Features.  [default: all but time and label]")
@click.option("--label-column", metavar="NAME", help="Column of 0 and 1: no feature, and rows with 1 are left out.")
@click.option(
    "--exclude", metavar="A..B,C..D|FILE", help="Times, or rows, that are left out of the training; or a CSV file of start and end."
)
@click.option(
    "--resume/--no-resume",
    default=None,
    help="Go on from FILE.checkpoint if there is one; or begin anew.  [default: refuse if there is one; of several series train "
    "those that are missing or changed]",
)
@click.option(
    "--checkpoint-every",
    type=FiniteRange(min=0),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Least time between checkpoints.",
)
@continuing_options
@click.option("--overwrite", is_flag=True, help="Replace a detector that is there, or drop one of several.  [default: refuse]")
@strict_option
@max_bytes_option
@bad_rows_options
@settings_options(ContextConfig, ReadingConfig, WindowConfig, NetworkConfig, PenaltyConfig, TrainingConfig, ScoringConfig)
@config_option
@report_json_option
@verbose_option
@quiet_option
@without_pandas
def train(
    data: tuple[str, ...], model: str, train_start: str | None, train_end: str | None, time_column: str,
    value_columns: list[str] | None, label_column: str | None, exclude: str | None, resume: bool | None,
    checkpoint_every: float, start_from: str | None, refit_scaler: bool, old_data: str | None, expect_sha256: str | None,
    overwrite: bool, strict: bool, max_bytes: int | None, report_json: str | None, quiet: bool, verbose: bool, **settings: Any,
) -> None:  # fmt: skip
    """Train a detector on the normal history in a file, or those of several series on several files, patterns or folders.

    FILE.checkpoint keeps the training through Ctrl-C or a crash. With --from the training goes on from an older detector: on
    newer rows, with its settings where no others are given. Several series share one network, or have one --per-series.

    \b
    anomaly train history.csv --model pump.anomaly --train-end 2022-05-01
    anomaly train history.csv --model pump.anomaly --exclude 2022-04-03..2022-04-05
    anomaly train june.csv --model pump2.anomaly --from pump.anomaly
    anomaly train pumps/ --model pumps.fleet --per-series --jobs 2
    """
    reading, settings = given_reading(), settings | _without_unheard()
    if is_about_many(data):
        train_many(reading)
        return
    source, model = one_file(data), one_model(model)
    written = {"model": model, "rejects": reading.get("rejects"), "report_json": report_json, "--from": start_from}
    _refuse_without_start(start_from, {"--refit-scaler": refit_scaler, "--old-data": old_data, "--expect-sha256": expect_sha256})
    _check_paths(source, old_data, written)
    _claim(model, overwrite=overwrite)
    checkpoint = _checkpoint_of(model, resume)
    from anomaly.detector.detector import Detector
    from anomaly.ranges import extent
    from anomaly.sources.tolerance import Tolerance

    columns: dict[str, Any] = {"time_column": None if time_column == "none" else time_column, "value_columns": value_columns}
    old = None
    if start_from is not None:
        old = Detector.load(start_from, expect_sha256=expect_sha256)
        columns, settings = _continued(old, columns)
        reading["before"] = {}  # the columns are those that it was trained on
        reading |= {item.name: settings[item.name] for item in fields(ReadingConfig)}
    columns["context_columns"] = settings["context_columns"] or ()
    tolerance, reading = Tolerance(strict), {**reading, **columns, "max_bytes": max_bytes}
    old_rows = None if old is None or old_data is None else _old_rows(old, old_data, reading, label_column, exclude)
    series = _training_rows(source, label_column, (train_start, train_end), exclude, tolerance, reading)
    if exclude is not None and not tolerance.counts.get("excluded_rows"):
        _warn(f"Warning: --exclude leaves no row out. Received: {exclude}, of {extent(series.times, series.time_column)}.")
    detector = Detector(**{name: settings[name] for name in SETTINGS})
    with _resume_hint(checkpoint):
        detector.fit(
            series, progress=_progress_bar(quiet=quiet, verbose=verbose), checkpoint=checkpoint,
            checkpoint_seconds=checkpoint_every, resume=bool(resume), start_from=old, refit_scaler=refit_scaler,
        )  # fmt: skip
    detector.save(model)
    if checkpoint is not None:
        remove(checkpoint)
    compared = None if old is None else _compared(old, detector, series, old_rows)
    told = {} if compared is None else {"continued": detector.bundle_.describe()["ancestry"] | {"scores": compared.to_dict()}}
    write_json(report_json, tolerance.to_dict(rows=len(series)) | {"training": detector.bundle_.training} | told)
    if not quiet:
        say(_trained_text(detector, tolerance, compared, model))


def _training_rows(
    source: str,
    label_column: str | None,
    ends: tuple[str | None, str | None],
    exclude: str | None,
    tolerance: "Tolerance",
    reading: dict[str, Any],
) -> "TimeSeries":
    """Return the rows to train on, in order, those that are left out as missing ones."""
    from anomaly.columns.label_values import may_be_labels
    from anomaly.fitting.left_out import without_known_trouble
    from anomaly.ingest.order import in_order
    from anomaly.ingest.reading import read_csv
    from anomaly.meaning.sentinels import refuse_sentinels
    from anomaly.ranges import extent, idle_ends, training_part

    on_chunk = current().now("Reading", source).read
    series = read_csv(source, label_column=label_column, strict=tolerance.strict, **reading, tolerance=tolerance, on_chunk=on_chunk)
    series = in_order(series, tolerance)
    tolerance.reading += refuse_sentinels(series.values, series.columns, series.name, reading.get("missing_values"))
    tolerance.reading += [] if reading.get("value_columns") or label_column else may_be_labels(series.values, series.columns)
    part = training_part(series, *ends)
    for end in idle_ends(series, part, *ends):
        _warn(f"Warning: {end} leaves no row out. Received: {extent(series.times, series.time_column)}.")
    return without_known_trouble(series, exclude, tolerance, part, time_format=reading.get("time_format"), warn=_warn)


def _warn(text: str) -> None:
    """Say what may be a slip, unless nothing but errors is to be said."""
    if not click.get_current_context().params["quiet"]:
        say(text)


def _check_paths(source: str, old_data: str | None, written: dict[str, str | None]) -> None:
    """Refuse one file for two purposes, and outputs that cannot be written, before anything is read."""
    refuse_same_file(DATA=source, **written)
    refuse_same_file(**{"--old-data": old_data}, **written)  # which DATA may begin with
    for path in (written["model"], written["report_json"]):
        if path is not None:
            require_writable(path)


def _claim(model: str, *, overwrite: bool) -> None:
    """Refuse to train over a detector that is there, or to write one to standard output; nobody else may, until the end."""
    if model == "-":
        raise ConfigError("A detector must be written to a file. Received: --model -. Name a file.")
    if not overwrite and os.path.lexists(model) and not is_special(model):
        raise ConfigError(
            f"A detector must not be lost. Received: --model {model}, which is there. Add --overwrite, or name another file."
        )
    if not is_special(model):  # another training would be lost, or lose this one
        click.get_current_context().with_resource(exclusive(model, ".training"))


def _without_unheard() -> dict[str, Any]:
    """Let a threshold method set aside what counts less and is for another, such as what a file has; return that.

    Raises:
        ConfigError: if a setting says nothing to a method that was not chosen over it.
    """
    context = click.get_current_context()
    given, rank = context.params, rank_of(context, "threshold_method")
    weaker = [name for name in SPEAKS_TO if 0 < rank_of(context, name) < rank]
    found = {name: default for name, default in unheard(given, given["threshold_method"]).items() if name in weaker}
    given |= found
    if given["start_from"] is None:  # else the method may be that of the older detector
        refuse_unheard(given, given["threshold_method"])
    return found


def _refuse_without_start(start_from: str | None, options: dict[str, Any]) -> None:
    """Refuse options that mean nothing in a training from scratch."""
    for option, given in options.items():
        if given not in (None, False) and start_from is None:
            raise ConfigError(
                f"{option} must go with --from. Received: {option} without it. Add --from OLD.anomaly, or leave {option} out."
            )


def _continued(old: "Detector", columns: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the columns and the settings of a training that goes on from a detector; refuse those that it cannot have.

    Args:
        old: the detector.
        columns: time_column and value_columns as the command line has them.
    """
    from anomaly.fitting.continuation import Start, continued_settings

    bundle, context = old.bundle_, click.get_current_context()
    given = {name for name in context.params if context.get_parameter_source(name) is not ParameterSource.DEFAULT}
    own = {"time_column": bundle.time_column, "value_columns": list(bundle.judged_columns)}
    time, values = columns["time_column"], columns["value_columns"]
    if values is not None and set(values) != set(bundle.judged_columns):
        raise _other_columns("--value-columns", shorten(bundle.judged_columns), shorten(values))
    if "time_column" in given and time != "auto":
        if (time is None) != (bundle.time_column is None):
            raise _other_columns("--time-column", bundle.time_column or "none", time or "none")
        own["time_column"] = time
    settings = continued_settings(bundle, {name: context.params[name] for name in SETTINGS if name in given})
    Start(bundle).sized(DetectorConfig.from_settings(settings))  # before anything is read
    return own, settings


def _other_columns(option: str, wanted: str, received: str) -> ConfigError:
    return ConfigError(
        f"{option} must be that of the detector to go on from, {wanted}. Received: {received}. "
        "Leave it out, or train from scratch without --from."
    )


def _old_rows(old: "Detector", path: str, reading: dict[str, Any], label_column: str | None, exclude: str | None) -> "TimeSeries":
    """Return the held-out rows of a detector from the file it was trained on: with the same rows left out, or with none."""
    from anomaly.detector.comparison import held_out_rows
    from anomaly.fitting.left_out import without_known_trouble
    from anomaly.ingest.csv_rows import CsvReader
    from anomaly.ingest.order import in_order
    from anomaly.ingest.reading import read_csv
    from anomaly.sources.tolerance import Tolerance

    reading = {name: x for name, x in reading.items() if name != "rejects"} | {"time_column": old.bundle_.time_column}
    ignored, reading = reading.get("ignore_columns", ()), reading | {"ignore_columns": ()}
    with CsvReader(path, keep_lines=False, **reading) as reader:
        labels = label_column if label_column in reader.columns else None
        reading["ignore_columns"] = [name for name in ignored if name in reader.columns]
    series = in_order(read_csv(path, label_column=labels, **reading))
    try:
        return held_out_rows(
            old.bundle_, without_known_trouble(series, exclude, Tolerance(), time_format=reading.get("time_format"))
        )
    except DataError:
        return held_out_rows(old.bundle_, series)


def _progress_bar(*, quiet: bool, verbose: bool) -> "ProgressBar":
    from anomaly.training.progress import ProgressBar

    return ProgressBar(quiet=quiet, verbose=verbose, line=current() if current().shows else None)


def _compared(old: "Detector", new: "Detector", series: "TimeSeries", old_rows: "TimeSeries | None") -> "Comparison":
    from anomaly.detector.comparison import compare

    return compare(old, new, series, old_rows)


def _trained_text(detector: "Detector", tolerance: "Tolerance", compared: "Comparison | None", model: str) -> str:
    """Return the last words of a training."""
    from anomaly.report.detector_text import context_text, epochs_text, threshold_text, time_text
    from anomaly.words import duration_text

    bundle, n_rows = detector.bundle_, detector.bundle_.training["n_rows"]
    context = context_text(bundle)
    dismissed = bundle.training.get("n_dismissed_windows", 0)
    span = f" ({duration_text(n_rows * bundle.step)})" if bundle.time_column else ""
    lines = [
        f"Features: {', '.join(detector.columns_)}. {context and f'Context, read and never judged: {context}. '}"
        f"Time: {time_text(bundle)}.",
        f"Trained on {n_rows:,} rows{span} in windows of {detector.window_size_}; {epochs_text(bundle)}.",
        *tolerance.told(),
        *([f"Of the windows {dismissed:,} hold rows that were dismissed."] if dismissed else []),
        *([] if compared is None or bundle.ancestry is None else [_losses(bundle.ancestry.held_out_loss, bundle.held_out_loss)]),
        *([] if compared is None else [str(compared)]),
        *bundle.training.get("notes", []),
        threshold_text(detector.thresholds_[bundle.config.scoring.aggregation]),
        f"Saved {model}.",
        f"Next: anomaly detect NEW.csv --model {typed(model, 'FILE')}",
    ]
    return "\n".join(lines)


def _losses(before: float, after: float) -> str:
    return f"Held-out loss on the new rows: {before:.4g} before, {after:.4g} after."


@click.command(cls=GroupedCommand, context_settings=SETTINGS_CONTEXT)
@click.argument("name", type=click.Choice(_DEMONSTRATIONS), default=_DEMONSTRATIONS[0])
@click.option(
    "--output",
    "-o",
    type=click.Path(file_okay=False),
    help="Folder for the results; default: anomaly-demo, or anomaly-demo-heartbeats.",
)
@verbose_option
@quiet_option
@without_pandas
def demo(name: str, output: str | None, quiet: bool, verbose: bool) -> None:
    """Train on a shipped series, score it, and show the events beside the known ones.

    \b
    anomaly demo
    anomaly demo heartbeats

    `water` is the hourly flow in a branch of a water pipeline, `heartbeats` an electrocardiogram in which only the shape of
    some beats is wrong. OUTPUT receives the data, the detector, the scored rows, the events, a picture and a report page.
    """
    folder = output or ("anomaly-demo" if name == _DEMONSTRATIONS[0] else f"anomaly-demo-{name}")
    with storage_errors(folder):
        os.makedirs(folder, exist_ok=True)
    from anomaly.files.demo import run_demo

    result = run_demo(folder, name, progress=_progress_bar(quiet=quiet, verbose=verbose), say=say)
    print_words(f"{result}\n")


def _checkpoint_of(model: str, resume: bool | None) -> Path | None:
    """Return the checkpoint's path, None for a pipe or a device; refuse to lose one that was not asked about."""
    if is_special(model):
        return None
    checkpoint = Path(f"{model}.checkpoint")
    with storage_errors(checkpoint):
        is_there = checkpoint.exists()
    if is_there:
        if resume is None:
            raise ConfigError(
                f"An unfinished training must not be lost. Received: no word on {checkpoint}. "
                "Use --resume to go on with it, or --no-resume to begin anew."
            )
        if not resume:
            remove(checkpoint)
    return checkpoint


@contextlib.contextmanager
def _resume_hint(checkpoint: Path | None) -> Iterator[None]:
    """Say how to go on, where an interruption left a checkpoint."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if checkpoint is not None and checkpoint.exists():
            say(f"The training so far is in {checkpoint}; the same command with --resume goes on.")
        raise
