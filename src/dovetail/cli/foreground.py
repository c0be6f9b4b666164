"""A server in the foreground of a command: started, awaited, and ended with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import IO

from dovetail.flow.processes import die_with
from dovetail.transport.serving import ServerDescription

SECONDS_TO_START = 60.0
_SECONDS_TO_END = 10.0
_LAST_LINES = 3


class Orders:
    """Turns the first signal into an order to end; the next one breaks off."""

    def __init__(self) -> None:
        self.given = threading.Event()
        self._signals = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._take)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            sys.exit(128 + number)
        self.given.set()


def run(server: ServerDescription, log: Path, say: Callable[[int], None]) -> None:
    """Run a server until a signal comes; then end it, and remove what it leaves.

    Parameters
    ----------
    log
        Where its output goes.
    say
        Called with its process id once a store can be opened on it.

    Raises
    ------
    ChildProcessError
        If it ends by itself; with its last lines.
    DovetailError
        If it does not get ready.
    """
    orders = Orders()
    server.prepare()
    try:
        with open(log, "ab") as output:
            process = _started(server, output)
        try:
            if _is_ready(server, process, log, orders):
                say(process.pid)
            while not orders.given.wait(0.2):
                if process.poll() is not None:
                    raise ChildProcessError(_ending(process, log))
        finally:
            _end(process)
    finally:
        server.clear()


def _started(server: ServerDescription, output: IO[bytes]) -> subprocess.Popen[bytes]:
    parent = os.getpid()
    return subprocess.Popen(
        server.command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=server.folder,
        env={**os.environ, **server.environment},
        start_new_session=True,
        # No thread runs here yet.
        preexec_fn=lambda: die_with(parent),  # noqa: PLW1509
    )


def _is_ready(
    server: ServerDescription, process: subprocess.Popen[bytes], log: Path, orders: Orders
) -> bool:
    """Wait until a store can be opened on it; False if an order to end comes first."""
    import dovetail as dv

    deadline = time.monotonic() + SECONDS_TO_START
    while not orders.given.wait(0.02):
        try:
            dv.open_store(server.url, timeout=0.2).close()
        except dv.DovetailError:  # it may come from another one, beside which ours cannot start
            if process.poll() is not None:
                raise ChildProcessError(_ending(process, log)) from None
            if time.monotonic() > deadline:
                raise
            continue
        return True
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _ending(process: subprocess.Popen[bytes], log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
    return (
        f"the server ended with status {process.returncode}. The last lines of {log}: "
        f"{' | '.join(line.strip() for line in lines)}"
    )
