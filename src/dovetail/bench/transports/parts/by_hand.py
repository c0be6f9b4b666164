"""What any staging system driven by hand does, over the few operations that each of them has."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dovetail.bench.payload import payload
from dovetail.bench.transports.parts.stores import groups, share_of_files
from dovetail.bench.transports.seats import Seat
from dovetail.bench.transports.worker import Actions


class Client(Protocol):
    """One process's connection to a staging system, driven as well as Python can."""

    def put(self, key: str, array: NDArray[Any]) -> None:
        """Replace the value of a key."""
        ...

    def get(self, key: str) -> Any:
        """The bytes of a value."""
        ...

    def hand_over(self, queue: str, key: str, array: NDArray[Any]) -> None:
        """Put a value under a new key, and let whoever waits at a queue know."""
        ...

    def take(self, queue: str) -> Any:
        """Wait until a queue names a key; give its value, and remove it."""
        ...

    def put_many(self, values: Mapping[str, NDArray[Any]]) -> None:
        """Put several values, in one batch where that is faster."""
        ...


Connected = Callable[[], AbstractContextManager[Client]]


@contextmanager
def staging(seat: Seat, nbytes: int, connected: Connected) -> Iterator[Actions]:
    """As :func:`dovetail.bench.transports.parts.stores.staging`."""
    source = payload(nbytes)
    own, there, back = (f"{what}-{seat.rank}" for what in ("own", "there", "back"))
    numbers = itertools.count()
    with connected() as client:
        client.put(own, source)
        if bytes(client.get(own)) != source.tobytes():
            raise RuntimeError("what was read is not what was put")

        def put(count: int) -> None:
            for _ in range(count):
                client.put(own, source)

        def get(count: int) -> None:
            for _ in range(count):
                client.get(own)

        def hand_over(count: int) -> None:
            for number in itertools.islice(numbers, count):
                client.hand_over(there, f"{there}-{number}", source)
                client.take(back)

        def answer(count: int) -> None:
            for number in itertools.islice(numbers, count):
                client.take(there)
                client.hand_over(back, f"{back}-{number}", source)

        if seat.side == "producer":
            yield {"put": put, "handed over": hand_over}
        else:
            yield {"get": get, "handed over": answer}


@contextmanager
def gathering(seat: Seat, nbytes: int, connected: Connected) -> Iterator[Actions]:
    """As :func:`dovetail.bench.transports.parts.stores.gathering`."""
    source = payload(nbytes)
    numbers = itertools.count()
    with connected() as client:

        def produce(count: int) -> None:
            for number in itertools.islice(numbers, count):
                client.hand_over("gathered", f"{seat.rank}-{number}", source)

        def consume(count: int) -> None:
            for _ in range(count * seat.layout.producers):
                client.take("gathered")

        yield {"gathered": produce if seat.side == "producer" else consume}


@contextmanager
def loading(seat: Seat, folder: str, connected: Connected) -> Iterator[Actions]:
    """As :func:`dovetail.bench.transports.parts.stores.loading`."""
    files = share_of_files(seat, folder)
    with connected() as client:

        def load(_: int) -> None:
            for group in groups(files):
                client.put_many({path.name: np.fromfile(path, np.uint8) for path in group})

        yield {"loaded": load}
