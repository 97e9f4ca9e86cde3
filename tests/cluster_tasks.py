"""Tasks that the tests of a cluster send to its nodes; light, since each worker imports this file."""

import os
import threading
import time
from pathlib import Path

from anomaly.errors import DataError


def fault(task):
    """Double a number; other tasks say how to go wrong."""
    if task == "refuse":
        raise DataError("The rule. Received: refuse.")
    if task == "bug":
        raise ZeroDivisionError("by nothing")
    if task == "die":
        os._exit(7)
    if task == "unsendable":
        return threading.Lock()
    if task == "process":
        return os.getpid(), os.environ["OMP_NUM_THREADS"], os.environ["TF_NUM_INTRAOP_THREADS"]
    if task == "folder":
        return Path.cwd()
    return task * 2


def hang_on_one_node(task):
    """Score an input; the first time on the node that is to die, hold its output and do not come back.

    The other node waits until that has happened: where it is quick, it would have done all there is to do.
    """
    import ray

    from anomaly.fleet.scoring import score_one
    from anomaly.storage.writing import exclusive

    doomed, caught = (Path(task.folder).with_name(name) for name in ("doomed", "caught"))
    if ray.get_runtime_context().get_node_id() == doomed.read_text() and not caught.exists():
        with exclusive(Path(task.folder) / f"{task.name}.csv"):
            caught.write_text(task.name)
            time.sleep(600)
    end = time.monotonic() + 60
    while not caught.exists() and time.monotonic() < end:
        time.sleep(0.05)
    return score_one(task)


def note_and_sleep(path):
    """Say which process works, for as long as it does."""
    path.write_text(str(os.getpid()))
    time.sleep(600)
