"""`anomaly threshold` and `anomaly evaluate`: what the cut is, what it costs, and how to move it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from anomaly.cli.help import GroupedCommand, rank_of
from anomaly.cli.many import evaluate_many, threshold_many
from anomaly.cli.many_options import inputs_argument, is_about_many, many_options, one_file
from anomaly.cli.options import FiniteRange, WholeRange, change_options, config_option
from anomaly.cli.shared import (
    READS,
    SETTINGS_CONTEXT,
    aggregation_option,
    expect_sha256_option,
    given_range,
    given_reading,
    label_option,
    max_bytes_option,
    models_option,
    quiet_option,
    range_options,
    read_series,
    reading_options,
    refuse_idle,
    refuse_same_file,
    threshold_option,
    time_option,
)
from anomaly.cli.terminal import print_text, print_words, say, terminal_width
from anomaly.cli.waiting import current
from anomaly.config import SPEAKS_TO, THRESHOLD_METHODS
from anomaly.errors import ConfigError
from anomaly.storage.writing import require_writable

if TYPE_CHECKING:
    from anomaly.detector.detector import Detector
    from anomaly.scoring.scorer import OnRows
    from anomaly.series import TimeSeries

# For each option that belongs to a method: the methods it speaks to. Given alone it means the first of them.
_SPEAKS_TO = SPEAKS_TO | {
    "labels": ("f_beta",),
    "beta": ("f_beta",),
    "unlabelled": ("discoveries",),
    "rate": ("discoveries",),
    "value": ("fixed",),
}
_NEEDS = {"f_beta": "labels", "discoveries": "unlabelled", "fixed": "value"}
_FILE = click.Path(exists=True, dir_okay=False, allow_dash=True)
events_file_option = click.option(
    "--events-file", type=_FILE, metavar="FILE", help="CSV of known events: start,end or first_time,last_time (both inclusive)."
)


@click.command(cls=GroupedCommand, context_settings=SETTINGS_CONTEXT)
@click.argument("model", type=click.Path(exists=True), metavar="FILE|FOLDER")
@click.option("--method", type=click.Choice([*THRESHOLD_METHODS, *_NEEDS]), help="How to choose it.  [default: as the options say]")
@change_options("alarms_per_day", "alarms_per_week", "alarms_per_1000_rows", "alarm_rate", "sigmas")
@click.option("--value", type=FiniteRange(min=0, min_open=True), help="Set it by hand.")
@click.option("--labels", type=_FILE, metavar="DATA.csv", help="Choose it for the best F-beta over the events labelled here.")
@click.option("--beta", type=FiniteRange(0, 1000, min_open=True), help="A missed event counts so much more.  [default: 1]")
@label_option
@events_file_option
@click.option("--unlabelled", type=_FILE, metavar="DATA.csv", help="Choose it so that few of the rows flagged here are false.")
@click.option("--rate", type=FiniteRange(0, 1, min_open=True, max_open=True), help="How few.  [default: 0.1]")
@change_options("merge_gap", "min_length", "short_severity", "min_severity", "min_deviation", "cool_down", "alarm_direction")
@max_bytes_option
@reading_options
@time_option
@click.option("--output", "-o", type=click.Path(dir_okay=False), metavar="FILE", help="Write here.  [default: in place]")
@click.option("--dry-run", is_flag=True, help="Show what would change, and write nothing.")
@click.option("--format", type=click.Choice(["text", "json"]), default="text", show_default=True)
@expect_sha256_option
@config_option
@quiet_option
def threshold(
    model: str,
    expect_sha256: str | None,
    method: str | None,
    output: str | None,
    dry_run: bool,
    format: str,
    quiet: bool,
    label_column: str | None,
    events_file: str | None,
    max_bytes: int | None,
    **given: Any,
) -> None:
    """Show or change the threshold of a detector, or those of all in a folder; neither training nor data is needed.

    Without an option: what it is, and what other cuts would cost. With one the file is changed in place, all of it or
    nothing, and before and after are shown.

    \b
    anomaly threshold pump.anomaly
    anomaly threshold pump.anomaly --alarms-per-week 1
    anomaly threshold pump.anomaly --labels last-month.csv --output tuned.anomaly
    """
    given = _without_weaker(_not_from_environment(given | {"method": method}, quiet=quiet))
    method = given.pop("method", None)
    read = {"labels": given.get("labels"), "unlabelled": given.get("unlabelled"), "events_file": events_file}
    refuse_same_file(**read, output=output, model=None if dry_run else model)
    method = _method(method, given)
    _refuse_idle_reading(given, label_column, events_file)
    if Path(model).is_dir():
        threshold_many(lambda detector: _retune(detector, method, given, _Reader(detector)), given, output)
        return
    _check_output(output, is_changed=method is not None or bool(given))
    from anomaly.detector.detector import Detector
    from anomaly.report.detector_text import menu_text, retuning_text

    show = print_text if format == "json" else print_words
    detector = Detector.load(model, expect_sha256=expect_sha256)
    before = detector.bundle_
    if method is None and not given:
        show(menu_text(before, format))
        return
    if not dry_run:
        require_writable(output or model)
    _retune(detector, method, given, _Reader(detector, max_bytes, label_column, events_file))
    show(retuning_text(before, detector.bundle_, format, terminal_width()))
    if not dry_run:
        detector.save(output or model)
    if not quiet:
        say(_reached(detector, method, given) + ("Nothing was written." if dry_run else f"Saved {output or model}."))


def _refuse_idle_reading(given: dict[str, Any], label_column: str | None, events_file: str | None) -> None:
    """Refuse what says how data are read where none are, and two ways to say which events are known."""
    if "labels" not in given:
        refuse_idle(("label_column", "events_file"), "--labels")
        refuse_idle(() if "unlabelled" in given else READS, "--labels or --unlabelled")
    elif label_column is not None and events_file is not None:
        raise ConfigError("Known events must come from --label-column or --events-file. Received: both. Name one of them.")


def _check_output(output: str | None, *, is_changed: bool) -> None:
    """Refuse an output that is no file, or nothing to write there."""
    if output == "-":
        raise ConfigError("A detector must be written to a file. Received: --output -. Name a file.")
    if output is not None and not is_changed:
        raise ConfigError("--output needs something to change. Received: no other option. Add one, such as --alarms-per-day.")


def _reached(detector: "Detector", method: str | None, given: dict[str, Any]) -> str:
    """Say how well the known events are found at the new threshold, if they have chosen it."""
    if method != "f_beta":
        return ""
    reached = detector.f_beta_[detector.aggregation_name(None)]
    return f"Best F{given.get('beta', 1.0):g} over the labelled events: {reached:.3f}. "


def _not_from_environment(given: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """Return what is given: what is set for training in the environment must not change a detector that is only looked at."""
    source = click.get_current_context().get_parameter_source
    given = {name: value for name, value in given.items() if value is not None}
    left = [name for name in given if source(name) is click.core.ParameterSource.ENVIRONMENT]
    if left and not quiet:
        said = ", ".join(f"ANOMALY_{name.upper()}" for name in left)
        say(
            f"Not looked at: {said} in the environment, where settings are for training. Say it on the command line or in --config."
        )
    return {name: value for name, value in given.items() if name not in left}


def _without_weaker(given: dict[str, Any]) -> dict[str, Any]:
    """Return what is given without what a file has for other methods than the command line is about."""
    context = click.get_current_context()
    heard = {name: _SPEAKS_TO[name] for name in given if name in _SPEAKS_TO}
    heard |= {"method": (given["method"],)} if "method" in given else {}
    typed = [set(methods) for name, methods in heard.items() if rank_of(context, name) > 1]
    meant = set.intersection(*typed) if typed else set()
    others = [name for name, methods in heard.items() if meant and rank_of(context, name) <= 1 and not meant & set(methods)]
    return {name: value for name, value in given.items() if name not in others}


def _method(method: str | None, given: dict[str, Any]) -> str | None:
    """Return the method that the options mean; None if they leave it as it is.

    Raises:
        ConfigError: if an option says nothing to the method, or the method lacks what it needs.
    """
    for name in [name for name in given if name in _SPEAKS_TO]:
        method = method or _SPEAKS_TO[name][0]
        if method not in _SPEAKS_TO[name]:
            option = f"--{name.replace('_', '-')}"
            raise ConfigError(
                f"{option} must go with method {' or '.join(_SPEAKS_TO[name])}. Received: {option} with {method}. Leave one out."
            )
    needed = _NEEDS.get(method or "")
    if needed is not None and needed not in given:
        raise ConfigError(f"Method {method} needs --{needed}. Received: none. Add it, or choose another method.")
    return method


class _Reader(NamedTuple):
    """Reads the data that a threshold is chosen by."""

    detector: "Detector"
    max_bytes: int | None = None
    label_column: str | None = None
    events_file: str | None = None

    def rows(self, path: str) -> "TimeSeries":
        return read_series(self.detector, path, max_bytes=self.max_bytes)

    def labelled(self, path: str) -> "TimeSeries":
        """Read rows with their labels, from a column or from a file of known events."""
        if self.events_file is None:
            return read_series(self.detector, path, self.label_column or "label", max_bytes=self.max_bytes)
        return _with_events(self.detector, self.events_file, self.rows(path), self.max_bytes)


def _with_events(detector: "Detector", path: str, series: "TimeSeries", max_bytes: int | None) -> "TimeSeries":
    """Return a series with the known events of a file, whose times are read as those of the data; say which cover no row."""
    from anomaly.ingest.known_events import read_known_events

    how = detector.bundle_.reading | given_reading()
    quiet = click.get_current_context().params.get("quiet")
    warn = (lambda text: None) if quiet else say
    return read_known_events(path, series, time_format=how.get("time_format"), max_bytes=max_bytes, warn=warn)


def _retune(detector: "Detector", method: str | None, given: dict[str, Any], read: _Reader) -> None:
    """Change settings first, then the cut."""
    changes = {name: value for name, value in given.items() if name not in _SPEAKS_TO}
    if method in THRESHOLD_METHODS:
        changes |= {name: value for name, value in given.items() if name in _SPEAKS_TO} | {"threshold_method": method}
    if changes:
        detector.calibrate(**changes)
    if method == "fixed":
        detector.set_threshold(given["value"])
    elif method == "f_beta":
        detector.calibrate_on_labels(read.labelled(given["labels"]), beta=given.get("beta", 1.0), on_rows=_on_rows())
    elif method == "discoveries":
        detector.calibrate_on_discoveries(read.rows(given["unlabelled"]), rate=given.get("rate", 0.1), on_rows=_on_rows())


def _on_rows() -> "OnRows":
    return current().now("Scoring by each aggregation").rows


@click.command(cls=GroupedCommand, context_settings=SETTINGS_CONTEXT)
@inputs_argument
@models_option
@many_options
@label_option
@events_file_option
@range_options("Compare")
@click.option("--count-training", is_flag=True, help="Count rows that the detector was trained on.  [default: leave them out]")
@threshold_option
@aggregation_option
@max_bytes_option
@reading_options
@time_option
@click.option("--buffer", type=WholeRange(min=1), help="Longest buffer of the volumes, rows.  [default: the period]")
@click.option("--point-adjust", is_flag=True, help="Add the point-adjusted F1, which flatters every detector.")
@click.option("--format", type=click.Choice(["table", "json"]), default="table", show_default=True)
@expect_sha256_option
@config_option
def evaluate(
    data: tuple[str, ...],
    model: str,
    expect_sha256: str | None,
    label_column: str | None,
    events_file: str | None,
    threshold: float | None,
    aggregation: str | None,
    max_bytes: int | None,
    buffer: int | None,
    point_adjust: bool,
    count_training: bool,
    format: str,
) -> None:
    """Compare scores and events with the known events in a file, and with trivial detectors.

    The known events are marked by 1 in the label column, or stand in a file of their own. Rows that the detector was trained on
    are left out: what it says of them flatters it. Of several files, patterns or folders there is a line for each, and the mean.

    \b
    anomaly evaluate labelled.csv --model pump.anomaly --label-column label
    anomaly evaluate labelled.csv --model pump.anomaly --events-file known.csv --since 2022-05-01
    """
    if (label_column is None) == (events_file is None):
        raise ConfigError(
            "Known events must come from --label-column or --events-file. "
            f"Received: {'neither' if label_column is None else 'both'}. Name one of them."
        )
    if is_about_many(data) or Path(model).is_dir() or click.get_current_context().params["id_column"] is not None:
        evaluate_many()
        return
    import numpy as np

    from anomaly.detector.detector import Detector
    from anomaly.evaluation.evaluate import evaluate as compare
    from anomaly.fitting.training_rows import training_rows
    from anomaly.ranges import range_of
    from anomaly.report.findings import evaluation_text

    detector = Detector.load(model, expect_sha256=expect_sha256)
    series = read_series(detector, one_file(data), label_column, max_bytes=max_bytes)
    series = series if events_file is None else _with_events(detector, events_file, series, max_bytes)
    wanted = range_of(series.times, series.time_column, **given_range(), zone=series.zone)
    line = current()
    scores = detector.score(series, aggregation=aggregation, on_rows=line.now("Scoring").rows)
    if threshold is not None:
        scores = scores.at(threshold)
    line.now("Comparing with trivial detectors")
    found = compare(
        series.of_columns(detector.columns_), scores, detector.detect(scores), buffer=buffer, scaler=detector.bundle_.judged_scaler,
        references=detector.bundle_.references, point_adjust=point_adjust,
        compared=wanted.holds(np.arange(len(series)), series.times), trained=training_rows(detector.bundle_, series),
        count_training=count_training,
    )  # fmt: skip
    (print_text if format == "json" else print_words)(evaluation_text(found, format))
