"""Which windows of a history later ones are compared with, those that were held out of the training among them.

Half of them lie evenly. Each further one is that of some thousand which is the farthest from all that are kept so
far: so what is rare in a history, a holiday or the one fast turn of a machine, has its likes among them, and what comes a hundred
times is not kept a hundred times. As many windows that all lie evenly found less (scripts/benchmarks/README.md).

What is unlike all the rest is set aside before: else it would be kept first of all.
"""

import numpy as np

from anomaly.config import WindowConfig
from anomaly.fitting.held_out_aside import Taken, set_aside
from anomaly.fitting.set_aside import SetAside, TrainingWindows
from anomaly.network.inference import Reconstruct
from anomaly.scoring.references import FORMS, References, most_windows, steps_of
from anomaly.series import Bools, Ints

# Of so many windows some are kept; of fewer, where they have more numbers than that: 16 MiB.
_MOST_CANDIDATES, _MOST_NUMBERS = 8_192, 1 << 21
# Of many features fewer are kept, at least the second number, so that they have so many in all, flat ones left out: what many
# features say together is as steady with few windows of each (scripts/benchmarks/README.md).
_MOST_IN_ALL, _FEWEST = 4_096, 128


def kept_windows(
    windows: TrainingWindows, settings: WindowConfig, sizes: tuple[int, ...], step: int, reconstruct: Reconstruct
) -> tuple[list[tuple[References, Ints]], SetAside]:
    """Return by form the windows that are kept and where they begin, and which rows are set aside.

    Args:
        windows: of the history.
        settings: how many are kept, and whether some are set aside.
        sizes: rows in a window, by form.
        step: time between two rows.
        reconstruct: the network.

    Returns:
        For each of `FORMS` the references and, `(n_windows,)`, the rows at which they begin; and what is set aside.
    """
    even, late = (
        [
            Taken(*References.of(form, windows.judged, starts, size, settings.nearest_windows))
            for form, size in zip(FORMS, sizes, strict=True)
        ]
        for starts in (windows.starts, windows.held_out)
    )
    left, late_left, aside = even, late, SetAside()
    if settings.set_aside == "auto":
        left, late_left, aside = set_aside(even, late, [size * step for size in sizes], windows, reconstruct)
    of_forms = zip(zip(even, left, strict=True), zip(late, late_left, strict=True), strict=True)
    return [_spread(windows, trained, held_out, settings.nearest_windows) for trained, held_out in of_forms], aside


def _spread(
    windows: TrainingWindows, trained: tuple[Taken, Taken], held_out: tuple[Taken, Taken], most: int
) -> tuple[References, Ints]:
    """Return windows of which half lie evenly and the others are the farthest.

    Args:
        windows: of the history.
        trained: training windows that lie evenly, and those of them that are not set aside.
        held_out: the same of held-out windows.
        most: so many at most.
    """
    references, n_features = trained[0].references, windows.judged.shape[1]
    form, size = references.form, references.window_size
    most = min(most, most_windows(size, n_features))
    starts = np.sort(np.concatenate([windows.starts, windows.held_out]))
    n = min(len(starts), max(most, min(_MOST_CANDIDATES, _MOST_NUMBERS // (steps_of(size) * n_features))))
    starts = starts[np.linspace(0, len(starts) - 1, n).astype(np.int64)]
    late = (starts >= windows.n_rows) & (starts < windows.stop)
    starts = starts[np.where(late, _stays(starts, *held_out), (starts >= windows.stop) | _stays(starts, *trained))]
    candidates = References.at(form, windows.judged, starts, size)
    most = min(most, max(_FEWEST, int(_MOST_IN_ALL / max(candidates.n_varying, 1))))
    places = candidates.farthest(np.unique(np.linspace(0, len(starts) - 1, max(most // 2, 1)).astype(np.int64)), most)
    return candidates.only(places), starts[places]


def _stays(starts: Ints, evenly: Taken, left: Taken) -> Bools:
    """Tell which windows stay, `(n,)`: a window goes where the one next to it, of those that lie evenly, was set aside."""
    if not len(evenly.starts):
        return np.ones(len(starts), np.bool_)
    next_to = np.searchsorted((evenly.starts[1:] + evenly.starts[:-1]) / 2, starts)
    return np.asarray(np.isin(evenly.starts, left.starts)[next_to])
