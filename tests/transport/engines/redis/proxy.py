"""A link to a server that can be cut at any byte, in several ways."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from dataclasses import dataclass
from typing import Literal, Self

Way = Literal["reset", "close", "late"]
"""How a link ends: at once on both sides; in order; or so that the server gets the rest late."""
Direction = Literal["there", "back"]


@dataclass
class _Order:
    direction: Direction
    nbytes: int
    way: Way


class Proxy:
    """Passes bytes on between its clients and one server."""

    def __init__(self, port: int) -> None:
        self._server = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._order: _Order | None = None
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._late: list[tuple[socket.socket, bytes]] = []
        self._ended = False
        self.cuts = 0
        """Links that were cut."""
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self, direction: Direction, nbytes: int, way: Way) -> None:
        """Cut the link that first carries so many bytes more in a direction."""
        with self._lock:
            self._order = _Order(direction, nbytes, way)

    def cut_all(self) -> None:
        """Cut every link now."""
        with self._lock:
            links, self._open = self._open, set()
        for link in links:
            self.cuts += 1
            _reset(link)

    def deliver_late(self) -> None:
        """Let the server have what it was to get before the links were cut."""
        with self._lock:
            late, self._late = self._late, []
        for link, rest in late:
            with contextlib.suppress(OSError):
                link.sendall(rest)
            link.close()

    def close(self) -> None:
        self._ended = True
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.deliver_late()
        with self._lock:
            links, self._open = self._open, set()
        for link in links:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._ended:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._carry, args=[client], daemon=True)
            self._threads.append(thread)
            thread.start()

    def _carry(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._server), 20)
        except OSError:
            client.close()
            return
        with self._lock:
            self._open |= {client, server}
        try:
            self._pass_on(client, server)
        except (OSError, ValueError):  # closed meanwhile
            pass
        finally:
            with self._lock:
                self._open -= {client, server}
                kept = any(link is server for link, _ in self._late)
            client.close()
            if not kept:
                server.close()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        while True:
            ready, _, _ = select.select([client, server], [], [], 20)
            for source in ready:
                data = source.recv(1 << 16)
                if not data:
                    return
                order = self._due("there" if source is client else "back", len(data))
                if order is None:
                    other[source].sendall(data)
                    continue
                self.cuts += 1
                other[source].sendall(data[: order.nbytes])
                if order.way == "late" and source is client:
                    client.settimeout(0.2)
                    rest = data[order.nbytes :] + _rest_of(client)
                    with self._lock:
                        self._late.append((server, rest))
                    _reset(client)
                elif order.way == "close":
                    client.shutdown(socket.SHUT_RDWR)
                else:
                    _reset(client)
                    _reset(server)
                return

    def _due(self, direction: Direction, nbytes: int) -> _Order | None:
        with self._lock:
            order = self._order
            if order is None or order.direction != direction:
                return None
            if nbytes < order.nbytes:
                order.nbytes -= nbytes
                return None
            self._order = None
            return order


def _rest_of(client: socket.socket) -> bytes:
    rest = b""
    with contextlib.suppress(OSError):
        while data := client.recv(1 << 16):
            rest += data
    return rest


def _reset(link: socket.socket) -> None:
    with contextlib.suppress(OSError):
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        link.shutdown(socket.SHUT_RDWR)
    link.close()
