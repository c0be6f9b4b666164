"""Connections from any process to the keeper of a server; nothing of Dragon is needed for them."""

from __future__ import annotations

import json
import mmap
import os
import select
import socket
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn

from dovetail import errors
from dovetail.errors import PeerLostError, TransportTimeoutError
from dovetail.transport.closing import Closing
from dovetail.transport.deadlines import Deadline
from dovetail.transport.engines.dragon.places import Contact
from dovetail.transport.engines.dragon.wire import (
    LENGTHS,
    PROTOCOL,
    Message,
    lengths_of,
    packed,
    proof,
)

_KINDS: dict[str, type[Exception]] = {
    "full": errors.StoreFullError,
    "absent": errors.KeyNotFoundError,
    "corrupt": errors.CorruptDataError,
    "lost": errors.PeerLostError,
    "token": errors.AccessDeniedError,
    "system": OSError,
}


class Room(NamedTuple):
    """A piece of the shared memory, for a value of this client's."""

    lease: int
    offset: int
    nbytes: int
    """Of the value that fits, without its frame."""


class KeeperLostError(Exception):
    """The keeper cannot be reached, or its connection has ended."""


class Connection(Closing):
    """One conversation with a keeper; used by one thread at a time.

    A forked child has none of its parent's: the keeper takes the end of a connection for the
    death of its process.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        _connections.add(self)
        self.staging: mmap.mmap | None = None
        """The shared memory through which large values pass, on the same host."""
        self.spare: Room | None = None
        """Given with the last answer, for a value of the same size as the last."""

    def fileno(self) -> int:
        return self._socket.fileno()

    def greet(self, token: str, deadline: Deadline) -> None:
        """Prove to know the token, and take the shared memory."""
        hello, _ = self._receive(deadline)
        if hello["protocol"] != PROTOCOL:
            raise errors.FormatVersionError(
                f"the server speaks protocol {hello['protocol']}, this client {PROTOCOL}: run the "
                f"same version of Dovetail on both sides"
            )
        self.send({"proof": proof(token, hello["nonce"])}, deadline)
        if self._socket.family == socket.AF_UNIX:
            descriptors = self._receive_descriptor(deadline)
        else:
            self.receive(deadline)
            descriptors = []
        for descriptor in descriptors:
            try:
                self.staging = _mapped(descriptor)
            finally:
                os.close(descriptor)

    def ask(self, message: Message, deadline: Deadline, parts: Any = ()) -> tuple[Message, Any]:
        """Send a message with bytes behind it, and take the answer.

        Raises
        ------
        KeeperLostError, TransportTimeoutError
        StoreFullError, CorruptDataError, PeerLostError, KeyNotFoundError
            What the keeper answered.
        """
        self.send(message, deadline, parts)
        return self.receive(deadline)

    def send(self, message: Message, deadline: Deadline, parts: Any = ()) -> None:
        """Send a message with the bytes of `parts` behind it."""
        behind = sum(len(part) for part in parts)
        views = [memoryview(packed(message, behind)), *(memoryview(part) for part in parts)]
        try:
            while views:
                self._socket.settimeout(_seconds(deadline))
                sent = self._socket.sendmsg(views[:64])
                while views and sent >= len(views[0]):
                    sent -= len(views.pop(0))
                if sent:
                    views[0] = views[0][sent:]
        except TimeoutError:
            raise _silent(deadline) from None
        except OSError as error:
            raise KeeperLostError(str(error)) from None

    def receive(self, deadline: Deadline) -> tuple[Message, Any]:
        """The next message, and the bytes behind it in memory of their own."""
        message, behind = self._receive(deadline)
        if "error" in message:
            _raise(message)
        return message, behind

    def ready(self, seconds: float) -> bool:
        """Whether something comes within so many seconds."""
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        return bool(poller.poll(max(0.0, seconds) * 1000))

    def drained(self) -> None:
        """Throw away what has come, without waiting.

        Raises
        ------
        KeeperLostError
        """
        self._socket.setblocking(False)
        try:
            while True:
                if not self._socket.recv(4096):
                    raise KeeperLostError("the connection was closed")
        except BlockingIOError:
            return
        except OSError as error:
            raise KeeperLostError(str(error)) from None

    def close(self) -> None:
        _connections.discard(self)
        self._socket.close()

    def _receive(self, deadline: Deadline) -> tuple[Message, Any]:
        lengths = lengths_of(self._exactly(LENGTHS, deadline))
        message: Message = json.loads(bytes(self._exactly(lengths.message, deadline)))
        return message, self._exactly(lengths.behind, deadline)

    def _exactly(self, count: int, deadline: Deadline) -> memoryview:
        room = memoryview(bytearray(count))
        got = 0
        try:
            while got < count:
                self._socket.settimeout(_seconds(deadline))
                more = self._socket.recv_into(room[got:])
                if not more:
                    raise KeeperLostError("the connection was closed")
                got += more
        except TimeoutError:
            raise _silent(deadline) from None
        except OSError as error:
            raise KeeperLostError(str(error)) from None
        return room

    def _receive_descriptor(self, deadline: Deadline) -> list[int]:
        self._socket.settimeout(_seconds(deadline))
        try:
            prefix, descriptors, _, _ = socket.recv_fds(self._socket, LENGTHS, 1)
        except TimeoutError:
            raise _silent(deadline) from None
        except OSError as error:
            raise KeeperLostError(str(error)) from None
        if len(prefix) < LENGTHS:
            prefix += bytes(self._exactly(LENGTHS - len(prefix), deadline))
        message = json.loads(bytes(self._exactly(lengths_of(prefix).message, deadline)))
        if "error" in message:
            _raise(message)
        return descriptors


_connections: weakref.WeakSet[Connection] = weakref.WeakSet()


def _close_those_of_the_parent() -> None:
    for connection in list(_connections):
        connection.close()


os.register_at_fork(after_in_child=_close_those_of_the_parent)


class Keeper:
    """The connections of one process to one keeper, as many as threads are at work."""

    def __init__(self, contact: Contact, label: str, timeout: float | None) -> None:
        self._contact = contact
        self._label = label
        self._timeout = timeout
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._process = os.getpid()

    @contextmanager
    def connection(self) -> Iterator[tuple[Connection, Deadline]]:
        """A connection for one question, with the deadline for its answer.

        Raises
        ------
        PeerLostError
            If the server has ended.
        """
        deadline = Deadline(self._timeout)
        connection = self._taken(deadline)
        try:
            yield connection, deadline
        except KeeperLostError:
            connection.close()
            raise self._lost() from None
        except errors.TransportTimeoutError:
            connection.close()  # a late answer would be taken for that of the next question
            raise
        except errors.DovetailError:
            self._put_back(connection)
            raise
        except BaseException:
            connection.close()  # it may have been left in the middle of a message
            raise
        self._put_back(connection)

    def lasting(self, message: Message) -> Connection:
        """A connection of its own, for the caller to close, after one question on it."""
        deadline = Deadline(self._timeout)
        connection = self._reached(deadline)
        try:
            connection.ask(message, deadline)
        except KeeperLostError:
            connection.close()
            raise self._lost() from None
        except BaseException:
            connection.close()
            raise
        return connection

    def ask(self, message: Message) -> Message:
        """Ask one question."""
        with self.connection() as (connection, deadline):
            return connection.ask(message, deadline)[0]

    def close(self) -> None:
        """Close all connections that are not at work."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _taken(self, deadline: Deadline) -> Connection:
        with self._lock:
            if self._process != os.getpid():
                self._idle.clear()
                self._process = os.getpid()
            if self._idle:
                return self._idle.pop()
        return self._reached(deadline)

    def _reached(self, deadline: Deadline) -> Connection:
        try:
            return reach(self._contact, deadline)
        except KeeperLostError:
            raise self._lost() from None

    def _put_back(self, connection: Connection) -> None:
        with self._lock:
            self._idle.append(connection)

    def _lost(self) -> PeerLostError:
        return PeerLostError(
            f"the server of {self._label} has ended, and what it held in memory with it: see "
            f"server.log in its folder, then open the store again, which starts a server anew"
        )


