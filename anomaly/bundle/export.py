"""A trained detector for programs that do not have this package: one ONNX file, or the stock Keras model.

The ONNX file (`anomaly.bundle.onnx_graph`) takes windows as they are measured and says in its metadata, as JSON under each
key, what one needs to use it: columns, window, step, scaler, thresholds, and which terms of the detector's score it has. The
Keras file holds the network alone, which reads and writes training sigmas, `(value - center) / scale`.
"""

import tempfile
import warnings
from pathlib import Path
from typing import Any

from anomaly.bundle.bundle import Bundle, require_built_in
from anomaly.bundle.container import canonical
from anomaly.bundle.onnx_graph import EXPORTED_TERMS, score_terms, scoring_graph
from anomaly.errors import ConfigError
from anomaly.network.model import build_autoencoder, set_weights

FORMATS = ("onnx", "keras")
NOT_STATED = "not stated"


def onnx_bytes(bundle: Bundle, data_licence: str | None = None) -> bytes:
    """Return the content of an ONNX file, checked by onnx.

    Args:
        bundle: a detector.
        data_licence: of the data it was trained on, for the metadata; None says "not stated".

    Raises:
        ConfigError: if its network is one's own, or it reads context.
    """
    import onnx

    require_built_in(bundle)
    _require_no_context(bundle)
    model = scoring_graph(bundle)
    model.producer_name, model.producer_version = "anomaly", bundle.versions.get("anomaly", "")
    model.doc_string = "Raw windows to reconstruction, errors and scores (higher = more anomalous) of an LSTM autoencoder."
    onnx.helper.set_model_props(model, {key: canonical(value) for key, value in metadata_of(bundle, data_licence).items()})
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def metadata_of(bundle: Bundle, data_licence: str | None = None) -> dict[str, Any]:
    """Return what stands beside the graph, by key.

    `detector_thresholds` are of the detector's own score, which is made of `score_terms`. Only where these are the
    `exported_terms` is one of them a threshold of what the graph says: `thresholds`, by output, is empty elsewhere.

    Args:
        bundle: a detector.
        data_licence: as for `onnx_bytes`.
    """
    thresholds = {name: threshold.value for name, threshold in bundle.thresholds.items()}
    is_all = score_terms(bundle) == EXPORTED_TERMS
    return {
        "columns": list(bundle.columns),
        "time_column": bundle.time_column,
        "window_size": bundle.window_size,
        "step_seconds": None if bundle.time_column is None else bundle.step / 1e6,
        "longest_step_seconds": None if bundle.time_column is None else bundle.longest_step / 1e6,
        "max_missing": bundle.config.windows.max_missing,
        "scaler": {"center": bundle.scaler.center.tolist(), "scale": bundle.scaler.scale.tolist()},
        "error_units": bundle.error_units.window.tolist(),
        "aggregation": bundle.config.scoring.aggregation,
        "thresholds": {"trailing_score": thresholds["trailing"]} if is_all else {},
        "detector_thresholds": thresholds,
        "score_terms": list(score_terms(bundle)),
        "exported_terms": list(EXPORTED_TERMS),
        "training_data": {"sha256": bundle.fingerprint, "licence": data_licence or NOT_STATED},
        "versions": bundle.versions,
    }


def keras_bytes(bundle: Bundle) -> bytes:
    """Return the content of a `.keras` file: the stock model with its weights.

    It maps scaled windows `(batch, window_size, n_features)` without missing values to their reconstructions.

    Args:
        bundle: a detector.

    Raises:
        ConfigError: if its network is one's own, or it reads context.
    """
    require_built_in(bundle)
    _require_no_context(bundle)
    network = build_autoencoder(bundle.config.network, bundle.window_size, len(bundle.columns), seed=bundle.seed)
    set_weights(network, bundle.weights)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # Keras copies its variables in a way that numpy 2 deprecates.
        warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy keyword", DeprecationWarning)
        path = Path(folder) / "network.keras"
        network.save(path)
        return path.read_bytes()


def _require_no_context(bundle: Bundle) -> None:
    """Refuse a detector that reads more than it judges: programs that run the file would have to know what."""
    if not bundle.context.is_none:
        raise ConfigError(
            "An exported network must read nothing but the features that it is judged by. Received: a detector with "
            "context_columns or calendar. Score with `anomaly score`, or train one without them."
        )
