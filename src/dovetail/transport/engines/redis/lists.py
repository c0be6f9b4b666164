"""Aggregation lists as streams on the servers: each item once, in order of arrival."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dovetail.transport.engines.redis import scripts
from dovetail.transport.engines.redis.protocol import packed
from dovetail.transport.engines.redis.questions import Questions
from dovetail.transport.engines.redis.watching import ITEMS_AT_ONCE, texts_of, wait_for_items

_HOUR, _WEEK = 3600, 7 * 24 * 3600


class Lists:
    """The lists of one store.

    Parameters
    ----------
    timeout
        Seconds that an append may be tried for.
    """

    def __init__(self, questions: Questions, timeout: float | None) -> None:
        self._questions = questions
        self._names = questions.names
        self._timeout = timeout
        self._receipt_seconds = (
            _WEEK if timeout is None else int(min(max(_HOUR, 2 * timeout), _WEEK))
        )
        self._senders: list[_Sender] = []

    def append(self, list_name: str, item: str) -> int:
        """Add an item, once; its position."""
        with self.appending(list_name, item) as command:
            return int(self._added(list_name, item, command))

    def append_and_read(
        self, list_name: str, item: str, start: int
    ) -> tuple[int, list[str] | None]:
        """Add an item, once; its position, and the items from `start` up to it if they are few."""
        with self.appending(list_name, item, start) as command:
            return read_appended(self._added(list_name, item, command), start)

    @contextmanager
    def appending(self, list_name: str, item: str, *start: int) -> Iterator[bytes]:
        """The command that adds an item. It may be sent again, but with nothing after it."""
        try:
            sender = self._senders.pop()
        except IndexError:
            sender = _Sender()
        sender.number += 1
        yield packed(
            "EVAL", scripts.APPEND, 2, self._names.items(list_name),
            self._names.receipt(list_name, sender.name), item, sender.number,
            self._receipt_seconds, *start,
        )  # fmt: skip
        self._senders.append(sender)  # one that fails is not used again

    def _added(self, list_name: str, item: str, command: bytes) -> Any:
        name = self._names.items(list_name)
        return self._questions.ask(list_name, name, [command], 1, nbytes=len(item))[0]

    def items(self, list_name: str, start: int) -> list[str]:
        """The items from `start` on."""
        name = self._names.items(list_name)
        start = max(0, start)
        found: list[str] = []
        while True:
            first = f"{start + len(found) + 1}-0"
            entries: list[Any] = self._questions.one(
                list_name, name, "XRANGE", name, first, "+", "COUNT", ITEMS_AT_ONCE
            )
            found += texts_of(entries)
            if len(entries) < ITEMS_AT_ONCE:
                return found

    def remove(self, list_name: str) -> None:
        """Forget a list."""
        name = self._names.items(list_name)
        self._questions.one(list_name, name, "UNLINK", name)

    def wait(self, list_name: str, start: int, seconds: float) -> list[str]:
        """The items from `start` on; if there are none, those that come within so many seconds."""
        start = max(0, start)
        came: list[str] | None = None
        if seconds > 0:
            name = self._names.items(list_name)
            came = wait_for_items(self._questions.route, name, start, seconds, self._timeout)
        return self.items(list_name, start) if came is None else came


class _Sender:
    """Has at most one append under way, and numbers them."""

    def __init__(self) -> None:
        self.name = secrets.token_hex(8).encode()
        self.number = 0


def read_appended(reply: list[Any], start: int) -> tuple[int, list[str] | None]:
    """What the server says when it was asked to add an item and to read from `start`."""
    position, *items = reply
    if len(items) != position + 1 - start:
        return position, None
    return position, [bytes(item).decode() for item in items]
