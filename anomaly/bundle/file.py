"""One trained detector <-> one file.

`anomaly.bundle.header` has the layout. The header holds one metadata key, `anomaly`, with canonical JSON. It carries numbers and a
closed vocabulary, never a program: nothing in it names a class, a function or a path, and reading it runs no code.
"""

import hashlib
import io
import json
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import numpy as np

from anomaly.bundle.container import (
    LARGEST_HEADER,
    LONGEST_NAME,
    RefusedError,
    arrays_in,
    brief,
    canonical,
    check_pin,
    file_bytes,
    layout,
    opened,
    parse_json,
    read_header,
)
from anomaly.bundle.dismissals import Dismissals
from anomaly.bundle.header import (
    LARGEST_COUNT,
    MOST_COLUMNS,
    MOST_PARAMETERS,
    OF_BOTH,
    Ancestry,
    check_header,
    checked_columns,
    checked_time_column,
    described_fields,
    expected_shapes,
    forms_of,
    n_parameters,
    written_settings,
)
from anomaly.config import NEVER, DetectorConfig
from anomaly.errors import BundleError, ConfigError, DataError
from anomaly.limits import limits_from
from anomaly.network.model import Weights
from anomaly.network.program import checked_program
from anomaly.scoring.alarms import EventRules
from anomaly.scoring.drift import Drift, ValueRange
from anomaly.scoring.overlaps import scoring_stride_of
from anomaly.scoring.recipe import Recipe
from anomaly.scoring.references import GRID, LARGEST_VALUE, References
from anomaly.series import MICROSECONDS_A_DAY, Floats, Ints
from anomaly.storage.writing import atomic_write
from anomaly.thresholds.calibration import Calibration, Threshold
from anomaly.windowing.context import Context
from anomaly.windowing.scaling import ErrorUnits, Scaler

FORMAT_VERSION = 3
_LIBRARIES = ("anomaly", "tensorflow", "keras", "numpy", "pandas", "scikit-learn", "onnxruntime")
# Twice the largest training value.
_LARGEST_SCALE = 2e100
# Room in the header for all but settings and names, bytes.
_OTHER_HEADER = 1 << 15


