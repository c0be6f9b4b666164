"""Versions, waits, lists, capacity, closing: what happens to a value over time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import dovetail as dv
from dovetail.testing.children import PATIENCE
from dovetail.testing.store_fixtures import StoreFixtures, with_options
from dovetail.testing.store_values import sealed_room
from dovetail.testing.values import sealed, unsealed
from dovetail.transport.contract import Store

ROOM = 16
"""Values of 64 KiB that fit into 1 MiB."""


class StoreChanges(StoreFixtures):
    """One process, several handles and threads."""

    @pytest.fixture
    def second(self, store: Store) -> Iterator[Store]:
        """Another handle on the same store."""
        with dv.open_store(store.url) as second:
            yield second

    @pytest.fixture
    def thread(self) -> Iterator[ThreadPoolExecutor]:
        with ThreadPoolExecutor(4) as thread:
            yield thread

    # --- versions ---------------------------------------------------------------------------

    def test_every_put_makes_a_version_of_its_own(self, store: Store) -> None:
        versions = [store.put("a", np.arange(3)) for _ in range(50)]
        assert len(set(versions)) == 50
        store.delete("a")
        assert store.put("a", np.arange(3)) not in versions

    def test_the_version_of_put_is_that_of_stat_get_and_wait(
        self, store: Store, second: Store
    ) -> None:
        version = store.put("a", np.arange(3))
        for handle in (store, second):
            assert handle.stat("a").version == version
            assert handle.get("a").version == version
            assert handle.wait("a", timeout=0).version == version

    def test_stat_describes_a_value_without_its_arrays(self, store: Store) -> None:
        before = time.time()
        store.put("a", {"u": np.zeros((3, 4)), "z": np.zeros(2, "c16"), "m": np.zeros(5, "?")})
        stat = store.stat("a")
        assert stat.key == "a"
        assert stat.nbytes >= 3 * 4 * 8 + 2 * 16 + 5
        assert before - 1 <= stat.time <= time.time() + 1
        described = {item.name: (item.dtype.str, item.shape) for item in stat.variables}
        assert described == {"u": ("<f8", (3, 4)), "z": ("<c16", (2,)), "m": ("|b1", (5,))}

    def test_what_one_handle_does_the_other_sees(self, store: Store, second: Store) -> None:
        store.put("a", np.array(1))
        assert int(second.get_array("a")) == 1
        second.put("a", np.array(2))
        assert int(store.get_array("a")) == 2
        second.delete("a")
        assert not store.exists("a")

    def test_a_value_is_there_when_the_store_is_opened_again(self, url: str) -> None:
        with dv.open_store(url) as store:
            store.put("a", sealed(1, 100), {"t": 1})
            store.append("list", "a")
        with dv.open_store(url) as store:
            assert unsealed(store.get("a")) == 1
            assert store.get("a").attrs == {"t": 1}
            assert store.items("list") == ["a"]
            store.destroy()

    # --- delete, rename, many ---------------------------------------------------------------

    def test_what_is_deleted_is_gone(self, store: Store) -> None:
        store.put("a", np.arange(3))
        store.delete("a")
        assert not store.exists("a")
        with pytest.raises(dv.KeyNotFoundError):
            store.get("a")
        with pytest.raises(dv.KeyNotFoundError):
            store.delete("a")

    def test_rename_moves_a_value_and_replaces_what_was_there(self, store: Store) -> None:
        store.put("a", sealed(1, 100))
        store.put("b", sealed(2, 100))
        if not store.capabilities.rename:
            with pytest.raises(dv.CapabilityError):
                store.rename("a", "b")
            return
        inhand = store.get("b")
        store.rename("a", "b")
        assert store.keys() == ["b"]
        assert unsealed(store.get("b")) == 1
        assert unsealed(inhand) == 2
        with pytest.raises(dv.KeyNotFoundError):
            store.rename("a", "c")
        assert store.keys() == ["b"]

    def test_rename_to_itself_changes_nothing(self, store: Store) -> None:
        if not store.capabilities.rename:
            pytest.skip("the engine declares that it cannot rename")
        store.put("a", sealed(1, 100))
        store.rename("a", "a")
        assert unsealed(store.get("a")) == 1

    def test_many_are_put_and_got(self, store: Store) -> None:
        store.put_many({f"k{n}": sealed(n, 10 + n) for n in range(20)})
        got = store.get_many(f"k{n}" for n in range(20))
        assert list(got) == [f"k{n}" for n in range(20)]
        assert [unsealed(value) for value in got.values()] == list(range(20))
        with pytest.raises(dv.KeyNotFoundError, match="absent"):
            store.get_many(["k1", "absent", "k2"])

    # --- waits ------------------------------------------------------------------------------

    def test_wait_returns_what_is_there(self, store: Store) -> None:
        store.put("a", sealed(1, 10))
        assert unsealed(store.wait("a", timeout=0)) == 1
        assert unsealed(store.wait("a", timeout=None)) == 1

    def test_wait_ends_at_its_deadline(self, store: Store) -> None:
        for timeout in (0, 0.02):
            with pytest.raises(dv.TransportTimeoutError) as caught:
                store.wait("a", timeout=timeout)
            assert isinstance(caught.value, TimeoutError)

    def test_wait_for_a_newer_version_ends_at_its_deadline(self, store: Store) -> None:
        version = store.put("a", sealed(1, 10))
        with pytest.raises(dv.TransportTimeoutError):
            store.wait("a", timeout=0.02, newer_than=version)

    def test_wait_returns_at_once_what_is_newer_already(self, store: Store) -> None:
        old = store.put("a", sealed(1, 10))
        store.put("a", sealed(2, 10))
        assert unsealed(store.wait("a", timeout=0, newer_than=old)) == 2

    def test_wait_sees_every_way_to_come_into_being(
        self, store: Store, second: Store, thread: ThreadPoolExecutor
    ) -> None:
        def reserve(key: str) -> None:
            with second.reserve(key, sealed_room(10)) as room:
                for name, array in sealed(1, 10).items():
                    room[name][...] = array

        def rename(key: str) -> None:
            second.put("elsewhere", sealed(1, 10))
            second.rename("elsewhere", key)

        ways = [
            lambda key: second.put(key, sealed(1, 10)),
            lambda key: second.put_many({key: sealed(1, 10)}),
            reserve,
        ]
        if store.capabilities.rename:
            ways.append(rename)
        for number, way in enumerate(ways):
            waiting = thread.submit(store.wait, f"k{number}", PATIENCE)
            way(f"k{number}")
            assert unsealed(waiting.result(PATIENCE)) == 1

    def test_a_conversation_of_waits_never_stalls(
        self, store: Store, second: Store, thread: ThreadPoolExecutor
    ) -> None:
        rounds = 300

        def answer() -> None:
            version = None
            for number in range(rounds):
                value = second.wait("ping", PATIENCE, newer_than=version)
                version = value.version
                assert unsealed(value) == number
                second.put("pong", sealed(number, 10))

        answering = thread.submit(answer)
        version = None
        for number in range(rounds):
            store.put("ping", sealed(number, 10))
            value = store.wait("pong", PATIENCE, newer_than=version)
            version = value.version
            assert unsealed(value) == number
        answering.result(PATIENCE)

    # --- lists ------------------------------------------------------------------------------

    def test_a_list_keeps_items_in_order_of_arrival(self, store: Store, second: Store) -> None:
        assert store.items("done") == []
        assert [store.append("done", item) for item in "ba"] == [0, 1]
        assert second.append("done", "b") == 2
        assert store.items("done") == second.items("done") == ["b", "a", "b"]
        assert second.append("done", "c") == 3
        assert store.items("done", start=2) == ["b", "c"]
        assert store.items("done", start=4) == []
        assert store.items("done", start=99) == []

    def test_wait_items_returns_when_there_are_enough(
        self, store: Store, second: Store, thread: ThreadPoolExecutor
    ) -> None:
        waiting = thread.submit(store.wait_items, "done", 3, PATIENCE, 1)
        for item in "abcd":
            second.append("done", item)
        assert waiting.result(PATIENCE)[:3] == ["b", "c", "d"]
        assert store.wait_items("done", 0, timeout=0) == ["a", "b", "c", "d"]

    def test_wait_items_ends_at_its_deadline(self, store: Store) -> None:
        store.append("done", "a")
        with pytest.raises(dv.TransportTimeoutError):
            store.wait_items("done", 2, timeout=0.02)

    def test_a_removed_list_begins_anew(self, store: Store, second: Store) -> None:
        store.remove_list("list")
        for handle in (store, second, store):
            assert [handle.append("list", key) for key in ("a", "b", "c")] == [0, 1, 2]
            handle.append("other", "kept")
            second.remove_list("list")
            assert store.items("list") == second.items("list") == []
        assert store.items("other") == ["kept"] * 3

    def test_a_list_that_is_removed_while_others_append_has_no_hole(
        self, store: Store, second: Store, thread: ThreadPoolExecutor
    ) -> None:
        def append_many(handle: Store) -> None:
            for number in range(100):
                handle.append("list", str(number))

        appending = [thread.submit(append_many, handle) for handle in (store, second)]
        while not all(future.done() for future in appending):
            store.remove_list("list")
        for future in appending:
            future.result()
        before = len(store.items("list"))
        assert store.append("list", "last") == before
        assert store.items("list")[before:] == ["last"]

    def test_threads_that_append_lose_nothing(
        self, store: Store, thread: ThreadPoolExecutor
    ) -> None:
        def add(name: str) -> list[int]:
            return [store.append("done", f"{name}{n}") for n in range(100)]

        positions = [place for result in thread.map(add, "abcd") for place in result]
        assert sorted(positions) == list(range(400))
        items = store.items("done")
        for name in "abcd":
            mine = [item for item in items if item[0] == name]
            assert mine == [f"{name}{n}" for n in range(100)]

    # --- capacity ---------------------------------------------------------------------------

    def test_a_full_store_refuses_and_loses_nothing(self, small_store: Store) -> None:
        kept = _fill(small_store)
        assert 2 <= kept <= ROOM
        for number in range(kept):
            assert unsealed(small_store.get(f"k{number}")) == number
        assert len(small_store.keys()) == kept

    def test_a_full_store_says_so_as_a_system_would(self, small_store: Store) -> None:
        with pytest.raises(dv.StoreFullError) as caught:
            small_store.put("a", np.zeros(4 << 20, np.uint8))
        assert isinstance(caught.value, OSError)
        assert any(character.isdigit() for character in str(caught.value))
        with pytest.raises(dv.StoreFullError):
            with small_store.reserve("a", {"value": ((4 << 20,), "u1")}):
                pass
        assert small_store.keys() == []

    def test_a_full_store_takes_values_again_once_room_is_made(self, small_store: Store) -> None:
        kept = _fill(small_store)
        small_store.delete("k0")
        small_store.put("again", sealed(7, 8000))
        assert unsealed(small_store.get("again")) == 7
        for number in range(1, kept):
            small_store.delete(f"k{number}")
        assert _fill(small_store) >= kept - 1

    def test_a_full_store_can_still_be_read_listed_and_renamed(self, small_store: Store) -> None:
        kept = _fill(small_store)
        assert len(small_store.keys()) == kept
        assert unsealed(small_store.wait("k1", timeout=0)) == 1
        if small_store.capabilities.rename:
            small_store.rename("k1", "moved")
            assert unsealed(small_store.get("moved")) == 1

    def test_replacing_a_value_for_ever_fits_into_the_same_room(self, small_store: Store) -> None:
        for number in range(200):
            small_store.put("a", sealed(number, 8000 + number))
            assert unsealed(small_store.get("a")) == number
        statistics = small_store.statistics()
        assert statistics.bytes_held <= statistics.capacity

    def test_values_of_every_size_follow_each_other_in_the_same_room(
        self, small_store: Store
    ) -> None:
        for number in range(300):
            key = f"k{number % 3}"
            small_store.put(key, sealed(number, (number * 7919) % 20_000))
            assert unsealed(small_store.get(key)) == number

    def test_values_in_hand_stay_whole_in_a_small_store(self, small_store: Store) -> None:
        held: list[dv.Dataset] = []
        # Whether values in hand count towards the capacity is the engine's to say.
        with contextlib.suppress(dv.StoreFullError):
            for number in range(3 * ROOM):
                small_store.put("a", sealed(number, 8000))
                held.append(small_store.get("a"))
        assert [unsealed(value) for value in held] == list(range(len(held)))
        assert unsealed(small_store.get("a")) == len(held) - 1
        held.clear()
        small_store.put("a", sealed(99, 8000))
        assert unsealed(small_store.get("a")) == 99

    # --- options, statistics, the end -------------------------------------------------------

    def test_an_unknown_option_is_refused_with_the_nearest_name(self, url: str) -> None:
        with pytest.raises(dv.InvalidURLError, match="capacity") as caught:
            dv.open_store(with_options(url, capasity="1MiB"))
        assert "capasity" in str(caught.value)

    @pytest.mark.parametrize("capacity", ["", "lots", "-1", "0", "1XB", "1e400", "nan"])
    def test_a_capacity_that_is_no_size_is_refused(self, url: str, capacity: str) -> None:
        with pytest.raises(dv.InvalidURLError, match="capacity"):
            dv.open_store(with_options(url, capacity=capacity))

    def test_statistics_count_what_this_handle_did(self, store: Store, second: Store) -> None:
        store.put("a", np.zeros(1000))
        store.put("a", np.zeros(1000))
        with store.reserve("b", {"value": ((1000,), "f8")}):
            pass
        store.get("a")
        statistics = store.statistics()
        assert (statistics.puts, statistics.gets) == (3, 1)
        assert statistics.bytes_put == 3 * 8000
        assert statistics.bytes_got == 8000
        assert statistics.bytes_held >= 2 * 8000
        assert statistics.capacity > 0
        assert second.statistics().puts == 0

    def test_flush_loses_nothing(self, store: Store) -> None:
        store.put("a", sealed(1, 100))
        store.flush()
        assert unsealed(store.get("a")) == 1

    def test_a_closed_store_says_so(self, store: Store) -> None:
        store.put("a", np.arange(3))
        scope = store.scope("a")
        store.close()
        store.close()
        for operation in (
            lambda: store.put("a", np.arange(3)),
            lambda: store.get("a"),
            lambda: store.exists("a"),
            lambda: store.keys(),
            lambda: store.wait("a", timeout=0),
            lambda: store.append("a", "b"),
            lambda: store.reserve("a", {"value": ((1,), "f8")}).__enter__(),
            lambda: scope.get(""),
        ):
            with pytest.raises(dv.TransportClosedError):
                operation()

    def test_destroy_removes_values_and_lists(self, url: str) -> None:
        with dv.open_store(url) as store:
            store.put("a", np.arange(3))
            store.append("list", "a")
            store.destroy()
        with dv.open_store(url) as store:
            assert store.keys() == []
            assert store.items("list") == []
            store.destroy()

    def test_the_url_of_a_store_opens_it_again(self, small_store: Store) -> None:
        small_store.put("a", sealed(1, 100))
        with dv.open_store(small_store.url) as again:
            assert unsealed(again.get("a")) == 1
            assert again.statistics().capacity == small_store.statistics().capacity


def _fill(store: Store) -> int:
    number = 0
    try:
        while True:
            store.put(f"k{number}", sealed(number, 8000))
            number += 1
    except dv.StoreFullError:
        return number
