"""What a Redis server, and the way to it, can do to a store."""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from faults import redis_roles
from faults.tally import Tally
from transport.engines.redis.proxy import Proxy, Way
from transport.engines.redis.running import RunningServer, on_a_socket, on_the_loopback

import dovetail as dv
from dovetail.testing import store_roles
from dovetail.testing.children import PATIENCE, ChildServer, wait_until
from dovetail.testing.stream_fixtures import write
from dovetail.testing.values import sealed, unsealed
from dovetail.transport.contract import Store
from dovetail.transport.engines.redis.store import RedisStore
from dovetail.transport.url import URL, parse

pytestmark = pytest.mark.requires("redis")
FEWER = 10
"""Faults that take long are caused so many times less often."""
_numbers = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with on_the_loopback(tmp_path_factory.mktemp("redis") / "server", "capacity=256MiB") as server:
        yield server


@pytest.fixture
def link(server: RunningServer) -> Iterator[Proxy]:
    place = parse(server.url, "store").location.partition("/")[0]
    with Proxy(int(place.rpartition(":")[2])) as link:
        yield link


@pytest.fixture
def url(server: RunningServer, link: Proxy) -> str:
    """A store of its own, behind the link."""
    there = parse(server.url, "store")
    name = f"faults-{os.getpid()}-{next(_numbers)}"
    return str(URL("redis", f"127.0.0.1:{link.port}/{name}", there.options))


