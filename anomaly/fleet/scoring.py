"""Score many inputs: an output for each, and a manifest that says what each came from.

    OUTDIR/<name of the series>.csv (or .jsonl)   the scored rows of one input
    OUTDIR/manifest.json                          for each input: its SHA-256, the detector's, the options, and what came out

A run does only what the manifest does not have, or has otherwise: an input, a detector or an option that changed, an output
that is gone or is not what was written. So an interrupted run goes on where it was, and one that is over does nothing again.

In an object store size and ETag stand for the SHA-256. There is no lock: of two runs at once each output is whole, the manifest
is that of the last one, and what it does not know is done again by the next run.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from anomaly import __version__
from anomaly.bundle.container import file_sha256
from anomaly.detector.detector import Detector
from anomaly.detector.lookup import Detectors
from anomaly.engines.pool import Executor, here
from anomaly.errors import AnomalyError, ConfigError, shorten
from anomaly.events.event import Event
from anomaly.files.one_file import FileSummary, score_file
from anomaly.fleet.detectors import LEARN, REFUSE, model_of
from anomaly.fleet.folder import Fleet, open_model
from anomaly.fleet.long_files import score_long_file
from anomaly.fleet.new_file import score_new_file
from anomaly.fleet.results import Results, Scored, failure
from anomaly.sources.inputs import Input
from anomaly.storage.addresses import ObjectUri
from anomaly.storage.folders import Folder, fingerprint, folder_at, is_same
from anomaly.storage.manifest import Kind, kept_manifest
from anomaly.storage.writing import storage_errors

MANIFEST = "manifest.json"
_KIND = Kind(MANIFEST, "inputs", "anomaly score")


@dataclass(frozen=True)
class Model:
    """A detector or a fleet for other processes to load, and to find unchanged."""

    path: str
    sha256: str

    @classmethod
    def of(cls, path: str | Path, expect_sha256: str | None = None) -> "Model":
        """Load a model once, so that a damaged one is refused before anything is scored; see `open_model` for the errors."""
        found = open_model(path, expect_sha256=expect_sha256)
        return cls(str(path), found.sha256 if isinstance(found, Fleet) else file_sha256(path))

    def detector(self, series: str) -> tuple[Detector, str]:
        """Return the detector for a series, and the SHA-256 of its file; a single detector is for all."""
        model = _opened(self.path, self.sha256)
        if isinstance(model, Fleet):
            return model.detector(series), model.member(series).sha256
        return model, self.sha256

    def of_several(self, new_series: str = REFUSE) -> Detectors:
        """Return what finds the detector of each series in a long file; for the argument and errors see `model_of`."""
        return _several(self.path, self.sha256, new_series)

    def knows(self, series: str) -> bool:
        """Tell whether there is a detector for a series."""
        model = _opened(self.path, self.sha256)
        return not isinstance(model, Fleet) or series in model

    @property
    def time_column(self) -> str | None:
        """The time column, the same for all series."""
        return self.of_several().time_column

    @property
    def step(self) -> int | None:
        """The time between the rows of one detector for all series; None of a fleet, or where rows are counted."""
        model = _opened(self.path, self.sha256)
        return None if isinstance(model, Fleet) or model.bundle_.time_column is None else model.bundle_.step

    @property
    def id_column(self) -> str | None:
        """The column that told the series apart in training, if one did."""
        model = _opened(self.path, self.sha256)
        return model.index.id_column if isinstance(model, Fleet) else None


@lru_cache(maxsize=1)
def _opened(path: str, sha256: str) -> Detector | Fleet:
    return open_model(path, expect_sha256=sha256)


@lru_cache(maxsize=2)
def _several(path: str, sha256: str, new_series: str) -> Detectors:
    return model_of(_opened(path, sha256), new_series)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How inputs are scored: what outputs depend on beside the input and the detector.

    With an `id_column` each input has the records of several series, as for `long_files.score_long_file`. With `since` or `until`
    a range of each input is written and counted, as for `one_file.score_file`; with `list_all` the runs of flagged rows that are no
    events are kept too, of what is scored anew. What becomes of a series that the fleet was not trained on is `new_series`, see
    `detectors.EachItsOwn`.
    """

    id_column: str | None = None
    aggregation: str | None = None
    threshold: float | None = None
    file_format: str = "csv"
    strict: bool = False
    max_bytes: int | None = None
    figures: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None
    list_all: bool = False
    new_series: str = REFUSE
    reading: dict[str, Any] = field(default_factory=dict)

    def described(self) -> dict[str, Any]:
        """Return plain values for JSON that say what an output depends on; the ends of a range only where there are some.

        A file of one series is scored alike whatever becomes of new ones.
        """
        known = {name: value for name, value in asdict(self).items() if name not in ("since", "until") or value is not None}
        del known["list_all"]
        if self.id_column is None or self.new_series == REFUSE:
            del known["new_series"]
        return known | {"figures": list(self.figures), "version": __version__}


