"""Where a stream over SST is found: its contact file, and the interface that it listens on."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import socket
import stat
import struct
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from dovetail.errors import (
    EngineUnavailableError,
    InvalidURLError,
    KeyNotFoundError,
    TransportTimeoutError,
)
from dovetail.transport.deadlines import Deadline
from dovetail.transport.engines.adios.files import LOOK_AGAIN
from dovetail.transport.engines.adios.sst import home
from dovetail.transport.engines.adios.sst.line import ANSWERS_WITHIN, Line, patience_of
from dovetail.transport.engines.adios.sst.processes import start_script
from dovetail.transport.url import URL

LINGER = 600.0
"""Seconds that steps which nobody has read outlive their producer."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@-]{0,99}")
_GET_ADDRESS = 0x8915  # SIOCGIFADDR


class Place(NamedTuple):
    """Where a stream is found."""

    name: str
    folder: Path
    """Holds contact files; every node that takes part sees it."""
    interface: str
    """The network interface that its processes listen on."""
    linger: float
    label: str
    """The URL, for messages."""

    @property
    def contact(self) -> Path:
        """The contact file of its home."""
        return self.folder / f"{self.name}.home"


def place_of(url: URL) -> Place:
    """What the location and the options of a URL say.

    Raises
    ------
    InvalidURLError
    """
    if not _NAME.fullmatch(url.location):
        raise InvalidURLError(
            f"sst://{url.location} needs a name of letters, digits and _.+@-, such as "
            f"sst://fields; the folder of its contact file is the option contact="
        )
    folder = url.options.get("contact")
    if folder is not None and not folder.startswith("/"):
        raise InvalidURLError(f"contact={folder!r} must be an absolute path, seen by all nodes")
    linger = url.options.get("linger")
    try:
        seconds = LINGER if linger is None else float(linger)
    except ValueError:
        raise InvalidURLError(f"linger={linger!r} is no number of seconds") from None
    return Place(
        url.location,
        own_folder("sst") if folder is None else Path(os.path.normpath(folder)),
        url.options.get("interface", "lo"),
        seconds,
        str(url),
    )


def own_folder(name: str) -> Path:
    """A folder of this user for sockets and contact files, which nobody else can enter.

    Raises
    ------
    EngineUnavailableError
        If somebody else has made it.
    """
    root = Path(tempfile.gettempdir()) / f"dovetail-{os.getuid()}"
    for folder in (root, root / name):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise EngineUnavailableError(
                f"{folder} is not a folder of this user ({os.getuid()}): ask that it be removed, "
                f"or name another by the option contact="
            )
        if status.st_mode & 0o077:
            folder.chmod(0o700)
    return root / name


def address_of(interface: str) -> str:
    """The IPv4 address of a network interface.

    Raises
    ------
    EngineUnavailableError
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            found = fcntl.ioctl(
                probe.fileno(), _GET_ADDRESS, struct.pack("256s", interface.encode()[:15])
            )
        except OSError as error:
            known = ", ".join(name for _, name in socket.if_nameindex())
            raise EngineUnavailableError(
                f"interface={interface!r} has no address here ({error.strerror}); there are {known}"
            ) from None
    return socket.inet_ntoa(found[20:24])


def machine() -> str:
    """What tells this machine, or container with a network of its own, from others."""
    identity = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{identity}.{Path('/proc/self/ns/net').stat().st_ino}"


# --- attaching -------------------------------------------------------------------------------


def attach(place: Place, patience: float = ANSWERS_WITHIN) -> Line:
    """A line to the home of a stream, which has to answer in so many seconds.

    Raises
    ------
    KeyNotFoundError
        If it has none, or had one that is gone.
    """
    try:
        found = json.loads(place.contact.read_text(encoding="utf-8"))
        token, here = str(found["token"]), found["machine"] == machine()
        address = found["host"]
    except (FileNotFoundError, NotADirectoryError):
        raise KeyNotFoundError(f"there is no stream {place.label}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise KeyNotFoundError(
            f"{place.contact} is no contact file of a stream ({error!r}): remove it"
        ) from None
    if not here and address is None:
        raise EngineUnavailableError(
            f"the stream {place.label} is on another machine, and listens on its loopback only: "
            f"let its writer name a network interface (?interface=), and its readers too"
        )
    connection = socket.socket(socket.AF_UNIX if here else socket.AF_INET)
    try:
        connection.settimeout(10.0)
        if not here:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.connect(found["socket"] if here else tuple(address))
        return Line(connection, token, place.label, patience)
    except (OSError, EOFError, ValueError):
        connection.close()
        raise KeyNotFoundError(
            f"the stream {place.label} is gone: {place.contact} was left by one that died"
        ) from None


def attach_or_start(place: Place, timeout: float | None) -> Line:
    """A line to the home of a stream, which is started if there is none.

    Raises
    ------
    TransportTimeoutError
    """
    deadline = Deadline(timeout)
    place.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings = {
        "contact": str(place.contact),
        "sockets": str(own_folder("sockets")),
        "host": None if place.interface == "lo" else address_of(place.interface),
        "machine": machine(),
        "linger": place.linger,
    }
    while True:
        with contextlib.suppress(KeyNotFoundError):
            return attach(place, patience_of(timeout))
        start_script(Path(home.__file__), settings)
        with contextlib.suppress(KeyNotFoundError):
            return attach(place, patience_of(timeout))
        if deadline.passed:
            raise TransportTimeoutError(
                f"the process that keeps {place.label} could not be reached within {deadline}: see "
                f"{place.contact}"
            )
        time.sleep(LOOK_AGAIN)


def wait_for(place: Place, timeout: float | None) -> Line:
    """A line to the home of a stream, once there is one.

    Raises
    ------
    TransportTimeoutError
    """
    deadline = Deadline(timeout)
    while True:
        try:
            return attach(place, patience_of(timeout))
        except KeyNotFoundError as error:
            if deadline.passed:
                raise TransportTimeoutError(
                    f"no writer has opened {place.label} within {deadline}: is it running, and "
                    f"does it use this name and this folder of contact files ({place.folder})? "
                    f"({error})"
                ) from None
        time.sleep(min(LOOK_AGAIN, deadline.left()))
