"""`anomaly dismiss`: what was raised and is normal."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from anomaly.cli.help import GroupedCommand
from anomaly.cli.options import FiniteRange, WholeRange, config_option
from anomaly.cli.shared import (
    READS,
    SETTINGS_CONTEXT,
    DetectorFile,
    expect_sha256_option,
    max_bytes_option,
    quiet_option,
    read_series,
    reading_options,
    refuse_idle,
    refuse_same_file,
    time_option,
)
from anomaly.cli.terminal import print_text, say
from anomaly.cli.waiting import current
from anomaly.errors import ConfigError
from anomaly.storage.writing import require_writable

if TYPE_CHECKING:
    from anomaly.events.event import Event
    from anomaly.scoring.scores import Scores
    from anomaly.series import TimeSeries


@click.command(cls=GroupedCommand, context_settings=SETTINGS_CONTEXT)
@click.argument("model", type=DetectorFile(), metavar="FILE")
@click.argument("data", type=click.Path(exists=True, dir_okay=False, allow_dash=True), metavar="[DATA.csv]", required=False)
@click.option("--event", type=WholeRange(min=1), help="Number of the event, as `anomaly detect` lists them.")
@click.option("--rows", metavar="A..B", help="Rows of DATA.csv, from 0, both included.")
@click.option("--since", metavar="ROW|TIME|7d", help="Rows from this row or time on, or so long before the end; with --until.")
@click.option("--until", metavar="ROW|TIME|7d", help="Rows up to this row or time, itself included; a date means all of that day.")
@click.option(
    "--reach", type=FiniteRange(min=0), default=1.0, show_default=True,
    help="How far from such an event another may be that is not raised; 0 only moves the threshold.",
)  # fmt: skip
@click.option("--keep-rows", is_flag=True, help="Keep the rows too, so that `anomaly train --from` trains on them.")
@click.option("--undo", type=WholeRange(min=1), metavar="N", help="Take back what `anomaly inspect` lists under this number.")
@click.option("--output", "-o", type=click.Path(dir_okay=False), metavar="FILE", help="Where the detector goes.  [default: FILE]")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--format", type=click.Choice(["text", "json"]), default="text", show_default=True)
@max_bytes_option
@reading_options
@time_option
@expect_sha256_option
@config_option
@quiet_option
def dismiss(
    model: str, data: str | None, event: int | None, rows: str | None, since: str | None, until: str | None, reach: float,
    keep_rows: bool, undo: int | None, output: str | None, dry_run: bool, format: str, max_bytes: int | None,
    expect_sha256: str | None, quiet: bool,
) -> None:  # fmt: skip
    """Say that a stretch was normal: its scores count as such from now on, and events like it are not raised.

    FILE is changed in place, all of it or nothing, and before and after are shown.

    \b
    anomaly dismiss pump.anomaly new.csv --event 2
    anomaly dismiss pump.anomaly new.csv --since 2022-05-13 --until 2022-05-16
    anomaly dismiss pump.anomaly --undo 1
    """
    _check_given(data, {"--event": event, "--rows": rows, "--since and --until": since or until, "--undo": undo}, since, until)
    if keep_rows and undo is not None:
        raise ConfigError("--keep-rows goes with rows to dismiss. Received: --keep-rows with --undo. Leave it out.")
    told = click.get_current_context().get_parameter_source("reach") is not click.core.ParameterSource.DEFAULT
    if told and undo is not None:
        raise ConfigError("--reach goes with rows to dismiss. Received: --reach with --undo. Leave it out.")
    refuse_idle(READS if undo is not None else (), "rows to dismiss")
    refuse_same_file(model=None if dry_run else model, DATA=data)
    refuse_same_file(DATA=data, output=output)
    if output == "-":
        raise ConfigError("A detector must be written to a file. Received: --output -. Name a file.")
    if not dry_run:
        _refuse_member(model, output)
        require_writable(output or model)
    from anomaly.bundle.file import write_bundle
    from anomaly.detector.detector import Detector
    from anomaly.detector.dismissing import with_dismissal, without_dismissal
    from anomaly.report.detector_text import dismissal_text

    line, detector = current(), Detector.load(model, expect_sha256=expect_sha256)
    before, counts = detector.bundle_, None
    if undo is not None:
        after = without_dismissal(before, undo)
    else:
        series = detector.taken(read_series(detector, data or "-", max_bytes=max_bytes))
        scores = detector.score(series, on_rows=line.now("Scoring").rows)
        found = detector.detect(scores)
        stretch = _stretch(series, scores, found, event, rows, since, until)
        on_rows = line.now("Scoring by each aggregation").rows
        after = with_dismissal(detector, series, stretch, reach=reach, keep_rows=keep_rows, scores=scores, on_rows=on_rows)
        detector.bundle_ = after
        counts = len(found), len(detector.detect(scores.at(detector.thresholds_[scores.aggregation].value)))
    print_text(dismissal_text(before, after, format, counts))
    if not dry_run:
        write_bundle(output or model, after)
    if not quiet:
        say("Nothing was written." if dry_run else f"Saved {output or model}.")


def _refuse_member(model: str, output: str | None) -> None:
    """Refuse to change a detector of a fleet in place: its index knows it by its SHA-256, and would refuse it from then on."""
    if output is None and (Path(model).parent / "index.json").exists():
        raise ConfigError(
            f"A detector of a fleet must stay what its index says. Received: {model}. Add --output FILE, outside of it."
        )


def _check_given(data: str | None, ways: dict[str, object], since: str | None, until: str | None) -> None:
    """Refuse more or less than one way to say what is normal, and what that way lacks or does not need."""
    given = [name for name, value in ways.items() if value is not None]
    if len(given) != 1:
        found = " and ".join(given) or "none of them"
        raise ConfigError(f"One of --event, --rows, --since with --until, and --undo must be given. Received: {found}.")
    if (since is None) != (until is None):
        raise ConfigError(f"--since and --until go together. Received: {'--since' if since else '--until'} alone. Add the other.")
    if (data is None) != (given == ["--undo"]):
        found = "a file" if data is not None else "none"
        raise ConfigError(
            f"DATA.csv must be named where rows are dismissed, and not with --undo. Received: {found} with {given[0]}."
        )


def _stretch(
    series: "TimeSeries", scores: "Scores", found: "list[Event]", event: int | None, rows: str | None, since: str | None,
    until: str | None,
) -> tuple[int, int]:  # fmt: skip
    """Return the first row that is normal, and the one behind the last.

    Raises:
        ConfigError: if the rows are none of the series, or an end is none, see `anomaly.ranges.RowRange.of`.
    """
    import numpy as np

    from anomaly.detector.dismissing import rows_of_event
    from anomaly.ingest.known_events import rows_between
    from anomaly.ranges import rows_within

    if event is not None:
        return rows_of_event(scores, found, event)
    if rows is None:
        return rows_within(series, since, until)
    first, dots, last = rows.partition("..")
    if not dots:
        ends = re.findall(r"\d+", rows)[:2] or ["120", "125"]
        meant = f"{ends[0]}..{ends[-1]}{' for one row' if len(ends) == 1 else ''}"
        raise ConfigError(f"--rows must be FIRST..LAST, both included. Received: {rows}. Write {meant}.")
    asked = rows_between(first.strip(), last.strip(), series, "--rows", counted=True, refused=ConfigError)
    places = np.flatnonzero(asked)
    if len(places) != int(last) - int(first) + 1:
        raise ConfigError(
            f"Rows must be those of the data, 0 to {len(series) - 1:,}. Received: --rows {rows}. Name rows that are there."
        )
    return int(places[0]), int(places[-1]) + 1
