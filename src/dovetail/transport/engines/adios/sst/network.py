"""What SST needs of the network: no delay, one interface, and names of its parameters."""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
from pathlib import Path
from typing import Any

from dovetail.errors import InvalidURLError
from dovetail.transport.engines.adios.library import Opened, open_engine
from dovetail.transport.url import URL, near_match

_TRANSPORTS = {"wan": "WAN", "rdma": "RDMA", "ucx": "UCX", "mpi": "MPI"}
_PLANES = {"WAN": ("evpath",), "RDMA": ("rdma",), "UCX": ("ucx",), "MPI": ("mpi",)}
"""What SST calls them, by what it is told."""
_SPOKEN = {
    "evpath": "TCP sockets (evpath)",
    "rdma": "RDMA (libfabric)",
    "ucx": "UCX",
    "mpi": "MPI",
}
_SELECTED = re.compile(r'Selecting DataPlane "(?P<plane>[^"]+)"')
_VERBOSITY = "SstVerbose"
_SAYS_WHICH = "2"
"""The least of its verbosity at which SST says which data plane it takes."""
PARAMETERS = (
    "AlwaysProvideLatestTimestep",
    "ControlTransport",
    "CPCommPattern",
    "FirstTimestepPrecious",
    "MarshalMethod",
    "QueueFullPolicy",
    "QueueLimit",
    "RendezvousReaderCount",
    "ReserveQueueLimit",
    "SpeculativePreloadMode",
    "SpecAutoNodeThreshold",
    "StepDistributionMode",
)
"""Those of ADIOS2 that a URL may set where it asks for plain SST."""


def transport_of(url: URL) -> str:
    """The data transport that a URL asks for.

    Raises
    ------
    InvalidURLError
    """
    return _TRANSPORTS[url.choice_option("transport", *_TRANSPORTS)]


def spoken(plane: str) -> str:
    """A data plane of SST in words."""
    return _SPOKEN.get(plane, plane)


def check_parameters(parameters: dict[str, str]) -> None:
    """Refuse what SST would silently ignore.

    Raises
    ------
    InvalidURLError
    """
    for name in parameters:
        if name not in PARAMETERS:
            raise InvalidURLError(
                f"SST has no parameter {name!r}{near_match(name, PARAMETERS)}; it has "
                f"{', '.join(PARAMETERS)}"
            )


class Arrivals:
    """Wakes this process when something arrives on a TCP connection of ADIOS2.

    ``BeginStep`` with a deadline corrupts memory every now and then (its timer is removed while
    it fires), and without one it cannot be interrupted. So it is only ever asked whether there is
    a step, and asked when something has come.
    """

    def __init__(self, *others: Any) -> None:
        self._poller = select.epoll()
        self._others = {other.fileno(): other for other in others}
        for descriptor in self._others:
            self._poller.register(descriptor, select.EPOLLIN)
        self._known: dict[str, int] = {}

    def look_for_connections(self) -> None:
        """To be called when a connection may have been made. Sends at once on each."""
        send_at_once()
        ours = set(self._known.values()) | self._others.keys()
        for entry, name in _sockets():
            descriptor = int(entry.name)
            if name in self._known or descriptor in ours or not _is_tcp(descriptor):
                continue
            with contextlib.suppress(OSError):
                again = self._known[name] = os.dup(descriptor)
                # By edge, and for writing, too, which is always possible: when something comes,
                # ADIOS2's own thread may have read it before this one runs, and that alone
                # would leave nothing to be told of.
                self._poller.register(again, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)

    def wait(self, seconds: float) -> tuple[bool, set[Any]]:
        """Until something has come.

        Returns
        -------
        bool
            Whether something came for ADIOS2.
        set
            Those of the other sources that have something.
        """
        ready = {descriptor for descriptor, _ in self._poller.poll(seconds)}
        others = ready & self._others.keys()
        return bool(ready - others), {self._others[descriptor] for descriptor in others}


def send_at_once() -> None:
    """Turn off Nagle's algorithm on every TCP connection of this process.

    EVPath, which SST sends by, means to and does not: small steps would wait 40 ms for the
    acknowledgement of the one before. To be called again when a connection may have been made.
    """
    for entry, _ in _sockets():
        with contextlib.suppress(OSError):
            with socket.socket(fileno=os.dup(int(entry.name))) as connection:
                if connection.family == socket.AF_INET and connection.type == socket.SOCK_STREAM:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _sockets() -> list[tuple[Path, str]]:
    """The descriptors of this process that are sockets, and the names of these."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            name = str(entry.readlink())
            if name.startswith("socket:"):
                found.append((entry, name))
    return found


def listening_ports() -> set[int]:
    """The TCP ports on which this process listens."""
    found = set()
    for entry, _ in _sockets():
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(entry.name))) as one:
            if one.family == socket.AF_INET and one.getsockopt(
                socket.SOL_SOCKET, socket.SO_ACCEPTCONN
            ):
                found.add(one.getsockname()[1])
    return found


def connections_to(ports: set[int]) -> dict[str, int]:
    """The connections that others have made to ports of this process: name and descriptor."""
    found = {}
    for entry, name in _sockets():
        descriptor = int(entry.name)
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as one:
            if one.family == socket.AF_INET and one.getsockname()[1] in ports:
                one.getpeername()
                found[name] = descriptor
    return found


def _is_tcp(descriptor: int) -> bool:
    """Whether a descriptor is a TCP connection."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            connection.getpeername()
            return connection.family == socket.AF_INET and connection.type == socket.SOCK_STREAM
    except OSError:
        return False


class UnaskedFallbackError(RuntimeError):
    """SST has taken another data transport than it was told to."""


def open_sst(address: str, mode: str, parameters: dict[str, str]) -> tuple[Opened, str]:
    """Open an SST stream, in a process whose standard error is a file.

    Returns
    -------
    Opened
        The engine.
    str
        The data plane that it uses, as SST names it: it says so nowhere but in what it prints.

    Raises
    ------
    UnaskedFallbackError
        If that is not the one that `parameters` ask for.
    RuntimeError
        As ADIOS2 raises it.
    """
    from_here = os.lseek(2, 0, os.SEEK_END)
    before = os.environ.get(_VERBOSITY)
    os.environ[_VERBOSITY] = _SAYS_WHICH
    try:
        opened = open_engine("SST", address, mode, parameters)
    finally:
        del os.environ[_VERBOSITY]
        if before is not None:
            os.environ[_VERBOSITY] = before
    said = os.pread(2, 1 << 16, from_here).decode(errors="replace")
    os.ftruncate(2, from_here)
    os.lseek(2, from_here, os.SEEK_SET)
    return opened, plane_said(said, parameters["DataTransport"])


def plane_said(said: str, asked: str) -> str:
    """The data plane that SST has taken, from what it printed.

    Raises
    ------
    UnaskedFallbackError
    """
    found = _SELECTED.search(said)
    taken = found["plane"] if found else "unknown"
    if taken not in _PLANES[asked] or "Preferred DataPlane" in said:
        why = next((line for line in said.splitlines() if "Preferred DataPlane" in line), "")
        raise UnaskedFallbackError(
            f"{why.removeprefix('Warning:').strip() or f'DataTransport={asked} was asked for'} "
            f"SST took {taken}"
        )
    return taken


def remove_contact(path: Path) -> None:
    """Remove the contact file of an SST stream."""
    path.with_name(f"{path.name}.sst").unlink(missing_ok=True)
