"""What was tolerated in an input: counted by default, refused with `strict`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from anomaly.errors import DataError, shorten

# What is out of order, in words; `strict` refuses each of them.
TOLERATED = {
    "byte_order_mark": "a byte order mark",
    "other_delimiter": "fields that are not separated by commas",
    "blank_lines": "blank lines",
    "title_lines": "lines above the header",
    "broken_names": "line ends within names of the header",
    "unit_lines": "lines of units below the header",
    "spare_separators": "a separator behind the last field of every record",
    "repeated_headers": "header lines among the records",
    "control_records": "records of a recorder about itself, such as $RT_OFF$",
    "row_counts": "lines that count the rows, as databases write them",
    "unterminated_line": "a last line without its end, which may be cut",
    "extra_columns": "columns that the detector does not know",
    "reordered_columns": "columns in another order than in training",
    "infinite_values": "infinite values",
    "duplicate_rows": "rows that repeat the row before",
    "conflicting_rows": "rows with the time of the row before and other values",
    "steps_back": "steps back in time",
    "sorted_rows": "rows behind later ones, now sorted",
    "rejected_fields": "records left out for their number of fields",
    "rejected_quotes": "records left out for an open quote",
    "rejected_syntax": "records left out as no JSON, or no line protocol",
    "rejected_numbers": "records left out for text among numbers",
    "rejected_times": "records left out for their time",
    "rejected_ids": "records left out for not naming their series",
}
# A training says in so many lines how its file was read, below the one that names features and time.
_MOST_LINES = 5
# Records that were left out, by what is wrong with them; only where that was asked for.
REJECTED = ("rejected_fields", "rejected_quotes", "rejected_syntax", "rejected_numbers", "rejected_times", "rejected_ids")
# What a series may be like; counted, and never refused.
NOTED = {
    "missing_values": "missing values",
    "incomplete_rows": "rows with a missing value",
    "gaps": "gaps",
    "missing_rows": "rows missing between two others",
    "labelled_rows": "labelled rows left out of the training",
    "excluded_rows": "rows left out by --exclude",
    "series_put_away": "series that were ended to make room for others",
    # It depends on when the file was opened, so `strict` would refuse it now and then.
    "files_begun_anew": "times that the file which is followed was cut or replaced",
    "appended_while_read": "bytes that were appended while it was read, and are not read",
}


@dataclass
class Tolerance:
    """Counts of what was tolerated in one input.

    Attributes:
        strict: whether anything of `TOLERATED` is refused instead.
        name: of the input, for messages.
        counts: by the names of `TOLERATED` and `NOTED`; what did not occur is not there.
        places: for each the first place.
        reading: how the input was read where nobody had said it, a sentence each.
        of_times: those of these sentences that say what all times say, such as that clocks are shifted.
        of_labels: those that say what labels were taken for.
        silent: features of which no row has had a value; None before the first row.
    """

    strict: bool = False
    name: str = "input"
    counts: dict[str, int] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    reading: list[str] = field(default_factory=list)
    of_times: list[str] = field(default_factory=list)
    of_labels: list[str] = field(default_factory=list)
    silent: list[str] | None = None

    def add(self, kind: str, count: int, place: str = "") -> None:
        """Count something; nothing happens if `count` is 0.

        Args:
            kind: a name of `TOLERATED` or `NOTED`.
            count: how often it occurred.
            place: where it occurred first, for example "line 7".

        Raises:
            DataError: if it is one of `TOLERATED` and `strict` is set.
        """
        if not count:
            return
        self.counts[kind] = self.counts.get(kind, 0) + int(count)
        self.places.setdefault(kind, place)
        if self.strict and kind in TOLERATED:
            where = f"{self.name}, {place}" if place else self.name
            raise DataError(f"With --strict the input must have nothing to tolerate. Received: {TOLERATED[kind]} ({where}).")

    def listen(self, columns: Sequence[str], heard: Iterable[bool]) -> None:
        """Note which features have had a value.

        Args:
            columns: names of the features.
            heard: of each of them, whether it has a value in one of the next rows.
        """
        before = columns if self.silent is None else self.silent
        self.silent = [name for name, told in zip(columns, heard, strict=True) if not told and name in before]

    def take_over(self, other: "Tolerance") -> None:
        """Become what another one counted, under its name."""
        self.counts, self.places, self.name, self.reading = other.counts, other.places, other.name, other.reading
        self.silent, self.of_times, self.of_labels = other.silent, other.of_times, other.of_labels

    def told(self) -> list[str]:
        """Say how the input was read and what was tolerated, in at most five lines."""
        counted = [str(self)] if self.counts else []
        most = _MOST_LINES - len(counted) - 1
        rest = self.reading[most:]
        return [*self.reading[:most], *([" ".join(rest)] if rest else []), *counted]

    def to_dict(self, rows: int) -> dict[str, Any]:
        """Return plain values for JSON.

        Args:
            rows: rows that were taken; with the rejected ones they are the rows read.
        """
        return {
            "input": self.name,
            "rows": rows + self.n_rejected,
            "rejected": self.n_rejected,
            # In one order, in whatever pieces the rows came.
            "tolerated": {kind: self.counts[kind] for kind in (*TOLERATED, *NOTED) if kind in self.counts},
            "places": {kind: self.places[kind] for kind in (*TOLERATED, *NOTED) if kind in self.counts},
        } | {name: said for name, said in (("reading", self.reading), ("missing_throughout", self.silent)) if said}

    @property
    def n_rejected(self) -> int:
        """Number of records that were left out."""
        return sum(self.counts.get(kind, 0) for kind in REJECTED)

    def refused(self) -> list[str]:
        """Say what `strict` refuses of what occurred, and where first."""
        kinds = [kind for kind in self.counts if kind in TOLERATED]
        return [f"{TOLERATED[kind]} ({', '.join(filter(None, (self.name, self.places[kind])))})" for kind in kinds]

    def __str__(self) -> str:
        """Say in one line what was tolerated, and what else was noted; empty if nothing was."""
        parts = []
        for title, words in (("Tolerated", TOLERATED), ("Noted", NOTED)):
            counted = [f"{text} ({self.counts[kind]:,})" for kind, text in words.items() if kind in self.counts]
            parts += [f"{title}: {', '.join(counted)}."] if counted else []
        return " ".join([*parts, f"Missing throughout: {shorten(self.silent)}."] if self.silent else parts)
