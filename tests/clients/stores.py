"""A Store that does everything through a client of another language."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from clients import abi
from numpy.typing import NDArray

import dovetail as dv
from dovetail.data import Dataset, Variable
from dovetail.data.arrays import attributes_to_json, host_array
from dovetail.data.dataset import BARE
from dovetail.data.layout import Room, check_name
from dovetail.transport.closing import Closing
from dovetail.transport.contract import StoreStatistics, ValueStat
from dovetail.transport.deadlines import seconds
from dovetail.transport.values import array_of, check_key


def key_in(key: Any) -> bytes:
    """A key as text of C; what is none never gets there."""
    check_key(key)
    return key.encode()


def array_in(name: Any, value: Any) -> tuple[str, NDArray[Any]]:
    """An array of NumPy in any strides; only what a client cannot see is brought into form."""
    if not isinstance(name, str) or "\0" in name:
        check_name(name)
    if type(value) is np.ndarray and value.dtype.isnative and abi.number_of(value.dtype):
        return name, value
    return name, host_array(value)


def json_of(attrs: Mapping[str, Any] | None) -> bytes | None:
    return attributes_to_json(attrs).encode() if attrs else None


class ClientRoom(Room):
    """Arrays that a client handed out to be filled."""

    def lend(self, name: str, array: abi.Array, owner: Any) -> NDArray[Any]:
        lent = self._arrays[name] = abi.lent(array, owner, writable=True)
        return lent


class ClientReservation(Closing):
    def __init__(self, client: abi.Client, handle: ctypes.c_void_p, names: Iterable[str]) -> None:
        self._client = client
        self._held: abi.Held | None = abi.Held(client, "reservation", handle)
        self._room: ClientRoom | None = ClientRoom()
        for name in names:
            array = client.get(abi.Array, "reservation_array", handle, name.encode())
            self._room.lend(name, array, self._held)
        self.version: str | None = None

    def __getitem__(self, name: str) -> NDArray[Any]:
        if self._room is None:
            raise dv.TransportClosedError("the reservation is published or given up")
        return self._room[name]

    def _leave(self, failed: bool) -> None:
        room, self._room = self._room, None
        held, self._held = self._held, None
        if room is None or held is None:
            return
        writable = room.seal()
        if not failed:
            version = ctypes.create_string_buffer(abi.VERSION_BYTES)
            self._client.call("reservation_commit", held.handle, int(writable), version)
            self.version = version.value.decode()


class ClientStore(Closing):
    def __init__(
        self, client: abi.Client, url: str, handle: ctypes.c_void_p, capabilities: Any
    ) -> None:
        self._client = client
        self._handle = handle
        self._url = url
        self._capabilities = capabilities

    @property
    def url(self) -> str:
        return self._url

    @property
    def path(self) -> Path | None:
        try:
            return Path(self._client.get(ctypes.c_char_p, "store_path", self._handle).decode())
        except dv.CapabilityError:
            return None

    @property
    def capabilities(self) -> Any:
        return self._capabilities

    def put(self, key: str, value: Any, attrs: Any = None) -> str:
        if isinstance(value, Dataset) and attrs is None:
            attrs = value.attrs
        named = value if isinstance(value, Mapping) else {BARE: value}
        arrays = [abi.given(*array_in(name, array)) for name, array in named.items()]
        version = ctypes.create_string_buffer(abi.VERSION_BYTES)
        self._client.call(
            "store_put", self._handle, key_in(key), (abi.Array * len(arrays))(*arrays),
            len(arrays), json_of(attrs), version,
        )  # fmt: skip
        return version.value.decode()

    def reserve(self, key: str, specification: Any, attrs: Any = None) -> ClientReservation:
        arrays = [
            abi.room(name, shape, np.dtype(dtype)) for name, (shape, dtype) in specification.items()
        ]
        handle = self._client.handle(
            "store_reserve", self._handle, key_in(key), (abi.Array * len(arrays))(*arrays),
            len(arrays), json_of(attrs),
        )  # fmt: skip
        return ClientReservation(self._client, handle, specification)

    def get(self, key: str) -> Dataset:
        return self._taken(self._client.handle("store_get", self._handle, key_in(key)))

    def wait(self, key: str, timeout: float | None, newer_than: str | None = None) -> Dataset:
        seen = None if newer_than is None else newer_than.encode()
        name = key_in(key)
        return self._taken(
            self._client.handle("store_wait", self._handle, name, seconds(timeout), seen)
        )

    def _taken(self, handle: ctypes.c_void_p) -> Dataset:
        client, held = self._client, abi.Held(self._client, "value", handle)
        arrays = [
            client.get(abi.Array, "value_array", handle, i)
            for i in range(client.get(ctypes.c_int, "value_count", handle))
        ]
        attrs = json.loads(client.get(ctypes.c_char_p, "value_attrs", handle))
        dataset = Dataset({array.name.decode(): abi.lent(array, held) for array in arrays}, attrs)
        dataset.version = client.get(ctypes.c_char_p, "value_version", handle).decode()
        return dataset

    def get_array(self, key: str, out: NDArray[Any] | None = None) -> NDArray[Any]:
        if out is None:
            return array_of(self.get(key), key, None)
        handle = self._client.handle("store_get", self._handle, key_in(key))
        held = abi.Held(self._client, "value", handle)
        into = abi.given("", out)
        into.name = None
        self._client.call("value_read", held.handle, into)
        return out

    def exists(self, key: str) -> bool:
        return bool(self._client.get(ctypes.c_int, "store_exists", self._handle, key_in(key)))

    def delete(self, key: str) -> None:
        self._client.call("store_delete", self._handle, key_in(key))

    def rename(self, key: str, new_key: str) -> None:
        self._client.call("store_rename", self._handle, key_in(key), key_in(new_key))

    def keys(self, prefix: str = "") -> list[str]:
        return self._client.texts("store_keys", self._handle, prefix.encode())

    def stat(self, key: str) -> ValueStat:
        client = self._client
        handle = client.handle("store_stat", self._handle, key_in(key))
        held = abi.Held(client, "value", handle)
        variables = []
        for i in range(client.get(ctypes.c_int, "value_count", handle)):
            array = client.get(abi.Array, "value_array", handle, i)
            assert not array.data
            shape = tuple(array.shape[: array.rank])
            dtype = abi.dtype_of(array.dtype)
            nbytes = int(np.prod(shape)) * dtype.itemsize
            order = "F" if array.order else "C"
            variables.append(Variable(array.name.decode(), dtype, shape, order, 0, nbytes))
        return ValueStat(
            key,
            client.get(ctypes.c_char_p, "value_version", held.handle).decode(),
            client.get(ctypes.c_int64, "value_nbytes", handle),
            client.get(ctypes.c_double, "value_time", handle),
            tuple(variables),
        )

    def put_many(self, values: Mapping[str, Any]) -> None:
        for key, value in values.items():
            self.put(key, value)

    def get_many(self, keys: Iterable[str]) -> dict[str, Dataset]:
        return {key: self.get(key) for key in keys}

    def append(self, list_name: str, key: str) -> int:
        name, item = key_in(list_name), key_in(key)
        return self._client.get(ctypes.c_int64, "store_append", self._handle, name, item)

    def items(self, list_name: str, start: int = 0) -> list[str]:
        return self._client.texts("store_items", self._handle, key_in(list_name), start)

    def wait_items(
        self, list_name: str, count: int, timeout: float | None, start: int = 0
    ) -> list[str]:
        return self._client.texts(
            "store_wait_items", self._handle, key_in(list_name), count, start, seconds(timeout)
        )

    def remove_list(self, list_name: str) -> None:
        self._client.call("store_remove_list", self._handle, key_in(list_name))

    def scope(self, prefix: str) -> ClientStore:
        handle = self._client.handle("store_scope", self._handle, prefix.encode())
        return ClientStore(self._client, self._url, handle, self._capabilities)

    def statistics(self) -> StoreStatistics:
        numbers = self._client.get(abi.StoreNumbers, "store_get_statistics", self._handle)
        return StoreStatistics(**{name: getattr(numbers, name) for name, _ in numbers._fields_})

    def flush(self) -> None:
        self._client.call("store_flush", self._handle)

    def close(self) -> None:
        # Used after that, the client sees a handle that is open no more.
        self._client.status("store_close", self._handle)

    def destroy(self) -> None:
        self._client.call("store_destroy", self._handle)
