"""A store carried to another store: newer values, and what was appended to lists."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Self

from dovetail.errors import (
    CorruptDataError,
    KeyNotFoundError,
    StreamBusyError,
    TransportTimeoutError,
)
from dovetail.transport.closing import Closing
from dovetail.transport.contract import Store
from dovetail.transport.registry import open_store

AT_ONCE = 8
"""Values that are under way at once: so many times their size is held in memory."""


class ValuesCarried(NamedTuple):
    """What a relay of a store did."""

    values: int
    """Values published at the destination."""
    items: int
    """Items appended to its lists."""
    bytes: int
    """Bytes of arrays of those values."""
    refused: dict[str, str]
    """What could not be read at the source, and why."""


def relay_store(
    source: str,
    destination: str,
    *,
    prefix: str | None = "",
    lists: Sequence[str] = (),
    stop: threading.Event | None = None,
    every: float = 0.2,
    timeout: float | None = 60.0,
) -> ValuesCarried:
    """Carry a store to another, of any engine, until it is told to stop.

    A value is carried when it is newer than what was carried of its key. An item of a list is
    carried once, in order, and after the value of that name, if there is one. Nothing is deleted
    at the destination.

    How far a list was carried is known from the list at the destination, which therefore belongs
    to the relay: nobody else may append to it. So each item arrives once, though the relay be
    killed and started again. Values are carried again then: who waits for something newer may see
    the same once more.

    Parameters
    ----------
    source, destination
        URLs of stores, or bare names, as for :func:`~dovetail.open_store`.
    prefix
        Only values whose keys begin with this; ``None``: only those that are named in `lists`.
    lists
        Names of lists; a store does not tell which it has.
    stop
        Set by another thread, or a signal handler, to end it. If it is set already, what is there
        is carried once. Without it there is no end.
    every
        Seconds between two looks at the keys. What is appended to the first of `lists` is seen
        at once.
    timeout
        Deadline for servers that cannot be reached, in seconds; ``None`` tries for ever.

    Returns
    -------
    ValuesCarried

    Raises
    ------
    StreamBusyError
        A list of the destination holds something that did not come from the source.
    StoreFullError, PeerLostError, TransportTimeoutError

    Examples
    --------
    >>> import threading
    >>> import dovetail as dv
    >>> from dovetail.transport.relay import relay_store
    >>> with dv.open_store("shm://here") as here, dv.open_store("shm://there") as there:
    ...     version = here.put("u", [1.0, 2.0])
    ...     position = here.append("done", "u")
    ...     once = threading.Event()
    ...     once.set()
    ...     relay_store("shm://here", "shm://there", lists=["done"], stop=once)
    ...     there.items("done"), there.get_array("u")
    ...     here.destroy(), there.destroy()
    ValuesCarried(values=1, items=1, bytes=16, refused={})
    (['u'], array([1., 2.]))
    (None, None)
    """
    with (
        open_store(source, timeout=timeout) as here,
        open_store(destination, timeout=timeout) as there,
        StoreRelay(here, there, prefix, lists) as relay,
    ):
        relay.carry()
        while stop is None or not stop.is_set():
            relay.wait(every, stop)
            relay.carry()
        return relay.carried


class Position(NamedTuple):
    """How far a list was carried."""

    items: int
    last: list[str]
    """The item that was carried last, if there is one."""


class StoreRelay(Closing):
    """Carries what is new between two open stores, as :func:`relay_store` does.

    Parameters
    ----------
    source, destination
        They stay open when the relay is closed.
    prefix, lists
        As for :func:`relay_store`.
    """

    def __init__(
        self,
        source: Store,
        destination: Store,
        prefix: str | None = "",
        lists: Sequence[str] = (),
    ) -> None:
        self._source = source
        self._destination = destination
        self._prefix = prefix
        self._lists = list(lists)
        self._versions: dict[str, str | None] = {}
        """Of the source, by key: what was carried."""
        self._positions: dict[str, Position] = {}
        """How far lists were carried, where that is known."""
        self._under_way = ThreadPoolExecutor(AT_ONCE, "dovetail relay")
        self._lock = threading.Lock()
        self._values = self._items = self._bytes = 0
        self._refused: dict[str, str] = {}

    @property
    def carried(self) -> ValuesCarried:
        """What it has carried so far."""
        return ValuesCarried(self._values, self._items, self._bytes, dict(self._refused))

    def carry(self) -> None:
        """Carry what is new by now."""
        for name in self._lists:
            self._carry_list(name)
        if self._prefix is not None:
            self._carry_values(self._source.keys(self._prefix))

    def wait(self, seconds: float, stop: threading.Event | None = None) -> None:
        """Return after so many seconds, or when there is something to carry, or none is wanted."""
        if not self._lists:
            (stop or threading.Event()).wait(seconds)
            return
        first = self._lists[0]
        known = self._positions.get(first)
        try:
            self._source.wait_items(first, 1, seconds, known.items if known else 0)
        except TransportTimeoutError:
            pass

    def close(self) -> None:
        self._under_way.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    # --- values -----------------------------------------------------------------------------

    def _carry_values(self, keys: Sequence[str]) -> None:
        for _ in self._under_way.map(self._carry_value, keys):
            pass

    def _carry_value(self, key: str) -> None:
        """Carry a value that is newer than what was carried of its key."""
        try:
            if self._source.stat(key).version == self._versions.get(key):
                return
            value = self._source.get(key)
        except KeyNotFoundError:  # deleted meanwhile, or never there
            return
        except CorruptDataError as error:
            with self._lock:
                self._refused[key] = str(error)
            return
        self._destination.put(key, value)
        with self._lock:
            self._versions[key] = value.version
            self._refused.pop(key, None)
            self._values += 1
            self._bytes += value.nbytes

    # --- lists ------------------------------------------------------------------------------

    def _carry_list(self, name: str) -> None:
        position = self._positions.get(name) or self._position_of(name)
        count, last = position
        known = len(last)
        items = self._source.items(name, count - known)
        if items[:known] != last:
            raise StreamBusyError(
                f"the list {name!r} was removed at the source, and begun again: remove it at the "
                f"destination, too (remove_list), and start the relay again"
            )
        for item in items[known:]:
            self._carry_named(item)
            # Until it is known to be there, the destination alone can tell where we are.
            self._positions.pop(name, None)
            self._destination.append(name, item)
            count += 1
            self._positions[name] = Position(count, [item])
            self._items += 1
        self._positions.setdefault(name, position)

    def _carry_named(self, item: str) -> None:
        """The value that an item names comes first."""
        if item.startswith(self._prefix or ""):
            self._carry_value(item)

    def _position_of(self, name: str) -> Position:
        """How far a list was carried, by what is at the destination.

        Raises
        ------
        StreamBusyError
            If that is something else.
        """
        there = self._destination.items(name)
        here = self._source.items(name)[: len(there)] if there else []
        if there != here:
            raise StreamBusyError(
                f"the list {name!r} at the destination does not begin as the one at the source "
                f"does: somebody else appends to it, or it is of an earlier run. Carry it to "
                f"another place, or remove it there (remove_list)"
            )
        return Position(len(there), there[-1:])
