"""What becomes of a dragon:// store when those who use it, or parts of its server, are killed."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from faults.tally import Tally
from transport.engines.dragon.servers import Server

import dovetail as dv
from dovetail.testing import store_roles as roles
from dovetail.testing.children import PATIENCE, ChildServer, wait_until
from dovetail.testing.values import sealed, unsealed
from dovetail.transport.deadlines import Deadline
from dovetail.transport.engines.dragon.client import reach

pytestmark = pytest.mark.requires("dragon")

SIZES = [20_000, 4_000, 300, 100_000]
"""Numbers in a value: some travel inside messages, others through shared memory."""
LATEST = 0.03
"""Seconds after which a child is killed at the latest."""


def few(faults: Tally, least: int) -> None:
    """Cause only `least` faults in an ordinary run, where each takes seconds."""
    faults.wanted = min(faults.wanted, max(least, faults.wanted * least // 200))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that the tests share."""
    with Server("dragon://killing?memory=128MiB") as server:
        yield server


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    """A store with room for only a few values, so that space that is lost is missed."""
    yield "dragon://killing/a?capacity=8MiB&start=no"
    dv.open_store("dragon://killing/a").destroy()


def test_dragon_writer(
    url: str,
    server: Server,
    children: ChildServer,
    chance: random.Random,
    faults: Tally,
    tmp_path: Path,
) -> None:
    """Writer of dragon:// killed at a random moment, with a reader checking."""
    ledger = roles.Ledger(str(tmp_path / "ledger"))
    reads = 0
    with dv.open_store(url) as store:
        store.put("a", sealed(0, 10))
        last = 0
        for _ in faults:
            ledger.number = last
            writer = children.start(
                roles.put_for_ever,
                url=url,
                key="a",
                sizes=SIZES,
                ledger=str(tmp_path / "ledger"),
                first=last + 1,
            )
            assert writer.receive() == "ready"
            end = time.monotonic() + chance.uniform(0, LATEST)
            while time.monotonic() < end:
                number = unsealed(store.get("a"))
                assert number >= last, "an old value came back"
                last = number
                reads += 1
            assert writer.alive(), writer.receive()
            writer.kill()
            writer.close()
            left = _settled(store)
            assert left in (ledger.number, ledger.number + 1), "a published value was lost"
            assert store.keys() == ["a"]
            last = left
    wait_until(lambda: _status(server)["staged"] == 0, "shared memory to be given back")
    faults.note(f"{last} values published, {reads} read")


def test_dragon_reader(
    url: str, server: Server, children: ChildServer, chance: random.Random, faults: Tally
) -> None:
    """Reader of dragon:// killed at a random moment, with a writer going on."""
    with dv.open_store(url) as store:
        store.put("a", sealed(0, 10))
        number = 0
        for _ in faults:
            reader = children.start(roles.get_for_ever, url=url, key="a")
            assert reader.receive() == "ready"
            end = time.monotonic() + chance.uniform(0, LATEST)
            while time.monotonic() < end:
                number += 1
                store.put("a", sealed(number, SIZES[number % len(SIZES)]))
            assert reader.alive(), reader.receive()
            reader.kill()
            reader.close()
            assert unsealed(store.get("a")) == number
    wait_until(lambda: _status(server)["staged"] == 0, "shared memory to be given back")
    faults.note(f"{number} values published")


def test_dragon_stopped_client(
    url: str, children: ChildServer, chance: random.Random, faults: Tally, tmp_path: Path
) -> None:
    """Writer of dragon:// stopped at a random moment, for ever; others go on."""
    few(faults, 10)
    ledger = str(tmp_path / "ledger")
    roles.Ledger(ledger)
    with dv.open_store(url) as store:
        for trial in faults:
            writer = children.start(
                roles.put_for_ever, url=url, key="theirs", sizes=SIZES, ledger=ledger
            )
            assert writer.receive() == "ready"
            time.sleep(chance.uniform(0, LATEST))
            writer.suspend()
            for number in range(20):
                store.put("ours", sealed(trial * 20 + number, SIZES[number % len(SIZES)]))
                assert unsealed(store.get("ours")) == trial * 20 + number
        children.close_children()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", ["server", "keeper", "manager", "launcher"])
