"""What a person sees of a detector: a line, scikit-learn's view below it in a notebook, a picture of a series and its events."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

from anomaly.arguments import in_arguments, names_arguments
from anomaly.drawing import html_line
from anomaly.quick_start import pd
from anomaly.report.pictures import plot_scores
from anomaly.words import counted, names_text, span_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from anomaly.bundle.bundle import Bundle
    from anomaly.events.event_list import Events
    from anomaly.frames.taking import Taken
    from anomaly.network.inference import Reconstruct
    from anomaly.scoring.scores import Scores


class Face:
    """Text, HTML and pictures of a detector."""

    if TYPE_CHECKING:
        bundle_: Bundle
        _reconstruct: Reconstruct | None

        def _fitted(self) -> Bundle: ...

        def get_params(self, deep: bool = True) -> dict[str, Any]:
            """Return the constructor's arguments."""

        def score(self, X: Any) -> Scores:  # noqa: N803
            """Score every row."""

        def detect(self, X: Any) -> Events:  # noqa: N803
            """Return the events."""

        def _take(self, X: Any) -> Taken: ...  # noqa: N803

    @property
    def notes_(self) -> tuple[str, ...]:
        """What the history lacks, a sentence each, as `anomaly train` says it: too short, set aside, wild cells, uneven."""
        return tuple(in_arguments(note, "fit") for note in self._fitted().training.get("notes", ()))

    @property
    def network_(self) -> Any:
        """The trained Keras model, where `network` was given; else None."""
        return getattr(self._reconstruct, "network", None) if self._fitted() else None

    def __repr__(self) -> str:
        """Say on what it was trained, its window and its threshold; before `fit` the arguments that differ from their defaults."""
        bundle: Bundle | None = getattr(self, "bundle_", None)
        name = type(self).__name__
        if bundle is not None:
            threshold = bundle.thresholds[bundle.config.scoring.aggregation].value
            return (
                f"{name} of {names_text(bundle.judged_columns)}, trained on {_history(bundle)}, window {bundle.window_size}, "
                f"threshold {threshold:.4g}"
            )
        return self._arguments_text()

    def _arguments_text(self) -> str:
        defaults = type(self)().get_params()
        changed = {name: value for name, value in self.get_params().items() if repr(value) != repr(defaults[name])}
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in changed.items())})"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        """Show the line and scikit-learn's view in a notebook, and the line elsewhere; the view shows the arguments."""
        from sklearn.utils import estimator_html_repr

        own, viewed = type(self), copy(self)
        viewed.__class__ = type(own.__name__, (own,), {"__repr__": own._arguments_text})
        return {"text/plain": repr(self), "text/html": html_line(repr(self)) + estimator_html_repr(viewed)}

    @names_arguments
    def plot(self, X: Any) -> Figure:  # noqa: N803
        """Draw a series, its scores, the threshold and the events; labelled events of a `TimeSeries` too.

        Args:
            X: as for `score`.

        Raises:
            ConfigError: if matplotlib is not installed.
            DataError: as `score`.
            NotFittedError: before `fit`.
        """
        series = self._take(X).series
        scores = self.score(series)
        return plot_scores(series, scores, self.detect(scores))


def _history(bundle: Bundle) -> str:
    training = bundle.training
    rows = counted(training["n_rows"], "row")
    if bundle.time_column is None:
        return rows
    first, last = (pd.Timestamp(training[name]) for name in ("first_time", "last_time"))
    return f"{rows} ({span_text(first, last)})"
