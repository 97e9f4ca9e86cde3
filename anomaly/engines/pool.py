"""Many tasks at once: a pool of processes, one task to each, results as they come.

Whatever runs tasks elsewhere has the interface of `run`: a task is never lost and never hangs, and what fails is an error of
that task alone.

Tried instead of what is below: loky 3.7 and `concurrent.futures` fail every task at hand and waiting when one
worker dies. Pebble 5.2.3 (LGPL) fails the one alone, but starts all workers at once, and a result that cannot be sent ends its
worker with a traceback on standard error.
"""

import contextlib
import importlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import ForkingPickler
from operator import attrgetter
from typing import Any, TypeVar

from anomaly.errors import AnomalyError, ConfigError, StorageError, out_of_memory
from anomaly.leaving import heeding_sigterm
from anomaly.quick_start import collect_seldom, quick_pandas

Task = TypeVar("Task")
Result = TypeVar("Result")
# What runs tasks as `run` does, with the number of jobs settled.
Executor = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[tuple[Any, Any]]]
# A worker that is told to end has so many seconds to remove its half-written files.
SECONDS_TO_END = 3.0
# Libraries that would otherwise take every core for each worker.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"
)


def run(work: Callable[[Task], Result], tasks: Iterable[Task], jobs: int) -> Iterator[tuple[Task, Result | AnomalyError]]:
    """Do the same work for each of many tasks; yield every task once with what came of it, as soon as that is known.

    One job works in this process, task by task. More are fresh processes of one thread each, every one with a task at a time,
    so that no more than `jobs` tasks are taken from `tasks` ahead of the results. Close the iterator to end them early.

    Args:
        work: a function of a module, so that another process finds it by its name.
        tasks: values that can be sent to another process.
        jobs: how many at once, from 1.

    Yields:
        The task, and the result or the error. An error of another kind than `AnomalyError` and the death of a worker come
        as an `AnomalyError` of the task at hand.

    Raises:
        ConfigError: if `jobs` is less than 1.
    """
    if jobs < 1:
        raise ConfigError(f"`jobs` must be at least 1. Received: jobs={jobs}. Use the number of cores, or 1.")
    if jobs == 1:
        for task in tasks:
            yield task, outcome_of(work, task)
        return
    pool = _Pool(work)
    try:
        waiting = iter(tasks)
        more = True
        while more or pool.busy:
            while more and len(pool.busy) < jobs:
                try:
                    task = next(waiting)
                except StopIteration:
                    more = False
                    break
                pool.give(task)
            if pool.busy:
                yield from pool.finished()
    finally:
        pool.end()


def here(work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[tuple[Task, Result | AnomalyError]]:
    """Do the tasks in this process, one after the other; see `run`."""
    return run(work, tasks, 1)


def outcome_of(work: Callable[[Task], Result], task: Task) -> Result | AnomalyError:
    """Do the work for a task; return what came of it, an error too."""
    try:
        return work(task)
    except AnomalyError as error:
        return error
    except MemoryError as error:
        return out_of_memory(error)
    except Exception as error:  # noqa: BLE001 - a bug in one task must not lose the others
        return unexpected(error, str(error))


def unexpected(error: BaseException, reason: str) -> AnomalyError:
    """Return the error of a task that a bug ended, with what the bug says in a line."""
    return AnomalyError(f"A task must end with a result. Received: {type(error).__name__}: {reason}. Please report this.")


class _Worker:
    """A process, the pipe to it, and the task it has."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
        self.pipe, other = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_serve, args=(work.__module__, work.__qualname__, other), daemon=True)
        with environment(ONE_THREAD), _interrupts_held_back():
            self.process.start()
        other.close()
        self.task: Any = None

    def outcome(self) -> Any:
        """Return what came of the task; a worker that died without a word, or with one that cannot be read, is an error of it."""
        with contextlib.suppress(EOFError, OSError):
            content = self.pipe.recv_bytes()
            return outcome_of(ForkingPickler.loads, content)
        self.process.join()
        return StorageError(
            f"A worker must live until its task is done. Received: the end of process {self.process.pid} with code "
            f"{self.process.exitcode}. Look for a lack of memory, and use fewer --jobs."
        )


class _Pool:
    """Workers, made when they are needed; a dead one is replaced."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self._work = work
        self._idle: list[_Worker] = []
        self.busy: list[_Worker] = []

    def give(self, task: Any) -> None:
        """Send a task to a worker."""
        self._idle = [worker for worker in self._idle if worker.process.exitcode is None]
        worker = self._idle.pop() if self._idle else _Worker(self._work)
        worker.task = task
        self.busy.append(worker)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it died: `outcome` will say so
            worker.pipe.send(task)

    def finished(self) -> Iterator[tuple[Any, Any]]:
        """Wait for at least one task; yield those that are done."""
        ready = wait([worker.pipe for worker in self.busy])
        for worker in [worker for worker in self.busy if worker.pipe in ready]:
            outcome = worker.outcome()
            self.busy.remove(worker)
            if worker.process.exitcode is None:
                self._idle.append(worker)
            yield worker.task, outcome

    def end(self) -> None:
        """End all processes: the idle ones by themselves, the others by a signal."""
        for worker in self._idle:
            worker.pipe.close()
        for worker in self.busy:
            worker.process.terminate()
        for worker in self._idle + self.busy:
            worker.process.join(SECONDS_TO_END)
            if worker.process.exitcode is None:
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()


def _serve(module: str, name: str, pipe: Connection) -> None:
    """Work in another process until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the first one ends the others
    with heeding_sigterm(), contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        collect_seldom()
        quick_pandas()
        work = attrgetter(name)(importlib.import_module(module))
        while True:
            content = pipe.recv_bytes()
            outcome = outcome_of(lambda given: work(ForkingPickler.loads(given)), content)
            try:
                answer = ForkingPickler.dumps(outcome)
            except Exception as error:  # noqa: BLE001 - whatever it is, the outcome cannot be sent
                answer = ForkingPickler.dumps(unexpected(error, str(error)))
            pipe.send_bytes(answer)


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block: a process that is started in it would else show a traceback until it is set up."""
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
        yield
        return
    resource_tracker.ensure_running()  # which would lift the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Have environment variables with these values while the block runs."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
