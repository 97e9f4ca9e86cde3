"""What the commands share: arguments, options, and the last words of a run."""

import functools
import json
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from anomaly.cli.options import ByteSize, Command, Figures, FiniteRange, NameList, change_options
from anomaly.cli.terminal import say
from anomaly.cli.waiting import current
from anomaly.config import AGGREGATIONS, ReadingConfig
from anomaly.errors import AnomalyError, ConfigError
from anomaly.names import is_legible
from anomaly.storage.addresses import ObjectUri, is_address
from anomaly.storage.writing import is_special, output_or_stdout, resolved, storage_errors

if TYPE_CHECKING:
    from anomaly.bundle.bundle import Bundle
    from anomaly.detector.detector import Detector
    from anomaly.events.event import Event
    from anomaly.files.one_file import FileSummary
    from anomaly.series import TimeSeries

FOUND, INTERRUPTED = 10, 130
SETTINGS_CONTEXT = {"auto_envvar_prefix": "ANOMALY", "help_option_names": ["-h", "--help"], "max_content_width": 110}


class StoredPath(click.Path):
    """A path that must exist; an address in an object store passes, and is allowed or refused by the command."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check a path."""
        return value if is_address(str(value)) else super().convert(value, param, ctx)


class DetectorFile(click.Path):
    """The file of one detector: of a folder of them one of its files must be named."""

    def __init__(self) -> None:
        super().__init__(exists=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check a path.

        Raises:
            ConfigError: if it is a folder.
        """
        found = super().convert(value, param, ctx)
        if Path(value).is_dir():
            within = min(Path(value).rglob("*.anomaly"), default=None)
            remedy = "Name a file that `anomaly train` made." if within is None else f"Name one of its files, such as {within}."
            raise ConfigError(f"One detector must be named here, by its file. Received: the folder {value}. {remedy}")
        return found


data_argument = click.argument("data", type=click.Path(exists=True, dir_okay=False, allow_dash=True), metavar="DATA.csv")
model_option = click.option("--model", required=True, type=DetectorFile(), metavar="FILE", help="Detector made by `anomaly train`.")
models_option = click.option(
    "--model", required=True, type=StoredPath(exists=True), metavar="FILE|FOLDER", help="What `anomaly train` made."
)
expect_sha256_option = click.option(
    "--expect-sha256",
    metavar="HEX",
    help="Refuse a detector file with another SHA-256; `anomaly inspect` prints it. Of a folder: that of its index.json.",
)
aggregation_option = click.option(
    "--aggregation", type=click.Choice(AGGREGATIONS), help="How overlapping windows become one score.  [default: the detector's]"
)
threshold_option = click.option(
    "--threshold", type=FiniteRange(min=0, min_open=True), help="Cut to use instead of the calibrated one."
)
fail_option = click.option("--fail-on-anomaly", is_flag=True, help="Exit with code 10 if there is an event.")
quiet_option = click.option("--quiet", "-q", is_flag=True, help="Say nothing but errors on stderr.")
verbose_option = click.option(
    "--verbose", is_flag=True, help="Say how the steps are run, and show the parts of the loss; with --quiet nothing is said."
)
# `anomaly train` learns the columns itself; here they are the detector's.
strict_option = click.option("--strict", is_flag=True, help="Refuse what is otherwise tolerated and counted.")
max_bytes_option = click.option(
    "--max-bytes", type=ByteSize(), metavar="SIZE", help="Refuse longer input, decompressed: 500MB, 2GiB.  [default: any length]"
)
report_json_option = click.option(
    "--report-json", type=click.Path(dir_okay=False), metavar="FILE", help="Write what was read, tolerated and found as JSON."
)
_READING = tuple(item.name for item in fields(ReadingConfig))
# What says how a file is read.
READS = (*_READING, "time_column", "max_bytes")
# Where a path may be an address.
_STORED = ("data", "model", "output")
# Commands that have a column of times as an argument of their own.
_WITH_OWN_TIME = ("train", "check")
_BAD_ROWS = ("on_bad_rows", "max_bad_fraction", "rejects")
_RANGE = ("since", "until")
_SINCE = "from this row or time (in the zone of the data) on, or so long before the end."
_UNTIL = "up to this row or time, itself included; a date means all of that day."
label_option = click.option("--label-column", metavar="NAME", help="Column of 0 and 1 that marks known events.")


def reading_options(command: Command) -> Command:
    """Add the options that say how times are read; they go to `given_reading` and not to the command."""
    return change_options(*_READING)(without_options(command, _READING))


def range_options(does: str) -> Callable[[Command], Command]:
    """Return what adds --since and --until to a command, which go to `given_range`.

    Args:
        does: what the command does with the rows between them, one word.
    """

    def decorate(command: Command) -> Command:
        until = click.option("--until", metavar="ROW|TIME|7d", help=f"{does} {_UNTIL}")(without_options(command, _RANGE))
        return click.option("--since", metavar="ROW|TIME|7d", help=f"{does} {_SINCE}")(until)

    return decorate


def given_range() -> dict[str, Any]:
    """Return the ends of the range that the command at hand is about, as far as its options say."""
    params = click.get_current_context().params
    return {name: str(params[name]) for name in _RANGE if params.get(name) is not None}


def time_option(command: Command) -> Command:
    """Add the option for a column of times that is called otherwise than in training; it goes to `given_reading`."""
    option = click.option("--time-column", metavar="NAME", help="Column of times.  [default: as in training]")
    return option(without_options(command, ("time_column",)))


def ignore_option(command: Command) -> Command:
    """Add the option for columns that are no features; it goes to `given_reading` and not to the command."""
    option = click.option(
        "--ignore-columns", type=NameList(), metavar="A,B", help="Columns that are no features.  [default: labels, counts of rows]"
    )
    return option(without_options(command, ("ignore_columns",)))


def figures_option(command: Command) -> Command:
    """Add the option for what is written of each feature; it goes to `given_figures` and not to the command."""
    option = click.option(
        "--with",
        type=Figures(),
        metavar="[expected,band,by-feature]",
        help="Write for each feature behind the scores: NAME_expected; NAME_lower and NAME_upper, between which the row is not "
        "flagged, all else being as it is; NAME_share, its part in the score. Empty where it cannot be told.",
    )
    return option(without_options(command, ("with",)))


def given_figures() -> tuple[str, ...]:
    """Return what the command at hand is to write of each feature."""
    found: tuple[str, ...] | None = click.get_current_context().params.get("with")
    return found or ()


def bad_rows_options(command: Command) -> Command:
    """Add the options for records that cannot be read; they go to `given_reading` and not to the command."""
    command = without_options(command, _BAD_ROWS)
    for option in (
        click.option("--rejects", type=click.Path(dir_okay=False), metavar="FILE", help="Write what was skipped: a CSV file."),
        click.option(
            "--max-bad-fraction",
            type=FiniteRange(0, 1, min_open=True),
            help="Refuse the input if a larger share of its records is bad; with --follow from 1,000 records on.  [default: 0.01]",
        ),
        click.option(
            "--on-bad-rows",
            type=click.Choice(["refuse", "skip"]),
            default="refuse",
            show_default=True,
            help="What becomes of a record with text among numbers, no time, an open quote or a field more or less.",
        ),
    ):
        command = option(command)
    return command


def without_options(command: Command, names: tuple[str, ...]) -> Command:
    """Return a command as a function that drops some of its options; the context still has them."""

    @functools.wraps(command)
    def shorter(**given: Any) -> Any:
        return command(**{name: value for name, value in given.items() if name not in names})

    return shorter


def with_addresses(command: Command) -> Command:
    """Return a command that receives the addresses among its paths as what they are, if that is allowed."""

    @functools.wraps(command)
    def wrapped(**given: Any) -> Any:
        params = click.get_current_context().params
        paths = {name: params[name] for name in _STORED if name in params}
        found = {
            name: tuple(map(_address, path)) if isinstance(path, tuple) else _address(path)
            for name, path in paths.items()
            if path is not None
        }
        params |= found
        return command(**given | found)

    return wrapped


def _address(path: str) -> str:
    """Return a path as it is, or an address as an `ObjectUri`.

    Raises:
        ConfigError: if it is an address, and addresses are not allowed or it is not a good one.
    """
    if not is_address(path):
        return path
    uri = ObjectUri.parse(path)
    if not click.get_current_context().params["allow_remote"]:
        raise ConfigError(
            f"The network is only used where that is asked for. Received: {uri} without --allow-remote. "
            "Add --allow-remote, or name a file."
        )
    return uri


def is_all_remote(given: Mapping[str, Any]) -> bool:
    """Tell whether no task reads or writes a file of this machine."""
    paths = [path for name in _STORED if name in given for path in (given[name] if name == "data" else [given[name]])]
    return all(isinstance(path, ObjectUri) for path in paths)


def refuse_address(option: str, path: str) -> None:
    """Refuse an address where a file is written while the work goes on, as for one input."""
    if isinstance(path, ObjectUri):
        raise ConfigError(
            f"{option} must be a file of this machine where there is one input. Received: {path}. Name a file, and copy it later."
        )


def given_reading() -> dict[str, Any]:
    """Return how the command at hand is to read its input, as far as its options say, by the names of `CsvReader`.

    Raises:
        ConfigError: if an option for bad records is given, and they are refused.
    """
    context = click.get_current_context(silent=True)
    given = {} if context is None else {name: context.params.get(name) for name in (*_READING, *_BAD_ROWS, "ignore_columns")}
    if context is not None and context.command.name not in _WITH_OWN_TIME and context.params.get("time_column") is not None:
        given["time_column"] = context.params["time_column"]
    given = {name: value for name, value in given.items() if value is not None}
    for name in ("max_bad_fraction", "rejects"):
        if name in given and given["on_bad_rows"] != "skip":
            option = f"--{name.replace('_', '-')}"
            raise ConfigError(
                f"{option} must go with --on-bad-rows skip. Received: {option} {given[name]} without it. "
                f"Add --on-bad-rows skip, or leave {option} out."
            )
    return given


def refuse_idle(names: Iterable[str], needed: str) -> None:
    """Refuse options of the command line that do nothing without another; a file or the environment may serve many commands.

    Args:
        names: of the options, as parameters.
        needed: what they must go with.
    """
    context = click.get_current_context()
    for option in context.command.params:
        if option.name in names and context.get_parameter_source(option.name or "") is click.core.ParameterSource.COMMANDLINE:
            said = option.opts[0]
            raise ConfigError(f"{said} must go with {needed}. Received: {said} without it. Leave it out.")


def refuse_same_file(**paths: str | None) -> None:
    """Refuse two options that name the same file: one of them would overwrite the other."""
    seen: dict[object, str] = {}
    for name, path in paths.items():
        if path is None:
            continue
        # Standard input and output are two things; two outputs on one standard output are not.
        with storage_errors(path):
            key: object = ("-", name == "DATA") if path == "-" else path if is_address(path) else resolved(path)
        if key in seen:
            raise ConfigError(f"Files must differ. Received: {path} for both {seen[key]} and {name}. Name another file.")
        seen[key] = name


def conclude(summary: "FileSummary", *, fail_on_anomaly: bool, quiet: bool) -> None:
    """Say what came out, and leave with the exit code for it."""
    if not quiet:
        say(str(summary))
        if summary.drift is not None:
            several = click.get_current_context().params.get("id_column") is not None
            remedy = None if several or summary.drift.warning is None else _retraining(summary)
            warn_of_drift(summary.drift.warning, remedy)
    if fail_on_anomaly and summary.n_events:
        sys.exit(FOUND)


def warn_of_drift(warning: str | None, remedy: str | None = None) -> None:
    """Say in one line what no longer looks like in training, and what to do.

    Args:
        warning: what that is, in a clause; None says nothing.
        remedy: a clause too; None if it is about several series.
    """
    if warning is not None:
        say(f"Warning: {warning}: {remedy or 'retrain on rows like these if it stays so; --report-json has each'}.")


def _retraining(summary: "FileSummary") -> str:
    """Say how to train on the rows that the command at hand has read, going on from its detector, or what helps instead."""
    from anomaly.scoring.drift import DriftResult

    given = click.get_current_context().params
    data, model = given["data"], given["model"]
    data, bundle = data[0] if isinstance(data, tuple) else data, _bundle_of(model)
    rising = [] if bundle is None else bundle.training.get("rising", [])
    if isinstance(summary.drift, DriftResult) and (counting := summary.drift.counting(rising)):
        return counting
    if bundle is not None and not bundle.weights:
        return "retrain in Python, with the function that makes its network, on rows like these if it stays so"
    words = [typed(data, "NEW.csv"), "--model NEW.anomaly", f"--from {typed(model, 'OLD.anomaly')}", *given_of_input()]
    without = "; --exclude EVENTS.csv leaves out the events that are none of it" if summary.n_events else ""
    return f"retrain with `anomaly train {' '.join(words)}` if it stays so{without}"


def typed(path: str, stand_in: str) -> str:
    """Return a path as a word of a command to be typed, which must not be taken for an option.

    Args:
        path: the path.
        stand_in: what stands for what can be read only once, and for a name that is no text.
    """
    if path == "-" or is_special(path) or not is_legible(path):
        return stand_in
    return shlex.quote(f"./{path}" if path.startswith("-") else path)


def given_of_input() -> list[str]:
    """Return what the command line says of the input, as a training needs it too."""
    context = click.get_current_context()
    words = []
    for option in context.command.params:
        name, value = option.name or "", context.params.get(option.name or "")
        told = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if told and name in (*_READING, "time_column", "ignore_columns", "on_bad_rows", "max_bad_fraction"):
            text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            words.append(f"{option.opts[0]} {shlex.quote(text)}")
    return words


def _bundle_of(model: str) -> "Bundle | None":
    """Return what a detector's file holds; None if it is another file by now."""
    from anomaly.bundle.file import read_bundle

    try:
        return read_bundle(model)
    except AnomalyError:
        return None


def read_series(detector: "Detector", path: str, label_column: str | None = None, *, max_bytes: int | None = None) -> "TimeSeries":
    """Read the columns that a detector was trained on, and labels if they are named; say what these were taken for."""
    from anomaly.ingest.reading import read_csv
    from anomaly.sources.tolerance import Tolerance

    bundle = detector.bundle_
    columns: dict[str, Any] = {
        "time_column": bundle.time_column,
        "value_columns": list(bundle.judged_columns),
        "label_column": label_column,
    }
    on_chunk = current().now("Reading", path).read
    options, tolerance = columns | bundle.reading | given_reading(), Tolerance()
    series = read_csv(path, **options, max_bytes=max_bytes, on_chunk=on_chunk, tolerance=tolerance)
    for sentence in tolerance.of_labels:
        say(sentence)
    return series


def most_severe(events: "list[Event]", top: int) -> list[int]:
    """Return the numbers, from 1, of the most severe events, in the order of time."""
    by_severity = sorted(range(len(events)), key=lambda i: -events[i].severity)
    return sorted(i + 1 for i in by_severity[:top])


def write_json(path: str | None, values: dict[str, Any]) -> None:
    """Write plain values to a file, if one is named."""
    if path is not None:
        with output_or_stdout(path) as handle:
            handle.write((json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode())