@dataclass(frozen=True, eq=False)
class Task:
    """One input to score.

    Attributes:
        name: of the series.
        path: of its file.
        model: the detectors.
        options: how.
        folder: where the output goes; None only finds the events.
        before: what the manifest says of it.
        refusal: why it may not be scored; empty if it may.
    """

    name: str
    path: str
    model: Model
    options: Options
    folder: str | None = None
    before: dict[str, Any] | None = None
    refusal: str = ""


def score_many(
    inputs: Sequence[Input],
    model: Model,
    folder: str | Path,
    options: Options,
    *,
    executor: Executor = here,
    anew: bool = False,
    on_end: Callable[[str, Scored | AnomalyError], None] = lambda name, outcome: None,
) -> Results:
    """Score every input into a folder, as far as that is not done.

    Args:
        inputs: files, each with one series.
        model: a fleet, or one detector for all of them.
        folder: is made if it is not there.
        options: how they are scored.
        executor: what runs the tasks.
        anew: whether to score again what is done.
        on_end: called with name and outcome of each input, as soon as they are known.

    Raises:
        ConfigError: if an output would be written over an input.
        StorageError: if the folder cannot be made or written to, or another run is at work there.
    """
    place = folder_at(folder)
    _check_outputs(inputs, place, options)
    results = Results()
    place.make()
    heading = {"model": model.path, "model_sha256": model.sha256}
    with place.only_run("scoring"), kept_manifest(place, _KIND, heading, anew=anew) as manifest:
        tasks = (
            Task(item.name, item.path, model, options, str(folder), manifest.entries.get(item.name), item.refusal)
            for item in inputs
        )
        with closing(executor(score_one, tasks)) as found:  # type: ignore[type-var]
            for task, outcome in found:
                _note(results, task.name, outcome, on_end)
                manifest.note(task.name, failure(outcome) if isinstance(outcome, AnomalyError) else outcome.entry)
    return results


def detect_many(
    tasks: Iterable[Task],
    *,
    executor: Executor = here,
    on_end: Callable[[str, Scored | AnomalyError], None] = lambda name, outcome: None,
) -> Results:
    """Find the events of every input; nothing is written.

    Args:
        tasks: inputs without a folder.
        executor: what runs the tasks.
        on_end: called with name and outcome of each input, as soon as they are known.
    """
    results = Results()
    with closing(executor(score_one, tasks)) as found:  # type: ignore[type-var]
        for task, outcome in found:
            _note(results, task.name, outcome, on_end)
    return results


def score_one(task: Task) -> Scored:
    """Score one input, unless what the manifest has of it is still so.

    Args:
        task: the input.

    Raises:
        ConfigError: if it is refused.
        DataError: as `score_file`, or if the fleet has no detector for the series.
        BundleError: if its bundle is refused.
        StorageError: if the input cannot be read, or the output written.
    """
    if task.refusal:
        raise ConfigError(task.refusal)
    score, model_sha256 = _scorer(task)
    if task.folder is None:
        return _scored(*score(), {})
    identity = {"input": fingerprint(task.path), "model_sha256": model_sha256, "options": task.options.described()}
    output, folder = output_name(task.name, task.options), folder_at(task.folder)
    events = _unchanged(task.before, identity, output, folder)
    if task.before is not None and events is not None:
        return Scored(task.before | identity, events, unchanged=True)
    with folder.output(output, flush_name=False) as handle:  # the manifest, which comes later, knows what is in it
        summary, refusals = score(output=handle, file_format=task.options.file_format)
    return _scored(summary, refusals, identity | {"output": output, **folder.seal(output)})


