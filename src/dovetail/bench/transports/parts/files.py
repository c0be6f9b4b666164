"""Files driven by hand: written aside, renamed into place, mapped to be read."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dovetail.bench.transports.parts import by_hand
from dovetail.bench.transports.seats import Seat
from dovetail.bench.transports.worker import Actions, Opened

_GLANCE = 20e-6
"""Seconds between two looks at a folder."""


def staging(seat: Seat, nbytes: int, store: str, mapped: bool) -> Opened:
    """Values staged in files, which are mapped or read whole."""
    return by_hand.staging(seat, nbytes, partial(_connected, store, mapped))


def gathering(seat: Seat, nbytes: int, store: str, mapped: bool) -> Opened:
    """Values gathered through files."""
    return by_hand.gathering(seat, nbytes, partial(_connected, store, mapped))


def loading(seat: Seat, nbytes: int, store: str, mapped: bool, folder: str) -> Opened:
    """Files loaded into files."""
    return by_hand.loading(seat, folder, partial(_connected, store, mapped))


@contextmanager
def reading(seat: Seat, nbytes: int, folder: str) -> Iterator[Actions]:
    """Only the files are read, and nothing is put: what loading costs at the least."""

    class Nowhere(_Client):
        def put_many(self, values: Mapping[str, NDArray[Any]]) -> None:
            pass

    @contextmanager
    def nowhere() -> Iterator[_Client]:
        yield Nowhere(folder)

    with by_hand.loading(seat, folder, nowhere) as actions:
        yield actions


class _Client:
    """A folder; a queue is a folder in it, whose files are the values that were handed over."""

    def __init__(self, folder: str, mapped: bool = True) -> None:
        self._folder, self._pid = folder, os.getpid()
        self._read = _mapped if mapped else _Reader().read
        self._waiting: dict[str, list[str]] = {}

    def put(self, key: str, array: NDArray[Any]) -> None:
        self._write(f"{self._folder}/{key}", f"{self._folder}/.{key}-{self._pid}", array)

    def get(self, key: str) -> Any:
        return self._read(f"{self._folder}/{key}")

    def hand_over(self, queue: str, key: str, array: NDArray[Any]) -> None:
        place = f"{self._folder}/queue-{queue}"
        Path(place).mkdir(exist_ok=True)
        self._write(f"{place}/{key}", f"{self._folder}/.{key}-{self._pid}", array)

    def take(self, queue: str) -> Any:
        place = f"{self._folder}/queue-{queue}"
        waiting = self._waiting.setdefault(queue, [])
        while not waiting:
            try:
                waiting += os.listdir(place)  # noqa: PTH208 - names are enough, and faster
            except FileNotFoundError:
                pass
            if not waiting:
                time.sleep(_GLANCE)
        path = f"{place}/{waiting.pop()}"
        value = self._read(path)
        os.unlink(path)  # noqa: PTH108
        return value

    def put_many(self, values: Mapping[str, NDArray[Any]]) -> None:
        for key, array in values.items():
            self.put(key, array)

    @staticmethod
    def _write(path: str, aside: str, array: NDArray[Any]) -> None:
        file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            data = array.data.cast("B")
            written = os.write(file, data)
            while written < len(data):
                written += os.write(file, data[written:])
        finally:
            os.close(file)
        os.rename(aside, path)  # noqa: PTH104


def _mapped(path: str) -> Any:
    file = os.open(path, os.O_RDONLY)
    try:
        return np.frombuffer(mmap.mmap(file, 0, prot=mmap.PROT_READ), np.uint8)
    finally:
        os.close(file)


class _Reader:
    """Reads whole files into memory that is used again."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)

    def read(self, path: str) -> Any:
        file = os.open(path, os.O_RDONLY)
        try:
            nbytes = os.fstat(file).st_size
            if len(self._memory) < nbytes:
                self._memory = np.empty(nbytes, np.uint8)
            done = 0
            while done < nbytes:
                done += os.preadv(file, [self._memory[done:nbytes].data], done)
            return self._memory[:nbytes]
        finally:
            os.close(file)


@contextmanager
def _connected(folder: str, mapped: bool) -> Iterator[_Client]:
    yield _Client(folder, mapped)
