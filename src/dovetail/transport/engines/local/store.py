"""The Store of the local engine: the Python face of the native core."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from numpy.typing import NDArray

from dovetail import _native, observe
from dovetail.data import Attributes, Dataset, Value
from dovetail.data.arrays import attributes_to_json
from dovetail.data.dataset import pieces_of
from dovetail.data.layout import Entry, Header, Piece, Room, decode, make_room, variables_of
from dovetail.errors import InvalidKeyError, TransportClosedError
from dovetail.transport.closing import Closing
from dovetail.transport.contract import (
    Capabilities,
    Specification,
    Store,
    StoreStatistics,
    ValueStat,
)
from dovetail.transport.deadlines import seconds
from dovetail.transport.scope import ScopedStore
from dovetail.transport.values import array_of, check_key


class LocalReservation:
    """Room for a value inside the store, filled in place."""

    def __init__(self, key: str, native: _native.Reservation, room: Room, nbytes: int) -> None:
        self._key = key
        self._native = native
        self._room: Room | None = room
        self._nbytes = nbytes
        self.version: str | None = None
        """The version token, once published."""

    def __getitem__(self, name: str) -> NDArray[Any]:
        if self._room is None:
            raise TransportClosedError(
                "the reservation is published or given up; read the value with get()"
            )
        return self._room[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        room, self._room = self._room, None
        if room is None:
            return
        writable = room.seal()
        if kind is not None:
            self._native.abort()
            return
        started = time.time_ns() if observe.recording else 0
        self.version = self._native.commit(writable)
        if started:
            observe.record(observe.PUT, self._key, started, time.time_ns(), self._nbytes, 0)


class LocalStore(Closing):
    """A folder of safetensors files, in shared memory or on a disk."""

    small_block = 0  # the items of its lists are links to files

    def __init__(
        self, url: str, native: _native.Store, folder: Path, capabilities: Capabilities
    ) -> None:
        self._url = url
        self._handle: _native.Store | None = native
        self._folder = folder
        self._capabilities = capabilities

    @property
    def url(self) -> str:
        return self._url

    @property
    def path(self) -> Path | None:
        return self._folder

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    @property
    def _native(self) -> _native.Store:
        if self._handle is None:
            raise TransportClosedError(f"the store {self._url} is closed; open it again")
        return self._handle

    def put(self, key: str, value: Value, attrs: Attributes | None = None) -> str:
        started = time.time_ns() if observe.recording else 0
        pieces, metadata = pieces_of(value, attrs)
        try:
            version = self._native.put(key, pieces, metadata)
        except TypeError as error:
            _explain(error, key)
        if started:
            nbytes = sum(piece.buffer.nbytes for piece in pieces)
            observe.record(observe.PUT, key, started, time.time_ns(), nbytes, 0)
        return version

    def reserve(
        self, key: str, specification: Specification, attrs: Attributes | None = None
    ) -> LocalReservation:
        metadata: dict[str, str] = {}
        pieces = [
            make_room(name, shape, dtype, metadata)
            for name, (shape, dtype) in specification.items()
        ]
        if attrs:
            metadata["dovetail.attrs"] = attributes_to_json(attrs)
        try:
            native = self._native.reserve(key, pieces, metadata)
        except TypeError as error:
            _explain(error, key)
        entries = [
            Entry(piece.name, piece.code, piece.shape, offset, nbytes)
            for piece, (offset, nbytes) in zip(pieces, native.extents, strict=True)
        ]
        memory = native.memory
        variables = decode(entries, metadata)
        room = Room()
        for variable in variables.values():
            room.hand_out(variable, memory)
        return LocalReservation(key, native, room, sum(entry.nbytes for entry in entries))

    def get(self, key: str) -> Dataset:
        started = time.time_ns() if observe.recording else 0
        nbytes = 0
        try:
            dataset = Dataset.from_block(*self._native.get(key))
            if started:
                nbytes = dataset.nbytes
        except TypeError as error:
            _explain(error, key)
        finally:
            if started:
                observe.record(observe.GET, _text(key), started, time.time_ns(), nbytes, 0)
        return dataset

    def get_array(self, key: str, out: NDArray[Any] | None = None) -> NDArray[Any]:
        return array_of(self.get(key), key, out)

    def wait(self, key: str, timeout: float | None, newer_than: str | None = None) -> Dataset:
        started = time.time_ns() if observe.recording else 0
        nbytes = 0
        try:
            dataset = Dataset.from_block(*self._native.wait(key, seconds(timeout), newer_than))
            if started:
                nbytes = dataset.nbytes
        except TypeError as error:
            _explain(error, key)
        finally:
            if started:
                ended = time.time_ns()
                observe.record(observe.WAIT, _text(key), started, ended, nbytes, ended - started)
        return dataset

    def put_block_and_append(
        self,
        key: str,
        pieces: Sequence[Piece],
        metadata: dict[str, str],
        list_name: str,
        item: str,
        start: int,
    ) -> tuple[int, None]:
        """Publish a value from what it is made of, then add an item to a list."""
        self._native.put(key, pieces, metadata)
        return self._native.append(list_name, item), None

    def append_and_read(self, list_name: str, item: str, start: int) -> tuple[int, None]:
        """Add an item to a list; its position."""
        return self._native.append(list_name, item), None

    def get_block(self, key: str) -> tuple[Any, Header, str]:
        """A value's bytes, its header and its version token."""
        return self._native.get(key)

    def exists(self, key: str) -> bool:
        try:
            found = self._native.exists(key)
        except TypeError as error:
            _explain(error, key)
        return found

    def delete(self, key: str) -> None:
        try:
            self._native.remove(key)
        except TypeError as error:
            _explain(error, key)

    def rename(self, key: str, new_key: str) -> None:
        try:
            self._native.rename(key, new_key)
        except TypeError as error:
            _explain(error, key, new_key)

    def keys(self, prefix: str = "") -> list[str]:
        return self._native.keys(prefix)

    def foreign_files(self) -> list[tuple[str, str]]:
        """Files in the folder that are no values: (name, reason). They are never touched."""
        return self._native.foreign_files()

    def stat(self, key: str) -> ValueStat:
        try:
            header, version, nbytes, seconds = self._native.stat(key)
        except TypeError as error:
            _explain(error, key)
        variables = tuple(variables_of(header).values())
        return ValueStat(key, version, nbytes, seconds, variables)

    def put_many(self, values: Mapping[str, Value]) -> None:
        for key, value in values.items():
            self.put(key, value)

    def get_many(self, keys: Iterable[str]) -> dict[str, Dataset]:
        return {key: self.get(key) for key in keys}

    def append(self, list_name: str, key: str) -> int:
        try:
            position = self._native.append(list_name, key)
        except TypeError as error:
            _explain(error, list_name, key)
        return position

    def items(self, list_name: str, start: int = 0) -> list[str]:
        return self._native.items(list_name, start)

    def wait_items(
        self, list_name: str, count: int, timeout: float | None, start: int = 0
    ) -> list[str]:
        started = time.time_ns() if observe.recording else 0
        try:
            return self._native.wait_items(list_name, count, start, seconds(timeout))
        finally:
            if started:
                ended = time.time_ns()
                observe.record(observe.WAIT, _text(list_name), started, ended, 0, ended - started)

    def remove_list(self, list_name: str) -> None:
        try:
            self._native.remove_list(list_name)
        except TypeError as error:
            _explain(error, list_name)

    def scope(self, prefix: str) -> Store:
        return ScopedStore(self, prefix)

    def statistics(self) -> StoreStatistics:
        return StoreStatistics(**self._native.statistics())

    def flush(self) -> None:
        self._native.flush()

    def close(self) -> None:
        self._handle = None

    def destroy(self) -> None:
        self._native.destroy()
        self.close()

    def __repr__(self) -> str:
        state = " (closed)" if self._handle is None else ""
        return f"<Store {self._url}{state}>"


def _text(key: Any) -> str:
    """A key as a name in the trace, which a key that is none must not stop."""
    return key if isinstance(key, str) else repr(key)


def _explain(error: TypeError, *keys: Any) -> NoReturn:
    """The native core takes UTF-8 text only: say so where a key was something else."""
    try:
        check_key(*keys)
    except InvalidKeyError as reason:
        raise reason from None
    raise error
