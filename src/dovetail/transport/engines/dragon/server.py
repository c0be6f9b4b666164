"""The server behind ``dragon://``: a Dragon runtime with a keeper, described, started, stopped.

A server is one process, ``python -m dovetail.transport.engines.dragon FOLDER``, which ends all
that it started when it ends itself. The workflow runs it in the foreground; the first who opens
one of its stores, where none runs, in the background.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib import metadata, util
from pathlib import Path

from dovetail.errors import EngineUnavailableError, InvalidURLError, TransportTimeoutError
from dovetail.transport.deadlines import Deadline
from dovetail.transport.engines.dragon import places
from dovetail.transport.engines.dragon.client import KeeperLostError, reach
from dovetail.transport.engines.dragon.places import Contact, Settings
from dovetail.transport.serving import ServerDescription
from dovetail.transport.url import URL

INSTALL = "pip install 'dovetail[dragon]'"
RUNTIME_VARIABLE = "DRAGON_MY_PUID"
"""Set by Dragon in every process of a runtime."""
SMALLEST_MEMORY = 16 << 20
DEFAULT_MEMORY = 1 << 30
LINGER = 3600.0
"""Seconds for which a server that an opener started waits for another client."""
SECONDS_TO_STOP = 30.0
LOG = "server.log"
"""In the folder of a server that was started in the background."""
OPTIONS = ("nodes", "managers", "memory", "interface")
"""What a URL may say of the server that it starts."""


def version() -> str | None:
    """The version of DragonHPC that is installed here, if one is."""
    if util.find_spec("dragon") is None:
        return None
    try:
        return metadata.version("dragonhpc")
    except metadata.PackageNotFoundError:
        return None


def require() -> None:
    """Check that a server can be started here.

    Raises
    ------
    EngineUnavailableError
    """
    if version() is None:
        raise EngineUnavailableError(
            f"dragon:// needs DragonHPC where its server is started, and it is not installed: "
            f"{INSTALL}"
        )


def described(url: URL, folder: Path, linger: float = 0.0) -> ServerDescription:
    """A server in a folder, as whoever runs it needs to know it.

    Parameters
    ----------
    url
        Its options ``nodes``, ``managers`` (on each node), ``memory`` (of values, on all) and
        ``interface`` (for clients on other hosts).
    linger
        Seconds without a client after which it ends by itself; 0: never.

    Raises
    ------
    InvalidURLError, EngineUnavailableError
    """
    require()
    settings = settings_of(url, linger)
    if settings.nodes == 1 and namespaces():
        settings = replace(settings, isolated=True)
    kept = {name: text for name, text in url.options.items() if name not in OPTIONS}
    kept["start"] = "no"
    return ServerDescription(
        command=(sys.executable, "-m", "dovetail.transport.engines.dragon", str(folder)),
        url=str(URL(url.scheme, str(folder), kept)),
        folder=folder,
        url_of=lambda name: str(URL(url.scheme, str(folder), {**kept, "store": name})),
        files={folder / places.SETTINGS: settings.text()},
        elsewhere=() if places.socket_of(folder).parent == folder else (places.socket_of(folder),),
    )


def settings_of(url: URL, linger: float) -> Settings:
    """What a URL says of its server.

    Raises
    ------
    InvalidURLError
    """
    return Settings(
        nodes=count_option(url, "nodes"),
        managers=count_option(url, "managers"),
        memory=memory_option(url),
        linger=linger,
        interface=interface_option(url),
        isolated=False,
    )


def interface_option(url: URL) -> str:
    """The option that names a network interface, or an address of this host."""
    named = url.options.get("interface", "")
    if named and not re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", named):
        raise InvalidURLError(
            f"interface={named!r} is neither an interface such as hsn0 nor an address"
        )
    return named


def count_option(url: URL, name: str) -> int:
    """An option that is a number of nodes or managers; 1 if it is not given."""
    text = url.options.get(name, "1")
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 100_000:
        raise InvalidURLError(f"{name}={text!r} is not a whole number from 1 on")
    return int(text)


def memory_option(url: URL) -> int:
    """Bytes of values that the server can hold: by default 1 GiB, or an eighth of what is free."""
    asked = url.bytes_option("memory")
    if asked is None:
        pages = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return max(SMALLEST_MEMORY, min(DEFAULT_MEMORY, pages // 8))
    if asked < SMALLEST_MEMORY:
        raise InvalidURLError(
            f"memory={url.options['memory']!r} is too little: a dictionary needs 16MiB or more"
        )
    return asked


def namespaces() -> bool:
    """Whether this process can make namespaces of its own for a server."""
    try:
        tried = subprocess.run([*isolation(), "true"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0


def isolation() -> list[str]:
    """A command prefix: own mounts with an own /dev/shm to be mounted, own processes.

    Dragon's clean-up after a failure removes what it finds in /dev/shm, and Python processes
    with it. Here it finds its own alone; and the end of the first process ends all.
    """
    own_user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return [
        "unshare", *own_user, "--mount", "--propagation", "private",
        "--pid", "--fork", "--kill-child", "--mount-proc",
    ]  # fmt: skip


def contact_of(folder: Path) -> Contact | None:
    """The contact of a server that answers; ``None`` if there is none, or none any more."""
    contact = Contact.read(folder)
    if contact is None:
        return None
    try:
        reach(contact, Deadline(5.0)).close()
    except KeeperLostError:
        return None
    return contact


def running(url: URL, timeout: float | None) -> Contact:
    """The server that a URL names, started in the background if there is none.

    With ``?start=no`` it is waited for instead.

    Raises
    ------
    EngineUnavailableError
        If it did not start; the message ends with its last lines.
    TransportTimeoutError, AccessDeniedError
    """
    start = url.choice_option("start", "yes", "no") == "yes"
    folder = places.made(places.place_of(url).folder)
    deadline = Deadline(timeout)
    contact = contact_of(folder)
    if contact is not None:
        return contact
    if not start:
        return _awaited(folder, lambda: True, deadline)
    with _alone(folder, deadline):
        contact = contact_of(folder)
        if contact is not None:
            return contact
        lives: Callable[[], bool] = partial(locked, folder)
        if RUNTIME_VARIABLE in os.environ:
            lives = _start_inside(url, folder)
        elif not locked(folder):
            places.forget(folder)
            server = described(url, folder, LINGER)
            server.prepare()
            subprocess.run([*server.command, "--background"], check=True)
        return _awaited(folder, lives, deadline)


def stop(folder: Path, timeout: float = SECONDS_TO_STOP) -> None:
    """End a server, however it was started; harmless if there is none.

    Raises
    ------
    TransportTimeoutError
    """
    contact = Contact.read(folder)
    deadline = Deadline(timeout)
    if contact is not None:
        try:
            with reach(contact, deadline) as connection:
                connection.ask({"do": "end"}, deadline)
                connection.receive(deadline)
        except KeeperLostError:
            places.forget(folder)
    while locked(folder):
        if deadline.passed:
            raise TransportTimeoutError(
                f"the server of {folder.name} did not end within {timeout:g} s: see {folder / LOG}"
            )
        time.sleep(0.02)


def locked(folder: Path) -> bool:
    """Whether a server process of this folder runs."""
    try:
        with open(folder / "server.lock", "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _start_inside(url: URL, folder: Path) -> Callable[[], bool]:
    """Start a keeper in the runtime that this process is part of; gives what says if it lives.

    It ends with the runtime.
    """
    from dragon.native.process import Process

    from dovetail.transport.engines.dragon import keeper

    (folder / places.SETTINGS).write_text(settings_of(url, 0.0).text())
    process = Process(keeper.inside, (str(folder),), cwd=str(folder))
    process.start()
    return lambda: bool(process.is_alive)


def _awaited(folder: Path, lives: Callable[[], bool], deadline: Deadline) -> Contact:
    while True:
        lived = lives()
        contact = contact_of(folder)
        if contact is not None:
            return contact
        if not lived:
            raise EngineUnavailableError(
                f"the server of dragon://{folder.name} did not start. Its last lines:\n"
                f"{last_lines(folder / LOG)}"
            )
        if deadline.passed:
            raise TransportTimeoutError(
                f"the server of dragon://{folder.name} was not ready within {deadline}: see "
                f"{folder / LOG}"
            )
        time.sleep(0.02)


def last_lines(log: Path, count: int = 12) -> str:
    """The end of a log, indented."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-count:]
    except OSError as error:
        return f"    (there is no log: {error})"
    return "\n".join(f"    {line}" for line in lines)


@contextmanager
def _alone(folder: Path, deadline: Deadline) -> Iterator[None]:
    """One opener at a time starts a server."""
    with open(folder / "opener.lock", "ab") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if deadline.passed:
                    raise TransportTimeoutError(
                        f"another process was still starting the server of dragon://{folder.name} "
                        f"after {deadline}"
                    ) from None
                time.sleep(0.02)
        yield
