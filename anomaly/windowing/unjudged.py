"""Features that could not be judged on rows which have a score: too much of them is missing in all windows about these.

Such a row says `ok`, for the features beside it. Only counts are kept, so that memory is bounded and pieces make no difference.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from anomaly.errors import shorten
from anomaly.series import Floats
from anomaly.windowing.missing import LEAST_FEATURES

# A feature is named if it could not be judged on so much more of the rows than in training, as a share of them.
MORE_THAN_IN_TRAINING = 0.1
_MOST_NAMED, _LONGEST_NAME = 3, 40


class Unjudged:
    """Count rows with a score, and those of them on which a feature could not be judged.

    Args:
        columns: names of the features.
        usual: the share of the training rows, of features that could not be judged on some; others on all.
    """

    def __init__(self, columns: tuple[str, ...], usual: Mapping[str, float]) -> None:
        self._columns, self._usual = columns, usual
        self._n_rows, self._n_unjudged = 0, np.zeros(len(columns), np.int64)

    def __eq__(self, other: object) -> bool:
        """Tell whether the same was counted."""
        mine, its = (vars(of_one) if isinstance(of_one, Unjudged) else {} for of_one in (self, other))
        return mine.keys() == its.keys() and all(np.array_equal(mine[name], its[name]) for name in mine)

    __hash__ = None  # type: ignore[assignment]

    def take(self, score: Floats, by_feature: Floats) -> None:
        """Count further rows.

        Args:
            score: `(n,)`, NaN where there is none.
            by_feature: `(n, n_features)`; NaN where a feature could not be judged.
        """
        scored = ~np.isnan(score)
        self._n_rows += int(scored.sum())
        self._n_unjudged += np.isnan(by_feature[scored]).sum(axis=0)

    def shares(self, silent: Iterable[str] = ()) -> dict[str, float]:
        """Return the share of the rows on which a feature could not be judged, where it is larger than in training.

        Args:
            silent: features without any value, of which that is said already.
        """
        if not self._n_rows:
            return {}
        found = dict(zip(self._columns, (self._n_unjudged / self._n_rows).tolist(), strict=True))
        return unusual(found, self._usual, silent)

    def text(self, silent: Iterable[str] = ()) -> str:
        """Return the same in a sentence; empty if there is none."""
        return unjudged_text(self.shares(silent))


def unusual(shares: Mapping[str, float], usual: Mapping[str, float], silent: Iterable[str] = ()) -> dict[str, float]:
    """Return those shares that are larger than in training, by a tenth of the rows, of features with any value."""
    silent = set(silent)
    return {
        name: share for name, share in shares.items()
        if name not in silent and share > usual.get(name, 0.0) + MORE_THAN_IN_TRAINING
    }  # fmt: skip


def unjudged_text(shares: Mapping[str, float]) -> str:
    """Say in a sentence on which share of the rows features could not be judged; empty if there are none."""
    if not shares:
        return ""
    worst = sorted(shares, key=lambda name: -shares[name])
    told = [f"{name[:_LONGEST_NAME]!r} on {shares[name]:.0%}" for name in worst[:_MOST_NAMED]]
    more = f" and {len(worst) - _MOST_NAMED:,} more" * (len(worst) > _MOST_NAMED)
    return (
        f"Not judged: {', '.join(told)}{more} of the rows that have a score; in the windows about them more of its values are "
        "missing than `max_missing`."
    )


def too_few_known(columns: Sequence[str], known: Floats, max_missing: float) -> str:
    """Say in two sentences that so much of most features is missing that no window can be judged; empty if that is not so.

    Args:
        columns: names of the features.
        known: `(n_features,)` share of the rows that have a value.
        max_missing: most of a feature's values in a window that may be missing, a share.
    """
    poor = {name: share for name, share in zip(columns, known.tolist(), strict=True) if share < 1 - max_missing}
    if len(columns) - len(poor) >= LEAST_FEATURES * len(columns):
        return ""
    silent, sparse = ([name for name in poor if (poor[name] > 0) == some] for some in (False, True))
    told = ([f"no value of {shorten(silent)}"] if silent else []) + ([f"too few of {shorten(sparse)}"] if sparse else [])
    return (
        f"A window needs half of the features, with {max_missing:.3g} of their values missing at most (`max_missing`). "
        f"Received: {' and '.join(told)}, {len(poor):,} of {len(columns):,} features"
    )
