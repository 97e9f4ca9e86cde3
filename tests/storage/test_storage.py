"""Files are written completely or not at all."""

import errno
import io
import os
import stat
import subprocess
import sys
import threading

import pytest

from anomaly.errors import StorageError
from anomaly.storage.writing import (
    atomic_output,
    atomic_write,
    descriptor_of,
    output_or_stdout,
    require_writable,
    storage_errors,
)

OLD, NEW = b"the old content\n", b"the new content, which is longer\n"


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "out.bin"
    path.write_bytes(OLD)
    return path


def fail_call(monkeypatch, name, which, code=errno.ENOSPC):
    """Let the `which`-th call of `os.<name>` fail as the system would."""
    real, calls = getattr(os, name), []

    def failing(*args, **kwargs):
        calls.append(args)
        if len(calls) == which:
            raise OSError(code, os.strerror(code))
        return real(*args, **kwargs)

    monkeypatch.setattr(os, name, failing)
    return calls


def test_a_new_file_holds_what_was_written(tmp_path):
    atomic_write(tmp_path / "new.bin", NEW)
    assert (tmp_path / "new.bin").read_bytes() == NEW


def test_a_file_is_replaced_and_nothing_else_is_left(target):
    atomic_write(target, NEW)
    assert target.read_bytes() == NEW
    assert os.listdir(target.parent) == ["out.bin"]


def test_several_writes_to_the_handle_are_joined(target):
    with atomic_output(target) as handle:
        handle.write(b"a")
        handle.write(b"b")
    assert target.read_bytes() == b"ab"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_a_replaced_file_keeps_its_mode(target, mode):
    target.chmod(mode)
    atomic_write(target, NEW)
    assert stat.S_IMODE(target.stat().st_mode) == mode


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_new_file_gets_the_mode_that_open_would_give(tmp_path, mask):
    before = os.umask(mask)
    try:
        atomic_write(tmp_path / "new.bin", NEW)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new.bin").stat().st_mode) == 0o666 & ~mask


def test_readers_see_the_old_file_until_the_block_ends(target):
    with atomic_output(target) as handle:
        handle.write(NEW)
        handle.flush()
        assert target.read_bytes() == OLD
    assert target.read_bytes() == NEW


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_in_the_block_leaves_the_old_file_and_no_other(target, error):
    with pytest.raises(error), atomic_output(target) as handle:
        handle.write(NEW)
        raise error
    assert target.read_bytes() == OLD
    assert os.listdir(target.parent) == ["out.bin"]


def test_an_exception_in_the_block_creates_no_file(tmp_path):
    with pytest.raises(ValueError, match="half way"), atomic_output(tmp_path / "new.bin") as handle:
        handle.write(NEW)
        raise ValueError("half way")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("call", ["fsync", "chmod", "replace"])
def test_a_full_disk_is_a_storage_error_that_names_the_file(target, monkeypatch, call):
    fail_call(monkeypatch, call, 1)
    with pytest.raises(StorageError, match=r"must be readable and writable. Received: .*out\.bin \(No space left on device\)"):
        atomic_write(target, NEW)


@pytest.mark.parametrize("call", ["fsync", "chmod", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_other(target, monkeypatch, call):
    fail_call(monkeypatch, call, 1)
    with pytest.raises(StorageError):
        atomic_write(target, NEW)
    assert target.read_bytes() == OLD
    assert os.listdir(target.parent) == ["out.bin"]


def test_a_file_system_that_cannot_sync_folders_is_good_enough(target, monkeypatch):
    calls = fail_call(monkeypatch, "fsync", 2, errno.EINVAL)
    atomic_write(target, NEW)
    assert len(calls) == 2
    assert target.read_bytes() == NEW


@pytest.mark.parametrize("flush_name", [True, False])
def test_the_content_is_synced_before_the_rename_and_the_name_where_it_is_asked_for(target, monkeypatch, flush_name):
    order = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, real=real: (order.append(name), real(*a))[1])
    with atomic_output(target, flush_name=flush_name) as handle:
        handle.write(NEW)
    assert order == ["fsync", "replace"] + ["fsync"] * flush_name


def test_a_missing_folder_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match=r"none.new\.bin \(No such file or directory\)"):
        atomic_write(tmp_path / "none" / "new.bin", NEW)


def test_a_folder_as_target_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="it is a folder"):
        atomic_write(tmp_path, NEW)


def test_a_symbolic_link_stays_a_link_and_its_target_is_replaced(target):
    link = target.parent / "link"
    link.symlink_to(target)
    atomic_write(link, NEW)
    assert link.is_symlink()
    assert target.read_bytes() == NEW


def test_a_device_is_written_to_directly():
    atomic_write("/dev/null", NEW)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_named_pipe_receives_the_content(tmp_path):
    pipe, received = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()), daemon=True)
    reader.start()
    atomic_write(pipe, NEW)
    reader.join(timeout=30)
    assert received == [NEW]


def test_a_closed_pipe_stays_a_broken_pipe(target):
    with pytest.raises(BrokenPipeError), storage_errors(target):
        raise BrokenPipeError


