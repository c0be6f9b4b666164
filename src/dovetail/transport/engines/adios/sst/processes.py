"""Starting the processes that serve a stream."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from dovetail.errors import DovetailError
from dovetail.transport.deadlines import Deadline

_WORKERS = "dovetail.transport.engines.adios.sst"


def start_script(script: Path, settings: dict[str, Any]) -> str:
    """Run a script of the standard library beside this process; its first line of output.

    It outlives this process.
    """
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            start_new_session=True,
            cwd="/",
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin, process.stdout:
            process.stdin.write(json.dumps(settings).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline().decode().strip()
        _reap(process)
        if not line:
            complaints.seek(0)
            text = complaints.read().decode(errors="replace")[-2000:]
            raise DovetailError(f"the process that keeps a stream could not start: {text}")
        return line


class Worker:
    """A process that works for this one, and hears of its end.

    Parameters
    ----------
    module
        Of this package: it has ``main(connection, settings)``.
    lock
        The descriptor of a lock that it holds, too, from now on.
    ended
        Called, in a thread of its own, when it has ended.
    """

    def __init__(
        self,
        module: str,
        settings: dict[str, Any],
        lock: int | None = None,
        ended: Callable[[], None] | None = None,
    ) -> None:
        ours, theirs = socket.socketpair()
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        code = (
            "import json, socket, sys; "
            f"connection = socket.socket(fileno={theirs.fileno()}); "
            "settings = json.loads(connection.makefile('rb', 0).readline() or sys.exit()); "
            "sys.path[:] = settings['path']; "
            f"from {_WORKERS}.{module} import main; main(connection, settings)"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            pass_fds=[theirs.fileno(), *([] if lock is None else [lock])],
            stdin=subprocess.DEVNULL,
            stdout=self._complaints,
            stderr=self._complaints,
            start_new_session=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        theirs.close()
        _reap(self._process, ended)
        self._connection = ours
        self._incoming = b""
        self.tell({**settings, "path": sys.path})

    def tell(self, message: Any) -> None:
        """A line of JSON."""
        try:
            self._connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise DovetailError(
                f"a process of this stream is gone ({error}): {self.ending()}"
            ) from None

    def hand(self, message: Any, descriptors: list[int]) -> None:
        """A line of JSON, with copies of descriptors of this process."""
        try:
            socket.send_fds(self._connection, [json.dumps(message).encode() + b"\n"], descriptors)
        except OSError as error:
            raise DovetailError(
                f"a process of this stream is gone ({error}): {self.ending()}"
            ) from None

    def hear(self, deadline: Deadline) -> Any:
        """The next line that it says; None at the deadline.

        Raises
        ------
        DovetailError
            If it has gone.
        """
        while b"\n" not in self._incoming:
            left = deadline.left()
            self._connection.settimeout(None if left == math.inf else max(left, 1e-4))
            try:
                data = self._connection.recv(1 << 20)
            except (TimeoutError, BlockingIOError):
                return None
            except OSError:
                data = b""
            finally:
                self._connection.settimeout(None)
            if not data:
                self._process.wait(5.0)
                raise DovetailError(f"a process of this stream is gone: {self.ending()}")
            self._incoming += data
        line, self._incoming = self._incoming.split(b"\n", 1)
        return json.loads(line)

    def fileno(self) -> int:
        return self._connection.fileno()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait(5.0)

    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.returncode is None

    def ending(self) -> str:
        """How it ended, and the end of what it complained of."""
        self._complaints.seek(0)
        text = self._complaints.read().decode(errors="replace")[-2000:].strip()
        return f"exit status {self._process.returncode}: {text or 'without a word'}"

    def let_go(self) -> None:
        """Close this end: the process ends when its work is done."""
        self._connection.close()
        self._complaints.close()


def _reap(process: subprocess.Popen[Any], ended: Callable[[], None] | None = None) -> None:
    """Take leave of a process when it ends, whenever that may be."""

    def take_leave() -> None:
        process.wait()
        if ended is not None:
            ended()

    threading.Thread(target=take_leave, name="dovetail reaper", daemon=True).start()
