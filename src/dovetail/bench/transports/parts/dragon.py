"""DragonHPC's distributed dictionary driven by hand, by processes of its own runtime.

At its best: picklers that hand bytes through, batches where many values go at once, a queue of
Dragon's to wait at, and an orchestrator that does not burn a core while it has nothing to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from numpy.typing import NDArray

from dovetail.bench.transports.parts import by_hand
from dovetail.bench.transports.seats import Seat
from dovetail.bench.transports.worker import Opened

PATIENCE = 60.0


class Runtime(NamedTuple):
    """What a process of a runtime is given."""

    descriptor: str
    queues: dict[str, Any]


runtime: Runtime | None = None
"""In a process of a runtime: that runtime."""


def staging(seat: Seat, nbytes: int) -> Opened:
    """Values staged in the dictionary."""
    return by_hand.staging(seat, nbytes, _connected)


def gathering(seat: Seat, nbytes: int) -> Opened:
    """Values gathered through the dictionary."""
    return by_hand.gathering(seat, nbytes, _connected)


def loading(seat: Seat, nbytes: int, folder: str) -> Opened:
    """Files loaded into the dictionary."""
    return by_hand.loading(seat, folder, _connected)


class _Client:
    def __init__(self, values: Any, queues: dict[str, Any]) -> None:
        self._values = values
        self._queues = queues

    def put(self, key: str, array: NDArray[Any]) -> None:
        self._values[key.encode()] = array.data.cast("B")

    def get(self, key: str) -> Any:
        return self._values[key.encode()]

    def hand_over(self, queue: str, key: str, array: NDArray[Any]) -> None:
        self.put(key, array)
        self._queues[queue].put(key.encode())

    def take(self, queue: str) -> Any:
        return self._values.pop(self._queues[queue].get(timeout=PATIENCE))

    def put_many(self, values: Mapping[str, NDArray[Any]]) -> None:
        self._values.start_batch_put(persist=False)
        for key, array in values.items():
            self._values[key.encode()] = array.data.cast("B")
        self._values.end_batch_put()


class _Keys:
    def dumps(self, key: bytes) -> bytes:
        return key

    def loads(self, key: bytes) -> bytes:
        return bytes(key)


class _Values:
    def dump(self, value: Any, file: Any) -> None:
        file.write(value)

    def load(self, file: Any) -> Any:
        pieces = []
        try:
            while True:
                pieces.append(file.read())
        except EOFError:
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


@contextmanager
def _connected() -> Iterator[_Client]:
    from dragon.data.ddict.ddict import DDict

    assert runtime is not None
    whole = DDict.attach(runtime.descriptor)
    try:
        with whole.pickler(_Keys(), _Values()) as values:
            yield _Client(values, runtime.queues)
    finally:
        whole.detach()
