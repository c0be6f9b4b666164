"""What was saved in the middle goes on as if nothing had happened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from learn import roles
from learn.conftest import Filled
from learn.test_dataset import numbers

import dovetail as dv
from dovetail.learn import Provenance
from dovetail.testing.children import ChildServer, wait_until

torch = pytest.importorskip("torch")

POLICIES = ["fifo", "firo", "reservoir"]
Dataset = Callable[..., dv.OnlineDataset]


@pytest.mark.parametrize("arguments", [
    {"policy": "fifo"},
    {"policy": "firo"},
    {},
    {"max_reuse": 3},
    {"max_staleness": 9},
    {"evict": "oldest"},
    {"evict": "most_seen"},
])  # fmt: skip
def test_a_reservoir_goes_on_with_the_same_sequence(arguments: Any, tmp_path: Path) -> None:
    def put(reservoir: dv.Reservoir, number: int) -> None:
        while not reservoir.has_room():
            drawn(reservoir, 1)
        reservoir.put({"u": np.float64(number)}, Provenance("run", number), 0)

    def drawn(reservoir: dv.Reservoir, count: int) -> list[tuple[int, int]]:
        return [(sample.number, sample.seen) for sample in reservoir.draw_many(count, 0)]

    def go_on(reservoir: dv.Reservoir) -> list[tuple[int, int]]:
        sequence = []
        for number in range(40, 80):
            put(reservoir, number)
            sequence += drawn(reservoir, 2) if len(reservoir) > 1 else []
        reservoir.close()
        return sequence + drawn(reservoir, 1000)

    one = dv.Reservoir(15, seed=1, **arguments)
    for number in range(40):
        put(one, number)
        drawn(one, 1)
    dv.save_checkpoint(tmp_path / "checkpoint", {"reservoir": one, "step": 40})
    other = dv.Reservoir(15, seed=2, **arguments)
    assert dv.load_checkpoint(tmp_path / "checkpoint", {"reservoir": other}) == {"step": 40}
    assert other.statistics()[:9] == one.statistics()[:9]
    sequence = go_on(one)
    assert go_on(other) == sequence
    assert len(sequence) >= 40


def test_a_reservoir_takes_the_state_of_none_with_other_settings() -> None:
    state = dv.Reservoir(5, policy="firo").state_dict()
    with pytest.raises(ValueError, match="policy='firo'; this one has policy='reservoir'"):
        dv.Reservoir(5).load_state_dict(state)
    with pytest.raises(ValueError, match="capacity=5; this one has capacity=6"):
        dv.Reservoir(6, policy="firo").load_state_dict(state)


@pytest.fixture
def dataset(filled: Filled) -> Dataset:
    """Makes a dataset on simulations that begin anew, and compute what they did before."""

    def make(**arguments: Any) -> dv.OnlineDataset:
        streams = {
            name: filled(steps, name, first)
            for name, steps, first in (("a", 40, 0), ("b", 25, 100), ("held", 10, 200))
        }
        settings = {"capacity": 12, "replay_ratio": 2.0, "hold_out": "held", "seed": 5}
        return dv.OnlineDataset(streams, **{**settings, **arguments})

    return make


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("at", [0, 1, 30, 60])
def test_a_dataset_goes_on_in_the_middle_with_the_same_sequence(
    dataset: Dataset, policy: Any, at: int, tmp_path: Path
) -> None:
    with dataset(policy=policy) as whole:
        sequence = numbers(whole)
    with dataset(policy=policy) as first:
        samples = iter(first)
        assert numbers(next(samples) for _ in range(at)) == sequence[:at]
        dv.save_checkpoint(tmp_path / "checkpoint", {"data": first})
        assert numbers(next(samples) for _ in range(3)) == sequence[at : at + 3]
    with dataset(policy=policy) as second:
        dv.load_checkpoint(tmp_path / "checkpoint", {"data": second})
        assert numbers(second) == sequence[at:]
        assert numbers(second.held_out(at_least=10)) == list(range(200, 210))
        producers = second.statistics().producers
    assert [producer.steps for producer in producers] == [40, 25, 10]
    assert [producer.missed for producer in producers] == [0, 0, 0]
    if at:
        assert sum(producer.repeated for producer in producers) > 0


def test_a_step_that_was_half_taken_is_taken_to_its_end(filled: Filled) -> None:
    def parts(step: dv.ReadStep) -> list[dict[str, Any]]:
        return [{"v": 10 * step["v"] + part} for part in range(7)]

    def make() -> dv.OnlineDataset:
        return dv.OnlineDataset(
            {"run": filled(6)}, capacity=3, policy="fifo", replay_ratio=1.0, prepare=parts
        )

    with make() as whole:
        sequence = numbers(whole)
    assert sequence == [10 * step + part for step in range(6) for part in range(7)]
    for at in range(1, 20):
        with make() as first:
            samples = iter(first)
            assert numbers(next(samples) for _ in range(at)) == sequence[:at]
            state = first.state_dict()
        with make() as second:
            second.load_state_dict(state)
            assert numbers(second) == sequence[at:]


def test_an_epoch_goes_on_where_it_was(filled: Filled) -> None:
    def make() -> dv.OnlineDataset:
        return dv.OnlineDataset(
            {"run": filled(20)}, capacity=20, policy="fifo", samples_per_epoch=8, replay_ratio=1.0
        )

    with make() as first:
        samples = iter(first)
        assert numbers(next(samples) for _ in range(3)) == [0, 1, 2]
        state = first.state_dict()
    with make() as second:
        second.load_state_dict(state)
        assert [numbers(second) for _ in range(2)] == [[3, 4, 5, 6, 7], list(range(8, 16))]


def test_a_simulation_that_ended_is_not_waited_for_again(filled: Filled, url: str) -> None:
    streams = {"over": filled(5), "goes on": filled(5, first=50)}
    with dv.OnlineDataset(streams, capacity=20, policy="fifo") as first:
        first.start()
        wait_until(lambda: all(p.state == "ended" for p in first.statistics().producers), "them")
        state = first.state_dict()
    # No such streams exist any more.
    with dv.OnlineDataset({"over": url, "goes on": url}, capacity=20, policy="fifo") as second:
        second.load_state_dict(state)
        assert sorted(numbers(second)) == [*range(5), *range(50, 55)]


def test_a_simulation_goes_on_while_its_trainer_is_away_and_what_went_by_is_counted(
    url: str, children: ChildServer
) -> None:
    run = children.start(roles.produce, url=url, steps=None)
    assert run.receive() == "ready"
    with dv.OnlineDataset(url, capacity=10, policy="fifo") as first:
        samples = iter(first)
        taken = numbers(next(samples) for _ in range(30))
        state = first.state_dict()
        next(samples)
    with dv.OnlineDataset(url, capacity=10, policy="fifo") as second:
        second.load_state_dict(state)
        samples = iter(second)
        taken += numbers(next(samples) for _ in range(60))
        (producer,) = second.statistics().producers
        second.stop()
    assert run.receive() == "stopped"
    run.join()
    assert taken[:30] == list(range(30))
    assert taken == sorted(set(taken)), "a step was taken twice"
    assert producer.missed == producer.next_step - producer.steps
    assert producer.writer == 1


@pytest.mark.parametrize(("first", "again"), [(0, 30), (20, 10)])
def test_a_simulation_that_begins_again_repeats_or_goes_on_and_no_step_is_taken_twice(
    url: str, children: ChildServer, first: int, again: int
) -> None:
    """It was killed after step 19, and starts from the beginning, or from its own checkpoint."""
    run = children.start(roles.produce_and_wait, url=url, steps=20)
    with dv.OnlineDataset(url, capacity=40, policy="fifo", on_lost="reopen") as data:
        samples = iter(data)
        assert numbers(next(samples) for _ in range(20)) == list(range(20))
        run.kill()
        run = children.start(roles.produce, url=url, steps=again, first=first)
        assert numbers(samples) == list(range(20, 30))
        assert data.statistics().producers[0].repeated == 20 - first
    run.join()


def test_the_state_of_other_streams_or_settings_is_refused(filled: Filled) -> None:
    with dv.OnlineDataset({"a": filled(3)}, capacity=9) as data:
        list(data)
        state = data.state_dict()
        with pytest.raises(ValueError, match="this dataset has begun to receive"):
            data.load_state_dict(state)
    for streams, arguments, why in (
        ({"b": "shm://b"}, {}, "the state is of the streams a; this process receives b"),
        ({"a": "shm://a"}, {"replay_ratio": 2.0}, "the state is of replay_ratio=None, not 2.0"),
        ({"a": "shm://a"}, {"capacity": 8}, "capacity=9; this one has capacity=8"),
    ):
        with dv.OnlineDataset(streams, **{"capacity": 9, **arguments}) as data:
            data.load_state_dict(state)
            with pytest.raises(ValueError, match=why):
                next(iter(data))


def test_the_state_of_another_rank_is_refused(filled: Filled) -> None:
    def rank(number: int, size: int) -> dv.OnlineDataset:
        return dv.OnlineDataset({"a": "shm://a"}, capacity=9, rank=number, size=size)

    url = filled(4)
    with dv.OnlineDataset({"a": url}, capacity=9, rank=0, size=1) as data:
        list(data)
        state = data.state_dict()
    with rank(1, 2) as data:
        data.load_state_dict(state)
        with pytest.raises(ValueError, match="of reader 0 of the 1 .* and this is 1 of 2"):
            next(iter(data))


def test_a_state_can_be_loaded_again(filled: Filled, url: str) -> None:
    with dv.open_stream(url, "w", policy=dv.buffered(4)) as out:
        for number in range(3):
            roles.write(out, number, "a")
        with dv.OnlineDataset({"a": url}, capacity=9, policy="fifo") as data:
            data.start()
            wait_until(lambda: data.statistics().producers[0].steps == 3, "the samples")
            state = data.state_dict()
    before = repr(state)
    for _ in range(2):
        with dv.OnlineDataset({"a": filled(6, "a")}, capacity=9, policy="fifo") as data:
            data.load_state_dict(state)
            assert numbers(data) == [0, 1, 2, 3, 4, 5]
        assert repr(state) == before


def test_what_went_by_is_counted_once(url: str) -> None:
    def thrice(step: dv.ReadStep) -> list[dict[str, Any]]:
        return [{"v": step["v"]}] * 3

    def make(capacity: int = 1) -> dv.OnlineDataset:
        return dv.OnlineDataset({"a": url}, capacity=capacity, policy="fifo", prepare=thrice)

    with dv.open_stream(url, "w", policy=dv.latest()) as out:
        for number in range(5):
            roles.write(out, number)
        with make() as first:
            first.start()
            wait_until(lambda: first.received == 1, "a part of the step")
            state = first.state_dict()
        with make() as second:
            second.load_state_dict(state)
            second.start()
            wait_until(lambda: second.statistics().producers[0].state == "open", "the step")
            assert numbers([next(iter(second))]) == [4]
            (before,), (after,) = (data.statistics().producers for data in (first, second))
            assert after.missed == before.missed == 4


def gradient_steps(
    model: Any, optimizer: Any, batches: Any, count: int | None = None
) -> list[float]:
    """The ordinary loop; the loss of each step."""
    losses = []
    for batch in batches:
        loss = (model(batch["u"][:, :4] / 200) - batch["v"][:, None].float() / 200).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if len(losses) == count:
            break
    return losses


def test_weights_optimizer_and_samples_go_on_together(dataset: Dataset, tmp_path: Path) -> None:
    def everything() -> tuple[Any, Any, Any, Any]:
        torch.manual_seed(1)
        model = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Tanh(), torch.nn.Linear(8, 1)
        )
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50)
        return model, optimizer, schedule, dataset(batch_size=4)

    def train(model: Any, optimizer: Any, schedule: Any, data: Any, count: int | None) -> Any:
        losses = gradient_steps(model, optimizer, data, count)
        schedule.step()
        return losses

    path = tmp_path / "folder" / "checkpoint.safetensors"
    one = everything()
    losses = train(*one, 9)
    names = ("model", "optimizer", "schedule", "data")
    dv.save_checkpoint(path, {**dict(zip(names, one, strict=True)), "gradient_step": 9})
    losses += train(*one, None)
    other = everything()
    rest = dv.load_checkpoint(path, dict(zip(names, other, strict=True)))
    assert rest == {"gradient_step": 9}
    assert train(*other, None) == losses[9:]
    assert len(losses) > 20
    for a, b in zip(one[0].parameters(), other[0].parameters(), strict=True):
        assert torch.equal(a, b)
    for each in (one, other):
        each[3].close()
