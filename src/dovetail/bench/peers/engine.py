"""One of our own engines, driven through the public interface as a user would."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

import dovetail as dv
from dovetail.bench.measure import Operation
from dovetail.bench.partner import Control, expect, partner
from dovetail.bench.payload import STEPS_HELD, payload, read_every_byte
from dovetail.errors import DovetailError

_numbers = itertools.count()
SIMULATED_STEP = 5e-3
OBSERVED_STEPS = 10
"""Seconds that a step of the simulated solver takes, in the operation ``observed``."""


class EnginePeer:
    """The engine behind a URL scheme that takes a name as its location.

    Operations of its own: ``reserve`` (room for a value, published without being filled),
    ``reserve+fill``, ``in place`` (steps filled in place by one copy), and ``observed`` (time
    inside stream calls of a solver that computes for 5 ms a step).
    """

    def __init__(self, scheme: str) -> None:
        self.name = scheme

    def missing(self) -> str | None:
        from dovetail.transport import registry

        for engine in registry.engines():
            if engine.scheme == self.name:
                return None if engine.available else engine.detail
        return f"no engine for {self.name}://"

    def _url(self, nbytes: int) -> str:
        capacity = 16 * nbytes + (64 << 20)
        return f"{self.name}://bench-{os.getpid()}-{next(_numbers)}?capacity={capacity}"

    @contextmanager
    def store(self, nbytes: int) -> Iterator[Mapping[str, Operation]]:
        source = payload(nbytes)
        room = {"value": (source.shape, source.dtype)}
        with dv.open_store(self._url(nbytes)) as store:
            store.put("key", source)

            def put(count: int) -> float:
                started = time.perf_counter()
                for _ in range(count):
                    store.put("key", source)
                return time.perf_counter() - started

            def get(count: int) -> float:
                started = time.perf_counter()
                for _ in range(count):
                    store.get("key")["value"]
                return time.perf_counter() - started

            def put_get(count: int) -> float:
                started = time.perf_counter()
                for _ in range(count):
                    store.put("key", source)
                    store.get("key")["value"]
                return time.perf_counter() - started

            def reserve(count: int) -> float:
                started = time.perf_counter()
                for _ in range(count):
                    with store.reserve("key", room) as values:
                        values["value"]
                return time.perf_counter() - started

            def reserve_fill(count: int) -> float:
                started = time.perf_counter()
                for _ in range(count):
                    with store.reserve("key", room) as values:
                        np.copyto(values["value"], source)
                return time.perf_counter() - started

            try:
                yield {
                    "put": put,
                    "get": get,
                    "put+get": put_get,
                    "reserve": reserve,
                    "reserve+fill": reserve_fill,
                }
            finally:
                store.destroy()

    @contextmanager
    def stream(self, nbytes: int, core: int | None) -> Iterator[Mapping[str, Operation]]:
        source = payload(nbytes)
        there, back = self._url(nbytes), self._url(nbytes)
        try:
            with (
                partner(_answer, there, back, nbytes, core=core) as control,
                dv.open_stream(there, "w", policy=dv.buffered(STEPS_HELD)) as out,
                dv.open_stream(back, "r") as answers,
            ):
                expect(control, "ready")

                def one_way(count: int) -> float:
                    control.send(("echo", count))
                    expect(control, "ready")
                    started = time.perf_counter()
                    for _ in range(count):
                        with out.step() as step:
                            step.put("value", source)
                        answer = answers.next_step()
                        assert answer is not None
                        answer["value"]
                    return (time.perf_counter() - started) / 2

                def send(work: str, count: int) -> float:
                    control.send((work, count))
                    expect(control, "ready")
                    started = time.perf_counter()
                    for _ in range(count):
                        with out.step() as step:
                            step.put("value", source)
                    expect(control, "done")
                    return time.perf_counter() - started

                def in_place(count: int) -> float:
                    control.send(("take", count))
                    expect(control, "ready")
                    started = time.perf_counter()
                    for _ in range(count):
                        with out.step() as step:
                            np.copyto(step.empty("value", source.shape, source.dtype), source)
                    expect(control, "done")
                    return time.perf_counter() - started

                def observed(count: int) -> float:
                    # What is measured is a small part of what it takes: few steps stand for many.
                    steps = min(count, OBSERVED_STEPS)
                    control.send(("take", steps))
                    expect(control, "ready")
                    before = out.statistics().seconds_in_calls
                    for _ in range(steps):
                        _compute(SIMULATED_STEP)
                        with out.step() as step:
                            step.put("value", source)
                    expect(control, "done")
                    return (out.statistics().seconds_in_calls - before) * count / steps

                yield {
                    "one way": one_way,
                    "delivered": lambda count: send("take", count),
                    "summed": lambda count: send("sum", count),
                    "in place": in_place,
                    "observed": observed,
                }
        finally:
            for url in (there, back):
                _destroy(url)


def _compute(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def _destroy(url: str) -> None:
    try:
        dv.destroy_stream(url)
    except DovetailError:
        return


def _answer(control: Control, there: str, back: str, nbytes: int) -> None:
    answer: Any = payload(nbytes)
    with (
        dv.open_stream(there, "r") as steps,
        dv.open_stream(back, "w", policy=dv.buffered(STEPS_HELD)) as out,
    ):
        control.send("ready")
        while (order := control.recv()) is not None:
            work, count = order
            control.send("ready")
            for _ in range(count):
                step = steps.next_step()
                if step is None:
                    return
                array = step["value"]
                if work == "echo":
                    with out.step() as reply:
                        reply.put("value", answer)
                elif work == "sum":
                    read_every_byte(array)
                del array
            if work != "echo":
                control.send("done")
