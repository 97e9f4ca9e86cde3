"""The demonstrations: the whole flow on a shipped series.

`water` is the hourly flow in a branch of a water pipeline, donated by Tecnojest s.r.l. to the river project: real, with times,
gaps and units. Its events are so low that the amplitude finds them too. `heartbeats` is an electrocardiogram that was made with
GutenTAG, from the aeon project, rounded to three digits: in its three events nothing is high or low, the shape or the rhythm is
wrong. Both are under BSD-3-Clause; the licence texts lie beside the data.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from anomaly.detector.detector import Detector
from anomaly.errors import ConfigError
from anomaly.evaluation.evaluate import Evaluation, evaluate
from anomaly.events.event import Event
from anomaly.files.one_file import score_file
from anomaly.ingest.reading import read_csv
from anomaly.report.chart import Marks
from anomaly.report.page import page_html
from anomaly.report.pictures import plot_rows
from anomaly.report.tables import aligned, write_events
from anomaly.scoring.scores import Scores
from anomaly.series import TimeSeries, format_time, labelled_ranges
from anomaly.storage.writing import atomic_output, atomic_write
from anomaly.training.progress import ProgressBar

# Rows of the water series that hold no known event, and the rows after them.
FIRST_ROW, TRAIN_END = 340, 860
_PICTURE, _PAGE = "picture.png", "report.html"


@dataclass(frozen=True)
class Demonstration:
    """What a demonstration trains on, and what it shows.

    Attributes:
        history: the shipped file that holds the training rows.
        series: the shipped file with labels that is scored; the same, or another one.
        trained: the training rows of `history`, half-open.
        shown: the rows of `series` in the picture, half-open; None for all.
        settings: of the detector, where they are not the defaults.
        about: what is to be seen, for people.
    """

    history: str
    series: str
    trained: tuple[int, int]
    shown: tuple[int, int] | None
    settings: dict[str, Any]
    about: str

    @property
    def detector(self) -> str:
        """Name of the detector's file."""
        return f"{self.history.removesuffix('.csv').removesuffix('_train')}.anomaly"

    @property
    def within(self) -> tuple[int, int] | None:
        """The training rows, if they are some of the scored ones."""
        return self.trained if self.history == self.series else None

    def read_history(self, folder: Path) -> TimeSeries:
        """Return the training rows; the labels of the series are left out where there are any."""
        return self._read(folder / self.history)[slice(*self.trained)]

    def read_series(self, folder: Path) -> TimeSeries:
        """Return what is scored, with its labels."""
        return self._read(folder / self.series)

    def _read(self, path: Path) -> TimeSeries:
        return read_csv(path, label_column="label" if path.name == self.series else None)


DEMONSTRATIONS = {
    "water": Demonstration(
        history="water_flow.csv",
        series="water_flow.csv",
        trained=(FIRST_ROW, TRAIN_END),
        shown=None,
        # The shipped history is short: a small network, and enough held-out rows to set a threshold.
        settings={
            "window_size": 24,
            "nearest_windows": 0,  # some hundred hours hold too few windows to compare with
            "units": 8,
            "validation_fraction": 0.4,
            "epochs": 40,
            "batch_size": 64,
            "penalty_every": 1,
            "seed": 0,
            "deterministic": True,
        },
        about="Where a pipe runs dry a limit on the values is enough. A series that needs more: anomaly demo heartbeats",
    ),
    "heartbeats": Demonstration(
        history="heartbeats_train.csv",
        series="heartbeats_test.csv",
        trained=(0, 10_000),
        shown=(6_400, 7_200),
        settings={"seed": 1, "deterministic": True},
        about="No value in these events is higher or lower than in a normal beat: their shape or their rhythm is wrong.",
    ),
}


