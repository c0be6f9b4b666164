"""The clients of a keeper, as sockets that never make it wait."""

from __future__ import annotations

import json
import socket
from collections import deque
from typing import Any

from dovetail.transport.engines.dragon.wire import (
    LENGTHS,
    LONGEST_MESSAGE,
    Message,
    lengths_of,
    packed,
)

_MOST_UNSENT = 64 << 20
"""Bytes that a client may leave unread and still be answered."""


class GoneError(Exception):
    """The client has closed its connection, or sent what no client of ours sends."""


class Peer:
    """One connection of a client."""

    def __init__(self, connection: socket.socket, local: bool) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.local = local
        """It is on this host, and can be passed shared memory."""
        self.nonce = ""
        """The number that it has still to answer; nothing once it has."""
        self.longest = 0
        """Bytes that it may send behind a message."""
        self.leases: dict[int, Any] = {}
        """Shared memory that it may read or fill, by number."""
        self.staged = 0
        """Bytes of blocks of these."""
        self.watching: tuple[str, str] | None = None
        """The store and the key of which it wants to hear."""
        self.lifeline: tuple[str, str] | None = None
        """The store and the name for which it gives a sign of life."""
        self.awaiting: tuple[str, str] | None = None
        """The store and the list in which it waits for an item."""
        self._incoming = bytearray()
        self._outgoing: deque[memoryview] = deque()
        self._unsent = 0

    def fileno(self) -> int:
        return self.connection.fileno()

    @property
    def has_unsent(self) -> bool:
        """Whether something waits until the client reads."""
        return bool(self._outgoing)

    def send(self, message: Message, behind: Any = b"") -> None:
        """Send what the socket takes, and keep the rest."""
        if self._unsent > _MOST_UNSENT:
            raise GoneError
        self._outgoing.append(memoryview(packed(message, len(behind))))
        if len(behind):
            self._outgoing.append(memoryview(behind))
        self._unsent += LENGTHS + len(behind)
        self.flush()

    def send_with_descriptor(self, message: Message, descriptor: int) -> None:
        """Send a short message with a file behind it; nothing is waiting to be sent."""
        try:
            socket.send_fds(self.connection, [packed(message)], [descriptor])
        except OSError as error:
            raise GoneError from error

    def flush(self) -> None:
        """Send more of what is left."""
        while self._outgoing:
            try:
                sent = self.connection.sendmsg(list(self._outgoing)[:8])
            except BlockingIOError:
                return
            except OSError as error:
                raise GoneError from error
            self._unsent = max(0, self._unsent - sent)
            while sent:
                first = self._outgoing[0]
                if sent < len(first):
                    self._outgoing[0] = first[sent:]
                    break
                sent -= len(first)
                self._outgoing.popleft()

    def receive(self) -> None:
        """Take in what has come."""
        try:
            data = self.connection.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError as error:
            raise GoneError from error
        if not data:
            raise GoneError
        self._incoming += data

    def next_message(self) -> tuple[Message, bytes] | None:
        """The next whole message with the bytes behind it, if it has come."""
        if len(self._incoming) < LENGTHS:
            return None
        message, behind = lengths_of(self._incoming)
        if message > LONGEST_MESSAGE or behind > self.longest:
            raise GoneError
        end = LENGTHS + message + behind
        if len(self._incoming) < end:
            return None
        try:
            content = json.loads(bytes(self._incoming[LENGTHS : LENGTHS + message]))
        except ValueError as error:
            raise GoneError from error
        value = bytes(self._incoming[LENGTHS + message : end])
        del self._incoming[:end]
        if not isinstance(content, dict):
            raise GoneError
        return content, value

    def close(self) -> None:
        """Free what it held, and forget it."""
        for memory in self.leases.values():
            memory.free()
        self.leases.clear()
        self.connection.close()
