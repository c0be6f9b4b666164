"""Aggregation lists as streams on the servers: each item once, in order of arrival."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from dovetail.transport.engines.redis import scripts
from dovetail.transport.engines.redis.protocol import packed
from dovetail.transport.engines.redis.questions import Questions
from dovetail.transport.engines.redis.watching import ITEMS_AT_ONCE, ListWatch, texts_of
from dovetail.transport.remote import Watch

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
        self._here = _Here()

    def append(self, list_name: str, item: str) -> int:
        """Add an item, once; its position."""
        name = self._names.items(list_name)
        with self._sender() as sender:
            sender.number += 1
            receipt = self._names.receipt(list_name, sender.name)
            command = packed(
                "EVAL", scripts.APPEND, 2, name, receipt, item, sender.number,
                self._receipt_seconds,
            )  # fmt: skip
            replies = self._questions.ask(list_name, name, [command], 1, nbytes=len(item))
        return int(replies[0])

    def items(self, list_name: str, start: int) -> list[str]:
        """The items from `start` on."""
        start = max(0, start)
        known, self._here.known = self._here.known, None
        if known is not None and known.list_name == list_name and known.start == start:
            self._here.seen = list_name, start + len(known.items)
            return known.items
        name = self._names.items(list_name)
        found: list[str] = []
        while True:
            first = f"{start + len(found) + 1}-0"
            entries: list[Any] = self._questions.one(
                list_name, name, "XRANGE", name, first, "+", "COUNT", ITEMS_AT_ONCE
            )
            found += texts_of(entries)
            if len(entries) < ITEMS_AT_ONCE:
                self._here.seen = list_name, start + len(found)
                return found

    def remove(self, list_name: str) -> None:
        """Forget a list."""
        name = self._names.items(list_name)
        self._questions.one(list_name, name, "UNLINK", name)

    @contextmanager
    def watch(self, list_name: str) -> Iterator[Watch]:
        """Wait from where this thread last looked: what came since then is never missed."""
        here = self._here
        watch = ListWatch(self._questions.route, self._names.items(list_name), self._timeout)

        def wait(seconds: float) -> None:
            start = here.seen[1] if here.seen[0] == list_name else 0
            items = watch.wait(start, seconds)
            if items is not None:  # so that the next look needs no question
                here.known = _Known(list_name, start, items)

        if here.seen[0] == list_name:
            here.known = _Known(list_name, here.seen[1], [])
        try:
            yield _Waiting(wait)
        finally:
            here.known = None

    @contextmanager
    def _sender(self) -> Iterator[_Sender]:
        """Somebody with at most one append under way. One that fails is not used again."""
        try:
            sender = self._senders.pop()
        except IndexError:
            sender = _Sender()
        yield sender
        self._senders.append(sender)


class _Sender:
    """Numbers its appends."""

    def __init__(self) -> None:
        self.name = secrets.token_hex(8).encode()
        self.number = 0


class _Known(NamedTuple):
    """Items of a list that need not be asked for."""

    list_name: str
    start: int
    items: list[str]


class _Here(threading.local):
    """What a thread knows."""

    def __init__(self) -> None:
        self.seen: tuple[str | None, int] = (None, 0)
        """The list that it looked at last, and how many items it then knew of."""
        self.known: _Known | None = None


class _Waiting:
    """A watch."""

    def __init__(self, wait: Callable[[float], None]) -> None:
        self.wait = wait
