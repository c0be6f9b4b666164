"""What SST needs of the network: no delay, one interface, and names of its parameters."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from pathlib import Path
from typing import Any

from dovetail.errors import InvalidURLError
from dovetail.transport.url import URL, near_match

_TRANSPORTS = {"wan": "WAN", "rdma": "RDMA", "ucx": "UCX", "mpi": "MPI"}
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


def _is_tcp(descriptor: int) -> bool:
    """Whether a descriptor is a TCP connection."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            connection.getpeername()
            return connection.family == socket.AF_INET and connection.type == socket.SOCK_STREAM
    except OSError:
        return False


def fell_back() -> str:
    """What SST said, in a process whose standard error is a file, if it took another transport."""
    said = os.pread(2, 1 << 16, 0).decode(errors="replace")
    for line in said.splitlines():
        if "Preferred DataPlane" in line:
            return line.removeprefix("Warning:").strip()
    return ""


def remove_contact(path: Path) -> None:
    """Remove the contact file of an SST stream."""
    path.with_name(f"{path.name}.sst").unlink(missing_ok=True)
