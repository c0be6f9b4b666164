"""Many threads and processes on one store: nothing torn, nothing lost, nobody in the way."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import dovetail as dv
from dovetail.testing import store_roles as roles
from dovetail.testing.children import PATIENCE, ChildServer
from dovetail.testing.store_fixtures import StoreFixtures
from dovetail.testing.values import sealed, unsealed
from dovetail.transport.contract import Store


class StoreSharing(StoreFixtures):
    """What readers and writers do to each other."""

    def test_threads_share_a_handle(self, store: Store) -> None:
        def work(me: int) -> None:
            for turn in range(60):
                store.put("shared", sealed(me * 1000 + turn, 2000))
                unsealed(store.get("shared"))
                store.put(f"own{me}", sealed(turn, 100 + turn))
                assert unsealed(store.get(f"own{me}")) == turn

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(work, range(8)))

    def test_threads_reserve_the_same_key(self, store: Store) -> None:
        def work(me: int) -> None:
            for turn in range(40):
                room = {"payload": ((1000,), "i8"), "seal": ((3,), "i8")}
                with store.reserve("a", room) as value:
                    for name, array in sealed(me * 100 + turn, 1000).items():
                        value[name][...] = array
                unsealed(store.get("a"))

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(work, range(4)))

    def test_a_wait_lets_other_threads_work(self, store: Store) -> None:
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(store.wait, "late", PATIENCE)
            for number in range(100):
                store.put("busy", sealed(number, 10))
            store.put("late", sealed(1, 10))
            assert unsealed(waiting.result(PATIENCE)) == 1

    def test_a_process_sees_what_another_put(self, store: Store, children: ChildServer) -> None:
        for number in range(5):
            store.put(f"k{number}", sealed(number, 100 * number))
        child = children.start(roles.report_what_is_there, url=store.url)
        assert child.receive() == {f"k{number}": number for number in range(5)}
        child.join()

    def test_a_process_is_woken_by_another(self, store: Store, children: ChildServer) -> None:
        rounds = 200
        child = children.start(roles.answer_waits, url=store.url, rounds=rounds)
        assert child.receive() == "ready"
        version = None
        for number in range(rounds):
            store.put("ping", sealed(number, 10))
            value = store.wait("pong", PATIENCE, newer_than=version)
            version = value.version
            assert unsealed(value) == number
        child.join()

    def test_a_reader_sees_the_old_value_or_the_new_one(
        self, store: Store, children: ChildServer, tmp_path: Path
    ) -> None:
        store.put("a", sealed(0, 1000))
        sizes = [1000, 20_000, 3]
        ledger = roles.Ledger(str(tmp_path / "ledger"))
        readers = [children.start(roles.get_until_told, url=store.url, key="a") for _ in range(2)]
        for reader in readers:
            assert reader.receive() == "ready"
        writer = children.start(
            roles.put_for_ever,
            url=store.url,
            key="a",
            sizes=sizes,
            ledger=str(tmp_path / "ledger"),
        )
        _until(lambda: ledger.number >= 500, writer.alive)
        for reader in readers:
            reader.send("stop")
            assert reader.receive() > 0
            reader.join()
        writer.kill()

    def test_a_value_in_hand_of_another_process_never_changes(
        self, store: Store, children: ChildServer
    ) -> None:
        store.put("a", sealed(5, 10_000))
        child = children.start(roles.hold, url=store.url, key="a")
        assert child.receive() == 5
        for number in range(20):
            store.put("a", sealed(number, 10_000))
        store.delete("a")
        store.put("a", sealed(1, 10_000))
        child.send("check")
        assert child.receive() == 5
        child.join()

    def test_processes_on_one_key_never_see_a_mixture(
        self, store: Store, children: ChildServer
    ) -> None:
        processes, rounds = 6, 30
        started = [
            children.start(roles.contend, url=store.url, key="a", me=me, rounds=rounds, count=3000)
            for me in range(processes)
        ]
        for child in started:
            assert child.receive() == "ready"
        for child in started:
            child.send("go")
        for child in started:
            assert child.receive() == "done"
            child.join()
        unsealed(store.get("a"))
        items = store.items("all")
        assert len(items) == len(set(items)) == processes * rounds
        for me in range(processes):
            mine = [item for item in items if item.startswith(f"{me}-")]
            assert mine == [f"{me}-{turn}" for turn in range(rounds)]

    def test_rename_never_shows_neither_name(self, store: Store, children: ChildServer) -> None:
        if not store.capabilities.rename:
            return  # refused, as `test_rename_moves…` checks
        names = 300
        store.put("n0", np.arange(3))
        child = children.start(roles.rename_along, url=store.url, names=names)
        assert child.receive() == "ready"
        child.send("go")
        at = 0
        while at < names - 1:
            if not store.exists(f"n{at}"):
                # It has moved on, and may move on again while the next name is asked for.
                at = next(n for n in _cycle(at + 1, names) if store.exists(f"n{n}"))
        assert child.receive() == "done"
        child.join()
        assert store.keys() == [f"n{names - 1}"]

    def test_a_store_can_be_destroyed_under_others(self, url: str, children: ChildServer) -> None:
        with dv.open_store(url) as store:
            store.put("a", sealed(5, 10_000))
            child = children.start(roles.hold, url=store.url, key="a")
            assert child.receive() == 5
            store.destroy()
        child.send("check")
        assert child.receive() == 5
        child.join()
        dv.open_store(url).destroy()


def _cycle(first: int, names: int) -> range:
    # A value that only moves forward is found in one sweep: each name is asked for after
    # the one before it was seen empty.
    return range(first, names)


def _until(condition: Callable[[], bool], alive: Callable[[], bool]) -> None:
    while not condition():
        assert alive(), "the writer ended early"
