"""`anomaly train` and `anomaly demo`: the commands that need TensorFlow."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from anomaly.cli.shared import (
    SETTINGS_CONTEXT,
    bad_rows_options,
    data_argument,
    given_reading,
    max_bytes_option,
    quiet_option,
    refuse_same_file,
    report_json_option,
    strict_option,
    write_json,
)
from anomaly.config import SETTINGS, NetworkConfig, PenaltyConfig, ReadingConfig, ScoringConfig, TrainingConfig, WindowConfig
from anomaly.errors import ConfigError
from anomaly.options import NameList, config_option, settings_options
from anomaly.storage import is_special, remove, require_writable, storage_errors


@click.command(context_settings=SETTINGS_CONTEXT)
@data_argument
@click.option("--model", required=True, type=click.Path(dir_okay=False), metavar="FILE", help="Where to save the detector.")
@click.option("--train-end", metavar="ROW|FRACTION|TIME", help="Train on the rows before this one.  [default: all rows]")
@click.option("--time-column", default="auto", show_default=True, metavar="NAME", help="Column of times; 'none' counts rows.")
@click.option("--value-columns", type=NameList(), metavar="A,B", help="Features.  [default: all but time and label]")
@click.option("--label-column", metavar="NAME", help="Column of 0 and 1: never a feature, never used for training.")
@click.option(
    "--resume/--no-resume",
    default=None,
    help="Go on from FILE.checkpoint if there is one; or begin anew.  [default: refuse if there is one]",
)
@click.option(
    "--checkpoint-every",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Least time between checkpoints.",
)
@strict_option
@max_bytes_option
@bad_rows_options
@settings_options(ReadingConfig, WindowConfig, NetworkConfig, PenaltyConfig, TrainingConfig, ScoringConfig)
@config_option
@report_json_option
@quiet_option
def train(
    data: str, model: str, train_end: str | None, time_column: str, value_columns: list[str] | None, label_column: str | None,
    resume: bool | None, checkpoint_every: float, strict: bool, max_bytes: int | None, report_json: str | None,
    quiet: bool, **settings: Any,
) -> None:  # fmt: skip
    """Train a detector on the normal history in DATA.csv.

    FILE.checkpoint keeps the training through Ctrl-C or a crash; it goes when the detector is saved.

    \b
    anomaly train history.csv --model pump.anomaly --train-end 2022-05-01
    """
    reading = given_reading()
    refuse_same_file(DATA=data, model=model, rejects=reading.get("rejects"), report_json=report_json)
    for path in (model, report_json):
        if path is not None:
            require_writable(path)
    checkpoint = _checkpoint_of(model, resume)
    from anomaly.detector import Detector
    from anomaly.order import in_order
    from anomaly.progress import ProgressBar
    from anomaly.reading import read_csv
    from anomaly.report import time_text
    from anomaly.tolerance import Tolerance

    tolerance = Tolerance(strict)
    series = read_csv(
        data,
        time_column=None if time_column == "none" else time_column,
        value_columns=value_columns,
        label_column=label_column,
        strict=strict,
        max_bytes=max_bytes,
        **reading,
        tolerance=tolerance,
    )
    series = in_order(series, tolerance)
    series = series if train_end is None else series[: series.cut_row(str(train_end))]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    detector = Detector(**{name: settings[name] for name in SETTINGS})
    with _resume_hint(checkpoint), ProgressBar(quiet=quiet) as bar:
        detector.fit(series, on_step=bar.update, checkpoint=checkpoint, checkpoint_seconds=checkpoint_every, resume=bool(resume))
    detector.save(model)
    if checkpoint is not None:
        remove(checkpoint)
    write_json(report_json, tolerance.to_dict(rows=len(series)) | {"training": detector.bundle_.training})
    if not quiet:
        aggregation, training = detector.bundle_.config.scoring.aggregation, detector.bundle_.training
        click.echo(
            f"Features: {', '.join(detector.columns_)}. Time: {time_text(detector.bundle_)}.\n"
            f"Trained on {training['n_rows']:,} rows in windows of {detector.window_size_}; best of "
            f"{training['n_epochs']} epochs: {training['best_epoch']}.\n"
            f"{f'{tolerance}{chr(10)}' if tolerance.counts else ''}"
            f"Threshold: {detector.thresholds_[aggregation]}.\nSaved {model}.",
            err=True,
        )


@click.command(context_settings=SETTINGS_CONTEXT)
@click.option(
    "--output", "-o", default="anomaly-demo", show_default=True, type=click.Path(file_okay=False), help="Folder for the results."
)
@quiet_option
def demo(output: str, quiet: bool) -> None:
    """Train on a shipped real series, score it, and show the events beside the known ones.

    The series is the hourly flow in a branch of a water pipeline. OUTPUT receives the data, the detector,
    the scored rows, the events and a picture.
    """
    with storage_errors(output):
        os.makedirs(output, exist_ok=True)
    from anomaly.demo import run_demo
    from anomaly.progress import ProgressBar

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with ProgressBar(quiet=quiet) as bar:
        result = run_demo(output, on_step=bar.update)
    click.echo(result)


def _checkpoint_of(model: str, resume: bool | None) -> Path | None:
    """Return the checkpoint's path, None for a pipe or a device; refuse to lose one that was not asked about."""
    if is_special(model):
        return None
    checkpoint = Path(f"{model}.checkpoint")
    if checkpoint.exists():
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
            click.echo(f"The training so far is in {checkpoint}; the same command with --resume goes on.", err=True)
        raise
