"""Connections to one server, shared by threads."""

from __future__ import annotations

import math
import os
import ssl
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any

from dovetail.errors import (
    DovetailError,
    TransportClosedError,
    TransportTimeoutError,
)
from dovetail.transport.engines.redis.connection import Connection, ServerBusyError
from dovetail.transport.engines.redis.places import Access, Address
from dovetail.transport.engines.redis.protocol import ProtocolError, packed
from dovetail.transport.engines.redis.rooms import Rooms

Trace = tuple[str, int]
"""Run of a server, and its number of a connection."""

_OURS: weakref.WeakSet[Server] = weakref.WeakSet()


class LostError(Exception):
    """A connection was lost, or none came about; whether commands were done, nobody knows.

    Parameters
    ----------
    how
        In words.
    since
        When the trouble began, on the monotonic clock.
    silent
        The server is there, and says nothing.
    """

    def __init__(self, how: str, since: float, silent: bool = False) -> None:
        super().__init__(how)
        self.since = since
        self.silent = silent


class Server:
    """Connections to one server.

    Parameters
    ----------
    timeout
        Seconds that an operation may take without a sign of life.
    rooms
        Where large values are received.
    """

    def __init__(
        self, address: Address, access: Access, db: int, timeout: float | None, rooms: Rooms
    ) -> None:
        self.address = address
        self._rooms = rooms
        self._access = access
        self._db = db
        self._timeout = timeout
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._suspects: list[Trace] = []
        self._closed = False
        self.met = False
        """Whether it has ever answered."""
        _OURS.add(self)

    def take(self, patience: float = math.inf) -> Connection:
        """A connection for one thread, to be given back.

        Parameters
        ----------
        patience
            Seconds for making a new one.

        Raises
        ------
        LostError, DovetailError
        """
        with self._lock:
            if self._closed:
                raise TransportClosedError(f"the connections to {self.address} are closed")
            connection = self._idle.pop() if self._idle else None
            suspects, self._suspects = self._suspects, []
        try:
            if connection is None:
                connection = self.connect(patience)
            if suspects:
                self._forestall(connection, suspects)
        except BaseException:
            with self._lock:
                self._suspects += suspects
            raise
        return connection

    def give(self, connection: Connection) -> None:
        """Take a connection back."""
        with self._lock:
            if not self._closed and connection.owner == os.getpid():
                self._idle.append(connection)
                return
        connection.close()

    def lose(self, connection: Connection) -> None:
        """Take note that a connection ended, or is of no use, with commands under way."""
        connection.close()
        if connection.run:
            with self._lock:
                self._suspects.append((connection.run, connection.id))

    def exchange(
        self,
        buffers: Sequence[Any],
        count: int,
        patience: float,
        room: memoryview | None = None,
    ) -> list[Any]:
        """Send commands on some connection; return their replies.

        Raises
        ------
        LostError
            They may have been done, or not. They are not done any more once another exchange
            has begun.
        TransportTimeoutError
            If the server kept silent.
        """
        connection = self.take(patience)
        try:
            replies = connection.exchange(buffers, count, room)
        except TimeoutError:
            self.lose(connection)
            raise TransportTimeoutError(
                f"the server at {self.address} kept silent for {self._timeout:g} s: is it "
                f"overloaded or stopped? Allow more time with timeout="
            ) from None
        except (OSError, ProtocolError) as error:
            self.lose(connection)
            raise LostError(_in_words(error), time.monotonic()) from None
        except BaseException:
            self.lose(connection)
            raise
        self.give(connection)
        return replies

    def close(self) -> None:
        """End the connections that nobody uses; others end as they are given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def renew(self) -> None:
        """In a forked child: the connections are the parent's."""
        self._lock = threading.Lock()
        for connection in self._idle:
            connection.abandon()
        self._idle, self._suspects = [], []

    def connect(self, patience: float = math.inf) -> Connection:
        """A new connection, which need not be given back.

        Raises
        ------
        LostError, DovetailError
        """
        began = time.monotonic()
        allowed = min(patience, math.inf if self._timeout is None else self._timeout)
        timeout = None if allowed == math.inf else max(allowed, 0.01)
        try:
            connection = Connection(
                self.address, self._access, self._db, timeout, self._timeout, self._rooms
            )
        except DovetailError:  # of which some are OSErrors, too
            raise
        except (OSError, ServerBusyError) as error:
            silent = isinstance(error, TimeoutError)
            raise LostError(_in_words(error), began, silent) from None
        self.met = True
        return connection

    def _forestall(self, connection: Connection, suspects: list[Trace]) -> None:
        """See to it that nothing more is done of what lost connections had sent."""
        numbers = [number for run, number in suspects if run == connection.run]
        if not numbers:
            return
        kills = b"".join(packed("CLIENT", "KILL", "ID", number) for number in numbers)
        try:
            connection.exchange([kills], len(numbers))
        except (OSError, ProtocolError) as error:
            self.lose(connection)
            raise LostError(_in_words(error), time.monotonic()) from None
        except BaseException:
            self.lose(connection)
            raise


def _renew() -> None:
    for server in list(_OURS):
        server.renew()


os.register_at_fork(after_in_child=_renew)


def _in_words(error: BaseException) -> str:
    if isinstance(error, ProtocolError):
        return f"it answered {bytes(error.args[0])[:60]!r}, which is not the protocol of Redis"
    if isinstance(error, ssl.SSLError):
        return "the connection was cut" if isinstance(error, ssl.SSLEOFError) else str(error.reason)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    return str(error) or type(error).__name__
