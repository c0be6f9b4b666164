"""What the parts of one store share: its servers, its names, and how refusals become errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from dovetail.errors import TransportTimeoutError
from dovetail.transport.engines.redis.connection import facts_of
from dovetail.transport.engines.redis.keys import Names
from dovetail.transport.engines.redis.protocol import packed
from dovetail.transport.engines.redis.refusals import error_of, first_refusal, full, is_full
from dovetail.transport.engines.redis.routes import Replied, Route
from dovetail.transport.engines.redis.servers import Server

_KEYS_AT_ONCE = 1000


class Questions:
    """Asks the servers of one store.

    Parameters
    ----------
    label
        Of the store, for messages.
    """

    def __init__(self, route: Route, names: Names, label: str) -> None:
        self.route = route
        self.names = names
        self.label = label

    def ask(
        self,
        key: str,
        name: bytes,
        buffers: Sequence[Any],
        count: int,
        room: memoryview | None = None,
        nbytes: int = 0,
    ) -> Replied:
        """Ask the server that has `name`, and raise for what it refuses.

        Parameters
        ----------
        key
            What it is about, for messages.
        room
            Where the first large string goes, if it has this size.
        nbytes
            Bytes that the server was to take.
        """
        replies = self.route.ask(name, buffers, count, room)
        self.judge(replies, key, nbytes)
        return replies

    def one(self, key: str, name: bytes, *words: bytes | str | int) -> Any:
        """The reply to one small command."""
        return self.ask(key, name, [packed(*words)], 1)[0]

    def scan(self, server: Server, pattern: bytes) -> Iterator[list[bytes]]:
        """The names on a server that match a pattern, some at a time."""
        cursor = b"0"
        while True:
            command = packed("SCAN", cursor, "MATCH", pattern, "COUNT", _KEYS_AT_ONCE)
            replies = self.route.ask_server(server, [command], 1)
            self.judge(replies, "", 0)
            cursor, names = replies[0]
            yield [bytes(name) for name in names]
            if cursor == b"0":
                return

    def memory(self) -> tuple[int, int]:
        """Bytes that the servers hold, and the most that they may."""
        used = limit = 0
        for server in self.route.each():
            replies = self.route.ask_server(server, [packed("INFO", "memory")], 1)
            self.judge(replies, "", 0)
            facts = facts_of(replies[0])
            used += int(facts.get("used_memory", 0))
            limit += int(facts.get("maxmemory", 0)) or int(facts.get("total_system_memory", 0))
        return used, limit

    def judge(self, replies: Iterable[Any], key: str, nbytes: int) -> None:
        """Raise for what the server refused."""
        refusal = first_refusal(replies)
        if refusal is None:
            return
        if is_full(refusal):
            raise full(self.label, nbytes, *self.memory())
        if refusal.code == "LATE":
            raise TransportTimeoutError(
                f"the value of {key[:200]!r} took so long to send that its first parts had "
                f"expired; nothing was published. The link to {self.label} is too slow for it"
            )
        raise error_of(refusal, self.label, f"the value of {key[:200]!r}" if key else "it")
