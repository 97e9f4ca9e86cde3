"""The command line: parse, call one function, echo.

Everything heavy is imported inside the commands: `--help` and shell completion must stay quick, and
scoring must not load TensorFlow.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from anomaly import __version__
from anomaly.config import (
    AGGREGATIONS,
    SETTINGS,
    NetworkConfig,
    PenaltyConfig,
    ScoringConfig,
    TrainingConfig,
    WindowConfig,
)
from anomaly.errors import AnomalyError, ConfigError
from anomaly.options import NameList, config_option, settings_options
from anomaly.storage import is_special, output_or_stdout, remove, require_writable, storage_errors

if TYPE_CHECKING:
    from anomaly.files import FileSummary

FOUND, INTERRUPTED, TERMINATED = 10, 130, 143
SETTINGS_CONTEXT = {"auto_envvar_prefix": "ANOMALY", "help_option_names": ["-h", "--help"], "max_content_width": 110}

data_argument = click.argument("data", type=click.Path(exists=True, dir_okay=False, allow_dash=True), metavar="DATA.csv")
model_option = click.option(
    "--model", required=True, type=click.Path(exists=True, dir_okay=False), metavar="FILE", help="Detector made by `anomaly train`."
)
aggregation_option = click.option(
    "--aggregation", type=click.Choice(AGGREGATIONS), help="How overlapping windows become one score.  [default: the detector's]"
)
threshold_option = click.option(
    "--threshold", type=click.FloatRange(min=0, min_open=True), help="Cut to use instead of the calibrated one."
)
fail_option = click.option("--fail-on-anomaly", is_flag=True, help="Exit with code 10 if there is an event.")
quiet_option = click.option("--quiet", "-q", is_flag=True, help="Say nothing but errors on stderr.")


class _Commands(click.Group):
    """Turns expected errors into one sentence and the right exit code; a bug keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        with contextlib.suppress(ValueError):  # only the main thread may set it
            signal.signal(signal.SIGTERM, _terminate)
        try:
            return super().invoke(ctx)
        except AnomalyError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(INTERRUPTED)


def _terminate(number: int, frame: Any) -> None:
    """Leave by an exception, so that half-written files are removed on the way out."""
    sys.exit(TERMINATED)


@click.group(cls=_Commands, context_settings=SETTINGS_CONTEXT)
@click.version_option(__version__, prog_name="anomaly", allow_from_autoenv=False)
def cli() -> None:
    """Find out when a time series stops being normal.

    Train on history, then score new data. Every option of train, score and detect can also come from
    --config FILE.toml (window_size = 64) or the environment (ANOMALY_WINDOW_SIZE=64); "-" is standard input
    or output.

    \b
    Exit codes: 0 done, 1 bug, 2 usage or settings, 3 data refused, 4 bundle refused, 5 file or disk,
    6 training diverged, 10 anomalies found (only with --fail-on-anomaly), 130 interrupted, 143 terminated.
    """


@cli.command(context_settings=SETTINGS_CONTEXT)
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
@settings_options(WindowConfig, NetworkConfig, PenaltyConfig, TrainingConfig, ScoringConfig)
@config_option
@quiet_option
def train(
    data: str, model: str, train_end: str | None, time_column: str, value_columns: list[str] | None, label_column: str | None,
    resume: bool | None, checkpoint_every: float, quiet: bool, **settings: Any,
) -> None:  # fmt: skip
    """Train a detector on the normal history in DATA.csv.

    FILE.checkpoint keeps the training through Ctrl-C or a crash; it goes when the detector is saved.

    \b
    anomaly train history.csv --model pump.anomaly --train-end 2022-05-01
    """
    refuse_same_file(DATA=data, model=model)
    require_writable(model)
    checkpoint = _checkpoint_of(model, resume)
    from anomaly.detector import Detector
    from anomaly.ingest import read_csv
    from anomaly.progress import ProgressBar
    from anomaly.report import time_text

    series = read_csv(
        data,
        time_column=None if time_column == "none" else time_column,
        value_columns=value_columns,
        label_column=label_column,
    )
    series = series if train_end is None else series[: series.cut_row(str(train_end))]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    detector = Detector(**{name: settings[name] for name in SETTINGS})
    with _resume_hint(checkpoint), ProgressBar(quiet=quiet) as bar:
        detector.fit(series, on_step=bar.update, checkpoint=checkpoint, checkpoint_seconds=checkpoint_every, resume=bool(resume))
    detector.save(model)
    if checkpoint is not None:
        remove(checkpoint)
    if not quiet:
        aggregation, training = detector.bundle_.config.scoring.aggregation, detector.bundle_.training
        click.echo(
            f"Features: {', '.join(detector.columns_)}. Time: {time_text(detector.bundle_)}.\n"
            f"Trained on {training['n_rows']:,} rows in windows of {detector.window_size_}; best of "
            f"{training['n_epochs']} epochs: {training['best_epoch']}.\n"
            f"Threshold: {detector.thresholds_[aggregation]}.\nSaved {model}.",
            err=True,
        )


