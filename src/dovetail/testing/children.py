"""Real processes for tests, forked from a warm parent so that a test can afford hundreds.

A :class:`ChildServer` is one fresh interpreter that has imported Dovetail and opened nothing.
Each :class:`Child` is forked from it and runs one function with a :class:`Channel` to the test.
Children share nothing with the test process but that channel, and die with their server.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from typing import Any, Self

PATIENCE = 60.0
"""Seconds after which a silent child fails its test."""

_SET_PARENT_DEATH_SIGNAL = 1
_WARM = [
    "numpy",
    "dovetail.data",
    "dovetail.learn",
    "dovetail.model",
    "dovetail.transport.engines.local",
]
"""What `import dovetail` leaves until it is used, and a child would import again and again."""


_CLEAN = "exit status 0"


class ChildDiedError(AssertionError):
    """The child ended while the test waited for a message of it.

    Attributes
    ----------
    ending
        How: an exit status, or the signal that killed it.
    """

    def __init__(self, ending: str) -> None:
        super().__init__(f"the other process ended: {ending}")
        self.ending = ending


class ChildFailedError(AssertionError):
    """The child's function raised; the message is its traceback."""


class Channel:
    """Messages (JSON values) between a test and one child."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send(self, message: Any) -> None:
        self._connection.send_bytes(json.dumps(message).encode())

    def receive(self, timeout: float = PATIENCE) -> Any:
        """The next message.

        Raises
        ------
        ChildDiedError, ChildFailedError, TimeoutError
        """
        if not self._connection.poll(timeout):
            raise TimeoutError(f"no message in {timeout} s")
        try:
            message = json.loads(self._connection.recv_bytes())
        except (EOFError, ConnectionResetError):
            raise ChildDiedError("without a word") from None
        if isinstance(message, dict):
            if "traceback" in message:
                raise ChildFailedError(message["traceback"])
            if "ended" in message:
                raise ChildDiedError(message["ended"])
        return message

    def waiting(self) -> bool:
        """Whether a message, or the end, is there to be received."""
        return self._connection.poll(0)

    def fileno(self) -> int:
        return self._connection.fileno()

    def close(self) -> None:
        self._connection.close()


class Child:
    """A process that runs one function."""

    def __init__(self, server: ChildServer, pidfd: int, connection: Connection) -> None:
        self.pid = _pid_of(pidfd)
        self.channel = Channel(connection)
        self._server = server
        self._pidfd = pidfd

    def send(self, message: Any) -> None:
        self.channel.send(message)

    def receive(self, timeout: float = PATIENCE) -> Any:
        return self.channel.receive(timeout)

    def signal(self, number: int) -> None:
        signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        """``kill -9``, and wait until the process is gone."""
        try:
            self.signal(signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._gone(PATIENCE)

    def suspend(self) -> None:
        """SIGSTOP, and wait until the process has stopped.

        Raises
        ------
        ChildDiedError, ChildFailedError
            If it has ended before.
        """
        try:
            self.signal(signal.SIGSTOP)
            wait_until(lambda: _state(self.pid) in "TZ", f"process {self.pid} to stop")
        except (ProcessLookupError, FileNotFoundError):
            pass
        if not self.alive():
            while True:
                self.receive()

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def alive(self) -> bool:
        return not self._gone(0)

    def join(self, timeout: float = PATIENCE) -> None:
        """Wait for a clean end.

        Raises
        ------
        ChildFailedError
            If its function raised.
        ChildDiedError
            If it was killed.
        """
        if not self._gone(timeout):
            raise TimeoutError(f"process {self.pid} is still running after {timeout} s")
        try:
            while True:
                self.receive()
        except ChildDiedError as end:
            if end.ending != _CLEAN:
                raise
        self.close()

    def close(self) -> None:
        """Kill the process if it still runs, and forget it."""
        if self._pidfd >= 0:
            self.kill()
            os.close(self._pidfd)
            self._pidfd = -1
            self.channel.close()
            self._server.forget(self)

    def _gone(self, timeout: float) -> bool:
        if self._pidfd < 0:
            return True
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        return bool(poller.poll(timeout * 1000))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ChildServer:
    """A warm interpreter to fork children from.

    Parameters
    ----------
    preload
        Modules to import before the first fork.
    prefix
        A command to run the interpreter under (``unshare`` …).
    environment
        Variables set for the interpreter, above those of this process.
    """

    def __init__(
        self,
        preload: Sequence[str] = (),
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._control, theirs = Pipe()
        settings = {"path": sys.path, "preload": [*_WARM, *preload]}
        self._process = subprocess.Popen(
            [
                *prefix,
                sys.executable,
                "-c",
                f"from dovetail.testing.children import serve; serve({theirs.fileno()})",
            ],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **(environment or {})},
        )
        theirs.close()
        self._children: set[Child] = set()
        self._control.send_bytes(json.dumps(settings).encode())

    def start(self, function: Callable[..., None], **arguments: Any) -> Child:
        """Fork a process that calls ``function(channel, **arguments)``.

        `function` lies at the top level of its module; `arguments` are JSON values.
        """
        ours, theirs = Pipe()
        request = {
            "module": function.__module__,
            "file": function.__code__.co_filename,
            "name": function.__name__,
            "arguments": arguments,
        }
        self._control.send_bytes(json.dumps(request).encode())
        send_handle(self._control, theirs.fileno(), self._process.pid)
        theirs.close()
        if not self._control.poll(PATIENCE):
            raise TimeoutError("the child server did not start a process")
        child = Child(self, recv_handle(self._control), ours)
        self._children.add(child)
        return child

    def forget(self, child: Child) -> None:
        self._children.discard(child)

    def close_children(self) -> None:
        """Kill every child that still runs."""
        for child in list(self._children):
            child.close()

    def close(self) -> None:
        self.close_children()
        self._control.close()
        self._process.wait(PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def wait_until(condition: Callable[[], Any], what: str, timeout: float = PATIENCE) -> None:
    """Return once `condition` holds; fail if it does not within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout} s in vain for {what}"
        time.sleep(0.0005)


