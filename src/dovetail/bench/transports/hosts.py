"""Two hosts on one machine: network namespaces that are joined by a pair of virtual interfaces.

Each has a loopback and a /dev/shm of its own; they share files, memory and processors. What goes
from one to the other passes through the whole network stack, and through no wire. Nothing of them
has a name outside: they end with this process, whatever becomes of it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

INTERFACE = "eth0"
_NEW_MOUNTS, _NEW_NETWORK = 0x00020000, 0x40000000
_PRIVATE_ALL = 0x40000 | 0x4000
_NETWORK = "198.18.0"
"""Set aside for benchmarks of networks by RFC 2544."""
_SECONDS_TO_START = 10.0
_PROGRAMS = {"ip": "iproute2", "unshare": "util-linux", "nsenter": "util-linux"}


class Host(NamedTuple):
    """One of the two."""

    pid: int
    """Of the process that holds its namespaces."""
    address: str

    @property
    def prefix(self) -> list[str]:
        """What runs a command there."""
        return ["nsenter", "--target", str(self.pid), "--net"]


def missing() -> str | None:
    """Why two hosts cannot be made here; ``None`` if they can."""
    if os.geteuid() != 0:
        return "only root can make network namespaces to stand for two hosts"
    for program, package in _PROGRAMS.items():
        if shutil.which(program) is None:
            return f"the program {program} is not installed (Debian: {package})"
    try:
        with two_hosts():
            return None
    except (OSError, subprocess.CalledProcessError) as error:
        return f"network namespaces cannot be made here: {_why(error)}"


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts that reach one another, while the ``with`` block lasts."""
    with ExitStack() as stack:
        first, second = (
            Host(stack.enter_context(_namespace()), f"{_NETWORK}.{number}") for number in (1, 2)
        )
        _run(
            *("ip", "link", "add", INTERFACE, "netns", str(first.pid), "type", "veth"),
            *("peer", "name", INTERFACE, "netns", str(second.pid)),
        )
        for host in (first, second):
            address = (f"{host.address}/24", "dev", INTERFACE)
            _run(*host.prefix, "ip", "addr", "add", *address)
            for interface in (INTERFACE, "lo"):
                _run(*host.prefix, "ip", "link", "set", interface, "up")
        yield first, second


def enter(pid: int) -> None:
    """Make this process, which has one thread, one of a host: its network, and its /dev/shm."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/proc/{pid}/ns/net", "rb") as namespace:
        _check(libc.setns(namespace.fileno(), _NEW_NETWORK))
    _check(libc.unshare(_NEW_MOUNTS))
    _check(libc.mount(None, b"/", None, _PRIVATE_ALL, None))
    _check(libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 0, b"mode=1777"))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@contextmanager
def _namespace() -> Iterator[int]:
    """A process in a network namespace of its own; gives its pid."""
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as holder:
        try:
            network = Path(f"/proc/{holder.pid}/ns/net")
            deadline = time.monotonic() + _SECONDS_TO_START
            while network.readlink() == Path("/proc/self/ns/net").readlink():
                if holder.poll() is not None or time.monotonic() > deadline:
                    holder.kill()
                    _, said = holder.communicate()
                    raise OSError(said.decode(errors="replace").strip() or "unshare failed")
                time.sleep(0.002)
            yield holder.pid
        finally:
            holder.kill()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)


def _why(error: OSError | subprocess.CalledProcessError) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return str(error.stderr).strip()
    return str(error)
