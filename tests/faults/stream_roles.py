"""What child processes do at the ends of a stream in fault tests."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np

import dovetail as dv
from dovetail.testing.children import Channel
from dovetail.testing.store_roles import Ledger
from dovetail.testing.values import sealed, unsealed

MOST_STEPS = 1 << 26


class Marks:
    """One byte for each step, in a file that killed processes leave as it was."""

    def __init__(self, path: str) -> None:
        with open(path, "a+b") as file:
            file.truncate(MOST_STEPS)
            self._map = mmap.mmap(file.fileno(), MOST_STEPS)
        self.count = np.frombuffer(self._map, np.uint8)


def work(channel: Channel, url: str, marks: str) -> None:
    """Take steps of a work queue; mark each one when the work on it is done."""
    done = Marks(marks)
    redelivered = 0
    outcome = "end"
    with dv.open_stream(url, "r") as reader:
        channel.send("ready")
        try:
            while (step := reader.next_step()) is not None:
                number = unsealed(step)
                if number != step.index:
                    raise AssertionError(f"{number} in step {step.index}")
                done.count[number] += 1
        except dv.PeerLostError as error:
            outcome = type(error).__name__
        redelivered = reader.statistics().steps_redelivered
    channel.send([outcome, redelivered])


def watch(channel: Channel, url: str, marks: str, policy: str) -> None:
    """Read to the end, never out of order; mark each step."""
    done = Marks(marks)
    expected = 0
    outcome = "end"
    with dv.open_stream(url, "r") as reader:
        channel.send("ready")
        try:
            for step in reader:
                number = unsealed(step)
                if number < expected or (policy != "latest" and number != expected):
                    raise AssertionError(f"step {number} where {expected} was due")
                expected = number + 1
                done.count[number] += 1
        except dv.PeerLostError as error:
            outcome = type(error).__name__
    channel.send([outcome, expected])


def take_one_at_a_time(channel: Channel, url: str, hold: int) -> None:
    """Read and check steps, holding the last few, until the stream says that it is over."""
    held: list[tuple[int, Any]] = []
    outcome = "end"
    with dv.open_stream(url, "r") as reader:
        channel.send("ready")
        try:
            for step in reader:
                held = [*held[-hold:], (unsealed(step), step)]
        except dv.DovetailError as error:
            outcome = type(error).__name__
        for number, step in held:
            if unsealed(step) != number:
                raise AssertionError(f"step {number} changed in hand")
    channel.send(outcome)


def produce_as_rank(channel: Channel, url: str, rank: int, size: int, ledger: str) -> None:
    """Write this rank's part of steps 0, 1, 2 and so on; note each one that it has ended."""
    notes = Ledger(ledger, 8)
    with dv.open_stream(url, "w", policy=dv.buffered(3), rank=rank, size=size) as out:
        channel.send("ready")
        try:
            for number in range(MOST_STEPS):
                with out.step() as step:
                    for name, array in sealed(number, 2000 + rank).items():
                        step[f"{name}{rank}"] = array
                notes.slots[rank] = number + 1
        except dv.PeerLostError as error:
            channel.send(type(error).__name__)


def consume_alone(channel: Channel, url: str, writers: int) -> None:
    """Read and check steps of several writer ranks."""
    consume_as_rank(channel, url, 0, 1, writers, group="alone")


def consume_as_rank(
    channel: Channel, url: str, rank: int, size: int, writers: int, group: str = "ranks"
) -> None:
    """Read and check steps of several writer ranks as one rank of a group; say how it ended."""
    seen = 0
    outcome = "end"
    with dv.open_stream(url, "r", rank=rank, size=size, group=group) as reader:
        channel.send("ready")
        try:
            for step in reader:
                for writer in range(writers):
                    part = {name: step[f"{name}{writer}"] for name in ("payload", "seal")}
                    if unsealed(part) != step.index:
                        raise AssertionError(f"rank {writer} of step {step.index}")
                seen = step.index + 1
        except dv.PeerLostError as error:
            outcome = type(error).__name__
    channel.send([outcome, seen])


def look_on(channel: Channel, url: str) -> None:
    """Look on for ever, and check each step that is seen."""
    last = -1
    channel.send("ready")
    for step in dv.tail_stream(url, timeout=60):
        if not unsealed(step) == step.index > last:
            raise AssertionError(f"{unsealed(step)} in step {step.index} after {last}")
        last = step.index
