"""How the labelled series are read without a word from anybody: columns, times, what is tolerated; and what is refused.

    python scripts/benchmarks/reading.py --data ../shared/data/dev

Prints a line for each series that is refused, or read otherwise than its manifest says, and the largest shares of what is
tolerated, beside the limits that refuse.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

from anomaly import AnomalyError, read_csv
from anomaly.ingest.order import MOST_BEHIND, in_order
from anomaly.meaning.interpretation import MOST_BACKWARDS
from anomaly.meaning.sentinels import refuse_sentinels, sentinels_of
from anomaly.meaning.several import MOST_REPEATED
from anomaly.sources.tolerance import Tolerance


def main() -> None:
    """Read every series of a manifest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv")
    given = parser.parse_args()
    with open(given.data / "manifest.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    shares: dict[str, tuple[float, str]] = {}
    n_wrong = 0
    for row in rows:
        path = given.data / row["file"]
        tolerance = Tolerance()
        try:
            series = read_csv(path, tolerance=tolerance)
            ordered = in_order(series, tolerance)
            refuse_sentinels(series.values, series.columns, series.name, None)
        except AnomalyError as error:
            n_wrong += 1
            print(f"{row['name']}: refused. {error}")
            continue
        with open(path, newline="") as handle:
            names = next(csv.reader(handle))
        expected = tuple(name for name in names if name not in ("timestamp", "label"))
        if series.columns != expected or series.time_column != "timestamp" or len(series) != int(row["n_rows"]):
            n_wrong += 1
            print(f"{row['name']}: {series.columns} of {len(series)} rows, time {series.time_column}")
        if found := sentinels_of(series.values, series.columns):
            print(f"{row['name']}: {len(found)} numbers that may be marks, such as {found[0]}")
        times = series.times
        for kind, share in (
            ("repeated", (np.diff(np.sort(times)) == 0).mean()),
            ("behind", (times < np.maximum.accumulate(times)).mean()),
            ("back", (np.diff(times) < 0).mean()),
            ("left out", 1 - len(ordered) / len(series)),
        ):
            shares[kind] = max(shares.get(kind, (0.0, "")), (float(share), row["name"]))
    print(f"{len(rows) - n_wrong} of {len(rows)} are read as their manifest says.")
    limits = {"repeated": MOST_REPEATED, "behind": MOST_BEHIND, "back": MOST_BACKWARDS}
    for kind, (share, name) in shares.items():
        print(f"{kind}: {share:.2%} at most ({name}); limit {limits.get(kind, 1):.0%}")


if __name__ == "__main__":
    main()
