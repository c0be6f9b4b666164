"""A store in C on a cluster finds what has moved."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from transport.engines.redis.conftest import fresh_name
from transport.engines.redis.running import RunningCluster
from transport.engines.redis.test_cluster import move

import dovetail as dv
from dovetail.testing.children import PATIENCE
from dovetail.testing.values import sealed, unsealed
from dovetail.transport.engines.redis.connection import Connection
from dovetail.transport.engines.redis.keys import SLOTS, Names, slot_of

pytestmark = [pytest.mark.requires("redis"), pytest.mark.requires("hiredis")]


@pytest.fixture
def shards(cluster: RunningCluster) -> Iterator[list[Connection]]:
    connections = cluster.connections()
    yield connections
    for connection in connections:
        connection.close()


@pytest.mark.parametrize("options", ["", "chunk=3000"])
def test_values_lists_and_waits_are_found_where_their_slots_have_moved(
    cluster: RunningCluster, shards: list[Connection], options: str
) -> None:
    name = fresh_name()
    names = Names(name)
    url = cluster.url(name, options)
    with (
        dv.open_store(f"c+{url}") as store,
        dv.open_store(url) as other,
        ThreadPoolExecutor(1) as thread,
    ):
        version = store.put("u", sealed(0, 1000))
        store.append("done", "0")
        for turn in range(1, 4):
            waiting = thread.submit(store.wait, "u", PATIENCE, version)
            for slot in (slot_of(names.value("u")), slot_of(names.items("done"))):
                move(cluster, shards, slot, turn % 3)
            assert unsealed(store.get("u")) == turn - 1
            version = other.put("u", sealed(turn, 1000))
            assert unsealed(waiting.result(PATIENCE)) == turn
            assert store.append("done", str(turn)) == turn
            assert store.keys() == ["u"]
        assert store.items("done") == [str(turn) for turn in range(4)]
        store.rename("u", "elsewhere")
        assert unsealed(other.get("elsewhere")) == 3
        store.destroy()
    for key in (names.value("u"), names.items("done")):
        move(cluster, shards, slot_of(key), slot_of(key) * 3 // SLOTS)
