"""Names of columns as a person writes them: load,"pressure, inlet"."""

import csv


def names_in(text: str) -> list[str]:
    """Return names separated by commas; one that holds a comma stands in double quotes."""
    try:
        return [name.strip() for name in next(csv.reader([text], skipinitialspace=True), [])]
    except csv.Error:  # a line break: no column is called so, and that is said where the columns are known
        return [text]


def are_names(value: object) -> bool:
    """Tell whether a value is a tuple of names that differ, at least one, none of them empty."""
    if not isinstance(value, tuple) or not all(isinstance(name, str) and name for name in value):
        return False
    return 0 < len(value) == len(set(value))


def legible(text: str) -> str:
    """Return a text that can be written as UTF-8: the bytes of a file's name that are none become replacement characters."""
    return text.encode(errors="surrogateescape").decode(errors="replace") if not is_legible(text) else text


def is_legible(text: str) -> bool:
    """Tell whether a text can be written as UTF-8; the name of a file need not."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
