"""What the lines of penalty.py come to: each configuration against none, in pairs of the same series and seed."""

import numpy as np

from anomaly.report.tables import aligned

PANELS = {
    "passed": "share of the error passed back to the input, ratio",
    "loss": "held-out loss, ratio",
    "vus_pr": "VUS-PR, difference",
    "hiding": "change that hides an event, median ratio",
    "flips_5": "flags changed by 5 % noise, ratio",
}
COLOURS = {"l2": "#2a6fbb", "l1": "#c8362f", "hinge": "#3a8f4d", "directional": "#8b5fbf"}
RATIOS = ("held_out_loss", "passed", "ms_per_step")


def number(line, name):
    """Return a measure of a line; NaN if it has none."""
    return float(line[name]) if line.get(name) else float("nan")


def pairs(lines, name):
    """Return the lines of a configuration, each with the line without a penalty on the same series with the same seed."""
    plain = {(line["series"], line["seed"]): line for line in lines if line["configuration"] == "none"}
    own = [line for line in lines if line["configuration"] == name and (line["series"], line["seed"]) in plain]
    return [(line, plain[line["series"], line["seed"]]) for line in own]


def sizes_of(line, measure):
    """Return event -> size of the change that hides it."""
    sizes = {start: float(size) for start, size in (part.split(":") for part in line[measure].split(";") if part)}
    return {start: size for start, size in sizes.items() if np.isfinite(size)}


def hiding_ratios(found, measure="hiding"):
    """Return the sizes of hiding changes over those without a penalty, one for each event that either of the two detects."""
    both = [(sizes_of(own, measure), sizes_of(plain, measure)) for own, plain in found]
    sizes = [(own[start], plain[start]) for own, plain in both for start in own.keys() & plain.keys()]
    return np.array([own / plain if plain else np.inf for own, plain in sizes if own or plain])


def by_series(found, difference):
    """Return the mean difference over seeds for each series: the seeds of one series are not independent of each other."""
    groups = {}
    for own, plain in found:
        groups.setdefault(own["series"], []).append(difference(own, plain))
    return np.array([np.mean(values) for values in groups.values()])


def mean_and_error(values):
    """Return the mean and its standard error."""
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def ratio_of_totals(found, above, below):
    """Return the ratio of two sums over all runs, and its standard error by leaving out a series at a time (jackknife)."""
    sides = (lambda own, plain: number(own, above)), (lambda own, plain: number(plain, below))
    totals = np.stack([by_series(found, side) for side in sides])
    rest = totals.sum(axis=1, keepdims=True) - totals
    left = rest[0] / np.maximum(rest[1], 1e-12)
    n = totals.shape[1]
    return float(totals[0].sum() / max(totals[1].sum(), 1e-12)), float(np.sqrt((n - 1) / n * np.square(left - left.mean()).sum()))


def effects(lines, name):
    """Return what a configuration does against none: measure -> (value, standard error over the series).

    Means of differences for VUS-PR, of logarithms of ratios for `RATIOS`; ratios of totals for flips, `own` being the flips of a
    network that takes no notice of the noise over all flips of none; for hiding the median ratio and the number of events.
    """
    found = pairs(lines, name)
    result = {"vus_pr": mean_and_error(by_series(found, lambda own, plain: number(own, "vus_pr") - number(plain, "vus_pr")))}
    for measure in RATIOS:
        logs = by_series(found, lambda own, plain, m=measure: np.log(number(own, m) / number(plain, m)))
        result[measure.removeprefix("held_out_")] = mean_and_error(logs)
    for percent in ("2", "5", "10"):
        result[f"flips_{percent}"] = ratio_of_totals(found, f"flips_{percent}", f"flips_{percent}")
        result[f"own_{percent}"] = ratio_of_totals(found, f"own_{percent}", f"flips_{percent}")
    for measure in ("hiding", "hiding_linear"):
        ratios = hiding_ratios(found, measure)
        result[measure] = float(np.median(ratios)) if len(ratios) else float("nan"), len(ratios)
    return result | {"runs": (len(found), float("nan"))}


def spread_over_seeds(lines, name):
    """Return the mean over the series of the standard deviation of VUS-PR over the seeds."""
    groups = {}
    for line in lines:
        if line["configuration"] == name:
            groups.setdefault(line["series"], []).append(number(line, "vus_pr"))
    spreads = [np.std(values, ddof=1) for values in groups.values() if len(values) > 1]
    return float(np.mean(spreads)) if spreads else float("nan")


