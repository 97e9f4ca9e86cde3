"""Write files so that a crash leaves the complete old file or the complete new one, one run at a time."""

import contextlib
import errno
import io
import os
import re
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from anomaly.errors import ConfigError, OccupiedError, StorageError

try:
    import fcntl
except ImportError:  # Windows: files are replaced as a whole there too, but two runs do not see each other
    fcntl = None  # type: ignore[assignment]

# What a file system says that has no locks, or whose folders cannot be flushed.
_NO_LOCKS = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK, errno.EINVAL}
# The same of a pipe or a device.
_NO_SYNC = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EROFS}
_NO_FOLDER_SYNC = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF, errno.EACCES, errno.EPERM}
# Links are not followed, and nothing is translated, where the system knows of such things.
_PLAIN_FILE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
# File systems know names of 255 bytes; that of a temporary file, or of a lock, is longer by some.
_LONGEST_NAME = 230
# More links than a system follows.
_MOST_LINKS = 40
# How often, and after how many seconds, to look again at a lock whose holder has not yet written its number.
_LOOKS, _PAUSE = 100, 0.01


@contextlib.contextmanager
def atomic_output(path: str | Path, *, flush_name: bool = True) -> Iterator[IO[bytes]]:
    """Yield a binary handle whose content becomes `path` when the block ends without an exception.

    The content goes to a temporary file in the same folder, is flushed to disk and renamed over
    `path`; on any exception the temporary file is removed and `path` is left as it was. Something
    that is not a regular file (a pipe, a device) is written to directly: it cannot be renamed over. So is a descriptor that is
    open, such as /dev/stdout: what has been written to it before stays, and what follows comes behind.

    From the start of the block to its end the lock file `.NAME.lock` beside `path` keeps other runs out. The
    system releases the lock when a process dies; what a killed run left behind is removed by the next one.
    There is no lock on Windows, on a file system without locks, and for pipes and devices.

    Args:
        path: the file.
        flush_name: whether the new file is there after a crash of the machine, too. If not, that may be the old one, or none, until
            a later file of the folder is flushed so: for many files and one at the end that tells of them.

    Raises:
        StorageError: if the folder does not exist, the system refuses to write, or another run is writing `path`.
    """
    with storage_errors(path):
        if is_special(path):
            with open_directly(path) as handle:
                yield handle
            return
        with exclusive(path) as target:
            with _replacement(target) as handle:
                yield handle
            if flush_name:
                sync_folder(target.parent)


@contextlib.contextmanager
def exclusive(path: str | Path, purpose: str = "") -> Iterator[Path]:
    """Keep other runs away from `path` while the block runs, as `atomic_output` does; yield the file that links lead to.

    Args:
        path: the file.
        purpose: keeps only those away that have the same, so that the block itself may write the file.

    Raises:
        StorageError: as `atomic_output`.
    """
    with storage_errors(path):
        target = resolved(path)
        if target.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        with _only_run(target.with_name(target.name + purpose), path) as was_killed:
            if was_killed and not purpose:
                _remove_leftovers(target)
            yield target


