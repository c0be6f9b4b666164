"""SIGSTOP of both ends of a stream, at random moments."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from faults import stream_roles as more_roles
from faults.clearing import clear
from faults.tally import Tally

import dovetail as dv
from dovetail.testing import stream_roles as roles
from dovetail.testing.children import ChildServer, wait_until
from dovetail.testing.stream_fixtures import write
from dovetail.transport.contract import StreamWriter

DEADLINE = 0.5
AT_ONCE = 20
"""Readers that are stopped together: they share the producer's deadline."""
every_policy = pytest.mark.parametrize(
    "policy",
    [dv.lockstep(), dv.buffered(1), dv.buffered(4), dv.latest(), dv.work_queue(3)],
    ids=str,
)


@contextmanager
def write_on(thread: ThreadPoolExecutor, out: StreamWriter) -> Iterator[list[int]]:
    """Write steps in a thread until the block ends; their number so far."""
    written, stop = [0], threading.Event()

    def work() -> None:
        while not stop.is_set():
            write(out, written[0])
            written[0] += 1

    writing = thread.submit(work)
    try:
        yield written
    finally:
        stop.set()
        writing.result(60)


@every_policy
def test_writer(
    shm_url: str,
    children: ChildServer,
    chance: random.Random,
    faults: Tally,
    tmp_path: Path,
    policy: dv.Policy,
) -> None:
    """Writer of a stream stopped at a random moment: its reader waits, and loses nothing."""
    ledger = roles.Ledger(str(tmp_path / "ledger"), 8)
    writer = children.start(
        roles.produce,
        url=shm_url,
        policy=[policy.kind, policy.window],
        ledger=str(tmp_path / "ledger"),
        sizes=[4000, 10],
    )
    assert writer.receive() == "ready"
    reader = children.start(
        more_roles.watch,
        url=shm_url,
        marks=str(tmp_path / "marks"),
        policy=policy.kind,
    )
    assert reader.receive() == "ready"
    for _ in faults:
        time.sleep(chance.uniform(0, 0.004))
        writer.suspend()
        before = int(ledger.slots[roles.PRODUCER])
        assert dv.describe_stream(shm_url).state == "open"
        writer.resume()
        wait_until(
            lambda: ledger.slots[roles.PRODUCER] > before,  # noqa: B023
            "the writer to go on",
        )
        assert not reader.channel.waiting(), reader.receive()
    writer.kill()
    outcome, number = reader.receive()
    assert outcome == "PeerLostError"
    ended = int(ledger.slots[roles.PRODUCER])
    assert number in (ended, ended + 1)
    reader.join()
    faults.note(f"{ended} steps")


@pytest.mark.parametrize(
    "policy", [dv.lockstep(), dv.buffered(1), dv.buffered(4), dv.work_queue(3)], ids=str
)
def test_reader(
    shm_url: str,
    children: ChildServer,
    chance: random.Random,
    faults: Tally,
    tmp_path: Path,
    policy: dv.Policy,
) -> None:
    """Reader of a stream stopped: expelled after the deadline, and told; the producer goes on."""
    trials = iter(faults)
    left = faults.wanted
    expelled = 0
    while left:
        victims = []
        with dv.open_stream(shm_url, "w", policy=policy, timeout=DEADLINE) as out:
            for _ in range(min(left, AT_ONCE)):
                next(trials)
                victim = children.start(more_roles.take_one_at_a_time, url=shm_url, hold=2)
                assert victim.receive() == "ready"
                victims.append(victim)
            with ThreadPoolExecutor(1) as thread, write_on(thread, out) as written:
                for victim in victims:
                    time.sleep(chance.uniform(0, 0.002))
                    victim.suspend()
                steady = children.start(more_roles.take_one_at_a_time, url=shm_url, hold=2)
                assert steady.receive() == "ready"
                before = written[0]
                wait_until(
                    lambda: written[0] > before + 3 * policy.window,  # noqa: B023
                    "the producer to go on",
                )
                states = [group.state for group in dv.describe_stream(shm_url).groups]
                expelled += states.count("expelled")
                for victim in victims:
                    victim.resume()
        assert steady.receive() == "end"
        steady.join()
        outcomes = {victim.receive() for victim in victims}
        if policy.kind == "work_queue":
            # A reader that was stopped without a step in hand holds nobody up.
            assert outcomes <= {"ReaderExpelledError", "end"}
        else:
            assert outcomes == {"ReaderExpelledError"}
        for victim in victims:
            victim.join()
        left -= len(victims)
        clear(shm_url)
    next(trials, None)
    faults.note(f"{expelled} expelled")


def test_latest(shm_url: str, children: ChildServer, chance: random.Random, faults: Tally) -> None:
    """Reader of a `latest` stream stopped: the producer never notices."""
    with dv.open_stream(shm_url, "w", policy=dv.latest(), timeout=DEADLINE) as out:
        reader = children.start(more_roles.take_one_at_a_time, url=shm_url, hold=2)
        assert reader.receive() == "ready"
        number = 0
        for _ in faults:
            time.sleep(chance.uniform(0, 0.002))
            reader.suspend()
            for _ in range(20):
                write(out, number)
                number += 1
            reader.resume()
            write(out, number)
            number += 1
        assert not reader.channel.waiting(), reader.receive()
    assert reader.receive() == "end"
    reader.join()


@pytest.mark.parametrize("policy", [dv.latest(), dv.buffered(2)], ids=str)
def test_onlooker(
    shm_url: str,
    children: ChildServer,
    chance: random.Random,
    faults: Tally,
    tmp_path: Path,
    policy: dv.Policy,
) -> None:
    """Onlooker stopped while it takes a step that is then replaced: it sees none torn."""
    ledger = roles.Ledger(str(tmp_path / "ledger"), 8)
    writer = children.start(
        roles.produce,
        url=shm_url,
        policy=[policy.kind, policy.window],
        ledger=str(tmp_path / "ledger"),
        sizes=[10, 500],
    )
    assert writer.receive() == "ready"
    reader = children.start(roles.consume, url=shm_url, ledger=str(tmp_path / "ledger"))
    onlookers = [children.start(more_roles.look_on, url=shm_url) for _ in range(2)]
    for child in (reader, *onlookers):
        assert child.receive() == "ready"
    for trial in faults:
        onlooker = onlookers[trial % 2]
        time.sleep(chance.uniform(0, 0.002))
        onlooker.suspend()
        before = int(ledger.slots[roles.PRODUCER])
        wait_until(
            lambda: ledger.slots[roles.PRODUCER] > before + 10,  # noqa: B023
            "the writer to go on",
        )
        onlooker.resume()
        assert not onlooker.channel.waiting(), onlooker.receive()
    faults.note(f"{ledger.slots[roles.PRODUCER]} steps")
