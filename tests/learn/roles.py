"""What child processes do in the tests of learning."""

from __future__ import annotations

import itertools

import numpy as np

import dovetail as dv
from dovetail.testing.children import Channel


def write(
    out: dv.StreamWriter, number: int, simulation: str | None = None, points: int = 16
) -> None:
    """One step: `number` everywhere, and what is known of it."""
    attrs = {"time": 0.1 * number, "step": number}
    if simulation is not None:
        attrs["simulation"] = simulation
    with out.step(attrs=attrs) as step:
        step["u"] = np.full(points, number, np.float32)
        step["v"] = np.float64(number)


def produce(
    channel: Channel,
    url: str,
    steps: int | None,
    simulation: str | None = None,
    window: int = 4,
    timeout: float = 60,
    first: int = 0,
    points: int = 16,
) -> None:
    """Write steps and end the stream; or write until told to stop by the readers."""
    try:
        with dv.open_stream(url, "w", policy=dv.buffered(window), timeout=timeout) as out:
            channel.send("ready")
            for number in itertools.count(first) if steps is None else range(first, first + steps):
                write(out, number, simulation, points)
            statistics = out.statistics()
    except dv.StreamStoppedError:
        channel.send("stopped")
        return
    channel.send(["done", statistics.steps])


def produce_and_wait(channel: Channel, url: str, steps: int, simulation: str | None = None) -> None:
    """Write steps, then hold the stream open until told to go on."""
    with dv.open_stream(url, "w", policy=dv.buffered(64)) as out:
        channel.send("ready")
        for number in range(steps):
            write(out, number, simulation)
        channel.receive(120)
    channel.send("done")


def draw_all(channel: Channel, urls: list[str], rank: int, size: int) -> None:
    """Learn as one rank of several; say what was drawn."""
    with dv.OnlineDataset(urls, capacity=20, policy="firo", rank=rank, size=size) as data:
        channel.send([int(sample["v"]) for sample in data])
