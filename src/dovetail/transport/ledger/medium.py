"""What a stream's participants meet on: a log, blocks, and signs of life.

:class:`StoreMedium` makes one of any store. An engine that moves blocks in another way gives a
:class:`Medium` of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from dovetail.data.layout import Header, Piece
from dovetail.errors import KeyNotFoundError, TransportTimeoutError
from dovetail.transport.contract import Store
from dovetail.transport.ledger.heartbeats import Heartbeats


class Lifeline(Protocol):
    """A sign of life, given until it is closed or its process dies."""

    def close(self) -> None: ...


class Lifelines(Protocol):
    """Signs of life of all participants."""

    def lifeline(self, name: str) -> Lifeline:
        """Give signs of life under a name from now on; a forked child does not."""
        ...

    def alive(self, names: Collection[str]) -> Collection[str]:
        """Those of `names` that give signs of life."""
        ...


class Block(NamedTuple):
    """What one writer rank put into one step."""

    memory: Any
    header: Header


class Appended(NamedTuple):
    """What came of an entry."""

    position: int
    entries: list[str] | None
    """Those from where the caller wanted them up to its own; None if the engine did not say."""


class Head(NamedTuple):
    """Which log is the present one, and the state that it goes on from."""

    log: int
    oldest: int
    """The first log that may not have been removed yet."""
    state: Mapping[str, Any] | None


@runtime_checkable
class BlockStore(Store, Protocol):
    """A store that also takes and gives values as they lie, and does in one go what it can."""

    small_block: int
    """Bytes up to which a block is better kept inside an item of a list; 0: none is."""

    def append_and_read(
        self, list_name: str, item: str, start: int
    ) -> tuple[int, list[str] | None]:
        """Add an item to a list, as ``append`` does.

        Returns
        -------
        int
            Its position.
        list or None
            The items from `start` up to it, where that costs nothing more; else None.
        """
        ...

    def put_block_and_append(
        self,
        key: str,
        pieces: Sequence[Piece],
        metadata: dict[str, str],
        list_name: str,
        item: str,
        start: int,
    ) -> tuple[int, list[str] | None]:
        """Publish a value from what it is made of, then do as `append_and_read` does.

        If the value is refused, the item is not added.
        """
        ...

    def get_block(self, key: str) -> tuple[Any, Header, str]:
        """A value's bytes, its header and its version token. Raises KeyNotFoundError."""
        ...


class Medium(Protocol):
    """What the participants of one stream share."""

    label: str
    """How messages name the stream."""
    small_block: int
    """Bytes up to which a block travels inside its entry; 0: none does."""

    def append(self, log: int, entry: str, start: int) -> Appended:
        """Add an entry to a log, once; and say those from `start` on, if that is for nothing."""
        ...

    def publish(
        self,
        name: str,
        pieces: Sequence[Piece],
        metadata: dict[str, str],
        log: int,
        entry: str,
        start: int,
    ) -> Appended:
        """Keep a block, replacing what has this name; then append. Raises StoreFullError."""
        ...

    def read(self, log: int, start: int) -> list[str]:
        """The entries of a log from `start` on."""
        ...

    def wait(self, log: int, start: int, timeout: float) -> list[str]:
        """As `read`, but wait for one at least; none after `timeout` seconds."""
        ...

    def remove_log(self, log: int) -> None: ...

    def head(self) -> Head | None:
        """Where the stream goes on; None while its first log is the present one."""
        ...

    def put_head(self, head: Head) -> None: ...

    def get_block(self, name: str) -> Block | None: ...

    def blocks(self) -> list[str]:
        """The names of all blocks."""
        ...

    def remove_block(self, name: str) -> None: ...

    def remove(self) -> None:
        """Remove what is left of the stream once its logs and blocks are gone."""
        ...

    def capacity(self) -> int:
        """The most bytes that the engine can hold; 0 if it does not know."""
        ...

    def lifeline(self, name: str) -> Lifeline: ...
    def alive(self, names: Collection[str]) -> Collection[str]: ...
    def close(self) -> None: ...


class StoreMedium:
    """A stream in a store of its own: its log is a list, its blocks are values.

    Parameters
    ----------
    label
        How messages name the stream.
    lifelines
        How the engine tells who is alive, if it can; else by :class:`Heartbeats`.

    Notes
    -----
    ==================  ========================================================================
    in the store        holds
    ==================  ========================================================================
    list ``log/N``      the entries of the N-th log
    value ``head``      which log is the present one, and the state that it goes on from
    value ``b/E/R/S``   what rank R of the E-th writer put into slot S
    value ``alive/ID``  a sign of life, for engines that have no better one
    ==================  ========================================================================
    """

    def __init__(self, store: BlockStore, label: str, lifelines: Lifelines | None = None) -> None:
        self.label = label
        self.small_block = store.small_block
        self._store = store
        self._lifelines: Lifelines = Heartbeats(store) if lifelines is None else lifelines

    def append(self, log: int, entry: str, start: int) -> Appended:
        return Appended(*self._store.append_and_read(f"log/{log}", entry, start))

    def publish(
        self,
        name: str,
        pieces: Sequence[Piece],
        metadata: dict[str, str],
        log: int,
        entry: str,
        start: int,
    ) -> Appended:
        return Appended(
            *self._store.put_block_and_append(
                f"b/{name}", pieces, metadata, f"log/{log}", entry, start
            )
        )

    def read(self, log: int, start: int) -> list[str]:
        return self._store.items(f"log/{log}", start)

    def wait(self, log: int, start: int, timeout: float) -> list[str]:
        try:
            return self._store.wait_items(f"log/{log}", 1, timeout, start)
        except TransportTimeoutError:
            return []

    def remove_log(self, log: int) -> None:
        self._store.remove_list(f"log/{log}")

    def head(self) -> Head | None:
        try:
            attrs = self._store.get("head").attrs
        except KeyNotFoundError:
            return None
        return Head(**attrs)

    def put_head(self, head: Head) -> None:
        self._store.put("head", {}, head._asdict())

    def get_block(self, name: str) -> Block | None:
        try:
            memory, header, _ = self._store.get_block(f"b/{name}")
        except KeyNotFoundError:
            return None
        return Block(memory, header)

    def blocks(self) -> list[str]:
        return [key[2:] for key in self._store.keys("b/")]

    def remove_block(self, name: str) -> None:
        with contextlib.suppress(KeyNotFoundError):
            self._store.delete(f"b/{name}")

    def remove(self) -> None:
        self._store.destroy()

    def capacity(self) -> int:
        return self._store.statistics().capacity

    def lifeline(self, name: str) -> Lifeline:
        return self._lifelines.lifeline(name)

    def alive(self, names: Collection[str]) -> Collection[str]:
        return self._lifelines.alive(names)

    def close(self) -> None:
        self._store.close()
