"""A cluster as a route to every key: which server has which slots, and following what moves."""

from __future__ import annotations

import bisect
import re
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from dovetail.errors import DovetailError, EngineUnavailableError, TransportTimeoutError
from dovetail.transport.engines.redis.keys import SLOTS, slot_of
from dovetail.transport.engines.redis.places import Access, Address
from dovetail.transport.engines.redis.protocol import Refusal, packed
from dovetail.transport.engines.redis.rooms import Rooms
from dovetail.transport.engines.redis.routes import (
    TRANSIENT,
    Patience,
    Replied,
    ask_server,
    gone,
    hindrance,
    still,
)
from dovetail.transport.engines.redis.servers import LostError, Server

_SECONDS_TO_ASK = 2.0
"""How long one server may take to be reached when the cluster is looked over."""
_MOVES = ("MOVED", "ASK")
_SHARDED_SINCE = (7,)


class _Map(NamedTuple):
    """Who has which slots."""

    firsts: list[int]
    """The first slot of each range, ascending."""
    lasts: list[int]
    servers: list[Server]
    moved: dict[int, Server]
    """Where slots are that have moved since."""

    def at(self, slot: int) -> Server | None:
        moved = self.moved.get(slot)
        if moved is not None:
            return moved
        index = bisect.bisect_right(self.firsts, slot) - 1
        return self.servers[index] if index >= 0 and slot <= self.lasts[index] else None

    def missing(self) -> list[str]:
        """The ranges of slots that no server has, in words."""
        ranges, expected = [], 0
        for first, last in zip([*self.firsts, SLOTS], [*self.lasts, SLOTS], strict=True):
            if first > expected:
                ranges.append(f"{expected}-{first - 1}")
            expected = last + 1
        return ranges


