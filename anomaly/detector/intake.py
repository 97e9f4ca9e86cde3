"""What a fitted detector takes: a file, a frame or a series, its columns as in training, at the pace of the training."""

from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any

from anomaly.arguments import names_arguments
from anomaly.bundle.pace import Pace
from anomaly.config import ReadingConfig
from anomaly.errors import DataError, shorten
from anomaly.fitting.training_rows import training_rows
from anomaly.frames.taking import UNNAMED, Taken, in_place, names_in_an_array, take
from anomaly.ingest.reading import read_csv
from anomaly.quick_start import pd
from anomaly.ranges import Zone
from anomaly.scoring.scores import Scores
from anomaly.series import Bools, Floats, Ints, TimeSeries
from anomaly.windowing.unjudged import too_few_known

if TYPE_CHECKING:
    from anomaly.bundle.bundle import Bundle
    from anomaly.scoring.scores import Scores


def _as_in_an_array(bundle: "Bundle") -> tuple[str, ...]:
    """Return the columns in the order in which an array has them: that of an array that was trained on, context where it stood."""
    numbered = names_in_an_array(len(bundle.columns))
    return numbered if set(numbered) == set(bundle.columns) else bundle.columns


def _refuse_context_without_names(bundle: "Bundle") -> None:
    """Refuse an array where columns were put in another order than they came in: nobody knows which of them is which."""
    context = bundle.config.context.context_columns
    if context and set(names_in_an_array(len(bundle.columns))) != set(bundle.columns):
        raise DataError(
            f"Where columns are context they must have names, {shorten(bundle.columns)}. Received: an array. "
            "Give a frame with these columns."
        )


class Intake:
    """Rows for a detector, from whatever a user hands over."""

    if TYPE_CHECKING:

        def _fitted(self) -> Bundle: ...

    @names_arguments
    def taken(self, X: Any) -> TimeSeries:  # noqa: N803
        """Return a series as the detector takes it: the training columns in training order; refuse another pace.

        Args:
            X: as for `score`.

        Raises:
            DataError: if a column is missing, or the rows come at another pace than in training.
            NotFittedError: before `fit`.
        """
        return self._take(X).series

    @names_arguments
    def trained_on(self, X: Any) -> Bools:  # noqa: N803
        """Tell for each row of a series whether it is one of those that the detector was trained on, `(n_timesteps,)`.

        Args:
            X: as for `score`; `anomaly.fitting.training_rows.training_rows` says how it is told.

        Raises:
            DataError: as `taken`.
            NotFittedError: before `fit`.
        """
        return training_rows(self._fitted(), self._take(X).series)

    def check_step(self, times: Ints, name: str) -> None:
        """Refuse rows that come at another pace than in training.

        Raises:
            DataError: if the times do not go forward, or their median step differs from training by more than half; and as
                `check_pace`.
        """
        Pace.of(self._fitted()).check_all(times, name)

    def check_pace(self, times: Ints, name: str) -> None:
        """Refuse a window or more of rows that come at another pace than a regular series in training.

        Raises:
            DataError: if many rows one after the other do.
        """
        Pace.of(self._fitted()).check_stretches(times, name)

    def _own(self, scores: "Scores") -> "Scores":
        """Refuse the scores of other columns, and what is no scores."""
        columns = self._fitted().judged_columns
        if not isinstance(scores, Scores):
            raise DataError(
                f"Scores must come from `score`. Received: {type(scores).__name__}. Score it first: detector.score(...)."
            )
        if scores.columns != columns:
            raise DataError(
                f"Scores must be of the detector's own columns, {shorten(list(columns))}. Received: those of "
                f"{shorten(list(scores.columns))}. Score the series with this detector."
            )
        return scores

    def zone_of(self, stamps: "pd.Index") -> Zone:
        """Return the zone that times of some rows are in which say no offset from UTC; see `Scores.stamps`."""
        zone: Zone | None = getattr(stamps, "tz", None)
        return self._fitted().config.reading.timezone if zone is None else zone

    def nothing_scored(self, n_rows: int, name: str, known: Floats) -> DataError:
        """Return the error for a series in which no row got a score.

        Args:
            n_rows: that there are.
            name: of the series.
            known: `(n_features,)` share of the rows that have a value, of all features or of those that are judged.
        """
        bundle = self._fitted()
        size, columns = bundle.window_size, bundle.judged_columns
        few = too_few_known(columns, known[: len(columns)], bundle.config.windows.max_missing) if n_rows >= size else ""
        if few:
            return DataError(f"{few} ({name}). Supply their values, or train a detector without these columns.")
        return DataError(
            f"A series must hold a stretch of `window_size` rows ({size}) without a gap and with few missing values. "
            f"Received: {n_rows} rows without one ({name}). Supply a longer stretch, or train with a smaller window."
        )

    def _read(self, path: str | PathLike[str]) -> TimeSeries:
        """Read the columns of the training from a file, as the training read its own."""
        bundle = self._fitted()
        return read_csv(str(path), time_column=bundle.time_column, value_columns=bundle.judged_columns, **bundle.reading)

    def _take(self, X: Any, reading: ReadingConfig | None = None, *, step: bool = True) -> Taken:  # noqa: N803
        """Return `taken`, with the index of the frame; the pace need not be checked."""
        bundle = self._fitted()
        rows = self._read(X) if isinstance(X, str | PathLike) else X
        reading = reading or bundle.config.reading
        taken = in_place(take(rows, _as_in_an_array(bundle), reading))
        if taken.zoned and reading.timezone == "UTC" and "offsets" in bundle.training.get("reading", {}):
            raise DataError(
                "Times must say their offset from UTC, as in training. Received: times without a zone (frame). "
                f"Say it: {taken.zoned}, or their own zone."
            )
        if taken.series.name == UNNAMED and not isinstance(rows, TimeSeries):
            _refuse_context_without_names(bundle)
        taken = replace(taken, series=self._in_order(taken.series))
        if step:
            self.check_step(taken.series.times, taken.series.name)
        return taken

    def _in_order(self, series: TimeSeries) -> TimeSeries:
        """Select the training columns by name, in training order."""
        columns, timed = self._fitted().columns, self._fitted().time_column is not None
        if timed != (series.time_column is not None):
            kinds = ("a time column", "rows that are counted")
            raise DataError(
                f"The series must have {kinds[not timed]}, as in training. Received: {kinds[timed]} ({series.name}). "
                "Give the frame a DatetimeIndex, or leave the times out in both places."
            )
        missing = [name for name in columns if name not in series.columns]
        if missing:
            raise DataError(
                f"The series must have the columns of the training series. Received: no {shorten(missing)} among "
                f"{shorten(series.columns)} ({series.name})."
            )
        return series.of_columns(columns)
