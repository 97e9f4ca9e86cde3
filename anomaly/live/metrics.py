"""Figures of a run as Prometheus asks for them: served while records arrive, or written once for a textfile collector.

A server answers in a thread of its own, whenever it is asked; so the run leaves plain numbers here, a series at a time, and
nothing of it is looked at by that thread.
"""

import contextlib
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from anomaly.errors import ConfigError
from anomaly.extras import lacking
from anomaly.files.scored_rows import ScoredRows
from anomaly.names import legible
from anomaly.scoring.drift import DriftResult
from anomaly.scoring.row_scores import STATUSES

# Drift is looked at so often, seconds, and after so many where a series is new: of many series that takes a while.
DRIFT_SECONDS, NEW_SECONDS = 10.0, 1.0
THIS_HOST = "127.0.0.1"


@dataclass
class _Figures:
    """What is known of a series."""

    score: float = float("nan")  # of the last row with one, in thresholds
    threshold: float = float("nan")
    flag: bool = False
    time: int | None = None  # of the last row, microseconds
    statuses: "Counter[str]" = field(default_factory=Counter)
    flagged: int = 0
    events: int = 0
    drift: float | None = None


class RunMetrics:
    """Figures of a run, by series; a collector for a registry of prometheus-client.

    Args:
        model: what the label `model` says.
        timed: whether rows have times; where they are counted there is no lag.
        most_series: the series that has not been heard of for the longest time goes when there are more.
        live: whether the lag is told, which stands still in a file.
    """

    def __init__(self, model: str, *, timed: bool, most_series: int = 2**62, live: bool = True) -> None:
        self._model, self._timed, self._most, self._live = legible(model), timed, most_series, live
        self._series: OrderedDict[str, _Figures] = OrderedDict()
        self._gaps, self._drift_at, self._is_new = 0, -float("inf"), True
        self._lock = threading.Lock()

    def rows(self, series: str, rows: ScoredRows) -> None:
        """Count further rows of a series; the last one with a score is shown.

        Args:
            series: its name.
            rows: consecutive ones.
        """
        if not len(rows.times):
            return
        codes, counts = np.unique(rows.status, return_counts=True)
        known = np.flatnonzero(np.isfinite(rows.score))
        with self._lock:
            found = self._of(series)
            found.statuses.update({STATUSES[code]: int(n) for code, n in zip(codes, counts, strict=True)})
            found.flagged += int(rows.flags.sum())
            latest = int(rows.times.max())
            found.time = latest if found.time is None else max(found.time, latest)
            if len(known):
                score, found.threshold = float(rows.score[known[-1]]), float(rows.threshold[known[-1]])
                found.score, found.flag = score / found.threshold, bool(score > found.threshold)

    def events(self, series: str, n: int) -> None:
        """Count events of a series that have ended."""
        with self._lock:
            self._of(series).events += n

    def gaps(self, n: int) -> None:
        """Note how many gaps and steps back there are in all series together."""
        with self._lock:
            self._gaps = n

    def drift(self, found: dict[str, DriftResult]) -> None:
        """Note how far some series have drifted."""
        with self._lock:
            for series, result in found.items():
                if series in self._series:
                    self._series[series].drift = result.extent
            self._drift_at, self._is_new = time.monotonic(), False

    @property
    def wants_drift(self) -> bool:
        """Whether it is time to look at the drift again."""
        return time.monotonic() - self._drift_at >= (NEW_SECONDS if self._is_new else DRIFT_SECONDS)

    def _of(self, series: str) -> _Figures:
        self._is_new |= series not in self._series
        found = self._series.setdefault(series, _Figures())
        self._series.move_to_end(series)
        while len(self._series) > self._most:
            self._series.popitem(last=False)
        return found

    def collect(self) -> Iterator[Any]:
        """Yield the families of metrics as prometheus-client has them."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        labels = ("series", "model")
        with self._lock:
            of_each = [((name, self._model), found) for name, found in self._series.items()]
            tables = {
                "score": [(of, found.score) for of, found in of_each],
                "threshold": [(of, found.threshold) for of, found in of_each],
                "is_anomaly": [(of, float(found.flag)) for of, found in of_each if not np.isnan(found.score)],
                "drift": [(of, found.drift) for of, found in of_each if found.drift is not None],
                "last_row_timestamp_seconds": [
                    (of, found.time / 1e6) for of, found in of_each if self._timed and found.time is not None
                ],
            }
            counts = [((*of, status), n) for of, found in of_each for status, n in sorted(found.statuses.items())]
            flagged = [(of, found.flagged) for of, found in of_each]
            events = [(of, found.events) for of, found in of_each]
            gaps = self._gaps
        if self._live:
            now = time.time()
            tables["lag_seconds"] = [(of, now - at) for of, at in tables["last_row_timestamp_seconds"]]
        for name, values in tables.items():
            yield _family(GaugeMetricFamily(f"anomaly_{name}", _HELP[name], labels=labels), values)
        yield _family(CounterMetricFamily("anomaly_rows", _HELP["rows"], labels=(*labels, "status")), counts)
        yield _family(CounterMetricFamily("anomaly_flagged_rows", _HELP["flagged_rows"], labels=labels), flagged)
        yield _family(CounterMetricFamily("anomaly_events", _HELP["events"], labels=labels), events)
        yield _family(CounterMetricFamily("anomaly_gaps", _HELP["gaps"], labels=("model",)), [((self._model,), gaps)])

    def text(self) -> bytes:
        """Return all figures in the OpenMetrics text format.

        Raises:
            ConfigError: if prometheus-client is not installed.
        """
        try:
            from prometheus_client import CollectorRegistry
            from prometheus_client.openmetrics.exposition import generate_latest
        except ImportError as error:
            raise lacking("The OpenMetrics format", "metrics") from error
        registry = CollectorRegistry()
        registry.register(self)
        content: bytes = generate_latest(registry)
        return content


_HELP = {
    "score": "score / threshold of the last row that has a score; above 1 is anomalous",
    "threshold": "score that a row must exceed to be flagged",
    "is_anomaly": "1 if the last row that has a score is flagged, else 0",
    "drift": "how far rows have drifted from those of the training, 0 to 1",
    "last_row_timestamp_seconds": "time of the latest row",
    "lag_seconds": "seconds from the time of the latest row until now",
    "rows": "rows, by what became of them",
    "flagged_rows": "rows that were flagged",
    "events": "events that have ended",
    "gaps": "gaps and steps back in time, in all series",
}


def _family(family: Any, values: Any) -> Any:
    for labels, value in values:
        family.add_metric(labels, value)
    return family


def address_of(text: str) -> tuple[str, int]:
    """Return host and port of `[HOST:]PORT`; the host is this one if none is named.

    Raises:
        ConfigError: if the port is no number from 0 to 65535.
    """
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ConfigError(
            f"--metrics-port must be [HOST:]PORT, with a port from 0 to 65535. Received: {text}. Write for example 9464."
        )
    return host or THIS_HOST, int(port)


@contextlib.contextmanager
def served(metrics: RunMetrics, address: tuple[str, int]) -> Iterator[int]:
    """Serve the figures, and those of this process, over HTTP while the block runs; yield the port.

    Args:
        metrics: the figures.
        address: host and port; port 0 takes a free one.

    Raises:
        ConfigError: if prometheus-client is not installed, or the address cannot be had.
    """
    try:
        from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
    except ImportError as error:
        raise lacking("--metrics-port", "metrics") from error
    registry = CollectorRegistry()
    registry.register(metrics)
    ProcessCollector(registry=registry)
    host, port = address
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            f"--metrics-port must be free, and its host this one. Received: {host}:{port} ({reason}). Name another."
        ) from error
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
