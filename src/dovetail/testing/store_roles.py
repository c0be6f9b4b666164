"""What child processes do in the store contract and in fault tests."""

from __future__ import annotations

import itertools
import mmap
import os

import numpy as np

import dovetail as dv
from dovetail.testing.children import Channel
from dovetail.testing.values import sealed, unsealed


class Ledger:
    """A whole number in a file that a killed process leaves behind exactly as it was."""

    def __init__(self, path: str, slots: int = 1) -> None:
        with open(path, "a+b") as file:
            if os.fstat(file.fileno()).st_size < 8 * slots:
                file.truncate(8 * slots)
            self._map = mmap.mmap(file.fileno(), 8 * slots)
        self.slots = np.frombuffer(self._map, np.int64)

    @property
    def number(self) -> int:
        return int(self.slots[0])

    @number.setter
    def number(self, number: int) -> None:
        self.slots[0] = number


def put_for_ever(
    channel: Channel, url: str, key: str, sizes: list[int], ledger: str, first: int = 1
) -> None:
    """Publish sealed values under one key until killed; note the last one that is out."""
    out = Ledger(ledger)
    with dv.open_store(url) as store:
        channel.send("ready")
        for number in itertools.count(first):
            count = sizes[number % len(sizes)]
            if number % 3 == 0:
                room = {"payload": ((count,), "i8"), "seal": ((3,), "i8")}
                with store.reserve(key, room) as value:
                    for name, array in sealed(number, count).items():
                        value[name][...] = array
            else:
                store.put(key, sealed(number, count))
            out.number = number


def get_for_ever(channel: Channel, url: str, key: str) -> None:
    """Read and check one key until killed, always holding the last few values."""
    held: list[tuple[int, dv.Dataset]] = []
    with dv.open_store(url) as store:
        channel.send("ready")
        while True:
            value = store.get(key)
            held.append((unsealed(value), value))
            if len(held) > 3:
                number, oldest = held.pop(0)
                if unsealed(oldest) != number:
                    raise AssertionError(f"value {number} changed in hand")


def get_until_told(channel: Channel, url: str, key: str) -> None:
    """Read and check one key until a message comes; answer with the number of reads."""
    reads = 0
    newest = 0
    with dv.open_store(url) as store:
        channel.send("ready")
        while not channel.waiting():
            number = unsealed(store.get(key))
            if number < newest:
                raise AssertionError(f"saw {number} after {newest}")
            newest = number
            reads += 1
    channel.send(reads)


def put_some(channel: Channel, url: str, key: str, numbers: list[int], count: int) -> None:
    """Publish the sealed numbers, in order, once told to begin."""
    with dv.open_store(url) as store:
        channel.send("ready")
        channel.receive()
        for number in numbers:
            store.put(key, sealed(number, count))
    channel.send("done")


def contend(channel: Channel, url: str, key: str, me: int, rounds: int, count: int) -> None:
    """Put, get and check one key that many processes contend for."""
    with dv.open_store(url) as store:
        channel.send("ready")
        channel.receive()
        for turn in range(rounds):
            store.put(key, sealed(me * rounds + turn, count))
            unsealed(store.get(key))
            store.append("all", f"{me}-{turn}")
    channel.send("done")


def answer_waits(channel: Channel, url: str, rounds: int) -> None:
    """Answer every new ``ping`` with a ``pong`` of the same number."""
    with dv.open_store(url) as store:
        channel.send("ready")
        version = None
        for number in range(rounds):
            value = store.wait("ping", 60, newer_than=version)
            version = value.version
            assert unsealed(value) == number
            store.put("pong", sealed(number, 10))


def rename_along(channel: Channel, url: str, names: int) -> None:
    """Move one value from name 0 to name 1 to name 2, and so on."""
    with dv.open_store(url) as store:
        channel.send("ready")
        channel.receive()
        for number in range(names - 1):
            store.rename(f"n{number}", f"n{number + 1}")
    channel.send("done")


def hold(channel: Channel, url: str, key: str) -> None:
    """Take a value in hand, and check it when told to."""
    with dv.open_store(url) as store:
        value = store.get(key)
        channel.send(unsealed(value))
        channel.receive()
        channel.send(unsealed(value))


def report_what_is_there(channel: Channel, url: str) -> None:
    """Send every key with the number of its sealed value."""
    with dv.open_store(url) as store:
        channel.send({key: unsealed(store.get(key)) for key in store.keys()})