def _scorer(task: Task) -> tuple[Callable[..., tuple[FileSummary, list[str]]], str]:
    """Return what scores the input of a task, with what it says of series that it could not, and the SHA-256 of the detectors."""
    refusals: list[str] = []
    options = task.options
    if options.id_column is None and options.new_series == LEARN and not task.model.knows(task.name):
        sha256 = task.model.sha256  # all of them teach it
        run = partial(score_new_file, task.model.of_several(LEARN), task.name, task.path, say=refusals.append)
    elif options.id_column is None:
        detector, sha256 = task.model.detector(task.name)
        run = partial(score_file, detector, task.path)
    else:
        sha256 = task.model.sha256
        several = task.model.of_several(options.new_series)
        run = partial(score_long_file, several, task.path, id_column=options.id_column, say=refusals.append)
    return (lambda **output: (run(**_how(options), **output), refusals)), sha256


def _scored(summary: FileSummary, refusals: list[str], identity: dict[str, Any]) -> Scored:
    entry = summary.to_dict() | identity | {"error": None, "found": [asdict(event) for event in summary.events]}
    if summary.span is not None and summary.series is None:
        entry["span"] = list(summary.span)
    if summary.tolerance.of_times:
        entry["of_times"] = summary.tolerance.of_times
    if summary.wanted:
        entry["first_number"] = summary.first_number
    if summary.series is not None:
        entry |= {"series": summary.series, "failed_series": summary.n_failed}
    if summary.series is not None or refusals:
        entry["refusals"] = refusals
    return Scored(entry, summary.events, left_out=summary.left_out or [])


def output_name(name: str, options: Options) -> str:
    """Return where in the folder the output of a series goes, with "/" between folders."""
    return f"{name}.{options.file_format}"


def _how(options: Options) -> dict[str, Any]:
    return {
        "aggregation": options.aggregation, "threshold": options.threshold, "strict": options.strict,
        "max_bytes": options.max_bytes, "figures": options.figures, "since": options.since, "until": options.until,
        "list_all": options.list_all, **options.reading,
    }  # fmt: skip


def _note(
    results: Results, name: str, outcome: Scored | AnomalyError, on_end: Callable[[str, Scored | AnomalyError], None]
) -> None:
    if isinstance(outcome, AnomalyError):
        results.failed[name] = outcome
    else:
        results.scored[name] = outcome
    on_end(name, outcome)


def _unchanged(before: dict[str, Any] | None, identity: dict[str, Any], output: str, folder: Folder) -> list[Event] | None:
    """Return the events that the manifest has, if all that it says is still so; a file that only moved is unchanged."""
    if before is None or before.get("error") is not None or before.get("output") != output:
        return None
    if not is_same(before.get("input"), identity["input"]):
        return None
    if any(before.get(name) != identity[name] for name in ("model_sha256", "options")):
        return None
    try:
        if any(before.get(name) != value for name, value in folder.seal(output).items()):
            return None
        if not all(isinstance(before[name], int) for name in ("rows", "flagged")):
            return None
        events = [_event(found) for found in before["found"]]
        series = before.get("series")
        return events if series is None or len(series) == len(events) else None
    except (OSError, KeyError, TypeError, ValueError):
        return None


def _event(found: dict[str, Any]) -> Event:
    event = Event(**found)
    values: dict[str, Any] = {name: tuple(getattr(event, name)) for name in ("deviations", "measured", "expected")}
    return replace(event, shares=tuple((str(name), float(x)) for name, x in event.shares), **values)


def _check_outputs(inputs: Sequence[Input], folder: Folder, options: Options) -> None:
    """Refuse outputs that would be written over an input, or inputs that cannot be read twice."""
    with storage_errors(str(folder)):
        read = {_resolved(item.path) for item in inputs}
        clashes = [item.path for item in inputs if _resolved(folder.file(output_name(item.name, options))) in read]
    if clashes:
        raise ConfigError(f"Outputs must not be written over inputs. Received: {shorten(clashes)}. Name another --output folder.")
    # An object was found a moment ago, and can be read as often as is wanted.
    special = [item.path for item in inputs if not isinstance(item.path, ObjectUri) and not Path(item.path).is_file()]
    if special:
        raise ConfigError(f"Inputs must be files where there are many. Received: {shorten(special)}. Name files.")


def _resolved(path: str | Path) -> str | Path:
    return path if isinstance(path, ObjectUri) else Path(path).resolve()
