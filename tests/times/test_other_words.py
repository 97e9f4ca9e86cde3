"""Times with words of other languages, and dates as other countries write them: read as they are meant, whatever comes first."""

import numpy as np
import pandas as pd
import pytest

from anomaly import DataError
from anomaly.times.other_words import in_english
from tests.csv_text import read, text

HOURS = pd.date_range("2024-02-20", periods=900, freq="h")
DAYS = pd.date_range("2023-01-05", periods=400, freq="D")


def half(t, am, pm):
    return am if t.hour < 12 else pm


def clock(t):
    return f"{t.hour % 12 or 12}:{t:%M:%S}"


# How hours are written, by who writes them so.
OF_HOURS = {
    "Mexico": lambda t: f"{t:%d/%m/%Y} {clock(t)} {half(t, 'a. m.', 'p. m.')}",
    "Mexico, blanks that do not break": lambda t: f"{t:%d/%m/%Y} {clock(t)} {half(t, 'a. m.', 'p. m.')}".replace(" m.", "\u00a0m."),
    "Canada": lambda t: f"{t:%Y-%m-%d} {clock(t)} {half(t, 'a.m.', 'p.m.')}",
    "Greece": lambda t: f"{t.day}/{t.month}/{t.year} {clock(t)} {half(t, 'πμ', 'μμ')}",
    "Korea": lambda t: f"{t:%Y-%m-%d} {half(t, '오전', '오후')} {clock(t)}",
    "Korea, with points": lambda t: f"{t.year}. {t.month}. {t.day}. {half(t, '오전', '오후')} {clock(t)}",
    "Taiwan": lambda t: f"{t.year}/{t.month}/{t.day} {half(t, '上午', '下午')} {clock(t)}",
    "Vietnam": lambda t: f"{t:%d/%m/%Y} {clock(t)} {half(t, 'SA', 'CH')}",
    "a weather station": lambda t: f"{t:%m/%d/%y} {t.hour % 12 or 12}:{t:%M}{half(t, 'a', 'p')}",
    "America": lambda t: f"{t:%m/%d/%Y} {clock(t)} {half(t, 'am', 'PM')}",
    "Hungary": lambda t: f"{t:%Y. %m. %d.} {t.hour}:{t:%M:%S}",
    "Croatia": lambda t: f"{t:%d.%m.%Y.} {t:%H:%M}",
    "Slovakia": lambda t: f"{t.day}. {t.month}. {t.year} {t.hour}:{t:%M}",
    "France": lambda t: f"{t:%d/%m/%Y} {t:%H}h{t:%M}",
    "Japan": lambda t: f"{t:%Y年%m月%d日%H時%M分%S秒}",
    "a shell": lambda t: f"{t:%a %b} {t.day:2d} {t:%H:%M:%S UTC %Y}",
}
MONTHS = {
    "German": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "German, short": "Jan Feb Mrz Apr Mai Jun Jul Aug Sep Okt Nov Dez",
    "French": "janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.",
    "Spanish": "ene feb mar abr may jun jul ago sep oct nov dic",
    "Italian": "gen feb mar apr mag giu lug ago set ott nov dic",
    "Portuguese": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "Dutch": "jan feb mrt apr mei jun jul aug sep okt nov dec",
    "Danish": "januar februar marts april maj juni juli august september oktober november december",
    "Russian": "янв фев мар апр мая июн июл авг сен окт ноя дек",
    "English": "January February March April May June July August September October November December",
}
PATTERNS = ("{day} {month} {year}", "{day}. {month} {year}", "{day:02}-{month}-{short:02}")


@pytest.mark.parametrize("name", OF_HOURS)
@pytest.mark.parametrize("begin", [0, 250])
def test_hours_are_read_as_they_are_written(tmp_path, name, begin):
    hours = HOURS[begin:]
    series = read(tmp_path, text("time;a", [OF_HOURS[name](t) for t in hours], range(len(hours))).replace(",", ";"))
    np.testing.assert_array_equal(series.times, np.asarray(hours.as_unit("us").asi8))


@pytest.mark.parametrize("language", MONTHS)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_months_are_read_as_they_are_written(tmp_path, language, pattern):
    months = MONTHS[language].split()
    cells = [pattern.format(day=t.day, month=months[t.month - 1], year=t.year, short=t.year % 100) for t in DAYS]
    series = read(tmp_path, text("date,a", cells, range(len(DAYS))))
    np.testing.assert_array_equal(series.times, np.asarray(DAYS.as_unit("us").asi8))


def test_a_date_and_a_half_of_the_day_may_stand_apart(tmp_path):
    cells = [f"{clock(t)} {half(t, 'a. m.', 'p. m.')}" for t in HOURS]
    series = read(tmp_path, text("Fecha,Hora,a", HOURS.strftime("%d/%m/%Y"), cells, range(len(HOURS))))
    np.testing.assert_array_equal(series.times, np.asarray(HOURS.as_unit("us").asi8))


def test_a_format_that_is_said_reads_them_too(tmp_path):
    cells = [OF_HOURS["Mexico"](t) for t in HOURS]
    series = read(tmp_path, text("time,a", cells, range(len(HOURS))), time_format="%d/%m/%Y %I:%M:%S %p")
    np.testing.assert_array_equal(series.times, np.asarray(HOURS.as_unit("us").asi8))


@pytest.mark.parametrize("cell", ["2024-01-03T12:00:00Z", "3 Jan 2024 at noon", "12:00 pump", "12 a", "a", "", "1:00 PM", "p.12"])
def test_what_is_no_such_word_stays_as_it_is(cell):
    assert in_english(cell) == cell


@pytest.mark.parametrize("how", ["%d/%m/%y %H:%M", "%y%m%d", "%d %b %y"])
def test_a_format_that_no_cell_has_is_refused_in_a_sentence(tmp_path, how):
    with pytest.raises(DataError, match="must hold times of the format"):
        read(tmp_path, text("time,a", HOURS.strftime("%Y-%m-%dT%H"), range(len(HOURS))), time_format=how)


def test_numbers_of_17_digits_that_count_from_1601_are_refused_in_a_sentence(tmp_path):
    cells = (np.asarray(HOURS.as_unit("us").asi8) + 11_644_473_600 * 10**6).tolist()
    with pytest.raises(DataError, match="Times must be of 1990 to 2100, or count from 0"):
        read(tmp_path, text("time,a", cells, range(len(HOURS))))
