"""What an online dataset promises of the samples, and of those who wait."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from learn import roles
from learn.conftest import Filled, NewURL

import dovetail as dv
from dovetail.learn import Sample
from dovetail.testing.children import ChildServer, wait_until

torch = pytest.importorskip("torch")
DataLoader = torch.utils.data.DataLoader


def numbers(batches: Any) -> list[int]:
    """The numbers of all samples of some batches, or of single samples."""
    return [int(value) for batch in batches for value in np.atleast_1d(batch["v"].numpy())]


def writer_of(url: str, **options: Any) -> dv.StreamWriter:
    return dv.open_stream(url, "w", policy=dv.buffered(64), **options)


@pytest.mark.parametrize("policy", ["fifo", "firo", "reservoir"])
def test_every_step_of_a_stream_is_drawn(filled: Filled, policy: Any) -> None:
    with dv.OnlineDataset(filled(50), capacity=80, policy=policy) as data:
        counts = Counter(numbers(data))
        statistics = data.statistics()
    assert set(counts) == set(range(50))
    if policy != "reservoir":
        assert set(counts.values()) == {1}
    assert statistics.reservoir.received == 50
    (producer,) = statistics.producers
    assert (producer.state, producer.steps, producer.samples) == ("ended", 50, 50)
    assert producer.nbytes == 50 * (16 * 4 + 8)


def test_what_is_delivered_are_tensors_of_the_trainers_own(filled: Filled) -> None:
    with dv.OnlineDataset(filled(3), capacity=4, policy="fifo") as data:
        first = next(iter(data))
        assert list(first) == ["u", "v"]
        assert first["u"].dtype == torch.float32
        assert first["u"].shape == (16,)
        first["u"] += 1
        first["u"] @ first["u"]


def test_batches_come_from_the_dataset_or_from_the_loader(filled: Filled) -> None:
    with dv.OnlineDataset(filled(10), capacity=16, policy="fifo", batch_size=4) as data:
        batches = list(DataLoader(data, batch_size=None))
    assert [tuple(batch["u"].shape) for batch in batches] == [(4, 16), (4, 16), (2, 16)]
    assert numbers(batches) == list(range(10))
    with dv.OnlineDataset(filled(10), capacity=16, policy="fifo") as data:
        assert numbers(DataLoader(data, batch_size=4)) == list(range(10))


def test_prepare_makes_several_samples_of_a_step_and_transform_delivers(filled: Filled) -> None:
    def halves(step: dv.ReadStep) -> Iterator[dict[str, Any]]:
        yield {"v": step["v"], "u": step["u"][:8]}
        yield {"v": step["v"] + 0.5, "u": step["u"][8:]}

    def delivered(sample: Sample) -> tuple[float, str, int]:
        return float(sample["v"]), sample.provenance.simulation, sample.seen

    with dv.OnlineDataset(
        {"run": filled(3)}, capacity=9, policy="fifo", prepare=halves, transform=delivered
    ) as data:
        assert list(data) == [(0.5 * half, "run", 1) for half in range(6)]
    with dv.OnlineDataset(
        filled(3), capacity=9, policy="fifo", prepare=halves, transform=delivered, batch_size=6
    ) as data:
        ((values, _, _),) = list(data)
    assert values.tolist() == [0.5 * half for half in range(6)]


def test_an_epoch_is_as_long_as_asked_for_and_the_next_one_goes_on(filled: Filled) -> None:
    with dv.OnlineDataset(
        filled(10), capacity=16, policy="fifo", batch_size=2, samples_per_epoch=5
    ) as data:
        assert [numbers(data) for _ in range(3)] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], []]


def test_an_open_reader_is_a_source_too(filled: Filled) -> None:
    reader = dv.open_stream(filled(5), "r")
    with dv.OnlineDataset(reader, capacity=8, policy="fifo") as data:
        assert numbers(data) == [0, 1, 2, 3, 4]


def test_several_simulations_run_and_are_learned_from_at_once(
    new_url: NewURL, children: ChildServer
) -> None:
    urls = [new_url() for _ in range(3)]
    runs = [
        children.start(roles.produce, url=url, steps=200, simulation=f"run {place}", window=2)
        for place, url in enumerate(urls)
    ]
    seen: Counter[str] = Counter()
    with dv.OnlineDataset(
        urls,
        capacity=30,
        policy="firo",
        transform=lambda sample: sample.provenance,
    ) as data:
        for provenance in data:
            seen[provenance.simulation] += 1
        statistics = data.statistics()
    assert seen == {f"run {place}": 200 for place in range(3)}
    assert [producer.name for producer in statistics.producers] == urls
    for run in runs:
        assert [run.receive(), run.receive()] == ["ready", ["done", 200]]
        run.join()


def test_the_ring_is_never_pinned(url: str) -> None:
    points = 50_000
    with (
        dv.open_stream(f"{url}?capacity=4MiB", "w", policy=dv.buffered(2)) as out,
        dv.OnlineDataset(url, capacity=100, watermark=100) as data,
    ):
        data.start()
        for number in range(100):  # 20 MB through a ring of 4
            roles.write(out, number, points=points)
        wait_until(lambda: data.received == 100, "all samples")
        assert data.statistics().reservoir.nbytes > 20e6
        assert dv.describe_stream(url).bytes_held < 2e6


def test_an_unseen_sample_is_never_dropped_the_producer_stalls_and_that_is_counted(
    url: str, children: ChildServer
) -> None:
    run = children.start(roles.produce, url=url, steps=40, window=2)
    assert run.receive() == "ready"
    with dv.OnlineDataset(url, capacity=5) as data:
        data.start()
        wait_until(lambda: data.statistics().producers[0].seconds_stalled > 0.1, "the stall")
        assert data.statistics().reservoir.unseen == 5
        assert not run.channel.waiting()
        assert set(numbers(data)) == set(range(40))
        statistics = data.statistics()
    assert statistics.reservoir.seconds_stalled > 0.1
    run.join()


def test_a_trainer_that_waits_is_starved_and_that_is_counted(url: str) -> None:
    go_on = threading.Event()
    gap = 0.2

    def simulate() -> None:
        with writer_of(url) as out:
            roles.write(out, 0)
            assert go_on.wait(60)
            wait_until(lambda: data.statistics().reservoir.drawn == 1, "the first draw")
            threading.Event().wait(gap)
            roles.write(out, 1)

    with dv.OnlineDataset(url, capacity=5, policy="fifo") as data:
        thread = threading.Thread(target=simulate)
        thread.start()
        samples = iter(data)
        next(samples)
        go_on.set()
        next(samples)
        statistics = data.statistics()
        assert statistics.seconds_starved >= 0.9 * gap
        assert 0 < statistics.starvation <= 1
        assert statistics.seconds_warming_up >= 0
        assert statistics.seconds >= statistics.seconds_starved
        assert list(samples) == []
        thread.join()


def test_what_starves_in_the_first_batch_is_a_share_of_the_time_since_the_first_sample(
    url: str,
) -> None:
    def simulate() -> None:
        with writer_of(url) as out:
            roles.write(out, 0)
            wait_until(lambda: data.statistics().reservoir.drawn == 1, "the first draw")
            threading.Event().wait(0.1)
            roles.write(out, 1)

    with dv.OnlineDataset(url, capacity=5, policy="fifo", batch_size=2) as data:
        data.start()
        thread = threading.Thread(target=simulate)
        thread.start()
        next(iter(data))
        statistics = data.statistics()
        thread.join()
    assert statistics.seconds_starved >= 0.09
    assert 0 < statistics.starvation <= 1


def test_nothing_is_counted_after_the_end(filled: Filled) -> None:
    with dv.OnlineDataset(filled(3), capacity=5) as data:
        list(data)
    statistics = data.statistics()
    threading.Event().wait(0.02)
    assert data.statistics() == statistics


def test_waits_are_events_of_the_trace(url: str, children: ChildServer, tmp_path: Any) -> None:
    from dovetail import observe

    observe.start(tmp_path)
    try:
        run = children.start(roles.produce, url=url, steps=20, simulation="plate", window=2)
        with dv.OnlineDataset(url, capacity=2) as data:
            next(iter(data))
            wait_until(lambda: data.statistics().producers[0].seconds_stalled > 0.05, "the stall")
            assert set(numbers(data)) | {0, 1} == set(range(20))
        run.join()
    finally:
        observe.stop()
    waits = {(event.kind, event.name) for event in observe.read(tmp_path)}
    assert {("starve", "reservoir"), ("stall", "plate")} <= waits


def test_a_non_finite_sample_is_refused_and_counted_for_its_producer(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with writer_of(url) as out:
        for number in (0.0, np.nan, 2.0, np.inf, 4.0):
            with out.step() as step:
                step["v"] = np.float64(number)
    with dv.OnlineDataset(url, capacity=9, policy="fifo") as data:
        with caplog.at_level(logging.WARNING, "dovetail.learn"):
            assert numbers(data) == [0, 2, 4]
        assert data.statistics().producers[0].refused == 2
        assert data.statistics().reservoir.refused == 2
    assert len(caplog.records) == 1


def test_a_non_finite_sample_raises_in_the_training_loop_if_so_asked(url: str) -> None:
    with writer_of(url) as out, out.step() as step:
        step["v"] = np.float64(np.nan)
    with (
        dv.OnlineDataset(url, capacity=9, non_finite="raise") as data,
        pytest.raises(dv.NonFiniteSampleError, match=f"'v' of step 0 of {url}"),
    ):
        next(iter(data))


def test_an_error_in_prepare_is_raised_in_the_training_loop(filled: Filled) -> None:
    with (
        dv.OnlineDataset(filled(3), capacity=9, prepare=lambda step: step["w"]) as data,
        pytest.raises(KeyError, match="w"),
    ):
        next(iter(data))


def test_a_prepare_that_returns_nothing_is_said(filled: Filled) -> None:
    with (
        dv.OnlineDataset(filled(3), capacity=9, prepare=lambda _: None) as data,  # type: ignore[arg-type, return-value]
        pytest.raises(TypeError, match="prepare returned None"),
    ):
        next(iter(data))


# --- what is held out


@pytest.mark.parametrize("hold_out", [["b"], "b", lambda provenance: provenance.simulation == "b"])
def test_a_simulation_that_is_held_out_is_never_learned_from(filled: Filled, hold_out: Any) -> None:
    urls = {name: filled(20, name, first) for name, first in (("a", 0), ("b", 100), ("c", 200))}
    with dv.OnlineDataset(urls, capacity=60, hold_out=hold_out) as data:
        assert set(numbers(data)) == {*range(20), *range(200, 220)}
        held_out = data.held_out(at_least=20)
        statistics = data.statistics()
    assert numbers(held_out) == list(range(100, 120))
    assert {sample.provenance.simulation for sample in held_out.samples} == {"b"}
    assert held_out.batch()["u"].shape == (20, 16)
    assert len(held_out[3:7]) == 4
    assert statistics.held_out == 20
    assert [producer.held_out for producer in statistics.producers] == [0, 20, 0]


def test_what_is_held_out_is_there_before_and_without_any_training(filled: Filled) -> None:
    urls = {"a": filled(5), "b": filled(5, first=50)}
    with dv.OnlineDataset(urls, capacity=60, hold_out="b") as data:
        assert numbers(data.held_out(at_least=5)) == [50, 51, 52, 53, 54]
        assert data.statistics().reservoir.received == 0


def test_what_was_held_out_is_there_after_the_end(filled: Filled) -> None:
    urls = {"a": filled(5), "b": filled(5, first=50)}
    with dv.OnlineDataset(urls, capacity=60, hold_out="b") as data:
        data.held_out(at_least=5)
    assert numbers(data.held_out(at_least=5)) == [50, 51, 52, 53, 54]
    assert len(data.held_out(at_least=6, timeout=60)) == 5


def test_waiting_for_the_held_out_ends_with_their_simulation_or_the_deadline(
    url: str, filled: Filled
) -> None:
    with writer_of(url) as out:
        roles.write(out, 0)
        with dv.OnlineDataset([filled(2), url], capacity=9, hold_out=url) as data:
            assert len(data.held_out(at_least=1)) == 1
            with pytest.raises(dv.TransportTimeoutError, match="1 of 2 held-out samples came"):
                data.held_out(at_least=2, timeout=0.01)
            out.close()
            assert len(data.held_out(at_least=200)) == 1
            with pytest.raises(ValueError, match="no more than hold_out_capacity=256"):
                data.held_out(at_least=257)


def test_a_name_that_holds_nothing_out_is_said(
    filled: Filled, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        dv.OnlineDataset(filled(3), capacity=9, hold_out="runn 1") as data,
        caplog.at_level(logging.WARNING, "dovetail.learn"),
    ):
        assert len(set(numbers(data))) == 3
    assert "no sample of runn 1 came; all was learned from" in caplog.text


# --- how producers and datasets end


def test_a_trainer_that_has_enough_tells_the_producers(url: str, children: ChildServer) -> None:
    run = children.start(roles.produce, url=url, steps=None)
    assert run.receive() == "ready"
    with dv.OnlineDataset(url, capacity=10) as data:
        next(iter(data))
        data.stop()
    assert run.receive() == "stopped"
    run.join()


def test_a_closed_dataset_says_so(filled: Filled) -> None:
    with dv.OnlineDataset(filled(3), capacity=9) as data:
        next(iter(data))
    data.close()
    with pytest.raises(dv.TransportClosedError, match="the dataset is closed"):
        list(data)


def test_a_dataset_that_is_forgotten_leaves_its_streams(url: str, children: ChildServer) -> None:
    run = children.start(roles.produce, url=url, steps=None, timeout=1)
    data = dv.OnlineDataset(url, capacity=10)
    next(iter(data))
    (group,) = dv.describe_stream(url).groups
    assert group.state == "live"
    del data
    wait_until(lambda: dv.describe_stream(url).groups[0].state == "left", "the reader to leave")
    run.close()


def test_a_producer_that_dies_is_said_after_all_that_came_was_drawn(
    url: str, children: ChildServer
) -> None:
    run = children.start(roles.produce_and_wait, url=url, steps=10)
    got = []
    with dv.OnlineDataset(url, capacity=20, policy="fifo") as data:
        with pytest.raises(dv.PeerLostError):
            for sample in data:
                got += numbers([sample])
                if len(got) == 5:
                    wait_until(lambda: data.received == 10, "all samples")
                    run.kill()
        assert data.statistics().producers[0].state == "lost"
    assert got == list(range(10))


def test_learning_goes_on_with_those_that_live(
    new_url: NewURL, children: ChildServer, caplog: pytest.LogCaptureFixture
) -> None:
    urls = [new_url(), new_url()]
    dies = children.start(roles.produce_and_wait, url=urls[0], steps=10, simulation="dies")
    lives = children.start(roles.produce_and_wait, url=urls[1], steps=10, simulation="lives")
    with dv.OnlineDataset(urls, capacity=20, policy="fifo", on_lost="continue") as data:
        samples = iter(data)
        got = numbers(next(samples) for _ in range(20))
        dies.kill()
        wait_until(lambda: data.statistics().producers[0].state == "lost", "the loss")
        lives.send("go on")
        assert list(samples) == []
    assert Counter(got) == dict.fromkeys(range(10), 2)
    assert "learning goes on without" in caplog.text
    lives.join()


def test_the_loss_of_all_never_looks_like_an_end(new_url: NewURL, children: ChildServer) -> None:
    urls = [new_url(), new_url()]
    runs = [children.start(roles.produce_and_wait, url=url, steps=5) for url in urls]
    with dv.OnlineDataset(urls, capacity=20, policy="fifo", on_lost="continue") as data:
        samples = iter(data)
        assert sum(1 for _ in zip(range(10), samples, strict=False)) == 10
        for run in runs:
            run.kill()
        with pytest.raises(dv.PeerLostError):
            next(samples)


def test_a_producer_that_is_started_again_is_followed(url: str, children: ChildServer) -> None:
    run = children.start(roles.produce_and_wait, url=url, steps=10)
    with dv.OnlineDataset(url, capacity=40, policy="fifo", on_lost="reopen") as data:
        samples = iter(data)
        assert numbers(next(samples) for _ in range(10)) == list(range(10))
        run.kill()
        again = children.start(roles.produce, url=url, steps=5, first=10)
        assert numbers(samples) == list(range(10, 15))
        assert data.statistics().producers[0].writer == 2
    again.join()


def test_a_producer_that_is_not_started_again_is_lost(url: str, children: ChildServer) -> None:
    run = children.start(roles.produce_and_wait, url=url, steps=3)
    with dv.OnlineDataset(url, capacity=40, policy="fifo", on_lost="reopen", timeout=0.5) as data:
        samples = iter(data)
        assert numbers(next(samples) for _ in range(3)) == [0, 1, 2]
        run.kill()
        with pytest.raises(dv.PeerLostError):
            next(samples)


def test_a_producer_that_never_comes_or_is_silent_is_a_timeout(url: str) -> None:
    with (
        dv.OnlineDataset(url, capacity=4, timeout=0.3) as data,
        pytest.raises(dv.TransportTimeoutError, match=f"no producer has opened the stream {url}"),
    ):
        next(iter(data))
    with writer_of(url) as out:
        roles.write(out, 0)
        with dv.OnlineDataset(url, capacity=4, policy="fifo", timeout=0.3) as data:
            samples = iter(data)
            next(samples)
            with pytest.raises(dv.TransportTimeoutError, match=r"was silent for 0.3 s"):
                next(samples)


# --- one sequence


def test_at_a_fixed_replay_ratio_the_sequence_is_a_function_of_the_seed(
    new_url: NewURL, filled: Filled, children: ChildServer
) -> None:
    def drawn(urls: list[str], seed: int) -> list[int]:
        with dv.OnlineDataset(
            dict(zip("abc", urls, strict=True)),
            capacity=12,
            watermark=6,
            replay_ratio=2.5,
            seed=seed,
        ) as data:
            return numbers(data)

    def sources() -> list[str]:
        return [filled(steps, first=first) for steps, first in ((40, 0), (25, 100), (30, 200))]

    sequence = drawn(sources(), 1)
    assert set(sequence) == {*range(40), *range(100, 125), *range(200, 230)}
    assert 2.2 < len(sequence) / 95 < 2.8
    assert drawn(sources(), 1) == sequence
    assert drawn(sources(), 2) != sequence
    urls = [new_url() for _ in range(3)]
    for url, steps, first in zip(urls, (40, 25, 30), (0, 100, 200), strict=True):
        children.start(roles.produce, url=url, steps=steps, first=first, window=2)
    assert drawn(urls, 1) == sequence


def test_a_producer_with_nothing_to_learn_from_makes_nobody_wait(
    url: str, new_url: NewURL, filled: Filled
) -> None:
    """It is held out by the name of its simulation, and gives one sample that is refused."""
    other = new_url()
    with writer_of(other) as refused, writer_of(url) as held:
        with refused.step(attrs={"simulation": "a"}) as step:
            step["u"], step["v"] = np.full(16, np.nan), np.float64(0)
        roles.write(refused, 1, "a")
        for number in range(20):
            roles.write(held, number, "b")
        streams = {"left": filled(3), "right": other, "held": url}
        with dv.OnlineDataset(
            streams, capacity=9, policy="fifo", replay_ratio=1.0, hold_out="b"
        ) as data:
            samples = iter(data)
            assert numbers(next(samples) for _ in range(4)) == [0, 1, 1, 2]
            assert len(data.held_out(at_least=20)) == 20


# --- wrong arguments


@pytest.mark.parametrize(
    ("streams", "arguments", "error", "why"),
    [
        ("shm://a", {"capacity": 0}, ValueError, "capacity=0 must be at least 1"),
        ("shm://a", {"batch_size": 0}, ValueError, "batch_size=0 must be at least 1"),
        ("shm://a", {"samples_per_epoch": 0}, ValueError, "samples_per_epoch=0"),
        ("shm://a", {"replay_ratio": 0}, ValueError, "replay_ratio=0"),
        ("shm://a", {"on_lost": "ignore"}, ValueError, "on_lost='ignore' is unknown"),
        ("shm://a", {"hold_out": "shm://a"}, ValueError, "leaves none of shm://a"),
        ("shm://a", {"rank": 1}, ValueError, "give both, or neither"),
        ("shm://a", {"rank": 2, "size": 2}, ValueError, "ranks go from 0 to size - 1"),
        (["shm://a", "shm://a"], {}, ValueError, "a stream is given twice"),
        ([], {}, ValueError, "there is no stream to receive"),
        (7, {}, TypeError, "int"),
        ([7], {}, dv.InvalidURLError, "7 is no stream"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_opened(
    streams: Any, arguments: dict[str, Any], error: type[Exception], why: str
) -> None:
    with pytest.raises(error, match=why):
        dv.OnlineDataset(streams, **{"capacity": 4, **arguments})
