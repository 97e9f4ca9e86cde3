"""From a series and settings to a bundle: prepare, train, measure; with the built-in network or one's own."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from anomaly.bundle.bundle import Bundle
from anomaly.config import DetectorConfig, ScoringConfig
from anomaly.fitting.continuation import Start
from anomaly.fitting.measuring import measured
from anomaly.fitting.ready import Ready
from anomaly.fitting.trained import Trained, drawn_seed, train_network
from anomaly.keras.own_network import MakeNetwork, OwnEngine, OwnReconstructor, make_network, refuse_beside_own_network
from anomaly.network.inference import Reconstruct
from anomaly.series import TimeSeries
from anomaly.training.checkpoint import CheckpointFile
from anomaly.training.loop import Progress, fit_autoencoder
from anomaly.windowing.context import with_wide_direction


def fit_bundle(
    config: DetectorConfig,
    series: TimeSeries,
    *,
    on_step: Callable[[Progress], None] | None,
    checkpoint: str | Path | None,
    checkpoint_seconds: float,
    resume: bool,
    start: Start | None = None,
    network: MakeNetwork | None = None,
    on_stage: Callable[[str], None] = lambda what: None,
) -> tuple[Bundle, Reconstruct]:
    """Train on a series; see `Detector.fit`, whose arguments and errors these are; `on_stage` is told what begins.

    Returns:
        What was learnt, and the network ready to run.
    """
    if network is not None:
        refuse_beside_own_network(checkpoint=checkpoint, start_from=start)
        return _fit_own_network(config, Ready.of(config, series), network, on_step, on_stage)
    on_stage("Preparing")
    ready = Ready.of(config, series, start)
    identity = _identity(config, ready.series, ready.fingerprint, start)
    kept = CheckpointFile(checkpoint, identity, checkpoint_seconds) if checkpoint is not None else None
    trained = train_network(config, ready.split, ready.scaled, kept, resume=resume, on_step=on_step, start=start)
    on_stage("Calibrating")
    return measured(ready, trained, start)


def _fit_own_network(
    config: DetectorConfig, ready: Ready, make: MakeNetwork, on_step: Callable[[Progress], None] | None,
    on_stage: Callable[[str], None],
) -> tuple[Bundle, Reconstruct]:  # fmt: skip
    """Train a network of one's own; the bundle has no weights then."""
    seed, shape, split = drawn_seed(config), (ready.split.window_size, ready.context.n_inputs), ready.split
    network = make_network(make, *shape, seed=seed)
    weights, history = fit_autoencoder(
        config, {str(n): weight for n, weight in enumerate(network.get_weights())}, ready.scaled, split.train_starts,
        split.validation_starts, window_size=split.window_size, seed=seed, on_step=on_step,
        engine_of=lambda batch_size: OwnEngine(with_wide_direction(config, shape[1]), network, shape, batch_size),
    )  # fmt: skip
    network.set_weights(list(weights.values()))
    on_stage("Calibrating")
    return measured(ready, Trained({}, history, seed), reconstruct=OwnReconstructor(network))


def _identity(config: DetectorConfig, series: TimeSeries, fingerprint: str, start: Start | None) -> dict[str, Any]:
    """Return what must not change between two sittings of a training."""
    later = {f.name for f in fields(ScoringConfig)} | {"max_minutes"}
    settings = {name: value for name, value in config.to_settings().items() if name not in later}
    return settings | {"data": fingerprint, "columns": series.columns} | (start.identity if start else {})
