"""Slow, obvious twins of the fast code: loops over definitions, to test against."""

import numpy as np


def window_starts(n_timesteps, window_size, stride):
    starts = []
    for start in range(n_timesteps):
        if start % stride == 0 and start + window_size <= n_timesteps:
            starts.append(start)
    last = n_timesteps - window_size
    if last >= 0 and last not in starts:
        starts.append(last)
    return starts


def segments(times, longest):
    found = []
    for row in range(len(times)):
        if row > 0 and 0 <= times[row] - times[row - 1] <= longest:
            found[-1] = (found[-1][0], row + 1)
        else:
            found.append((row, row + 1))
    return found


def read_and_spoken(window, max_missing):
    """Return what the network reads of one window, and the features that the window speaks about; none if it is not used."""
    window_size, n_features = window.shape
    read = window.copy()
    spoken = []
    for k in range(n_features):
        known = [t for t in range(window_size) if not np.isnan(window[t, k])]
        if window_size - len(known) <= max_missing * window_size:
            spoken.append(k)
        for t in range(window_size):
            if t not in known:
                earlier = [other for other in known if other < t]
                source = earlier[-1] if earlier else known[0] if known else None
                read[t, k] = 0 if source is None else window[source, k]
    return read, spoken if len(spoken) >= n_features / 2 else []


def scores(reconstruct, scaled, segment_list, window_size, aggregation, max_missing=0.2, units=(1.0, 1.0), n_judged=None):
    """Score each row by the definitions, `(n_timesteps, n_judged)` parts; NaN where nothing is known."""

    def errors(name):
        return aggregated_errors(reconstruct, scaled, segment_list, window_size, name, max_missing, n_judged)

    if aggregation == "combined":
        found = combined(errors("window_mean") / units[0], errors("point_mean") / units[1])
    else:
        found = errors(aggregation) / units[0]
    parts = np.full(found.shape, np.nan)
    for row in range(len(found)):
        roots = {k: u**0.5 for k, u in enumerate(found[row]) if not np.isnan(u)}
        for k, root in roots.items():
            parts[row, k] = root * sum(roots.values()) / len(roots)
    return parts


def combined(window, row):
    found = np.full(window.shape, np.nan)
    for place in np.ndindex(window.shape):
        terms = [(1.0, window[place]), (0.5, row[place])]
        terms = [(weight, value) for weight, value in terms if not np.isnan(value)]
        if terms:
            found[place] = sum(weight * value for weight, value in terms) / sum(weight for weight, _ in terms)
    return found


def with_missing_rows(times, values, row_step, longest):
    """Return times, values and whether each was given, with a row of NaN every `row_step` where rows are missing."""
    found = []
    for row, (time, value) in enumerate(zip(times, values, strict=True)):
        step = time - times[row - 1] if row else 0
        if row_step and 0 < step <= longest:
            found += [(times[row - 1] + k * row_step, np.full(len(value), np.nan), False) for k in range(1, round(step / row_step))]
        found.append((time, value, True))
    return [np.array(part) for part in zip(*found, strict=True)]


