"""Recordings whose producer is killed: what was ended is there, and no end is pretended."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from faults.tally import Tally

import dovetail as dv
from dovetail.testing import stream_roles as roles
from dovetail.testing.children import ChildServer
from dovetail.testing.values import unsealed

pytestmark = pytest.mark.requires("adios2")
LATEST = 0.03
"""Seconds after which a producer is killed at the latest."""
COUNT = 30


@pytest.mark.parametrize("reader", ["live", "late"])
def test_recorder(
    children: ChildServer,
    chance: random.Random,
    faults: Tally,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    reader: str,
) -> None:
    """Producer of a recording killed at a random moment."""
    if not request.config.getoption("soak"):
        faults.wanted = min(faults.wanted, COUNT)
    url = f"bp5://{tmp_path}/{os.getpid()}.bp"
    ledger = roles.Ledger(str(tmp_path / "ledger"), 8)
    total = 0
    for _ in faults:
        ledger.slots[:] = 0
        writer = children.start(
            roles.produce,
            url=f"{url}?record=yes",
            policy=["buffered", 2],
            ledger=str(tmp_path / "ledger"),
            sizes=[4000, 20_000, 10],
        )
        assert writer.receive() == "ready"
        seen: list[int] = []
        replay = dv.open_stream(url, "r") if reader == "live" else None
        time.sleep(chance.uniform(0, LATEST))
        writer.kill()
        with replay or dv.open_stream(url, "r") as steps, pytest.raises(dv.PeerLostError):
            seen.extend(unsealed(step) for step in steps)
            raise AssertionError("a crash looked like a clean end")
        ended = int(ledger.slots[roles.PRODUCER])
        assert seen == list(range(len(seen)))
        assert len(seen) in (ended, ended + 1)
        total += len(seen)
        writer.close()
        dv.destroy_stream(url)
    faults.note(f"{total} steps")
