"""The values of all stores: counted before they are written, and known without asking.

What a client may be told instead of an answer is a :class:`RefusalError`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from dovetail.transport.engines.dragon import snapshot
from dovetail.transport.engines.dragon.dictionary import Dictionary, RefusedError, Value
from dovetail.transport.engines.dragon.index import Record, Room, StoreIndex, block_of
from dovetail.transport.engines.dragon.saving import Saving
from dovetail.transport.engines.dragon.wire import FRAME, frame, unframed, version_in
from dovetail.transport.values import bytes_of_header

LARGEST_RECENT, MOST_RECENT = 64 << 10, 64 << 20
"""Bytes of one small value that is kept at hand, and of all of them."""
LONGEST_PREFIX = 4096
"""Bytes up to which a value's safetensors header is kept in mind."""


class RefusalError(Exception):
    """What a client is told instead of an answer: the kind of error, and its sentence."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Vault:
    """The stores of one dictionary.

    Parameters
    ----------
    memory
        Bytes of blocks that its values may take.
    """

    def __init__(self, dictionary: Dictionary, memory: int) -> None:
        self._dictionary = dictionary
        self.room = Room(dictionary.managers, memory)
        self.stores: dict[str, StoreIndex] = {}
        self._savings: list[Saving] = []
        self._recent = Recent()

    def open(self, name: str, capacity: int | None, create: bool, restore: Path | None) -> bool:
        """Have a store, filled from a checkpoint if it is new; whether it is."""
        store = self.stores.get(name)
        created = store is None
        if store is None:
            if not create:
                raise RefusalError("absent", f"there is no store {name!r} on this server")
            store = self.stores[name] = StoreIndex(name)
            if restore is not None and restore.is_dir():
                self._restore(store, restore)
        if capacity is not None:
            store.capacity = capacity
        return created

    def store(self, name: str) -> StoreIndex:
        """A store. One that was destroyed while others have it open begins anew."""
        return self.stores.setdefault(name, StoreIndex(name))

    def capacity_of(self, store: StoreIndex) -> int:
        """The most bytes that a store may take."""
        return min(store.capacity or self.room.whole, self.room.whole)

    def destroy(self, store: StoreIndex) -> Iterator[str]:
        """Remove a store; gives the keys of its values as they go."""
        self.stores.pop(store.name, None)
        for key in list(store.records):
            self.delete(store, key)
            yield key

    # --- values -------------------------------------------------------------------------------

    def admitted(self, store: StoreIndex, key: str, nbytes: int) -> tuple[int, int]:
        """The manager for a value and the block it takes there; refused if there is no room."""
        name = _name_in_dictionary(store.name, key)
        shard = self._dictionary.shard_of(name)
        block = block_of(nbytes + FRAME) + block_of(len(name))
        why = self.room.refusal(store, key, nbytes, block, shard)
        if why:
            raise RefusalError("full", why)
        return shard, block

    def put(self, store: StoreIndex, key: str, value: Any, nbytes: int, version: str) -> None:
        """Publish a value of `nbytes` in its frame: bytes, or memory of Dragon's.

        The memory belongs to the dictionary afterwards, or is free.
        """
        in_memory = not isinstance(value, bytes)
        try:
            prefix = _prefix_of(value.get_memview() if in_memory else value, nbytes)
            shard, block = self.admitted(store, key, nbytes)
        except RefusalError:
            if in_memory:
                value.free()
            raise
        self._write(store, key, value, Record(version, nbytes, block, shard, prefix))
        if not in_memory:
            self._recent.note(_name_in_dictionary(store.name, key), value)

    def fetch(self, store: StoreIndex, key: str) -> Value:
        """A value in its frame."""
        name = _name_in_dictionary(store.name, key)
        recent = self._recent.get(name)
        if recent is not None:
            return Value([recent])
        try:
            return self._dictionary.get(name)
        except KeyError:
            self._forget(store, key)
            raise RefusalError(
                "corrupt", f"the dictionary has lost the value of {key[:200]!r}: put it again"
            ) from None
        except RefusedError as error:
            raise RefusalError(
                "lost",
                f"a manager of the dictionary did not answer: {error}. If it goes on so, start "
                f"the server again",
            ) from None

    def header(self, store: StoreIndex, key: str, record: Record) -> bytes:
        """The safetensors header of a value."""
        if record.prefix:
            return record.prefix
        value = unframed(self.fetch(store, key).copied(), f"the value of {key[:200]!r}")
        return bytes(value[: bytes_of_header(value, len(value), "a value")])

    def move(self, store: StoreIndex, key: str, new_key: str) -> bool:
        """Rename a value; whether there was one. Both names are there for a moment."""
        record = store.records.get(key)
        if record is None:
            return False
        new_name = _name_in_dictionary(store.name, new_key)
        shard = self._dictionary.shard_of(new_name)
        block = block_of(record.nbytes + FRAME) + block_of(len(new_name))
        if self.room.taken[shard] + block > self.room.brim:
            raise RefusalError(
                "full", f"manager {shard}, to which {new_key[:200]!r} belongs, has no room for it"
            )
        value = self.fetch(store, key)
        moved = record._replace(shard=shard, block=block)
        self._write(store, new_key, value.memory or value.copied(), moved)
        self.delete(store, key)
        return True

    def delete(self, store: StoreIndex, key: str) -> bool:
        """Remove a value; whether there was one."""
        self._about_to_change(store, key)
        if self._forget(store, key) is None:
            return False
        with suppress(KeyError, RefusedError):
            self._dictionary.take(_name_in_dictionary(store.name, key)).free()
        return True

    def _write(self, store: StoreIndex, key: str, value: Any, record: Record) -> None:
        self._about_to_change(store, key)
        try:
            self._dictionary.put(_name_in_dictionary(store.name, key), value)
        except RefusedError as error:
            self._reconcile(store, key, record)
            raise RefusalError(
                "full",
                f"the dictionary did not take {record.nbytes} bytes, though "
                f"{self.room.taken[record.shard]} of {self.room.each} are taken in manager "
                f"{record.shard}: {error}. Its free memory may be in pieces; start the server with "
                f"more ?memory=",
            ) from None
        self._note(store, key, record)

    def _about_to_change(self, store: StoreIndex, key: str) -> None:
        for saving in self._savings:
            if saving.store is store:
                saving.before_change(key)

    def _reconcile(self, store: StoreIndex, key: str, attempted: Record) -> None:
        """After a put of unknown outcome: know again what the dictionary holds."""
        known = store.records.get(key)
        try:
            found = version_in(self._dictionary.get(_name_in_dictionary(store.name, key)).copied())
        except (KeyError, RefusedError):
            found = ""
        if known is not None and found == known.version:
            return
        self._forget(store, key)
        if found == attempted.version:  # put after all, though it was reported as refused
            self._note(store, key, attempted)

    def _note(self, store: StoreIndex, key: str, record: Record) -> None:
        self._forget(store, key)
        store.note(key, record)
        self.room.taken[record.shard] += record.block

    def _forget(self, store: StoreIndex, key: str) -> Record | None:
        record = store.forget(key)
        if record is not None:
            self.room.taken[record.shard] -= record.block
            self._recent.forget(_name_in_dictionary(store.name, key))
        return record

    # --- on disk ------------------------------------------------------------------------------

    def save(self, store: StoreIndex, folder: Path) -> Saving:
        """Begin to write a store to disk, all of it as it is at this moment."""

        def read(key: str) -> memoryview:
            return unframed(self.fetch(store, key).copied(), f"the value of {key[:200]!r}")

        saving = Saving(store, folder, read)
        self._savings.append(saving)
        return saving

    def saved(self, saving: Saving) -> None:
        """A checkpoint is over: raise what went wrong."""
        self._savings.remove(saving)
        try:
            saving.check()
        except OSError as error:
            raise RefusalError(
                "system", f"the checkpoint in {saving.folder} was not written: {error}"
            ) from None

    def _restore(self, store: StoreIndex, folder: Path) -> None:
        try:
            saved = snapshot.read(folder)
            for key, version, value in saved.values():
                self.put(store, key, frame(value, version) + value, len(value), version)
            store.lists = saved.lists
        except (RefusalError, OSError, ValueError) as error:
            for key in list(store.records):
                self.delete(store, key)
            del self.stores[store.name]
            kind = error.kind if isinstance(error, RefusalError) else "corrupt"
            raise RefusalError(
                kind, f"the checkpoint in {folder} was not restored: {error}"
            ) from None


class Recent:
    """Small values that were put lately: read again without asking the dictionary."""

    def __init__(self) -> None:
        self._values: OrderedDict[bytes, bytes] = OrderedDict()
        self._nbytes = 0

    def note(self, name: bytes, value: bytes) -> None:
        """Keep a value, and let the oldest go."""
        if len(value) > LARGEST_RECENT:
            return
        self._values[name] = value
        self._nbytes += len(value)
        while self._nbytes > MOST_RECENT:
            _, oldest = self._values.popitem(last=False)
            self._nbytes -= len(oldest)

    def get(self, name: bytes) -> bytes | None:
        """A value, if it is kept."""
        return self._values.get(name)

    def forget(self, name: bytes) -> None:
        """A value was removed or replaced."""
        self._nbytes -= len(self._values.pop(name, b""))


def _name_in_dictionary(store: str, key: str) -> bytes:
    return f"{store}\0{key}".encode()


def _prefix_of(framed: Any, nbytes: int) -> bytes:
    """The safetensors header of a value in its frame, if it is short."""
    value = memoryview(framed)[FRAME : FRAME + LONGEST_PREFIX]
    try:
        end = bytes_of_header(value, nbytes, "a value")
    except ValueError as error:
        raise RefusalError("corrupt", str(error)) from None
    return bytes(value[:end]) if end <= len(value) else b""
