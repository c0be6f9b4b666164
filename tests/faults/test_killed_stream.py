"""``kill -9`` of both ends of a stream, at random moments, under every policy."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import stream_roles as more_roles
from faults.clearing import clear
from faults.engines import STREAMS, Engines, each_of
from faults.tally import Tally

import dovetail as dv
from dovetail.testing import stream_roles as roles
from dovetail.testing.children import Child, ChildServer, wait_until
from dovetail.testing.store_fixtures import with_options
from dovetail.testing.values import unsealed

SIZES = [4000, 20_000, 10]
LATEST = 0.02
"""Seconds after which a child is killed at the latest."""
every_policy = pytest.mark.parametrize(
    "policy",
    [dv.lockstep(), dv.buffered(1), dv.buffered(4), dv.latest(), dv.work_queue(3)],
    ids=str,
)


@pytest.fixture(params=each_of(STREAMS, "shm", "redis"))
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def url(engines: Engines, engine: str) -> Iterator[str]:
    """A stream with room for only a few steps, so that space that is lost is missed."""
    url = with_options(engines.url(engine, "stream"), capacity="8MiB")
    yield url
    clear(url)


def start_writer(
    children: ChildServer, url: str, policy: dv.Policy, ledger: Path, steps: int | None = None
) -> Child:
    writer = children.start(
        roles.produce,
        url=url,
        policy=[policy.kind, policy.window],
        ledger=str(ledger),
        sizes=SIZES,
        steps=steps,
    )
    assert writer.receive() == "ready"
    return writer


@every_policy
def test_writer(
    url: str,
    children: ChildServer,
    chance: random.Random,
    faults: Tally,
    tmp_path: Path,
    policy: dv.Policy,
) -> None:
    """Writer of a stream killed at a random moment, with two readers checking."""
    ledger = roles.Ledger(str(tmp_path / "ledger"), 8)
    total = 0
    for _ in faults:
        ledger.slots[:] = 0
        writer = start_writer(children, url, policy, tmp_path / "ledger")
        readers = [
            children.start(roles.consume, url=url, ledger=str(tmp_path / "ledger"), slot=slot)
            for slot in (1, 2)
        ]
        for reader in readers:
            assert reader.receive() == "ready"
        time.sleep(chance.uniform(0, LATEST))
        writer.kill()
        ended = int(ledger.slots[roles.PRODUCER])
        both = []
        for reader in readers:
            outcome, seen = reader.receive()
            assert outcome == "PeerLostError", "a crash looked like a clean end"
            both.append(seen)
            reader.join()
        check_what_was_seen(policy, both, ended)
        total += ended
        writer.close()
        clear(url)
    faults.note(f"{total} steps")


def check_what_was_seen(policy: dv.Policy, both: list[list[int]], ended: int) -> None:
    """Every step that was complete, each as often as the policy says."""
    complete = (ended, ended + 1)
    if policy.kind == "work_queue":
        together = sorted(both[0] + both[1])
        assert together == list(range(len(together)))
        assert len(together) in complete
        return
    # Who joins after the others have ended every step has nothing to get.
    if policy.kind == "latest":
        both = [seen for seen in both if seen] or both
    for seen in both:
        if policy.kind == "latest":
            assert seen == sorted(set(seen))
            assert (seen[-1] + 1 if seen else 0) in complete
    if policy.kind != "latest":
        # A reader that joined when the first steps had been read by the other starts later.
        for seen in both:
            assert seen == list(range(seen[0], seen[0] + len(seen))) if seen else True
            assert not seen or seen[-1] + 1 in complete
        assert min(seen[0] for seen in both if seen) == 0 if ended else True


@every_policy
def test_reader(
    url: str,
    children: ChildServer,
    chance: random.Random,
    faults: Tally,
    tmp_path: Path,
    policy: dv.Policy,
) -> None:
    """Reader of a stream killed at a random moment, with writer and another going on."""
    ledger = roles.Ledger(str(tmp_path / "ledger"), 8)
    marks = more_roles.Marks(str(tmp_path / "marks"))
    writer = start_writer(children, url, policy, tmp_path / "ledger")
    queue = policy.kind == "work_queue"
    steady = (
        children.start(more_roles.work, url=url, marks=str(tmp_path / "marks"))
        if queue
        else children.start(
            more_roles.watch, url=url, marks=str(tmp_path / "marks"), policy=policy.kind
        )
    )
    assert steady.receive() == "ready"
    for _ in faults:
        victim = (
            children.start(more_roles.work, url=url, marks=str(tmp_path / "marks"))
            if queue
            else children.start(roles.consume, url=url, ledger=str(tmp_path / "ledger"))
        )
        assert victim.receive() == "ready"
        time.sleep(chance.uniform(0, LATEST))
        assert not victim.channel.waiting(), victim.receive()
        victim.kill()
        before = int(ledger.slots[roles.PRODUCER])
        wait_until(
            lambda: ledger.slots[roles.PRODUCER] > before + 1,  # noqa: B023
            "the writer to go on",
        )
        assert not steady.channel.waiting(), steady.receive()
        victim.close()
    description = dv.describe_stream(url)
    assert description.bytes_held <= description.capacity
    writer.kill()
    ended = int(ledger.slots[roles.PRODUCER])
    outcome, number = steady.receive()
    assert outcome == "PeerLostError"
    steady.join()
    if queue:
        done = marks.count[:ended]
        assert (done > 0).all(), "a step that died with a reader was not dealt again"
        twice = int((done > 1).sum())
        assert twice <= faults.wanted, "only the step in hand of a dead reader is done twice"
        faults.note(f"{ended} steps, {number} dealt again, {twice} done twice")
    else:
        assert number in (ended, ended + 1)
        faults.note(f"{ended} steps")


@every_policy
def test_restart(
    url: str,
    children: ChildServer,
    chance: random.Random,
    faults: Tally,
    tmp_path: Path,
    policy: dv.Policy,
) -> None:
    """Writer of a stream killed and started again, without clearing up."""
    ledger = roles.Ledger(str(tmp_path / "ledger"), 8)
    for _ in faults:
        ledger.slots[:] = 0
        writer = start_writer(children, url, policy, tmp_path / "ledger")
        reader = children.start(roles.consume, url=url, ledger=str(tmp_path / "ledger"))
        assert reader.receive() == "ready"
        time.sleep(chance.uniform(0, LATEST / 2))
        writer.kill()
        outcome, seen = reader.receive()
        ended = int(ledger.slots[roles.PRODUCER])
        assert outcome == "PeerLostError"
        assert (seen[-1] + 1 if seen else 0) in (ended, ended + 1)
        reader.join()
        writer.close()


def test_both_ends(
    url: str, children: ChildServer, chance: random.Random, faults: Tally, tmp_path: Path
) -> None:
    """Both ends of a stream killed at once: what is left is found, and removed."""
    for _ in faults:
        writer = start_writer(children, url, dv.buffered(4), tmp_path / "ledger")
        reader = children.start(roles.consume, url=url, ledger=str(tmp_path / "ledger"))
        assert reader.receive() == "ready"
        time.sleep(chance.uniform(0, LATEST / 2))
        for child in (writer, reader) if chance.random() < 0.5 else (reader, writer):
            child.kill()
        # Unless the reader had just heard of the writer's end, and cleared up as the last to leave.
        with contextlib.suppress(dv.KeyNotFoundError):
            wait_until(lambda: dv.describe_stream(url).state == "lost", "the loss to be seen")
            clear(url)
        with pytest.raises(dv.KeyNotFoundError):
            dv.describe_stream(url)
        writer.close()
        reader.close()


@pytest.mark.parametrize("policy", [dv.latest(), dv.buffered(2)], ids=str)
def test_onlooker(
    url: str,
    children: ChildServer,
    chance: random.Random,
    faults: Tally,
    tmp_path: Path,
    policy: dv.Policy,
) -> None:
    """Writer of a stream killed while one looks on who takes no part."""
    seen = 0
    for _ in faults:
        writer = start_writer(children, url, policy, tmp_path / "ledger")
        reader = children.start(roles.consume, url=url, ledger=str(tmp_path / "ledger"))
        assert reader.receive() == "ready"
        onlooker = dv.tail_stream(url, timeout=30)
        last = -1
        end = time.monotonic() + chance.uniform(0, LATEST)
        while time.monotonic() < end:
            step = next(onlooker)
            assert unsealed(step) == step.index > last
            last = step.index
            seen += 1
        writer.kill()
        reader.close()
        writer.close()
        clear(url)
    faults.note(f"{seen} steps seen in passing")


def test_writer_rank(
    url: str, children: ChildServer, chance: random.Random, faults: Tally, tmp_path: Path
) -> None:
    """One of two writer ranks killed: readers get the complete steps, then hear of it."""
    ledger = roles.Ledger(str(tmp_path / "ledger"), 8)
    for _ in faults:
        ledger.slots[:] = 0
        writers = start_ranks(children, url, tmp_path / "ledger")
        reader = children.start(
            more_roles.consume_as_rank, url=url, rank=0, size=1, writers=len(writers)
        )
        for child in (*writers, reader):
            assert child.receive() == "ready"
        time.sleep(chance.uniform(0, LATEST))
        writers[chance.randrange(2)].kill()
        outcome, seen = reader.receive()
        assert outcome == "PeerLostError"
        assert seen in (min(ledger.slots[:2]), min(ledger.slots[:2]) + 1)
        reader.join()
        for writer in writers:
            writer.close()
        clear(url)


def test_reader_rank(
    url: str, children: ChildServer, chance: random.Random, faults: Tally, tmp_path: Path
) -> None:
    """One of two reader ranks killed: the other hears of it, the producers go on."""
    ledger = roles.Ledger(str(tmp_path / "ledger"), 8)
    writers = start_ranks(children, url, tmp_path / "ledger")
    stays = children.start(more_roles.consume_alone, url=url, writers=len(writers))
    for child in (*writers, stays):
        assert child.receive() == "ready"
    for _ in faults:
        group = [
            children.start(
                more_roles.consume_as_rank, url=url, rank=rank, size=2, writers=len(writers)
            )
            for rank in range(2)
        ]
        for child in group:
            assert child.receive() == "ready"
        time.sleep(chance.uniform(0, LATEST))
        victim = chance.randrange(2)
        group[victim].kill()
        outcome, _ = group[1 - victim].receive()
        assert outcome == "PeerLostError"
        before = int(min(ledger.slots[:2]))
        wait_until(
            lambda: min(ledger.slots[:2]) > before + 1,  # noqa: B023
            "the writers to go on",
        )
        assert not stays.channel.waiting(), stays.receive()
        for child in group:
            child.close()
    faults.note(f"{min(ledger.slots[:2])} steps")


def start_ranks(children: ChildServer, url: str, ledger: Path) -> list[Child]:
    """Two writer ranks, in processes of their own."""
    return [
        children.start(more_roles.produce_as_rank, url=url, rank=rank, size=2, ledger=str(ledger))
        for rank in range(2)
    ]