def summary(lines):
    """Return the table: each configuration against none, standard errors over the series in brackets."""
    head = ("configuration", "runs", "VUS-PR", "loss", "passed", "flips 2 %", "5 %", "10 %", "own 5 %", "own 10 %")
    table = [(*head, "hiding", "linear", "seeds", "ms")]
    for name in dict.fromkeys(line["configuration"] for line in lines):
        found = effects(lines, name)
        value = {measure: pair[0] for measure, pair in found.items()}
        cells = [name, f"{value['runs']}", f"{value['vus_pr']:+.3f} ({found['vus_pr'][1]:.3f})"]
        cells += [f"x {np.exp(value[measure]):.2f} ({found[measure][1]:.2f})" for measure in ("loss", "passed")]
        cells += [f"x {value[f'flips_{p}']:.2f} ({found[f'flips_{p}'][1]:.2f})" for p in ("2", "5", "10")]
        cells += [f"x {value[f'own_{p}']:.2f}" for p in ("5", "10")]
        cells += [f"x {value['hiding']:.2f} of {found['hiding'][1]}", f"x {value['hiding_linear']:.2f}"]
        table.append((*cells, f"{spread_over_seeds(lines, name):.3f}", f"x {np.exp(value['ms_per_step']):.1f}"))
    plain = [line for line in lines if line["configuration"] == "none"]
    flips = ", ".join(f"{np.mean([number(line, f'flips_{p}') for line in plain]):.2%}" for p in ("2", "5", "10"))
    said = f"none: VUS-PR {np.mean([number(line, 'vus_pr') for line in plain]):.3f}, flips {flips}\n"
    return aligned(table, right=tuple(range(1, len(table[0])))) + said


def draw(lines, path):
    """Draw what each form does by its weight, and the rivals beside it; bars are standard errors over the series."""
    from matplotlib.figure import Figure

    names = [name for name in dict.fromkeys(line["configuration"] for line in lines) if name != "none"]
    found = {name: effects(lines, name) for name in names}
    figure = Figure(figsize=(13, 6.6), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    for axis, (measure, title) in zip(axes, PANELS.items(), strict=False):
        _draw_effect(axis, found, measure)
        axis.set_title(title, fontsize=10)
    axes[0].legend(frameon=False, fontsize=8)
    _draw_gain(axes[-1], lines)
    runs = f"{len({line['series'] for line in lines})} series, {len({line['seed'] for line in lines})} seed(s)"
    said = "Against no penalty on the same series with the same seed"
    figure.suptitle(f"{said} ({runs}): by weight, cheaper rivals on the right", fontsize=11)
    figure.savefig(path, dpi=110)


def _draw_effect(axis, found, measure):
    forms = {form: [name for name in found if name.split()[0] == form] for form in COLOURS}
    rivals = [name for name in found if name.split()[0] not in COLOURS]
    for form, own in forms.items():
        points = sorted((float(name.split()[1]), *_point(found[name][measure], measure)) for name in own)
        if points:
            x, y, below, above = np.array(points).T
            axis.errorbar(x, y, (below, above), label=form, color=COLOURS[form], marker="o", ms=4, lw=1.4, capsize=2)
    places = 4 * 2.2 ** np.arange(len(rivals))
    for place, name in zip(places, rivals, strict=True):
        y, below, above = _point(found[name][measure], measure)
        axis.errorbar(place, y, [[below], [above]], color="#555555", marker="D", ms=4, capsize=2)
    weights = sorted({float(name.split()[1]) for own in forms.values() for name in own})
    if measure == "flips_5":
        x = [*(float(name.split()[1]) for own in forms.values() for name in own), *places]
        own = [found[name]["own_5"][0] for name in [*(name for own in forms.values() for name in own), *rivals]]
        (crosses,) = axis.plot(x, own, "x", color="black", ms=7, label="the noise's own part", zorder=3)
        axis.legend(handles=[crosses], frameon=False, fontsize=8, loc="upper left")
    axis.axhline(0 if measure == "vus_pr" else 1, color="black", lw=0.8)
    axis.axvline(2.2, color="#bbbbbb", lw=0.8, ls=":")
    axis.set_xscale("log")
    axis.set_yscale("log" if measure == "passed" else "linear")
    axis.set_xticks([*weights, *places], [*(f"{weight:g}" for weight in weights), *rivals], rotation=50, fontsize=8)
    axis.minorticks_off()


def _draw_gain(axis, lines):
    """Draw the gain in hiding by what there is to gain: how much of the slope of a score is the network's, without a penalty."""
    for name, colour in (("l2 0.01", "#9cc3ea"), ("l2 0.1", COLOURS["l2"])):
        found = [(own, plain) for own, plain in pairs(lines, name) if plain["through"]]
        points = [(number(pair[1], "through"), ratio) for pair in found for ratio in hiding_ratios([pair])]
        points = [(x, y) for x, y in points if np.isfinite(y)]
        if points:
            axis.plot(*np.array(points).T, "o", color=colour, ms=5, label=name)
    axis.axhline(1, color="black", lw=0.8)
    axis.set_xlabel("slope of the score / slope with the reconstruction held, without a penalty", fontsize=8)
    axis.set_title("change that hides an event, ratio, each event", fontsize=10)
    axis.set_xscale("log")
    axis.minorticks_off()
    ticks = [tick for tick in (1, 1.2, 1.5, 2, 3, 5, 8, 12) if tick < 1.2 * axis.get_xlim()[1]]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.legend(frameon=False, fontsize=8)


def _point(effect, measure):
    """Return a value and the lengths of its error bars: one standard error, of the logarithm where the value is a mean of those."""
    value, error = effect
    error = 0.0 if measure == "hiding" or not np.isfinite(error) else error
    if measure in ("passed", "loss"):
        return np.exp(value), np.exp(value) - np.exp(value - error), np.exp(value + error) - np.exp(value)
    return value, error, error
