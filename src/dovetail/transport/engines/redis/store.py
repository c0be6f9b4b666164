"""The Store of the Redis engine: one value, one string of safetensors bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from dovetail.transport.contract import Capabilities
from dovetail.transport.deadlines import Deadline
from dovetail.transport.engines.redis.keys import Manifest, Names
from dovetail.transport.engines.redis.lifelines import Lifelines
from dovetail.transport.engines.redis.lists import Lists, read_appended
from dovetail.transport.engines.redis.places import Place
from dovetail.transport.engines.redis.protocol import packed
from dovetail.transport.engines.redis.questions import Questions
from dovetail.transport.engines.redis.routes import Route
from dovetail.transport.engines.redis.servers import Server
from dovetail.transport.engines.redis.strings import Strings, is_ours
from dovetail.transport.engines.redis.watching import watch_key
from dovetail.transport.remote import LONGEST_SLEEP, Head, Held, RemoteStore, Watch
from dovetail.transport.values import Encoded


class RedisStore(RemoteStore):
    """A store on one server, or on a cluster.

    Parameters
    ----------
    timeout
        Seconds that an operation may go without a sign of life of the server.
    """

    small_block = 4096

    def __init__(
        self, place: Place, route: Route, capabilities: Capabilities, timeout: float | None
    ) -> None:
        super().__init__(place.url, place.label, capabilities)
        self._route = route
        self._names = Names(place.name)
        self._questions = Questions(route, self._names, place.label)
        self._strings = Strings(self._questions, place.chunk)
        self._lists = Lists(self._questions, timeout)
        self.lifelines = Lifelines(self._questions)
        """Who lives, of those who share the store."""

    def _write(self, key: str, value: Encoded) -> None:
        self._strings.write(key, value)

    def _write_many(self, values: Sequence[tuple[str, Encoded]]) -> None:
        self._strings.write_many(values)

    def _read(self, key: str) -> Any | None:
        return self._strings.read(key)

    def _read_many(self, keys: Sequence[str]) -> list[Any | None]:
        return self._strings.read_many(keys)

    def _read_head(self, key: str) -> Head | None:
        return self._strings.read_head(key)

    def _exists(self, key: str) -> bool:
        return self._strings.exists(key)

    def _remove(self, key: str) -> bool:
        return self._strings.remove(key)

    def _move(self, key: str, new_key: str) -> bool:
        return self._strings.move(key, new_key)

    def _list_keys(self, prefix: str) -> Iterable[str]:
        found: set[str] = set()
        for server in self._route.each():
            for names in self._questions.scan(server, self._names.values_like(prefix)):
                found.update(key for name in names if (key := self._names.key_of(name)) is not None)
        return found

    def _append(self, list_name: str, item: str) -> int:
        return self._lists.append(list_name, item)

    def _append_and_read(
        self, list_name: str, item: str, start: int
    ) -> tuple[int, list[str] | None]:
        return self._lists.append_and_read(list_name, item, start)

    def _write_and_append(
        self, key: str, value: Encoded, list_name: str, item: str, start: int
    ) -> tuple[int, list[str] | None]:
        if self._route.split or not self._strings.fits_in_one(value):
            return super()._write_and_append(key, value, list_name, item, start)
        with self._lists.appending(list_name, item, start) as command:
            return read_appended(self._strings.write_with(key, value, command), start)

    def _items(self, list_name: str, start: int) -> list[str]:
        return self._lists.items(list_name, start)

    def _remove_list(self, list_name: str) -> None:
        self._lists.remove(list_name)

    def _watch_key(self, key: str) -> AbstractContextManager[Watch]:
        return watch_key(self._route, self._names.value(key), self._names.news(key))

    def _wait_items(self, list_name: str, count: int, start: int, deadline: Deadline) -> list[str]:
        found: list[str] = []
        while True:
            left = min(deadline.left(), LONGEST_SLEEP)
            found += self._lists.wait(list_name, start + len(found), left)
            if len(found) >= count or deadline.passed:
                return found
            self._check()

    def _held(self) -> Held:
        self._check()
        return Held(*self._questions.memory())

    def _destroy(self) -> None:
        for server in self._route.each():
            for pattern in self._names.everything():
                for names in self._questions.scan(server, pattern):
                    self._unlink(server, names)
            for names in self._questions.scan(server, self._names.values_like("")):
                self._unlink(server, self._ours(server, names))

    def _ours(self, server: Server, names: Sequence[bytes]) -> list[bytes]:
        """Those of the values that were written here."""
        last = Manifest.NBYTES - 1
        request = b"".join(packed("GETRANGE", name, 0, last) for name in names)
        beginnings = self._route.ask_server(server, [request], len(names)) if names else []
        return [
            name for name, beginning in zip(names, beginnings, strict=True) if is_ours(beginning)
        ]

    def _unlink(self, server: Server, names: Sequence[bytes]) -> None:
        if names:
            request = b"".join(packed("UNLINK", name) for name in names)
            self._route.ask_server(server, [request], len(names))

    def _disconnect(self) -> None:
        self._route.close()
