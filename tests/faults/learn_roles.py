"""What trainers and simulations do in fault tests.

All that a checkpoint holds says one number: a mixture shows.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

import dovetail as dv
from dovetail.learn import Provenance, Reservoir, load_checkpoint, save_checkpoint
from dovetail.testing.children import Channel
from dovetail.testing.store_roles import Ledger

SAMPLES = 40


def state_of(number: int) -> dict[str, Any]:
    """What a checkpoint of this number holds."""
    reservoir = Reservoir(SAMPLES)
    for _ in range(SAMPLES):
        reservoir.put({"u": np.full(1000, float(number))}, Provenance("run", number))
    weights = np.full((50, 200), float(number))
    return {"number": number, "weights": weights, "reservoir": reservoir}


def number_in(path: Path) -> int:
    """The number that everything in a checkpoint says. Raises AssertionError for a mixture."""
    reservoir = Reservoir(SAMPLES)
    rest = load_checkpoint(path, {"reservoir": reservoir})
    number: int = rest["number"]
    assert (rest["weights"] == number).all()
    for sample in reservoir.draw_many(SAMPLES):
        assert sample.provenance.step == number
        assert (sample["u"] == number).all()
    return number


def save_for_ever(channel: Channel, path: str, ledger: str, first: int) -> None:
    """Save checkpoints until killed; note the last one that is saved."""
    out = Ledger(ledger, 1)
    channel.send("ready")
    for number in itertools.count(first):
        save_checkpoint(path, state_of(number))
        out.slots[0] = number


def simulate_for_ever(channel: Channel, url: str, policy: str) -> None:
    """Write steps until the readers say that they have enough."""
    how = dv.latest() if policy == "latest" else dv.buffered(4)
    try:
        with dv.open_stream(url, "w", policy=how) as out:
            channel.send("ready")
            for number in itertools.count():
                with out.step(attrs={"step": number}) as step:
                    step["x"] = np.full(32, float(number), np.float32)
    except dv.StreamStoppedError:
        channel.send(number)


class Training:
    """A model that counts its gradient steps, in its weights too, and the samples it learned."""

    def __init__(self, url: str) -> None:
        import torch

        self.model = torch.nn.Linear(32, 1)
        self.model.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-4)
        self.data = dv.OnlineDataset(
            {"run": url}, capacity=12, policy="fifo", transform=lambda sample: sample
        )
        self.progress = {"gradient_steps": 0, "last": -1}

    @property
    def parts(self) -> dict[str, Any]:
        return {"model": self.model, "optimizer": self.optimizer, "data": self.data}

    def resume(self, path: Path) -> None:
        self.progress = load_checkpoint(path, self.parts)["progress"]
        count = self.progress["gradient_steps"]
        assert int(self.model.steps) == count
        assert int(self.optimizer.state_dict()["state"][0]["step"]) == count

    def learn(self, sample: Any) -> None:
        import torch

        number = sample.provenance.step
        assert number > self.progress["last"], f"step {number} again"
        assert (sample["x"] == number).all()
        self.optimizer.zero_grad()
        self.model(torch.tensor(sample["x"])).square().mean().backward()
        self.optimizer.step()
        self.model.steps += 1
        self.progress = {"gradient_steps": self.progress["gradient_steps"] + 1, "last": number}

    def save(self, path: Path) -> None:
        save_checkpoint(path, {**self.parts, "progress": self.progress})


def train(channel: Channel, url: str, path: str, ledger: str) -> None:
    """Go on from the checkpoint, if there is one, until killed or told to stop; then say how far.

    Notes the number of gradient steps in the last checkpoint that is saved.
    """
    out = Ledger(ledger, 1)
    training = Training(url)
    if Path(path).exists():
        training.resume(Path(path))
        saved = int(out.slots[0])
        assert training.progress["gradient_steps"] in (saved, saved + 1), "a checkpoint was lost"
    channel.send("ready")
    for sample in training.data:
        training.learn(sample)
        training.save(Path(path))
        out.slots[0] = training.progress["gradient_steps"]
        if channel.waiting():
            break
    (producer,) = training.data.statistics().producers
    training.data.stop()
    channel.send([training.progress["gradient_steps"], producer.missed])
