"""Where peers work: folders, servers and hosts of one run, made when they are first needed."""

from __future__ import annotations

import ctypes
import itertools
import os
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import psutil

import dovetail as dv
from dovetail.bench.measure import OperationFailedError
from dovetail.bench.transports.hosts import Host
from dovetail.errors import DovetailError
from dovetail.transport.url import parse

SHARED_MEMORY = Path("/dev/shm")
PORT = 6379
_SECONDS_TO_START = 60.0
_SECONDS_TO_STOP = 20.0
_SET_PARENT_DEATH_SIGNAL = 1


class Place:
    """Folders and servers, which go with the ``with`` block.

    Parameters
    ----------
    disk
        A folder on a disk; ``None`` if there is none.
    hosts
        Two hosts, if producers and consumers are to be on one each. Servers are on the first.
    """

    def __init__(self, disk: Path | None, hosts: tuple[Host, ...] = ()) -> None:
        self._disk = disk
        self.hosts = hosts
        self._stack = ExitStack()
        self._numbers = itertools.count()
        self._databases = itertools.count()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self._stack.close()

    def name(self) -> str:
        """A name that nothing else has."""
        return f"bench-{os.getpid()}-{next(self._numbers)}"

    @cached_property
    def memory(self) -> Path:
        """A folder in memory."""
        return self._folder(SHARED_MEMORY)

    @cached_property
    def disk(self) -> Path:
        """A folder on a disk."""
        if self._disk is None:
            raise OperationFailedError("there is no folder on a disk")
        return self._folder(self._disk)

    @cached_property
    def redis(self) -> dict[str, Any]:
        """A Redis server: ``socket``, or ``host`` and ``port``; and ``password_file``."""
        folder = self._folder(Path(tempfile.gettempdir()))
        return self._stack.enter_context(_redis(folder, self.hosts[0] if self.hosts else None))

    def redis_url(self, name: str) -> str:
        """The URL of a store or a stream on that server."""
        server = self.redis
        password = f"password_file={server['password_file']}"
        if "socket" in server:
            return f"redis+unix://{server['socket']}?name={name}&{password}"
        return f"redis://{server['host']}:{server['port']}/{name}?{password}"

    @contextmanager
    def redis_database(self) -> Iterator[dict[str, Any]]:
        """The same server with a ``db`` of its own, emptied in the end where we can reach it."""
        from dovetail.bench.transports.parts.redis import emptied

        server = {**self.redis, "db": 1 + next(self._databases) % 15}
        with nullcontext() if self.hosts else emptied(server):
            yield server

    @cached_property
    def dragon(self) -> str:
        """The URL of a server of ``dragon://`` that runs."""
        folder = self._folder(Path(tempfile.gettempdir()))
        return self._stack.enter_context(_dragon(folder, self.megabytes))

    @property
    def megabytes(self) -> int:
        """How much memory a server may take."""
        return int(max(256, min(3072, psutil.virtual_memory().available // 6 >> 20)))

    def _folder(self, parent: Path) -> Path:
        made = tempfile.TemporaryDirectory(
            prefix="dovetail-bench-", dir=parent, ignore_cleanup_errors=True
        )
        return Path(self._stack.enter_context(made))


def disk_folder(wish: Path | None = None) -> Path | None:
    """A folder that is not in memory: the wish, or the folder for temporary files, or another."""
    folders = (
        [wish] if wish is not None else [Path(tempfile.gettempdir()), Path("/var/tmp"), Path.cwd()]
    )
    for folder in folders:
        if folder.is_dir() and os.access(folder, os.W_OK) and file_system_of(folder) != "tmpfs":
            return folder
    return None


def file_system_of(folder: Path) -> str:
    """The kind of file system that a folder lies on."""
    path = folder.resolve()
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    return next((mounts[part] for part in (path, *path.parents) if part in mounts), "unknown")


@contextmanager
def _redis(folder: Path, host: Host | None) -> Iterator[dict[str, Any]]:
    from dovetail.transport.engines.redis.server import program

    command = program()
    assert command is not None
    settings, password_file = folder / "server.conf", folder / "password"
    password = secrets.token_hex(16)
    where: dict[str, Any] = (
        {"socket": str(folder / "socket")} if host is None else {"host": host.address, "port": PORT}
    )
    listening = (
        f"port 0\nunixsocket {folder / 'socket'}\nunixsocketperm 600"
        if host is None
        else f"bind {host.address}\nport {PORT}"
    )
    for file, text in (
        (password_file, password),
        (settings, f'{listening}\nrequirepass {password}\nsave ""\nappendonly no\ndir {folder}\n'),
    ):
        file.touch(0o600)
        file.write_text(text)
    with open(folder / "log", "w+b") as log:
        server = subprocess.Popen(
            [*([] if host is None else host.prefix), command, str(settings)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - one call of the system, and no more
        )
        try:
            _await(server, folder / "log", lambda: b"eady to accept" in _log_of(folder))
            yield {**where, "password_file": str(password_file)}
        finally:
            _end(server)


def _log_of(folder: Path) -> bytes:
    """What a server has said so far."""
    return (folder / "log").read_bytes()


@contextmanager
def _dragon(folder: Path, megabytes: int) -> Iterator[str]:
    from dovetail.transport.engines.dragon import ENGINE

    description = ENGINE.server(parse(f"dragon://?memory={megabytes}MiB", "store"), folder, "bench")
    assert description is not None
    description.prepare()
    with open(folder / "log", "w+b") as log:
        server = subprocess.Popen(
            description.command,
            cwd=description.folder,
            env={**os.environ, **description.environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - one call of the system, and no more
        )
        try:
            _await(server, folder / "log", lambda: _opens(description.url))
            yield description.url
        finally:
            _end(server)
            description.clear()


def _opens(url: str) -> bool:
    try:
        dv.open_store(url, timeout=1).close()
    except DovetailError:
        return False
    return True


def _end_with_parent() -> None:
    """In a process that was just forked: be told to end when the parent has died."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)


def _await(server: subprocess.Popen[bytes], log: Path, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while not ready():
        if server.poll() is not None or time.monotonic() > deadline:
            last = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise OperationFailedError(f"the server did not start: {''.join(last)}")
        time.sleep(0.01)


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(_SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