def run_demo(
    folder: str | Path,
    name: str = "water",
    *,
    progress: bool | ProgressBar | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> str:
    """Train, score and draw; leave everything in `folder`.

    Args:
        folder: an existing folder; files of earlier runs are replaced.
        name: which of `DEMONSTRATIONS`.
        progress: as for `Detector.fit`.
        say: receives what could not be drawn, a sentence each.

    Returns:
        What came out, for people.
    """
    demo, folder = DEMONSTRATIONS[name], Path(folder)
    for file in {demo.history, demo.series}:
        atomic_write(folder / file, (resources.files("anomaly") / "data" / file).read_bytes())
    detector = Detector(**demo.settings).fit(demo.read_history(folder), progress=progress)
    detector.save(folder / demo.detector)
    return show(demo, detector, folder, say)


def show(demo: Demonstration, detector: Detector, folder: Path, say: Callable[[str], None] = lambda text: None) -> str:
    """Score the series of a demonstration and draw it; return what came out, for people.

    Args:
        demo: the demonstration, whose files lie in `folder`.
        detector: trained on its history.
        folder: where scores, events and the picture are left.
        say: as for `run_demo`.
    """
    series = demo.read_series(folder)
    with atomic_output(folder / "scores.csv") as handle:
        summary = score_file(detector, folder / demo.series, output=handle)
    write_events(str(folder / "events.csv"), summary.events, series.time_column)
    files = [*dict.fromkeys((demo.history, demo.series)), demo.detector, "scores.csv", "events.csv"]
    scores, bundle = detector.score(series), detector.bundle_
    drawn = _pictures(demo, detector, series, scores, folder, say)
    files += drawn
    found = evaluate(
        series, scores, summary.events, scaler=bundle.scaler, references=bundle.references,
        trained=detector.trained_on(series),
    )  # fmt: skip
    table, trained = _comparison(series, summary.events, demo.within), _trained_text(demo)
    opened = f"Open {folder / _PAGE} in a browser: series, scores and events on one page.\n" if _PAGE in drawn else ""
    return (
        f"{table}\n{summary}\n{trained}\n\n{_rivals_text(found)}\n{demo.about}\n\n"
        f"In {folder}: {', '.join(files)}.\n"
        f"{opened}"
        f"Next: anomaly detect {folder / demo.series} --model {folder / demo.detector}"
    )


def _pictures(
    demo: Demonstration, detector: Detector, series: TimeSeries, scores: Scores, folder: Path, say: Callable[[str], None]
) -> list[str]:
    """Draw what was found; return the names of the files, fewer where an extra that draws is missing, which is told."""
    events, (first, stop) = detector.detect(scores), demo.shown or (0, len(series))
    marks = Marks(trained=detector.trained_on(series), not_raised=events.not_raised)

    def picture() -> None:
        plot_rows(series, scores, events, first, stop)[0].savefig(folder / _PICTURE, dpi=110)

    def page() -> None:
        text = page_html(series, scores, events, detector.bundle_, title=Path(demo.series).stem, marks=marks)
        atomic_write(folder / _PAGE, text.encode())

    drawn = []
    for name, draw in ((_PICTURE, picture), (_PAGE, page)):
        try:
            draw()
            drawn.append(name)
        except ConfigError as error:  # these are the parts that need an extra
            say(str(error))
    return drawn


def _trained_text(demo: Demonstration) -> str:
    first, last = demo.trained[0], demo.trained[1] - 1
    if demo.within:
        seen = "normal by label, and the detector never saw the labels"
        return f"Trained on rows {first} to {last}, marked *: {seen}. They are left out below."
    return f"Trained on {demo.history}, {demo.trained[1] - first:,} rows that are all normal."


def _rivals_text(found: Evaluation) -> str:
    """Return how far each of the trivial detectors comes with the same rows."""
    return f"{aligned(found.comparison_rows(), right=(1, 2, 3))}\n{found.verdict}"


def _comparison(series: TimeSeries, events: list[Event], trained: tuple[int, int] | None) -> str:
    """Return the found events beside the known ones, in time order; those in the training rows are marked."""
    known = labelled_ranges(series)
    first, stop = trained or (0, 0)
    rows: list[tuple[int, tuple[str, ...]]] = []
    for event in events:
        hits = [f"rows {a}-{b - 1}" for a, b in known if event.start < b and a < event.stop]
        mark = " *" if event.start < stop and event.stop > first else ""
        found = f"rows {event.start}-{event.stop - 1}{mark}"
        rows.append((event.start, (_when(series, event.start), found, f"{event.severity:.1f}", ", ".join(hits) or "-")))
    for a, b in known:
        if not any(event.start < b and a < event.stop for event in events):
            rows.append((a, (_when(series, a), "-", "-", f"rows {a}-{b - 1}")))
    table = [("first", "found", "severity", "known"), *(row for _, row in sorted(rows))]
    # Where rows are counted the first column would only repeat the next one.
    return aligned(table, right=(2,)) if series.time_column else aligned([row[1:] for row in table], right=(1,))


def _when(series: TimeSeries, row: int) -> str:
    return format_time(int(series.times[row]), series.time_column)
