"""`anomaly score`, `anomaly detect` and `anomaly explain`: new data, an old detector."""

import contextlib
import json
import sys
from functools import partial
from typing import IO, TYPE_CHECKING, Any

import click

from anomaly.cli.help import GroupedCommand
from anomaly.cli.live import METRICS_FORMAT, follow, given_live, leave, live_options, model_label
from anomaly.cli.many import detect_many, score_many
from anomaly.cli.many_options import (
    inputs_argument,
    is_about_many,
    jobs_in_context,
    many_options,
    new_series,
    new_series_option,
    one_file,
)
from anomaly.cli.options import EventsPath, FiniteRange, WholeRange, config_option
from anomaly.cli.shared import (
    SETTINGS_CONTEXT,
    aggregation_option,
    bad_rows_options,
    data_argument,
    expect_sha256_option,
    fail_option,
    figures_option,
    given_figures,
    given_range,
    given_reading,
    max_bytes_option,
    model_option,
    models_option,
    most_severe,
    quiet_option,
    range_options,
    read_series,
    reading_options,
    refuse_address,
    refuse_same_file,
    report_json_option,
    strict_option,
    threshold_option,
    time_option,
    write_json,
)
from anomaly.cli.terminal import print_text, print_words, say, terminal_width
from anomaly.cli.waiting import current
from anomaly.errors import ConfigError, StorageError
from anomaly.quick_start import without_pandas
from anomaly.storage.writing import is_special, output_or_stdout, require_writable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anomaly.detector.lookup import Detectors
    from anomaly.files.journal import Journal
    from anomaly.files.one_file import FileSummary
    from anomaly.report.sparkline import ScoreLine


@click.command(cls=GroupedCommand, context_settings=SETTINGS_CONTEXT)
@inputs_argument
@models_option
@click.option("--output", "-o", default="-", metavar="FILE|FOLDER|-", help="Where the scored rows go.  [default: standard output]")
@click.option(
    "--format",
    type=click.Choice(["csv", "jsonl", "influx", METRICS_FORMAT]),
    help="Of the scored rows; openmetrics: figures instead of rows.  [default: csv; with --follow that of the input]",
)
@figures_option
@range_options("Write rows")
@threshold_option
@aggregation_option
@click.option("--events", type=EventsPath(dir_okay=False), metavar="FILE", help="Write the events too: .csv or .jsonl.")
@click.option(
    "--resume/--no-resume",
    default=None,
    help="Keep the scored rows through an interruption, and go on from them; or begin anew.  [default: refuse if there are any]",
)
@live_options
@new_series_option
@jobs_in_context
@fail_option
@strict_option
@max_bytes_option
@reading_options
@time_option
@bad_rows_options
@report_json_option
@expect_sha256_option
@config_option
@quiet_option
@without_pandas
def score(
    data: tuple[str, ...], model: str, expect_sha256: str | None, output: str, format: str | None,
    threshold: float | None, aggregation: str | None, events: str | None, resume: bool | None, fail_on_anomaly: bool, strict: bool,
    max_bytes: int | None, report_json: str | None, quiet: bool,
) -> None:  # fmt: skip
    """Score every row of a file: its columns, then score, threshold, anomaly_score, is_anomaly, status.

    anomaly_score is score / threshold: above 1 is anomalous. A row that could not be scored has no score and
    a status that says why. Memory does not grow with the file.

    All rows are scored, and those between --since and --until written: their scores are what they are among all.

    Of several files, patterns or folders the rows go to a file each in the folder that --output names. Its manifest.json
    says what is done: the same command again does only what is missing or changed, or all with --no-resume.

    \b
    anomaly score new.csv --model pump.anomaly --output scored.csv --events events.csv --with expected,band
    anomaly score - --model pump.anomaly --follow
    anomaly score "new/*.csv" --model pumps.fleet --output scored --jobs 2
    anomaly score s3://plant/new --model s3://plant/pumps.fleet --output s3://plant/scored --allow-remote
    """
    reading = given_reading()
    if is_about_many(data):
        score_many(reading)
        return
    source = one_file(data)
    refuse_address("--output", output)
    live = given_live(output, format, events, resume, max_bytes)
    others = {"rejects": reading.get("rejects"), "state": live["state"]}
    _check_paths(DATA=source, model=model, output=output, events=events, report_json=report_json, **others)
    from anomaly.fleet.detectors import open_detectors

    _check_resume(source, output, resume)
    common = {"aggregation": aggregation, "threshold": threshold, "strict": strict, **_written(format)}
    say, opened = partial(_say, quiet=quiet), partial(open_detectors, model, expect_sha256=expect_sha256, new_series=new_series())
    if live["follow"]:
        summary = follow(opened, source, output, events, live, say=say, **common)
        write_json(report_json, summary.to_dict())
        leave(summary, fail_on_anomaly=fail_on_anomaly, quiet=quiet)
        return
    results = partial(_write_results, events, report_json, (found := opened()).time_column)
    common |= {"file_format": format or "csv", "max_bytes": max_bytes, "id_column": live["id_column"], "say": say} | reading
    common |= given_range()
    with _resumable(output, quiet=quiet) if resume else output_or_stdout(output) as handle:
        quietly = quiet or (output == "-" and sys.stdout.isatty())
        summary = (_write_metrics if format == METRICS_FORMAT else _score)(found, source, handle, common, quiet=quietly)
        if resume:  # before the output is there: after a crash between them the next run writes them all
            results(summary)
    if not resume:
        results(summary)
    leave(summary, fail_on_anomaly=fail_on_anomaly, quiet=quiet)


