"""Every system call of a write fails once, every one is the last of a killed process, and two runs meet at one file."""

import contextlib
import errno
import itertools
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import PLAIN, command
from conftest import make_series, to_csv
from faulty_storage import CALLS, ERRORS, NEW, OLD, RETRIED, TIDYING, FaultyStorage, failing_with, interrupt, write_new
from forked import CODE

from anomaly.errors import StorageError
from anomaly.storage import writing as storage
from anomaly.storage.writing import atomic_output, atomic_write, output_or_stdout, require_writable

HERE = Path(__file__).parents[1]
# Prints a line when it has the file, and keeps it until its standard input ends.
HOLD = """
import sys
from anomaly.errors import StorageError
from anomaly.storage.writing import atomic_output
try:
    with atomic_output(sys.argv[1]) as handle:
        handle.write(b"held")
        handle.flush()
        print("writing", flush=True)
        sys.stdin.read()
except StorageError as error:
    sys.exit(f"{error.exit_code} {error}")
"""
# Goes on until it has written five times; a folder, which only one can make, shows that nobody else is inside.
CONTEND = """
import os, sys
from anomaly.errors import StorageError
from anomaly.storage.writing import atomic_output
sys.stdin.read()
won = lost = 0
while won < 5:
    try:
        with atomic_output(sys.argv[1]) as handle:
            os.mkdir(sys.argv[2])
            handle.write(str(os.getpid()).encode() * 1000)
            os.rmdir(sys.argv[2])
            won += 1
    except StorageError as error:
        assert "Only one run may write a file at a time." in str(error), error
        lost += 1
print(lost)
"""


@pytest.fixture
def target(tmp_path):
    """A path in a folder of its own, with a file there."""
    path = tmp_path / "out" / "out.bin"
    path.parent.mkdir()
    path.write_bytes(OLD)
    return path


def start(code, *arguments):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], text=True, **pipes)


def temporary_files(path):
    return [name for name in os.listdir(path.parent) if name.endswith(".tmp")]


def left_by(path, failed):
    """Return the names in the folder; a lock that could not be taken is not known to be free, so its file may stay."""
    names = os.listdir(path.parent)
    return [name for name in names if not (name.endswith(".lock") and failed in ("open", "flock", "fstat", "lstat"))]


def until_it_succeeds(target, has_old, fault, sticky):
    """Let call 1, 2, ... of a write fail; yield what was counted and what was raised, until no call is left to fail.

    The old file is one beside which a run was killed: its lock file is still there.
    """
    for number in itertools.count(1):
        if not sticky:  # else what is left is for the next write to tidy up
            for path in target.parent.iterdir():
                path.unlink()
        target.write_bytes(OLD)
        if has_old:
            target.with_name(".out.bin.lock").write_bytes(b"1")
        else:
            target.unlink()
        with pytest.MonkeyPatch.context() as patch:
            faulty = FaultyStorage(number, fault, sticky=sticky).install(patch)
            raised = None
            try:
                write_new(target)
            except (StorageError, KeyboardInterrupt) as error:
                raised = error
        if not faulty.failed:
            return
        yield faulty, raised


def open_descriptors():
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0


# PEP 475: Python itself calls again after EINTR. Here it is what a call ends with all the same, as on some file systems.
@pytest.mark.parametrize("has_old", [False, True], ids=["new file", "old file"])
@pytest.mark.parametrize(
    ("code", "sticky"),
    [
        pytest.param(code, sticky, id=f"{name} {'from then on' if sticky else 'once'}")
        for name, code in ERRORS.items()
        for sticky in (False, True)
        if not (sticky and code == RETRIED)
    ],
)
def test_whichever_call_fails_the_file_is_the_whole_old_or_the_whole_new_one(target, code, has_old, sticky):
    descriptors = open_descriptors()
    seen = set()
    for faulty, raised in until_it_succeeds(target, has_old, failing_with(code), sticky):
        first = faulty.failed[0]
        seen.add(first)
        content = target.read_bytes() if target.exists() else None
        assert content in ((OLD if has_old else None), NEW), faulty.calls
        if raised is None:
            assert content == NEW, faulty.calls
            assert first in TIDYING or (first == "write to the file" and code == RETRIED), faulty.calls
        else:
            assert raised.exit_code == 5
            assert str(target) in str(raised) and os.strerror(code) in str(raised)
        if "unlink" not in faulty.failed:
            assert left_by(target, first) == ([] if content is None else ["out.bin"]), faulty.calls
    every = {*CALLS, "flock", "mkstemp", "fdopen", "write to the file", "close of the file"}
    # Beside a new file no run was killed, but where a lock file could not be removed.
    assert seen == every or (not has_old and seen == every - {"listdir"})
    assert open_descriptors() == descriptors


