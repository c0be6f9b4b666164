"""Small blocks of streams over SST travel with their announcement, and larger ones by SST."""

from __future__ import annotations

import itertools
import os
import threading

import numpy as np
import pytest

import dovetail as dv
from dovetail.testing.children import wait_until
from dovetail.transport.engines.adios.sst import medium

pytestmark = pytest.mark.requires("adios2")
_numbers = itertools.count()

SIZES = [1, medium.EAGER // 8, 0, 100_000, 2, 3, 50_000, medium.EAGER // 8 + 1]
"""Numbers of doubles, on both sides of the limit."""


@pytest.fixture
def url() -> str:
    return f"sst://small-{os.getpid()}-{next(_numbers)}?linger=0.1"


@pytest.mark.parametrize("early", [True, False], ids=["to a waiting reader", "to a late reader"])
def test_steps_come_in_order_whichever_way_they_take(url: str, early: bool) -> None:
    seen: list[tuple[int, int, float]] = []

    def read() -> None:
        with dv.open_stream(url, "r") as reader:
            for step in reader:
                assert not (step["u"].size and step["u"].flags.writeable)
                seen.append((step.attrs["number"], step["u"].size, float(step["u"].sum())))

    thread = threading.Thread(target=read)
    readers = {"readers": 1} if early else {}
    if early:
        thread.start()
    with dv.open_stream(url, "w", policy=dv.buffered(len(SIZES)), **readers) as out:  # type: ignore[call-overload]
        for number, size in enumerate(SIZES):
            with out.step(attrs={"number": number}) as step:
                step["u"] = np.full(size, number, "f8")
        if not early:
            thread.start()
            wait_until(lambda: dv.describe_stream(url).groups, "the reader")
    thread.join()
    assert seen == [(number, size, number * size) for number, size in enumerate(SIZES)]