def _written(file_format: str | None) -> dict[str, Any]:
    """Return how rows are written; metrics have no rows to write anything of a feature in."""
    figures = given_figures()
    if figures and file_format == METRICS_FORMAT:
        raise ConfigError(
            f"--with goes with rows. Received: --with {','.join(figures)} and --format {METRICS_FORMAT}. Leave one of them out."
        )
    return {"file_format": file_format, "figures": figures}


def _score(
    model: "Detectors", data: str, output: "IO[bytes] | Journal | None", options: dict[str, Any], *, quiet: bool
) -> "FileSummary":
    """Score a file of one series, or of several."""
    from anomaly.detector.lookup import only_detector
    from anomaly.files.one_file import score_file

    on_chunk = current().now("Scoring", data).read
    if options["id_column"] is not None:
        from anomaly.fleet.long_files import score_long_file  # which loads what scores rows as they come

        return score_long_file(model, data, output=output, on_chunk=on_chunk, **options)
    options = {name: value for name, value in options.items() if name not in ("id_column", "say")}
    return score_file(only_detector(model), data, output=output, on_chunk=on_chunk, **options)


def _write_metrics(model: "Detectors", data: str, output: Any, options: dict[str, Any], *, quiet: bool) -> "FileSummary":
    """Score a file, and write its figures instead of its rows."""
    from anomaly.live.metrics import RunMetrics

    metrics = RunMetrics(model_label(), timed=model.time_column is not None, live=False)
    metrics.text()  # before the work is done
    summary = _score(model, data, None, options | {"file_format": "csv", "on_rows": metrics.rows}, quiet=quiet)
    for series in summary.series or [""] * len(summary.events):
        metrics.events(series, 1)
    counts, drift = summary.tolerance.counts, summary.drift
    metrics.gaps(counts.get("gaps", 0) + counts.get("steps_back", 0))
    if drift is not None:
        metrics.drift(getattr(drift, "series", {"": drift}))
    output.write(metrics.text())
    return summary


def _say(sentence: str, *, quiet: bool) -> None:
    if not quiet:
        say(sentence)


def _check_paths(**paths: str | None) -> None:
    """Refuse one file for two purposes, and outputs that cannot be written, before anything is read."""
    refuse_same_file(**paths)
    for path in (path for name, path in paths.items() if name not in ("DATA", "model")):
        if path not in (None, "-"):
            require_writable(str(path))


