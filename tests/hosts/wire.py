"""A slow wire between the ports of a switch, for kernels without ``netem``.

Run in the namespace of the switch. It passes frames from port to port, each after a delay, and no
more bits a second to a port than the rate; what a port's queue cannot hold is lost, as in netem.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import heapq
import itertools
import os
import select
import socket
import struct
import sys
import threading
import time
from pathlib import Path

QUEUE = 1000
"""Frames that may wait for one port: the default of netem."""
_EVERY_PROTOCOL = 3
_OF_PACKETS, _IGNORE_OUTGOING = 263, 23
_LONGEST_FRAME = 1 << 16
_ETHTOOL = 0x8946
_OFFLOADS = {"tx checksums": 0x17, "TCP segmentation": 0x1F, "generic segmentation": 0x24}
_NEW_NET = 0x40000000


class Port:
    """A port of the switch, and what waits to leave through it."""

    def __init__(self, name: str, rate: float) -> None:
        self.socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(_EVERY_PROTOCOL)
        )
        self.socket.setsockopt(_OF_PACKETS, _IGNORE_OUTGOING, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind((name, _EVERY_PROTOCOL))
        self._rate = rate
        self._free = 0.0
        self.waiting = 0

    def due(self, now: float, nbytes: int, delay: float) -> float:
        """When a frame that comes now has left."""
        self._free = max(now, self._free) + 8 * nbytes / self._rate
        return self._free + delay


def carry(names: list[str], delay: float, rate: float) -> None:
    """Pass frames until standard input ends."""
    ports = {port.socket.fileno(): port for port in (Port(name, rate) for name in names)}
    behind: dict[bytes, Port] = {}
    order = itertools.count()
    waiting: list[tuple[float, int, Port, bytes]] = []
    poller = select.poll()
    for descriptor in (sys.stdin.fileno(), *ports):
        poller.register(descriptor, select.POLLIN)
    print("ready", flush=True)
    while True:
        patience = max(0.0, waiting[0][0] - time.monotonic()) * 1000 if waiting else None
        for descriptor, _ in poller.poll(patience):
            if descriptor not in ports:
                return
            here = ports[descriptor]
            # A port that is down says so once.
            with contextlib.suppress(OSError):
                while True:
                    frame = here.socket.recv(_LONGEST_FRAME)
                    behind[frame[6:12]] = here
                    there = behind.get(frame[:6])
                    now = time.monotonic()
                    for port in [there] if there else ports.values():
                        if port is not here and port.waiting < QUEUE:
                            port.waiting += 1
                            due = port.due(now, len(frame), delay)
                            heapq.heappush(waiting, (due, next(order), port, frame))
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, port, frame = heapq.heappop(waiting)
            port.waiting -= 1
            with contextlib.suppress(OSError):
                port.socket.send(frame)


def whole_frames(process: int, interface: str) -> None:
    """Let a host send frames as a wire carries them: no longer than they may be, and summed.

    Parameters
    ----------
    process
        One in the network namespace of the host.
    """
    failures: list[OSError] = []

    def change() -> None:
        try:
            _enter_network(process)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
                for command in _OFFLOADS.values():
                    off = ctypes.create_string_buffer(struct.pack("II", command, 0))
                    request = struct.pack("16sQ16x", interface.encode(), ctypes.addressof(off))
                    fcntl.ioctl(any_socket, _ETHTOOL, request)
        except OSError as error:
            failures.append(error)

    # A thread of its own, since it does not come back from there.
    thread = threading.Thread(target=change)
    thread.start()
    thread.join()
    for failure in failures:
        raise failure


def _enter_network(process: int) -> None:
    with Path(f"/proc/{process}/ns/net").open() as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _NEW_NET):
            raise OSError(ctypes.get_errno(), "setns")


if __name__ == "__main__":
    os.nice(-5)
    carry(sys.argv[3:], float(sys.argv[1]), float(sys.argv[2]))
