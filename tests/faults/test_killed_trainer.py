"""``kill -9`` of trainers at random moments: checkpoints stay whole, and simulations go on."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import learn_roles as roles
from faults.tally import Tally

import dovetail as dv
from dovetail.testing.children import Child, ChildServer, wait_until
from dovetail.testing.store_roles import Ledger

LATEST = 0.03
"""Seconds after which a child is killed at the latest."""


@pytest.fixture(scope="module")
def trainers() -> Iterator[ChildServer]:
    """Starts processes that have torch already."""
    with ChildServer(["torch._dynamo", "dovetail.learn.dataset"]) as server:
        yield server


def wait_for_more_than(count: int, ledger: Ledger, trainer: Child) -> None:
    wait_until(lambda: ledger.slots[0] > count or not trainer.alive(), "a checkpoint")


def test_saver(children: ChildServer, chance: random.Random, faults: Tally, tmp_path: Path) -> None:
    """Trainer killed at a random moment while it saves checkpoints."""
    path = tmp_path / "checkpoint.safetensors"
    ledger = Ledger(str(tmp_path / "ledger"), 1)
    last = 0
    dv.save_checkpoint(path, roles.state_of(0))
    half_written = 0
    for _ in faults:
        saver = children.start(
            roles.save_for_ever, path=str(path), ledger=str(tmp_path / "ledger"), first=last + 1
        )
        assert saver.receive() == "ready"
        time.sleep(chance.uniform(0, LATEST))
        assert saver.alive(), saver.receive()
        saver.kill()
        saver.close()
        last = roles.number_in(path)
        assert last in (ledger.slots[0], ledger.slots[0] + 1), "a saved checkpoint was lost"
        ledger.slots[0] = last
        half_written += len(list(tmp_path.iterdir())) > 2
    dv.save_checkpoint(path, {"number": 0})
    assert {each.name for each in tmp_path.iterdir()} == {path.name, "ledger"}
    assert last > 0
    faults.note(f"{last} saved, {half_written} half written aside")


@pytest.mark.requires("torch")
@pytest.mark.parametrize("policy", ["buffered", "latest"])
def test_trainer(
    policy: str,
    shm_url: str,
    children: ChildServer,
    trainers: ChildServer,
    chance: random.Random,
    faults: Tally,
    tmp_path: Path,
) -> None:
    """Trainer killed at a random moment, restarted from its checkpoint; its simulation goes on."""
    where = {
        "url": shm_url,
        "path": str(tmp_path / "checkpoint"),
        "ledger": str(tmp_path / "ledger"),
    }
    ledger = Ledger(where["ledger"], 1)
    simulation = children.start(roles.simulate_for_ever, url=shm_url, policy=policy)
    assert simulation.receive() == "ready"
    steps = 0
    for _ in faults:
        trainer = trainers.start(roles.train, **where)
        assert trainer.receive() == "ready"
        before = int(ledger.slots[0])
        wait_for_more_than(before, ledger, trainer)
        time.sleep(chance.uniform(0, LATEST))
        assert trainer.alive(), trainer.receive()
        trainer.kill()
        trainer.close()
        written = dv.describe_stream(shm_url).steps_complete
        assert written > steps, "the simulation stood still"
        steps = written
    trainer = trainers.start(roles.train, **where)
    assert trainer.receive() == "ready"
    trainer.send("stop")
    gradient_steps, missed = trainer.receive()
    trainer.join()
    written = simulation.receive()
    simulation.join()
    assert steps <= written
    assert missed <= written
    assert gradient_steps > faults.wanted
    faults.note(f"{gradient_steps} gradient steps, {missed} of {written} steps went by")
