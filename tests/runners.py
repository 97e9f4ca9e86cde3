"""The tests of a worker of pytest-xdist run in processes that end before they are large.

What TensorFlow compiles stays in memory until the process ends: after thousands of tests a worker holds gigabytes. So the worker
runs none itself. Once it has collected them it forks a process that has everything imported and nothing started, and which
does nothing but fork runners, one after the other. A runner runs the tests that the worker names and sends it their reports.
When it has grown by `MOST_GROWTH` it runs one more test, tears down its fixtures and ends, and the next one goes on. A runner
that a test kills is one failed test.

    worker --(which test, which is next)--> runner --(reports)--> worker
"""

import os
import signal
import sys
import traceback
import warnings
from importlib import import_module
from multiprocessing import Pipe
from pathlib import Path

import commands
import pytest
from _pytest.runner import runtestprotocol

MOST_GROWTH = 480 << 20  # bytes of memory; at the end of a test module three quarters of it
_THE_END = 3  # exit code of a runner whose worker is gone


# Of this process: whether its tests run in runners.
in_use = False


def begin(session):
    """Run the tests of this session in runners from now on, unless a test module computed with TensorFlow while it was imported."""
    global in_use
    in_use = not _has_started()
    if not in_use:  # a test fails then
        return
    session.config._tmp_path_factory.getbasetemp()  # of all runners
    import_module("scipy.signal")  # which the first training would import
    here, there = Pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the threads that wait for what the worker is to do
        child = os.fork()
    if not child:
        here.close()
        _fork_runners(session, there)
    there.close()
    session.config.pluginmanager.register(Worker(session, here))


def _has_started():
    """Tell whether TensorFlow has threads: they do not survive a fork, and who waits for them waits for ever."""
    context = sys.modules.get("tensorflow.python.eager.context")
    return bool(context and context.context()._initialized)


class Worker:
    """Stands in for the tests in the process that pytest-xdist speaks to."""

    def __init__(self, session, runners):
        self._runners = runners
        self._place = {item: place for place, item in enumerate(session.items)}
        self._speaker = _speaker(session)

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_timeout_set_timer(self):
        return True  # the runner has one

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item, nextitem):
        hook, about = item.ihook, {"nodeid": item.nodeid, "location": item.location}
        hook.pytest_runtest_logstart(**about)
        self._runners.send((self._place[item], self._place.get(nextitem)))
        for told in self._reports(item):
            self._tell(item, told)
        hook.pytest_runtest_logfinish(**about)
        return True

    def _reports(self, item):
        """Return the reports of a test as they are sent."""
        while True:
            kind, what = self._runners.recv()
            if kind == "asked":
                self._runners.send(commands.place())
            elif kind == "ended":
                died = f"The process of this test ended with code {what}"
                report = pytest.TestReport(item.nodeid, item.location, {}, "failed", died, "call")
                return [item.config.hook.pytest_report_to_serializable(config=item.config, report=report)]
            else:
                return what

    def _tell(self, item, told):
        """Send a report on as it is: to make it anew, and to take it apart again, takes as long as a small test."""
        about = {"item_index": self._speaker.item_index, "worker_id": self._speaker.workerid}
        self._speaker.sendevent("testreport", data=told | about | {"testrun_uid": self._speaker.testrunuid})


def _speaker(session):
    """Return the plugin of pytest-xdist that speaks for the worker."""
    return next(one for one in session.config.pluginmanager.get_plugins() if type(one).__name__ == "WorkerInteractor")


def _fork_runners(session, worker):
    """Fork one runner after the other, until the worker is gone; do not return."""
    interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        child = os.fork()
        if not child:
            signal.signal(signal.SIGINT, interrupted)
            _run(session, worker)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == _THE_END:
            os._exit(0)
        if code:
            worker.send(("ended", code))


def _run(session, worker):
    """Run tests until memory is short; do not return."""
    code = 1
    try:
        runner = Runner(worker)
        session.config.pluginmanager.unregister(_speaker(session))
        session.config.pluginmanager.register(runner)
        code = runner.run(session.items)
    except BaseException:  # noqa: BLE001 - nothing of it may go on in this process
        traceback.print_exc()
    os._exit(code)


class Runner:
    """Runs the tests that it is told to, and sends their reports."""

    def __init__(self, worker):
        self._worker, self._first, self._reports = worker, _held(), []
        commands.place_from(self._ask)

    def _ask(self):
        self._worker.send(("asked", None))
        return self._worker.recv()

    def run(self, items):
        """Return the exit code, when the memory or the tests have come to their end."""
        while True:
            try:
                place, later = self._worker.recv()
            except (EOFError, ConnectionError):
                return _THE_END
            item, following = items[place], None if later is None else items[later]
            if last := self._is_large(item, following):
                following = None
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            self._worker.send(("done", self._reports))
            self._reports = []
            if last:
                return 0

    def _is_large(self, item, following):
        goes_on = following is not None and following.path == item.path
        return _held() - self._first > (MOST_GROWTH if goes_on else 0.75 * MOST_GROWTH)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item, nextitem):
        for report in runtestprotocol(item, log=False, nextitem=nextitem):
            self._reports.append(item.config.hook.pytest_report_to_serializable(config=item.config, report=report))
        return True


def _held():
    """Return the bytes of memory that this process holds, but for those of files."""
    _, resident, of_files, *_ = map(int, Path("/proc/self/statm").read_text().split())
    return (resident - of_files) * os.sysconf("SC_PAGE_SIZE")
