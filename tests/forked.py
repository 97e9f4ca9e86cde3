"""Commands in processes of their own which begin with everything imported: they are forked from one that has.

The tests run hundreds of commands, and TensorFlow takes some seconds to import: most of the time that these commands took.
`Forks` starts one process that imports it all and then waits. A command `anomaly` in a folder of its own hands it its arguments,
its folder, its environment and its three streams, or which of them are closed; what it forks runs the command line on these, and
its exit code goes back, or the signal that ended it, which then ends the command `anomaly` too. That hands on the signals that a
command heeds; where it is killed, so is what was forked, which is gone when its streams have ended.
"""

import contextlib
import gc
import io
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

from heeding import NAMES

_COMMAND = """#!{python} -ISE
import json, os, resource, signal, socket, struct, sys
closed = []
for number in range(3):
    try:
        os.fstat(number)
    except OSError:
        closed.append(number)
        os.open(os.devnull, os.O_RDWR)  # which gets its number
signal.pthread_sigmask(signal.SIG_BLOCK, {heeded!r})  # until they can be handed on
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    asked = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ), closed]).encode()
    socket.send_fds(server, [struct.pack("!I", len(asked))], [0, 1, 2])
    server.sendall(asked)
    place = struct.unpack("!i", server.recv(4))[0]
    def hand_on(number, _):
        try:
            os.kill(place, number)
        except ProcessLookupError:
            pass
    for number in {heeded!r}:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, hand_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {heeded!r})
    answer = server.recv(4)
code = struct.unpack("!i", answer)[0] if answer else 1
if code < 0:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the one that matters has left its own
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [-code])
    if -code not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""
# The signals that a command heeds.
_HEEDED = [int(getattr(signal, name)) for name in NAMES if hasattr(signal, name)]
# Where a process with libraries like these is no good to fork.
_PLAIN_COMMAND = """#!{python} -IS
import os, sys
given = ["-W", "error", "-c", *sys.argv[2:]] if sys.argv[1:2] == ["--code"] else ["-m", "anomaly", *sys.argv[1:]]
os.execv({python!r}, [{python!r}, *given])
"""
CODE = "--code"  # before a program, and its arguments, to run instead of the command line, with warnings as errors


class Forks:
    """A context manager; `folder` holds the command `anomaly`, to be put on the path.

    What is imported reads the variables in `environment`; each command has those of its caller.
    """

    def __init__(self, environment=None):
        self._environment = environment

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp())
        address = str(self.folder / "socket")
        command = self.folder / "anomaly"
        forks = sys.platform == "linux"
        command.write_text((_COMMAND if forks else _PLAIN_COMMAND).format(python=sys.executable, address=address, heeded=_HEEDED))
        command.chmod(0o755)
        self._server = self._started(address) if forks else None
        return self

    def _started(self, address):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        server = subprocess.Popen([sys.executable, __file__, address], **pipes, cwd="/", env=self._environment)
        assert server.stdout.readline() == b"ready\n"
        return server

    def __exit__(self, *_):
        if self._server:
            self._server.kill()
            self._server.wait()
            self._server.stdin.close()
            self._server.stdout.close()
        shutil.rmtree(self.folder)


def _serve(address):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _import_all()
    gc.freeze()  # no fork copies all pages by collecting what it got
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen(64)
        os.write(1, b"ready\n")
        while 0 not in select.select([0, server], [], [])[0]:  # its standard input ends with who started it
            asking, _ = server.accept()
            with asking:
                if not os.fork():
                    server.close()
                    _answer(asking)
            _forget_the_ended()


def _forget_the_ended():
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _import_all():
    """Import what commands import, and start none of it."""
    import importlib

    from anomaly.network.onnx_start import load_onnxruntime
    from anomaly.tensorflow_start import load_keras

    load_keras()
    load_onnxruntime()
    own = ("anomaly.detector.detector", "anomaly.files.one_file", "anomaly.fleet.training", "anomaly.report.page", "anomaly.cli")
    for name in (*own, "onnx", "scipy.signal", "sklearn.base", "sklearn.preprocessing"):
        importlib.import_module(name)


def _answer(asking):
    """Run what is asked for in a process of its own, and send its exit code."""
    head, streams, _, _ = socket.recv_fds(asking, 4, 3)
    arguments, folder, environment, closed = json.loads(asking.recv(struct.unpack("!I", head)[0], socket.MSG_WAITALL))
    child = os.fork()
    if not child:
        asking.close()
        _heed()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        for number in closed:
            os.close(number)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        _run(arguments, closed)
    with contextlib.suppress(BrokenPipeError):
        asking.sendall(struct.pack("!i", child))
    if asking in select.select([asking, os.pidfd_open(child)], [], [])[0]:  # the command was killed
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(BrokenPipeError):
        asking.sendall(struct.pack("!i", os.waitstatus_to_exitcode(status)))
    os._exit(0)


def _heed():
    """Take every signal as in a terminal, however the suite itself was started: the command `anomaly` says which come."""
    for number in _HEEDED:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _run(arguments, closed):
    """Run the command line, or a program, on the streams of this process, as the interpreter would; do not return."""
    import atexit

    sys.stdin = sys.stdout = sys.stderr = None
    if 0 not in closed:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    if 1 not in closed:
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), line_buffering=os.isatty(1))
    if 2 not in closed:
        sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), errors="backslashreplace", write_through=True)
    code = 1
    try:
        if arguments[:1] == [CODE]:
            warnings.simplefilter("error")
            sys.argv = ["-c", *arguments[2:]]
            exec(compile(arguments[1], "<program>", "exec"), {"__name__": "__main__"})
        else:
            from anomaly.cli import cli

            sys.argv = ["anomaly", *arguments]
            cli(prog_name="anomaly")
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does
        sys.excepthook(*sys.exc_info())
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):
        if sys.stdout:
            sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1])