@pytest.mark.parametrize("has_old", [False, True], ids=["new file", "old file"])
def test_ctrl_c_at_any_call_leaves_the_whole_old_or_the_whole_new_file(target, has_old):
    for faulty, raised in until_it_succeeds(target, has_old, interrupt, sticky=False):
        content = target.read_bytes() if target.exists() else None
        assert isinstance(raised, KeyboardInterrupt)
        assert content in ((OLD if has_old else None), NEW), faulty.calls
        if "unlink" not in faulty.failed:
            assert left_by(target, faulty.failed[0]) == ([] if content is None else ["out.bin"]), faulty.calls


def test_a_temporary_file_that_could_not_be_removed_is_removed_by_the_next_run(target):
    left = set()
    for _ in until_it_succeeds(target, True, failing_with(errno.EIO), sticky=True):
        left.update(temporary_files(target))
    assert len(left) > 1
    assert os.listdir(target.parent) == ["out.bin"]


DIES = f"import sys; sys.path.insert(0, {str(HERE)!r}); from faulty_storage import main; main(*sys.argv[1:])"


@pytest.mark.parametrize("has_old", [False, True], ids=["new file", "old file"])
def test_a_process_killed_at_any_call_leaves_a_whole_file_and_the_next_run_tidies_up(target, has_old):
    seen = set()
    for number in itertools.count(1):
        target.write_bytes(OLD)
        if not has_old:
            target.unlink()
        process = subprocess.run(command(CODE, DIES, target, number), capture_output=True)
        content = target.read_bytes() if target.exists() else None
        assert content in ((OLD if has_old else None), NEW)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, process.stderr
        seen.add((content == NEW, len(os.listdir(target.parent))))
        atomic_write(target, NEW)
        assert os.listdir(target.parent) == ["out.bin"]
        assert target.read_bytes() == NEW
    assert {is_new for is_new, _ in seen} == {False, True}
    assert max(n for _, n in seen) == 2 + has_old  # lock and temporary file were there to be tidied


def test_temporary_files_of_other_outputs_stay(target):
    kept = {".out.bin.tmp", ".out.bin.x.abcdefgh.tmp", ".other.bin.abcdefgh.tmp", "out.bin.abcdefgh.tmp", ".out.bin.ABCDEFGH.tmp"}
    for name in (*kept, ".out.bin.abcdefgh.tmp"):
        (target.parent / name).write_bytes(OLD)
    target.with_name(".out.bin.lock").write_text("1")  # so their run was killed
    atomic_write(target, NEW)
    assert set(os.listdir(target.parent)) == {*kept, "out.bin"}


def test_a_folder_is_not_listed_where_no_run_was_killed(target, monkeypatch):
    listed = []
    monkeypatch.setattr(storage, "os", SimpleNamespace(**(vars(os) | {"listdir": lambda path: listed.append(path) or []})))
    for _ in range(3):  # among 10,000 files, that would take longer than to write one
        atomic_write(target, NEW)
    assert listed == []


def test_an_exception_of_the_block_is_not_lost_to_a_disk_that_is_full(target, monkeypatch):
    whole = FaultyStorage(0, interrupt).install(monkeypatch)
    write_new(target)
    monkeypatch.undo()
    number = whole.calls.index("write to the file") + 1
    faulty = FaultyStorage(number, failing_with(errno.ENOSPC), sticky=True).install(monkeypatch)
    with pytest.raises(KeyError, match="the reason"), atomic_output(target) as handle:
        handle.write(b"still in the buffer")
        raise KeyError("the reason")
    assert faulty.failed[0] == "write to the file"
    assert target.read_bytes() == NEW


# Two runs


def test_the_second_run_is_refused_and_told_who_is_writing(target):
    message = rf"^Only one run may write a file at a time\. Received: .*out\.bin, which process {os.getpid()} is writing\. "
    with atomic_output(target) as handle:
        handle.write(NEW)
        with pytest.raises(StorageError, match=message + r"Wait for it, or name another file\.$") as caught:
            atomic_write(target, OLD)
        assert caught.value.exit_code == 5
    assert target.read_bytes() == NEW
    assert os.listdir(target.parent) == ["out.bin"]


