"""The processes that run the tests report what a plain run reports, and end before they are large."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import runners

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems run their tests in the worker itself")


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process runs all tests")
def test_no_test_module_computes_with_tensorflow_while_it_is_imported():
    assert runners.in_use


CONFTEST = """
import runners

runners.MOST_GROWTH = 20 << 20

def pytest_collection_finish(session):
    if hasattr(session.config, "workerinput"):
        runners.begin(session)
"""
TESTS = """
import os, signal, time, warnings
import pytest

kept = []

@pytest.fixture(scope="module")
def process():
    yield os.getpid()
    with open("torn_down", "a") as file:
        file.write("1")

def test_first(process):
    assert process == os.getpid() != kept.append(b"1" * (30 << 20))

def test_the_last_of_a_large_process(process):
    assert kept and process == os.getpid()

def test_small_again(process):
    assert not kept and process == os.getpid()

def test_fails(tmp_path):
    print("said before")
    assert tmp_path == "nowhere"

def test_warns():
    warnings.warn("old")

@pytest.mark.timeout(1)
def test_hangs():
    while True:
        time.sleep(1)

def test_dies():
    os.kill(os.getpid(), signal.SIGKILL)

@pytest.fixture
def broken():
    yield
    raise ValueError("not torn down")

def test_torn_down(broken):
    pass

@pytest.mark.skip(reason="not now")
def test_left_out():
    pass

@pytest.mark.xfail
def test_known():
    assert False
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """Return what a run of the tests above says."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_made.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environment["PYTHONPATH"] = str(Path(__file__).parent)
    command = [sys.executable, "-m", "pytest", "-n", "1", "-p", "no:randomly", "-p", "no:cacheprovider", "--basetemp", folder / "t"]
    ended = subprocess.run([*command, "-ra"], cwd=folder, env=environment, capture_output=True, text=True)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert (folder / "torn_down").read_text() == "1"  # of the first process; the other was killed
    return ended.stdout


def test_every_test_has_its_outcome(said):
    assert "4 failed, 4 passed, 1 skipped, 1 xfailed, 1 error" in said
    assert set(re.findall(r"^FAILED test_made.py::(\w+)", said, re.M)) == {"test_fails", "test_warns", "test_hangs", "test_dies"}


@pytest.mark.parametrize(
    "text",
    [
        r"Captured stdout call -+\nsaid before\n",
        r"E +AssertionError: assert PosixPath\('[^']+/test_fails0'\) == 'nowhere'",
        r"test_made.py:\d+: UserWarning",
        r"E +Failed: Timeout \(>1.0s\) from pytest-timeout",
        r"The process of this test ended with code -9\n",
        r"ERROR at teardown of test_torn_down .*(\n.*)+E +ValueError: not torn down",
    ],
)
def test_what_failed_says_why(said, text):
    assert re.search(text, said), said
