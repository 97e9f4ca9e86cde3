"""Words of other languages in times: halves of the day, and names of months, as the programs of those countries write them.

Formats for `strptime` know English only. A spreadsheet in Mexico writes `12:00:00 a. m.`, one in Taiwan `上午 12:00:00`, one in
France `3-janv.-24`. Only words that mean one half or one month in all of these languages are here.
"""

import re

# Behind a time of day, or before it.
_HALVES = {"AM": "오전 上午 午前 πμ π.μ. ص SA", "PM": "오후 下午 午後 μμ μ.μ. م CH"}
# English, German, French, Spanish, Italian, Portuguese, Dutch, Scandinavian languages and Russian; short and whole.
_MONTHS = {
    "Jan": "jan january januar jänner janv janvier ene enero gen gennaio janeiro januari янв января январь",
    "Feb": "feb february februar feber févr fév février fevr fev febrero febbraio fevereiro februari фев февр февраля февраль",
    "Mar": "mar march mär märz mrz maerz mars marzo março marco mrt maart marts мар марта март",
    "Apr": "apr april avr avril abr abril aprile апр апреля апрель",
    "May": "may mai mayo mag maggio maio mei maj мая май",
    "Jun": "jun june juni juin junio giu giugno junho июн июня июнь",
    "Jul": "jul july juli juil juillet julio lug luglio julho июл июля июль",
    "Aug": "aug august août aout ago agosto augustus augusti авг августа август",
    "Sep": "sep sept september septembre septiembre set settembre setembro сен сент сентября сентябрь",
    "Oct": "oct october okt oktober octobre octubre ott ottobre out outubro окт октября октябрь",
    "Nov": "nov november novembre noviembre novembro ноя нояб ноября ноябрь",
    "Dec": "dec december dez dezember déc décembre dic diciembre dicembre dezembro des desember дек декабря декабрь",
}
_ENGLISH = {word: month for month, words in _MONTHS.items() for word in words.split()}
_HALF_WORDS = {word.lower(): half for half, words in _HALVES.items() for word in words.split()}
# `a.m.`, `p. m.`, and a letter alone right behind a time of day.
_POINTED = re.compile(r"(?i)(?<=[\d\s])([ap])(?:\.\s?m\.?|(?<=:\d\d[ap])(?=\s*$))")
_WORD = re.compile(r"[^\W\d_]+(?:\.[^\W\d_]+)?\.?")
_HAS_WORDS = re.compile("%[bBp]")


def has_words(how: str) -> bool:
    """Tell whether a format for `strptime` has a month's name or a half of the day."""
    return bool(_HAS_WORDS.search(how))


def in_english(text: str) -> str:
    """Return a time with its halves of the day as AM and PM, and its months as the three letters that English has for them."""
    return _WORD.sub(_word, _POINTED.sub(lambda match: f"{match[1].upper()}M", text))


def _word(match: re.Match[str]) -> str:
    word = match[0].lower()
    return _HALF_WORDS.get(word) or _ENGLISH.get(word.removesuffix(".")) or match[0]
