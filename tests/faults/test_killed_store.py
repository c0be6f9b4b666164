"""``kill -9`` of those who use a store, at random moments."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest
from faults import roles as more_roles
from faults.tally import Tally
from safetensors import safe_open
from safetensors.numpy import load_file

import dovetail as dv
from dovetail.testing import store_roles as roles
from dovetail.testing.children import ChildServer, wait_until
from dovetail.testing.values import sealed, unsealed
from dovetail.transport.contract import Store

SIZES = [20_000, 4_000, 300]
LATEST = 0.02
"""Seconds after which a child is killed at the latest."""


@pytest.fixture(params=["shm", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store with room for only a few values, so that space that is lost is missed."""
    if request.param == "shm":
        return f"{request.getfixturevalue('shm_url')}?capacity=4MiB"
    return f"file://{tmp_path}/store?capacity=4MiB"


def test_writer(
    url: str, children: ChildServer, chance: random.Random, faults: Tally, tmp_path: Path
) -> None:
    """Writer killed at a random moment, with a reader checking."""
    ledger = roles.Ledger(str(tmp_path / "ledger"))
    reads = 0
    with dv.open_store(url) as store:
        fresh = fill(store)
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
            left = unsealed(store.get("a"))
            assert left in (ledger.number, ledger.number + 1), "a published value was lost"
            assert store.keys() == ["a"]
            writer.close()
            last = left
        store.delete("a")
        assert fill(store) >= fresh - 1, "the space of killed writers was not reclaimed"
    faults.note(f"{last} values published, {reads} read")


def test_waiter(
    url: str, children: ChildServer, chance: random.Random, faults: Tally, tmp_path: Path
) -> None:
    """Writer killed with another waiting for its next value."""
    published = roles.Ledger(str(tmp_path / "published"))
    seen = roles.Ledger(str(tmp_path / "seen"))
    with dv.open_store(url) as store:
        store.put("a", sealed(0, 10))
        waiter = children.start(
            more_roles.wait_for_ever, url=url, key="a", ledger=str(tmp_path / "seen")
        )
        assert waiter.receive() == "ready"
        last = 0
        for _ in faults:
            writer = children.start(
                roles.put_for_ever,
                url=url,
                key="a",
                sizes=[10, 20_000],
                ledger=str(tmp_path / "published"),
                first=last + 1,
            )
            assert writer.receive() == "ready"
            time.sleep(chance.uniform(0, LATEST / 4))
            writer.kill()
            last = unsealed(store.get("a"))
            assert last >= published.number
            wait_until(lambda: seen.number == last, "the waiter to see the last value")  # noqa: B023
            assert not waiter.channel.waiting(), waiter.receive()
            writer.close()
        waiter.close()
    faults.note(f"{last} values published")


def test_reader(url: str, children: ChildServer, chance: random.Random, faults: Tally) -> None:
    """Reader killed at a random moment, with a writer going on."""
    number = 0
    with dv.open_store(url) as store:
        fresh = fill(store)
        store.put("a", sealed(0, 10))
        for _ in faults:
            reader = children.start(roles.get_for_ever, url=url, key="a")
            assert reader.receive() == "ready"
            end = time.monotonic() + chance.uniform(0, LATEST)
            while time.monotonic() < end:
                number += 1
                store.put("a", sealed(number, SIZES[number % 3]))
            assert not reader.channel.waiting(), reader.receive()
            reader.kill()
            assert unsealed(store.get("a")) == number
            reader.close()
        store.delete("a")
        assert fill(store) >= fresh - 1, "the space that killed readers held was not reclaimed"
    faults.note(f"{number} values published")


