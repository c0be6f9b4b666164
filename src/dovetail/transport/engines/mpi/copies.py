"""Copies of logs in the processes that follow them, kept up by the leader.

So to read a log, and to wait for an entry, costs no message. What the leader has done before it
answered a question of this process is always in the copy when the answer comes.
"""

from __future__ import annotations

from typing import NamedTuple

from dovetail.transport.deadlines import Deadline
from dovetail.transport.engines.mpi.messages import Message, lines_of
from dovetail.transport.engines.mpi.post import Answer, Post, Reply


class Key(NamedTuple):
    """Which log."""

    leader: int
    stream: str
    log: int


class Copy:
    """A copy of one log."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.users = 0
        self.complete = False
        """It holds all that the leader had when it was asked."""
        self._life = -1
        """Which of the logs that had this number it is a copy of."""
        self._early: list[tuple[int, int, list[str]]] = []
        """Entries that came before those that they follow; long messages take longer."""

    def begin(self, life: int, entries: list[str]) -> None:
        """Take all that there is so far."""
        self._life, self.entries, self.complete = life, entries, True
        self._catch_up()

    def clear(self, life: int) -> None:
        """Begin anew: the log was removed."""
        self._life, self.entries = life, []
        self._catch_up()

    def add(self, life: int, start: int, entries: list[str]) -> None:
        """Take entries that come from a position on."""
        self._early.append((life, start, entries))
        self._catch_up()

    def _catch_up(self) -> None:
        if not self.complete:
            return
        for life, start, entries in sorted(self._early):
            if life == self._life and start <= len(self.entries):
                self.entries += entries[len(self.entries) - start :]
        self._early = [
            one for one in self._early if one[0] > self._life or one[1] > len(self.entries)
        ]


class Copies:
    """The copies of this process, each shared by all who follow the log."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._copies: dict[Key, Copy] = {}
        post.serve("entries", self._entries)
        post.serve("cleared", self._cleared)

    def follow(self, key: Key, deadline: Deadline) -> Copy | None:
        """The copy of a log, complete; None if the leader does not answer in time."""
        with self._post.changed:
            copy = self._copies.get(key)
            first = copy is None
            if copy is None:
                copy = self._copies[key] = Copy()
            copy.users += 1
        if first:
            self._post.ask(
                key.leader, "follow", key.stream, key.log, deadline=deadline,
                arrived=lambda answer: copy.begin(answer.words[0], lines_of(answer.payload)),
            )  # fmt: skip
        if self._post.wait_until(lambda: copy.complete, deadline):
            return copy
        self.release(key)
        return None

    def release(self, key: Key) -> None:
        """Follow a log no longer."""
        with self._post.changed:
            copy = self._copies[key]
            copy.users -= 1
            if copy.users == 0:
                del self._copies[key]
                self._post.tell(key.leader, "unfollow", key.stream, key.log)

    def appended(self, key: Key, answer: Answer) -> None:
        """Take what an answer to an appended entry brings."""
        copy = self._copies.get(key)
        _, life, start = answer.words
        if copy is not None:
            copy.add(life, start, lines_of(answer.payload))

    def _entries(self, message: Message, reply: Reply) -> None:
        stream, log, life, start = message.words
        copy = self._copies.get(Key(message.source, stream, log))
        if copy is not None:
            copy.add(life, start, lines_of(message.payload))

    def _cleared(self, message: Message, reply: Reply) -> None:
        stream, log, life = message.words
        copy = self._copies.get(Key(message.source, stream, log))
        if copy is not None:
            copy.clear(life)
