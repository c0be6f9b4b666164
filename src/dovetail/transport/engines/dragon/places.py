"""Where the servers of a user are found.

``dragon://server/store`` means a store on the server whose folder is ``server`` under
``$DOVETAIL_DRAGON_FOLDER``, by default ``dovetail-<user id>/dragon`` in the folder for temporary
files; ``dragon:///folder?store=store`` names the folder itself. Servers that span nodes need one
that all of these share.

In the folder of a server: ``settings.json`` (what it was started with), ``contact.json`` (how it
is reached, with the token; written when it is ready, readable by its user alone) and
``server.log``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, Self

from dovetail.errors import AccessDeniedError, InvalidURLError
from dovetail.transport.url import URL

FOLDER_VARIABLE = "DOVETAIL_DRAGON_FOLDER"
DEFAULT_STORE = "default"
SETTINGS = "settings.json"
_LONGEST_SOCKET = 100
"""Bytes that the path of a Unix socket may have, with some to spare."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@-]{0,99}")


class Place(NamedTuple):
    """What a URL names."""

    folder: Path
    """Of the server."""
    store: str

    @property
    def server(self) -> str:
        """How messages name the server."""
        return self.folder.name


def place_of(url: URL) -> Place:
    """The server and the store that a URL names; neither need exist.

    Raises
    ------
    InvalidURLError
    """
    if url.location.startswith("/") and "\0" not in url.location:
        folder, store = Path(os.path.normpath(url.location)), url.options.get("store")
    elif "store" in url.options:
        raise InvalidURLError(
            f"{url}: ?store= goes with the folder of a server; write dragon://server/store"
        )
    else:
        server, slash, rest = url.location.partition("/")
        folder, store = root() / _fit(url, server), rest if slash else None
    return Place(folder, DEFAULT_STORE if store is None else _fit(url, store))


def _fit(url: URL, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidURLError(
            f"dragon://{url.location} needs the name of a server, and may name a store on it, "
            f"such as dragon://run or dragon://run/fields: letters, digits and _.+@-, at most "
            f"100 each, beginning with a letter, a digit or _"
        )
    return name


def root() -> Path:
    """The folder in which this user's servers have theirs. It need not exist."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return Path(chosen).absolute()
    return _of_user() / "dragon"


def made(folder: Path) -> Path:
    """The folder of a server, made if it is not there, and this user's own.

    Raises
    ------
    AccessDeniedError
        If somebody else owns it, or another that it lies in and that is ours to make.
    """
    for part in (_of_user(), _of_user() / "dragon", folder):
        if part != folder and not folder.is_relative_to(part):
            continue
        part.mkdir(mode=0o700, exist_ok=True, parents=part == folder)
        status = part.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise AccessDeniedError(
                f"{part} is not a folder of this user ({os.getuid()}): ask that it be removed, or "
                f"set {FOLDER_VARIABLE} to a folder of your own"
            )
        if part == folder and status.st_mode & 0o077:
            part.chmod(0o700)
    return folder


def socket_of(folder: Path) -> Path:
    """The Unix socket of a server, elsewhere if its folder has too long a path for one."""
    path = folder / "socket"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET:
        return path
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return _of_user() / f"dragon-{digest}.socket"


def _of_user() -> Path:
    return Path(tempfile.gettempdir()) / f"dovetail-{os.getuid()}"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a server is started with."""

    nodes: int
    managers: int
    """On each node."""
    memory: int
    """Bytes of values that all managers together can hold."""
    linger: float
    """Seconds without a client after which it ends by itself; 0: never."""
    interface: str
    """The network interface, or an address of it, for clients on other hosts; empty: none."""
    isolated: bool
    """In namespaces of its own, where Dragon's clean-up can reach nobody else's files."""

    def text(self) -> str:
        """What ``settings.json`` holds."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read ``settings.json``."""
        return cls(**json.loads((folder / SETTINGS).read_text()))


@dataclass(frozen=True, slots=True)
class Contact:
    """How a server is reached."""

    protocol: int
    pid: int
    """Of its keeper, in its own pid namespace."""
    host: str
    """The host of its keeper."""
    socket: str
    """A Unix socket, for clients on that host."""
    address: str
    """An interface, for clients on other hosts; empty if it listens on none."""
    port: int
    token: str
    nodes: int
    managers: int
    memory: int
    dictionary: str
    """What a Dragon program attaches to, to see the dictionary itself."""

    def __repr__(self) -> str:
        return f"<Contact on {self.host}, pid {self.pid}>"  # never the token

    def write(self, folder: Path) -> None:
        """Write ``contact.json``: from now on the server is there."""
        part = folder / f".contact.{os.getpid()}"
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w") as file:
            json.dump(asdict(self), file)
        part.rename(folder / "contact.json")

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read ``contact.json``; ``None`` if there is none, or one that nobody can read."""
        try:
            return cls(**json.loads((folder / "contact.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None


def forget(folder: Path) -> None:
    """Remove the contact of a server that has ended."""
    with suppress(FileNotFoundError):
        (folder / "contact.json").unlink()
