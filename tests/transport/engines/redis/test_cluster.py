"""A cluster whose slots move, and whose servers go, under a store."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from transport.engines.redis.conftest import fresh_name
from transport.engines.redis.running import LOOPBACK, RunningCluster

import dovetail as dv
from dovetail.testing.children import PATIENCE, wait_until
from dovetail.testing.values import sealed, unsealed
from dovetail.transport.engines.redis.connection import Connection
from dovetail.transport.engines.redis.keys import SLOTS, Names, slot_of

pytestmark = pytest.mark.requires("redis")


@pytest.fixture
def shards(cluster: RunningCluster) -> Iterator[list[Connection]]:
    connections = cluster.connections()
    yield connections
    for connection in connections:
        connection.close()


def ids(shards: list[Connection]) -> list[bytes]:
    return [shard.call("CLUSTER", "MYID") for shard in shards]


def move(cluster: RunningCluster, shards: list[Connection], slot: int, there: int) -> None:
    """Move a slot to another shard as redis-cli does: key by key."""
    settle(shards)
    names = ids(shards)
    owner = owner_of(slot, shards[0])
    assert owner is not None
    here = names.index(owner)
    if here == there:
        return
    assert shards[there].call("CLUSTER", "SETSLOT", slot, "IMPORTING", names[here]) == b"OK"
    assert shards[here].call("CLUSTER", "SETSLOT", slot, "MIGRATING", names[there]) == b"OK"
    port = cluster.servers[there].port
    while keys := shards[here].call("CLUSTER", "GETKEYSINSLOT", slot, 100):
        answer = shards[here].call("MIGRATE", LOOPBACK, port, "", 0, 5000, "KEYS", *keys)
        assert answer in (b"OK", b"NOKEY"), answer
    for shard in (shards[there], shards[here], *shards):
        answer = shard.call("CLUSTER", "SETSLOT", slot, "NODE", names[there])
        assert answer == b"OK", answer
    wait_until(
        lambda: {owner_of(slot, shard) for shard in shards} == {names[there]},
        "all shards to agree on the owner of the slot",
    )


def settle(shards: list[Connection]) -> None:
    """Wait until all shards know of all changes: one that does not may undo the next."""
    epoch = re.compile("cluster_current_epoch:([0-9]+)")

    def settled() -> bool:
        said = [bytes(shard.call("CLUSTER", "INFO")).decode() for shard in shards]
        owners = [shard.call("CLUSTER", "SLOTS") for shard in shards]
        known = [[[first, last, primary[2]] for first, last, primary, *_ in one] for one in owners]
        return len({epoch.findall(one)[0] for one in said}) == 1 and known.count(known[0]) == 3

    wait_until(settled, "the shards to agree")


def owner_of(slot: int, shard: Connection) -> bytes | None:
    """Who has a slot, as a shard sees it."""
    for first, last, primary, *_ in shard.call("CLUSTER", "SLOTS"):
        if first <= slot <= last:
            owner: bytes = primary[2]
            return owner
    return None


@pytest.mark.parametrize("options", ["", "chunk=3000"])
def test_values_and_lists_are_found_where_their_slots_have_moved(
    cluster: RunningCluster, shards: list[Connection], options: str
) -> None:
    name = fresh_name()
    names = Names(name)
    with dv.open_store(cluster.url(name, options)) as store:
        store.put("u", sealed(0, 1000))
        store.append("done", "0")
        for turn in range(1, 4):
            for slot in (slot_of(names.value("u")), slot_of(names.items("done"))):
                move(cluster, shards, slot, turn % 3)
            assert unsealed(store.get("u")) == turn - 1
            assert [unsealed(value) for value in store.get_many(["u"]).values()] == [turn - 1]
            store.put("u", sealed(turn, 1000))
            assert store.append("done", str(turn)) == turn
            assert store.keys() == ["u"]
        assert store.items("done") == [str(turn) for turn in range(4)]
        store.destroy()
    for key in (names.value("u"), names.items("done")):
        move(cluster, shards, slot_of(key), slot_of(key) * 3 // SLOTS)


def test_work_goes_on_while_slots_move(cluster: RunningCluster, shards: list[Connection]) -> None:
    name = fresh_name()
    names = Names(name)
    keys = [f"k{number}" for number in range(5)]
    slots = [slot_of(names.value(key)) for key in keys] + [slot_of(names.items("done"))]
    with (
        dv.open_store(cluster.url(name)) as store,
        dv.open_store(cluster.url(name)) as other,
        ThreadPoolExecutor(2) as threads,
    ):

        def work() -> None:
            for number in range(300):
                store.put(keys[number % 5], sealed(number, 100))
                assert store.append("done", str(number)) == number

        def listen() -> None:
            for number in range(0, 300, 50):
                assert other.wait_items("done", 50, PATIENCE, number)[0] == str(number)

        working, listening = threads.submit(work), threads.submit(listen)
        turn = 0
        while not working.done():
            turn += 1
            move(cluster, shards, slots[turn % len(slots)], turn % 3)
        working.result(PATIENCE)
        listening.result(PATIENCE)
        assert store.items("done") == [str(number) for number in range(300)]
        assert [unsealed(store.get(f"k{n % 5}")) for n in range(295, 300)] == list(range(295, 300))
        store.destroy()
    assert turn > 3
    for slot in slots:
        move(cluster, shards, slot, slot * 3 // SLOTS)


def test_a_waiter_hears_of_a_value_in_a_slot_that_has_moved(
    cluster: RunningCluster, shards: list[Connection]
) -> None:
    name = fresh_name()
    slot = slot_of(Names(name).value("late"))
    with (
        dv.open_store(cluster.url(name)) as store,
        dv.open_store(cluster.url(name)) as other,
        ThreadPoolExecutor(1) as thread,
    ):
        waiting = thread.submit(other.wait, "late", PATIENCE)
        move(cluster, shards, slot, (slot * 3 // SLOTS + 1) % 3)
        store.put("late", sealed(1, 10))
        assert unsealed(waiting.result(PATIENCE)) == 1
        store.destroy()
    move(cluster, shards, slot, slot * 3 // SLOTS)


def test_a_cluster_of_one_shard_keeps_its_slots_apart(tmp_path: Path) -> None:
    with RunningCluster(tmp_path / "one", shards=1) as cluster:
        with dv.open_store(cluster.url()) as store:
            store.put_many({f"k{number}": sealed(number, 10) for number in range(100)})
            found = store.get_many([f"k{number}" for number in range(100)])
            assert [unsealed(value) for value in found.values()] == list(range(100))
            store.rename("k1", "k2")
            assert unsealed(store.get("k2")) == 1
            assert len(store.keys()) == 99


def test_a_shard_that_is_killed_and_comes_back_is_used_again(tmp_path: Path) -> None:
    settings = ("appendonly yes", "appendfsync always", "cluster-require-full-coverage no")
    with RunningCluster(tmp_path / "cluster", 3, *settings) as cluster:
        with dv.open_store(cluster.url(), timeout=60) as store:
            keys = [f"k{number}" for number in range(30)]
            for number, key in enumerate(keys):
                store.put(key, sealed(number, 100))
            cluster.servers[1].stop()
            cluster.servers[1].begin()
            for number, key in enumerate(keys):
                assert unsealed(store.get(key)) == number
                store.put(key, sealed(number + 100, 100))
            assert len(store.keys()) == 30


def test_a_shard_that_stays_away_is_said_at_the_deadline(tmp_path: Path) -> None:
    with RunningCluster(tmp_path / "cluster", 3, "cluster-node-timeout 500") as cluster:
        with dv.open_store(cluster.url(), timeout=1) as store:
            keys = [f"k{number}" for number in range(30)]
            for key in keys:
                store.put(key, 1)
            cluster.servers[1].stop()
            with pytest.raises(dv.DovetailError) as caught:
                for key in keys:
                    store.put(key, 2)
            assert isinstance(
                caught.value,
                dv.PeerLostError | dv.TransportTimeoutError | dv.EngineUnavailableError,
            )
