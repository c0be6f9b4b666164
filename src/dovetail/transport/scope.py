"""A view of a store in which every name begins with a prefix: ensemble members kept apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dovetail.data import Attributes, Dataset, Value
from dovetail.errors import CapabilityError
from dovetail.transport.closing import Closing
from dovetail.transport.contract import (
    Capabilities,
    Reservation,
    Specification,
    Store,
    StoreStatistics,
    ValueStat,
)


class ScopedStore(Closing):
    """Any store, seen through a prefix. It is not closed or destroyed with its view."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = prefix

    @property
    def url(self) -> str:
        return self._store.url

    @property
    def path(self) -> Path | None:
        return self._store.path

    @property
    def capabilities(self) -> Capabilities:
        return self._store.capabilities

    def put(self, key: str, value: Value, attrs: Attributes | None = None) -> str:
        return self._store.put(self._prefix + key, value, attrs)

    def reserve(
        self, key: str, specification: Specification, attrs: Attributes | None = None
    ) -> Reservation:
        return self._store.reserve(self._prefix + key, specification, attrs)

    def get(self, key: str) -> Dataset:
        return self._store.get(self._prefix + key)

    def get_array(self, key: str, out: NDArray[Any] | None = None) -> NDArray[Any]:
        return self._store.get_array(self._prefix + key, out)

    def wait(self, key: str, timeout: float | None, newer_than: str | None = None) -> Dataset:
        return self._store.wait(self._prefix + key, timeout, newer_than)

    def exists(self, key: str) -> bool:
        return self._store.exists(self._prefix + key)

    def delete(self, key: str) -> None:
        self._store.delete(self._prefix + key)

    def rename(self, key: str, new_key: str) -> None:
        self._store.rename(self._prefix + key, self._prefix + new_key)

    def keys(self, prefix: str = "") -> list[str]:
        cut = len(self._prefix)
        return [key[cut:] for key in self._store.keys(self._prefix + prefix)]

    def stat(self, key: str) -> ValueStat:
        return self._store.stat(self._prefix + key)._replace(key=key)

    def put_many(self, values: Mapping[str, Value]) -> None:
        self._store.put_many({self._prefix + key: value for key, value in values.items()})

    def get_many(self, keys: Iterable[str]) -> dict[str, Dataset]:
        wanted = list(keys)
        found = self._store.get_many(self._prefix + key for key in wanted)
        return {key: found[self._prefix + key] for key in wanted}

    def append(self, list_name: str, key: str) -> int:
        return self._store.append(self._prefix + list_name, key)

    def items(self, list_name: str, start: int = 0) -> list[str]:
        return self._store.items(self._prefix + list_name, start)

    def wait_items(
        self, list_name: str, count: int, timeout: float | None, start: int = 0
    ) -> list[str]:
        return self._store.wait_items(self._prefix + list_name, count, timeout, start)

    def remove_list(self, list_name: str) -> None:
        self._store.remove_list(self._prefix + list_name)

    def scope(self, prefix: str) -> Store:
        return ScopedStore(self._store, self._prefix + prefix)

    def statistics(self) -> StoreStatistics:
        return self._store.statistics()

    def flush(self) -> None:
        self._store.flush()

    def close(self) -> None:
        """A view holds nothing: the store stays open."""

    def destroy(self) -> None:
        """Refused: a view cannot tell what in it is ours."""
        raise CapabilityError(
            f"a scope is a view of {self._store.url}: delete its keys, or destroy the whole store"
        )
