"""What came of the training of each series, and of all of them."""

from dataclasses import dataclass, field
from typing import Any

from anomaly.errors import AnomalyError, joint_exit_code, shorten
from anomaly.fleet.folder import Member


@dataclass(frozen=True)
class Success:
    """What came of one series: where its detector is, what to say about it, and what to remember."""

    member: Member
    columns: tuple[str, ...]
    time_column: str | None
    described: dict[str, Any]
    entry: dict[str, Any]
    unchanged: bool = False


@dataclass
class Outcomes:
    """What came of all series, by name.

    Attributes:
        trained: what came out.
        failed: why nothing did.
        kept: of those that failed, which keep the detector that the fleet had.
        dropped: which the fleet had, and have no input any more.
    """

    trained: dict[str, Success] = field(default_factory=dict)
    failed: dict[str, AnomalyError] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 if all went well, that of the errors if all failed alike, else 3."""
        return joint_exit_code(self.failed.values(), some_went_well=bool(self.trained))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        failed = {name: {"error": str(error), "exit_code": error.exit_code} for name, error in self.failed.items()}
        trained = {name: {"file": found.member.file} | found.described for name, found in self.trained.items()}
        found = {"series": trained | failed, "trained": len(trained), "unchanged": self.n_unchanged, "failed": len(failed)}
        others = {"kept": list(self.kept), "dropped": list(self.dropped)}
        return found | {what: names for what, names in others.items() if names}

    def __str__(self) -> str:
        """Say in one line what came out."""
        counts = {"unchanged": self.n_unchanged, "failed": len(self.failed)}
        rest = "".join(f", {count:,} {what}" for what, count in counts.items() if count)
        said = f"{len(self.trained):,} of {len(self.trained) + len(self.failed):,} series trained{rest}."
        said += f" They keep the detectors of before: {shorten(self.kept)}." if self.kept else ""
        return said + (f" Without an input any more, and dropped: {shorten(self.dropped)}." if self.dropped else "")

    @property
    def n_unchanged(self) -> int:
        """Series whose detectors were there already."""
        return sum(success.unchanged for success in self.trained.values())