def test_a_link_to_the_file_is_the_same_file(target, tmp_path):
    (tmp_path / "link").symlink_to(target)
    with atomic_output(target) as handle, pytest.raises(StorageError, match="Only one run"):
        handle.write(NEW)
        atomic_write(tmp_path / "link", OLD)


def test_two_files_of_one_folder_are_written_side_by_side(target):
    with atomic_output(target) as handle:
        handle.write(NEW)
        atomic_write(target.with_name("second.bin"), NEW)
    assert sorted(os.listdir(target.parent)) == ["out.bin", "second.bin"]


def test_of_ten_parallel_runs_one_writes_and_the_others_name_it(target):
    runs = [start(HOLD, target) for _ in range(10)]
    with contextlib.ExitStack() as stack:
        for run in runs:
            stack.enter_context(run)
        # A loser ends by itself; the winner says so, and waits.
        said = [run.stdout.readline() for run in runs]
        (winner,) = [run for run, line in zip(runs, said, strict=True) if line]
        losers = [run for run in runs if run is not winner]
        sentence = f"5 Only one run may write a file at a time. Received: {target}, which process {winner.pid} is writing. "
        assert [run.stderr.read().startswith(sentence) for run in losers] == [True] * 9
        assert target.read_bytes() == OLD
        winner.stdin.close()
        assert winner.wait() == 0
    assert target.read_bytes() == b"held"
    assert os.listdir(target.parent) == ["out.bin"]


def test_runs_that_come_and_go_are_never_two_at_a_time_and_leave_no_lock(target):
    lost = 0
    for _ in range(5):  # on a machine that is busy they may not meet at once
        runs = [start(CONTEND, target, target.parent / "occupied") for _ in range(10)]
        for run in runs:
            run.stdin.close()
        for run in runs:
            with run:
                assert run.wait() == 0, run.stderr.read()
                lost += int(run.stdout.read())
        if lost:
            break
    assert lost > 0  # they did meet
    assert os.listdir(target.parent) == ["out.bin"]
    assert target.read_bytes() in [str(run.pid).encode() * 1000 for run in runs]


def test_after_kill_9_the_next_run_starts_and_tidies_up(target):
    with start(HOLD, target) as run:
        assert run.stdout.readline() == "writing\n"
        run.kill()
    assert ".out.bin.lock" in os.listdir(target.parent)
    assert len(temporary_files(target)) == 1
    assert target.read_bytes() == OLD
    atomic_write(target, NEW)
    assert os.listdir(target.parent) == ["out.bin"]


def test_a_lock_file_without_a_holder_does_not_block(target):
    target.with_name(".out.bin.lock").write_text("1")
    atomic_write(target, NEW)
    assert os.listdir(target.parent) == ["out.bin"]


def test_a_lock_file_of_another_user_does_not_block(target, monkeypatch):
    target.with_name(".out.bin.lock").write_text("1")
    real = os.open

    def refuse_to_change(path, flags, *rest):
        if str(path).endswith(".lock") and flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *rest)

    monkeypatch.setattr(storage, "os", SimpleNamespace(**(vars(os) | {"open": refuse_to_change})))
    atomic_write(target, NEW)
    assert os.listdir(target.parent) == ["out.bin"]