def _check_resume(data: str, output: str, resume: bool | None) -> None:
    """Refuse what cannot go on; without --resume see to it that no scored rows are lost."""
    from anomaly.files.journal import refuse_to_lose

    for name, path in (("DATA", data), ("--output", output)):
        if resume and (path == "-" or is_special(path)):
            raise ConfigError(f"--resume needs {name} to be a file, so that it can be read again. Received: {path}. Name a file.")
    if not resume:
        refuse_to_lose(output, begin_anew=resume is False)


@contextlib.contextmanager
def _resumable(output: str, *, quiet: bool) -> "Iterator[Journal]":
    """Yield the journal of a run; where it ends early say how to go on."""
    from anomaly.files.journal import journalled

    journal = None
    try:
        with journalled(output, say=lambda text: None if quiet else say(text)) as journal:
            yield journal
    except (KeyboardInterrupt, SystemExit, StorageError):
        if journal is not None and journal.kept:
            say(f"{journal.kept:,} scored rows are kept; the same command with --resume goes on.")
        raise


def _write_results(events: str | None, report_json: str | None, time_column: str | None, summary: "FileSummary") -> None:
    from anomaly.report.tables import events_text, write_events

    if events == "-":
        print_text(events_text(summary.events, time_column, "csv", series=summary.series))
    elif events is not None:
        write_events(events, summary.events, time_column, series=summary.series)
    write_json(report_json, summary.to_dict())


@click.command(cls=GroupedCommand, context_settings=SETTINGS_CONTEXT)
@inputs_argument
@models_option
@new_series_option
@many_options
@click.option("--format", type=click.Choice(["table", "csv", "jsonl"]), default="table", show_default=True)
@click.option("--all", is_flag=True, help="List the runs of flagged rows that are no events too, each with its reason.")
@range_options("List events")
@threshold_option
@aggregation_option
@fail_option
@strict_option
@max_bytes_option
@reading_options
@time_option
@bad_rows_options
@report_json_option
@expect_sha256_option
@config_option
@quiet_option
@without_pandas
def detect(
    data: tuple[str, ...],
    model: str,
    expect_sha256: str | None,
    format: str,
    all: bool,
    threshold: float | None,
    aggregation: str | None,
    fail_on_anomaly: bool,
    strict: bool,
    max_bytes: int | None,
    report_json: str | None,
    quiet: bool,
) -> None:
    """List the events in a file, or in several files, patterns or folders.

    An event is when, how severe (peak score / threshold), and which features drove it. With --since or --until those are listed
    that lie there, whole or in part, with the numbers that they have among all.

    \b
    anomaly detect new.csv --model pump.anomaly
    anomaly detect new.csv --model pump.anomaly --since 7d
    anomaly detect new/ --model pumps.fleet
    """
    from anomaly.fleet.detectors import open_detectors
    from anomaly.report.sparkline import ABOVE
    from anomaly.report.tables import events_text

    reading = given_reading()
    if is_about_many(data):
        detect_many(reading)
        return
    source = one_file(data)
    refuse_same_file(DATA=source, model=model, report_json=report_json, rejects=reading.get("rejects"))
    found = open_detectors(model, expect_sha256=expect_sha256, new_series=new_series())
    common = {"aggregation": aggregation, "threshold": threshold, "strict": strict, "max_bytes": max_bytes, **reading}
    common |= given_range() | {"id_column": click.get_current_context().params["id_column"], "say": partial(_say, quiet=quiet)}
    line = _score_line(common["id_column"], format, quiet=quiet)
    on_rows = {} if line is None else {"on_rows": lambda series, rows: line.push(rows.score / rows.threshold)}
    summary = _score(found, source, None, common | {"list_all": all} | on_rows, quiet=quiet)
    told = partial(events_text, summary.events, found.time_column, format, width=terminal_width())
    print_text(told(series=summary.series, left_out=summary.left_out, first_number=summary.first_number))
    if line is not None:
        first = summary.first_number if isinstance(summary.first_number, int) else 1
        drawn = line.text(summary.events, terminal_width() or 80, summary.first_row, first)
        print_words(drawn and f"\nThe score from the first row to the last, above the threshold from {ABOVE} up:\n{drawn}")
    write_json(report_json, summary.to_dict())
    leave(summary, fail_on_anomaly=fail_on_anomaly, quiet=quiet)


