"""What becomes of a record that is wrong: it is left out, the input is refused for it, or it is noted why it would be."""

from anomaly.errors import DataError
from anomaly.ingest.rejects import BadRecord, Offsets

_MOST_NOTED = 20


class Faults:
    """The faults of one input, as its reader finds them.

    Args:
        skip: whether bad records are left out.
        collect: whether it is only noted why the input would be refused.

    Attributes:
        skip: as above.
        noted: why the input would be refused, a sentence each, at most 20.
        offsets: where the lines at hand begin, for the records that are left out.
    """

    def __init__(self, *, skip: bool, collect: bool = False) -> None:
        self.skip, self._collect = skip, collect
        self.noted: list[str] = []
        self.offsets = Offsets(None)
        self._bad: dict[int, BadRecord] = {}  # by line, of the records at hand

    def __len__(self) -> int:
        """Return how many of the records at hand are left out."""
        return len(self._bad)

    def __contains__(self, number: object) -> bool:
        """Tell whether the record on a line is left out."""
        return number in self._bad

    def taken(self) -> list[BadRecord]:
        """Return the records that are left out, in the order of the file; others are at hand from now on."""
        bad, self._bad = self._bad, {}
        return [bad[number] for number in sorted(bad)]

    def found(self, number: int, line: str, kind: str, reason: str, message: str) -> None:
        """Leave a record out, or refuse the input for it.

        Args:
            number: of its line.
            line: its text.
            kind: its name in `Tolerance.counts`, if it is left out.
            reason: then, in words.
            message: else, the sentence of the error.

        Raises:
            DataError: if the input is refused.
        """
        if self.skip:
            self.reject(number, line, kind, reason)
        else:
            self.refuse(message)

    def reject(self, number: int, line: str, kind: str, reason: str, column: str = "") -> None:
        """Leave a record out; only its first fault is told.

        Args:
            number: of its line.
            line: its text.
            kind: its name in `Tolerance.counts`.
            reason: in words.
            column: where the fault is; empty if it is in the whole record.
        """
        self._bad.setdefault(number, BadRecord(number, kind, column, reason, line, self.offsets.of(number)))

    def refuse(self, message: str) -> None:
        """Refuse the input, or note why it would be.

        Args:
            message: the sentence.

        Raises:
            DataError: with the message, unless it is noted.
        """
        if not self._collect:
            raise DataError(message)
        if len(self.noted) < _MOST_NOTED:
            self.noted.append(message)
