"""Tasks in processes: every task once, errors and deaths belong to their task, nothing outlives an interruption."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from anomaly.engines.pool import run
from anomaly.errors import AnomalyError, ConfigError, DataError, StorageError


def fault(task):
    """Double a number; other tasks say how to go wrong."""
    if task == "refuse":
        raise DataError("The rule. Received: refuse.")
    if task == "bug":
        raise ZeroDivisionError("by nothing")
    if task == "die":
        os._exit(7)
    if task == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "unsendable":
        return lambda: None
    if task == "process":
        return os.getpid(), os.environ.get("OMP_NUM_THREADS")
    return task * 2


def one_by_one(task):
    """Say when it was at work."""
    start = time.monotonic()
    time.sleep(0.2)
    return start, time.monotonic()


def touch_and_sleep(path):
    path.write_text(str(os.getpid()))
    try:
        time.sleep(600)
    finally:
        path.unlink()


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_task_comes_back_once_with_its_result_or_its_error(jobs):
    tasks = [*range(20), "refuse", *range(20, 30), "bug"]
    found = list(run(fault, tasks, jobs))
    assert sorted(str(task) for task, _ in found) == sorted(map(str, tasks))
    outcomes = dict(found)
    assert all(outcomes[n] == 2 * n for n in range(30))
    assert type(outcomes["refuse"]) is DataError and str(outcomes["refuse"]) == "The rule. Received: refuse."
    assert str(outcomes["bug"]) == "A task must end with a result. Received: ZeroDivisionError: by nothing. Please report this."
    assert outcomes["bug"].exit_code == 1


def test_a_dead_worker_is_an_error_of_its_task_only():
    found = dict(run(fault, [1, "die", 2, "killed", 3, 4, "unsendable"], 2))
    assert [found[n] for n in (1, 2, 3, 4)] == [2, 4, 6, 8]
    assert isinstance(found["die"], StorageError) and "with code 7. Look for a lack of memory" in str(found["die"])
    assert "with code -9." in str(found["killed"])
    assert isinstance(found["unsendable"], AnomalyError) and "Please report this" in str(found["unsendable"])


def test_workers_are_other_processes_of_one_thread_and_leave_the_environment_alone():
    before = dict(os.environ)
    pids = {outcome for _, outcome in run(fault, ["process"] * 6, 2)}
    assert {threads for _, threads in pids} == {"1"}
    assert os.getpid() not in {pid for pid, _ in pids} and len(pids) <= 2
    assert dict(os.environ) == before


def test_no_more_tasks_are_taken_ahead_than_there_are_jobs():
    taken = []

    def tasks():
        for n in range(12):
            taken.append(n)
            yield n

    for done, _ in enumerate(run(fault, tasks(), 2)):
        assert len(taken) <= done + 2


def test_tasks_overlap():
    spans = [outcome for _, outcome in run(one_by_one, range(6), 2)]
    assert any(a[0] < b[1] and b[0] < a[1] for i, a in enumerate(spans) for b in spans[:i])


def test_no_jobs_are_refused():
    with pytest.raises(ConfigError, match="`jobs` must be at least 1. Received: jobs=0"):
        list(run(fault, [1], 0))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_the_workers_and_lets_them_clean_up(tmp_path, number):
    code = (
        "import contextlib, pathlib, signal, sys; sys.path.insert(0, sys.argv[2])\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        "from anomaly.engines.pool import run; from test_pool import touch_and_sleep\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "with contextlib.closing(run(touch_and_sleep, [folder / 'a', folder / 'b'], 2)) as found: list(found)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path, os.path.dirname(__file__)], stderr=subprocess.PIPE) as process:
        pids = {}
        while len(pids) < 2:
            assert process.poll() is None, process.stderr.read()
            with contextlib.suppress(OSError, ValueError):
                pids = {path: int(path.read_text()) for path in tmp_path.iterdir()}
            time.sleep(0.02)
        process.send_signal(number)
        process.wait()
        process.stderr.read()
    assert process.returncode == (143 if number == signal.SIGTERM else -signal.SIGINT)
    assert list(tmp_path.iterdir()) == []
    for pid in pids.values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
