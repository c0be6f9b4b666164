"""How a question finds the server that has the key, and is asked until it is answered."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from typing import Any, Protocol

from dovetail.errors import DovetailError, PeerLostError, TransportTimeoutError
from dovetail.transport.engines.redis.places import Access, Address
from dovetail.transport.engines.redis.protocol import Refusal
from dovetail.transport.engines.redis.rooms import Rooms
from dovetail.transport.engines.redis.servers import LostError, Server

TRANSIENT = ("LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "UNBLOCKED")
"""Codes of refusals that may not come again."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.5


class Replied(list[Any]):
    """Replies."""

    def __init__(self, replies: list[Any], again: bool) -> None:
        super().__init__(replies)
        self.again = again
        """The commands were sent more than once: they may have found their work done."""


class Patience:
    """Trying again, ever more slowly, until a deadline that begins with the first trouble."""

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._end: float | None = None
        self._pause = 0.0

    @property
    def tried(self) -> bool:
        """Whether there was a failure."""
        return self._end is not None

    def left(self) -> float:
        """Seconds."""
        return math.inf if self._end is None else max(0.0, self._end - time.monotonic())

    def used_up(self, since: float | None = None) -> bool:
        """Whether it is over; otherwise wait a little.

        Parameters
        ----------
        since
            When the trouble began; now by default.
        """
        if self._end is None:
            # The first time at once: an idle connection may have been cut long ago.
            began = time.monotonic() if since is None else since
            self._end = began + (math.inf if self._timeout is None else self._timeout)
            return self.left() <= 0
        if self.left() <= 0:
            return True
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        time.sleep(min(self._pause * random.uniform(0.5, 1.0), self.left()))
        return False

    def __str__(self) -> str:
        return "for ever" if self._timeout is None else f"within {self._timeout:g} s"


class Route(Protocol):
    """Where keys are, alone or in a cluster."""

    sharded_news: bool
    """Whether news go through sharded channels."""
    split: bool
    """Whether keys of different slots may lie on different servers."""

    def ask(
        self, key: bytes, buffers: Sequence[Any], count: int, room: memoryview | None = None
    ) -> Replied:
        """Send commands about one key; return their replies.

        What was lost on the way is sent again, and what the server cannot do yet, too, until
        the deadline: so it must be harmless to do twice.

        Parameters
        ----------
        room
            Where the first large string goes, if it has this size.
        """
        ...

    def by_server(self, keys: Sequence[bytes]) -> dict[Server, list[int]]:
        """Which server has which of the keys, by their positions."""
        ...

    def server_of(self, key: bytes) -> Server: ...
    def each(self) -> list[Server]:
        """All servers that hold keys."""
        ...

    def ask_server(self, server: Server, buffers: Sequence[Any], count: int) -> Replied:
        """As :meth:`ask`, of a certain server."""
        ...

    def close(self) -> None: ...


class Alone:
    """One server that has every key."""

    sharded_news = False
    split = False

    def __init__(self, address: Address, access: Access, db: int, timeout: float | None) -> None:
        self._server = Server(address, access, db, timeout, Rooms())
        self._timeout = timeout

    def reach(self) -> None:
        """Nothing to look over: the first question reaches it."""

    def ask(
        self, key: bytes, buffers: Sequence[Any], count: int, room: memoryview | None = None
    ) -> Replied:
        return ask_server(self._server, buffers, count, self._timeout, room)

    def ask_server(self, server: Server, buffers: Sequence[Any], count: int) -> Replied:
        return ask_server(server, buffers, count, self._timeout)

    def by_server(self, keys: Sequence[bytes]) -> dict[Server, list[int]]:
        return {self._server: list(range(len(keys)))}

    def server_of(self, key: bytes) -> Server:
        return self._server

    def each(self) -> list[Server]:
        return [self._server]

    def close(self) -> None:
        self._server.close()


def ask_server(
    server: Server,
    buffers: Sequence[Any],
    count: int,
    timeout: float | None,
    room: memoryview | None = None,
) -> Replied:
    """Send commands to a server; return their replies, trying again as often as time allows."""
    patience = Patience(timeout)
    while True:
        try:
            replies = server.exchange(buffers, count, patience.left(), room)
        except LostError as error:
            if patience.used_up(error.since):
                raise gone(server, error, patience) from None
            continue
        refusal = hindrance(replies, TRANSIENT)
        if refusal is None:
            return Replied(replies, patience.tried)
        if patience.used_up():
            raise still(server, refusal, patience)


def hindrance(replies: Sequence[Any], codes: Sequence[str]) -> Refusal | None:
    """The first refusal with one of the codes, those of commands in a transaction included."""
    for reply in replies:
        if type(reply) is Refusal:
            if reply.code in codes:
                return reply
        elif type(reply) is list:
            for inner in reply:
                if type(inner) is Refusal and inner.code in codes:
                    return inner
    return None


def gone(server: Server, how: LostError, patience: Patience) -> DovetailError:
    """The error for a server that cannot be reached."""
    if server.met and how.silent:
        return TransportTimeoutError(
            f"the server at {server.address} kept silent {patience}: is it overloaded or stopped? "
            f"Allow more time with timeout="
        )
    if not server.met:
        return TransportTimeoutError(
            f"no server could be reached at {server.address} {patience}: {how}. Start it, or "
            f"correct the URL"
        )
    return PeerLostError(
        f"the server at {server.address} was lost, and did not come back {patience}: {how}. Look "
        f"at its log, and start it again"
    )


def still(server: Server, refusal: Refusal, patience: Patience) -> DovetailError:
    """The error for a server that could not do it yet."""
    return TransportTimeoutError(
        f"the server at {server.address} could not do it {patience}: {refusal.text[:300]}"
    )
