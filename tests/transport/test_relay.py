"""What a relay promises between any two engines."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import relay_roles

import dovetail as dv
from dovetail.testing import stream_roles
from dovetail.testing.child_fixtures import ChildFixtures
from dovetail.testing.children import ChildServer
from dovetail.testing.stream_fixtures import POLICIES, read_all, write, write_all
from dovetail.testing.values import sealed, unsealed
from dovetail.transport.relay import StepsCarried, StoreRelay, relay_store, relay_stream

_numbers = itertools.count()


class Places:
    """Names in shared memory, in the order of asking."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.given: list[str] = []

    def __call__(self) -> str:
        self.given.append(f"{self._name}-{next(_numbers)}")
        return self.given[-1]


@pytest.fixture
def place(shm_url: str) -> Iterator[Places]:
    """Gives URLs that nobody else has."""
    places = Places(shm_url)
    yield places
    for url in places.given:
        try:
            dv.destroy_stream(url)
        except dv.KeyNotFoundError:
            pass
        dv.open_store(url).destroy()


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as thread:
        yield thread


class TestStream(ChildFixtures):
    @pytest.fixture(params=["shm", "over a store"])
    def ends(self, request: pytest.FixtureRequest, place: Places, tmp_path: Path) -> list[str]:
        """Source and destination, of two engines."""
        if request.param == "shm":
            return [place(), place()]
        return [f"file://{tmp_path}/source?over=store&lost_after=2s", place()]

    @pytest.mark.parametrize("policy", POLICIES, ids=str)
    def test_every_step_arrives_under_every_policy_that_drops_none(
        self, ends: list[str], policy: dv.Policy, thread: ThreadPoolExecutor
    ) -> None:
        source, destination = ends
        reading = thread.submit(_policy_and_numbers, destination)
        relaying = thread.submit(relay_stream, source, destination)
        with dv.open_stream(source, "w", policy=policy, readers=1) as out:
            for number in range(20):
                write(out, number)
        carried = relaying.result(60)
        kept, numbers = reading.result(60)
        assert kept == policy
        assert not carried.stopped
        if policy.kind == "latest":
            assert numbers == sorted(set(numbers))
            assert numbers[-1] == 19
        else:
            assert numbers == list(range(20))
            assert carried.steps == 20

    def test_arrays_and_attributes_arrive_as_they_were_put(
        self, ends: list[str], thread: ThreadPoolExecutor
    ) -> None:
        source, destination = ends
        arrays = {
            "scalar": np.float64(3.5),
            "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
            "complex": np.array([1 + 2j, 3 - 4j]),
            "short": np.array([1, 2, 3], ml_dtypes.bfloat16),
            "none": np.empty((0, 3), "i4"),
            "true": np.array([True, False]),
        }
        attrs = {"time": 0.5, "names": ["a", "b"], "nested": {"x": None}}
        carried = _carried_once(thread, source, destination, arrays, attrs)
        assert carried.attrs == attrs
        assert set(carried) == set(arrays)
        for name, array in arrays.items():
            there = carried[name]
            assert there.dtype == array.dtype
            assert there.shape == array.shape
            assert (there == array).all()
        assert carried["fortran"].flags.f_contiguous

    def test_a_block_keeps_its_place_in_the_global_array(
        self, ends: list[str], thread: ThreadPoolExecutor
    ) -> None:
        source, destination = ends
        relaying = thread.submit(relay_stream, source, destination)
        with dv.open_stream(source, "w") as out, out.step() as step:
            step.put("u", np.arange(6.0).reshape(2, 3), shape=(8, 6), start=(4, 1))
        with dv.open_stream(destination, "r") as reader:
            step = next(reader)
            assert (step.read("u", (4, 1), (2, 3)) == np.arange(6.0).reshape(2, 3)).all()
            assert (step.read("u", (5, 2), (1, 1)) == 4).all()
            with pytest.raises(dv.CoverageError):
                step["u"]
        relaying.result(60)

    def test_blocks_of_several_ranks_arrive_as_one_global_array(
        self, ends: list[str], thread: ThreadPoolExecutor
    ) -> None:
        source, destination = ends
        whole = np.arange(24.0).reshape(4, 6)

        def write_rank(rank: int) -> None:
            with dv.open_stream(source, "w", rank=rank, size=3) as out:
                with out.step(attrs={"rank": rank}) as step:
                    step.put("tiled", whole[:, 2 * rank :][:, :2], (4, 6), (0, 2 * rank))
                    step.put("part", np.full((1, 6), rank), (9, 6), (2 + rank, 0))
                    step["joined"] = np.full(rank, rank)

        writing = [thread.submit(write_rank, rank) for rank in range(3)]
        relaying = thread.submit(relay_stream, source, destination)
        with dv.open_stream(destination, "r") as reader:
            step = next(reader)
            assert step.attrs == {"rank": 0}
            assert (step["tiled"] == whole).all()
            assert (step["joined"] == [1, 2, 2]).all()
            assert (step.read("part", (2, 0), (3, 6)) == np.arange(3)[:, None]).all()
        for rank in writing:
            rank.result(60)
        assert relaying.result(60).steps == 1

    def test_blocks_that_tile_no_box_are_refused_by_name(
        self, ends: list[str], thread: ThreadPoolExecutor
    ) -> None:
        source, destination = ends

        def write_rank(rank: int) -> None:
            with dv.open_stream(source, "w", rank=rank, size=2) as out, out.step() as step:
                step.put("corners", np.zeros((1, 1)), (5, 5), (3 * rank, 3 * rank))

        writing = [thread.submit(write_rank, rank) for rank in range(2)]
        with pytest.raises(dv.CoverageError, match="'corners' cannot be carried on"):
            relay_stream(source, destination)
        with pytest.raises(dv.PeerLostError), dv.open_stream(destination, "r") as reader:
            next(reader)
        for rank in writing:
            rank.result(60)

    def test_a_producer_that_fails_is_a_failure_there(
        self, ends: list[str], children: ChildServer
    ) -> None:
        source, destination = ends
        with pytest.raises(dv.PeerLostError), ThreadPoolExecutor() as thread:
            relaying = thread.submit(relay_stream, source, destination)
            child = children.start(stream_roles.produce_and_fail, url=source, steps=3)
            assert child.receive() == "failed"
            with dv.open_stream(destination, "r") as reader:
                assert [unsealed(next(reader)) for _ in range(3)] == [0, 1, 2]
                with pytest.raises(dv.PeerLostError):
                    next(reader)
            relaying.result(60)

    def test_a_stop_travels_back(self, ends: list[str], thread: ThreadPoolExecutor) -> None:
        source, destination = ends
        relaying = thread.submit(relay_stream, source, destination)
        with dv.open_stream(source, "w", policy=dv.buffered(2)) as out:
            write(out, 0)
            with dv.open_stream(destination, "r") as reader:
                next(reader)
                reader.stop()
            assert relaying.result(60) == StepsCarried(1, 8 * 1003, True)
            assert out.stopped

    def test_under_lockstep_the_producer_waits_for_the_far_reader(
        self, ends: list[str], thread: ThreadPoolExecutor
    ) -> None:
        source, destination = ends
        relaying = thread.submit(relay_stream, source, destination)
        writing = thread.submit(write_all, source, dv.lockstep(), range(2))
        with dv.open_stream(destination, "r") as reader:
            step = next(reader)
            assert dv.describe_stream(source).groups[0].steps_ended == 0
            with pytest.raises(TimeoutError):
                writing.result(0.1)
            step.end()
            assert [unsealed(step) for step in reader] == [1]
        writing.result(60)
        relaying.result(60)

    def test_a_silent_source_is_a_timeout(self, ends: list[str]) -> None:
        source, destination = ends
        with pytest.raises(dv.TransportTimeoutError):
            relay_stream(source, destination, timeout=0.2)
        with dv.open_stream(source, "w"):
            with pytest.raises(dv.TransportTimeoutError, match="no new step"):
                relay_stream(source, destination, timeout=1.2)

    def test_killed_and_started_again_it_goes_on_without_loss(
        self, ends: list[str], children: ChildServer, thread: ThreadPoolExecutor
    ) -> None:
        source, destination = ends
        relay = children.start(relay_roles.carry_stream, source=source, destination=destination)
        reading: Future[list[int]] = thread.submit(_read_epochs, destination)
        with dv.open_stream(source, "w", policy=dv.buffered(2), readers=1) as out:
            for number in range(5):
                write(out, number)
            relay.kill()
            relay = children.start(relay_roles.carry_stream, source=source, destination=destination)
            for number in range(5, 10):
                write(out, number)
        assert relay.receive()[2] is False
        numbers = reading.result(60)
        assert sorted(set(numbers)) == list(range(10))
        assert len(numbers) <= 11


