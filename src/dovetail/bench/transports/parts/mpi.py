"""MPI driven by hand: messages from memory to memory, posted ahead."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from dovetail.bench.payload import payload
from dovetail.bench.transports.parts.received import check
from dovetail.bench.transports.parts.streams import STEPS_HELD
from dovetail.bench.transports.seats import Seat
from dovetail.bench.transports.worker import Actions


@contextmanager
def stream(seat: Seat, nbytes: int) -> Iterator[Actions]:
    """Steps of one array, of which each rank has a block; producers have the lower ranks."""
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    crowded = seat.layout.processes > 2 * len(os.sched_getaffinity(0))  # each side has a half
    complete: Callable[[list[Any]], object] = _yielding if crowded else MPI.Request.Waitall
    producers, consumers = seat.layout
    source = payload(nbytes)
    length = len(source)
    start, count = seat.share(length)
    if seat.side == "producer":
        own = [
            (peer, *_common(seat.block(length), Seat("consumer", peer, seat.layout).share(length)))
            for peer in range(consumers)
        ]
        begin = seat.block(length)[0]
        parts = [(producers + peer, source[a - begin : b - begin]) for peer, a, b in own if a < b]
    else:
        into = [np.zeros(count, source.dtype) for _ in range(STEPS_HELD)]
        peers = [
            (peer, *_common(Seat("producer", peer, seat.layout).block(length), (start, count)))
            for peer in range(producers)
        ]
        places = [
            [(peer, room[a - start : b - start]) for peer, a, b in peers if a < b] for room in into
        ]

    def deliver(steps: int) -> None:
        under_way: list[list[Any]] = []
        for _ in range(steps):
            if len(under_way) == STEPS_HELD:
                complete(under_way.pop(0))
            under_way.append([world.Isend(array, peer) for peer, array in parts])
        for requests in under_way:
            complete(requests)

    last = None

    def take(steps: int) -> None:
        nonlocal last
        last = into[(steps - 1) % STEPS_HELD]
        posted: list[list[Any]] = []
        for step in range(steps + STEPS_HELD):
            if len(posted) == STEPS_HELD or step >= steps:
                if not posted:
                    break
                complete(posted.pop(0))
            if step < steps:
                rooms = places[step % STEPS_HELD]
                posted.append([world.Irecv(array, peer) for peer, array in rooms])

    def ask(steps: int) -> None:
        room = np.zeros_like(source)
        peer = producers + seat.rank
        for _ in range(steps):
            answer = world.Irecv(room, peer)
            complete([world.Isend(source, peer)])
            complete([answer])

    def reply(steps: int) -> None:
        room = into[0]
        for _ in range(steps):
            complete([world.Irecv(room, seat.rank)])
            complete([world.Isend(source, seat.rank)])

    mine = (deliver, ask) if seat.side == "producer" else (take, reply)
    actions = {"delivered": mine[0]}
    if producers == consumers:
        actions["one way"] = mine[1]
    yield actions
    if seat.side == "consumer":
        check(seat, nbytes, last)


def _common(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    """Begin and end of what two ranges (start, length) have in common."""
    return max(one[0], other[0]), min(sum(one), sum(other))


def _yielding(requests: list[Any]) -> None:
    """Complete requests where there are more processes than cores: let the others run."""
    from mpi4py import MPI

    while not MPI.Request.Testall(requests):
        os.sched_yield()