@dataclass(frozen=True, eq=False, kw_only=True)
class Bundle:
    """Everything a trained detector is.

    Attributes:
        config: the settings it was made with.
        columns: names of the columns that are read: the features that are judged, then the context.
        time_column: name of the time column; None if rows are counted.
        window_size: timesteps in a window, chosen or given.
        stride: timesteps between training windows, chosen or given.
        step: median time between rows in training, microseconds (1 if rows are counted).
        longest_step: a longer time between two rows is a gap.
        row_step: time between the rows of a regular series, whose missing rows are put in; 0 puts none in.
        seed: the seed that was used, drawn or given.
        scaler: of all columns, fitted on the training rows.
        error_units: what errors of the judged features are measured in.
        weights: arrays under the names of `anomaly.network.model.weight_shapes`.
        calibration_times: times of the training rows whose scores are kept, and of the held-out rows after them, `(n,)`.
        calibration_scores: for each aggregation the scores of these rows, `(n,)`, NaN where a row has none.
        thresholds: for each aggregation the calibrated threshold.
        history: per-epoch means `(n_epochs,)` under the names of `anomaly.training.loop.History`.
        training: counts and times that describe the training, for people.
        fingerprint: SHA-256 of the training values and times, in hexadecimal.
        versions: versions of the libraries that made it.
        probe: mean squared error of each synthetic window where it was made, `(4,)`; None in files without it.
        ancestry: what it went on from; None if it was trained from scratch.
        value_range: least and greatest value of each column in training; None in files without it.
        recipe: the terms of a score beside the network's; None if there are none.
        dismissed: stretches that count as normal since somebody said so; None if there are none.
        program: a network of one's own as an ONNX graph, in the place of weights; None for the built-in one.
        min_length: what a least length of "auto" comes to, rows; None where it is no "auto", and in older files: a 32nd of a
            window. So an event does not move when the rule for "auto" does.
        merge_gap: the same of a gap; in older files half a window.
    """

    config: DetectorConfig
    columns: tuple[str, ...]
    time_column: str | None
    window_size: int
    stride: int
    step: int
    longest_step: int
    row_step: int
    seed: int
    scaler: Scaler
    error_units: ErrorUnits
    weights: Weights
    calibration_times: Ints
    calibration_scores: dict[str, Floats]
    thresholds: dict[str, Threshold]
    history: dict[str, Floats]
    training: dict[str, Any]
    fingerprint: str
    versions: dict[str, str] = field(default_factory=lambda: library_versions())
    probe: tuple[float, ...] | None = None
    ancestry: Ancestry | None = None
    value_range: ValueRange | None = None
    recipe: Recipe | None = None
    dismissed: Dismissals | None = None
    program: bytes | None = None
    min_length: int | None = None
    merge_gap: int | None = None

    @property
    def context(self) -> Context:
        """Which of the columns are judged, and what else the network reads."""
        return Context.of(self.config, len(self.columns))

    @property
    def judged_columns(self) -> tuple[str, ...]:
        """Names of the features that are judged: all that scores and events speak of."""
        return self.columns[: self.context.n_judged]

    @property
    def judged_scaler(self) -> Scaler:
        """The scaler of these features."""
        return self.scaler.first(self.context.n_judged)

    @property
    def held_out_loss(self) -> float:
        """Reconstruction loss of the held-out windows with the weights that were kept."""
        best = self.training["best_epoch"]
        return self.ancestry.held_out_loss if self.ancestry and not best else float(self.history["validation_loss"][best - 1])

    @property
    def scoring_stride(self) -> int:
        """Rows between the windows that are run where a score looks ahead."""
        return scoring_stride_of(self.config, self.window_size)

    @property
    def references(self) -> tuple[References, ...] | None:
        """Windows of the training rows, by form; None in files without them."""
        return None if self.recipe is None else self.recipe.references

    @property
    def rules(self) -> EventRules:
        """What becomes of flagged rows."""
        scoring = self.config.scoring
        direction = scoring.alarm_direction
        return EventRules(
            merge_gap=self._rows_of("merge_gap", self.window_size // 2),
            min_length=self._rows_of("min_length", max(1, self.window_size // 32)),
            short_severity=None if scoring.short_severity >= NEVER else scoring.short_severity,
            min_severity=scoring.min_severity,
            direction=None if direction is None else tuple(float(x) for x in direction if not isinstance(x, tuple)),
            min_deviation=() if scoring.min_deviation is None else tuple(limits_from(scoring.min_deviation).items()),
            cool_down=scoring.cool_down,
            longest_step=self.longest_step,
            dismissed=None if self.dismissed is None else self.dismissed.signatures,
        )

    def _rows_of(self, rule: str, in_older_files: int) -> int:
        given, automatic = getattr(self.config.scoring, rule), getattr(self, rule)
        return int(given) if given != "auto" else in_older_files if automatic is None else int(automatic)

    @property
    def only_pace(self) -> int:
        """Time between the rows where the training had one pace throughout; else 0."""
        return 0 if "paces" in self.training else self.row_step

    @property
    def reading(self) -> dict[str, Any]:
        """How new data are read, by the names of `CsvReader`: by the settings, and in doubt as the training file was."""
        context = self.config.context.context_columns or ()
        return asdict(self.config.reading) | {"before": self.training.get("reading", {}), "context_columns": context}

    @property
    def rows_per_day(self) -> float | None:
        """Rows in a day at the median step; None if rows are counted."""
        return None if self.time_column is None else MICROSECONDS_A_DAY / self.step

    def calibration(self, aggregation: str) -> Calibration:
        """Return what thresholds of one aggregation are made from; rows that are dismissed count as held-out ones.

        A dismissed score is no higher than the highest of the training series: one stretch must not make the detector blind.
        """
        scores, times, n = self.calibration_scores[aggregation], self.calibration_times, self.training["n_held_out_rows"]
        if self.dismissed is not None:
            found = np.minimum(self.dismissed.scores[aggregation], np.nanmax(scores))
            scores, times = np.concatenate([scores, found]), np.concatenate([times, self.dismissed.times])
            n += len(found)
        return Calibration(
            scores=scores, times=times, n_held_out=n, window_size=self.window_size, rows_per_day=self.rows_per_day,
            rules=self.rules,
        )  # fmt: skip

    def drift(self, aggregation: str) -> Drift:
        """Return what compares new rows, scored by one aggregation, with the training rows."""
        trained = None if self.time_column is None else self.calibration_times
        return Drift(self.columns, self.value_range, self.calibration_scores[aggregation], self.window_size, trained)

    def describe(self) -> dict[str, Any]:
        """Return what is in the bundle as plain values, without the arrays."""
        return {
            "format_version": FORMAT_VERSION,
            "columns": list(self.columns),
            "time_column": self.time_column,
            "window_size": self.window_size,
            "stride": self.stride,
            "step": self.step,
            "longest_step": self.longest_step,
            "row_step": self.row_step,
            "seed": self.seed,
            "thresholds": {name: asdict(threshold) for name, threshold in self.thresholds.items()},
            "training": self.training,
            "fingerprint": self.fingerprint,
            "versions": self.versions,
            "settings": written_settings(self.config),
            **({} if self.recipe is None else {"nearest": _nearest_of(self.recipe)}),
            **({} if self.dismissed is None else {"dismissed": self.dismissed.described()}),
            **({} if self.program is None else {"program": len(self.program)}),
            **({} if self.min_length is None else {"min_length": self.min_length}),
            **({} if self.merge_gap is None else {"merge_gap": self.merge_gap}),
            **({} if self.probe is None else {"probe": list(self.probe)}),
            **({} if self.ancestry is None else {"ancestry": asdict(self.ancestry) | {"sha256": list(self.ancestry.sha256)}}),
        }


def write_bundle(path: str | Path, bundle: Bundle) -> None:
    """Write a bundle, all of it or nothing.

    Raises:
        StorageError: if the system refuses; an earlier file at `path` is then as it was.
        BundleError: as `checked_bytes`.
    """
    atomic_write(path, checked_bytes(bundle))


def checked_bytes(bundle: Bundle) -> bytes:
    """Return the content of a bundle file, after reading it once.

    Raises:
        BundleError: if what would be written could not be read again; `require_storable` says so before a training.
    """
    content = to_bytes(bundle)
    try:
        from_bytes(content)
    except RefusedError as error:
        raise BundleError(f"A detector must be readable once it is saved. Received: {brief(error)}. Please report this.") from error
    return content


def require_built_in(bundle: Bundle) -> None:
    """Refuse a detector whose network is no built-in one.

    Raises:
        ConfigError: if it has no weights that a bundle knows.
    """
    if not bundle.weights:
        raise ConfigError(
            "This needs the built-in network, whose derivatives and weights are known. Received: a detector with network=. "
            "Train one without it."
        )


def to_bytes(bundle: Bundle) -> bytes:
    """Return the content of a bundle file; the same bundle always gives the same bytes."""
    if bundle.program is None:
        require_built_in(bundle)
    tensors = _tensors(bundle)
    described = bundle.describe()
    return file_bytes(canonical(described | {"sha256": _digest(described, tensors)}), tensors)


def read_bundle(path: str | Path, expect_sha256: str | None = None) -> Bundle:
    """Read a bundle; everything is checked before an array is made, and nothing in the file is run.

    Args:
        path: the file, and the only one that is opened.
        expect_sha256: SHA-256 of the file's bytes, in hexadecimal; nothing in a file with another one is looked at.

    Raises:
        BundleError: if the file is not a bundle of this format version, is damaged, contradicts itself, or is not the
            one that was expected.
        ConfigError: if `expect_sha256` is not 64 hexadecimal digits.
        StorageError: if it cannot be read.
    """
    name = Path(path).name
    with opened(path) as (file, size):
        handle = file
        if expect_sha256 is not None:
            content = file.read(size)
            check_pin(content, expect_sha256, name)
            handle = io.BytesIO(content)
        try:
            return _parse(handle, size)
        except RefusedError as error:
            raise BundleError(
                f"The file must be a detector saved by `anomaly train` in format {FORMAT_VERSION}. "
                f"Received: {brief(error)} ({name})."
            ) from error


def from_bytes(content: bytes) -> Bundle:
    """Parse the content of a bundle file; raises `RefusedError` with the reason."""
    return _parse(io.BytesIO(content), len(content))


def require_storable(config: DetectorConfig, columns: tuple[str, ...], time_column: str | None) -> None:
    """Refuse before a training what could not be saved after it.

    Args:
        config: the settings.
        columns: names of the features, and of the context.
        time_column: name of the time column; None if rows are counted.

    Raises:
        DataError: if there are more than 4,096 columns, or a name is longer than 1,024 characters or holds a line break
            or another control character.
        ConfigError: if the network has more than 50,000,000 parameters, or the settings fill more than 1 MiB.
    """
    try:
        checked_columns(list(columns))
        checked_time_column(time_column, columns)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"A detector has at most {MOST_COLUMNS:,} columns, each with a name of at most {LONGEST_NAME:,} characters and no "
            f"control character. Received: {brief(error)}. Rename the columns, or name those to use."
        ) from error
    count = n_parameters(config, Context.of(config, len(columns)).n_inputs)
    if count > MOST_PARAMETERS:
        raise ConfigError(
            f"A network must have at most {MOST_PARAMETERS:,} parameters. Received: {count:,}. Use fewer `units` or `layers`."
        )
    size = len(json.dumps(canonical([config.to_settings(), columns, time_column])))
    if size > LARGEST_HEADER - _OTHER_HEADER:
        raise ConfigError(
            f"Settings and names must fit into 1 MiB. Received: {size:,} bytes. Give `direction` once for all timesteps, "
            "or shorten the names of the columns."
        )


def _parse(handle: IO[bytes], size: int) -> Bundle:
    header = read_header(handle, size)
    entries = parse_json(header, "header")
    meta = entries.pop("__metadata__", None)
    if not isinstance(meta, dict) or set(meta) != {"anomaly"} or not isinstance(meta["anomaly"], str):
        raise RefusedError("a file without this program's metadata")
    described = parse_json(meta["anomaly"], "metadata")
    version = described.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise RefusedError(f"format version {version!r}")
    try:
        known = described_fields(described)
        nearest, dismissed, size_of_program = known.pop("nearest"), known.pop("dismissed"), known.pop("program")
        shapes = expected_shapes(
            known["config"],
            known["columns"],
            known["training"],
            entries=entries,
            nearest=nearest,
            dismissed=dismissed,
            program=size_of_program,
        )
        check_header(header, entries, described, known["config"], shapes)
        body_size = max(stop for _, stop in layout(shapes).values())
        if 8 + len(header) + body_size != size:
            raise RefusedError(f"a damaged file: {size} bytes instead of {8 + len(header) + body_size}")
        tensors = arrays_in(handle.read(body_size), shapes)
        if described["sha256"] != _digest(described, tensors):
            raise RefusedError("a damaged file: the checksum differs")
        context = Context.of(known["config"], len(known["columns"]))
        counted = None if dismissed is None else Dismissals.of_tensors(dismissed, known["columns"], context.n_judged, tensors)
        program = tensors["program"].tobytes() if size_of_program else None
        if program is not None:
            checked_program(program, known["window_size"], context.n_inputs)
        return Bundle(**known, **_arrays(tensors), recipe=_recipe(tensors, nearest), dismissed=counted, program=program)
    except ConfigError as error:
        raise RefusedError(str(error)) from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        kind = "" if type(error) is ValueError else f"{type(error).__name__} "
        raise RefusedError(f"an incomplete or contradictory description: {kind}{error}") from error


def _tensors(bundle: Bundle) -> dict[str, Any]:
    tensors: dict[str, Any] = {f"weights/{name}": array for name, array in bundle.weights.items()}
    constant = np.isin(np.arange(len(bundle.columns)), bundle.scaler.constant).astype(np.float64)
    tensors |= {"scaler/center": bundle.scaler.center, "scaler/scale": bundle.scaler.scale, "scaler/constant": constant}
    tensors |= {"scaler/error": bundle.error_units.window, "scaler/row_error": bundle.error_units.row}
    if bundle.value_range is not None:
        tensors |= {f"range/{name}": array for name, array in bundle.value_range._asdict().items()}
    if (recipe := bundle.recipe) is not None:
        tensors |= {f"nearest/{of_form.form}": of_form.windows for of_form in recipe.references}
        numbers = ((name, getattr(recipe, name)) for name in ("unit", "odd", "scale", "usual", "longest_runs"))
        tensors |= {f"nearest/{name}": array for name, array in numbers if array is not None}
    if bundle.dismissed is not None:
        tensors |= bundle.dismissed.tensors()
    if bundle.program is not None:
        tensors |= {"program": np.frombuffer(bundle.program, np.uint8)}
    tensors |= {"calibration/times": bundle.calibration_times}
    tensors |= {f"calibration/{name}": array for name, array in bundle.calibration_scores.items()}
    tensors |= {f"history/{name}": array for name, array in bundle.history.items()}
    return {name: np.ascontiguousarray(array, array.dtype.newbyteorder("<")) for name, array in tensors.items()}


def _digest(described: dict[str, Any], tensors: dict[str, Any]) -> str:
    digest = hashlib.sha256(canonical({key: value for key, value in described.items() if key != "sha256"}).encode())
    for name in sorted(tensors):
        digest.update(name.encode() + b"\0")
        digest.update(tensors[name].data)
    return digest.hexdigest()


def _arrays(tensors: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a bundle that are arrays, their numbers checked."""
    weights, scaler, spans, calibration, history = (
        {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
        for prefix in ("weights/", "scaler/", "range/", "calibration/", "history/")
    )
    if not all(np.isfinite(array).all() for array in (*weights.values(), *scaler.values())) or not (
        all((scaler[name] > 0).all() for name in ("scale", "error", "row_error"))
    ):
        raise ValueError("weights and scales must be finite, and scales positive")
    if not all((np.abs(array) <= _LARGEST_SCALE).all() for array in (*scaler.values(), *spans.values())):
        raise ValueError(f"centers, scales and ranges must be within {_LARGEST_SCALE:g}")
    value_range = ValueRange(**spans) if spans else None
    if value_range is not None and not (value_range.minimum <= value_range.maximum).all():
        raise ValueError("a range must not end before it begins")
    constant, error_units = scaler.pop("constant"), ErrorUnits(scaler.pop("error"), scaler.pop("row_error"))
    if not np.isin(constant, (0, 1)).all():
        raise ValueError("a feature must be constant or not")
    times = calibration.pop("times")
    if not (np.abs(times) <= LARGEST_COUNT).all() or times.min() == np.iinfo(np.int64).min:
        raise ValueError("times")
    if any(np.isinf(array).any() or (array < 0).any() for array in calibration.values()):
        raise ValueError("calibration scores must be finite and not negative")
    if any(np.isinf(array).any() for array in history.values()):
        raise ValueError("losses must be finite")
    return {
        "scaler": Scaler(**scaler, constant=tuple(np.flatnonzero(constant).tolist())),
        "error_units": error_units,
        "value_range": value_range,
        "weights": weights,
        "calibration_times": times,
        "calibration_scores": calibration,
        "history": history,
    }


def _nearest_of(recipe: Recipe) -> dict[str, dict[str, int]]:
    return {of_form.form: {"window_size": of_form.window_size, "n_windows": len(of_form.windows)} for of_form in recipe.references}


def _recipe(tensors: dict[str, Any], nearest: dict[str, dict[str, int]] | None) -> Recipe | None:
    """Return the terms beside the network's, their numbers checked."""
    if nearest is None:
        return None
    unit, odd, scale = (tensors[f"nearest/{name}"] for name in ("unit", "odd", "scale"))
    later = {name: tensors[f"nearest/{name}"] for name in ("usual", "longest_runs") if f"nearest/{name}" in tensors}
    held = ((form, form if form in nearest else OF_BOTH) for form in forms_of(nearest))
    references = tuple(References(form, nearest[name]["window_size"], tensors[f"nearest/{name}"]) for form, name in held)
    if any(not (np.abs(x.windows) <= LARGEST_VALUE).all() or (x.windows * GRID % 1).any() for x in references):
        raise ValueError(f"nearest windows must be multiples of 1/{GRID} within {LARGEST_VALUE:g}")
    if not all(np.isfinite(array).all() and (array > 0).all() for array in (unit, odd)):
        raise ValueError("units of the nearest windows must be finite and positive")
    if not all(np.isfinite(array).all() and (array >= 0).all() for array in (scale, *later.values())):
        raise ValueError("scales, usual roots and longest runs must be finite and not negative")
    return Recipe(references, unit, odd, scale, **later)


def library_versions() -> dict[str, str]:
    """Return the versions of the installed libraries that shape a detector; a missing one is left out."""
    versions = {}
    for name in _LIBRARIES:
        for distribution in (name, f"{name}-cpu"):
            try:
                versions[name] = metadata.version(distribution)
            except metadata.PackageNotFoundError:
                continue
    return versions
