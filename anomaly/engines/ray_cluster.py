"""Many tasks on the nodes of a Ray cluster, or of one that is started on this machine for the time of a run.

Ray does the scheduling: a task goes to a node with a free CPU, and to another one if its node dies. We only keep the number of
tasks low that are under way, and give each its result or its error. The worker processes stay, so that what a task has loaded
is there for the next one.

Each node needs this package in the same version and sees the same files under the same paths, as far as there are files: where
all is in an object store, each node needs to reach that one.
"""

import contextlib
import io
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from anomaly import __version__
from anomaly.engines.pool import ONE_THREAD, Executor, environment, outcome_of, unexpected
from anomaly.errors import AnomalyError, ConfigError, OccupiedError, StorageError
from anomaly.extras import lacking

SECONDS_TO_CONNECT = 10
# A task whose worker or node has died so many times and once more is an error: it may be what kills them.
MOST_RETRIES = 3
# A node that is given up may write for a moment longer.
_SECONDS_TO_LET_GO, _PAUSE = 30.0, 0.5
_OBJECT_STORE_BYTES = 256 << 20
_LONGEST_LINE = 300
# Read by Ray when it is imported or connects.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # leaves accelerators as they are, and out a warning that it will
}
# Ray's workers give way to every other process (niceness 15) unless told otherwise: on a busy machine they hardly run. A cluster of
# one's own is a pool of processes like the other engine's.
_AS_OTHER_PROCESSES = {"RAY_worker_niceness": "0"}
# Without these a wrong address is tried for ten minutes.
_IMPATIENT = {
    "RAY_gcs_server_port_wait_time_s": "1",
    "RAY_py_gcs_connect_timeout_s": "5",
    "RAY_gcs_rpc_server_connect_timeout_s": "2",
}


@contextlib.contextmanager
def connected(address: str | None, jobs: int | None = None, *, shared_folder: bool = True) -> Iterator[Executor]:
    """Yield what runs tasks on a cluster, as `executors.run` does here.

    Nothing may be written to standard output in the block.

    Args:
        address: HOST:PORT of the cluster's head node, or "auto" for the cluster that this machine is part of; None starts
            one on this machine, which ends with the block.
        jobs: how many tasks at once, from 1; None is one for each CPU that there is at the time.
        shared_folder: whether tasks work in the folder at hand, which each node must see then.

    Raises:
        ConfigError: if Ray is not installed, or the address has another form.
        StorageError: if the cluster does not answer.
    """
    settings = _IMPATIENT if address is not None else {k: v for k, v in _AS_OTHER_PROCESSES.items() if k not in os.environ}
    with environment(_QUIET | settings):
        ray = _imported()
        _refuse_silent(address)
        try:
            with contextlib.redirect_stdout(_FirstLines()):
                _start(ray, address, jobs)
                yield partial(_run, ray, jobs, shared_folder)
        finally:
            ray.shutdown()


