"""Waiting for a change: asleep on the server's word, without asking again and again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dovetail.transport.engines.redis.connection import Connection
from dovetail.transport.engines.redis.protocol import ProtocolError, Refusal, packed
from dovetail.transport.engines.redis.refusals import error_of
from dovetail.transport.engines.redis.routes import Route
from dovetail.transport.engines.redis.servers import LostError, Server

_PAUSE = 0.05
"""Seconds of rest after a connection was lost; whoever looks meanwhile has a deadline."""
_SECONDS_TO_ASK = 2.0
_PASSING = ("MOVED", "ASK", "CLUSTERDOWN", "LOADING")
"""Refusals that whoever looks meets, too, and waits for."""
ITEMS_AT_ONCE = 5000
"""Items of a list that are asked for in one go."""


@contextmanager
def watch_key(route: Route, value: bytes, channel: bytes) -> Iterator[KeyWatch]:
    """Hear of the news of a value, from before the block begins."""
    watch = KeyWatch(route, value, channel)
    try:
        watch.listen()
        yield watch
    finally:
        watch.close()


class KeyWatch:
    """A subscription on a connection of its own."""

    def __init__(self, route: Route, value: bytes, channel: bytes) -> None:
        self._route = route
        self._value = value
        self._channel = channel
        self._prefix = b"S" if route.sharded_news else b""
        self._server: Server | None = None
        self._connection: Connection | None = None

    def listen(self) -> None:
        """Subscribe. Where that fails, :meth:`wait` tries again."""
        server = self._route.server_of(self._value)
        try:
            connection = server.take(_SECONDS_TO_ASK)
        except LostError:
            return
        try:
            refusal = subscribe(connection, self._prefix, self._channel)
        except (OSError, ProtocolError):
            server.lose(connection)
            return
        except BaseException:
            server.lose(connection)
            raise
        if refusal is None:
            self._server, self._connection = server, connection
            return
        server.give(connection)
        if refusal.code not in _PASSING:
            raise error_of(refusal, str(server.address), "to be told of news")

    def wait(self, seconds: float) -> None:
        connection = self._connection
        if connection is None:
            time.sleep(min(seconds, _PAUSE))
            self.listen()
            return
        replies = connection.replies
        try:
            if not (replies.pushed or replies.waiting or connection.socket.ready(seconds)):
                return
            message = replies.next_push()
            replies.pushed.clear()
        except (OSError, ProtocolError):
            self._drop()
            return
        moved = isinstance(message, Refusal) or message[0].endswith(b"unsubscribe")
        if moved and self._server is not None:
            # Whoever looks now learns where its slot has gone; the next wait listens there.
            self._server.give(connection)
            self._server = self._connection = None

    def close(self) -> None:
        """Unsubscribe, and give the connection back."""
        server, connection = self._server, self._connection
        if server is None or connection is None:
            return
        try:
            # Its answer is a push, which whoever uses the connection next passes over.
            connection.socket.send([packed(self._prefix + b"UNSUBSCRIBE", self._channel)])
        except OSError:
            self._drop()
        else:
            server.give(connection)

    def _drop(self) -> None:
        if self._server is not None and self._connection is not None:
            self._server.lose(self._connection)
        self._server = self._connection = None


def subscribe(connection: Connection, prefix: bytes, channel: bytes) -> Refusal | None:
    """Subscribe to a channel; what the server says if it does not let us.

    Raises
    ------
    OSError, ProtocolError
    """
    connection.socket.send([packed(prefix + b"SUBSCRIBE", channel)])
    # What the connection was subscribed to before may still say something.
    while True:
        message = connection.replies.next_push()
        if isinstance(message, Refusal):
            return message
        if message[:2] == [prefix.lower() + b"subscribe", channel]:
            return None


def wait_for_items(
    route: Route, name: bytes, start: int, seconds: float, timeout: float | None
) -> list[str] | None:
    """The items of a list from `start` on, as soon as there are some; empty if none come in time.

    Parameters
    ----------
    timeout
        Seconds after which a silent server is given up.

    Returns
    -------
    list or None
        None if the list has to be looked at: it is long, or the server was lost or refuses.
    """
    if timeout is not None:
        seconds = min(seconds, timeout / 2)  # then the server has answered
    server = route.server_of(name)
    command = packed(
        "XREAD", "COUNT", ITEMS_AT_ONCE, "BLOCK", max(1, int(seconds * 1000)), "STREAMS", name,
        f"{start}-0",
    )  # fmt: skip
    try:
        (reply,) = server.exchange([command], 1, _SECONDS_TO_ASK)
    except LostError:
        reply = Refusal("", "")
    if isinstance(reply, Refusal):  # whoever looks now learns of it, and has a deadline
        time.sleep(min(seconds, _PAUSE))
        return None
    if not reply:
        return []
    entries = reply[name]
    return texts_of(entries) if len(entries) < ITEMS_AT_ONCE else None


def texts_of(entries: list[Any]) -> list[str]:
    """The items that entries of a stream hold."""
    return [bytes(fields[1]).decode() for _, fields in entries]