def test_a_lock_file_that_is_a_link_is_refused_and_its_target_left_alone(target, tmp_path):
    (tmp_path / "victim").write_bytes(OLD)
    target.with_name(".out.bin.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(StorageError, match="symbolic link"):
        atomic_write(target, NEW)
    assert (tmp_path / "victim").read_bytes() == target.read_bytes() == OLD


def test_a_holder_that_has_not_said_who_it_is_is_another_process(target, monkeypatch):
    monkeypatch.setattr(storage, "_PAUSE", 0)
    with atomic_output(target) as handle:
        target.with_name(".out.bin.lock").write_bytes(b"\x1b[2J")
        with pytest.raises(StorageError, match="which another process is writing"):
            atomic_write(target, OLD)
        handle.write(NEW)


@pytest.mark.parametrize("code", sorted(storage._NO_LOCKS))
def test_a_file_system_without_locks_is_written_to_all_the_same(target, monkeypatch, code):
    calls = SimpleNamespace(LOCK_EX=2, LOCK_NB=4, flock=lambda *arguments: failing_with(code)())
    monkeypatch.setattr(storage, "fcntl", calls)
    with atomic_output(target) as handle:
        handle.write(NEW)
        atomic_write(target, OLD)
    assert target.read_bytes() == NEW
    assert os.listdir(target.parent) == ["out.bin"]


def test_a_system_without_locks_keeps_the_temporary_files_of_others(target, monkeypatch):
    monkeypatch.setattr(storage, "fcntl", None)
    other = target.with_name(".out.bin.abcdefgh.tmp")
    other.write_bytes(OLD)
    atomic_write(target, NEW)
    assert sorted(os.listdir(target.parent)) == [other.name, "out.bin"]


def test_devices_and_standard_output_take_no_lock(monkeypatch, capfdbinary):
    monkeypatch.setattr(storage, "_only_run", None)
    atomic_write("/dev/null", NEW)
    with output_or_stdout("-") as handle:
        handle.write(NEW)
    assert capfdbinary.readouterr().out == NEW


# Odd paths


@pytest.mark.parametrize("call", [require_writable, write_new])
def test_a_link_that_leads_in_a_circle_is_a_storage_error(tmp_path, call):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(StorageError, match=r"Received: .*loop \("):
        call(tmp_path / "loop")


@pytest.mark.parametrize("name", ["a\0b", "x" * 300], ids=["NUL", "too long"])
def test_a_name_that_no_file_may_have_is_a_storage_error(tmp_path, name):
    with pytest.raises(StorageError, match="must be readable and writable"):
        write_new(tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_closed_standard_output_is_a_storage_error(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(StorageError, match=r"Received: standard output \(it is closed\)"), output_or_stdout("-"):
        pass


# The command


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return to_csv(make_series(n=2000, spike=None), tmp_path_factory.mktemp("data") / "long.csv")


def score(data, bundle_path, output, before=None):
    """Run the command in a shell; after another one that sets the scene in a plain process, since limits are of a process."""
    given = ["score", str(data), "--model", str(bundle_path), "--output", str(output), "--quiet"]
    words = shlex.join([*PLAIN, *given] if before else command(*given))
    run = subprocess.run(["bash", "-c", f"{before or ':'}; exec {words}"], capture_output=True, text=True)
    assert "Traceback" not in run.stderr, run.stderr
    return run


def test_a_limit_on_the_size_of_files_exits_5_and_keeps_the_earlier_output(data, bundle_path, target):
    run = score(data, bundle_path, target, before="ulimit -f 10")
    assert run.returncode == 5
    assert f"Received: {target} (File too large)" in run.stderr
    assert target.read_bytes() == OLD
    assert os.listdir(target.parent) == ["out.bin"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_device_exits_5(data, bundle_path):
    run = score(data, bundle_path, "/dev/full")
    assert run.returncode == 5
    assert "Received: /dev/full (No space left on device)" in run.stderr


def test_a_closed_pipe_ends_quietly_wherever_it_closes(data, bundle_path):
    for reader in ("head -1", "true"):
        line = f"{shlex.join(command('score', data, '--model', bundle_path, '--quiet'))} | {reader}"
        run = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
        assert run.stderr == ""


def test_standard_output_that_is_closed_exits_5(data, bundle_path):
    line = f"{shlex.join(command('score', data, '--model', bundle_path, '--quiet'))} >&-"
    run = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert run.returncode == 5, run.stderr
    assert "standard output" in run.stderr and "Traceback" not in run.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_may_only_be_read_exits_5(data, bundle_path, target):
    target.parent.chmod(0o555)
    try:
        run = score(data, bundle_path, target)
        assert run.returncode == 5
        assert target.read_bytes() == OLD
    finally:
        target.parent.chmod(0o755)


def test_a_second_scoring_run_into_one_file_is_refused_at_its_start(data, bundle_path, target):
    words = [*PLAIN, "score", "-", "--model", str(bundle_path), "--output", str(target), "--quiet"]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as first:
        while ".out.bin.lock" not in os.listdir(target.parent):
            assert first.poll() is None
        second = score(data, bundle_path, target)
        first.stdin.write(data.read_bytes())
        first.stdin.close()
        assert first.wait() == 0
    assert second.returncode == 5
    assert f"Received: {target}, which process {first.pid} is writing." in second.stderr
    assert len(target.read_bytes().splitlines()) == 2001
    assert os.listdir(target.parent) == ["out.bin"]
