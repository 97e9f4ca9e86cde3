"""`anomaly inspect` and `anomaly report`: what is in a detector, and a page about a series."""

import os
from pathlib import Path

import click

from anomaly.cli.shared import (
    SETTINGS_CONTEXT,
    aggregation_option,
    data_argument,
    label_option,
    model_option,
    most_severe,
    print_text,
    quiet_option,
    read_series,
    refuse_same_file,
    threshold_option,
)
from anomaly.options import config_option
from anomaly.storage import atomic_write, require_writable


@click.command(context_settings=SETTINGS_CONTEXT)
@click.argument("model", type=click.Path(exists=True, dir_okay=False), metavar="FILE")
@click.option("--format", type=click.Choice(["text", "json"]), default="text", show_default=True)
def inspect(model: str, format: str) -> None:
    """Show what is in a detector file: data, network, training, thresholds, versions.

    \b
    anomaly inspect pump.anomaly
    """
    from anomaly.bundle import read_bundle
    from anomaly.report import bundle_text

    print_text(bundle_text(read_bundle(model), format))


@click.command(context_settings=SETTINGS_CONTEXT)
@data_argument
@model_option
@click.option("--output", "-o", required=True, type=click.Path(dir_okay=False), metavar="FILE.html", help="Where the page goes.")
@label_option
@click.option("--title", help="Heading of the page.  [default: the name of the data]")
@click.option(
    "--explain", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
    help="Say of the N most severe events what would unflag them; needs TensorFlow and some seconds each.",
)  # fmt: skip
@threshold_option
@aggregation_option
@config_option
@quiet_option
def report(
    data: str, model: str, output: str, label_column: str | None, title: str | None, explain: int, threshold: float | None,
    aggregation: str | None, quiet: bool,
) -> None:  # fmt: skip
    """Write one page about DATA.csv: series, scores, threshold, events, what drove them, and the detector.

    The page needs no network and nothing beside it; a click on an event zooms to it.

    \b
    anomaly report new.csv --model pump.anomaly --output report.html
    """
    refuse_same_file(DATA=data, model=model, output=output)
    require_writable(output)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from anomaly.attribution import explain as explain_event
    from anomaly.detector import Detector
    from anomaly.page import page_html
    from anomaly.threshold import check_threshold

    detector = Detector.load(model)
    series = read_series(detector, data, label_column)
    scores = detector.score(series, aggregation=aggregation)
    scores = scores if threshold is None else scores.at(check_threshold(threshold))
    events = detector.detect(scores)
    explanations = {
        number - 1: explain_event(detector.bundle_, series, scores, events[number - 1]) for number in most_severe(events, explain)
    }
    name = "standard input" if data == "-" else Path(data).stem
    page = page_html(series, scores, events, detector.bundle_, title=title or name, explanations=explanations)
    atomic_write(output, page.encode())
    if not quiet:
        click.echo(f"{len(events):,} event{'s' if len(events) != 1 else ''}. Saved {output}.", err=True)
