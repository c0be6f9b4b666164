"""What a reservoir promises of each sample, and of those who wait for it."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import dovetail as dv
from dovetail.learn import Provenance
from dovetail.testing.children import wait_until

POLICIES = ["fifo", "firo", "reservoir"]


def put(reservoir: dv.Reservoir, *numbers: int, timeout: float = 5) -> None:
    for number in numbers:
        reservoir.put({"u": np.full(3, number, "f4")}, Provenance("run", number), timeout)


def drawn(reservoir: dv.Reservoir, count: int) -> list[int]:
    return [int(sample["u"][0]) for sample in reservoir.draw_many(count, 5)]


def to_the_end(reservoir: dv.Reservoir) -> list[int]:
    numbers = []
    while (sample := reservoir.draw(5)) is not None:
        numbers.append(int(sample["u"][0]))
    return numbers


def in_background(work: Any) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_fifo_gives_each_sample_once_and_in_order() -> None:
    reservoir = dv.Reservoir(10, policy="fifo")
    put(reservoir, *range(10))
    assert drawn(reservoir, 4) == [0, 1, 2, 3]
    put(reservoir, 10, 11)
    reservoir.close()
    assert to_the_end(reservoir) == [4, 5, 6, 7, 8, 9, 10, 11]


def test_firo_gives_each_sample_once_and_not_in_order() -> None:
    reservoir = dv.Reservoir(100, policy="firo", seed=1)
    put(reservoir, *range(100))
    reservoir.close()
    numbers = to_the_end(reservoir)
    assert sorted(numbers) == list(range(100))
    assert numbers != sorted(numbers)


def test_reservoir_gives_samples_again_and_each_once_more_at_the_end() -> None:
    reservoir = dv.Reservoir(5, seed=2)
    put(reservoir, *range(5))
    counts = Counter(drawn(reservoir, 100))
    assert set(counts) == set(range(5))
    assert len(reservoir) == 5
    reservoir.close()
    assert sorted(to_the_end(reservoir)) == list(range(5))
    assert reservoir.draw() is None


def test_a_sample_is_copied_and_cannot_be_changed() -> None:
    reservoir = dv.Reservoir(2)
    field = np.zeros(3)
    reservoir.put({"u": field})
    field[:] = 7
    sample = reservoir.draw()
    assert sample is not None
    assert (sample["u"] == 0).all()
    with pytest.raises(ValueError, match="read-only"):
        sample["u"][0] = 1


def test_a_sample_knows_where_it_comes_from_and_how_often_it_was_drawn() -> None:
    reservoir = dv.Reservoir(1)
    provenance = Provenance("plate", 3, 0.3, 12, {"nu": 1e-3})
    reservoir.put({"u": np.zeros(2), "p": np.ones((2, 2))}, provenance)
    for seen in (1, 2, 3):
        sample = reservoir.draw()
        assert sample is not None
        assert sample.provenance == provenance
        assert (sample.number, sample.seen) == (0, seen)
        assert list(sample) == ["u", "p"]
        assert "step 3 of plate" in repr(sample)


def test_all_dtypes_come_out_as_they_went_in() -> None:
    arrays = {
        "bool": np.array([True]),
        "half": np.ones(2, ml_dtypes.bfloat16),
        "int": np.arange(3, dtype="i2"),
        "complex": np.array([1j]),
        "number": 2.5,
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "strided": np.arange(10)[::3],
    }
    reservoir = dv.Reservoir(1)
    reservoir.put(arrays)
    sample = reservoir.draw()
    assert sample is not None
    for name, array in arrays.items():
        assert sample[name].dtype == np.asarray(array).dtype
        np.testing.assert_array_equal(sample[name], array)


@pytest.mark.parametrize("policy", POLICIES)
def test_an_unseen_sample_is_never_dropped_the_producer_waits(policy: Any) -> None:
    reservoir = dv.Reservoir(3, policy=policy, seed=3)
    put(reservoir, 0, 1, 2)
    with pytest.raises(dv.TransportTimeoutError, match="all 3 samples of the reservoir are unseen"):
        put(reservoir, 3, timeout=0.01)
    assert sorted(sample.number for sample in reservoir.draw_many(1)) != [3]
    put(reservoir, 3)
    assert reservoir.statistics().seconds_stalled > 0.009
    reservoir.close()
    assert {*to_the_end(reservoir)} >= {3}


def test_a_put_that_waits_goes_on_as_soon_as_a_sample_was_drawn() -> None:
    reservoir = dv.Reservoir(1)
    put(reservoir, 0)
    waiting = in_background(lambda: put(reservoir, 1, timeout=60))
    wait_until(lambda: reservoir.statistics().unseen, "the first sample")
    assert drawn(reservoir, 1) == [0]
    waiting.join(60)
    assert drawn(reservoir, 1) == [1]
    assert reservoir.statistics().evicted == 1


@pytest.mark.parametrize(("policy", "watermark"), [("fifo", 1), ("firo", 3)])
def test_a_batch_larger_than_what_is_held_lets_the_producer_go_on(
    policy: Any, watermark: int
) -> None:
    reservoir = dv.Reservoir(4, policy=policy, watermark=watermark)
    producer = in_background(lambda: put(reservoir, *range(20), timeout=60))
    wait_until(lambda: len(reservoir) == 4, "the samples held")
    assert len(drawn(reservoir, 16)) == 16
    producer.join(60)
    assert reservoir.received == 20


def test_a_whole_number_of_numpy_is_a_whole_number() -> None:
    assert dv.Reservoir(np.int64(3)).capacity == 3  # type: ignore[arg-type]


def test_the_first_wait_after_resuming_is_no_starvation() -> None:
    reservoir = dv.Reservoir(4, policy="fifo")
    put(reservoir, 0)
    assert drawn(reservoir, 1) == [0]
    resumed = dv.Reservoir(4, policy="fifo")
    resumed.load_state_dict(reservoir.state_dict())
    with pytest.raises(dv.TransportTimeoutError):
        resumed.draw(0.02)
    statistics = resumed.statistics()
    assert statistics.seconds_starved == 0
    assert statistics.seconds_warming_up >= 0.02


def test_a_draw_waits_for_the_watermark_and_the_end_lifts_it() -> None:
    reservoir = dv.Reservoir(10, policy="firo", watermark=4)
    put(reservoir, 0, 1, 2)
    with pytest.raises(dv.TransportTimeoutError, match="3 are held, the watermark is 4"):
        reservoir.draw(0.01)
    put(reservoir, 3)
    assert len(drawn(reservoir, 1)) == 1
    with pytest.raises(dv.TransportTimeoutError):
        reservoir.draw(0.01)
    reservoir.close()
    assert len(to_the_end(reservoir)) == 3


def test_a_sample_leaves_when_it_was_drawn_max_reuse_times() -> None:
    reservoir = dv.Reservoir(4, max_reuse=3, seed=4)
    put(reservoir, *range(4))
    assert Counter(drawn(reservoir, 12)) == dict.fromkeys(range(4), 3)
    assert len(reservoir) == 0
    with pytest.raises(dv.TransportTimeoutError):
        reservoir.draw(0.01)
    assert reservoir.statistics().seconds_starved > 0.009


@pytest.mark.parametrize(("evict", "left"), [("oldest", {2, 3, 4, 5}), ("most_seen", {0, 1, 4, 5})])
def test_the_seen_make_room_in_the_order_asked_for(evict: Any, left: set[int]) -> None:
    reservoir = dv.Reservoir(4, evict=evict, seed=5)
    put(reservoir, *range(4))
    counts: Counter[int] = Counter()
    # 2 and 3 are to be drawn the most often; all are seen.
    while not (len(counts) == 4 and min(counts[2], counts[3]) > max(counts[0], counts[1])):
        counts.update(drawn(reservoir, 1))
    put(reservoir, 4, 5)
    reservoir.close()
    assert set(to_the_end(reservoir)) == left


def test_a_stale_sample_is_not_drawn_again_and_an_unseen_one_is_drawn_once() -> None:
    reservoir = dv.Reservoir(100, max_staleness=3, seed=6)
    put(reservoir, 0)
    assert drawn(reservoir, 2) == [0, 0]
    put(reservoir, 1, 2, 3)
    assert 0 not in drawn(reservoir, 60)
    assert reservoir.statistics().retired == 1
    put(reservoir, 4, 5, 6, 7, 8)  # 4 and 5 grow stale without having been seen
    numbers = Counter(drawn(reservoir, 200))
    assert (numbers[4], numbers[5]) == (1, 1)
    assert min(numbers[6], numbers[7], numbers[8]) > 10
    assert set(numbers) == {4, 5, 6, 7, 8}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8", "c16", ml_dtypes.bfloat16])
def test_a_non_finite_sample_is_refused_counted_and_said_once(
    value: float, dtype: Any, caplog: pytest.LogCaptureFixture
) -> None:
    reservoir = dv.Reservoir(4)
    bad = np.ones(5, dtype)
    bad[3] = value
    with caplog.at_level(logging.WARNING, "dovetail.learn"):
        assert not reservoir.put({"fine": np.ones(2), "u": bad}, Provenance("plate", 7))
        assert not reservoir.put({"fine": np.ones(2), "u": bad}, Provenance("plate", 8))
        assert reservoir.put({"fine": np.ones(2), "u": np.ones(5, dtype)}, Provenance("plate", 9))
    assert [record.getMessage() for record in caplog.records] == [
        "'u' of step 7 of plate holds NaN or infinity: refused and counted, "
        "as more of this simulation will be"
    ]
    statistics = reservoir.statistics()
    assert (statistics.refused, statistics.received, statistics.held) == (2, 1, 1)


def test_a_non_finite_sample_raises_or_is_taken_if_so_asked() -> None:
    bad = {"u": np.array([1.0, np.nan])}
    with pytest.raises(dv.NonFiniteSampleError, match="step 7 of plate holds NaN"):
        dv.Reservoir(4, non_finite="raise").put(bad, Provenance("plate", 7))
    assert dv.Reservoir(4, non_finite="accept").put(bad)


def test_closing_wakes_those_who_wait_and_takes_no_more() -> None:
    reservoir = dv.Reservoir(4, watermark=2)
    result: list[Any] = []
    waiting = in_background(lambda: result.append(reservoir.draw(60)))
    reservoir.close()
    waiting.join(60)
    assert result == [None]
    with pytest.raises(dv.TransportClosedError, match="takes no more samples"):
        put(reservoir, 1)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_failure_is_raised_after_every_sample_was_drawn_once(policy: Any) -> None:
    reservoir = dv.Reservoir(10, policy=policy, watermark=3, seed=7)
    put(reservoir, *range(6))
    before = drawn(reservoir, 3)
    reservoir.fail(dv.PeerLostError("the producer died"))
    after = []
    with pytest.raises(dv.PeerLostError, match="the producer died"):
        while True:
            after += drawn(reservoir, 1)
    assert {*before, *after} == set(range(6))
    assert len(set(after)) == len(after)


def test_a_batch_is_given_whole_and_the_last_one_may_be_smaller() -> None:
    reservoir = dv.Reservoir(10, policy="fifo")
    put(reservoir, *range(7))
    reservoir.close()
    assert [drawn(reservoir, 3) for _ in range(4)] == [[0, 1, 2], [3, 4, 5], [6], []]


@pytest.mark.parametrize("policy", POLICIES)
def test_several_threads_may_put_and_draw_at_once(policy: Any) -> None:
    reservoir = dv.Reservoir(20, policy=policy, watermark=5, seed=8)
    seen: Counter[int] = Counter()
    lock = threading.Lock()

    def produce(first: int) -> None:
        put(reservoir, *range(first, first + 200), timeout=60)

    def consume() -> None:
        while (sample := reservoir.draw(60)) is not None:
            with lock:
                seen[int(sample["u"][0])] += 1

    producers = [in_background(lambda first=first: produce(first)) for first in (0, 200, 400)]
    consumers = [in_background(consume) for _ in range(2)]
    for thread in producers:
        thread.join(60)
    reservoir.close()
    for thread in consumers:
        thread.join(60)
    assert set(seen) == set(range(600))
    if policy != "reservoir":
        assert set(seen.values()) == {1}
    statistics = reservoir.statistics()
    assert statistics.received == 600
    assert statistics.drawn == sum(seen.values())
    assert statistics.held == 0


@pytest.mark.parametrize(
    ("arguments", "error", "why"),
    [
        ({"capacity": 0}, ValueError, "capacity=0 must be at least 1"),
        ({"capacity": 2.5}, TypeError, "capacity=2.5 is no whole number"),
        ({"capacity": True}, TypeError, "capacity=True is no whole number"),
        ({"capacity": 4, "watermark": 5}, ValueError, "watermark=5 is more than capacity=4"),
        ({"capacity": 4, "max_reuse": 0}, ValueError, "max_reuse=0 must be at least 1"),
        ({"capacity": 4, "policy": "lifo"}, ValueError, "'lifo' is unknown; choose 'reservoir'"),
        ({"capacity": 4, "evict": "newest"}, ValueError, "'newest' is unknown"),
        ({"capacity": 4, "non_finite": "ignore"}, ValueError, "'ignore' is unknown"),
        ({"capacity": 4, "policy": "fifo", "max_reuse": 3}, ValueError, "exactly once"),
        ({"capacity": 4, "policy": "firo", "max_staleness": 3}, ValueError, "exactly once"),
    ],
)
def test_wrong_settings_are_refused_with_the_reason(
    arguments: dict[str, Any], error: type[Exception], why: str
) -> None:
    with pytest.raises(error, match=why):
        dv.Reservoir(**arguments)


def test_samples_that_are_none_are_refused() -> None:
    reservoir = dv.Reservoir(4)
    with pytest.raises(TypeError, match="a sample is a mapping of names to arrays, not ndarray"):
        reservoir.put(np.zeros(3))  # type: ignore[arg-type]
    with pytest.raises(dv.UnsupportedDataError):
        reservoir.put({"u": ["text"]})
    put(reservoir, 1)
    with pytest.raises(ValueError, match="has the arrays w, the samples before it had u"):
        reservoir.put({"w": np.zeros(3)})
    assert len(reservoir) == 1
