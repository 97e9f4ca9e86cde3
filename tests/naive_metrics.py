"""Slow, obvious twins of the metrics: loops over definitions, to test against."""

import math
from itertools import pairwise

import numpy as np


def runs(flags):
    """Return the half-open runs of non-zero entries."""
    found, start = [], None
    for row, flag in enumerate([*flags, 0]):
        if flag and start is None:
            start = row
        if not flag and start is not None:
            found.append((start, row))
            start = None
    return found


def widened_labels(labels, events, width):
    """Return the sloped label of each row: the sum over the events, at most 1."""
    sloped = []
    for row, label in enumerate(labels):
        total = float(label)
        for start, stop in events:
            distance = max(start - row, row - (stop - 1))
            if 0 < distance <= width // 2:
                total += math.sqrt(1 - distance / width)
        sloped.append(min(total, 1.0))
    return sloped


def zones(events, width, n):
    """Return the inclusive ranges of the widened events; those that overlap or share an end are one."""
    half, found = width // 2, []
    for start, stop in events:
        first, last = max(start - half, 0), min(stop - 1 + half, n - 1)
        if found and events and first <= found[-1][1]:
            found[-1] = (found[-1][0], last)
        else:
            found.append((first, last))
    return found


def volume_under_surface(labels, score, buffer, n_thresholds=250):
    """Return (VUS-PR, VUS-ROC), a threshold and a buffer at a time."""
    n, positives, events = len(score), sum(labels), runs(labels)
    descending = sorted(score, reverse=True)
    ranks = [int(x) for x in np.linspace(0, n - 1, n_thresholds)]
    pr_areas, roc_areas = [], []
    for width in range(buffer + 1):
        sloped, joined = widened_labels(labels, events, width), zones(events, width, n)
        points, precisions = [(0.0, 0.0)], []
        for rank in ranks:
            flags = [x >= descending[rank] for x in score]
            counted = sum(s for s, flag in zip(sloped, flags, strict=True) if flag)
            beside = sum(s for s, flag, label in zip(sloped, flags, labels, strict=True) if flag and not label)
            expected = positives + beside / 2
            existence = sum(any(flags[a : b + 1]) for a, b in joined) / len(joined)
            points.append(((sum(flags) - counted) / (n - expected), min(counted / expected, 1) * existence))
            precisions.append(counted / sum(flags))
        pr_areas.append(sum((b[1] - a[1]) * p for (a, b), p in zip(pairwise(points), precisions, strict=True)))
        points.append((1.0, 1.0))
        roc_areas.append(sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(points)))
    return sum(pr_areas) / len(pr_areas), sum(roc_areas) / len(roc_areas)


def average_precision(labels, score):
    total, recall = 0.0, 0.0
    for cut in sorted(set(score), reverse=True):
        flagged = [label for label, x in zip(labels, score, strict=True) if x >= cut]
        total += (sum(flagged) / sum(labels) - recall) * sum(flagged) / len(flagged)
        recall = sum(flagged) / sum(labels)
    return total


def roc_auc(labels, score):
    """Compare every labelled row with every other."""
    high = [x for label, x in zip(labels, score, strict=True) if label]
    low = [x for label, x in zip(labels, score, strict=True) if not label]
    return sum((a > b) + (a == b) / 2 for a in high for b in low) / (len(high) * len(low))


def overlap(a, b):
    return bool(set(range(*a)) & set(range(*b)))


def event_counts(found, known):
    """Return (known events hit, found events that are false)."""
    n_hit = sum(any(overlap(k, f) for f in found) for k in known)
    return n_hit, sum(not any(overlap(f, k) for k in known) for f in found)


def adjusted(flags, labels):
    """Flag every row of an event of which one row is flagged."""
    result = [bool(flag) for flag in flags]
    for start, stop in runs(labels):
        if any(result[start:stop]):
            result[start:stop] = [True] * (stop - start)
    return result


def f1(flags, labels):
    both = sum(bool(flag) and bool(label) for flag, label in zip(flags, labels, strict=True))
    return 2 * both / (sum(map(bool, flags)) + sum(labels))


def delays(flags, known):
    found = []
    for start, stop in known:
        inside = [row - start for row in range(start, stop) if flags[row]]
        found.append(inside[0] if inside else math.nan)
    return found


def affiliation(found, known, n_rows, parts=64):
    """Return (precision, recall) by a fine grid: the share of the points of a zone that do no better, point by point.

    A grid of `parts` points a row stands for the integral, so this is near and not equal.
    """
    grid = (np.arange(n_rows * parts) + 0.5) / parts
    precisions, recalls = [], []
    for j, (start, stop) in enumerate(known):
        low = (known[j - 1][1] + start) / 2 if j else 0
        high = (stop + known[j + 1][0]) / 2 if j + 1 < len(known) else n_rows
        zone = grid[(grid > low) & (grid < high)]
        in_found = zone[[any(a < x < b for a, b in found) for x in zone]]
        in_known = zone[(zone > start) & (zone < stop)]
        to_known = distances_to_range(zone, start, stop)
        if len(in_found):
            own = distances_to_range(in_found, start, stop)
            precisions.append(np.mean([1.0 if d == 0 else np.mean(to_known > d) for d in own]))
        recalls.append(np.mean([recall_at(y, zone, in_found, parts) for y in in_known]))
    return (np.mean(precisions) if precisions else math.nan), np.mean(recalls)


def distances_to_range(points, start, stop):
    return np.maximum(np.maximum(start - points, points - stop), 0)


def recall_at(point, zone, in_found, parts):
    """Return the share of the zone that is farther from the point than what was found."""
    if not len(in_found):
        return 0.0
    distance = np.abs(in_found - point).min() - 0.5 / parts  # a grid point is the middle of its piece
    return 1.0 if distance <= 0 else np.mean(np.abs(zone - point) > distance)


def sub_pca(feature, window_size):
    """Return the Sub-PCA scores of the windows of one feature by scikit-learn's PCA, before they are standardised."""
    from sklearn.decomposition import PCA

    windows = np.array([feature[i : i + window_size] for i in range(len(feature) - window_size + 1)])
    windows = (windows - windows.mean(axis=0)) / windows.std(axis=0)
    fitted = PCA(svd_solver="full").fit(windows)
    scores = []
    for window in windows:
        distances = [np.linalg.norm(window - axis) for axis in fitted.components_]
        scores.append(sum(d / share for d, share in zip(distances, fitted.explained_variance_ratio_, strict=True)))
    return np.array(scores)