def _policy_and_numbers(url: str) -> tuple[dv.Policy, list[int]]:
    with dv.open_stream(url, "r") as reader:
        return reader.policy, read_all(reader)


def _read_epochs(url: str) -> list[int]:
    """The numbers of all steps, through writers that are lost and come again."""
    numbers: list[int] = []
    while True:
        try:
            with dv.open_stream(url, "r") as reader:
                numbers.extend(map(unsealed, reader))
            return numbers
        except dv.PeerLostError:
            continue


def _carried_once(
    thread: ThreadPoolExecutor,
    source: str,
    destination: str,
    arrays: dict[str, Any],
    attrs: dict[str, Any],
) -> dv.ReadStep:
    """A step that went through a relay."""
    relaying = thread.submit(relay_stream, source, destination)
    with dv.open_stream(source, "w") as out, out.step(attrs=attrs) as step:
        for name, array in arrays.items():
            step[name] = array
    with dv.open_stream(destination, "r") as reader:
        carried = next(reader)
        carried.dataset()
    relaying.result(60)
    return carried


class TestStore(ChildFixtures):
    @pytest.fixture
    def here(self, place: Places) -> Iterator[dv.Store]:
        with dv.open_store(place()) as store:
            yield store

    @pytest.fixture
    def there(self, tmp_path: Path) -> Iterator[dv.Store]:
        with dv.open_store(f"file://{tmp_path}/there") as store:
            yield store

    def test_values_arrive_as_they_were_put(self, here: dv.Store, there: dv.Store) -> None:
        field = np.asfortranarray(np.arange(6.0).reshape(2, 3))
        here.put("a/../b ü", {"u": field, "n": np.int8(3)}, attrs={"time": [1, None]})
        with StoreRelay(here, there) as relay:
            relay.carry()
            assert relay.carried == (1, 0, 49, {})
        value = there.get("a/../b ü")
        assert value.attrs == {"time": [1, None]}
        assert (value["u"] == field).all()
        assert value["u"].flags.f_contiguous
        assert value["n"] == 3

    def test_only_what_is_newer_is_carried_again(self, here: dv.Store, there: dv.Store) -> None:
        with StoreRelay(here, there) as relay:
            for number in range(20):
                here.put(f"k{number}", sealed(number, 10))
            relay.carry()
            versions = {key: there.stat(key).version for key in there.keys()}
            here.put("k3", sealed(100, 10))
            here.delete("k4")
            relay.carry()
            assert relay.carried.values == 21
        assert unsealed(there.get("k3")) == 100
        changed = [key for key in versions if there.stat(key).version != versions[key]]
        assert changed == ["k3"]

    def test_a_prefix_limits_what_is_carried(self, here: dv.Store, there: dv.Store) -> None:
        here.put_many({"a/1": 1.0, "b/1": 1.0})
        with StoreRelay(here, there, prefix="a/") as relay:
            relay.carry()
        assert there.keys() == ["a/1"]

    def test_an_item_comes_after_the_value_that_it_names(
        self, here: dv.Store, there: dv.Store, children: ChildServer, tmp_path: Path
    ) -> None:
        child = children.start(
            relay_roles.carry_store,
            source=here.url,
            destination=f"file://{tmp_path}/there",
            lists=["done"],
        )
        assert child.receive() == "ready"
        for number in range(50):
            here.put(f"case-{number}", sealed(number, 100))
            here.append("done", f"case-{number}")
        for number in range(50):
            (item, *_) = there.wait_items("done", 1, 60, start=number)
            assert unsealed(there.get(item)) == number

    def test_each_item_arrives_once_though_the_relay_be_killed(
        self, here: dv.Store, there: dv.Store, children: ChildServer, tmp_path: Path
    ) -> None:
        items = [str(number % 7) for number in range(200)]  # the same may be listed again
        done = 0
        for killed in range(5):
            child = children.start(
                relay_roles.carry_store,
                source=here.url,
                destination=f"file://{tmp_path}/there",
                lists=["done"],
            )
            assert child.receive() == "ready"
            for item in items[40 * killed :][:40]:
                here.append("done", item)
            there.wait_items("done", done + 20, 60)
            child.kill()
            done = len(there.items("done"))
        with StoreRelay(here, there, lists=["done"]) as relay:
            relay.carry()
            assert relay.carried.items == 200 - done
        assert there.items("done") == items

    def test_a_list_of_somebody_else_is_left_alone(self, here: dv.Store, there: dv.Store) -> None:
        here.append("done", "a")
        there.append("done", "b")
        with StoreRelay(here, there, lists=["done"]) as relay:
            with pytest.raises(dv.StreamBusyError, match="somebody else appends to it"):
                relay.carry()
        assert there.items("done") == ["b"]

    def test_a_list_that_is_begun_again_is_not_mixed_with_the_old_one(
        self, here: dv.Store, there: dv.Store
    ) -> None:
        here.append("done", "a")
        with StoreRelay(here, there, lists=["done"]) as relay:
            relay.carry()
            here.remove_list("done")
            relay_again = pytest.raises(dv.StreamBusyError, match="was removed at the source")
            with relay_again:
                relay.carry()
        assert there.items("done") == ["a"]

    def test_a_damaged_value_is_named_and_the_others_are_carried(
        self, place: Places, tmp_path: Path
    ) -> None:
        with dv.open_store(f"file://{tmp_path}/here") as here, dv.open_store(place()) as there:
            here.put("good", 1.0)
            assert here.path is not None
            (here.path / "bad.safetensors").write_bytes(b"not a value at all")
            with StoreRelay(here, there) as relay:
                relay.carry()
                assert list(relay.carried.refused) == ["bad"]
            assert there.keys() == ["good"]

    def test_it_runs_until_it_is_told_to_stop(self, place: Places) -> None:
        source, destination = place(), place()
        stop = threading.Event()
        with ThreadPoolExecutor() as thread:
            relaying = thread.submit(relay_store, source, destination, stop=stop, every=0.01)
            with dv.open_store(source) as here, dv.open_store(destination) as there:
                for number in range(3):
                    here.put("u", sealed(number, 10))
                    assert unsealed(_newest(there, number)) == number
            stop.set()
            assert relaying.result(60).values >= 3


def _newest(store: dv.Store, number: int) -> dv.Dataset:
    version = None
    while True:
        value = store.wait("u", 60, newer_than=version)
        if unsealed(value) == number:
            return value
        version = value.version
