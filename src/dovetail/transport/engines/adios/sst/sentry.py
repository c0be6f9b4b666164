"""The process that ends a wait of SST for its readers when that has lasted too long.

Where ranks write one stream, ADIOS2 waits in the rank itself, without a deadline and without
letting any other thread of Python run. The sentry holds copies of the rank's connections to the
readers: shut down at the deadline, they end the wait, as if the readers had died. While SST waits
for its first reader there is none: then the sentry becomes it.

Messages: ``["until", seconds, address]`` when a wait begins, with the address of the stream if it
is for the first reader; ``["over"]`` when it has ended; ``["connections"]`` with the descriptors
of more of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
from typing import Any

from dovetail.transport.engines.adios.library import open_engine

MOST_DESCRIPTORS = 64
"""Descriptors that come with one message."""


class Sentry:
    """Watches one rank until it goes."""

    def __init__(self, watched: socket.socket, parameters: dict[str, str]) -> None:
        self._watched = watched
        self._parameters = parameters
        self._connections: list[int] = []
        self._deadline: float | None = None
        self._address: str | None = None
        self._incoming = b""

    def serve(self) -> None:
        while True:
            left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
            ready, _, _ = select.select([self._watched], [], [], left)
            if not ready:
                self._act()
            elif not self._hear():
                return

    def _hear(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._watched, 1 << 16, MOST_DESCRIPTORS)
        self._connections += descriptors
        *lines, self._incoming = (self._incoming + data).split(b"\n")
        for line in lines:
            match json.loads(line):
                case ["until", seconds, address]:
                    self._deadline = time.monotonic() + seconds
                    self._address = address
                case ["over"]:
                    self._deadline = None
        return bool(data)

    def _act(self) -> None:
        self._deadline = None
        self._watched.sendall(b'["acted"]\n')
        if self._address is not None:
            with contextlib.suppress(RuntimeError):
                open_engine("SST", self._address, "Read", self._parameters)
            os._exit(0)
        for descriptor in self._connections:
            with contextlib.suppress(OSError), socket.socket(fileno=descriptor) as connection:
                connection.shutdown(socket.SHUT_RDWR)
        self._connections.clear()


def main(watched: socket.socket, settings: dict[str, Any]) -> None:
    """Watch over one rank until it goes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        Sentry(watched, settings["parameters"]).serve()
    os._exit(0)