def fewer(faults: Tally) -> Tally:
    """As many as take their time."""
    faults.wanted = max(10, faults.wanted // FEWER)
    return faults


# --- the way is cut --------------------------------------------------------------------------

WAYS: list[Way] = ["reset", "close"]


def test_cut_while_putting(url: str, link: Proxy, chance: random.Random, faults: Tally) -> None:
    """Link cut in the middle of a value that is put: the old one or the new, and then the new."""
    with dv.open_store(url) as store, dv.open_store(url) as other:
        store.put("a", sealed(0, 1000))
        for trial in faults:
            number, count = trial + 1, chance.choice([3, 1000, 60_000])
            way, direction = chance.choice(WAYS), chance.choice(["there", "there", "back"])
            at = chance.randrange(8 * count if direction == "there" else 30)
            link.cut(direction, at, way)  # type: ignore[arg-type]
            store.put("a", sealed(number, count))
            assert unsealed(other.get("a")) == number
        store.destroy()
    faults.note(f"{link.cuts} cuts")


def test_cut_while_putting_in_chunks(
    url: str, link: Proxy, chance: random.Random, faults: Tally
) -> None:
    """Link cut in the middle of a value in chunks."""
    url += "&chunk=20000"
    with dv.open_store(url) as store, dv.open_store(url) as other:
        for trial in faults:
            number, count = trial + 1, chance.choice([3, 1000, 10_000])
            link.cut("there", chance.randrange(8 * count + 500), chance.choice(WAYS))
            store.put("a", sealed(number, count))
            assert unsealed(other.get("a")) == number
            assert store.keys() == ["a"]
        store.destroy()
    faults.note(f"{link.cuts} cuts")


def test_cut_while_getting(url: str, link: Proxy, chance: random.Random, faults: Tally) -> None:
    """Link cut in the middle of a value that is read."""
    counts = [3, 1000, 60_000]
    with dv.open_store(url) as store:
        for number, count in enumerate(counts):
            store.put(f"k{number}", sealed(number, count))
        for trial in faults:
            number = trial % len(counts)
            link.cut("back", chance.randrange(8 * counts[number]), chance.choice(WAYS))
            assert unsealed(store.get(f"k{number}")) == number
            found = store.get_many([f"k{number}" for number in range(len(counts))])
            assert [unsealed(value) for value in found.values()] == [0, 1, 2]
        store.destroy()
    faults.note(f"{link.cuts} cuts")


def test_cut_while_appending(url: str, link: Proxy, chance: random.Random, faults: Tally) -> None:
    """Link cut while four threads append: each item once, in its thread's order."""

    def add(me: int) -> list[int]:
        return [store.append("list", f"{me}-{number}") for number in range(10)]

    with dv.open_store(url) as store, ThreadPoolExecutor(4) as threads:
        for _ in faults:
            link.cut(chance.choice(["there", "back"]), chance.randrange(3000), chance.choice(WAYS))
            positions = [place for places in threads.map(add, range(4)) for place in places]
            assert sorted(positions) == list(range(40))
            items = store.items("list")
            assert len(items) == len(set(items)) == 40
            for me in range(4):
                mine = [item for item in items if item.startswith(f"{me}-")]
                assert mine == [f"{me}-{number}" for number in range(10)]
            store.remove_list("list")
    faults.note(f"{link.cuts} cuts")


def test_late_bytes(url: str, link: Proxy, chance: random.Random, faults: Tally) -> None:
    """What a cut link had swallowed reaches the server late: no old value comes back."""
    fewer(faults)
    with dv.open_store(url) as store:
        for trial in faults:
            link.cut("there", chance.randrange(200), "late")
            store.put("a", sealed(2 * trial, 100))
            assert store.append("list", str(2 * trial)) == 2 * trial
            store.put("a", sealed(2 * trial + 1, 100))
            link.deliver_late()
            assert store.append("list", str(2 * trial + 1)) == 2 * trial + 1
            assert unsealed(store.get("a")) == 2 * trial + 1
        assert store.items("list") == [str(number) for number in range(2 * faults.wanted)]
        store.destroy()
    faults.note(f"{link.cuts} cuts")


def test_cut_while_waiting(url: str, link: Proxy, faults: Tally) -> None:
    """All links cut while somebody waits: it is woken nonetheless."""
    with (
        dv.open_store(url) as store,
        dv.open_store(url) as other,
        ThreadPoolExecutor(2) as threads,
    ):
        for trial in faults:
            value = threads.submit(other.wait, f"k{trial}", PATIENCE)
            items = threads.submit(other.wait_items, "list", trial + 1, PATIENCE)
            link.cut_all()
            store.put(f"k{trial}", np.array(trial))
            store.append("list", str(trial))
            assert int(value.result(PATIENCE)["value"]) == trial
            assert items.result(PATIENCE)[-1] == str(trial)
        store.destroy()


def test_cut_stream(url: str, link: Proxy, chance: random.Random, faults: Tally) -> None:
    """Link cut under a stream: every step arrives once, and nobody counts as dead."""
    steps = 20

    def read() -> list[int]:
        with dv.open_stream(url, "r") as reader:
            return [unsealed(step) for step in reader]

    with ThreadPoolExecutor(1) as thread:
        for _ in fewer(faults):
            reading = thread.submit(read)
            with dv.open_stream(url, "w", policy=dv.buffered(3)) as out:
                for number in range(steps):
                    if number % 5 == 2:
                        link.cut_all()
                    elif number % 5 == 4:
                        link.cut("back", chance.randrange(2000), chance.choice(WAYS))
                    write(out, number, 2000)
            assert reading.result(PATIENCE) == list(range(steps))
    faults.note(f"{link.cuts} cuts")


# --- the server dies -------------------------------------------------------------------------


def test_restart_with_persistence(tmp_path: Path, chance: random.Random, faults: Tally) -> None:
    """Persistent server killed under a writer, and restarted: nothing acknowledged is lost."""
    server = on_the_loopback(tmp_path / "server", "capacity=64MiB&persistent=yes")
    server.start()
    with dv.open_store(server.url) as store, ThreadPoolExecutor(1) as thread:

        def work(first: int) -> None:
            for number in range(first, first + 20):
                store.put(f"k{number % 5}", sealed(number, chance.choice([3, 20_000])))
                assert store.append("list", str(number)) == number

        try:
            for trial in fewer(faults):
                working = thread.submit(work, 20 * trial)
                time.sleep(chance.uniform(0, 0.1))
                server.kill()
                server.begin()
                working.result(PATIENCE)
                last = 20 * trial + 19
                assert [
                    unsealed(store.get(f"k{n % 5}")) for n in range(last - 4, last + 1)
                ] == list(range(last - 4, last + 1))
                assert store.items("list") == [str(number) for number in range(last + 1)]
        finally:
            server.stop()


def test_restart_without_persistence(tmp_path: Path, chance: random.Random, faults: Tally) -> None:
    """Server without persistence killed and restarted: the store is empty, and works."""
    with (
        on_a_socket(tmp_path / "server", "capacity=64MiB") as server,
        dv.open_store(server.url) as store,
    ):
        for trial in fewer(faults):
            store.put("a", sealed(trial, 1000))
            inhand = store.get("a")
            server.kill()
            server.begin()
            assert store.keys() == []
            assert unsealed(inhand) == trial
            store.put("b", sealed(trial, 1000))
            assert unsealed(store.get("b")) == trial
            assert store.append("list", "a") == 0


def test_server_gone_for_good(tmp_path: Path, faults: Tally) -> None:
    """Server killed for good: every operation ends at its deadline, with what to do."""
    for _ in fewer(faults):
        with on_a_socket(tmp_path / "server", "capacity=64MiB") as server:
            store = dv.open_store(server.url, timeout=0.1)
            store.put("a", 1)
            server.kill()
            operations = [
                store.keys,
                partial(store.put, "a", 2),
                partial(store.get, "a"),
                partial(store.append, "list", "a"),
                partial(store.wait, "b", 5),
            ]
            for operation in operations:
                with pytest.raises(dv.PeerLostError, match="start it again"):
                    operation()


def test_stopped_server(tmp_path: Path, faults: Tally) -> None:
    """Server stopped, and going on after a deadline: what timed out overtakes nothing."""
    with (
        on_a_socket(tmp_path / "server", "capacity=64MiB") as server,
        dv.open_store(server.url, timeout=0.1) as store,
    ):
        store.put("a", sealed(0, 10))
        for trial in fewer(faults):
            server.signal(signal.SIGSTOP)
            with pytest.raises(dv.TransportTimeoutError, match="kept silent"):
                store.put("a", sealed(3 * trial, 10))
            with pytest.raises(dv.TransportTimeoutError):
                store.put("a", sealed(3 * trial + 1, 50_000))
            server.signal(signal.SIGCONT)
            succeed(store, 3 * trial + 2)
            assert unsealed(store.get("a")) == 3 * trial + 2


def succeed(store: Store, number: int) -> None:
    """Put until the server is back in time."""
    while True:
        try:
            store.put("a", sealed(number, 10))
            return
        except dv.TransportTimeoutError:
            continue


# --- a process dies --------------------------------------------------------------------------


def test_writer_of_chunks(
    server: RunningServer,
    url: str,
    children: ChildServer,
    chance: random.Random,
    faults: Tally,
    tmp_path: Path,
) -> None:
    """Writer of values in chunks killed: nothing half-visible, and what is left will expire."""
    url += "&chunk=5000"
    ledger = store_roles.Ledger(str(tmp_path / "ledger"))
    connection = server.connection()
    last = 0
    with dv.open_store(url) as store:
        store.put("a", sealed(0, 10))
        for _ in fewer(faults):
            ledger.number = last
            writer = children.start(
                store_roles.put_for_ever, url=url, key="a", sizes=[20_000, 4_000, 300],
                ledger=str(tmp_path / "ledger"), first=last + 1,
            )  # fmt: skip
            assert writer.receive() == "ready"
            time.sleep(chance.uniform(0, 0.02))
            writer.kill()
            last = unsealed(store.get("a"))
            assert last in (ledger.number, ledger.number + 1)
            assert store.keys() == ["a"]
            writer.close()
        version = store.stat("a").version.encode()
        name = parse(url, "store").location.rpartition("/")[2].encode()
        chunks = connection.call("KEYS", b"dv.chunk:{" + name + b":*")
        assert isinstance(chunks, list)
        left = [chunk for chunk in chunks if version not in bytes(chunk)]
        assert all(0 < int(str(connection.call("TTL", bytes(chunk)))) <= 300 for chunk in left)
        store.destroy()
    connection.close()
    faults.note(f"{last} values published; {len(left)} chunks left to expire")


def _same_store(server: str, url: str) -> str:
    """The location of a store as it is without the link."""
    place = parse(server, "store").location.partition("/")[0]
    return f"{place}/{parse(url, 'store').location.rpartition('/')[2]}"


def test_lifelines(
    server: RunningServer, url: str, link: Proxy, children: ChildServer, faults: Tally
) -> None:
    """Who hangs on a lifeline killed, or only cut off or stopped: the dead alone are missed."""
    store = dv.open_store(url)
    assert isinstance(store, RedisStore)
    with store:
        direct = str(URL("redis", _same_store(server.url, url), parse(url, "store").options))
        stopped = children.start(redis_roles.hang_on, url=direct, names=["stopped"])
        assert stopped.receive() == "ready"
        stopped.suspend()
        for trial in fewer(faults):
            names = [f"{trial}-{number}" for number in range(3)]
            child = children.start(redis_roles.hang_on, url=url, names=names)
            assert child.receive() == "ready"
            everybody = {*names, "stopped"}
            assert store.lifelines.alive(everybody) == everybody
            if trial % 2:
                link.cut_all()
                assert store.lifelines.alive(names) == set(names)
            child.kill()
            wait_until(lambda: not store.lifelines.alive(names), "the dead to be missed")  # noqa: B023
            child.close()
        stopped.resume()


def test_forked_child(url: str, children: ChildServer, faults: Tally) -> None:
    """Forked while connected and hanging on: the child works, and keeps nobody alive."""
    store = dv.open_store(url)
    assert isinstance(store, RedisStore)
    with store:
        for trial in fewer(faults):
            child = children.start(redis_roles.fork_and_die, url=url, name=f"parent{trial}")
            assert child.receive() == "ready"
            assert child.receive() == "both"
            child.kill()
            gone = f"parent{trial}"
            wait_until(lambda: not store.lifelines.alive([gone]), "the parent to be missed")  # noqa: B023
            store.put(f"end{trial}", 1)
            child.close()
        store.destroy()


# --- memory ----------------------------------------------------------------------------------


def test_full(tmp_path: Path, chance: random.Random, faults: Tally) -> None:
    """Memory full while four threads put: what was stored stays, and room can be made."""
    with (
        on_a_socket(tmp_path / "server", "capacity=8MiB") as server,
        dv.open_store(server.url) as store,
    ):

        def fill(me: int) -> list[str]:
            keys = []
            try:
                for number in range(100):
                    store.put(f"{me}-{number}", sealed(number, 20_000))
                    keys.append(f"{me}-{number}")
            except dv.StoreFullError:
                pass
            return keys

        with ThreadPoolExecutor(4) as threads:
            for _ in fewer(faults):
                keys = [key for filled in threads.map(fill, range(4)) for key in filled]
                assert 4 <= len(keys) < 400
                assert store.keys() == sorted(keys)
                assert all(unsealed(store.get(key)) == int(key.partition("-")[2]) for key in keys)
                with pytest.raises(dv.StoreFullError):
                    store.put_many({f"m{number}": sealed(number, 20_000) for number in range(200)})
                kept = [key for key in store.keys() if key[0] == "m"]
                assert kept == sorted(f"m{number}" for number in range(len(kept)))
                for key in store.keys():
                    store.delete(key)
