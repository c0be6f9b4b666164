"""Looking for a newer value, at the caller's cost or within a deadline."""

from __future__ import annotations

import queue
import threading
import weakref
from typing import NamedTuple, Protocol

from dovetail.data import Dataset
from dovetail.errors import KeyNotFoundError
from dovetail.transport import Store


class Found(NamedTuple):
    """What a look into the store gave: a newer value, or an error, or nothing new."""

    value: Dataset | None = None
    error: Exception | None = None
    late: bool = False
    """The deadline passed; the look goes on, and a later one has its result."""


class Fetch(Protocol):
    """Looks for a value under one key that is newer than the one seen."""

    def __call__(self, seen: str | None) -> Found: ...


class DirectFetch:
    """For stores on this machine, which answer at once."""

    def __init__(self, store: Store, key: str) -> None:
        self._store = store
        self._key = key

    def __call__(self, seen: str | None) -> Found:
        try:
            if self._store.stat(self._key).version == seen:
                return Found()
            return Found(self._store.get(self._key))
        except KeyNotFoundError:
            return Found()
        except Exception as error:
            return Found(error=error)


class BoundedFetch:
    """For stores across a network: a thread looks, and the caller waits no longer than it said.

    While a look is late, calls do not wait for it at all.
    """

    def __init__(self, store: Store, key: str, deadline: float) -> None:
        self._deadline = deadline
        self._requests: queue.SimpleQueue[str | _Stop | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[Found] = queue.SimpleQueue()
        self._under_way = self._late = False
        # The thread holds no reference to this object, so that it ends with it.
        threading.Thread(
            target=_serve,
            args=(DirectFetch(store, key), self._requests, self._results),
            name=f"follow {key}",
            daemon=True,
        ).start()
        weakref.finalize(self, self._requests.put, _Stop())

    def __call__(self, seen: str | None) -> Found:
        if not self._under_way:
            self._requests.put(seen)
            self._under_way = True
        try:
            found = self._results.get(timeout=0.0 if self._late else self._deadline)
        except queue.Empty:
            self._late = True
            return Found(late=True)
        self._under_way = self._late = False
        return found


class _Stop:
    """The last request."""


def _serve(
    fetch: Fetch,
    requests: queue.SimpleQueue[str | _Stop | None],
    results: queue.SimpleQueue[Found],
) -> None:
    while not isinstance(seen := requests.get(), _Stop):
        results.put(fetch(seen))


def fetch_from(store: Store, key: str, deadline: float) -> Fetch:
    """The fetch that suits a store."""
    if store.capabilities.several_nodes:
        return BoundedFetch(store, key, deadline)
    return DirectFetch(store, key)
