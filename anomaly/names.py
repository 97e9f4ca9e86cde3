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
