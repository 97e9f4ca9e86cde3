"""The options of `anomaly score` for records that arrive, and for several series in one input."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import IO, TYPE_CHECKING, Any

import click

from anomaly.cli.options import WholeRange
from anomaly.cli.shared import conclude, given_range, given_reading, refuse_idle, without_options
from anomaly.config import OUTPUT_FORMATS
from anomaly.errors import ConfigError, DataError
from anomaly.sources.arriving import stopping
from anomaly.storage.writing import exclusive, open_directly, output_or_stdout, storage_errors

if TYPE_CHECKING:
    from anomaly.cli.options import Command
    from anomaly.detector.lookup import Detectors
    from anomaly.events.event import Event
    from anomaly.files.one_file import FileSummary
    from anomaly.live.metrics import RunMetrics
    from anomaly.live.stream_state import StateFile, StreamState

_OPTIONS = (
    click.option(
        "--follow",
        is_flag=True,
        help="Score rows as they arrive on a pipe or in a file that grows, one line out for each as soon as its score is final; "
        "by the aggregation trailing unless another is named. Ctrl-C ends it; SIGHUP reads the detector again.",
    ),
    click.option(
        "--input-format",
        type=click.Choice(["csv", "jsonl", "influx"]),
        default="csv",
        show_default=True,
        help="With --follow: CSV, JSON Lines or InfluxDB line protocol; the output has the same.",
    ),
    click.option(
        "--id-column",
        metavar="NAME",
        help="Column (member, tag; * for measurement and all tags) that says which of several series a row belongs to.",
    ),
    click.option(
        "--state", type=click.Path(dir_okay=False), metavar="FILE", help="With --follow: keep what a restart needs to go on."
    ),
    click.option(
        "--lag",
        type=WholeRange(min=0),
        metavar="N",
        help="With --follow: write a row up to N rows late, so that aggregations may look ahead; without --aggregation that of the "
        "detector is used then.",
    ),
    click.option(
        "--reorder",
        type=WholeRange(min=0),
        default=0,
        show_default=True,
        metavar="N",
        help="With --follow: hold N rows of each series, to put them in the order of their times.",
    ),
    click.option(
        "--metrics-port",
        metavar="[HOST:]PORT",
        help="With --follow: serve figures for Prometheus at http://HOST:PORT/metrics.  [host: 127.0.0.1]",
    ),
    click.option(
        "--most-series",
        type=WholeRange(min=1),
        metavar="N",
        help="With --follow: series remembered; the one without a row for the longest time goes.  [default: 10000]",
    ),
)
_NAMES = ("follow", "input_format", "id_column", "state", "lag", "reorder", "most_series", "metrics_port")
METRICS_FORMAT = "openmetrics"
_ONLY_LIVE = {"input_format": "csv", "state": None, "lag": None, "reorder": 0, "most_series": None, "metrics_port": None}


def live_options(command: "Command") -> "Command":
    """Add the options; they go to `given_live` and not to the command."""
    return functools.reduce(lambda found, option: option(found), reversed(_OPTIONS), without_options(command, _NAMES))


def given_live(
    output: str, file_format: str | None, events: str | None, resume: bool | None, max_bytes: int | None
) -> dict[str, Any]:
    """Return the options, by their names.

    Args:
        output: where the rows go.
        file_format: of the rows.
        events: where the events go.
        resume: whether the run is to be resumed.
        max_bytes: the limit of the input.

    Raises:
        ConfigError: if an option is given that does not go with the others.
    """
    params = click.get_current_context().params
    given = {name: params[name] for name in _NAMES}
    if not given["follow"]:
        extra = [name for name, usual in _ONLY_LIVE.items() if given[name] != usual]
        if extra:
            option = f"--{extra[0].replace('_', '-')}"
            raise ConfigError(f"{option} goes with --follow. Received: {option} without it. Add --follow, or leave it out.")
        if given["id_column"] and resume is not None:
            raise ConfigError("--resume knows no --id-column. Received: both. Leave one of them out.")
        given |= {"input_format": "csv"}
    if file_format == METRICS_FORMAT:
        wrong = {"--follow": given["follow"], "--resume": resume is not None}
        for option in (name for name, is_there in wrong.items() if is_there):
            raise ConfigError(
                f"--format {METRICS_FORMAT} tells of a whole file at once. Received: it with {option}. "
                f"{'Use --metrics-port' if given['follow'] else 'Leave one of them out'}."
            )
        return given
    if file_format is not None and file_format not in OUTPUT_FORMATS[given["input_format"]]:
        raise ConfigError(
            f"Records from {given['input_format']} must be written as {' or '.join(OUTPUT_FORMATS[given['input_format']])}. "
            f"Received: --format {file_format}. Leave --format out."
        )
    if not given["follow"]:
        return given
    if given["id_column"] is None:
        refuse_idle(("most_series",), "--id-column")
    wrong = {"--resume or --no-resume": resume is not None, "--max-bytes": max_bytes is not None}
    wrong["--events beside --state"] = events is not None and given["state"] is not None
    wrong["--events -"] = events == "-"
    wrong["--since or --until"] = bool(given_range())
    for option in (name for name, is_there in wrong.items() if is_there):
        raise ConfigError(f"--follow knows no {option}: its rows have no end. Received: {option}. Leave it out.")
    if output != "-" and given["state"] is None:
        raise ConfigError(
            f"With --follow, --output needs --state, to know after a restart how far it had come. Received: --output {output}. "
            "Add --state FILE, or redirect the output with > in the shell."
        )
    return given


def follow(
    open_model: "Callable[[], Detectors]",
    data: str,
    output: str,
    events: str | None,
    live: dict[str, Any],
    *,
    say: Callable[[str], None],
    **scoring: Any,
) -> "FileSummary":
    """Score records as they arrive.

    Args:
        open_model: reads the detector or the fleet.
        data: a file that grows, or "-".
        output: where the rows go.
        events: a file for the events, each as soon as it has ended.
        live: what `given_live` returns.
        say: receives sentences for people.
        scoring: aggregation, threshold, file_format, strict and figures, as for `LiveOptions`.
    """
    from anomaly.detector.lookup import only_detector
    from anomaly.live.interleaved import MOST_SERIES
    from anomaly.live.run import LiveOptions, LiveRun
    from anomaly.live.stream import check_lag

    names = ("input_format", "id_column", "lag", "reorder")
    options = LiveOptions(**{name: live[name] for name in names}, most_series=live["most_series"] or MOST_SERIES, **scoring)
    model = open_model()
    if options.id_column is None:
        check_lag(only_detector(model), options.how)  # before anything is written
    if live["state"] is not None and given_reading().get("rejects") is not None:
        raise ConfigError("--state knows no --rejects: each run would write its own. Received: both. Leave one of them out.")
    if live["state"] is not None:  # each of two runs would take up what the other left
        click.get_current_context().with_resource(exclusive(live["state"], ".running"))
    state, begin = _state(live["state"], model, options, output)
    with (
        stopping() as stop,
        _output(output, begin) as handle,
        _event_log(events, model.time_column, several=options.id_column is not None) as on_events,
        _metrics(live["metrics_port"], model, options, say) as metrics,
    ):
        run = LiveRun(
            model, data, handle, options, stop, state=state, begin=begin,
            reload=open_model, on_events=on_events, say=say, metrics=metrics, **given_reading(),
        )  # fmt: skip
        summary = run.run()
    summary.signal = stop.signal
    return summary


def leave(summary: "FileSummary", *, fail_on_anomaly: bool, quiet: bool) -> None:
    """Say what came out, and leave with the exit code for it: of a signal, of series that could not be scored, of anomalies."""
    try:
        conclude(summary, fail_on_anomaly=fail_on_anomaly and not summary.n_failed, quiet=quiet)
    finally:
        if summary.signal is not None:
            raise SystemExit(128 + summary.signal)
    if summary.n_failed:
        raise SystemExit(DataError.exit_code)


def _state(path: str | None, model: "Detectors", options: Any, output: str) -> "tuple[StateFile | None, StreamState]":
    """Return the file that keeps where the run stands, and where it stood."""
    from anomaly.live.stream_state import StateFile, StreamState

    if path is None:
        return None, StreamState()
    identity = {
        name: getattr(options, name) for name in ("input_format", "file_format", "id_column", "aggregation", "lag", "reorder")
    }
    identity |= {"columns": list(model.columns), "time column": model.time_column, "kind of output": output != "-"}
    identity |= {"with": list(options.figures)} if options.figures else {}  # as it was before there was such an option
    identity |= {"judged": list(model.judged_columns)} if model.judged_columns != model.columns else {}
    file = StateFile(path, identity, len(model.columns))
    return file, file.read() or StreamState()


@contextlib.contextmanager
def _metrics(port: str | None, model: "Detectors", options: Any, say: Callable[[str], None]) -> "Iterator[RunMetrics | None]":
    """Serve the figures of the run, if that was asked for."""
    if port is None:
        yield None
        return
    from anomaly.live.metrics import RunMetrics, address_of, served

    address = address_of(port)
    metrics = RunMetrics(model_label(), timed=model.time_column is not None, most_series=options.most_series)
    with served(metrics, address) as found:
        say(f"Metrics: http://{address[0]}:{found}/metrics")
        yield metrics


def model_label() -> str:
    """Return how the model of the command at hand is called in figures: its name without folders."""
    return PurePath(str(click.get_current_context().params["model"])).name


@contextlib.contextmanager
def _output(path: str, begin: "StreamState") -> Iterator[IO[bytes]]:
    from anomaly.live.run import appended_output

    with output_or_stdout(path) if path == "-" else appended_output(path, begin) as handle:
        yield handle


@contextlib.contextmanager
def _event_log(path: str | None, time_column: str | None, *, several: bool) -> "Iterator[Callable[[str, list[Event]], None]]":
    """Yield what writes events at once."""
    from anomaly.report.tables import events_text

    if path is None:
        yield lambda series, events: None
        return
    file_format = "jsonl" if path.endswith(".jsonl") else "csv"
    with storage_errors(path):
        handle = open_directly(path, buffering=0)  # errors of what is scored meanwhile are not those of this file

    def write(series: str, events: "list[Event]") -> None:
        names = [series] * len(events) if several else None
        with storage_errors(path):
            handle.write(events_text(events, time_column, file_format, series=names, header=False).encode())

    with handle:
        with storage_errors(path):
            handle.write(events_text([], time_column, file_format, series=[] if several else None).encode())
        yield write
