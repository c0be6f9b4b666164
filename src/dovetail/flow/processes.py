"""Trees of processes: that none outlives its run, whatever it does to get away.

A rank dies with the process that started it (``PR_SET_PDEATHSIG``). What it starts itself, even
a daemon that forked twice, becomes a child of the supervisor when its parent ends
(``PR_SET_CHILD_SUBREAPER``), and is found there. And should the supervisor be killed, everything
of the run is known by a variable in its environment.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Be killed as soon as the thread that started this process ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def die_with(parent: int) -> None:
    """Be killed as soon as `parent` ends, or at once if it has."""
    die_with_parent()
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(pid: int | None = None) -> list[psutil.Process]:
    """All processes below one (by default this one) that have not ended."""
    import psutil

    try:
        below = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [process for process in below if _lives(process)]


def of_environment(variables: dict[str, str], among: list[psutil.Process]) -> list[psutil.Process]:
    """Those processes that have all these variables in their environment."""
    import psutil

    found = []
    for process in among:
        try:
            environment = process.environ()
        except (psutil.Error, OSError):
            continue
        if all(environment.get(name) == text for name, text in variables.items()):
            found.append(process)
    return found


def everywhere(variables: dict[str, str]) -> list[psutil.Process]:
    """All processes of this machine but this one that have these variables."""
    import psutil

    others = [process for process in psutil.process_iter() if process.pid != os.getpid()]
    return [process for process in of_environment(variables, others) if _lives(process)]


def send(number: signal.Signals, processes: list[psutil.Process]) -> None:
    """Send a signal to those that are still there."""
    import psutil

    for process in processes:
        try:
            process.send_signal(number)
        except psutil.Error:
            pass


def reap() -> list[tuple[int, int]]:
    """Pids and wait statuses of the children, own and adopted, that have ended."""
    ended: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended.append((pid, status))


def end_below(grace: float, patience: float = 10.0) -> list[str]:
    """End everything below this process: asked first, killed after `grace` seconds.

    Returns those that are still there `patience` seconds later.
    """
    send(signal.SIGTERM, descendants())
    deadline = time.monotonic() + grace
    while left := descendants():
        reap()
        if time.monotonic() > deadline:
            send(signal.SIGKILL, left)
        if time.monotonic() > deadline + patience:
            return [f"process {process.pid} would not end" for process in left]
        time.sleep(0.005)
    reap()
    return []


def in_words(pids: list[int]) -> str:
    """``process 7``, ``processes 7, 8``."""
    return f"process{'es' if len(pids) > 1 else ''} {', '.join(map(str, pids))}"


def kill_everywhere(variables: dict[str, str], patience: float = 10.0) -> list[str]:
    """Kill all processes that have these variables; return those that would not go."""
    deadline = time.monotonic() + patience
    while left := everywhere(variables):
        send(signal.SIGKILL, left)
        if time.monotonic() > deadline:
            return [f"process {process.pid}" for process in left]
        time.sleep(0.005)
    return []


def _lives(process: psutil.Process) -> bool:
    import psutil

    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