def test_stock_reader(
    url: str, children: ChildServer, chance: random.Random, faults: Tally, tmp_path: Path
) -> None:
    """Writer killed while it recycles blocks, with the stock reader checking."""
    reads = 0
    with dv.open_store(url) as store:
        store.put("a", sealed(0, 10))
        assert store.path is not None
        (file,) = store.path.glob("*.safetensors")
        last = 0
        for trial in faults:
            writer = children.start(
                roles.put_for_ever,
                url=url,
                key="a",
                sizes=SIZES[:2],
                ledger=str(tmp_path / "ledger"),
                first=last + 1,
            )
            assert writer.receive() == "ready"
            end = time.monotonic() + chance.uniform(0, LATEST)
            while time.monotonic() < end:
                last = max(last, unsealed(stock_read(file, trial)))
                reads += 1
            assert writer.alive(), writer.receive()
            writer.kill()
            last = max(last, unsealed(stock_read(file, trial)))
            writer.close()
        recycled = store.statistics()
    faults.note(f"{reads} read of {last} published")
    assert recycled.bytes_held <= recycled.capacity


def stock_read(file: Path, way: int) -> Any:
    """A value as the stock library reads it: whole, or array by array."""
    if way % 2 == 0:
        return load_file(file)
    with safe_open(file, "np") as value:
        return {name: value.get_tensor(name) for name in value.keys()}


def test_appending(
    url: str, children: ChildServer, chance: random.Random, faults: Tally, tmp_path: Path
) -> None:
    """Killed while it appends to a list."""
    ledger = roles.Ledger(str(tmp_path / "ledger"))
    total = 0
    with dv.open_store(url) as store:
        for trial in faults:
            name = f"list{trial // 20}"
            held = len(store.items(name))
            ledger.number = held - 1
            child = children.start(
                more_roles.append_for_ever,
                url=url,
                name=name,
                ledger=str(tmp_path / "ledger"),
                first=held,
            )
            assert child.receive() == "ready"
            time.sleep(chance.uniform(0, LATEST / 4))
            child.kill()
            items = store.items(name)
            assert items == [str(number) for number in range(len(items))]
            assert len(items) in (ledger.number + 1, ledger.number + 2)
            assert store.append(name, str(len(items))) == len(items)
            total += len(items) + 1 - held
            child.close()
    faults.note(f"{total} items")


def test_renaming(url: str, children: ChildServer, chance: random.Random, faults: Tally) -> None:
    """Killed while it renames."""
    with dv.open_store(url) as store:
        store.put("n0", sealed(7, 1000))
        for _ in faults:
            (name,) = store.keys()
            child = children.start(more_roles.rename_for_ever, url=url, first=int(name[1:]))
            assert child.receive() == "ready"
            time.sleep(chance.uniform(0, LATEST / 4))
            child.kill()
            names = store.keys()
            assert 1 <= len(names) <= 2, "rename may show both names, never neither"
            assert all(unsealed(store.get(key)) == 7 for key in names)
            for key in names[:-1]:
                store.delete(key)
            child.close()


def test_everything(url: str, children: ChildServer, chance: random.Random, faults: Tally) -> None:
    """One of two processes that do everything killed, with the other going on."""
    keys = ["a", "b", "c/d", ""]
    with dv.open_store(url) as store:
        fresh = fill(store)
        other = children.start(more_roles.churn, url=url, keys=keys, seed=1)
        for trial in faults:
            child = children.start(more_roles.churn, url=url, keys=keys, seed=trial)
            assert child.receive() == "ready"
            end = time.monotonic() + chance.uniform(0, LATEST)
            while time.monotonic() < end:
                check_all(store)
            for one in (child, other):
                if one.channel.waiting() and (message := one.receive()) != "ready":
                    raise AssertionError(message)
            child.kill()
            check_all(store)
            child.close()
        other.close()
        for key in store.keys():
            store.delete(key)
        assert fill(store) >= fresh - 1, "space was not reclaimed"


def check_all(store: Store) -> None:
    """Every value that is there is sound."""
    for key in store.keys():
        try:
            unsealed(store.get(key))
        except dv.KeyNotFoundError:
            continue


def fill(store: Store) -> int:
    """How many values of 128 KiB fit, after which they are removed again."""
    number = 0
    try:
        while True:
            store.put(f"fill{number}", sealed(number, 16_000))
            number += 1
    except dv.StoreFullError:
        pass
    for kept in range(number):
        assert unsealed(store.get(f"fill{kept}")) == kept
        store.delete(f"fill{kept}")
    return number
