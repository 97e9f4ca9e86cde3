"""What is in a folder of detectors: a line for each."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anomaly.bundle.bundle import Bundle
from anomaly.errors import AnomalyError, joint_exit_code
from anomaly.fleet.folder import Fleet, Index

HEAD = ("series", "window", "threshold", "rows", "first", "last", "held-out loss", "continued from")


@dataclass(frozen=True)
class Listing:
    """The detectors of a fleet.

    Attributes:
        index: what they are.
        sha256: of the index file, in hexadecimal.
        described: of each series what stands in its bundle, as plain values.
        lines: of each series the cells under `HEAD`, without its name.
        failed: the series whose bundles are refused.
    """

    index: Index
    sha256: str
    described: dict[str, dict[str, Any]]
    lines: dict[str, tuple[str, ...]]
    failed: dict[str, AnomalyError]

    @property
    def exit_code(self) -> int:
        """What failures come to; 0 without one."""
        return joint_exit_code(self.failed.values(), some_went_well=bool(self.described))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        members = {name: found | {"sha256": self.index.series[name].sha256} for name, found in self.described.items()}
        return {
            "columns": list(self.index.columns),
            "time_column": self.index.time_column,
            "id_column": self.index.id_column,
            "sha256": self.sha256,
            "series": members | {name: {"error": str(error)} for name, error in self.failed.items()},
        }

    def facts(self) -> list[tuple[str, str]]:
        """Return what holds for all series, as names and values."""
        return [
            ("series", f"{len(self.index.series):,}, {_origin(self.index.id_column)}"),
            ("columns", ", ".join(self.index.columns)),
            ("time", self.index.time_column or "rows are counted"),
            ("index.json", f"sha256 {self.sha256}"),
        ]

    def rows(self) -> list[tuple[str, ...]]:
        """Return a table with a head, a line for each series."""
        return [HEAD, *((name if name.isprintable() else ascii(name), *cells) for name, cells in self.lines.items())]


def list_fleet(folder: str | Path, *, on_end: Callable[[int, int], None] = lambda done, total: None) -> Listing:
    """Read every bundle of a fleet.

    Args:
        folder: the fleet.
        on_end: called after each bundle with how many are read, and how many there are.

    Raises:
        BundleError: if there is no index, or it is refused.
        StorageError: if it cannot be read.
    """
    fleet = Fleet.load(folder, most_loaded=1)
    listing = Listing(fleet.index, fleet.sha256, {}, {}, {})
    for n, name in enumerate(fleet.ids, start=1):
        try:
            bundle = fleet.detector(name).bundle_
        except AnomalyError as error:
            listing.failed[name] = error
        else:
            listing.described[name], listing.lines[name] = bundle.describe(), _cells(bundle)
        on_end(n, len(fleet.ids))
    return listing


def _cells(bundle: Bundle) -> tuple[str, ...]:
    training, threshold = bundle.training, bundle.thresholds[bundle.config.scoring.aggregation]
    return (
        f"{bundle.window_size}",
        f"{threshold.value:.6g}",
        f"{training['n_rows']:,}",
        str(training["first_time"]),
        str(training["last_time"]),
        f"{bundle.held_out_loss:.4g}",
        "" if bundle.ancestry is None else bundle.ancestry.sha256[0][:16],
    )


def _origin(id_column: str | None) -> str:
    return "told apart by their files" if id_column is None else f"told apart by the column {id_column}"