def test_a_storage_error_is_not_wrapped_twice(target):
    with pytest.raises(StorageError, match="^inner$"), storage_errors(target):
        raise StorageError("inner")


def test_other_errors_pass_through_storage_errors(target):
    with pytest.raises(KeyError), storage_errors(target):
        raise KeyError


def test_a_storage_error_keeps_its_cause(target):
    with pytest.raises(StorageError) as caught, storage_errors(target):
        raise PermissionError(13, "Permission denied")
    assert isinstance(caught.value.__cause__, PermissionError)


def test_require_writable_accepts_a_new_file_in_a_folder(tmp_path):
    require_writable(tmp_path / "new.bin")
    assert os.listdir(tmp_path) == []


def test_require_writable_does_not_touch_the_file(target):
    require_writable(target)
    assert target.read_bytes() == OLD


def test_require_writable_refuses_a_folder(tmp_path):
    with pytest.raises(StorageError, match="it is a folder"):
        require_writable(tmp_path)


def test_require_writable_refuses_a_missing_folder(tmp_path):
    with pytest.raises(StorageError, match="its folder does not exist"):
        require_writable(tmp_path / "none" / "new.bin")


def test_require_writable_refuses_a_folder_without_permission(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(tmp_path))
    with pytest.raises(StorageError, match="its folder may not be written to"):
        require_writable(tmp_path / "new.bin")


def test_require_writable_asks_a_device_itself_and_not_its_folder(monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) == "/dev/null")
    require_writable("/dev/null")


def test_require_writable_refuses_a_device_without_permission(monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != "/dev/null")
    with pytest.raises(StorageError, match="it may not be written to"):
        require_writable("/dev/null")


def test_require_writable_asks_the_folder_where_a_link_leads(target, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "none" / "far.bin")
    with pytest.raises(StorageError, match="its folder does not exist"):
        require_writable(link)


def test_a_dash_is_standard_output(monkeypatch):
    stdout = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", stdout)
    with output_or_stdout("-") as handle:
        handle.write(NEW)
    assert stdout.buffer.getvalue() == NEW
    assert not stdout.buffer.closed


def test_any_other_name_is_written_atomically(target):
    with output_or_stdout(str(target)) as handle:
        handle.write(NEW)
        assert target.read_bytes() == OLD
    assert target.read_bytes() == NEW


DESCRIPTORS = {
    "/dev/stdout": ">",
    "/dev/stderr": "2>",
    "/dev/fd/1": ">",
    "/dev/fd/3": "3>",
    "/proc/self/fd/3": "3>",
    "/proc/thread-self/fd/3": "3>",
    "link": "3>",  # to one
}
WRITER = (
    "import sys; from anomaly.storage.writing import atomic_write, is_special, require_writable\n"
    "path = sys.argv[1]; require_writable(path); print('said', file=sys.stderr if 'err' in path else sys.stdout)\n"
    "atomic_write(path, b'new\\n'); sys.exit(not is_special(path))"
)


@pytest.mark.parametrize("path", DESCRIPTORS)
@pytest.mark.parametrize("how", ["", ">"])
def test_a_descriptor_is_written_to_where_it_stands(path, how, tmp_path):
    """A file behind a redirection keeps what it has, and what other commands write to it comes behind."""
    (tmp_path / "link").symlink_to("/dev/fd/3")
    (tmp_path / "found").write_text("before\n")
    before, said = "before\n" if how else "", "" if "3" in path or path == "link" else "said\n"
    number = DESCRIPTORS[path].rstrip(">")
    line = f"{{ echo head >&{number or 1}; '{sys.executable}' -c \"$CODE\" {path}; echo $? >&{number or 1}; }} {number}>{how}found"
    environment = os.environ | {"CODE": WRITER}
    subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment, check=True, stdout=subprocess.DEVNULL)
    assert (tmp_path / "found").read_text() == f"{before}head\n{said}new\n0\n"
    assert sorted(os.listdir(tmp_path)) == ["found", "link"]


@pytest.mark.parametrize(
    "path", ["found", "{folder}/found", "/dev/null", "/proc/self/fd/found", "/dev/fd", "/", "", "a\0b", "x" * 5000]
)
def test_other_paths_name_no_descriptor(path, target, monkeypatch):
    monkeypatch.chdir(target.parent)
    assert descriptor_of(path.format(folder=target.parent)) is None


def test_a_descriptor_that_cannot_be_written_to_is_refused_before_the_work(target):
    with open(target, "rb") as handle, pytest.raises(StorageError, match="it is open for reading only"):
        require_writable(f"/dev/fd/{handle.fileno()}")
    with pytest.raises(StorageError, match="Bad file descriptor"):
        require_writable("/dev/fd/987")


@pytest.mark.parametrize("write", [lambda path: atomic_write(path, NEW), require_writable])
@pytest.mark.parametrize("name", ["new.bin/", "out.bin/", "none/new.bin/"])
def test_what_is_named_as_a_folder_does_not_become_a_file(name, write, target):
    with pytest.raises(StorageError, match=f"{name} .it ends in a slash, and is no folder"):
        write(f"{target.parent}/{name}")
    assert (os.listdir(target.parent), target.read_bytes()) == (["out.bin"], OLD)