class GrowingFile:
    """A file that is appended to without a buffer, so that it is known at any moment what is in it.

    What an append left that failed or was interrupted lies behind `size`; the next append or `sync` removes it.

    Args:
        path: created if it is not there; it must not be a link.

    Attributes:
        size: bytes that count.

    Raises:
        StorageError: from every method, if the system refuses.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with storage_errors(path):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _PLAIN_FILE, 0o600)
            self.size = os.fstat(self._descriptor).st_size

    def append(self, content: bytes) -> None:
        """Write behind what is there."""
        with storage_errors(self.path):
            os.lseek(self._descriptor, self.size, os.SEEK_SET)
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        self.size += len(content)

    def cut(self, size: int) -> None:
        """Forget all but the first `size` bytes."""
        self.size = size
        self.sync()

    def sync(self) -> None:
        """Flush to disk what counts, and remove what does not."""
        with storage_errors(self.path):
            os.ftruncate(self._descriptor, self.size)
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):  # what counts was flushed
                os.close(descriptor)

    def become(self, target: Path) -> None:
        """Flush, close, and take the place of `target` at once."""
        self.sync()
        self.close()
        with storage_errors(target):
            os.chmod(self.path, _mode_for(target))
            os.replace(self.path, target)
            sync_folder(target.parent)


def require_writable(path: str | Path) -> None:
    """Refuse early what `atomic_output` would refuse after the work is done.

    Raises:
        StorageError: if the folder of `path` does not exist or may not be written to, or `path` is a folder.
    """
    with storage_errors(path):
        if (number := descriptor_of(path)) is not None:
            _require_open_for_writing(number)
            return
        target = resolved(path)
        if target.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        if not target.parent.is_dir():
            raise FileNotFoundError(2, "its folder does not exist")
        if is_special(target):
            if not os.access(target, os.W_OK):
                raise PermissionError(13, "it may not be written to")
        elif not os.access(target.parent, os.W_OK):
            raise PermissionError(13, "its folder may not be written to")
        elif len(os.fsencode(target.name)) > _LONGEST_NAME:
            raise OSError(errno.ENAMETOOLONG, f"its name must have at most {_LONGEST_NAME} bytes")


def _require_open_for_writing(number: int) -> None:
    if fcntl is not None and fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "it is open for reading only")


def atomic_write(path: str | Path, content: bytes) -> None:
    """Make `content` the content of `path`, or leave `path` as it was (see `atomic_output`); refuse what is no path."""
    checked_path(path)
    with atomic_output(path) as handle:
        handle.write(content)


def checked_path(path: str | Path) -> Path:
    """Return a path; refuse what is none.

    Raises:
        ConfigError: if it is neither text nor a path.
    """
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(f"A file must be named by its path, text or a Path. Received: {type(path).__name__}. Give its name.")
    return Path(path)


def remove(path: str | Path) -> None:
    """Delete a file, if it is there."""
    with storage_errors(path):
        Path(path).unlink(missing_ok=True)


@contextlib.contextmanager
def output_or_stdout(path: str) -> Iterator[IO[bytes]]:
    """Yield a binary handle: standard output for "-", else as `atomic_output`.

    Raises:
        StorageError: as `atomic_output`, and if standard output is closed.
        BrokenPipeError: if the reader of standard output went away.
    """
    if path == "-":
        with storage_errors("standard output"):
            if sys.stdout is None:  # as after `>&-` in a shell
                raise OSError(errno.EBADF, "it is closed")
            try:
                yield sys.stdout.buffer
                sys.stdout.buffer.flush()
            except OSError:
                # What could not be written would be tried again at exit, and change the exit code.
                with contextlib.suppress(OSError, ValueError):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                raise
    else:
        with atomic_output(path) as handle:
            yield handle


@contextlib.contextmanager
def storage_errors(path: str | Path) -> Iterator[None]:
    """Turn an `OSError` of the block into a `StorageError` that names `path`; a closed pipe stays one."""
    try:
        yield
    except (StorageError, BrokenPipeError):
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"The file must be readable and writable. Received: {path} ({reason}). Check the folder, its permissions and the disk."
        ) from error


def is_special(path: str | Path) -> bool:
    """Tell a pipe, a device, or a descriptor that is open, which are written to directly."""
    if descriptor_of(path) is not None:
        return True
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)  # noqa: PTH110, PTH112, PTH113 - these raise nothing


def descriptor_of(path: str | Path) -> int | None:
    """Return the number of the descriptor of this process that a path names, open or not; None for any other path.

    These are /dev/stdout, /dev/stderr, /dev/fd/N and /proc/self/fd/N, and links to them. Where a redirection leads to a file,
    the system takes them for links to that file.
    """
    own = re.compile(rf"/dev/fd|/proc/{os.getpid()}(/task/\d+)?/fd")
    try:
        for _ in range(_MOST_LINKS):
            folder, name = os.path.split(os.path.abspath(path))  # noqa: PTH100 - with links as they are
            folder = os.path.realpath(folder)
            if own.fullmatch(folder):
                return int(name) if name.isdecimal() and name.isascii() else None
            path = os.path.join(folder, os.readlink(os.path.join(folder, name)))  # noqa: PTH115, PTH118
    except (OSError, ValueError):  # no link, no name of a file
        pass
    return None


def open_directly(path: str | Path, buffering: int = -1) -> IO[bytes]:
    """Open a file to be written from its beginning, or a descriptor that is open already to be written where it stands.

    Raises:
        OSError: if the system refuses.
    """
    number = descriptor_of(path)
    if number is None:
        return open(path, "wb", buffering=buffering)
    for stream in (sys.stdout, sys.stderr):  # what was said before
        if stream is not None:
            stream.flush()
    return os.fdopen(os.dup(number), "wb", buffering=buffering)


def resolved(path: str | Path) -> Path:
    """Follow links to the file itself, which need not exist.

    Raises:
        OSError: if they lead in a circle, the name holds a NUL, which no file name may, or ends in a slash, as that of a folder.
    """
    try:
        found = Path(path).resolve()
    except (RuntimeError, ValueError) as error:  # the first is what Python before 3.13 says of a circle
        raise OSError(errno.EINVAL, str(error)) from error
    if found.is_symlink():  # Python 3.13 gives a circle back as it came
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if str(path).endswith(("/", os.sep)) and not found.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "it ends in a slash, and is no folder")
    return found


@contextlib.contextmanager
def _only_run(target: Path, shown: str | Path) -> Iterator[bool]:
    """Keep other runs away from `target` while the block runs; tell whether a run before was killed: it left its lock file.

    The holder removes its lock file before it lets go. Who opened the old file in between holds a lock on a file
    that is no longer there, sees that by comparing, and tries again.
    """
    lock = target.with_name(f".{target.name}.lock")
    opened: list[int] = []  # filled at once: a signal may end the run anywhere behind it
    found = None
    try:
        found = None if fcntl is None else _locked(lock, shown, opened)
        if found is not None:
            with contextlib.suppress(OSError):  # the number is only for the message to other runs
                os.ftruncate(found[0], 0)
                os.write(found[0], str(os.getpid()).encode())
        yield found is not None and found[1]
    finally:
        for descriptor in opened:
            _let_go(lock, descriptor, is_held=found is not None)


def _let_go(lock: Path, descriptor: int, *, is_held: bool) -> None:
    """Remove the lock file, unless another run holds it, and close it."""
    with contextlib.suppress(OSError):  # a lock file that stays is free, and the next run removes it
        if not is_held:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_held = os.path.samestat(os.fstat(descriptor), os.lstat(lock))
        if is_held:
            os.unlink(lock)
    with contextlib.suppress(OSError):
        os.close(descriptor)


def _locked(lock: Path, shown: str | Path, opened: list[int]) -> tuple[int, bool] | None:
    """Open and lock the file, and tell whether it was there; None if the file system has no locks.

    Args:
        lock: the file.
        shown: the file that it is for, for messages.
        opened: gets what is open, to be let go by the caller whatever happens.

    Raises:
        OccupiedError: if another run holds the lock.
    """
    for _ in range(_LOOKS):
        descriptor, was_there = _open_lock(lock)
        opened.append(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.lstat(lock)):
                return descriptor, was_there
        except FileNotFoundError:  # its holder removed it a moment ago
            pass
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode("ascii", "replace")
            if holder.isdigit():
                raise _occupied(shown, f"process {holder}") from None
            time.sleep(_PAUSE)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            with contextlib.suppress(OSError):
                os.unlink(lock)
            return None
        opened.remove(descriptor)
        os.close(descriptor)
    raise _occupied(shown, "another process")


def _open_lock(lock: Path) -> tuple[int, bool]:
    """Open or create the lock file, and tell whether it was there; another user's may only be readable, and can be locked too."""
    with contextlib.suppress(FileExistsError, PermissionError):
        return os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666), False
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), True
    except PermissionError:
        if not os.path.lexists(lock):
            raise
        return os.open(lock, os.O_RDONLY | os.O_NOFOLLOW), True