@cli.command(context_settings=SETTINGS_CONTEXT)
@data_argument
@model_option
@click.option("--output", "-o", default="-", metavar="FILE|-", help="Where the scored rows go.  [default: standard output]")
@click.option("--format", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True)
@threshold_option
@aggregation_option
@click.option("--events", type=click.Path(dir_okay=False), metavar="FILE", help="Write the events too: .csv or .jsonl.")
@fail_option
@config_option
@quiet_option
def score(
    data: str, model: str, output: str, format: str, threshold: float | None, aggregation: str | None,
    events: str | None, fail_on_anomaly: bool, quiet: bool,
) -> None:  # fmt: skip
    """Score every row of DATA.csv: its columns, then score, threshold, anomaly_score, is_anomaly, status.

    anomaly_score is score / threshold: above 1 is anomalous. A row that could not be scored has no score and
    a status that says why. Memory does not grow with the file.

    \b
    anomaly score new.csv --model pump.anomaly --output scored.csv --events events.csv
    """
    refuse_same_file(DATA=data, model=model, output=output, events=events)
    for path in (output, events):
        if path not in (None, "-"):
            require_writable(str(path))
    from anomaly.detector import Detector
    from anomaly.files import score_file
    from anomaly.report import events_text, write_events

    detector = Detector.load(model)
    with output_or_stdout(output) as handle:
        summary = score_file(detector, data, aggregation=aggregation, threshold=threshold, output=handle, file_format=format)
    if events == "-":
        _print(events_text(summary.events, detector.bundle_.time_column, "csv"))
    elif events is not None:
        write_events(events, summary.events, detector.bundle_.time_column)
    _conclude(summary, fail_on_anomaly=fail_on_anomaly, quiet=quiet)


@cli.command(context_settings=SETTINGS_CONTEXT)
@data_argument
@model_option
@click.option("--format", type=click.Choice(["table", "csv", "jsonl"]), default="table", show_default=True)
@threshold_option
@aggregation_option
@fail_option
@config_option
@quiet_option
def detect(
    data: str, model: str, format: str, threshold: float | None, aggregation: str | None, fail_on_anomaly: bool, quiet: bool
) -> None:
    """List the events in DATA.csv: when, how severe (peak score / threshold), and which features drove them.

    \b
    anomaly detect new.csv --model pump.anomaly
    """
    from anomaly.detector import Detector
    from anomaly.files import score_file
    from anomaly.report import events_text

    detector = Detector.load(model)
    summary = score_file(detector, data, aggregation=aggregation, threshold=threshold)
    _print(events_text(summary.events, detector.bundle_.time_column, format))
    _conclude(summary, fail_on_anomaly=fail_on_anomaly, quiet=quiet)


@cli.command(context_settings=SETTINGS_CONTEXT)
@click.argument("model", type=click.Path(exists=True, dir_okay=False), metavar="FILE")
@click.option("--format", type=click.Choice(["text", "json"]), default="text", show_default=True)
def inspect(model: str, format: str) -> None:
    """Show what is in a detector file: data, network, training, thresholds, versions.

    \b
    anomaly inspect pump.anomaly
    """
    from anomaly.bundle import read_bundle
    from anomaly.report import bundle_text

    _print(bundle_text(read_bundle(model), format))


@cli.command(context_settings=SETTINGS_CONTEXT)
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


def _print(text: str) -> None:
    with output_or_stdout("-") as handle:
        handle.write(text.encode())


def refuse_same_file(**paths: str | None) -> None:
    """Refuse two options that name the same file: one of them would overwrite the other."""
    seen: dict[object, str] = {}
    for name, path in paths.items():
        if path is None:
            continue
        # Standard input and output are two things; two outputs on one standard output are not.
        key: object = ("-", name == "DATA") if path == "-" else Path(path).resolve()
        if key in seen:
            raise ConfigError(f"Files must differ. Received: {path} for both {seen[key]} and {name}. Name another file.")
        seen[key] = name


def _conclude(summary: "FileSummary", *, fail_on_anomaly: bool, quiet: bool) -> None:
    if not quiet:
        click.echo(str(summary), err=True)
    if fail_on_anomaly and summary.events:
        sys.exit(FOUND)