def test_dragon_server(
    server: Server, chance: random.Random, faults: Tally, part: str, tmp_path: Path
) -> None:
    """A part of the server of dragon:// killed with a client at work: an error, and a new start."""
    few(faults, 3)
    url = "dragon://killed/a"
    longest = 0.0
    for _ in faults:
        with Server("dragon://killed?memory=64MiB") as killed, dv.open_store(url) as store:
            parts = psutil.Process(killed.pid).children(recursive=True)
            store.put("a", sealed(0, 1000))
            end = time.monotonic() + chance.uniform(0, 0.5)
            number = 0
            while time.monotonic() < end:
                number += 1
                store.put("a", sealed(number, SIZES[number % len(SIZES)]))
            _part(killed, parts, part).send_signal(signal.SIGKILL)
            began = time.monotonic()
            with pytest.raises(dv.DovetailError) as caught:
                while True:
                    number += 1
                    store.put("a", sealed(number, SIZES[number % len(SIZES)]))
            # The part that is left may still answer until the server has noticed.
            lost = caught.value
            while not isinstance(lost, dv.PeerLostError):
                assert time.monotonic() - began < PATIENCE, (
                    f"not told that the server is lost: {lost}"
                )
                try:
                    assert unsealed(store.get("a")) <= number
                except dv.DovetailError as error:
                    lost = error
            longest = max(longest, time.monotonic() - began)
            assert "open the store again" in str(lost)
            killed.wait()
            for process in parts:
                wait_until(lambda left=process: not _runs(left), "all of the server to end")
    faults.note(f"told within {longest:.1f} s")


def test_dragon_memory_full(url: str, server: Server, chance: random.Random, faults: Tally) -> None:
    """Values of random size put into a full dictionary: refused, and none lost."""
    with dv.open_store("dragon://killing/full") as store:
        held: dict[str, int] = {}
        number = 0
        for _ in faults:
            with pytest.raises(dv.StoreFullError, match="no room"):
                while True:
                    number += 1
                    key = f"k{chance.randrange(200)}"
                    store.put(key, sealed(number, int(10 ** chance.uniform(1, 6))))
                    held[key] = number
            assert store.keys() == sorted(held)
            for key in chance.sample(sorted(held), 3):
                assert unsealed(store.get(key)) == held[key]
        for key, number in held.items():
            assert unsealed(store.get(key)) == number
        faults.note(f"{len(held)} values held, {number} put")
        store.destroy()


def test_dragon_frozen_server(server: Server, faults: Tally) -> None:
    """The keeper of dragon:// frozen: a call ends at its deadline, and works after the thaw."""
    few(faults, 10)
    keeper = _part(server, psutil.Process(server.pid).children(recursive=True), "keeper")
    with dv.open_store("dragon://killing/frozen", timeout=0.2) as store:
        store.put("a", np.arange(3))
        for _ in faults:
            keeper.suspend()
            try:
                with pytest.raises(dv.TransportTimeoutError, match="did not answer within"):
                    store.get("a")
            finally:
                keeper.resume()
            with dv.open_store("dragon://killing/frozen") as patient:
                assert (patient.get_array("a") == np.arange(3)).all()
        store.destroy()


def _settled(store: dv.Store) -> int:
    """The value once the keeper has taken note of what a killed writer had sent."""
    version = None
    while True:
        value = store.get("a")
        if value.version == version:
            return unsealed(value)
        version = value.version
        time.sleep(0.01)


def _status(server: Server) -> dict[str, int]:
    with reach(server.contact, Deadline(10)) as connection:
        return connection.ask({"do": "status"}, Deadline(10))[0]


def _part(server: Server, parts: list[psutil.Process], name: str) -> psutil.Process:
    if name == "server":
        return psutil.Process(server.pid)

    def is_part(process: psutil.Process) -> bool:
        command = " ".join(process.cmdline())
        if name == "keeper":
            return "dragon.keeper" in command and "bin/dragon" not in command
        if name == "launcher":
            return (
                "bin/dragon -s" in command and "unshare" not in command and "sh -c" not in command
            )
        return "_dragon_native_python_process_main" in command

    # Of several processes alike, the managers of a dictionary are started last.
    return [process for process in parts if is_part(process)][-1]


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
