"""Small blocks of a stream travel in its log; nobody fetches them, and nothing else keeps them."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import dovetail as dv
from dovetail.testing.children import PATIENCE
from dovetail.transport.ledger import replica

SMALL, LARGE = 100, 2000
"""Numbers of 8 bytes, on both sides of the limit."""


def keys_of(url: str) -> list[str]:
    with dv.open_store(re.sub(r"name=([^&]+)", r"name=\1.stream", url)) as store:
        return store.keys("b/")


def write(out: dv.StreamWriter, number: int, length: int) -> None:
    with out.step({"number": number}) as step:
        step["x"] = np.full(length, number)


def check(step: dv.ReadStep, number: int, length: int) -> None:
    assert step.attrs == {"number": number}
    assert step["x"].tolist() == [number] * length


def test_small_and_large_blocks_alternate(unix_url: str) -> None:
    with (
        dv.open_stream(unix_url, "w", policy=dv.buffered(3)) as out,
        dv.open_stream(unix_url, "r") as reader,
    ):
        for number in range(30):
            length = SMALL if number % 3 else LARGE
            write(out, number, length)
            step = next(reader)
            check(step, number, length)
            step.end()


def test_nothing_but_the_log_keeps_small_ones(unix_url: str) -> None:
    with dv.open_stream(unix_url, "w", policy=dv.buffered(4)) as out:
        write(out, 0, SMALL)
        write(out, 1, SMALL)
        assert keys_of(unix_url) == []
        write(out, 2, LARGE)
        assert len(keys_of(unix_url)) == 1
        with dv.open_stream(unix_url, "r") as late:
            for number, length in enumerate([SMALL, SMALL, LARGE]):
                check(next(late), number, length)


@pytest.mark.parametrize("policy", [dv.buffered(4), dv.latest(), dv.work_queue(3)], ids=str)
def test_a_log_of_many_bytes_goes_on_in_another(
    unix_url: str, monkeypatch: pytest.MonkeyPatch, policy: dv.Policy
) -> None:
    monkeypatch.setattr(replica, "LOG_NBYTES", 5000)
    with ThreadPoolExecutor(1) as thread:
        out = dv.open_stream(unix_url, "w", policy=policy)
        reader = dv.open_stream(unix_url, "r")

        def read_all() -> list[int]:
            seen = []
            for step in reader:
                check(step, step.index, SMALL)
                seen.append(step.index)
            return seen

        reading = thread.submit(read_all)
        for number in range(100):
            write(out, number, SMALL)
        assert dv.describe_stream(unix_url).steps_complete == 100
        out.close()
        seen = reading.result(PATIENCE)
        reader.close()
    assert seen == sorted(seen)
    assert seen[-1] == 99
    if policy.kind != "latest":
        assert len(seen) == 100