def _occupied(shown: str | Path, holder: str) -> OccupiedError:
    return OccupiedError(
        f"Only one run may write a file at a time. Received: {shown}, which {holder} is writing. Wait for it, or name another file."
    )


def _remove_leftovers(target: Path) -> None:
    """Remove temporary files of `target`; under the lock they can only be those of runs that were killed."""
    own = re.compile(rf"\.{re.escape(target.name)}\.[a-z0-9_]{{8}}\.tmp")
    begin = f".{target.name}."
    for name in os.listdir(target.parent):  # noqa: PTH208 - there may be thousands, and a path for each takes its time
        if name.startswith(begin) and own.fullmatch(name):
            with contextlib.suppress(OSError):
                os.unlink(target.parent / name)


@contextlib.contextmanager
def _replacement(target: Path) -> Iterator[IO[bytes]]:
    """Yield a handle on a temporary file that replaces `target` when the block ends without an exception."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    try:
        with _closing(descriptor) as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.chmod(temporary, _mode_for(target))
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[IO[bytes]]:
    """Yield a handle on a descriptor and close it; an exception is not lost to a second one from closing."""
    try:
        handle = os.fdopen(descriptor, "wb")
    except BaseException:
        os.close(descriptor)
        raise
    try:
        yield handle
    except BaseException:
        with contextlib.suppress(OSError):
            handle.close()
        raise
    handle.close()


def _mode_for(target: Path) -> int:
    """Keep the mode of the file that is replaced; a new file gets what `open` would give it."""
    with contextlib.suppress(FileNotFoundError):
        return stat.S_IMODE(target.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def sync(handle: IO[bytes]) -> None:
    """Flush what was written to disk, where there is one behind it: a pipe has none.

    Raises:
        OSError: if the system fails to.
    """
    handle.flush()
    try:
        descriptor = handle.fileno()
    except io.UnsupportedOperation:  # it is in memory
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def sync_folder(folder: Path) -> None:
    """Flush the names of the files in a folder; a file system that cannot do that does not need it to be consistent."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