def _score_line(id_column: str | None, file_format: str, *, quiet: bool) -> "ScoreLine | None":
    """Return what draws the score of one series for a person at a terminal; None where nobody looks."""
    if terminal_width() is None or quiet or file_format != "table" or id_column is not None:
        return None
    from anomaly.report.sparkline import ScoreLine

    return ScoreLine()


@click.command(cls=GroupedCommand, context_settings=SETTINGS_CONTEXT)
@data_argument
@model_option
@click.option("--event", "event", type=WholeRange(min=1), multiple=True, help="Number in the list of `anomaly detect`; may repeat.")
@click.option("--top", type=WholeRange(min=1), default=3, show_default=True, help="Else the most severe so many.")
@range_options("Without --event: of events")
@click.option(
    "--max-seconds",
    type=FiniteRange(min=0, min_open=True),
    default=60,
    show_default=True,
    help="Most time for the search of one event; then it says how far it came.",
)
@click.option("--format", type=click.Choice(["text", "jsonl"]), default="text", show_default=True)
@threshold_option
@aggregation_option
@max_bytes_option
@reading_options
@time_option
@expect_sha256_option
@config_option
@quiet_option
@without_pandas
def explain(
    data: str,
    model: str,
    expect_sha256: str | None,
    event: tuple[int, ...],
    top: int,
    max_seconds: float,
    format: str,
    threshold: float | None,
    aggregation: str | None,
    max_bytes: int | None,
    quiet: bool,
) -> None:
    """Say in words and units what drove an event, when, how far off it was, and how far it is from being none.

    The last comes from the gradient of the score with respect to the input: it needs TensorFlow, and some seconds an event.
    The figures behind it: --format jsonl.

    \b
    anomaly explain new.csv --model pump.anomaly --event 2
    """
    if event and given_range():
        raise ConfigError("Events must be chosen one way. Received: --event with --since or --until. Leave one of them out.")
    if event and click.get_current_context().get_parameter_source("top") is click.core.ParameterSource.COMMANDLINE:
        raise ConfigError("Events must be chosen one way. Received: --event with --top. Leave one of them out.")
    from anomaly.detector.detector import Detector
    from anomaly.explaining.attribution import explain as explain_event
    from anomaly.report.findings import explanation_text, explanation_values

    line, detector = current(), Detector.load(model, expect_sha256=expect_sha256)
    series = read_series(detector, data, max_bytes=max_bytes)
    scores = detector.score(series, aggregation=aggregation, on_rows=line.now("Scoring").rows)
    scores = scores if threshold is None else scores.at(threshold)
    events = detector.detect(scores, **given_range())
    before = events.first_number - 1
    for number in event or [before + place for place in most_severe(events, top)]:
        if number > before + len(events):
            raise ConfigError(
                f"--event must be a number in the list of events. Received: {number} of {len(events)}. `anomaly detect` lists them."
            )
        one = events[number - 1 - before]
        on_step = line.now(f"Explaining event {number}").step
        found = explain_event(detector.bundle_, series, scores, one, max_seconds=max_seconds, on_step=on_step)
        if format == "jsonl":
            values = explanation_values(number, one, found, series, detector.bundle_.judged_scaler)
            print_text(json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n")
        else:
            print_text(explanation_text(number, one, found, series, detector.bundle_.judged_scaler, terminal_width()) + "\n")
    if not events:
        say(f"No events{' in the range' if given_range() else ''}.")
