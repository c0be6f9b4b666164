"""ADIOS2 driven by hand through its own interface, as its experts would.

One stream a writer rank, since the package on PyPI is built without MPI: each rank declares the
whole array and its part of it, and each reader opens the streams that hold something of its share.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dovetail.bench.payload import payload
from dovetail.bench.transports.parts.received import check
from dovetail.bench.transports.seats import Seat
from dovetail.bench.transports.worker import Actions
from dovetail.transport.engines.adios.library import bindings

PATIENCE = 60.0
FIRST_CALLS = 4
"""So many calls of an operation warm it up, at the least."""


@contextmanager
def stream(
    seat: Seat,
    nbytes: int,
    there: str,
    back: str,
    engine: str,
    writer: Mapping[str, str],
    reader: Mapping[str, str],
    no_delay: bool = False,
) -> Iterator[Actions]:
    """Steps of one array, of which each rank has a block.

    Parameters
    ----------
    there, back
        Paths: of the streams to the consumers, and of those back.
    engine
        ``SST`` or ``BP5``.
    writer, reader
        Parameters of ADIOS2 for either end.
    no_delay
        Turn off Nagle's algorithm on the connections of this process, which SST means to.
    """
    layout = seat.layout
    both_ways = layout.producers == layout.consumers
    with ExitStack() as stack:
        if seat.side == "producer":
            out = _Writer(there, seat, nbytes, engine, writer)
            stack.callback(out.close)
            answers = None
            if both_ways:
                answers = _Reader(back, seat, nbytes, engine, reader)
                stack.callback(answers.close)
        else:
            steps = _Reader(there, seat, nbytes, engine, reader)
            stack.callback(steps.close)
            if both_ways:
                out = _Writer(back, seat, nbytes, engine, writer)
                stack.pop_all()
                # Closing a writer waits until its readers have closed.
                stack.callback(out.close)
                stack.callback(steps.close)

        def at_once(action: Any) -> Any:
            """SST makes connections as it goes: look again after each of the first calls."""
            calls = 0

            def played(count: int) -> None:
                nonlocal calls
                action(count)
                if no_delay and calls < FIRST_CALLS:
                    calls += 1
                    _send_at_once()

            return played

        def deliver(count: int) -> None:
            for _ in range(count):
                out.send()

        def take(count: int) -> None:
            for _ in range(count):
                steps.receive()

        def ask(count: int) -> None:
            assert answers is not None
            for _ in range(count):
                out.send()
                answers.receive()

        def answer(count: int) -> None:
            for _ in range(count):
                steps.receive()
                out.send()

        mine = (deliver, ask) if seat.side == "producer" else (take, answer)
        names = ("delivered", "one way") if both_ways else ("delivered",)
        if no_delay:
            _send_at_once()
        yield {name: at_once(action) for name, action in zip(names, mine, strict=False)}
        if seat.side == "consumer":
            check(seat, nbytes, steps.into if steps.filled else None)


class _Writer:
    def __init__(
        self, path: str, seat: Seat, nbytes: int, engine: str, parameters: Mapping[str, str]
    ) -> None:
        library = bindings()
        self._source = payload(nbytes)
        length = len(self._source)
        start, count = seat.block(length)
        self._adios = library.ADIOS()
        self._io = self._adios.DeclareIO("bench")
        self._io.SetEngine(engine)
        self._io.SetParameters(dict(parameters))
        self._variable = self._io.DefineVariable(
            "value", self._source, [length * seat.size], [start], [count], True
        )
        self._engine = self._io.Open(f"{path}-{seat.rank}.bp", library.Mode.Write)
        self._engine.LockWriterDefinitions()
        self._deferred = library.Mode.Deferred

    def send(self) -> None:
        self._engine.BeginStep()
        self._engine.Put(self._variable, self._source, self._deferred)
        self._engine.EndStep()

    def close(self) -> None:
        self._engine.Close()


class _Reader:
    def __init__(
        self, path: str, seat: Seat, nbytes: int, engine: str, parameters: Mapping[str, str]
    ) -> None:
        library = bindings()
        dtype = payload(nbytes).dtype
        length = nbytes // dtype.itemsize
        start, count = seat.share(length)
        self.into = np.zeros(count, dtype)
        self.filled = False
        self._adios = library.ADIOS()
        self._ok, self._deferred = library.StepStatus.OK, library.Mode.Deferred
        self._read = library.StepMode.Read
        self._sources: list[_Source] = []
        for rank in range(start // length, -(-(start + count) // length)):
            io = self._adios.DeclareIO(f"bench-{rank}")
            io.SetEngine(engine)
            io.SetParameters(dict(parameters))
            opened = io.Open(f"{path}-{rank}.bp", library.Mode.Read)
            begin, end = max(start, rank * length), min(start + count, (rank + 1) * length)
            part = self.into[begin - start : end - start]
            self._sources.append(_Source(io, opened, begin, part))

    def receive(self) -> None:
        for source in self._sources:
            if source.engine.BeginStep(self._read, PATIENCE) != self._ok:
                raise RuntimeError("ADIOS2 had no step for this reader")
            variable = source.io.InquireVariable("value")
            variable.SetSelection(([source.start], [len(source.into)]))
            source.engine.Get(variable, source.into, self._deferred)
        for source in self._sources:
            source.engine.PerformGets()
            source.engine.EndStep()
        self.filled = True

    def close(self) -> None:
        for source in self._sources:
            source.engine.Close()


class _Source:
    """One stream that a reader reads, and where what it gives is to lie."""

    def __init__(self, io: Any, engine: Any, start: int, into: NDArray[Any]) -> None:
        self.io, self.engine, self.start, self.into = io, engine, start, into


def _send_at_once() -> None:
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if entry.readlink().name.startswith("socket:"):
                with socket.socket(fileno=os.dup(int(entry.name))) as connection:
                    if connection.family == socket.AF_INET:
                        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
