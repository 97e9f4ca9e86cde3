"""What of a fleet's training is done: so that an interrupted one goes on, and one that is over does nothing again.

`training.json` beside the bundles has for each series what its detector was made from, and which bundle that is; an entry
counts if the input and the settings are still the same, and the bundle but for its threshold and what was dismissed.
`training.checkpoint` is where the training of a network for all series stands, as for one (`anomaly.training.checkpoint`).
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anomaly import __version__
from anomaly.bundle.bundle import Bundle
from anomaly.bundle.file import read_bundle
from anomaly.config import DetectorConfig
from anomaly.errors import AnomalyError, ConfigError, shorten
from anomaly.fleet.folder import MANIFEST, Index, Member, known_member
from anomaly.series import TimeSeries
from anomaly.storage.folders import Folder, fingerprint, folder_at, is_same
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

    def entry(self, member: Member, described: dict[str, Any], bundle: Bundle, replaces: Member | None = None) -> dict[str, Any]:
        """Return what `training.json` says of a series that was trained.

        Args:
            member: the detector as it was written.
            described: what to say of it again.
            bundle: the same.
            replaces: the detector that the index has meanwhile.
        """
        told = {"bundle": member._asdict(), "described": described, "made": _made(bundle)}
        return plain(vars(self) | told | ({} if replaces is None else {"replaces": replaces._asdict()}))

    def found(
        self, folder: str | Path | Folder, name: str, before: Mapping[str, Any] | None, placed: Member | None = None
    ) -> tuple[Member, Bundle] | None:
        """Return the detector that was made from the same before, if it is still there.

        Args:
            folder: of the fleet.
            name: of the series.
            before: what `training.json` says of it.
            placed: the detector in the index, which counts too where its threshold was moved since, or events were dismissed.
        """
        if before is None or not is_same(before.get("input"), plain(self.input)):
            return None
        if before.get("options") != plain(self.options) or before.get("network") != self.network:
            return None
        try:
            member = known_member(name, before.get("bundle"))
        except ValueError:
            return None
        bundle = _bundle(folder, member)
        if bundle is None and placed is not None:
            member, bundle = placed, _bundle(folder, placed)
            bundle = bundle if bundle is not None and _made(bundle) == before.get("made") else None
        return None if bundle is None else (member, bundle)


def refuse_losses(
    folder: Folder,
    old: Index | None,
    entries: Mapping[str, Any],
    names: Collection[str],
    origins: Mapping[str, Callable[[], Origin]],
    options: dict[str, Any],
    *,
    shared: bool,
    anew: bool,
) -> None:
    """Refuse a training that drops detectors, or replaces others than those whose rows alone have changed.

    Args:
        folder: of the fleet.
        old: the index in place.
        entries: what `training.json` says.
        names: of all series that there is an input for.
        origins: by name what the detectors to train are made from; a series without one keeps its own.
        options: what `described_options` returns.
        shared: whether all series have one network.
        anew: whether what was trained before from the same is trained again.

    Raises:
        ConfigError: if a detector would be lost.
    """
    members = {} if old is None else old.series
    dropped = [name for name in members if name not in names]
    other: list[str] = []
    by_hand: list[str] = []
    for name, member in members.items():
        if name not in origins:
            continue
        entry = entries.get(name, {})
        same = entry.get("options") == plain(options) and (entry.get("network") is not None) == shared
        if same and member._asdict() in (entry.get("bundle"), entry.get("replaces")):
            continue  # its rows may have changed
        with contextlib.suppress(AnomalyError):
            found = None if anew or not same else origins[name]().found(folder, name, entry, member)
            if (found is None or found[0] != member) and (bundle := _bundle(folder, member)) is not None:
                (by_hand if same and _made(bundle) == entry.get("made") else other).append(name)
    losses = {"without an input": dropped, "trained otherwise": other, "with a threshold or dismissals of its own": by_hand}
    if said := [f"{shorten(sorted(found))} {why}" for why, found in losses.items() if found]:
        raise ConfigError(
            f"Detectors must not be lost. Received: --model {folder.name}, which holds {', '.join(said)}. "
            "Add --overwrite, or name another folder."
        )


def _bundle(folder: str | Path | Folder, member: Member) -> Bundle | None:
    """Return a detector of a fleet; None if it is not there, or damaged."""
    try:
        return read_bundle(folder_at(folder).file(member.file), member.sha256)
    except AnomalyError:
        return None


def _made(bundle: Bundle) -> str:
    """Return a digest of what nobody changes in a detector after its training."""
    digest = hashlib.sha256(bundle.fingerprint.encode())
    for name in sorted(bundle.weights):
        digest.update(np.ascontiguousarray(bundle.weights[name]).data)
    return digest.hexdigest()


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
