"""The Store of ``dragon://``: values in the dictionary, everything else with its keeper."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from dovetail.errors import CorruptDataError, DovetailError, StoreFullError
from dovetail.transport.contract import Capabilities
from dovetail.transport.deadlines import Deadline
from dovetail.transport.engines.dragon.client import Connection, Keeper, KeeperLostError, Room
from dovetail.transport.engines.dragon.wire import FRAME, INLINE, Message, frame, unframed
from dovetail.transport.remote import LONGEST_SLEEP, Head, Held, RemoteStore
from dovetail.transport.values import Encoded

_AT_ONCE = 32
"""Small values that are sent before the first answer is awaited."""


class DragonStore(RemoteStore):
    """One store of a server."""

    small_block = 4096

    def __init__(
        self,
        url: str,
        name: str,
        keeper: Keeper,
        capabilities: Capabilities,
        checkpoint: Path | None,
    ) -> None:
        super().__init__(url, url, capabilities)
        self._name = name
        self._keeper = keeper
        self._checkpoint = checkpoint

    # --- values -------------------------------------------------------------------------------

    def _write(self, key: str, value: Encoded) -> None:
        with self._keeper.connection() as (connection, deadline):
            if value.nbytes <= INLINE:
                connection.ask(*self._inline(key, value, deadline))
            elif connection.staging is not None:
                self._write_staged(connection, deadline, key, value)
            else:  # from another host
                connection.ask(self._say("admit", key=key, nbytes=value.nbytes), deadline)
                connection.ask(*self._inline(key, value, deadline))

    def _write_many(self, values: Sequence[tuple[str, Encoded]]) -> None:
        waiting = list(values)
        while waiting:
            if waiting[0][1].nbytes > INLINE:
                self._write(*waiting.pop(0))
                continue
            batch: list[tuple[str, Encoded]] = []
            while waiting and len(batch) < _AT_ONCE and waiting[0][1].nbytes <= INLINE:
                batch.append(waiting.pop(0))
            self._write_batch(batch)

    def _write_batch(self, batch: Sequence[tuple[str, Encoded]]) -> None:
        """Small values, all sent before the first answer is awaited."""
        with self._keeper.connection() as (connection, deadline):
            for key, value in batch:
                connection.send(*self._inline(key, value, deadline))
            refused: DovetailError | None = None
            for _ in batch:
                try:
                    connection.receive(deadline)
                except (StoreFullError, CorruptDataError) as error:
                    refused = refused or error
            if refused is not None:
                raise refused

    def _inline(
        self, key: str, value: Encoded, deadline: Deadline
    ) -> tuple[Message, Deadline, list[Any]]:
        content = value.joined()
        return self._put(key, value), deadline, [frame(content, value.version), content]

    def _put(self, key: str, value: Encoded) -> Message:
        return self._say("put", key=key, version=value.version, nbytes=value.nbytes)

    def _write_staged(
        self, connection: Connection, deadline: Deadline, key: str, value: Encoded
    ) -> None:
        """Fill shared memory of the runtime, which the keeper hands to the dictionary."""
        assert connection.staging is not None
        room = connection.spare
        connection.spare = None
        if room is not None and room.nbytes != value.nbytes:
            connection.send({"do": "free", "lease": room.lease}, deadline)
            room = None
        if room is None:
            given, _ = connection.ask(self._say("room", key=key, nbytes=value.nbytes), deadline)
            room = Room(given["lease"], given["offset"], value.nbytes)
        begin = room.offset + FRAME
        memory = np.frombuffer(connection.staging, np.uint8, value.nbytes, begin)
        at = 0
        for part in value.parts:
            memory[at : at + len(part)] = np.frombuffer(part, np.uint8)
            at += len(part)
        connection.staging[room.offset : begin] = frame(memory, value.version)
        answer, _ = connection.ask({**self._put(key, value), "lease": room.lease}, deadline)
        if "lease" in answer:
            connection.spare = Room(answer["lease"], answer["offset"], value.nbytes)

    def _read(self, key: str) -> Any | None:
        with self._keeper.connection() as (connection, deadline):
            answer, behind = connection.ask(self._say("get", key=key), deadline)
            if "absent" in answer:
                return None
            if "lease" not in answer:
                return unframed(behind, self._named(key))
            return self._read_staged(connection, deadline, key, answer)

    def _read_staged(
        self, connection: Connection, deadline: Deadline, key: str, answer: Message
    ) -> memoryview:
        """Copy a value out of shared memory of the runtime."""
        assert connection.staging is not None
        copy = np.empty(answer["nbytes"] + FRAME, np.uint8)
        try:
            copy[:] = np.frombuffer(connection.staging, np.uint8, copy.nbytes, answer["offset"])
        finally:
            connection.send({"do": "free", "lease": answer["lease"]}, deadline)
        return unframed(copy.data, self._named(key))

    def _read_head(self, key: str) -> Head | None:
        with self._keeper.connection() as (connection, deadline):
            answer, prefix = connection.ask(self._say("head", key=key), deadline)
        return None if "absent" in answer else Head(prefix, answer["nbytes"])

    def _exists(self, key: str) -> bool:
        return self._version(key) is not None

    def _version(self, key: str) -> str | None:
        version: str | None = self._keeper.ask(self._say("version", key=key))["version"]
        return version

    def _remove(self, key: str) -> bool:
        return bool(self._keeper.ask(self._say("remove", key=key))["found"])

    def _move(self, key: str, new_key: str) -> bool:
        return bool(self._keeper.ask(self._say("move", key=key, new_key=new_key))["found"])

    def _list_keys(self, prefix: str) -> Iterable[str]:
        keys: list[str] = self._keeper.ask(self._say("keys", prefix=prefix))["keys"]
        return keys

    # --- lists and waits ----------------------------------------------------------------------

    def _append(self, list_name: str, item: str) -> int:
        answer = self._keeper.ask(self._say("append", list=list_name, item=item))
        return int(answer["position"])

    def _items(self, list_name: str, start: int) -> list[str]:
        answer = self._keeper.ask(self._say("items", list=list_name, start=start))
        items: list[str] = answer["items"]
        return items

    def _append_and_read(
        self, list_name: str, item: str, start: int
    ) -> tuple[int, list[str] | None]:
        answer = self._keeper.ask(self._say("append", list=list_name, item=item, start=start))
        return answer["position"], answer["items"]

    def _write_and_append(
        self, key: str, value: Encoded, list_name: str, item: str, start: int
    ) -> tuple[int, list[str] | None]:
        if value.nbytes > INLINE:
            return super()._write_and_append(key, value, list_name, item, start)
        with self._keeper.connection() as (connection, deadline):
            put, deadline, behind = self._inline(key, value, deadline)
            put = {**put, "list": list_name, "item": item, "start": start}
            answer, _ = connection.ask(put, deadline, behind)
        return answer["position"], answer["items"]

    def _wait_items(self, list_name: str, count: int, start: int, deadline: Deadline) -> list[str]:
        found: list[str] = []
        while True:
            left = min(deadline.left(), LONGEST_SLEEP)
            found += self._next_items(list_name, start + len(found), left)
            if len(found) >= count or deadline.passed:
                return found
            self._check()

    def _next_items(self, list_name: str, start: int, seconds: float) -> list[str]:
        """The items from `start` on; if there are none, those that come within so many seconds."""
        with self._keeper.connection() as (connection, deadline):
            connection.send(self._say("wait", list=list_name, start=start), deadline)
            if not connection.ready(min(seconds, deadline.left() / 2)):
                connection.send({"do": "enough"}, deadline)
            items: list[str] = connection.receive(deadline)[0]["items"]
            return items

    def _remove_list(self, list_name: str) -> None:
        self._keeper.ask(self._say("remove list", list=list_name))

    @contextmanager
    def _watch_key(self, key: str) -> Iterator[KeeperWatch]:
        with self._keeper.lasting(self._say("watch", key=key)) as connection:
            yield KeeperWatch(connection)

    def lifeline(self, name: str) -> Connection:
        """A sign of life under a name, given until it is closed or this process ends."""
        return self._keeper.lasting(self._say("live", name=name))

    def alive(self, names: Collection[str]) -> list[str]:
        """Those of `names` that give signs of life."""
        living: list[str] = self._keeper.ask(self._say("alive", names=list(names)))["names"]
        return living

    # --- the whole store ----------------------------------------------------------------------

    def _held(self) -> Held:
        answer = self._keeper.ask(self._say("held"))
        return Held(answer["nbytes"], answer["capacity"])

    def flush(self) -> None:
        """Write the store to the folder of ``?checkpoint=``, if it has one, in one piece.

        A server that is started anew begins the store with what that folder holds.
        """
        super().flush()
        if self._checkpoint is not None:
            self._keeper.ask(self._say("save", folder=str(self._checkpoint)))

    def _destroy(self) -> None:
        self._keeper.ask(self._say("destroy"))

    def _disconnect(self) -> None:
        self._keeper.close()

    def _say(self, operation: str, **arguments: Any) -> Message:
        return {"do": operation, "store": self._name, **arguments}


class KeeperWatch:
    """Eyes on one key: the keeper writes a word when it changes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def wait(self, seconds: float) -> None:
        if self._connection.ready(seconds):
            try:
                self._connection.drained()
            except KeeperLostError:
                return  # whoever waits looks next, and learns it there
