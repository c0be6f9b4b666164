"""SIGSTOP of those who use a store, at random moments: nobody waits for them."""

from __future__ import annotations

import random
import time
from pathlib import Path

from faults.tally import Tally

import dovetail as dv
from dovetail.testing import store_roles as roles
from dovetail.testing.children import ChildServer, wait_until
from dovetail.testing.values import sealed, unsealed


def test_writer(
    shm_url: str, children: ChildServer, chance: random.Random, faults: Tally, tmp_path: Path
) -> None:
    """Writer stopped at a random moment, with others going on."""
    ledger = roles.Ledger(str(tmp_path / "ledger"))
    with dv.open_store(f"{shm_url}?capacity=16MiB") as store:
        store.put("a", sealed(0, 10))
        writer = children.start(
            roles.put_for_ever,
            url=store.url,
            key="a",
            sizes=[20_000, 300],
            ledger=str(tmp_path / "ledger"),
        )
        assert writer.receive() == "ready"
        for trial in faults:
            before = ledger.number
            time.sleep(chance.uniform(0, 0.003))
            writer.suspend()
            unsealed(store.get("a"))
            for number in range(3):
                store.put("a", sealed(-number, 20_000))
                assert unsealed(store.get("a")) == -number
                store.put(f"b{trial % 5}", sealed(trial, 1000))
            assert unsealed(store.wait("a", timeout=0)) == -2
            writer.resume()
            wait_until(lambda: ledger.number > before, "the writer to go on")  # noqa: B023
            unsealed(store.get("a"))
        assert not writer.channel.waiting(), writer.receive()
        writer.close()


def test_reader(shm_url: str, children: ChildServer, chance: random.Random, faults: Tally) -> None:
    """Reader stopped at a random moment, with the writer going on."""
    with dv.open_store(f"{shm_url}?capacity=4MiB") as store:
        store.put("a", sealed(0, 10))
        reader = children.start(roles.get_for_ever, url=store.url, key="a")
        assert reader.receive() == "ready"
        number = 0
        for _ in faults:
            time.sleep(chance.uniform(0, 0.003))
            reader.suspend()
            for _ in range(20):
                number += 1
                store.put("a", sealed(number, 20_000))
                assert unsealed(store.get("a")) == number
            reader.resume()
            assert not reader.channel.waiting(), reader.receive()
        reader.close()
