"""A detector's network as one ONNX graph, from raw windows to reconstruction, errors and scores.

It does what `Detector.score` does with windows: scale, fill what is missing, reconstruct, compare; with the same rules
(`anomaly.windowing.missing`, `anomaly.scoring.segment`), in double precision but for the network. What it says is the term
`level` of a score, how badly the network reconstructs; `score_terms` says which terms the detector's own score has.

    windows          in   (batch, window_size, n_features), double, units of the data, NaN = missing
    reconstruction   out  of the same shape, units of the data
    error            out  of the same shape, training sigmas squared; NaN where a value is missing or takes no part
    window_score     out  (batch,), of the mean errors of the whole window
    trailing_score   out  (batch,), of those of its later half: `level` of its last row by the aggregation `trailing`

A score is NaN where there is none: too much of the window is missing, or for `trailing_score` all of its last row.
"""

from typing import Any

import numpy as np

from anomaly.bundle.bundle import Bundle
from anomaly.network.inference import IR_VERSION, OPSET, Graph, build_graph
from anomaly.network.model import rows_of_timesteps
from anomaly.windowing.missing import LEAST_FEATURES
from anomaly.windowing.scaling import CLIP

# What the network says is called so among the terms of a score.
EXPORTED_TERMS = ("level",)
# Before the names of what is in the network, and of its input and output.
_NETWORK = "network_"


def score_terms(bundle: Bundle) -> tuple[str, ...]:
    """Return the names of the terms that the detector's own score is the mean of (`anomaly.scoring.recipe`)."""
    recipe = bundle.recipe
    return EXPORTED_TERMS if recipe is None else recipe.terms[: recipe.n_terms(len(bundle.columns))]


