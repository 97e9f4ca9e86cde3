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


def segments(times, usable, longest):
    found, current = [], None
    for row in range(len(times)):
        broken = row > 0 and not 0 <= times[row] - times[row - 1] <= longest
        if current is not None and (broken or not usable[row]):
            found.append((current, row))
            current = None
        if usable[row] and current is None:
            current = row
    if current is not None:
        found.append((current, len(times)))
    return found


def scores(reconstruct, scaled, segment_list, window_size, aggregation):
    """Score each row by the definition of its aggregation; NaN where no window speaks about it."""
    n_timesteps, n_features = scaled.shape
    by_feature = np.full((n_timesteps, n_features), np.nan)
    for first, stop in segment_list:
        errors = {}
        for start in range(first, stop - window_size + 1):
            window = scaled[None, start : start + window_size]
            errors[start] = (reconstruct(window).astype(np.float64) - window)[0] ** 2
        for row in range(first, stop):
            covering = [start for start in errors if start <= row < start + window_size]
            said = []
            for start in covering:
                ends_here = start + window_size - 1 == row
                if aggregation == "window_mean" or (aggregation == "trailing" and ends_here):
                    said.append(errors[start].mean(axis=0))
                elif aggregation == "point_mean" or (aggregation == "trailing_point" and ends_here):
                    said.append(errors[start][row - start])
            if said:
                by_feature[row] = np.mean(said, axis=0)
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


def unbroken(times, first, last, longest):
    return all(0 <= times[i + 1] - times[i] <= longest for i in range(first, last))


def raised_events(score, times, cut, rules):
    """Apply the event rules one by one, all but the direction."""
    found = events([value > cut for value in score], times, rules.merge_gap, rules.longest_step)
    found = [(a, b) for a, b in found if b - a >= rules.min_length]
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
    return total / n_timesteps


def windows(values, starts, window_size):
    return [[[values[start + j][k] for k in range(len(values[0]))] for j in range(window_size)] for start in starts]


def overlap_mean(n_timesteps, starts, errors):
    """Average over the windows what they say about each row; NaN for a row that none covers."""
    said = [[] for _ in range(n_timesteps)]
    for start, window in zip(starts, errors, strict=True):
        for offset, row in enumerate(window):
            said[start + offset].append(row)
    n_features = len(errors[0][0])
    return [[sum(row[k] for row in rows) / len(rows) if rows else float("nan") for k in range(n_features)] for rows in said]