def reach(contact: Contact, deadline: Deadline) -> Connection:
    """A new connection to a keeper.

    Raises
    ------
    KeeperLostError
        If nobody is there.
    TransportTimeoutError, AccessDeniedError, EngineUnavailableError, FormatVersionError
    """
    connection = _connected(contact, deadline)
    try:
        made = Connection(connection)
        made.greet(contact.token, deadline)
    except BaseException:
        connection.close()
        raise
    return made


def _connected(contact: Contact, deadline: Deadline) -> socket.socket:
    on_this_host = contact.host == socket.gethostname()
    family = socket.AF_UNIX if on_this_host else socket.AF_INET
    if not on_this_host and not contact.address:
        raise errors.EngineUnavailableError(
            f"the server on {contact.host} takes clients on that host alone: open the store there, "
            f"or start the server with ?interface= for clients on other hosts"
        )
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(_seconds(deadline))
        if on_this_host:
            connection.connect(contact.socket)
        else:
            connection.connect((contact.address, contact.port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except TimeoutError:
        connection.close()
        raise _silent(deadline) from None
    except OSError as error:
        connection.close()
        raise KeeperLostError(str(error)) from None
    return connection


_mappings: dict[tuple[int, int], mmap.mmap] = {}
_mapping = threading.Lock()


def _mapped(descriptor: int) -> mmap.mmap:
    """The shared memory of a runtime, mapped once in a process."""
    status = os.fstat(descriptor)
    identity = (status.st_dev, status.st_ino)
    with _mapping:
        known = _mappings.get(identity)
        if known is None:
            known = _mappings[identity] = mmap.mmap(descriptor, status.st_size)
        return known


def _seconds(deadline: Deadline) -> float | None:
    left = deadline.left()
    return None if left == float("inf") else max(left, 1e-3)


def _silent(deadline: Deadline) -> TransportTimeoutError:
    return TransportTimeoutError(
        f"the keeper of the dictionary did not answer within {deadline}: its host may be "
        f"overloaded, or the server stopped; see server.log in its folder"
    )


def _raise(message: Message) -> NoReturn:
    raise _KINDS.get(message["error"], errors.EngineUnavailableError)(message["text"])
