"""What the ends of a stream do in the fault tests of every engine."""

from __future__ import annotations

import itertools
import time
from typing import Any

import dovetail as dv
from dovetail.testing.children import PATIENCE, Channel, Child
from dovetail.testing.stream_fixtures import read_all, write
from dovetail.testing.stream_roles import policy_of
from dovetail.testing.values import unsealed
from dovetail.transport.contract import StreamReader


def write_all(url: str, policy: dv.Policy, steps: int) -> None:
    """Open, write so many steps, close."""
    with dv.open_stream(url, "w", policy=policy, timeout=PATIENCE) as out:
        for number in range(steps):
            write(out, number, 100)


def read_to_the_end(url: str) -> list[int]:
    """Open, read to the end, close; the numbers of the steps."""
    with dv.open_stream(url, "r", timeout=PATIENCE) as reader:
        return read_all(reader)


def read_slowly(reader: StreamReader, pause: float) -> list[int]:
    """The numbers of all steps, with a pause in hand of each."""
    numbers = []
    for step in reader:
        time.sleep(pause)
        numbers.append(unsealed(step))
    return numbers


def write_and_wait(channel: Channel, url: str, policy: list[Any], steps: int) -> None:
    """Write so many steps, say so, and stay until killed."""
    with dv.open_stream(url, "w", policy=policy_of(*policy), readers=1) as out:
        for number in range(steps):
            write(out, number, 100)
        channel.send("ended")
        for _ in itertools.count():
            time.sleep(PATIENCE)


def kill_when_done(child: Child) -> None:
    """Kill a child as soon as it has written all that it should."""
    assert child.receive() == "ended"
    child.kill()