class Cluster:
    """All servers of a cluster.

    Parameters
    ----------
    addresses
        Some of them; one that answers is enough.
    """

    def __init__(self, addresses: Sequence[Address], access: Access, timeout: float | None) -> None:
        self._seeds = tuple(addresses)
        self._access = access
        self._timeout = timeout
        self._rooms = Rooms()
        self._servers: dict[Address, Server] = {}
        self._lock = threading.Lock()
        self._map = _Map([], [], [], {})
        self._looked = -1.0
        self.sharded_news = False
        self.split = True

    def reach(self) -> None:
        """Look the cluster over, and wait until its servers have every slot.

        Raises
        ------
        EngineUnavailableError, TransportTimeoutError, AccessDeniedError
        """
        patience = Patience(self._timeout)
        while True:
            since = None
            try:
                self._look(patience.left())
                missing = self._map.missing()
                if not missing:
                    break
                error: DovetailError = _incomplete(self._seeds[0], missing)
            except LostError as lost:
                since = lost.since
                error = TransportTimeoutError(
                    f"no server of the cluster could be reached at "
                    f"{', '.join(map(str, self._seeds))} {patience}: {lost}. Start it, or correct "
                    f"the URL"
                )
            if patience.used_up(since):
                raise error
        version = self._any_version()
        self.sharded_news = version >= _SHARDED_SINCE

    def ask(
        self, key: bytes, buffers: Sequence[Any], count: int, room: memoryview | None = None
    ) -> Replied:
        patience = Patience(self._timeout)
        slot = slot_of(key)
        while True:
            server = self._map.at(slot)
            if server is None:
                if patience.used_up():
                    raise _incomplete(self._seeds[0], self._map.missing())
                self._look_again(patience)
                continue
            try:
                replies = server.exchange(
                    buffers, count, min(patience.left(), _SECONDS_TO_ASK), room
                )
            except LostError as error:
                if patience.used_up(error.since):
                    raise gone(server, error, patience) from None
                self._look_again(patience)
                continue
            moved = hindrance(replies, _MOVES)
            if moved is not None and moved.code == "MOVED":
                self._take_note(moved)
                if patience.used_up():
                    raise still(server, moved, patience)
                continue
            hindered = moved or hindrance(replies, TRANSIENT)
            if hindered is None:
                return Replied(replies, patience.tried)
            # ASK: its slot is being moved, and transactions can follow only when it has arrived.
            if patience.used_up():
                raise still(server, hindered, patience)
            self._look_again(patience)

    def ask_server(self, server: Server, buffers: Sequence[Any], count: int) -> Replied:
        return ask_server(server, buffers, count, self._timeout)

    def by_server(self, keys: Sequence[bytes]) -> dict[Server, list[int]]:
        groups: dict[Server, list[int]] = {}
        for index, key in enumerate(keys):
            groups.setdefault(self.server_of(key), []).append(index)
        return groups

    def server_of(self, key: bytes) -> Server:
        server = self._map.at(slot_of(key))
        if server is None:
            self._look_again(Patience(self._timeout))
            server = self._map.at(slot_of(key))
        if server is None:
            raise _incomplete(self._seeds[0], self._map.missing())
        return server

    def each(self) -> list[Server]:
        return list(dict.fromkeys(self._map.servers))

    def close(self) -> None:
        for server in list(self._servers.values()):
            server.close()

    def _look_again(self, patience: Patience) -> None:
        """Look the cluster over, unless somebody has just done so."""
        if time.monotonic() - self._looked > 0.05:
            try:
                self._look(patience.left())
            except LostError:
                return  # whoever asks next meets it, and has a deadline

    def _look(self, patience: float, first: Sequence[Address] = ()) -> None:
        how, began = "nobody was asked", time.monotonic()
        known = [*first, *self._seeds, *(server.address for server in self.each())]
        for address in dict.fromkeys(known):
            server = self._server(address)
            try:
                (reply,) = server.exchange(
                    [packed("CLUSTER", "SLOTS")], 1, min(patience, _SECONDS_TO_ASK)
                )
            except (LostError, TransportTimeoutError) as error:
                how = f"{address}: {error}"
                continue
            if isinstance(reply, Refusal):
                if "cluster support disabled" in reply.text:
                    raise EngineUnavailableError(
                        f"the server at {address} is no part of a cluster: use redis://"
                    )
                how = f"{address}: {reply.text}"
                continue
            self._map = self._read(address, reply)
            self._looked = time.monotonic()
            if self._map.servers:
                return
            how = f"{address} knows no other server"
        if not self._map.servers:
            self._looked = time.monotonic()
            if how.endswith("no other server"):
                return
        raise LostError(how, began)

    def _read(self, asked: Address, reply: Any) -> _Map:
        ranges: list[tuple[Any, ...]] = []
        for first, last, primary, *_ in reply or []:
            host = bytes(primary[0] or b"").decode()
            if not host or host == "?":
                host = asked.host
            ranges.append((first, last, self._server(Address(host, primary[1]))))
        ranges.sort(key=lambda item: item[0])
        firsts, lasts, servers = ([item[column] for item in ranges] for column in range(3))
        return _Map(firsts, lasts, servers, {})

    def _take_note(self, moved: Refusal) -> None:
        """A slot has moved: look where all of them are now, and believe who said it of this one.

        The server that it names may not have heard of all others yet.
        """
        match = re.fullmatch(r"MOVED (\d+) (.+):(\d+)", moved.text)
        if match is None:  # the server does not say where it can be reached
            self._look_again(Patience(self._timeout))
            return
        there = Address(match[2].strip("[]"), int(match[3]))
        try:
            self._look(_SECONDS_TO_ASK, [there])
        except LostError:
            return  # whoever asks next meets it, and has a deadline
        self._map.moved[int(match[1])] = self._server(there)

    def _server(self, address: Address) -> Server:
        with self._lock:
            server = self._servers.get(address)
            if server is None:
                server = Server(address, self._access, 0, self._timeout, self._rooms)
                self._servers[address] = server
            return server

    def _any_version(self) -> tuple[int, ...]:
        server = self.each()[0]
        connection = server.take()
        server.give(connection)
        return connection.version


def _incomplete(address: Address, missing: list[str]) -> EngineUnavailableError:
    return EngineUnavailableError(
        f"the cluster at {address} is not complete: no server has the slots {', '.join(missing)}. "
        f"Give them to one (redis-cli --cluster fix {address})"
    )
