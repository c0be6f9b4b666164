"""``kill -9`` of programs that use the client of another language, at random moments."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from clients.languages import every_language

import dovetail as dv
from dovetail.testing import store_roles, stream_roles
from dovetail.testing.children import ChildServer
from dovetail.testing.values import sealed, unsealed

KILLS, SOAK_KILLS = 15, 1000
LATEST = 0.02
"""Seconds after which a child is killed at the latest."""
SIZES = [20_000, 4_000, 300]

pytestmark = pytest.mark.timeout(1500)


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    return SOAK_KILLS if request.config.getoption("soak") else KILLS


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    return random.Random(request.node.name)


@every_language
def test_a_killed_writer_of_a_store_leaves_the_old_value_or_the_new_one(
    language: str, shm_url: str, tmp_path: Path, children: ChildServer, kills: int,
    chance: random.Random,
) -> None:  # fmt: skip
    url = f"{shm_url}?capacity=4MiB"
    ledger = store_roles.Ledger(str(tmp_path / "ledger"))
    with dv.open_store(url) as store:
        store.put("a", sealed(0, 10))
        last = 0
        for _ in range(kills):
            ledger.number = last
            writer = children.start(
                store_roles.put_for_ever, url=f"{language}+{url}", key="a", sizes=SIZES,
                ledger=str(tmp_path / "ledger"), first=last + 1,
            )  # fmt: skip
            assert writer.receive() == "ready"
            end = time.monotonic() + chance.uniform(0, LATEST)
            while time.monotonic() < end:
                number = unsealed(store.get("a"))
                assert number >= last
                last = number
            assert writer.alive(), writer.receive()
            writer.kill()
            last = unsealed(store.get("a"))
            assert last in (ledger.number, ledger.number + 1)
            assert store.keys() == ["a"]
            writer.close()


@every_language
def test_a_killed_reader_of_a_store_harms_nobody(
    language: str, shm_url: str, children: ChildServer, kills: int, chance: random.Random
) -> None:
    url = f"{shm_url}?capacity=4MiB"
    with dv.open_store(url) as store:
        number = 0
        store.put("a", sealed(number, SIZES[0]))
        for _ in range(kills):
            reader = children.start(store_roles.get_for_ever, url=f"{language}+{url}", key="a")
            assert reader.receive() == "ready"
            end = time.monotonic() + chance.uniform(0, LATEST)
            while time.monotonic() < end:
                number += 1
                store.put("a", sealed(number, SIZES[number % len(SIZES)]))
            assert reader.alive(), reader.receive()
            reader.kill()
            reader.close()
            assert unsealed(store.get("a")) == number


@every_language
def test_a_killed_producer_is_lost_after_its_complete_steps(
    language: str, shm_url: str, tmp_path: Path, children: ChildServer, kills: int,
    chance: random.Random,
) -> None:  # fmt: skip
    url = f"{shm_url}?capacity=8MiB"
    for attempt in range(kills):
        ledger = tmp_path / f"ledger-{attempt}"
        writer = children.start(
            stream_roles.produce, url=f"{language}+{url}", policy=["buffered", 4],
            ledger=str(ledger), sizes=SIZES,
        )  # fmt: skip
        assert writer.receive() == "ready"
        seen = []
        with dv.open_stream(f"{language}+{url}", "r") as reader:
            end = time.monotonic() + chance.uniform(0, LATEST)
            try:
                while True:
                    step = reader.next_step()
                    assert step is not None
                    seen.append(unsealed(step))
                    if writer.alive() and time.monotonic() >= end:
                        writer.kill()
            except dv.PeerLostError:
                pass
        ended = int(stream_roles.Ledger(str(ledger), 8).slots[stream_roles.PRODUCER])
        assert seen == list(range(len(seen)))
        assert len(seen) in (ended, ended + 1)
        writer.close()


@every_language
def test_a_killed_reader_of_a_stream_does_not_hold_the_producer_up(
    language: str, shm_url: str, tmp_path: Path, children: ChildServer, kills: int,
    chance: random.Random,
) -> None:  # fmt: skip
    url = f"{language}+{shm_url}?capacity=8MiB"
    number = 0
    with dv.open_stream(url, "w", policy=dv.latest()) as out:
        for attempt in range(kills):
            reader = children.start(
                stream_roles.consume, url=url, ledger=str(tmp_path / f"ledger-{attempt}")
            )
            assert reader.receive() == "ready"
            end = time.monotonic() + chance.uniform(0, LATEST)
            while time.monotonic() < end:
                with out.step(attrs={"number": number}) as step:
                    for name, array in sealed(number, 1000).items():
                        step[name] = array
                number += 1
            assert reader.alive(), reader.receive()
            reader.kill()
            reader.close()
