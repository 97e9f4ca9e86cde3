"""Some points of many, so that none of the others is far from all of them."""

import numpy as np

from anomaly.series import Floats, Ints


def farthest_points(grid: Floats, first: Ints, most: int) -> Ints:
    """Return some points and, one after the other, that which is the farthest from all before it, `(n,)`, ascending.

    So no point is more than twice as far from those as some point must be, whichever are chosen beside the first ones (Gonzalez
    (1985), "Clustering to minimize the maximum intercluster distance", Theoretical Computer Science 38, whose proof holds for
    given first points too). Of several points that are as far it is the first one.

    The square of a distance is the sum over the features of its square in each, in units of the feature's variance about its mean
    point. Squares of whole numbers are exact, so that every processor finds the same points.

    Args:
        grid: `(n_features, n_points, n_steps)`, whole numbers whose squares add up to less than 2^53.
        first: points that are returned, `(n_first,)`, no point twice, at least one and at most `most`.
        most: so many are returned; fewer where all others are the same as one of them.
    """
    squares, weights = np.square(grid).sum(axis=2), _weights(grid)[:, None]
    nearest, chosen = np.full(grid.shape[1], np.inf), list(first)
    for k in range(most):
        if k >= len(first):
            farthest = int(nearest.argmax())
            if nearest[farthest] == 0:
                break
            chosen.append(farthest)
        own = grid[:, chosen[k]]
        between = squares + squares[:, chosen[k], None] - 2 * np.einsum("fps,fs->fp", grid, own)
        np.minimum(nearest, (weights * between).sum(axis=0), out=nearest)
    return np.sort(np.array(chosen, np.int64))


def _weights(grid: Floats) -> Floats:
    """Return one over the variance of each feature about its mean point; 0 where all its points are the same."""
    variance = (np.square(grid).sum(axis=1) - np.square(grid.sum(axis=1)) / grid.shape[1]).sum(axis=1)
    several = (grid != grid[:, :1]).any(axis=(1, 2)) & (variance > 0)
    found: Floats = np.divide(float(grid.shape[1]), variance, out=np.zeros(len(grid)), where=several)
    return found
