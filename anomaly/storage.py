"""Write files so that a crash leaves the complete old file or the complete new one."""

import contextlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from anomaly.errors import StorageError


@contextlib.contextmanager
def atomic_output(path: str | Path) -> Iterator[IO[bytes]]:
    """Yield a binary handle whose content becomes `path` when the block ends without an exception.

    The content goes to a temporary file in the same folder, is flushed to disk and renamed over
    `path`; on any exception the temporary file is removed and `path` is left as it was. Something
    that is not a regular file (a pipe, a device) is written to directly: it cannot be renamed over.

    Raises:
        StorageError: if the folder does not exist, or the system refuses to write.
    """
    path = Path(path)
    with storage_errors(path):
        if is_special(path):
            with open(path, "wb") as handle:
                yield handle
            return
        target = path.resolve()
        if target.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as handle:
                yield handle
                handle.flush()
                os.fsync(handle.fileno())
            os.chmod(temporary, _mode_for(target))
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _sync_folder(target.parent)


def require_writable(path: str | Path) -> None:
    """Refuse early what `atomic_output` would refuse after the work is done.

    Raises:
        StorageError: if the folder of `path` does not exist or may not be written to, or `path` is a folder.
    """
    target = Path(path).resolve()
    with storage_errors(path):
        if target.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        if not target.parent.is_dir():
            raise FileNotFoundError(2, "its folder does not exist")
        if is_special(target):
            if not os.access(target, os.W_OK):
                raise PermissionError(13, "it may not be written to")
        elif not os.access(target.parent, os.W_OK):
            raise PermissionError(13, "its folder may not be written to")


def atomic_write(path: str | Path, content: bytes) -> None:
    """Make `content` the content of `path`, or leave `path` as it was (see `atomic_output`)."""
    with atomic_output(path) as handle:
        handle.write(content)


def remove(path: str | Path) -> None:
    """Delete a file, if it is there."""
    with storage_errors(path):
        Path(path).unlink(missing_ok=True)


@contextlib.contextmanager
def output_or_stdout(path: str) -> Iterator[IO[bytes]]:
    """Yield a binary handle: standard output for "-", else as `atomic_output`."""
    if path == "-":
        with storage_errors("standard output"):
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
    """Tell a pipe or a device, which is written to directly."""
    path = Path(path)
    return path.exists() and not path.is_file() and not path.is_dir()


def _mode_for(target: Path) -> int:
    """Keep the mode of the file that is replaced; a new file gets what `open` would give it."""
    with contextlib.suppress(FileNotFoundError):
        return stat.S_IMODE(target.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _sync_folder(folder: Path) -> None:
    """Flush the rename itself; not every file system supports it, and none needs it to be consistent."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
