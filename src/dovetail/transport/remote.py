"""The half of a Store that is the same wherever values are kept as bytes by somebody else.

An engine derives its store from :class:`RemoteStore` and says how bytes are written, read,
listed and watched; keys, values, waits, versions, statistics and trace events are done here.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from numpy.typing import NDArray

from dovetail import observe
from dovetail.data import Attributes, Dataset, Value
from dovetail.data.layout import Header, Piece, variables_of
from dovetail.errors import KeyNotFoundError, TransportClosedError, TransportTimeoutError
from dovetail.transport.closing import Closing
from dovetail.transport.contract import (
    Capabilities,
    Specification,
    Store,
    StoreStatistics,
    ValueStat,
)
from dovetail.transport.deadlines import Deadline
from dovetail.transport.scope import ScopedStore
from dovetail.transport.values import (
    Encoded,
    PrivateReservation,
    array_of,
    bytes_of_header,
    check_key,
    encode,
    encode_pieces,
    read_header,
    read_value,
    time_of_version,
)

LONGEST_SLEEP = 0.5
"""Seconds after which a wait looks again, even if nothing woke it."""

T = TypeVar("T")


class Head(NamedTuple):
    """The beginning of a stored value."""

    prefix: Any
    """At least its length and header: a buffer."""
    nbytes: int
    """Bytes of the whole value."""


class Held(NamedTuple):
    """What a store holds, as far as the engine can tell; 0 where it cannot."""

    nbytes: int
    capacity: int


class Watch(Protocol):
    """Eyes on one key or list, open since before anybody looked."""

    def wait(self, seconds: float) -> None:
        """Return when something changed since the last call, or after `seconds` at the latest.

        To return early for no reason is harmless.
        """
        ...


class RemoteStore(Closing, ABC):
    """A store whose values are bytes under keys, kept by something else.

    Parameters
    ----------
    url
        What opens this store again.
    label
        How errors and traces name it: the URL without anything secret.
    """

    small_block = 0
    """Bytes up to which a block of a stream is better kept inside an item of a list; 0: none is."""

    def __init__(self, url: str, label: str, capabilities: Capabilities) -> None:
        self._url = url
        self._label = label
        self._capabilities = capabilities
        self._open = True
        self._counters = _Counters()

    # --- what an engine provides ------------------------------------------------------------

    @abstractmethod
    def _write(self, key: str, value: Encoded) -> None:
        """Publish a value atomically, replacing what was there. Raises StoreFullError."""

    @abstractmethod
    def _read(self, key: str) -> Any | None:
        """The bytes of a value, in a buffer that nobody else will change; None if absent."""

    @abstractmethod
    def _read_head(self, key: str) -> Head | None:
        """The beginning of a value, its whole header at least; None if absent."""

    @abstractmethod
    def _remove(self, key: str) -> bool:
        """Remove a value; whether there was one."""

    @abstractmethod
    def _move(self, key: str, new_key: str) -> bool:
        """Rename a value, replacing what was there; whether there was one.

        The two differ.
        """

    @abstractmethod
    def _list_keys(self, prefix: str) -> Iterable[str]:
        """The keys that begin with `prefix`, in any order."""

    @abstractmethod
    def _append(self, list_name: str, item: str) -> int:
        """Add an item to a list, once; its position."""

    def _append_and_read(
        self, list_name: str, item: str, start: int
    ) -> tuple[int, list[str] | None]:
        """Add an item to a list, once; its position, and the items from `start` up to it.

        None instead of them where they would have to be asked for.
        """
        return self._append(list_name, item), None

    def _write_and_append(
        self, key: str, value: Encoded, list_name: str, item: str, start: int
    ) -> tuple[int, list[str] | None]:
        """Publish a value, then add an item; not without the value."""
        self._write(key, value)
        return self._append_and_read(list_name, item, start)

    @abstractmethod
    def _items(self, list_name: str, start: int) -> list[str]:
        """The items of a list from `start` on."""

    @abstractmethod
    def _remove_list(self, list_name: str) -> None:
        """Forget a list."""

    @abstractmethod
    def _watch_key(self, key: str) -> AbstractContextManager[Watch]:
        """Be told when a key may have changed."""

    def _watch_list(self, list_name: str) -> AbstractContextManager[Watch]:
        """Be told when a list may have grown. Not needed where `_wait_items` is replaced."""
        raise NotImplementedError

    @abstractmethod
    def _held(self) -> Held:
        """Bytes held by the whole store, and the most that it may hold."""

    @abstractmethod
    def _destroy(self) -> None:
        """Remove everything of this store."""

    def _write_many(self, values: Sequence[tuple[str, Encoded]]) -> None:
        """Publish several values, each atomically, in order."""
        for key, value in values:
            self._write(key, value)

    def _read_many(self, keys: Sequence[str]) -> list[Any | None]:
        """Several values at once."""
        return [self._read(key) for key in keys]

    def _exists(self, key: str) -> bool:
        """Whether there is a value."""
        return self._read_head(key) is not None

    def _wait_items(self, list_name: str, count: int, start: int, deadline: Deadline) -> list[str]:
        """The items from `start` on, once there are `count`; those there are, at the deadline."""
        found: list[str] = []

        def look() -> list[str] | None:
            found.extend(self._items(list_name, start + len(found)))
            return found if len(found) >= count else None

        self._wait_for(look, lambda: self._watch_list(list_name), deadline)
        return found

    def _disconnect(self) -> None:
        """Give back what this handle holds."""

    # --- the Store --------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return self._url

    @property
    def path(self) -> Path | None:
        return None

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def put(self, key: str, value: Value, attrs: Attributes | None = None) -> str:
        self._check(key)
        encoded = encode(value, attrs)
        self._publish(key, encoded)
        return encoded.version

    def reserve(
        self, key: str, specification: Specification, attrs: Attributes | None = None
    ) -> PrivateReservation:
        self._check(key)
        return PrivateReservation(specification, attrs, lambda encoded: self._publish(key, encoded))

    def _publish(self, key: str, encoded: Encoded) -> None:
        self._check(key)
        with self._timed(observe.PUT, key) as counted:
            self._write(key, encoded)
            counted.puts = 1
            counted.nbytes = encoded.data_nbytes

    def get(self, key: str) -> Dataset:
        self._check(key)
        with self._timed(observe.GET, key) as counted:
            dataset = self._value(key, self._read(key))
            counted.gets = 1
            counted.nbytes = dataset.nbytes
        return dataset

    def get_array(self, key: str, out: NDArray[Any] | None = None) -> NDArray[Any]:
        return array_of(self.get(key), key, out)

    def wait(self, key: str, timeout: float | None, newer_than: str | None = None) -> Dataset:
        self._check(key)

        def look() -> Dataset | None:
            if newer_than is not None and self._version(key) in (None, newer_than):
                return None
            buffer = self._read(key)
            if buffer is None:
                return None
            dataset = self._value(key, buffer)
            return None if dataset.version == newer_than else dataset

        with self._timed(observe.WAIT, key) as counted:
            found = self._wait_for(look, lambda: self._watch_key(key), Deadline(timeout))
            if found is None:
                raise TransportTimeoutError(
                    f"no {'newer ' if newer_than else ''}value of {key!r} in {self._label} within "
                    f"{timeout:g} s: is its producer running, and does it use this store?"
                )
            counted.gets = 1
            counted.nbytes = found.nbytes
        return found

    def put_block_and_append(
        self,
        key: str,
        pieces: Sequence[Piece],
        metadata: dict[str, str],
        list_name: str,
        item: str,
        start: int,
    ) -> tuple[int, list[str] | None]:
        """Publish a value from what it is made of, then do as `append_and_read` does."""
        self._check(key, list_name, item)
        return self._write_and_append(key, encode_pieces(pieces, metadata), list_name, item, start)

    def append_and_read(
        self, list_name: str, item: str, start: int
    ) -> tuple[int, list[str] | None]:
        """Add an item to a list, and say those from `start` up to it if that costs nothing."""
        self._check(list_name, item)
        return self._append_and_read(list_name, item, start)

    def get_block(self, key: str) -> tuple[Any, Header, str]:
        """A value's bytes, its header and its version token."""
        self._check(key)
        buffer = self._read(key)
        if buffer is None:
            raise self._absent(key)
        block = memoryview(buffer).toreadonly()
        return block, *read_header(block, block.nbytes, self._named(key))

    def exists(self, key: str) -> bool:
        self._check(key)
        return self._exists(key)

    def delete(self, key: str) -> None:
        self._check(key)
        if not self._remove(key):
            raise self._absent(key)

    def rename(self, key: str, new_key: str) -> None:
        self._check(key, new_key)
        moved = self._exists(key) if key == new_key else self._move(key, new_key)
        if not moved:
            raise self._absent(key)

    def keys(self, prefix: str = "") -> list[str]:
        self._check()
        return sorted(self._list_keys(prefix))

    def stat(self, key: str) -> ValueStat:
        self._check(key)
        head = self._read_head(key)
        if head is None:
            raise self._absent(key)
        header, version = read_header(head.prefix, head.nbytes, self._named(key))
        variables = tuple(variables_of(header).values())
        return ValueStat(key, version, head.nbytes, time_of_version(version), variables)

    def put_many(self, values: Mapping[str, Value]) -> None:
        self._check(*values)
        encoded = [(key, encode(value, None)) for key, value in values.items()]
        with self._timed(observe.PUT, f"{len(encoded)} values") as counted:
            self._write_many(encoded)
            counted.puts = len(encoded)
            counted.nbytes = sum(value.data_nbytes for _, value in encoded)

    def get_many(self, keys: Iterable[str]) -> dict[str, Dataset]:
        wanted = list(keys)
        self._check(*wanted)
        with self._timed(observe.GET, f"{len(wanted)} values") as counted:
            found = {
                key: self._value(key, buffer)
                for key, buffer in zip(wanted, self._read_many(wanted), strict=True)
            }
            counted.gets = len(found)
            counted.nbytes = sum(dataset.nbytes for dataset in found.values())
        return found

    def append(self, list_name: str, key: str) -> int:
        self._check(list_name, key)
        return self._append(list_name, key)

    def items(self, list_name: str, start: int = 0) -> list[str]:
        self._check(list_name)
        return self._items(list_name, start)

    def wait_items(
        self, list_name: str, count: int, timeout: float | None, start: int = 0
    ) -> list[str]:
        self._check(list_name)
        with self._timed(observe.WAIT, list_name):
            found = self._wait_items(list_name, count, start, Deadline(timeout))
            if len(found) < count:
                raise TransportTimeoutError(
                    f"the list {list_name!r} in {self._label} held {len(found)} of {count} items "
                    f"from position {start} on after {timeout:g} s"
                )
        return found

    def remove_list(self, list_name: str) -> None:
        self._check(list_name)
        self._remove_list(list_name)

    def scope(self, prefix: str) -> Store:
        return ScopedStore(self, prefix)

    def statistics(self) -> StoreStatistics:
        held = self._held()
        return self._counters.taken(held)

    def flush(self) -> None:
        self._check()

    def close(self) -> None:
        if self._open:
            self._open = False
            self._disconnect()

    def destroy(self) -> None:
        self._check()
        self._destroy()
        self.close()

    # --- what they share --------------------------------------------------------------------

    def _check(self, *keys: Any) -> None:
        if not self._open:
            raise TransportClosedError(f"the store {self._label} is closed; open it again")
        check_key(*keys)

    def _named(self, key: str) -> str:
        return f"the value of {key[:200]!r} in {self._label}"

    def _absent(self, key: str) -> KeyNotFoundError:
        return KeyNotFoundError(f"there is no value {key!r} in {self._label}")

    def _value(self, key: str, buffer: Any | None) -> Dataset:
        if buffer is None:
            raise self._absent(key)
        return read_value(buffer, self._named(key))

    def _version(self, key: str) -> str | None:
        head = self._read_head(key)
        if head is None:
            return None
        return read_header(head.prefix, head.nbytes, self._named(key))[1]

    def _wait_for(
        self,
        look: Callable[[], T | None],
        watch: Callable[[], AbstractContextManager[Watch]],
        deadline: Deadline,
    ) -> T | None:
        """What `look` finds, looked for whenever the watch is woken; None at the deadline."""
        found = look()
        if found is not None or deadline.passed:
            return found
        started = time.perf_counter_ns()
        try:
            with watch() as watched:
                while (found := look()) is None and not deadline.passed:
                    watched.wait(min(deadline.left(), LONGEST_SLEEP))
                    self._check()
                return found
        finally:
            self._counters.add(ns_waited=time.perf_counter_ns() - started)

    @contextmanager
    def _timed(self, kind: int, name: str) -> Iterator[_Counted]:
        """Count and trace one operation, failed ones too."""
        counted = _Counted()
        began = time.time_ns() if observe.recording else 0
        started = time.perf_counter_ns()
        try:
            yield counted
        finally:
            took = time.perf_counter_ns() - started
            self._counters.add(
                puts=counted.puts,
                gets=counted.gets,
                bytes_put=counted.nbytes if kind == observe.PUT else 0,
                bytes_got=0 if kind == observe.PUT else counted.nbytes,
                ns_put=took if kind == observe.PUT else 0,
                ns_got=took if kind == observe.GET else 0,
            )
            if began:
                waited = took if kind == observe.WAIT else 0
                observe.record(kind, name, began, began + took, counted.nbytes, waited)

    def __repr__(self) -> str:
        return f"<Store {self._label}{'' if self._open else ' (closed)'}>"


class _Counted:
    """What one operation moved."""

    puts = 0
    gets = 0
    nbytes = 0


class _Counters:
    """What a handle did, counted from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = dict.fromkeys(
            ("puts", "gets", "bytes_put", "bytes_got", "ns_put", "ns_got", "ns_waited"), 0
        )

    def add(self, **numbers: int) -> None:
        with self._lock:
            for name, number in numbers.items():
                self._numbers[name] += number

    def taken(self, held: Held) -> StoreStatistics:
        with self._lock:
            numbers = dict(self._numbers)
        return StoreStatistics(
            puts=numbers["puts"],
            gets=numbers["gets"],
            bytes_put=numbers["bytes_put"],
            bytes_got=numbers["bytes_got"],
            seconds_put=numbers["ns_put"] * 1e-9,
            seconds_got=numbers["ns_got"] * 1e-9,
            seconds_waited=numbers["ns_waited"] * 1e-9,
            blocks_recycled=0,
            bytes_held=held.nbytes,
            capacity=held.capacity,
        )


__all__ = ["Head", "Held", "RemoteStore", "Watch", "bytes_of_header"]