def scoring_graph(bundle: Bundle) -> Any:
    """Return the ONNX model described above, without metadata.

    Args:
        bundle: a detector with a built-in network.
    """
    from onnx import ModelProto, NodeProto, TensorProto, compose, helper

    size, n_features = bundle.window_size, len(bundle.columns)
    network = ModelProto.FromString(build_graph(bundle.config.network, bundle.weights, size, n_features))
    network = compose.add_prefix(network, _NETWORK)
    before, after = _Windows("before_"), _Windows("after_")
    before.scale(bundle)
    after.compare(bundle, before)
    constants = [list(map(TensorProto.FromString, part.constants)) for part in (before, after)]
    shapes = {"windows": ["batch", size, n_features], "window_score": ["batch"], "trailing_score": ["batch"]}
    shapes |= {"reconstruction": shapes["windows"], "error": shapes["windows"]}
    infos = {name: helper.make_tensor_value_info(name, TensorProto.DOUBLE, shape) for name, shape in shapes.items()}
    return helper.make_model(
        helper.make_graph(
            [*map(NodeProto.FromString, before.nodes), *network.graph.node, *map(NodeProto.FromString, after.nodes)],
            "detector",
            [infos["windows"]],
            [infos[name] for name in ("reconstruction", "error", "window_score", "trailing_score")],
            [*constants[0], *network.graph.initializer, *constants[1]],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )


class _Windows(Graph):
    """The nodes before the network, or those after it; names of tensors that both need are attributes."""

    def __init__(self, prefix: str) -> None:
        super().__init__({}, prefix)
        self.known = self.told = self.far = self.scaled = ""

    def number(self, value: float, dtype: Any = np.float64) -> str:
        """Store a single number."""
        return self.constant(np.array(value, dtype))

    def cast(self, x: str, dtype: str) -> str:
        """Convert to "FLOAT", "DOUBLE" or "BOOL"."""
        from onnx import TensorProto

        return str(self.add("Cast", [x], to=getattr(TensorProto, dtype)))

    def total(self, x: str, axes: list[int], *, keepdims: int = 0) -> str:
        """Add up over axes; of truth values, count."""
        return str(self.add("ReduceSum", [x, self.ints(axes)], keepdims=keepdims))

    def count(self, truth: str, axes: list[int], *, keepdims: int = 0) -> str:
        """Count over axes."""
        return self.total(self.cast(truth, "DOUBLE"), axes, keepdims=keepdims)

    def any(self, truth: str, axes: list[int], *, keepdims: int = 0) -> str:
        """Tell whether something is true along axes."""
        return str(self.add("Greater", [self.count(truth, axes, keepdims=keepdims), self.number(0)]))

    def rows(self, x: str, first: int) -> str:
        """Take the rows of windows from one on."""
        return str(self.add("Slice", [x, self.ints([first]), self.ints([np.iinfo(np.int64).max]), self.ints([1])]))

    def scale(self, bundle: Bundle) -> None:
        """From windows to what the network reads; and which values take part in a comparison."""
        size, n_features = bundle.window_size, len(bundle.columns)
        known = self.known = self.add("Not", [self.add("IsNaN", [self.cast("windows", "FLOAT")])])
        centred = self.add("Sub", ["windows", self.constant(bundle.scaler.center)])
        sigmas = self.add("Where", [known, self.add("Div", [centred, self.constant(bundle.scaler.scale)]), self.number(0)])
        self.far = self.add("Greater", [self.add("Abs", [sigmas]), self.number(CLIP)])
        clipped = self.add("Clip", [sigmas, self.number(-CLIP), self.number(CLIP)])
        self.scaled = self.cast(clipped, "FLOAT")
        # Of a feature of which too much is missing only what is out of range takes part.
        missing = self.count(self.add("Not", [known]), [1], keepdims=1)
        heard = self.add("Not", [self.add("Greater", [missing, self.number(bundle.config.windows.max_missing * size)])])
        extreme = self.add("GreaterOrEqual", [self.add("Abs", [self.scaled]), self.number(CLIP, np.float32)])
        enough = self.add("GreaterOrEqual", [self.count(heard, [1, 2], keepdims=1), self.number(LEAST_FEATURES * n_features)])
        used = self.add("Or", [enough, self.any(extreme, [1, 2], keepdims=1)])
        taking_part = self.add("And", [known, self.add("Or", [heard, extreme])])
        self.told = self.add("And", [taking_part, used])
        x = self.filled(self.add("Where", [known, self.scaled, self.number(np.nan, np.float32)]), size)
        rows = rows_of_timesteps(bundle.config.network, size)
        if rows[-1] > 1:
            shares = np.repeat(np.eye(len(rows)) / np.array(rows)[:, None], rows, axis=1)
            x = self.add("MatMul", [self.constant(shares.astype(np.float32)), x])
        self.add("Transpose", [x], perm=[1, 0, 2], output=f"{_NETWORK}timesteps")

    def filled(self, x: str, size: int) -> str:
        """Put the last known value of the feature where one is missing, at the beginning the first, or else 0.

        Each pass looks twice as far as the one before.
        """
        steps, reach = np.arange(size), 2 ** np.arange((size - 1).bit_length())
        for direction in (-1, 1):
            for distance in reach:
                places = self.ints(np.clip(steps + direction * distance, 0, size - 1).tolist())
                x = self.add("Where", [self.add("IsNaN", [x]), self.add("Gather", [x, places], axis=1), x])
        return str(self.add("Where", [self.add("IsNaN", [x]), self.number(0, np.float32), x]))

    def compare(self, bundle: Bundle, before: "_Windows") -> None:
        """From what the network makes of windows to reconstruction, errors and scores."""
        size, rows = bundle.window_size, rows_of_timesteps(bundle.config.network, bundle.window_size)
        expected = self.add("Transpose", [f"{_NETWORK}reconstruction"], perm=[1, 0, 2])
        if rows[-1] > 1:
            places = np.repeat(np.arange(len(rows)), rows)
            expected = self.add("Gather", [expected, self.ints(places.tolist())], axis=1)
        expected = self.cast(expected, "DOUBLE")
        grown = self.add("Mul", [expected, self.constant(bundle.scaler.scale)])
        self.add("Add", [grown, self.constant(bundle.scaler.center)], output="reconstruction")
        deviation = self.add("Sub", [self.cast(before.scaled, "DOUBLE"), expected])
        squared = self.add("Mul", [deviation, deviation])
        self.add("Where", [before.told, squared, self.number(np.nan)], output="error")
        errors = self.add("Where", [before.told, squared, self.number(0)])
        unit = self.constant(bundle.error_units.window)
        self.score(errors, before.told, self.any(before.far, [1, 2]), unit, output="window_score")
        later = size // 2
        here, far = (self.any(self.rows(truth, size - 1), [1, 2]) for truth in (before.known, before.far))
        last = self.score(self.rows(errors, later), self.rows(before.told, later), far, unit)
        self.add("Where", [here, last, self.number(np.nan)], output="trailing_score")

    def score(self, errors: str, told: str, far: str, unit: str, output: str | None = None) -> str:
        """Return `(mean over the features of sqrt(u))^2`, or the mean of u itself where a value is out of range."""
        count = self.count(told, [1])
        known = self.add("Greater", [count, self.number(0)])
        u = self.add("Div", [self.add("Div", [self.total(errors, [1]), self.add("Max", [count, self.number(1)])]), unit])
        n_known = self.count(known, [1])  # 0 / 0 is the NaN of a window that says nothing
        roots = self.add("Div", [self.total(self.add("Sqrt", [u]), [1]), n_known])
        itself = self.add("Div", [self.total(u, [1]), n_known])
        return str(self.add("Where", [far, itself, self.add("Mul", [roots, roots])], output=output))