def _start(ray: Any, address: str | None, jobs: int | None) -> None:
    options: dict[str, Any] = {"address": address}
    if address is None:  # without a word Ray would join a cluster that runs here
        options = {"address": "local", "num_cpus": jobs, "include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
    one_thread = {"env_vars": ONE_THREAD}
    try:
        # Ray lets every worker import from the folder at hand, whatever lies there: it is to be this package's.
        with _same_signals(), contextlib.chdir(Path(__file__).parents[2]):
            ray.init(**options, log_to_driver=False, logging_level="FATAL", runtime_env=one_thread)
    except Exception as error:  # whatever it is, there is no cluster to work on
        raise _no_answer(address, error) from error


def _run(
    ray: Any, jobs: int | None, shared_folder: bool, work: Callable[[Any], Any], tasks: Iterable[Any]
) -> Iterator[tuple[Any, Any]]:
    folder = str(Path.cwd()) if shared_folder else None
    remote = ray.remote(_work).options(num_cpus=1, max_retries=MOST_RETRIES)
    under_way: dict[Any, Any] = {}
    waiting = iter(tasks)
    more = True
    try:
        while more or under_way:
            most = jobs or max(1, int(ray.cluster_resources().get("CPU", 1)))  # nodes come and go
            while more and len(under_way) < most:
                try:
                    task = next(waiting)
                except StopIteration:
                    more = False
                    break
                under_way[remote.remote(__version__, folder, work, task)] = task
            if under_way:
                for done in ray.wait(list(under_way))[0]:
                    yield under_way.pop(done), _received(ray, done)
    finally:
        for left in under_way:
            ray.cancel(left, force=True)


def _work(version: str, folder: str | None, work: Callable[[Any], Any], task: Any) -> Any:
    """Do a task on some node, in the folder that its paths are relative to, if there are such."""
    if version != __version__:
        return ConfigError(
            f"Each node of a cluster must have the same version of anomaly. Received: {__version__} ({socket.gethostname()}) "
            f"beside {version}. Install anomaly=={version} there."
        )
    try:
        if folder is not None:
            os.chdir(folder)
    except OSError as error:
        return StorageError(
            f"Each node of a cluster must see the same folders. Received: {folder} ({error.strerror}, {socket.gethostname()}). "
            "Work in a folder that all nodes share."
        )
    end = time.monotonic() + _SECONDS_TO_LET_GO
    while isinstance(outcome := outcome_of(work, task), OccupiedError) and time.monotonic() < end:
        time.sleep(_PAUSE)
    return outcome


def _received(ray: Any, done: Any) -> Any:
    try:
        return ray.get(done)
    except ray.exceptions.RayError as error:
        cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
        # What Ray raises in the name of a task that it could not even begin has no class of its own.
        if not isinstance(cause, ray.exceptions.RayError) and "failed to import" not in str(cause):
            return unexpected(cause, _brief(cause))
        return StorageError(
            f"A task must end on one of {MOST_RETRIES + 1} tries on the cluster. Received: {type(cause).__name__}: "
            f"{_brief(cause)}. Look for nodes that die, lack memory or lack this version of this package."
        )


def _imported() -> Any:
    try:
        import ray
    except ImportError as error:
        raise lacking("The engine ray", "cluster", "--engine ray") from error
    return ray


def _refuse_silent(address: str | None) -> None:
    """Refuse an address where nothing listens before Ray tries it for long."""
    if address in (None, "auto"):
        return
    host, _, port = str(address).rpartition(":")
    if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(
            f"The address of a Ray cluster must be HOST:PORT or auto. Received: {address}. `ray status` on its head node names it; "
            "run this command on a node of the cluster."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS_TO_CONNECT).close()
    except OSError as error:
        raise _no_answer(address, error) from error


def _no_answer(address: str | None, error: Exception) -> AnomalyError:
    received = "no Ray on this machine" if address is None else address
    return StorageError(
        f"A Ray cluster must answer within {SECONDS_TO_CONNECT} seconds. Received: {received} ({_brief(error)}). "
        "Check the address with `ray status`, and run this command on a node of the cluster, with its version of Ray and Python."
    )


def _brief(error: BaseException) -> str:
    """Return the first line of a message: Ray adds pages of advice."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].strip().rstrip(".")[:_LONGEST_LINE]


class _FirstLines(io.TextIOBase):
    """Standard output for Ray, which reports there in pages: the first line of each goes to standard error."""

    def write(self, text: str) -> int:
        first = re.sub(r"\x1b\[[0-9;]*m", "", text).strip().partition("\n")[0]
        if first:
            sys.stderr.write(f"{first[:_LONGEST_LINE]}\n")
        return len(text)


@contextlib.contextmanager
def _same_signals() -> Iterator[None]:
    """Keep our answer to SIGTERM, which removes what is half written; Ray puts its own in place."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # only the main thread may set it, and only there Ray does
            signal.signal(signal.SIGTERM, before)
