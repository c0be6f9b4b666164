"""Processes that serve a stream over SST are killed: others take their places, no step is lost."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
from faults.clearing import clear
from faults.tally import Tally

import dovetail as dv
from dovetail.testing.stream_fixtures import write
from dovetail.testing.values import unsealed

pytestmark = pytest.mark.requires("adios2")
COUNT = 5
"""Processes of a kind that an ordinary run kills: each takes half a second to replace."""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sst://faults-{os.getpid()}?contact={tmp_path}"


@pytest.mark.parametrize("victim", ["carrier", "sender", "mirror"])
def test_served(
    url: str, faults: Tally, chance: random.Random, request: pytest.FixtureRequest, victim: str
) -> None:
    """A process that serves a stream over SST killed between two steps, or during one."""
    if not request.config.getoption("soak"):
        faults.wanted = min(faults.wanted, COUNT)
    number = 0
    with dv.open_stream(url, "w", policy=dv.buffered(3)) as out:
        for _ in faults:
            with dv.open_stream(url, "r") as reader:
                kill_before = chance.randrange(1, 4)
                for moment in range(4):
                    if moment == kill_before:
                        kill(victim, out, reader)
                    write(out, number, 20_000)
                    step = next(reader)
                    assert unsealed(step) == number
                    step.end()
                    number += 1
    clear(url)
    faults.note(f"{number} steps, all delivered")


def kill(victim: str, out: Any, reader: Any) -> None:
    carrier = out.native._medium._worker._process.pid
    mirror = reader._native._medium._worker._process.pid
    pids = {"carrier": [carrier], "mirror": [mirror]}.get(victim) or [
        child.pid for child in psutil.Process(carrier).children()
    ]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
