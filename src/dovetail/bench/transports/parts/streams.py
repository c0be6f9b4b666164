"""Streams through our public interface, as a user would drive them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from numpy.typing import NDArray

import dovetail as dv
from dovetail.bench.payload import payload
from dovetail.bench.transports.parts.received import check
from dovetail.bench.transports.seats import Seat
from dovetail.bench.transports.worker import Actions

STEPS_HELD = 2
"""How many steps a stream may hold before its producer waits, ours or driven by hand."""


@contextmanager
def stream(seat: Seat, nbytes: int, there: str, back: str, mpi: bool = False) -> Iterator[Actions]:
    """Steps of one array, of which each rank has a block.

    Parameters
    ----------
    there, back
        URLs of a stream from the producers to the consumers, and of one for their answers.
    mpi
        Whether the ranks of a side share a communicator.
    """
    end = _Producer(seat, nbytes) if seat.side == "producer" else _Consumer(seat, nbytes)
    with ExitStack() as stack:
        part: dict[str, Any] = {"rank": seat.rank, "size": seat.size}
        if mpi:
            part = {"comm": stack.enter_context(_side_of(seat))}
        yield end.open(stack, part, there, back)
        check(seat, nbytes, end.received)


class _Producer:
    def __init__(self, seat: Seat, nbytes: int) -> None:
        self.received: NDArray[Any] | None = None
        self._seat = seat
        self._source = payload(nbytes)
        length = len(self._source)
        self._whole = (length * seat.layout.producers,)
        self._start = (seat.block(length)[0],)
        begin, count = seat.share(length)
        self._selection = (begin,), (count,)

    def open(self, stack: ExitStack, part: dict[str, Any], there: str, back: str) -> Actions:
        self._out = stack.enter_context(
            dv.open_stream(there, "w", policy=dv.buffered(STEPS_HELD), readers=1, **part)
        )
        if self._seat.layout.producers != self._seat.layout.consumers:
            return {"delivered": self.deliver}
        self._answers = stack.enter_context(dv.open_stream(back, "r", **_grouped(part)))
        return {"delivered": self.deliver, "one way": self.ask}

    def deliver(self, count: int) -> None:
        for _ in range(count):
            self._send()

    def ask(self, count: int) -> None:
        for _ in range(count):
            self._send()
            answer = self._answers.next_step()
            assert answer is not None
            self.received = answer.read("value", *self._selection)

    def _send(self) -> None:
        with self._out.step() as step:
            step.put("value", self._source, self._whole, self._start)


class _Consumer:
    def __init__(self, seat: Seat, nbytes: int) -> None:
        self.received: NDArray[Any] | None = None
        self._seat = seat
        self._answer = payload(nbytes)
        length = len(self._answer)
        self._whole = (length * seat.layout.consumers,)
        self._start = (seat.block(length)[0],)
        begin, count = seat.share(length)
        self._selection = (begin,), (count,)

    def open(self, stack: ExitStack, part: dict[str, Any], there: str, back: str) -> Actions:
        self._steps = stack.enter_context(dv.open_stream(there, "r", **_grouped(part)))
        if self._seat.layout.producers != self._seat.layout.consumers:
            return {"delivered": self.take}
        self._out = stack.enter_context(
            dv.open_stream(back, "w", policy=dv.buffered(STEPS_HELD), readers=1, **part)
        )
        return {"delivered": self.take, "one way": self.answer}

    def take(self, count: int) -> None:
        for _ in range(count):
            self._receive()

    def answer(self, count: int) -> None:
        for _ in range(count):
            self._receive()
            with self._out.step() as step:
                step.put("value", self._answer, self._whole, self._start)

    def _receive(self) -> None:
        step = self._steps.next_step()
        assert step is not None
        self.received = step.read("value", *self._selection)


def _grouped(part: dict[str, Any]) -> dict[str, Any]:
    """The same for readers, who say which group they form."""
    return part if "comm" in part else {**part, "group": "consumers"}


@contextmanager
def _side_of(seat: Seat) -> Iterator[Any]:
    """The communicator of the ranks of one side."""
    from mpi4py import MPI

    side = MPI.COMM_WORLD.Split(seat.side == "consumer", seat.rank)
    try:
        yield side
    finally:
        side.Free()
