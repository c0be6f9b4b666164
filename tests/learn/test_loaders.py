"""Datasets under loaders with workers, on several ranks, and under a trainer's framework."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from learn import roles
from learn.conftest import Filled, NewURL
from learn.test_dataset import numbers
from learn.test_resume import gradient_steps

import dovetail as dv
from dovetail.testing.children import ChildServer, wait_until

torch = pytest.importorskip("torch")
DataLoader = torch.utils.data.DataLoader

pytestmark = pytest.mark.filterwarnings(
    "ignore:'set_vital' is deprecated:UserWarning",  # says torchdata to torch
)


def stateful(dataset: Any, **arguments: Any) -> Any:
    loader = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader
    return loader(dataset, batch_size=None, **arguments)


@pytest.mark.parametrize(
    ("streams", "context"), [(1, "fork"), (2, "fork"), (3, "fork"), (1, "spawn")]
)
def test_two_workers_share_the_streams_and_each_step_comes_once(
    filled: Filled, streams: int, context: str
) -> None:
    urls = [filled(20, first=100 * place) for place in range(streams)]
    data = dv.OnlineDataset(urls, capacity=60, policy="firo", batch_size=4)
    loader = DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context=context)
    counts = Counter(numbers(loader))
    wanted = [100 * place + step for place in range(streams) for step in range(20)]
    assert counts == dict.fromkeys(wanted, 1)


def test_what_is_held_out_comes_to_the_process_that_asks_beside_the_workers(
    filled: Filled,
) -> None:
    streams = {name: filled(10, name, first) for name, first in (("a", 0), ("b", 50), ("c", 90))}
    with dv.OnlineDataset(streams, capacity=30, policy="fifo", hold_out="c") as data:
        assert numbers(data.held_out(at_least=10)) == list(range(90, 100))
        loader = DataLoader(data, batch_size=5, num_workers=2, multiprocessing_context="spawn")
        assert sorted(numbers(loader)) == [*range(10), *range(50, 60)]
        assert len(data.held_out()) == 10


def test_samples_that_would_be_held_out_in_a_worker_are_refused(filled: Filled) -> None:
    data = dv.OnlineDataset({"a": filled(3)}, capacity=9, hold_out=lambda provenance: True)
    loader = DataLoader(data, batch_size=None, num_workers=1, multiprocessing_context="fork")
    with pytest.raises(ValueError, match="held-out samples would gather in the worker"):
        list(loader)


def test_an_open_reader_does_not_go_to_another_process(filled: Filled) -> None:
    with dv.open_stream(filled(3), "r") as reader:
        data = dv.OnlineDataset({"a": reader}, capacity=9)
        loader = DataLoader(data, batch_size=None, num_workers=1, multiprocessing_context="spawn")
        with (
            pytest.warns(UserWarning, match="Got pickle error"),
            pytest.raises(TypeError, match="a is an open reader, which cannot go to another"),
        ):
            next(iter(loader))


def test_workers_that_are_not_wanted_any_more_leave_the_stream(
    url: str, children: ChildServer
) -> None:
    run = children.start(roles.produce, url=url, steps=None, timeout=1)
    assert run.receive() == "ready"
    data = dv.OnlineDataset(url, capacity=10, batch_size=4)
    loader = DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context="fork")
    assert len(list(itertools.islice(loader, 5))) == 5
    wait_until(lambda: dv.describe_stream(url).groups[0].state == "left", "the workers to leave")
    run.close()


@pytest.mark.parametrize("streams", [1, 2, 5])
def test_ranks_share_the_streams_and_each_step_comes_once(
    new_url: NewURL, trainers: ChildServer, children: ChildServer, streams: int
) -> None:
    urls = [new_url() for _ in range(streams)]
    runs = [
        children.start(roles.produce, url=url, steps=30, first=100 * place)
        for place, url in enumerate(urls)
    ]
    ranks = [trainers.start(roles.draw_all, urls=urls, rank=rank, size=3) for rank in range(3)]
    counts = Counter(itertools.chain(*(rank.receive() for rank in ranks)))
    assert counts == dict.fromkeys(
        [100 * place + step for place in range(streams) for step in range(30)], 1
    )
    for process in (*runs, *ranks):
        process.join()


@pytest.mark.parametrize(
    "names", [("RANK", "WORLD_SIZE"), ("DOVETAIL_RANK", "DOVETAIL_SIZE")], ids=["torch", "workflow"]
)
def test_the_rank_is_known_from_who_started_the_process(
    filled: Filled, monkeypatch: pytest.MonkeyPatch, names: tuple[str, str]
) -> None:
    monkeypatch.setenv(names[0], "1")
    monkeypatch.setenv(names[1], "2")
    streams = {"a": filled(5), "b": filled(5, first=50)}
    with dv.OnlineDataset(streams, capacity=9, policy="fifo") as data:
        assert numbers(data) == [50, 51, 52, 53, 54]
    dv.destroy_stream(streams["a"])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("at", [0, 7])
def test_a_stateful_loader_goes_on_in_the_middle_with_the_same_sequence(
    filled: Filled, workers: int, at: int, tmp_path: Path
) -> None:
    def loader() -> Any:
        streams = {name: filled(30, name, first) for name, first in (("a", 0), ("b", 100))}
        data = dv.OnlineDataset(streams, capacity=10, batch_size=4, replay_ratio=2.0, seed=3)
        context = "fork" if workers else None
        return stateful(data, num_workers=workers, multiprocessing_context=context)

    sequence = [numbers([batch]) for batch in loader()]
    assert set(itertools.chain(*sequence)) == {*range(30), *range(100, 130)}
    first = loader()
    batches = iter(first)
    assert [numbers([next(batches)]) for _ in range(at)] == sequence[:at]
    dv.save_checkpoint(tmp_path / "checkpoint", {"loader": first})
    del batches
    second = loader()
    dv.load_checkpoint(tmp_path / "checkpoint", {"loader": second})
    assert [numbers([batch]) for batch in second] == sequence[at:]


def test_an_ordinary_loop_runs_under_accelerate(filled: Filled) -> None:
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    model = torch.nn.Linear(4, 1)
    data = dv.OnlineDataset({"a": filled(40)}, capacity=20, batch_size=4, seed=1)
    model, optimizer, loader = accelerator.prepare(
        model,
        torch.optim.AdamW(model.parameters(), lr=0.02),
        DataLoader(data, batch_size=None),
    )
    losses = []
    seen: Counter[int] = Counter()
    for batch in loader:
        seen.update(numbers([batch]))
        loss = (model(batch["u"][:, :4] / 40) - batch["v"][:, None].float() / 40).square().mean()
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert set(seen) == set(range(40))
    assert np.isfinite(losses).all()
    data.close()


def test_pin_memory_and_default_collation_take_what_is_delivered(filled: Filled) -> None:
    data = dv.OnlineDataset({"a": filled(9)}, capacity=20, policy="fifo")
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    losses = gradient_steps(model, optimizer, DataLoader(data, batch_size=3))
    assert len(losses) == 3
    data.close()
