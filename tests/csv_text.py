"""Texts of small files, column by column."""

from anomaly import read_csv


def text(head, *columns):
    """Return a file with a header and a line for each row of some columns."""
    return "\n".join([head, *(",".join(map(str, row)) for row in zip(*columns, strict=True))]) + "\n"


def read(folder, content, **options):
    """Write a file, and read it."""
    path = folder / "in.csv"
    path.write_text(content)
    return read_csv(path, **options)