def aggregated_errors(reconstruct, scaled, segment_list, window_size, aggregation, max_missing, n_judged=None):
    """Aggregate errors of the first `n_judged` columns, by the definition; NaN where no window speaks about a value."""
    n_timesteps, n_features = len(scaled), n_judged or scaled.shape[1]
    by_feature = np.full((n_timesteps, n_features), np.nan)
    for first, stop in segment_list:
        errors = {}
        for start in range(first, stop - window_size + 1):
            window = scaled[start : start + window_size, :n_features]
            read, _ = read_and_spoken(scaled[start : start + window_size], max_missing)
            _, spoken = read_and_spoken(window, max_missing)
            error = (reconstruct(read[None])[:, :, :n_features].astype(np.float64) - window)[0] ** 2
            error[:, [k for k in range(n_features) if k not in spoken]] = np.nan
            errors[start] = error
        for row in range(first, stop):
            if all(np.isnan(scaled[row, :n_features])):
                continue
            for k in range(n_features):
                said = []
                for start in [start for start in errors if start <= row < start + window_size]:
                    known = [e for e in errors[start][:, k] if not np.isnan(e)]
                    ends_here = start + window_size - 1 == row
                    if not known:
                        continue
                    if aggregation == "window_mean":
                        said.append(sum(known) / len(known))
                    elif aggregation == "trailing" and ends_here:
                        known = [e for e in errors[start][window_size // 2 :, k] if not np.isnan(e)]
                        said.append(sum(known) / len(known) if known else np.nan)
                    elif aggregation == "point_mean" or (aggregation == "trailing_point" and ends_here):
                        said.append(errors[start][row - start, k])
                said = [e for e in said if not np.isnan(e)]
                if said:
                    by_feature[row, k] = np.mean(said)
    return by_feature


def events(flag_list, times, merge_gap, longest):
    """Return (start, stop) of runs of flags, merged over short gaps but never over a break in time."""
    runs = []
    for row, flagged in enumerate(flag_list):
        if not flagged:
            continue
        if runs:
            last = runs[-1][1] - 1
            no_break = all(0 <= times[i + 1] - times[i] <= longest for i in range(last, row))
            if row - last - 1 <= merge_gap and no_break:
                runs[-1] = (runs[-1][0], row + 1)
                continue
        runs.append((row, row + 1))
    return runs


def cut_off(rows, score, deviation):
    """Return the first and the last of flagged rows that deviate a fifth as much as the one that does most, or peak."""
    size = {row: sum(x * x for x in deviation[row] if x == x) ** 0.5 for row in rows}
    peak = max(rows, key=lambda row: (score[row], -row))
    kept = [row for row in rows if size[row] >= 0.2 * max(size.values()) or row == peak]
    return kept[0], kept[-1]


def parted(event, score, cut, deviation, halo):
    """Return the events of one merged run: a flagged row beyond the halo of the last one, 3 cuts high, begins another.

    So do the rows of the halo before one that deviates five times as much as all that lies farther before, where that was 3 cuts
    high, and no row up to there has cut it off.
    """
    found, rows, high = [], [], 0
    size = {row: sum(x * x for x in deviation[row] if x == x) ** 0.5 for row in range(*event)}
    for row in range(*event):
        if score[row] > cut:
            far = [other for other in rows if other < row - halo]
            if rows and row - max(cut_off(rows, score, deviation)[1], high) > halo and score[row] > 3 * cut:
                found, rows = [*found, rows], []
            elif far and max(score[other] for other in far) > 3 * cut:
                largest = max(size[other] for other in far)
                if 0.2 * size[row] > largest >= 0.2 * max(size[other] for other in rows):
                    found, rows = [*found, far], rows[len(far) :]
                    highest = [other for k, other in enumerate(rows) if score[other] >= 0.9 * max(score[x] for x in rows[: k + 1])]
                    high = highest[-1] if highest else row
            rows.append(row)
            high = row if score[row] >= 0.9 * max(score[other] for other in rows) else high
    return [(first, last + 1) for first, last in (cut_off(rows, score, deviation) for rows in [*found, rows])]


def unbroken(times, first, last, longest):
    return all(0 <= times[i + 1] - times[i] <= longest for i in range(first, last))


def raised_events(score, times, cut, rules):
    """Apply the event rules one by one, all but the direction."""
    found = events([value > cut for value in score], times, rules.merge_gap, rules.longest_step)
    high = rules.short_severity
    found = [
        (a, b)
        for a, b in found
        if b - a >= rules.min_length or (high is not None and max(x for x in score[a:b] if x == x) / high > cut)
    ]
    found = [(a, b) for a, b in found if max(value for value in score[a:b] if value == value) > rules.min_severity * cut]
    raised = []
    for number, (a, b) in enumerate(found):
        before = found[number - 1][1] if number else None
        if before is None or a - before > rules.cool_down or not unbroken(times, before - 1, a, rules.longest_step):
            raised.append((a, b))
    return raised


def conformal_cut(scores_list, alarm_rate):
    """Try every score as a cut, from the smallest; the largest if none is good enough."""
    n = len(scores_list)
    for cut in sorted(scores_list):
        if (sum(score > cut for score in scores_list) + 1) / (n + 1) <= alarm_rate + 1e-12:
            return cut
    return max(scores_list)


def quantile_cut(scores_list, alarm_rate):
    """Return the smallest score that at most this share of the scores exceeds."""
    for cut in sorted(scores_list):
        if sum(score > cut for score in scores_list) / len(scores_list) <= alarm_rate + 1e-12:
            return cut
    return max(scores_list)


def penalty(gradient, name, direction=None, tau=0.0, floor=0.0):
    """Return the penalty of one window's normalised gradient `(window_size, n_features)`, by loops."""
    n_timesteps, n_features = gradient.shape
    total = 0.0
    for t in range(n_timesteps):
        row = gradient[t]
        if name == "l2":
            total += sum(g * g for g in row) / n_features
        elif name == "l1":
            total += sum(abs(g) for g in row) / n_features
        elif name == "hinge":
            total += max(0.0, sum(abs(g) for g in row) / n_features - tau)
        elif name == "directional":
            d = direction if np.ndim(direction) == 1 else direction[t]
            norm_g = (sum(g * g for g in row) + floor**2) ** 0.5
            norm_d = sum(x * x for x in d) ** 0.5
            total += max(0.0, -sum(g * x for g, x in zip(row, d, strict=True)) / (norm_g * norm_d))
        else:
            raise KeyError(name)
    return total / n_timesteps


def windows(values, starts, window_size):
    return [[[values[start + j][k] for k in range(len(values[0]))] for j in range(window_size)] for start in starts]


def overlap_mean(n_timesteps, starts, errors):
    """Average over the windows what they say about each row; NaN for a row that none covers."""
    said = [[] for _ in range(n_timesteps)]
    for start, window in zip(starts, errors, strict=True):
        for offset, row in enumerate(window):
            said[start + offset].append(row)
    known = [[[row[k] for row in rows if row[k] == row[k]] for k in range(len(errors[0][0]))] for rows in said]
    return [[sum(values) / len(values) if values else float("nan") for values in row] for row in known]
