"""The limit: copying into memory that has been touched before, within one process."""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dovetail.bench.measure import Operation
from dovetail.bench.payload import STEPS_HELD, payload
from dovetail.bench.peers.contract import Scene


class Memcpy:
    """``copyto`` is NumPy's copy, ``memmove`` the C library's, through ctypes.

    Both go round over as many targets as the engine goes round over blocks (a put fills one
    while the value before still stands; a stream has a ring), so that neither side has more of
    its targets in the caches than the other. ``one target`` stays in one place. ``shared`` goes
    into shared memory, whose pages the kernel keeps small where NumPy's are huge: the limit that
    remains for anything that ends in shared memory.
    """

    name = "memcpy"

    def missing(self) -> str | None:
        return None

    def store(self, nbytes: int) -> Scene:
        return _copies(nbytes, 2)

    def stream(self, nbytes: int, core: int | None) -> Scene:
        return _copies(nbytes, STEPS_HELD + 1)


@contextmanager
def _copies(nbytes: int, number: int) -> Iterator[Mapping[str, Operation]]:
    source = payload(nbytes)
    targets = [np.zeros_like(source) for _ in range(number)]
    shared_targets = [_shared_like(source) for _ in range(number)]
    begin = source.ctypes.data
    addresses = [target.ctypes.data for target in targets]

    def into(arrays: list[NDArray[Any]], count: int) -> float:
        copy = np.copyto
        rounds = itertools.cycle(arrays)
        started = time.perf_counter()
        for target in itertools.islice(rounds, count):
            copy(target, source)
        return time.perf_counter() - started

    def memmove(count: int) -> float:
        copy = ctypes.memmove
        rounds = itertools.cycle(addresses)
        started = time.perf_counter()
        for address in itertools.islice(rounds, count):
            copy(address, begin, nbytes)
        return time.perf_counter() - started

    yield {
        "copyto": lambda count: into(targets, count),
        "memmove": memmove,
        "one target": lambda count: into(targets[:1], count),
        "shared": lambda count: into(shared_targets, count),
    }


def _shared_like(source: NDArray[Any]) -> NDArray[Any]:
    """Touched shared memory that goes away with the array."""
    file = os.memfd_create("dovetail-bench")
    try:
        os.truncate(file, source.nbytes)
        mapping = mmap.mmap(file, source.nbytes)
    finally:
        os.close(file)
    array = np.frombuffer(mapping, source.dtype)
    array[:] = 0
    return array
