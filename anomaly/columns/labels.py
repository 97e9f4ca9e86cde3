"""Which columns are labels or codes of quality, from their names and cells, and what labels say."""

import re
from collections.abc import Sequence
from functools import lru_cache

from anomaly.columns.time_column import Cells
from anomaly.times.moments import is_number

# Of the words of a name, those that alone say that it holds labels, and those that do where nothing else is said.
_LABEL_WORDS = frozenset((
    "label", "labels", "anomaly", "anomalies", "anomalous", "anomalie", "anom", "outlier", "outliers", "attack", "attacks",
    "att", "fault", "faults", "faulty", "failure", "failures", "fraud", "changepoint", "changepoints", "groundtruth", "truth",
    "abnormal", "defect", "defective", "malicious", "intrusion", "novelty", "störung", "stoerung", "ausfall", "anomalía",
    "anomalia", "anomalías", "anomalo", "anormal", "fallo", "falla", "panne", "défaut", "defaut", "异常", "異常", "标签", "標籤",
    "故障", "аномалия", "метка", "inlier", "inliers", "outage", "downtime", "breakdown", "faulted", "étiquette", "etiqueta",
    "rótulo", "rotulo", "falha", "falhas", "авария", "этикетка", "сбой", "defekt", "avería", "averia", "guasto", "usterka",
))  # fmt: skip
# Words of languages that write none apart, and long stems within compounds: 是否异常, Sammelstörung, Fehlercode.
_LABEL_STEMS = re.compile(
    "异常|異常|标签|標籤|故障|障害|ラベル|이상치|이상여부|라벨|레이블|고장|störung|stoerung|fehler|anomal|abnormal|defekt|ausfall|alarmmeldung|sammelalarm|аномал|авари"
)
# What is counted or measured of them is none: Fehlerzähler, Ausfallzeit, Fehlerstrom, 异常次数.
_MEASURED_STEMS = re.compile(
    "zähler|zaehler|anzahl|quote|rate|zeit|dauer|strom|abstand|grad|count|score|prob|dist|error|количеств|次数|件数|数量|率|时间|時間|횟수"
)
# What marks rows where it is 0 or 1, and is a feature where it is more.
_MARK_WORDS = frozenset(("good", "bad", "ok", "healthy", "valid", "invalid", "pass", "passed", "nominal", "crash", "rejected"))
# Words behind a weak one: leak_detected, alarm_active.
_SEEN_WORDS = frozenset(
    ("detected", "active", "aktiv", "present", "occurred", "status", "state", "indicator", "binary", "bool", "not")
)
NORMAL_STEM = re.compile("(?<![不非])正常")
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
# What such texts say, as `plain_mark` writes them; of -1 and 1 the rarer one is the anomaly, see `anomaly.columns.label_values`.
LABELS_AS_NUMBERS = dict.fromkeys(("0", "false", "f", "no", "n", "normal", "ok"), 0.0) | dict.fromkeys(
    ("1", "true", "t", "yes", "y", "anomaly", "attack", "abnormal", "fault", "nok"), 1.0
)
KNOWN_LABELS = (
    "words that say no and yes: false and true, f and t, no and yes, n and y, ok and nok, normal and one of anomaly, attack, "
    "abnormal and fault"
)
# A column of labels with more values than two has no more than so many.
_MOST_CLASSES = 20


def labels_of(cells: Cells, *, surely: bool = False) -> list[str]:
    """Return the columns that are labels: called so, and with no more than two values, which mean no and yes.

    Args:
        cells: by column.
        surely: whether names do not count that are labels only with such values, such as valid.
    """
    called = [name for name in cells if is_label_name(name) or (not surely and _is_mark_name(name))]
    return [name for name in called if _are_marks(cells[name])]


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
    """Tell whether a column is called as labels are, in any spelling: IsAnomaly, gt_label, machine failure, Sammelstörung."""
    words = words_of(name)
    rest = [word for word in words if word not in _NEUTRAL_WORDS]
    if words and set(words) & _LABEL_WORDS:
        return True
    if words in (["change", "point"], ["change", "points"], ["ground", "truth"], ["y", "true"]):
        return True
    if _LABEL_STEMS.search(whole := name.lower()) and not _MEASURED_STEMS.search(whole):
        return True
    return bool(words) and set(words) <= _WEAK_LABEL_WORDS | _NEUTRAL_WORDS and (bool(rest) or words[-1] in _WEAK_LABEL_WORDS)


def words_of(name: str) -> list[str]:
    """Return the words of a name in small letters, whatever stands between them; digits behind a long word are dropped."""
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", name.strip())
    return [word for word in re.split(r"[\W_]+|(?<=[^\W\d_]{5})\d+$", spaced.lower()) if word]


def _is_mark_name(name: str) -> bool:
    """Tell names of columns that are labels if they hold 0 and 1 alone: healthy, leak_detected, incident_id."""
    words = words_of(name)
    rest = {word for word in words if word not in _NEUTRAL_WORDS | _SEEN_WORDS}
    if words in (["incident", "id"], ["event", "id"], ["alarm", "id"]):
        return True
    return bool(NORMAL_STEM.search(name)) or (bool(rest) and rest <= _MARK_WORDS | (_WEAK_LABEL_WORDS - _SERIES_TOO))


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
