"""`anomaly plot`: a picture of an input, its scores and its events."""

from pathlib import Path

import click

from anomaly.cli.help import GroupedCommand
from anomaly.cli.options import WholeRange, config_option
from anomaly.cli.shared import (
    SETTINGS_CONTEXT,
    aggregation_option,
    data_argument,
    expect_sha256_option,
    given_range,
    label_option,
    max_bytes_option,
    model_option,
    quiet_option,
    range_options,
    read_series,
    reading_options,
    refuse_same_file,
    threshold_option,
    time_option,
)
from anomaly.cli.terminal import say
from anomaly.cli.waiting import current
from anomaly.errors import ConfigError
from anomaly.storage.writing import atomic_output, require_writable

_FORMATS = (".png", ".svg")


@click.command(cls=GroupedCommand, context_settings=SETTINGS_CONTEXT)
@data_argument
@model_option
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False), metavar="FILE.png|FILE.svg",
    help="Where the picture goes.  [default: the name of the data with .png, here]",
)  # fmt: skip
@click.option("--event", type=WholeRange(min=1), metavar="N", help="Draw this event of `anomaly detect` and what is around it.")
@range_options("Draw")
@label_option
@threshold_option
@aggregation_option
@max_bytes_option
@reading_options
@time_option
@expect_sha256_option
@config_option
@quiet_option
def plot(
    data: str,
    model: str,
    expect_sha256: str | None,
    output: str | None,
    event: int | None,
    label_column: str | None,
    threshold: float | None,
    aggregation: str | None,
    max_bytes: int | None,
    quiet: bool,
) -> None:
    """Draw DATA.csv, its scores, the threshold and the events.

    All rows are scored, and some of them drawn: their scores are the same whatever is shown.

    \b
    anomaly plot new.csv --model pump.anomaly
    anomaly plot new.csv --model pump.anomaly --event 2 --output event.svg
    anomaly plot new.csv --model pump.anomaly --since 7d
    """
    target = _target(data, output)
    refuse_same_file(DATA=data, model=model, output=target)
    if event is not None and given_range():
        raise ConfigError("A part must be chosen one way. Received: --event with --since or --until. Leave one of them out.")
    require_writable(target)
    from anomaly.drawing import load_figure

    load_figure()  # before any work what would be refused after all of it
    from anomaly.detector.detector import Detector
    from anomaly.ranges import rows_within
    from anomaly.report.pictures import around, plot_rows

    detector = Detector.load(model, expect_sha256=expect_sha256)
    series = read_series(detector, data, label_column, max_bytes=max_bytes)
    start, stop = rows_within(series, **given_range())
    scores = detector.score(series, aggregation=aggregation, on_rows=current().now("Scoring").rows)
    scores = scores if threshold is None else scores.at(threshold)
    events = detector.detect(scores)
    if event is not None:
        if event > len(events):
            raise ConfigError(
                f"--event must be a number in the list of events. Received: {event} of {len(events)}. `anomaly detect` lists them."
            )
        start, stop = around(events[event - 1], detector.window_size_, len(series))
    current().now("Drawing")
    figure, n_drawn = plot_rows(series, scores, events, start, stop)
    with atomic_output(target) as handle:
        figure.savefig(handle, format=Path(target).suffix[1:].lower(), dpi=110)
    if not quiet:
        say(f"{n_drawn:,} of {len(events):,} events drawn, on {stop - start:,} rows. Saved {target}.")


def _target(data: str, output: str | None) -> str:
    """Return where the picture goes."""
    name = "input" if data == "-" else Path(data).name.split(".")[0] or "input"
    target = f"{name}.png" if output is None else output
    if Path(target).suffix.lower() not in _FORMATS:
        raise ConfigError(f"A picture must be a .png or .svg file. Received: --output {target}. Name one.")
    return target
