"""A pytest plug-in: at the end of the session no process and no shared memory may be left.

Processes are known by a token in their environment, so that orphans and detached ones count too.
"""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path

import pytest

TOKEN = "DOVETAIL_TEST_SESSION"
SECONDS_TO_GO = 5.0
"""How long a process that is just ending may take."""

_SHARED_MEMORY = Path("/dev/shm")
_OF_PYTHON_ITSELF = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
_before: set[Path] = set()


def pytest_sessionstart(session: pytest.Session) -> None:
    os.environ[TOKEN] = uuid.uuid4().hex
    _before.update(_shared())


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    deadline = time.monotonic() + SECONDS_TO_GO
    left = _left()
    while left and time.monotonic() < deadline:
        time.sleep(0.1)
        left = [thing for thing in _left() if thing in left]
    session.config.stash[_LEFT] = left
    if left and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


_LEFT = pytest.StashKey[list[str]]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    left = terminalreporter.config.stash.get(_LEFT, [])
    if left:
        terminalreporter.section("left behind by the tests", red=True)
        for thing in left:
            terminalreporter.write_line(thing, red=True)


def _left() -> list[str]:
    return [*_processes(), *(str(path) for path in sorted(_shared() - _before))]


def _shared() -> set[Path]:
    return {
        path
        for folder in _SHARED_MEMORY.glob("dovetail-*")
        for path in (folder.iterdir() if folder.is_dir() else [folder])
    }


def _processes() -> list[str]:
    token = f"{TOKEN}={os.environ[TOKEN]}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        if folder.name == str(os.getpid()):
            continue
        try:
            if token not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except OSError:  # it ended meanwhile, or is another user's
            continue
        if command and not any(name in command for name in _OF_PYTHON_ITSELF):
            found.append(f"process {folder.name}: {command}")
    return found
