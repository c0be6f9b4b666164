"""What a Redis server, and the way to it, can do to a store in C: kills and cuts."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from transport.engines.redis.proxy import Proxy, Way
from transport.engines.redis.running import RunningServer, on_the_loopback

import dovetail as dv
from dovetail.testing import store_roles
from dovetail.testing.children import PATIENCE, ChildServer
from dovetail.testing.values import sealed, unsealed

pytestmark = [pytest.mark.requires("redis"), pytest.mark.requires("hiredis")]

TRIALS, SOAK_TRIALS = 25, 2000
WAYS: list[Way] = ["reset", "close"]


@pytest.fixture
def trials(request: pytest.FixtureRequest) -> int:
    return SOAK_TRIALS if request.config.getoption("soak") else TRIALS


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    return random.Random(request.node.name)


# --- kills -----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", ["", "&chunk=3000"])
def test_a_killed_writer_leaves_the_old_value_or_the_new_one(
    unix_url: str, options: str, tmp_path: Path, children: ChildServer, trials: int,
    chance: random.Random,
) -> None:  # fmt: skip
    url = f"{unix_url}{options}"
    file = str(tmp_path / "ledger")
    ledger = store_roles.Ledger(file)
    with dv.open_store(url) as store:
        store.put("a", sealed(0, 10))
        last = 0
        for _ in range(max(5, trials // 5)):
            ledger.number = last
            writer = children.start(
                store_roles.put_for_ever, url=f"c+{url}", key="a", sizes=[20_000, 400, 3],
                ledger=file, first=last + 1,
            )  # fmt: skip
            assert writer.receive() == "ready"
            end = time.monotonic() + chance.uniform(0, 0.03)
            while time.monotonic() < end:
                number = unsealed(store.get("a"))
                assert number >= last
                last = number
            assert writer.alive(), writer.receive()
            writer.kill()
            # What it had sent whole, the server may still read.
            last = unsealed(store.get("a"))
            assert last in (ledger.number, ledger.number + 1)
            assert store.keys() == ["a"]
            writer.close()
        store.destroy()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RunningServer]:
    with on_the_loopback(tmp_path / "own", "capacity=64MiB&persistent=yes") as server:
        yield server


def test_a_server_that_is_killed_and_comes_back_is_found_again(own_server: RunningServer) -> None:
    with (
        dv.open_store(f"c+{own_server.url}", timeout=30) as store,
        ThreadPoolExecutor(3) as threads,
    ):
        store.put("a", sealed(1, 1000))
        assert store.append("list", "first") == 0
        waiting = threads.submit(store.wait, "later", PATIENCE)
        listening = threads.submit(store.wait_items, "list", 2, PATIENCE)
        own_server.kill()
        putting = threads.submit(store.put, "b", sealed(2, 1000))
        own_server.begin()
        putting.result(PATIENCE)
        assert unsealed(store.get("a")) == 1
        assert unsealed(store.get("b")) == 2
        assert store.append("list", "second") == 1
        assert listening.result(PATIENCE) == ["first", "second"]
        store.put("later", sealed(3, 10))
        assert unsealed(waiting.result(PATIENCE)) == 3


def test_a_server_that_stays_away_is_said_to_be_lost(own_server: RunningServer) -> None:
    with dv.open_store(f"c+{own_server.url}", timeout=0.3) as store:
        store.put("a", 1)
        own_server.kill()
        for operation in (lambda: store.put("a", 2), lambda: store.get("a"), store.keys,
                          lambda: store.append("list", "x"),
                          lambda: store.wait("b", PATIENCE)):  # fmt: skip
            with pytest.raises(dv.PeerLostError, match="did not come back"):
                operation()


# --- cuts ------------------------------------------------------------------------------------


@pytest.fixture
def link(tcp_server: RunningServer) -> Iterator[Proxy]:
    port = tcp_server.url.partition("?")[0].partition("/test")[0].rpartition(":")[2]
    with Proxy(int(port)) as link:
        yield link


@pytest.fixture
def behind(tcp_url: str, link: Proxy) -> str:
    """A store of its own, behind the link."""
    head, _, tail = tcp_url.rpartition(":")
    return f"c+{head}:{link.port}/{tail.partition('/')[2]}"


@pytest.mark.parametrize("options", ["", "&chunk=20000"])
def test_a_link_that_is_cut_in_mid_value_harms_no_put(
    behind: str, link: Proxy, chance: random.Random, trials: int, options: str
) -> None:
    with dv.open_store(behind + options) as store, dv.open_store(behind + options) as other:
        store.put("a", sealed(0, 1000))
        for number in range(1, trials + 1):
            count = chance.choice([3, 1000, 10_000])
            direction = chance.choice(["there", "there", "back"])
            at = chance.randrange(8 * count if direction == "there" else 30)
            link.cut(direction, at, chance.choice(WAYS))  # type: ignore[arg-type]
            store.put("a", sealed(number, count))
            assert unsealed(other.get("a")) == number
            assert other.keys() == ["a"]
        store.destroy()


def test_a_link_that_is_cut_while_a_value_is_read_harms_no_get(
    behind: str, link: Proxy, chance: random.Random, trials: int
) -> None:
    with dv.open_store(behind) as store:
        store.put("a", sealed(7, 60_000))
        for _ in range(trials):
            link.cut("back", chance.randrange(480_000), chance.choice(WAYS))
            assert unsealed(store.get("a")) == 7
        store.destroy()


def test_a_link_that_is_cut_doubles_no_append(
    behind: str, link: Proxy, chance: random.Random, trials: int
) -> None:
    with dv.open_store(behind) as store, ThreadPoolExecutor(4) as threads:

        def add(me: int) -> list[int]:
            return [store.append("list", f"{me}-{number}") for number in range(10)]

        for _ in range(trials):
            link.cut(chance.choice(["there", "back"]), chance.randrange(3000), chance.choice(WAYS))
            positions = [place for places in threads.map(add, range(4)) for place in places]
            assert sorted(positions) == list(range(40))
            items = store.items("list")
            assert len(items) == len(set(items)) == 40
            for me in range(4):
                mine = [item for item in items if item.startswith(f"{me}-")]
                assert mine == [f"{me}-{number}" for number in range(10)]
            store.remove_list("list")
        store.destroy()


def test_what_a_cut_link_held_back_brings_no_old_value_back(
    behind: str, link: Proxy, chance: random.Random, trials: int
) -> None:
    with dv.open_store(behind) as store:
        for trial in range(max(5, trials // 5)):
            link.cut("there", chance.randrange(800), "late")
            store.put("a", sealed(2 * trial, 100))
            store.put("a", sealed(2 * trial + 1, 100))
            link.deliver_late()
            assert unsealed(store.get("a")) == 2 * trial + 1
        store.destroy()
