"""What of a fleet's training is done: so that an interrupted one goes on, and one that is over does nothing again.

`training.json` beside the bundles has for each series what its detector was made from, and which bundle that is; an entry
counts if the input, the settings and the bundle are still the same. `training.checkpoint` is where the training of a network for
all series stands, as for one series (`anomaly.training.checkpoint`).
"""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anomaly import __version__
from anomaly.bundle.file import Bundle, read_bundle
from anomaly.config import DetectorConfig
from anomaly.errors import AnomalyError
from anomaly.fleet.folder import MANIFEST, Member, known_member
from anomaly.series import TimeSeries
from anomaly.storage.folders import fingerprint, folder_at, is_same
from anomaly.storage.manifest import Kind
from anomaly.storage.snapshot import plain

KIND = Kind(MANIFEST, "series", "anomaly train")
# Where the rows to train on begin and end, see `anomaly.ranges.training_part`.
Ends = tuple[str | None, str | None]
ALL: Ends = (None, None)


@dataclass(frozen=True)
class Origin:
    """What a detector is made from, as plain values for JSON.

    Attributes:
        input: `folders.fingerprint` of the series.
        options: settings, how rows are read, and the version that trains.
        network: what tells a network for several series from any other; None where the series has its own.
    """

    input: dict[str, Any]
    options: dict[str, Any]
    network: str | None = None

    def entry(self, member: Member, described: dict[str, Any]) -> dict[str, Any]:
        """Return what `training.json` says of a series that was trained."""
        return plain(vars(self) | {"bundle": member._asdict(), "described": described})

    def found(self, folder: str | Path, name: str, before: Mapping[str, Any] | None) -> tuple[Member, Bundle] | None:
        """Return the detector that was made from the same before, if it is still there.

        Args:
            folder: of the fleet.
            name: of the series.
            before: what `training.json` says of it.
        """
        if before is None or not is_same(before.get("input"), plain(self.input)):
            return None
        if before.get("options") != plain(self.options) or before.get("network") != self.network:
            return None
        try:
            member = known_member(name, before.get("bundle"))
            return member, read_bundle(folder_at(folder).file(member.file), member.sha256)
        except (AnomalyError, ValueError):
            return None


def origin_of(rows: str | TimeSeries, options: dict[str, Any]) -> Origin:
    """Return what the detector of a series is made from.

    Args:
        rows: a file, or rows that are read already.
        options: what `described_options` returns.

    Raises:
        StorageError: if the file cannot be read.
    """
    return Origin(rows_fingerprint(rows) if isinstance(rows, TimeSeries) else fingerprint(rows), options)


def rows_fingerprint(series: TimeSeries) -> dict[str, Any]:
    """Return what tells rows that were read from others."""
    digest = hashlib.sha256(repr((series.columns, series.time_column)).encode())
    digest.update(np.ascontiguousarray(series.times).data)
    digest.update(np.ascontiguousarray(series.values).data)
    return {"sha256": digest.hexdigest()}


def described_options(config: DetectorConfig, reading: dict[str, Any], ends: Ends) -> dict[str, Any]:
    """Return what detectors depend on beside their rows, as plain values for JSON."""
    start, end = ends
    begins = {} if start is None else {"train_start": start}
    return plain({"settings": config.to_settings(), "reading": reading, "train_end": end, "version": __version__} | begins)


def network_of(options: dict[str, Any], inputs: Mapping[str, Any]) -> str:
    """Return a digest of what a network for several series is trained from.

    Args:
        options: what `described_options` returns.
        inputs: `rows_fingerprint` of each series, by its name.
    """
    return hashlib.sha256(json.dumps([options, inputs], sort_keys=True).encode()).hexdigest()


def bundles_in(entries: Mapping[str, Any]) -> list[Member]:
    """Return the bundles that the entries of `training.json` name."""
    found = []
    for name, entry in entries.items():
        with contextlib.suppress(ValueError):
            found.append(known_member(name, entry.get("bundle")))
    return found
