"""What children do whose wall clock is set back and forth under them."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

import dovetail as dv
from dovetail.testing.children import Channel
from dovetail.testing.values import sealed, unsealed

DAY = 86_400


def set_clock(file: str, seconds: int) -> None:
    """Shift the wall clock of all children of the server."""
    Path(file).write_text(str(seconds))


def put_while_the_clock_jumps(channel: Channel, url: str, file: str, shifts: list[int]) -> None:
    """Put a value after every jump; send all versions."""
    versions = []
    start = time.time()
    with dv.open_store(url) as store:
        for number, shift in enumerate(shifts):
            set_clock(file, shift)
            assert abs(time.time() - (start + shift)) < DAY / 2, "the clock was not shifted"
            versions.append(store.put("a", sealed(number, 100)))
            assert unsealed(store.get("a")) == number
            assert store.stat("a").version == versions[-1]
    channel.send(versions)


def converse_while_the_clock_jumps(
    channel: Channel, url: str, file: str, shifts: list[int]
) -> None:
    """Answer each new ping, whatever the clock says."""
    with dv.open_store(url) as store:
        channel.send("ready")
        version = None
        for number, shift in enumerate(shifts):
            value = store.wait("ping", 60, newer_than=version)
            version = value.version
            assert unsealed(value) == number
            set_clock(file, shift)
            store.put("pong", sealed(number, 10))


def wait_while_the_clock_jumps(channel: Channel, url: str, file: str) -> None:
    """A deadline is kept on the monotonic clock: a jump neither ends nor prolongs a wait."""
    with dv.open_store(url) as store:
        for shift in (0, DAY, -DAY):
            set_clock(file, shift)
            before = time.monotonic()
            try:
                store.wait("never", 0.05)
                raise AssertionError("it was there")
            except dv.TransportTimeoutError:
                pass
            assert 0.05 <= time.monotonic() - before < 30
    channel.send("sound")


def stream_while_the_clock_jumps(channel: Channel, url: str, file: str, shifts: list[int]) -> None:
    """Both ends of a stream in one process, with a jump before every step."""
    with (
        dv.open_stream(url, "w", policy=dv.buffered(2), timeout=5) as out,
        dv.open_stream(url, "r", timeout=5) as reader,
    ):
        for number, shift in enumerate(shifts):
            set_clock(file, shift)
            with out.step() as step:
                step["n"] = np.array(number)
            assert int(next(reader)["n"]) == number
    channel.send("sound")
