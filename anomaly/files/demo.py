"""The demonstration: the whole flow on one shipped real series.

Hourly flow in a branch of a water pipeline, donated by Tecnojest s.r.l. to the river project
(BSD-3-Clause; the licence text lies beside the data). One event lies in the scored part, others before.
"""

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import click

from anomaly.detector.detector import Detector
from anomaly.errors import ConfigError
from anomaly.files.one_file import score_file
from anomaly.ingest.reading import read_csv
from anomaly.report.pictures import plot_scores
from anomaly.report.tables import aligned, write_events
from anomaly.scoring.events import Event
from anomaly.series import TimeSeries, format_time, labelled_ranges
from anomaly.storage.writing import atomic_output, atomic_write
from anomaly.training.loop import Progress

SERIES = "water_flow.csv"
# The shipped history is short: a small network, and enough held-out rows to set a threshold.
DEMO_SETTINGS: dict[str, Any] = {
    "window_size": 24,
    "nearest_windows": 0,  # some hundred hours hold too few windows to compare with
    "units": 8,
    "validation_fraction": 0.4,
    "seed": 0,
    "deterministic": True,
}
# Rows that hold no known event, and the rows after them.
FIRST_ROW, TRAIN_END = 340, 860


def run_demo(folder: str | Path, *, on_step: Callable[[Progress], None] | None = None) -> str:
    """Train, score and draw; leave everything in `folder`.

    Args:
        folder: an existing folder; files of earlier runs are replaced.
        on_step: as for `Detector.fit`.

    Returns:
        What came out, for people.
    """
    folder = Path(folder)
    data = folder / SERIES
    atomic_write(data, (resources.files("anomaly") / "data" / SERIES).read_bytes())
    series = read_csv(data, label_column="label")
    detector = Detector(**DEMO_SETTINGS).fit(series[FIRST_ROW:TRAIN_END], on_step=on_step)
    detector.save(folder / "water_flow.anomaly")
    with atomic_output(folder / "scores.csv") as handle:
        summary = score_file(detector, data, output=handle)
    write_events(str(folder / "events.csv"), summary.events, series.time_column)
    files = ["water_flow.csv", "water_flow.anomaly", "scores.csv", "events.csv"]
    try:
        plot_scores(series, detector.score(series), summary.events).savefig(folder / "picture.png", dpi=110)
        files.append("picture.png")
    except ConfigError as error:  # the picture is the one part that needs an extra
        click.echo(str(error), err=True)
    return (
        f"{_comparison(series, summary.events)}\n{summary}\n"
        f"Trained on rows {FIRST_ROW} to {TRAIN_END - 1}, marked *: normal by label, and the detector never saw the labels.\n\n"
        f"In {folder}: {', '.join(files)}.\n"
        f"Next: anomaly detect {data} --model {folder / 'water_flow.anomaly'}"
    )


def _comparison(series: TimeSeries, events: list[Event]) -> str:
    """Return the found events beside the known ones, in time order."""
    known = labelled_ranges(series)
    rows: list[tuple[int, tuple[str, ...]]] = []
    for event in events:
        hits = [f"rows {a}-{b - 1}" for a, b in known if event.start < b and a < event.stop]
        trained = " *" if event.start < TRAIN_END and event.stop > FIRST_ROW else ""
        rows.append(
            (
                event.start,
                (
                    _when(series, event.start),
                    f"rows {event.start}-{event.stop - 1}{trained}",
                    f"{event.severity:.1f}",
                    ", ".join(hits) or "-",
                ),
            )
        )
    for a, b in known:
        if not any(event.start < b and a < event.stop for event in events):
            rows.append((a, (_when(series, a), "-", "-", f"rows {a}-{b - 1}")))
    return aligned([("first", "found", "severity", "known"), *(row for _, row in sorted(rows))], right=(2,))


def _when(series: TimeSeries, row: int) -> str:
    return format_time(int(series.times[row]), series.time_column)
