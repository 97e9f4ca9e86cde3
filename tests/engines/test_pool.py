"""Tasks in processes: every task once, errors and deaths belong to their task, nothing outlives an interruption."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from heeding import deaf_to_interrupts, heeding
from pool_tasks import lose_a_signal, meet

from anomaly.engines.pool import here, run
from anomaly.errors import AnomalyError, ConfigError, DataError, SeveralSeriesError, StorageError

TESTS = Path(__file__).parents[1]


class Unreadable:
    """Can be sent and not be received."""

    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        return _raised, (self.error,)


def _raised(error):
    raise error


class Unwritable:
    """Cannot be sent."""

    def __reduce__(self):
        raise ValueError("not to be sent")


def endless():
    """Return what is nested too deep to be sent."""
    found = []
    for _ in range(100_000):
        found = [found]
    return found


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
    if task == "unwritable":
        return Unwritable()
    if task == "endless":
        return endless()
    if task == "several":
        raise SeveralSeriesError("With an option.", "Alone.")
    if task == "unreadable":
        return Unreadable(TypeError("no such thing"))
    if task == "unreadable file":
        return Unreadable(OSError("no such file"))
    if task == "process":
        return os.getpid(), os.environ.get("OMP_NUM_THREADS")
    return task * 2


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


def test_what_cannot_be_sent_or_received_is_an_error_of_its_task_only():
    odd = ["unwritable", "endless", "unreadable", "unreadable file"]
    received = Unreadable(KeyError("no such task"))
    found = list(run(fault, [1, *odd, 2, "several", received, 3], 2))
    outcomes = {task: outcome for task, outcome in found if task is not received}
    assert [outcomes[n] for n in (1, 2, 3)] == [2, 4, 6]
    for task, reason in zip(odd, ("ValueError: not", "RecursionError", "TypeError: no such", "OSError: no such file"), strict=True):
        assert type(outcomes[task]) is AnomalyError and f"Received: {reason}" in str(outcomes[task])
    assert type(outcomes["several"]) is SeveralSeriesError and outcomes["several"].alone == "Alone."
    (error,) = (outcome for task, outcome in found if task is received)
    assert type(error) is AnomalyError and "KeyError: 'no such task'" in str(error)


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


def test_tasks_overlap(tmp_path):
    """Each of two tasks ends only when the other one has begun."""
    folders = [(tmp_path / "a", tmp_path / "b"), (tmp_path / "b", tmp_path / "a")]
    assert dict(run(meet, folders, 2)) == dict.fromkeys(folders, True)


def test_no_jobs_are_refused():
    with pytest.raises(ConfigError, match="`jobs` must be at least 1. Received: jobs=0"):
        list(run(fault, [1], 0))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_the_workers_and_lets_them_clean_up(tmp_path, number):
    code = (
        "import contextlib, pathlib, signal, sys; sys.path.insert(0, sys.argv[2])\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        "from anomaly.engines.pool import run; from pool_tasks import touch_and_sleep\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "with contextlib.closing(run(touch_and_sleep, [folder / 'a', folder / 'b'], 2)) as found: list(found)\n"
    )
    command = heeding([sys.executable, "-c", code, tmp_path, TESTS])
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
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


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_worker_ends_where_the_interpreter_loses_its_signal():
    ((_, outcome),) = run(lose_a_signal, [None], 2)
    assert "with code 143." in str(outcome)


COUNTING = """
import pathlib, sys; sys.path.insert(0, sys.argv[2])
from anomaly.engines.pool import run; from pool_tasks import note
try:
    print("begun", flush=True)
    print(sum(outcome for _, outcome in run(note, [pathlib.Path(sys.argv[1])] * 40, 2)))
except KeyboardInterrupt:
    print("interrupted")
"""


def counting(start, folder):
    """Start a program that does forty tasks in two workers; return it when it is about to, in a process group of its own."""
    pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    command = start([sys.executable, "-c", COUNTING, folder / "notes", TESTS])
    process = subprocess.Popen(command, **pipes, text=True, start_new_session=True)
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("seconds", [0.05, 0.2, 0.4, None])
def test_ctrl_c_reaches_all_processes_and_the_first_one_answers(tmp_path, seconds):
    with counting(heeding, tmp_path) as process:
        if seconds is None:
            while not (tmp_path / "notes").exists():
                time.sleep(0.01)
        else:  # while the workers start
            time.sleep(seconds)
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate()
    assert said in [("interrupted\n", ""), ("40\n", "")]
    assert said[0] == "interrupted\n" or seconds


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_background_job_goes_on_through_interruptions(tmp_path):
    with counting(deaf_to_interrupts, tmp_path) as process:
        while process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.01)
        assert process.communicate() == ("40\n", "")


def test_a_lack_of_memory_is_no_bug_of_the_task():
    def work(task):
        raise MemoryError

    ((_, error),) = here(work, [1])
    assert (type(error), str(error).split(". ")[0]) == (StorageError, "There must be memory for the work")
