"""The arrays of a bundle under the names that they have in its file, and back, their numbers checked."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from anomaly.bundle.bundle import Bundle
from anomaly.bundle.header import LARGEST_COUNT, OF_BOTH, forms_of
from anomaly.scoring.drift import ValueRange
from anomaly.scoring.recipe import Recipe
from anomaly.scoring.references import GRID, LARGEST_VALUE, References
from anomaly.watches.extremes import NEVER, Extremes, Limits
from anomaly.watches.movement import MovementRange
from anomaly.watches.relations import Relations
from anomaly.watches.settled import N_SPANS, Settled
from anomaly.windowing.scaling import CLIP, ErrorUnits, Scaler

# Twice the largest training value.
_LARGEST_SCALE = 2e100
_OF_MOVEMENT = {"longest_runs": "nearest/longest_runs", "least": "nearest/least_movement", "most": "nearest/most_movement"}
_OF_MOVEMENT |= {"resting": "nearest/resting", "other_runs": "nearest/other_runs"}
_NOTHING = SimpleNamespace()


def tensors_of(bundle: Bundle) -> dict[str, Any]:
    """Return all arrays of a bundle by their names in its file, little-endian; what it does not have is left out."""
    tensors: dict[str, Any] = {f"weights/{name}": array for name, array in bundle.weights.items()}
    constant = np.isin(np.arange(len(bundle.columns)), bundle.scaler.constant).astype(np.float64)
    tensors |= {"scaler/center": bundle.scaler.center, "scaler/scale": bundle.scaler.scale, "scaler/constant": constant}
    tensors |= {"scaler/error": bundle.error_units.window, "scaler/row_error": bundle.error_units.row}
    if bundle.value_range is not None:
        tensors |= {f"range/{name}": array for name, array in bundle.value_range._asdict().items()}
    if (recipe := bundle.recipe) is not None:
        tensors |= {f"nearest/{of_form.form}": of_form.windows for of_form in recipe.references}
        numbers = ((name, getattr(recipe, name)) for name in ("unit", "odd", "scale", "usual"))
        tensors |= {f"nearest/{name}": array for name, array in numbers if array is not None}
        tensors |= {_OF_MOVEMENT[name]: array for name, array in vars(recipe.movement or _NOTHING).items() if array is not None}
        tensors |= {f"relations/{name}": array for name, array in vars(recipe.relations or _NOTHING).items()}
        tensors |= _tensors_of_settled(recipe.settled)
        limits = {} if recipe.extremes is None else vars(recipe.extremes)
        tensors |= {f"extremes/{end}_{of}": array for of, both in limits.items() for end, array in both._asdict().items()}
    if bundle.dismissed is not None:
        tensors |= bundle.dismissed.tensors()
    if bundle.program is not None:
        tensors |= {"program": np.frombuffer(bundle.program, np.uint8)}
    tensors |= {"calibration/times": bundle.calibration_times}
    tensors |= {f"calibration/{name}": array for name, array in bundle.calibration_scores.items()}
    tensors |= {f"history/{name}": array for name, array in bundle.history.items()}
    return {name: np.ascontiguousarray(array, array.dtype.newbyteorder("<")) for name, array in tensors.items()}


def fields_of_tensors(tensors: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a bundle that are arrays, their numbers checked; raises `ValueError` with the reason."""
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


def recipe_of_tensors(tensors: dict[str, Any], nearest: dict[str, dict[str, int]] | None) -> Recipe | None:
    """Return the terms beside the network's, their numbers checked; raises `ValueError` with the reason."""
    if nearest is None:
        return None
    unit, odd, scale = (tensors[f"nearest/{name}"] for name in ("unit", "odd", "scale"))
    usual, moved = tensors.get("nearest/usual"), _held(tensors, _OF_MOVEMENT)
    related = _held(tensors, {name: f"relations/{name}" for name in ("center", "weights", "most", "sharpness")})
    held = ((form, form if form in nearest else OF_BOTH) for form in forms_of(nearest))
    references = tuple(References(form, nearest[name]["window_size"], tensors[f"nearest/{name}"]) for form, name in held)
    if any(not (np.abs(x.windows) <= LARGEST_VALUE).all() or (x.windows * GRID % 1).any() for x in references):
        raise ValueError(f"nearest windows must be multiples of 1/{GRID} within {LARGEST_VALUE:g}")
    if not all(np.isfinite(array).all() and (array > 0).all() for array in (unit, odd)):
        raise ValueError("units of the nearest windows must be finite and positive")
    counts = [array for name, array in moved.items() if name != "resting"]
    known = [array for array in (scale, usual, *counts, related["most"], related["sharpness"]) if array is not None]
    if not all(np.isfinite(array).all() and (array >= 0).all() for array in known):
        raise ValueError("scales, usual roots, runs, movements and residuals must be finite and not negative")
    if not all((np.abs(array) <= _LARGEST_SCALE).all() for array in related.values() if array is not None):
        raise ValueError(f"relations must be within {_LARGEST_SCALE:g}")
    if (resting := moved["resting"]) is not None and not (np.abs(resting) <= CLIP).all():
        raise ValueError(f"resting values must be within {CLIP:g}")
    movement = None if moved["longest_runs"] is None else MovementRange(**moved)
    relations = None if related["weights"] is None else Relations(**related)
    return Recipe(references, unit, odd, scale, usual, movement, relations, _extremes_of(tensors), _settled_of(tensors))


def _tensors_of_settled(settled: Settled | None) -> dict[str, Any]:
    if settled is None:
        return {}
    held = {name: getattr(settled.relations, name) for name in ("center", "weights", "sharpness")}
    held |= {name: getattr(settled, name) for name in ("points", "states", "spans", "most")}
    return {f"settled/{name}": array for name, array in held.items()}


def _settled_of(tensors: dict[str, Any]) -> Settled | None:
    """Return how features hang together while set points stand, None where there are none; raises `ValueError` with the reason."""
    if "settled/points" not in tensors:
        return None
    held = {name.removeprefix("settled/"): array for name, array in tensors.items() if name.startswith("settled/")}
    if not all((np.abs(array) <= _LARGEST_SCALE).all() for array in held.values()):
        raise ValueError(f"relations must be within {_LARGEST_SCALE:g}")
    if not (np.abs(held["states"]) <= CLIP).all():
        raise ValueError(f"set points must be within {CLIP:g}")
    points, spans, most = (held[name] for name in ("points", "spans", "most"))
    if not all((held[name] >= 0).all() for name in ("sharpness", "most")) or not np.isin(points, (0, 1)).all() or not points.any():
        raise ValueError("residuals must not be negative, and a feature must be a set point or not")
    if not np.isin(spans, np.arange(1 + N_SPANS)).all():
        raise ValueError(f"set points must stand for 0 to {N_SPANS} spans")
    relations = Relations(held["center"], held["weights"], most[0], held["sharpness"])
    return Settled(relations, points, held["states"], spans, most)


def _extremes_of(tensors: dict[str, Any]) -> Extremes | None:
    """Return the limits of values and steps, None in older files; raises `ValueError` with the reason."""
    if "extremes/lowest_values" not in tensors:
        return None
    both = [Limits(*(tensors[f"extremes/{end}_{of}"] for end in Limits._fields)) for of in ("values", "steps")]
    if not all((np.abs(limits) <= NEVER).all() and (limits.lowest <= limits.highest).all() for limits in both):
        raise ValueError(f"limits of values and steps must be within {NEVER:g}, the lowest below the highest")
    return Extremes(*both)


def _held(tensors: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Return fields by their own names, None for those that a file does not have."""
    return {name: tensors.get(held) for name, held in names.items()}
