"""Stores through our public interface, as a user would drive them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import dovetail as dv
from dovetail.bench.payload import payload
from dovetail.bench.transports.seats import Seat
from dovetail.bench.transports.worker import Actions

PATIENCE = 60.0
FILES_AT_ONCE = 100
"""How many files a process of the pool reads before it puts them."""


@contextmanager
def staging(seat: Seat, nbytes: int, url: str) -> Iterator[Actions]:
    """Each producer and each consumer has a key of its own; those of one rank belong together."""
    source = payload(nbytes)
    own, there, back = (f"{what}-{seat.rank}" for what in ("own", "there", "back"))
    with dv.open_store(url) as store:
        store.put(own, source)
        seen: str | None = None

        def put(count: int) -> None:
            for _ in range(count):
                store.put(own, source)

        def get(count: int) -> None:
            for _ in range(count):
                store.get(own)["value"]

        def hand_over(count: int) -> None:
            for _ in range(count):
                store.put(there, source)
                take(back)

        def answer(count: int) -> None:
            for _ in range(count):
                take(there)
                store.put(back, source)

        def take(key: str) -> None:
            nonlocal seen
            value = store.wait(key, PATIENCE, newer_than=seen)
            value["value"]
            seen = value.version

        if seat.side == "producer":
            yield {"put": put, "handed over": hand_over}
        else:
            yield {"get": get, "handed over": answer}


@contextmanager
def gathering(seat: Seat, nbytes: int, url: str) -> Iterator[Actions]:
    """Producers put values under ever new keys; a consumer takes them in order of arrival."""
    source = payload(nbytes)
    with dv.open_store(url) as store:
        numbers = itertools.count()
        position = 0

        def produce(count: int) -> None:
            for number in itertools.islice(numbers, count):
                key = f"{seat.rank}/{number}"
                store.put(key, source)
                store.append("gathered", key)

        def consume(count: int) -> None:
            nonlocal position
            end = position + count * seat.layout.producers
            while position < end:
                for key in store.wait_items("gathered", 1, PATIENCE, start=position):
                    store.get(key)["value"]
                    store.delete(key)
                    position += 1

        yield {"gathered": produce if seat.side == "producer" else consume}


@contextmanager
def loading(seat: Seat, nbytes: int, url: str, folder: str) -> Iterator[Actions]:
    """Each process of a pool loads its share of the files of a folder."""
    files = share_of_files(seat, folder)
    with dv.open_store(url) as store:

        def load(_: int) -> None:
            for group in groups(files):
                store.put_many({path.name: np.fromfile(path, np.uint8) for path in group})

        yield {"loaded": load}


def share_of_files(seat: Seat, folder: str) -> list[Path]:
    """The files that one process of a pool loads."""
    return sorted(Path(folder).iterdir())[seat.rank :: seat.size]


def groups(files: Sequence[Path]) -> Iterator[Sequence[Path]]:
    """Files as they are put at once."""
    for begin in range(0, len(files), FILES_AT_ONCE):
        yield files[begin : begin + FILES_AT_ONCE]
