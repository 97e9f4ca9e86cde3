"""`anomaly score`, `anomaly detect` and `anomaly explain`: new data, an old detector."""

import json
import os

import click

from anomaly.cli.shared import (
    SETTINGS_CONTEXT,
    aggregation_option,
    conclude,
    data_argument,
    expect_sha256_option,
    fail_option,
    model_option,
    most_severe,
    print_text,
    quiet_option,
    read_series,
    refuse_same_file,
    report_json_option,
    strict_option,
    threshold_option,
    write_json,
)
from anomaly.errors import ConfigError
from anomaly.options import config_option
from anomaly.storage import output_or_stdout, require_writable


@click.command(context_settings=SETTINGS_CONTEXT)
@data_argument
@model_option
@click.option("--output", "-o", default="-", metavar="FILE|-", help="Where the scored rows go.  [default: standard output]")
@click.option("--format", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True)
@threshold_option
@aggregation_option
@click.option("--events", type=click.Path(dir_okay=False), metavar="FILE", help="Write the events too: .csv or .jsonl.")
@fail_option
@strict_option
@report_json_option
@expect_sha256_option
@config_option
@quiet_option
def score(
    data: str,
    model: str,
    expect_sha256: str | None,
    output: str,
    format: str,
    threshold: float | None,
    aggregation: str | None,
    events: str | None,
    fail_on_anomaly: bool,
    strict: bool,
    report_json: str | None,
    quiet: bool,
) -> None:
    """Score every row of DATA.csv: its columns, then score, threshold, anomaly_score, is_anomaly, status.

    anomaly_score is score / threshold: above 1 is anomalous. A row that could not be scored has no score and
    a status that says why. Memory does not grow with the file.

    \b
    anomaly score new.csv --model pump.anomaly --output scored.csv --events events.csv
    """
    refuse_same_file(DATA=data, model=model, output=output, events=events, report_json=report_json)
    for path in (output, events, report_json):
        if path not in (None, "-"):
            require_writable(str(path))
    from anomaly.detector import Detector
    from anomaly.files import score_file
    from anomaly.report import events_text, write_events

    detector = Detector.load(model, expect_sha256=expect_sha256)
    with output_or_stdout(output) as handle:
        summary = score_file(
            detector, data, aggregation=aggregation, threshold=threshold, output=handle, file_format=format, strict=strict
        )
    if events == "-":
        print_text(events_text(summary.events, detector.bundle_.time_column, "csv"))
    elif events is not None:
        write_events(events, summary.events, detector.bundle_.time_column)
    write_json(report_json, summary.to_dict())
    conclude(summary, fail_on_anomaly=fail_on_anomaly, quiet=quiet)


@click.command(context_settings=SETTINGS_CONTEXT)
@data_argument
@model_option
@click.option("--format", type=click.Choice(["table", "csv", "jsonl"]), default="table", show_default=True)
@threshold_option
@aggregation_option
@fail_option
@strict_option
@report_json_option
@expect_sha256_option
@config_option
@quiet_option
def detect(
    data: str,
    model: str,
    expect_sha256: str | None,
    format: str,
    threshold: float | None,
    aggregation: str | None,
    fail_on_anomaly: bool,
    strict: bool,
    report_json: str | None,
    quiet: bool,
) -> None:
    """List the events in DATA.csv: when, how severe (peak score / threshold), and which features drove them.

    \b
    anomaly detect new.csv --model pump.anomaly
    """
    from anomaly.detector import Detector
    from anomaly.files import score_file
    from anomaly.report import events_text

    refuse_same_file(DATA=data, model=model, report_json=report_json)
    detector = Detector.load(model, expect_sha256=expect_sha256)
    summary = score_file(detector, data, aggregation=aggregation, threshold=threshold, strict=strict)
    print_text(events_text(summary.events, detector.bundle_.time_column, format))
    write_json(report_json, summary.to_dict())
    conclude(summary, fail_on_anomaly=fail_on_anomaly, quiet=quiet)


@click.command(context_settings=SETTINGS_CONTEXT)
@data_argument
@model_option
@click.option(
    "--event", "event", type=click.IntRange(min=1), multiple=True, help="Number in the list of `anomaly detect`; may repeat."
)
@click.option("--top", type=click.IntRange(min=1), default=3, show_default=True, help="Else the most severe so many.")
@click.option("--format", type=click.Choice(["text", "jsonl"]), default="text", show_default=True)
@threshold_option
@aggregation_option
@expect_sha256_option
@config_option
def explain(
    data: str,
    model: str,
    expect_sha256: str | None,
    event: tuple[int, ...],
    top: int,
    format: str,
    threshold: float | None,
    aggregation: str | None,
) -> None:
    """Say what an event hangs on: features, the change that would unflag it, and what its score is most sensitive to.

    The last comes from the gradient of the score with respect to the input; it needs TensorFlow, some seconds of it.

    \b
    anomaly explain new.csv --model pump.anomaly --event 2
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from anomaly.attribution import explain as explain_event
    from anomaly.detector import Detector
    from anomaly.report import explanation_text, explanation_values
    from anomaly.threshold import check_threshold

    detector = Detector.load(model, expect_sha256=expect_sha256)
    series = read_series(detector, data)
    scores = detector.score(series, aggregation=aggregation)
    scores = scores if threshold is None else scores.at(check_threshold(threshold))
    events = detector.detect(scores)
    for number in event or most_severe(events, top):
        if number > len(events):
            raise ConfigError(f"--event must be a number in the list of events. Received: {number} of {len(events)}.")
        found = explain_event(detector.bundle_, series, scores, events[number - 1])
        if format == "jsonl":
            values = explanation_values(number, events[number - 1], found, series)
            print_text(json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n")
        else:
            print_text(explanation_text(number, events[number - 1], found, series) + "\n")
    if not events:
        click.echo("No events.", err=True)
