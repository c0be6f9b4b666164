"""What every engine withstands, counted: the same faults on each.

The table of the documentation is made from it: ``make guarantees``.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from faults import engine_roles
from faults import roles as more_roles
from faults.clearing import clear
from faults.engines import STORES, STREAMS, Engines, each_of
from faults.tally import Tally

import dovetail as dv
from dovetail.testing import store_roles
from dovetail.testing.children import PATIENCE, ChildServer
from dovetail.testing.store_fixtures import with_options
from dovetail.testing.stream_fixtures import write
from dovetail.testing.values import sealed, unsealed

SIZES = [20_000, 4_000, 300]
LATEST = 0.05
"""Seconds after which a child is killed at the latest."""
on_streams = pytest.mark.parametrize(
    "engine", each_of(STREAMS, "shm", "redis", "dragon", "sst", "bp5")
)
on_stores = pytest.mark.parametrize("engine", each_of(STORES, "shm", "file", "redis", "dragon"))
every_policy = pytest.mark.parametrize(
    "policy", [dv.lockstep(), dv.buffered(2), dv.latest(), dv.work_queue(2)], ids=str
)


@pytest.fixture
def stream(engines: Engines, engine: str) -> Iterator[str]:
    url = engines.url(engine, "stream")
    yield url
    clear(url)


@pytest.fixture
def store_url(engines: Engines, engine: str) -> Iterator[str]:
    url = engines.url(engine, "store")
    yield url
    dv.open_store(url).destroy()


# --- streams -----------------------------------------------------------------------------------


@on_streams
@every_policy
def test_either_end_first(
    stream: str, chance: random.Random, faults: Tally, policy: dv.Policy
) -> None:
    """Both ends of a stream opened in any order."""
    with ThreadPoolExecutor(2) as thread:
        for _ in faults:
            ends = [
                lambda: engine_roles.write_all(stream, policy, 10),
                lambda: engine_roles.read_to_the_end(stream),
            ]
            chance.shuffle(ends)
            first = thread.submit(ends[0])
            time.sleep(chance.uniform(0, LATEST))
            second = thread.submit(ends[1])
            seen = next(
                numbers
                for numbers in (first.result(PATIENCE), second.result(PATIENCE))
                if numbers is not None
            )
            if policy.kind == "latest":
                assert seen == sorted(set(seen))
                assert seen[-1] == 9
            else:
                assert seen == list(range(10))


@on_streams
@every_policy
def test_right_after_a_step(
    stream: str, children: ChildServer, faults: Tally, policy: dv.Policy
) -> None:
    """Writer of a stream killed right after a step: no step that it had ended is lost."""
    with ThreadPoolExecutor(1) as thread:
        for trial in faults:
            steps = 1 + trial % 5
            child = children.start(
                engine_roles.write_and_wait,
                url=stream,
                policy=[policy.kind, policy.window],
                steps=steps,
            )
            killing = thread.submit(engine_roles.kill_when_done, child)
            seen: list[int] = []
            with dv.open_stream(stream, "r") as reader, pytest.raises(dv.PeerLostError):
                seen.extend(unsealed(step) for step in reader)
                raise AssertionError("a crash looked like a clean end")
            killing.result(PATIENCE)
            if policy.kind == "latest":
                assert seen[-1] == steps - 1
            else:
                assert seen == list(range(steps))
            child.close()
            clear(stream)


@on_streams
def test_late_joiner(stream: str, chance: random.Random, faults: Tally) -> None:
    """A reader that comes late: from the oldest step still held on, without a gap."""
    with dv.open_stream(stream, "w", policy=dv.buffered(3)) as out:
        number = 0
        with dv.open_stream(stream, "r") as early:
            for _ in faults:
                for _ in range(chance.randrange(1, 4)):
                    write(out, number, 100)
                    number += 1
                oldest = number - dv.describe_stream(stream).steps_held
                with dv.open_stream(stream, "r") as late:
                    for expected in range(oldest, number):
                        step = late.next_step(PATIENCE)
                        assert step is not None
                        assert unsealed(step) == expected
                while (step := early.next_step(PATIENCE)) is not None:
                    ended = unsealed(step)
                    step.end()
                    if ended == number - 1:
                        break


@on_streams
@every_policy
def test_slow_reader(stream: str, chance: random.Random, faults: Tally, policy: dv.Policy) -> None:
    """A reader that is slower than the producer, beside one that is not."""
    with ThreadPoolExecutor(3) as thread:
        for _ in faults:
            out = dv.open_stream(stream, "w", policy=policy)
            readers = [dv.open_stream(stream, "r") for _ in range(2)]
            pauses = [0.0, chance.uniform(0.002, 0.01)]
            reading = [
                thread.submit(engine_roles.read_slowly, reader, pause)
                for reader, pause in zip(readers, pauses, strict=True)
            ]
            for number in range(20):
                write(out, number, 100)
            out.close()
            fast, slow = (future.result(PATIENCE) for future in reading)
            for reader in readers:
                reader.close()
            if policy.kind == "work_queue":
                assert sorted(fast + slow) == list(range(20))
            elif policy.kind == "latest":
                assert fast[-1] == slow[-1] == 19
            else:
                assert fast == slow == list(range(20))
            clear(stream)


@on_streams
def test_full_stream(stream: str, faults: Tally) -> None:
    """A step that is larger than a stream may hold: refused, and nothing else is lost."""
    small = with_options(stream, capacity="1MiB")
    with ThreadPoolExecutor(1) as thread:
        for _ in faults:
            with dv.open_stream(small, "w", policy=dv.buffered(2)) as out:
                write(out, 0, 100)
                with pytest.raises(dv.StoreFullError):
                    write(out, -1, 1 << 18)
                reading = thread.submit(engine_roles.read_to_the_end, small)
                write(out, 1, 100)
            assert reading.result(PATIENCE) == [0, 1]


# --- stores ------------------------------------------------------------------------------------


@on_stores
def test_writer_of_a_store(
    store_url: str, children: ChildServer, chance: random.Random, faults: Tally, tmp_path: Path
) -> None:
    """Writer of a store killed at a random moment: the old value or the new one."""
    ledger = store_roles.Ledger(str(tmp_path / "ledger"))
    last = 0
    with dv.open_store(store_url) as store:
        store.put("a", sealed(0, 10))
        for _ in faults:
            ledger.number = last
            writer = children.start(
                store_roles.put_for_ever, url=store_url, key="a", sizes=SIZES,
                ledger=str(tmp_path / "ledger"), first=last + 1,
            )  # fmt: skip
            assert writer.receive() == "ready"
            end = time.monotonic() + chance.uniform(0, LATEST)
            while time.monotonic() < end:
                number = unsealed(store.get("a"))
                assert number >= last, "an old value came back"
                last = number
            writer.kill()
            left = unsealed(store.wait("a", PATIENCE))
            assert left >= ledger.number, "a published value was lost"
            writer.close()
            last = left
    faults.note(f"{last} values published")


@on_stores
def test_appender(
    store_url: str, children: ChildServer, chance: random.Random, faults: Tally, tmp_path: Path
) -> None:
    """Killed while it appends to a list: each item once, none lost."""
    ledger = store_roles.Ledger(str(tmp_path / "ledger"))
    total = 0
    with dv.open_store(store_url) as store:
        for trial in faults:
            name = f"list{trial}"
            ledger.number = -1
            child = children.start(
                more_roles.append_for_ever,
                url=store_url,
                name=name,
                ledger=str(tmp_path / "ledger"),
                first=0,
            )
            assert child.receive() == "ready"
            time.sleep(chance.uniform(0, LATEST))
            child.kill()
            assert store.append(name, "mark") > ledger.number
            items = [item for item in store.items(name) if item != "mark"]
            assert items == [str(number) for number in range(len(items))]
            store.remove_list(name)
            total += len(items)
            child.close()
    faults.note(f"{total} items")


@on_stores
def test_reader_of_a_store(
    store_url: str, children: ChildServer, chance: random.Random, faults: Tally
) -> None:
    """Reader of a store killed at a random moment: others are not disturbed."""
    with dv.open_store(store_url) as store:
        store.put("a", sealed(0, 10))
        number = 0
        for _ in faults:
            reader = children.start(store_roles.get_for_ever, url=store_url, key="a")
            assert reader.receive() == "ready"
            end = time.monotonic() + chance.uniform(0, LATEST)
            while time.monotonic() < end:
                number += 1
                store.put("a", sealed(number, SIZES[number % 3]))
            assert not reader.channel.waiting(), reader.receive()
            reader.kill()
            assert unsealed(store.get("a")) == number
            reader.close()


@on_stores
def test_either_side_first(store_url: str, chance: random.Random, faults: Tally) -> None:
    """A value waited for before or after it is put."""
    with (
        ThreadPoolExecutor(1) as thread,
        dv.open_store(store_url) as store,
        dv.open_store(store_url) as other,
    ):
        for trial in faults:
            key = f"k{trial}"
            waiting = thread.submit(other.wait, key, PATIENCE)
            time.sleep(chance.uniform(0, LATEST / 10))
            store.put(key, np.array(trial))
            assert int(waiting.result(PATIENCE)["value"]) == trial
            store.delete(key)
