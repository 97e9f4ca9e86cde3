"""What names of columns say: that they are times, count rows, or are meters or numbers of something."""

import re
from functools import lru_cache

from anomaly.times.time_parts import CLOCK_NAME

# Called so, a column is the time, unless its numbers go back and forth.
TIME_NAMES = ("timestamp", "time", "datetime", "date", "ds")
# Called so, it is the time if it holds times.
TIME_LIKE = re.compile(
    r"t|ts|clock|dt|when|epoch.*|unix.*|.*time.*|.*date.*|.*_(?:at|ts|on|epoch|unix)|.*(?:datum|zeit|stamp|fecha|hora|temps|heure).*|ms|_time|"
    r".*yyyy.*|data|.*(?:时间|日期|日時|日付|時間|時刻|시간|날짜|дата|время).*"
)
_COUNTER = re.compile(
    r"(?:|#|(?:[a-z]+_)?index|idx|rows?[ _-]?(?:id|no|nr|num|number|index)?|no|nr|num|number|id|seq|"
    r"sequence(?:[ _-]?(?:no|number))?|unnamed: ?\d+|(?:record|line|entry)[ _-]?(?:id|no|nr|num|number)?|level_\d|objectid)\.?"
)

# What counts what has passed through it, and rises as a clock does.
_METER = re.compile(
    r"(?i)(?:.*[^a-z])?(?:total|cum|cumulative|energy|k?wh|m3|volume|meter|counter|count|odometer|km|miles|bytes|octets|packets|"
    r"requests|zähler|zaehler|stand|index)(?:[^a-z].*)?|.*(?:bytes|octets|packets|counter|total|cumul|meter|zähler|zaehler).*"
)
# What tells one thing from all others, in the order in which they came.
_NUMBER = re.compile(
    r"(?:.*[^a-z])?(?:id|no|nr|num|number|serial|seq|sequence|order|batch|lot|key|code|ticket|invoice|offset|version|revision|block|"
    r"height)s?(?:[^a-z].*)?|.*(?:serial|sequence|number|nummer)"
)


def is_meter_name(column: str) -> bool:
    """Tell names such as total, bytes and counter."""
    return bool(_METER.fullmatch(column.strip()))


def is_number_name(column: str) -> bool:
    """Tell names such as order number, serial and batch."""
    return bool(_NUMBER.fullmatch(column.strip().lower()) or is_counter_name(column))


def is_called_like_times(column: str) -> bool:
    """Tell whether a column is called as times or times of day are."""
    name = column.strip().lower()
    return bool(name in TIME_NAMES or TIME_LIKE.fullmatch(name) or CLOCK_NAME.fullmatch(name))


@lru_cache(maxsize=4096)
def is_counter_name(column: str) -> bool:
    """Tell names such as index, row number and id."""
    return bool(_COUNTER.fullmatch(column.strip().lower()))