def serve(descriptor: int) -> None:
    """The loop of the server process: fork a child for each request, until its end closes."""
    control = Connection(descriptor)
    settings = json.loads(control.recv_bytes())
    sys.path[:] = settings["path"]
    for module in settings["preload"]:
        importlib.import_module(module)
    awake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, int] = {}
    while True:
        for ready in wait([control, awake]):
            if ready == awake:
                os.read(awake, 4096)
                _reap(running)
                continue
            try:
                request = json.loads(control.recv_bytes())
            except EOFError:
                return
            handle = recv_handle(control)
            pid = _fork()
            if pid == 0:
                control.close()
                os.close(awake)
                os.close(waker)
                for other in running.values():
                    os.close(other)
                _run(request, Connection(handle))
            running[pid] = handle
            _answer(control, pid)


def _fork() -> int:
    pid = os.fork()
    if pid == 0:
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return pid


def _run(request: dict[str, Any], connection: Connection) -> None:
    channel = Channel(connection)
    status = 1
    try:
        module = _module(request["module"], request["file"])
        getattr(module, request["name"])(channel, **request["arguments"])
        status = 0
    except BaseException:
        channel.send({"traceback": traceback.format_exc()})
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _module(name: str, file: str) -> Any:
    if name in sys.modules:
        return sys.modules[name]
    try:
        return importlib.import_module(name)
    except ImportError:
        specification = importlib.util.spec_from_file_location(name, file)
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        sys.modules[name] = module
        specification.loader.exec_module(module)
        return module


def _reap(running: dict[int, int]) -> None:
    """Take leave of the children that have ended: the last word in their channels says how."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        handle = running.pop(pid, -1)
        if handle < 0:  # a child's orphan, where the server is the first process of a container
            continue
        os.set_blocking(handle, False)
        # The test may have closed its end, or have left so much unread that nothing more fits.
        with contextlib.suppress(OSError), Connection(handle) as connection:
            connection.send_bytes(json.dumps({"ended": _ending(status)}).encode())


def _ending(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit status {code}" if code >= 0 else signal.Signals(-code).name


def _answer(control: Connection, pid: int) -> None:
    # A descriptor names the child across pid namespaces; a number would not.
    descriptor = os.pidfd_open(pid)
    send_handle(control, descriptor, 0)
    os.close(descriptor)


def _pid_of(descriptor: int) -> int:
    for line in Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines():
        if line.startswith("Pid:"):
            return int(line.split()[1])
    raise AssertionError("a pidfd without a pid")


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
