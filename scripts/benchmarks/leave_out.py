"""What a choice among settings is worth on families that it was not made on.

Each candidate is a CSV of `quality.py` of the same series. For each family the candidate is chosen that is best on all other
families, and told with what it has on this one. Beside that stands the candidate that is best over all families, which has
seen each of them.
"""

import numpy as np

from anomaly.report.tables import aligned


def leave_out(candidates, measure="vus_pr"):
    """Return the table, and the means over the families: of the choice without each, and of the best of all.

    Args:
        candidates: name -> family -> series -> value; all of the same series.
        measure: what the values are, for the head.
    """
    means = {name: {f: float(np.mean(list(own.values()))) for f, own in families.items()} for name, families in candidates.items()}
    families = list(next(iter(means.values())))
    best = max(means, key=lambda name: np.mean(list(means[name].values())))
    rows, left, seen = [("family", "chosen without it", measure, f"best of all ({best})")], [], []
    for family in families:
        others = {name: np.mean([value for f, value in own.items() if f != family]) for name, own in means.items()}
        chosen = max(others, key=lambda name: others[name])
        left.append(means[chosen][family])
        seen.append(means[best][family])
        rows.append((family, chosen, f"{left[-1]:.3f}", f"{seen[-1]:.3f}"))
    rows.append(("mean over the families", "", f"{np.mean(left):.3f}", f"{np.mean(seen):.3f}"))
    return aligned(rows, right=(2, 3)), float(np.mean(left)), float(np.mean(seen))


def by_family(lines, measure="vus_pr"):
    """Return family -> series -> value of the lines of one CSV that have the measure."""
    found = {}
    for line in lines:
        if line.get(measure) not in (None, ""):
            found.setdefault(line["family"], {})[line["series"]] = float(line[measure])
    return found


def of_the_same(candidates):
    """Return the candidates with the series that all of them have."""
    names = [{series for own in families.values() for series in own} for families in candidates.values()]
    shared = set.intersection(*names)
    kept = {
        name: {f: {s: v for s, v in own.items() if s in shared} for f, own in families.items()}
        for name, families in candidates.items()
    }
    return {name: {f: own for f, own in families.items() if own} for name, families in kept.items()}
