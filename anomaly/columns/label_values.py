"""Which value of a label column is the anomaly: the one that its name says, or the rarer one of -1 and 1."""

import re
from collections.abc import Sequence
from shlex import quote
from typing import NamedTuple

import numpy as np

from anomaly.columns.labels import NORMAL_STEM, words_of
from anomaly.errors import DataError, shorten
from anomaly.series import Bools, Floats

# Where a name says so, 1 is what is normal.
_NORMAL = frozenset((
    "normal", "inlier", "inliers", "ok", "healthy", "good", "valid", "pass", "passed", "nominal", "sane", "benign", "gesund",
    "gut", "sain", "sano",
))  # fmt: skip
_BESIDE = frozenset((
    "is", "flag", "label", "labels", "status", "state", "y", "true", "gt", "class", "marker", "code", "quality", "was", "data",
    "operation", "condition", "machine", "ist", "est",
))  # fmt: skip
_WORDS_OF_TRUTH = frozenset(("0", "1", "-1", "true", "false", "t", "f", "yes", "no", "y", "n", ""))
# Of -1 and 1 one is clearly rarer if no larger share of the rows has it.
_RARE = 0.25
# Labels on a larger share of the rows are worth a word.
_MOST_LABELLED = 0.5
# A column of 0 and 1 may be labels where so few of so many rows have 1, in so few stretches.
_FEWEST_ROWS, _MOST_MARKED, _MOST_STRETCHES = 100, 0.1, 10
# What machines and days are like now and then, which is measured.
_STATES = re.compile(
    r"(?i)(?:.*[\W_])?(?:valve|ventil|pump|pumpe|motor|door|gate|fan|heater|heating|cooling|compressor|switch|relay|open|closed?|on|"
    r"off|running|run|mode|state|holiday|weekend|day|rain|snow|occupied|occupancy|motion|presence|defrost|charging|light|enabled?|"
    r"active|auto|manual|start|stop|button|brake|clutch|gear|feed|dose|cmd|command|setpoint|promo(?:tion)?)(?:[\W_\d].*)?"
)


class Labels(NamedTuple):
    """Labels, and what is to be said of them.

    Attributes:
        values: `(n,)`, 1 for anomalies and 0 for all other rows.
        told: sentences.
    """

    values: Floats
    told: Sequence[str]


def means_normal(name: str) -> bool:
    """Tell whether 1 in a label column of this name stands for what is normal: is_normal, inlier, ok; not so not_ok."""
    words = set(words_of(name))
    return bool(NORMAL_STEM.search(name)) or (bool(words & _NORMAL) and words <= _NORMAL | _BESIDE)


def are_truth_words(texts: set[str]) -> bool:
    """Tell labels that say yes and no to what their column is called, as `anomaly.columns.labels.plain_mark` writes them."""
    return texts <= _WORDS_OF_TRUTH


def labels_as_said(found: Floats, column: str, name: str) -> Labels:
    """Return labels as 1 and 0.

    Args:
        found: `(n,)` 0 and 1, or -1 and 1; NaN where there is nothing, which is no anomaly.
        column: what they are called.
        name: of the input, for messages.

    Raises:
        DataError: if nobody can tell which of -1 and 1 is the anomaly.
    """
    known = ~np.isnan(found)
    told = []
    if (found == -1).any():
        rare = _rarer(found, known, column, name)
        labels = (found == rare).astype(np.float64)
        told.append(
            f"In {column!r} {rare:g} is taken for the anomaly, since it is rarer than {-rare:g}: {int(labels.sum()):,} of "
            f"{len(labels):,} rows."
        )
    else:
        labels = np.where(known, found, 0.0)
    n_labelled = int(labels.sum())
    if n_labelled > _MOST_LABELLED * len(labels):
        told.append(
            f"More than half of the rows are labelled as anomalies in {column!r}: {n_labelled:,} of {len(labels):,}. If 1 stands "
            "for what is normal there, write 1 for anomalies and 0 for all other rows."
        )
    return Labels(labels, told)


def normal_text(column: str) -> str:
    """Say that labels were taken the other way round."""
    return f"1 in {column!r} stands for what is normal, so its rows with 0 are the anomalies."


def may_be_labels(values: Floats, columns: Sequence[str]) -> list[str]:
    """Tell of features that may be labels under a name that does not say so: 1 in a few stretches, and 0 on all other rows.

    Args:
        values: `(n, n_features)`, of all rows.
        columns: names of the features.

    Returns:
        A sentence, or none; no feature is left out for it.
    """
    if len(values) < _FEWEST_ROWS or len(columns) < 2:
        return []
    found = [name for name, own in zip(columns, values.T, strict=True) if not _STATES.fullmatch(name.strip()) and _marks_a_few(own)]
    if not found:
        return []
    return [
        f"{shorten(found)} {'is' if len(found) == 1 else 'are'} 0 but for a few stretches of 1, as labels are, and taken for "
        f"features: --label-column {quote(found[0])} takes it for labels."
    ]


def _marks_a_few(own: Floats) -> bool:
    marked = own == 1
    if not 0 < marked.sum() <= _MOST_MARKED * len(own) or not (marked | (own == 0)).all():
        return False
    return int((np.diff(marked, prepend=False) & marked).sum()) <= _MOST_STRETCHES


def _rarer(found: Floats, known: Bools, column: str, name: str) -> float:
    share = float((found[known] == 1).mean())
    if (found[known] == 0).any() or not (0 < share <= _RARE or 1 - _RARE <= share < 1):
        others = "0 beside them" if (found[known] == 0).any() else f"1 on {share:.0%} of the rows"
        raise DataError(
            f"The label column {column!r} must hold 0 and 1, or -1 and 1, of which the clearly rarer one is the anomaly. "
            f"Received: -1, and {others} ({name}, "
            f"row {int(np.argmax(found == -1)):,}). Write 1 for anomalies and 0 for all other rows."
        )
    return 1.0 if share <= _RARE else -1.0
