"""``kill -9`` of those who publish and follow models, at random moments."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest
from faults import model_roles as roles
from faults.tally import Tally

import dovetail as dv
from dovetail.testing.children import ChildServer
from dovetail.testing.store_roles import Ledger

LATEST = 0.02
"""Seconds after which a child is killed at the latest."""


@pytest.fixture(params=["shm", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "shm":
        return f"{request.getfixturevalue('shm_url')}?capacity=16MiB"
    return f"file://{tmp_path}/store?capacity=16MiB"


def test_publisher(
    url: str, children: ChildServer, chance: random.Random, faults: Tally, tmp_path: Path
) -> None:
    """Publisher of a model killed at a random moment, with three followers checking."""
    ledger = Ledger(str(tmp_path / "ledger"), 2)
    others = [children.start(roles.follow_until_told, url=url) for _ in range(2)]
    assert [other.receive() for other in others] == ["ready", "ready"]
    with dv.open_store(url) as store:
        model = dv.FollowedModel(store, "m", roles.weights_of(0))
        last = 0
        for _ in faults:
            publisher = children.start(
                roles.publish_for_ever, url=url, ledger=str(tmp_path / "ledger"), first=last + 1
            )
            assert publisher.receive() == "ready"
            end = time.monotonic() + chance.uniform(0, LATEST)
            while time.monotonic() < end:
                if model.refresh():
                    assert roles.number_of(model) > last, "an old version came back"
                    last = roles.number_of(model)
            assert publisher.alive(), publisher.receive()
            publisher.kill()
            model.refresh()
            published, version = ledger.slots.tolist()
            if model.version:
                last = roles.number_of(model)
                assert last in (published, published + 1), "a published version was lost"
                assert model.version >= version
                ledger.slots[:] = last, model.version
            publisher.close()
        assert model.statistics().refused == 0
    taken = model.statistics().taken
    for other in others:
        other.send("stop")
        count, refused = other.receive()
        assert refused == 0
        taken += count
        other.join()
    assert taken > 0
    faults.note(f"{last} versions published, {taken} taken")


@pytest.mark.requires("torch")
@pytest.mark.filterwarnings("ignore:version .* is not taken .gate.")
def test_publisher_of_a_module(
    url: str, children: ChildServer, chance: random.Random, faults: Tally, tmp_path: Path
) -> None:
    """Publisher of a torch module killed at a random moment, with a gate and a guard at work."""
    import torch

    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, shape in roles.SHAPES.items():
                owner, _, leaf = name.rpartition(".")
                if owner and not hasattr(self, owner):
                    self.add_module(owner, torch.nn.Module())
                place = getattr(self, owner) if owner else self
                place.register_buffer(leaf, torch.zeros(shape, dtype=torch.float64))

        def forward(self, x: Any) -> Any:
            numbers = torch.cat([one.reshape(-1) for one in self.state_dict().values()])
            assert (numbers == numbers[0]).all(), "a mixture of two versions"
            return x * 0 + numbers[0]

    def gate(candidate: Any, attrs: Any) -> bool:
        return bool((candidate(x) == attrs["number"]).all()) and attrs["number"] % 5 != 0

    x = torch.ones(2, 1)
    (tmp_path / "ledger").touch()
    with dv.open_store(url) as store:
        model = dv.FollowedModel(store, "m", Module(), gate=gate)
        guard = dv.Guard(model, lambda x: x * 0 - 1)
        last = 0
        for _ in faults:
            publisher = children.start(
                roles.publish_for_ever, url=url, ledger=str(tmp_path / "ledger"), first=last + 1
            )
            assert publisher.receive() == "ready"
            end = time.monotonic() + chance.uniform(0, LATEST)
            while time.monotonic() < end:
                guard.refresh()
                answer = float(guard(x)[0, 0])
                assert answer == model.attrs.get("number", -1)
                assert answer % 5 != 0
            publisher.kill()
            publisher.close()
            last = max(last, int(Ledger(str(tmp_path / "ledger"), 2).number))
        statistics = model.statistics()
        assert set(statistics.refused_by_reason) <= {"gate"}
    assert statistics.taken > 0
    assert statistics.refused > 0
    faults.note(f"{last} versions published, {statistics.taken} taken")


def test_follower(
    url: str, children: ChildServer, chance: random.Random, faults: Tally, tmp_path: Path
) -> None:
    """Follower of a model killed at a random moment, with the publisher going on."""
    number = 0
    with dv.open_store(url) as store:
        for _ in faults:
            follower = children.start(roles.follow_until_told, url=url)
            assert follower.receive() == "ready"
            end = time.monotonic() + chance.uniform(0, LATEST)
            while time.monotonic() < end:
                number += 1
                dv.publish_model(store, "m", roles.weights_of(number), {"number": number})
            assert not follower.channel.waiting(), follower.receive()
            follower.kill()
            follower.close()
        model = dv.FollowedModel(store, "m", roles.weights_of(0))
        assert model.refresh()
        assert roles.number_of(model) == number
    faults.note(f"{number} versions published")
