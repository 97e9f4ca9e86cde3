"""`anomaly inspect`, `anomaly check` and `anomaly report`: what is in a detector, in an input, in both."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from anomaly.cli.help import GroupedCommand
from anomaly.cli.many import inspect_many
from anomaly.cli.options import NameList, WholeRange, config_option
from anomaly.cli.shared import (
    SETTINGS_CONTEXT,
    DetectorFile,
    aggregation_option,
    data_argument,
    expect_sha256_option,
    given_range,
    given_reading,
    ignore_option,
    label_option,
    max_bytes_option,
    model_option,
    most_severe,
    quiet_option,
    range_options,
    read_series,
    reading_options,
    refuse_same_file,
    strict_option,
    threshold_option,
    time_option,
)
from anomaly.cli.terminal import print_text, print_words, say, terminal_width
from anomaly.cli.waiting import current
from anomaly.errors import ConfigError, DataError, shorten
from anomaly.quick_start import with_pandas
from anomaly.storage.writing import output_or_stdout, require_writable

if TYPE_CHECKING:
    from anomaly.detector.detector import Detector
    from anomaly.events.event import Event
    from anomaly.events.event_list import Events
    from anomaly.explaining.attribution import Explanation
    from anomaly.report.chart import Marks
    from anomaly.scoring.scores import Scores
    from anomaly.series import TimeSeries

# Most time for the search of one event that is explained on a page.
_MOST_SECONDS = 60.0


@click.command(cls=GroupedCommand, context_settings=SETTINGS_CONTEXT)
@click.argument("model", type=click.Path(exists=True), metavar="FILE|FOLDER")
@click.option("--format", type=click.Choice(["text", "json"]), default="text", show_default=True)
def inspect(model: str, format: str) -> None:
    """Show what is in a detector file: data, network, training, thresholds, versions. Of a folder of them: a line for each.

    \b
    anomaly inspect pump.anomaly
    anomaly inspect pumps.fleet
    """
    if Path(model).is_dir():
        inspect_many(model, format)
        return
    from anomaly.bundle.container import file_sha256
    from anomaly.bundle.file import read_bundle
    from anomaly.report.detector_text import bundle_text

    print_text(bundle_text(read_bundle(model), format, sha256=file_sha256(model), width=terminal_width()))


@click.command(cls=GroupedCommand, context_settings=SETTINGS_CONTEXT)
@data_argument
@model_option
@click.option("--output", "-o", required=True, type=click.Path(dir_okay=False), metavar="FILE.html|-", help="Where the page goes.")
@label_option
@click.option("--title", help="Heading of the page.  [default: the name of the data]")
@click.option(
    "--explain", type=WholeRange(min=0), default=0, show_default=True, metavar="N",
    help="Say of the N most severe events what would unflag them; needs TensorFlow and some seconds each.",
)  # fmt: skip
@range_options("Show rows")
@click.option("--count-training", is_flag=True, help="Count events in rows of the training.  [default: only mark them]")
@threshold_option
@aggregation_option
@max_bytes_option
@reading_options
@time_option
@expect_sha256_option
@config_option
@quiet_option
def report(
    data: str,
    model: str,
    expect_sha256: str | None,
    output: str,
    label_column: str | None,
    title: str | None,
    explain: int,
    count_training: bool,
    threshold: float | None,
    aggregation: str | None,
    max_bytes: int | None,
    quiet: bool,
) -> None:
    """Write one page about DATA.csv: series, scores, threshold, events, what drove them, and the detector.

    The page needs no network and nothing beside it; a click on an event zooms to it.

    \b
    anomaly report new.csv --model pump.anomaly --output report.html
    """
    refuse_same_file(DATA=data, model=model, output=output)
    if output != "-":
        require_writable(output)
    from anomaly.detector.detector import Detector

    detector = Detector.load(model, expect_sha256=expect_sha256)
    series = read_series(detector, data, label_column, max_bytes=max_bytes)
    scores = detector.score(series, aggregation=aggregation, on_rows=current().now("Scoring").rows)
    scores = scores if threshold is None else scores.at(threshold)
    title = title or ("standard input" if data == "-" else Path(data).stem)
    page, told = _page(detector, series, scores, title, explain, count_training=count_training)
    with output_or_stdout(output) as handle:
        handle.write(page.encode())
    if not quiet:
        saved = "" if output == "-" else f" Saved {output}."
        say(f"{told}.{saved}")


def _page(
    detector: "Detector", series: "TimeSeries", scores: "Scores", title: str, most_explained: int, *, count_training: bool
) -> tuple[str, str]:
    """Return the page about the rows that the command at hand is about, and how many events it has, in words."""
    from anomaly.ranges import rows_within
    from anomaly.report.chart import Marks
    from anomaly.report.page import page_html
    from anomaly.report.pictures import events_within

    start, stop = rows_within(series, **given_range())
    events = detector.detect(scores, **given_range())
    explanations = _explanations(detector, series, scores, events, most_explained)
    current().now("Writing the page")
    shown = events_within(events, start, stop)
    runs = [run._replace(event=part) for run in events.not_raised for part in events_within([run.event], start, stop)]
    marks = Marks(events.first_number, detector.trained_on(series)[start:stop], count_training, runs)
    page = page_html(
        series[start:stop], scores[start:stop], shown, detector.bundle_, title=title, explanations=explanations, marks=marks
    )
    return page, f"{len(events):,} event{'s' if len(events) != 1 else ''}{_in_training(shown, marks)}"


def _explanations(
    detector: "Detector", series: "TimeSeries", scores: "Scores", events: "Events", most: int
) -> "dict[int, Explanation]":
    """Return what would unflag the most severe events, by their place in the list."""
    from anomaly.explaining.attribution import explain

    found = {}
    for number in most_severe(events, most):
        on_step = current().now(f"Explaining event {events.first_number + number - 1}").step
        place = number - 1
        found[place] = explain(detector.bundle_, series, scores, events[place], max_seconds=_MOST_SECONDS, on_step=on_step)
    return found


def _in_training(events: "list[Event]", marks: "Marks") -> str:
    """Say how many of the events of a page do not count."""
    n = sum(map(marks.leave_out, events))
    return f", {n:,} of them in rows of the training, which do not count (--count-training counts them)" if n else ""


@click.command(cls=GroupedCommand, context_settings=SETTINGS_CONTEXT)
@data_argument
@click.option(
    "--model",
    type=DetectorFile(),
    metavar="FILE",
    help="The detector that is to score it.",
)
@click.option("--time-column", default="auto", show_default=True, metavar="NAME", help="Column of times; 'none' counts rows.")
@ignore_option
@click.option("--id-column", metavar="NAME", help="Column that says which of several series a record belongs to.")
@click.option("--value-columns", type=NameList(), metavar="A,B", help="Features.  [default: all but time and label]")
@label_option
@strict_option
@max_bytes_option
@reading_options
@click.option("--format", type=click.Choice(["text", "json"]), default="text", show_default=True)
@config_option
@with_pandas
def check(
    data: str,
    model: str | None,
    time_column: str,
    value_columns: list[str] | None,
    label_column: str | None,
    id_column: str | None,
    strict: bool,
    max_bytes: int | None,
    format: str,
) -> None:
    """Say all that is wrong with DATA.csv, and what would be tolerated; nothing is trained or scored.

    Exit code 3 if training, or scoring with --model, would refuse it.

    \b
    anomaly check new.csv --model pump.anomaly
    """
    from anomaly.bundle.file import read_bundle
    from anomaly.files.checking import check_input

    columns = {
        **_columns(model, time_column, value_columns),
        "label_column": label_column,
        "id_column": id_column,
        "max_bytes": max_bytes,
        **given_reading(),
    }
    bundle, on_chunk = None if model is None else read_bundle(model), current().now("Reading", data).read
    if bundle is not None and (clash := [name for name in columns.get("ignore_columns", ()) if name in bundle.columns]):
        raise ConfigError(f"A column of the detector must not be one to ignore. Received: {shorten(clash)}. Leave it out.")
    found = check_input(data, bundle, strict=strict, on_chunk=on_chunk, **columns)
    if format == "json":
        print_text(json.dumps(found.to_dict(), indent=2, ensure_ascii=False) + "\n")
    else:
        print_words(str(found))
    if found.faults:
        sys.exit(DataError.exit_code)


def _columns(model: str | None, time_column: str, value_columns: list[str] | None) -> dict[str, Any]:
    """Return the columns to check, as far as the options say; a detector says which features it reads, and whether it reads times.

    Raises:
        ConfigError: if they say it of a detector.
    """
    is_given = click.get_current_context().get_parameter_source("time_column") is not ParameterSource.DEFAULT
    if model is None:
        return {"time_column": None if time_column == "none" else time_column, "value_columns": value_columns}
    given = {"--value-columns": value_columns is not None, "--time-column none": is_given and time_column == "none"}
    for option in [option for option, told in given.items() if told]:
        raise ConfigError(f"{option} must go without --model, which says so itself. Received: both. Leave one of them out.")
    return {"time_column": time_column} if is_given else {}
