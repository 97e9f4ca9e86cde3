"""Which columns are labels or codes of quality, from their names and cells, and what labels say."""

import re
from collections.abc import Sequence
from functools import lru_cache

from anomaly.meaning.time_column import Cells
from anomaly.times.moments import is_number

# Of the words of a name, those that alone say that it holds labels, and those that do where nothing else is said.
_LABEL_WORDS = frozenset((
    "label", "labels", "anomaly", "anomalies", "anomalous", "anomalie", "anom", "outlier", "outliers", "attack", "attacks",
    "att", "fault", "faults", "faulty", "failure", "failures", "fraud", "changepoint", "changepoints", "groundtruth", "truth",
    "abnormal", "defect", "defective", "malicious", "intrusion", "novelty", "störung", "stoerung", "ausfall", "anomalía",
    "anomalia", "anomalías", "anomalo", "anormal", "fallo", "falla", "panne", "défaut", "defaut", "异常", "異常", "标签", "標籤",
    "故障", "аномалия", "метка", "inlier", "outage", "downtime", "breakdown",
))  # fmt: skip
_WEAK_LABEL_WORDS = frozenset((
    "target", "class", "y", "event", "alarm", "flag", "marked", "broken", "incident", "normal", "truth", "alert", "alerts",
    "warning", "gt", "leak", "leakage", "error", "fehler", "spike", "rare", "suspicious", "failed", "fail", "maintenance",
    "annotated", "annotation", "annotations", "mark", "marker", "pred", "events", "alarms", "tag", "tags", "severity", "sev",
    "quality", "qualitydetail", "opcquality", "validity", "calidad", "qualität", "qualité", "kvalitet",
))  # fmt: skip
_QUALITY = re.compile(
    r"(?i)(?:.*[^a-z])?(?:(?:opc)?quality(?:detail|[ _]?code|[ _]?flag)?|validity|calidad|qualität|qualité|kvalitet|qn_\d+|"
    r"qc(?:[ _](?:flag|code))?|qf|qualifier)"
)
# What is called a status or a flag may be measured; one that is "good" in OPC throughout is not.
_STATUS = re.compile(r"(?i)(?:.*[^a-z])?(?:status(?:[ _]?code)?|flags?|qualitystatus)(?:[^a-z].*)?")
_GOOD_IN_OPC = range(192, 220)
# Of those, what names series as well, unless it is no or yes.
_SERIES_TOO = frozenset(("tag", "tags"))
_NEUTRAL_WORDS = frozenset((
    "is", "has", "code", "true", "real", "the", "of", "point", "points", "change", "ground", "machine", "any", "y", "flag",
    "normal", "0", "1",
))  # fmt: skip
_LABEL_TEXTS = (
    {"0", "1"}, {"-1", "1"}, {"false", "true"}, {"f", "t"}, {"no", "yes"}, {"n", "y"}, {"normal", "anomaly"}, {"normal", "attack"},
    {"normal", "abnormal"}, {"normal", "fault"}, {"ok", "nok"},
)  # fmt: skip
# What such texts say, as `plain_mark` writes them; of -1 and 1 nobody knows which is the anomaly.
LABELS_AS_NUMBERS = dict.fromkeys(("0", "false", "f", "no", "n", "normal", "ok"), 0.0) | dict.fromkeys(
    ("1", "true", "t", "yes", "y", "anomaly", "attack", "abnormal", "fault", "nok"), 1.0
)
# A column of labels with more values than two has no more than so many.
_MOST_CLASSES = 20


def labels_of(cells: Cells) -> list[str]:
    """Return the columns that are labels: called so, and with no more than two values, which mean no and yes."""
    return [column for column, found in cells.items() if is_label_name(column) and _are_marks(found)]


def steady_codes_of(cells: Cells) -> list[str]:
    """Return the columns that are called as codes of quality, and hold one whole number throughout: 192, good, in OPC."""
    return [
        name
        for name, own in cells.items()
        if len(set(own)) == 1
        and re.fullmatch(r"\s*\d{1,9}\s*", own[0])
        and (_QUALITY.fullmatch(name.strip()) or (_STATUS.fullmatch(name.strip()) and int(own[0]) in _GOOD_IN_OPC))
    ]


def doubtful_labels_of(cells: Cells) -> list[str]:
    """Return the columns that are called labels and hold a few classes, which are more than no and yes."""
    called = {name: own for name, own in cells.items() if is_label_name(name) and name.strip().lower() not in _SERIES_TOO}
    return [
        name for name, own in called.items() if own and not _are_marks(own) and _are_classes(set(map(plain_mark, own)), len(own))
    ]


def _are_classes(values: set[str], n: int) -> bool:
    return len(values) <= min(_MOST_CLASSES, n / 5) and (
        all(re.fullmatch(r"-?\d+", x) for x in values) or not any(map(is_number, values))
    )


@lru_cache(maxsize=4096)
def is_label_name(name: str) -> bool:
    """Tell whether a column is called as labels are, in any spelling: IsAnomaly, gt_label, machine failure."""
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", name.strip())
    words = [word for word in re.split(r"[\W_]+|(?<=[^\W\d_]{5})\d+$", spaced.lower()) if word]
    rest = [word for word in words if word not in _NEUTRAL_WORDS]
    if words and set(words) & _LABEL_WORDS:
        return True
    if words in (["change", "point"], ["change", "points"], ["ground", "truth"], ["y", "true"]):
        return True
    return bool(words) and set(words) <= _WEAK_LABEL_WORDS | _NEUTRAL_WORDS and (bool(rest) or words[-1] in _WEAK_LABEL_WORDS)


def _are_marks(cells: Sequence[str]) -> bool:
    return bool(marks_of(cells))


def marks_of(cells: Sequence[str]) -> frozenset[str]:
    """Return what labels of the kind of these may be, as `plain_mark` writes them; none if these are no labels."""
    texts = {plain_mark(cell) for cell in cells}
    return frozenset[str]().union(*(marks for marks in _LABEL_TEXTS if texts and texts <= marks))


def plain_mark(cell: str) -> str:
    """Return a label as it is compared: 1 for 1.0, yes for YES."""
    text = cell.strip().lower()
    return re.sub(r"\.0*$", "", text)
