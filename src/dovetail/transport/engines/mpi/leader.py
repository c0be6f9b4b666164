"""What the leader of a stream keeps for all who take part in it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import NamedTuple

from dovetail.transport.engines.mpi.messages import Message
from dovetail.transport.engines.mpi.post import Post, Reply


class _Parked(NamedTuple):
    """Somebody who waits for an entry."""

    log: int
    start: int
    until: float
    """By the clock of :func:`time.monotonic`."""
    reply: Reply


@dataclass(slots=True)
class _Record:
    """What is kept of one stream."""

    logs: dict[int, list[str]] = field(default_factory=dict)
    head: bytes = b""
    """The head of the logs as JSON; empty while the first log is the present one."""
    blocks: dict[str, int] = field(default_factory=dict)
    """Which process holds a block, by its name."""
    living: dict[str, int] = field(default_factory=dict)
    """Which process a participant belongs to, by its id."""
    parked: list[_Parked] = field(default_factory=list)

    @property
    def idle(self) -> bool:
        """Whether nothing of it is left, and nobody waits."""
        return not (self.logs or self.head or self.blocks or self.living or self.parked)


class Leader:
    """Logs, signs of life and the places of blocks, of all streams that this process leads.

    Every kind of message carries the stream's name as its first word.
    """

    def __init__(self, post: Post) -> None:
        self._post = post
        self._records: dict[str, _Record] = {}
        for kind in (
            "append", "read", "wait", "remove_log", "head", "put_head", "announce", "where",
            "blocks", "forget_block", "forget", "live", "gone", "alive",
        ):  # fmt: skip
            post.serve(kind, getattr(self, f"_{kind}"))
        post.chore(self._release_the_overdue)

    @property
    def has_streams(self) -> bool:
        """Whether some stream is not ended and read."""
        return any(record.logs for record in self._records.values())

    def bury(self, process: int) -> None:
        """A process has left: none of its participants lives on."""
        for record in self._records.values():
            for who in [who for who, at in record.living.items() if at == process]:
                del record.living[who]
        self._drop_idle()

    def _of(self, message: Message) -> _Record:
        return self._records.setdefault(message.words[0], _Record())

    def _drop_idle(self) -> None:
        for name in [name for name, record in self._records.items() if record.idle]:
            del self._records[name]

    # --- logs -------------------------------------------------------------------------------

    def _append(self, message: Message, reply: Reply) -> None:
        record = self._of(message)
        _, log, entry = message.words
        entries = record.logs.setdefault(log, [])
        entries.append(entry)
        reply(len(entries) - 1)
        for parked in list(record.parked):
            if parked.log == log and parked.start < len(entries):
                record.parked.remove(parked)
                parked.reply(parts=text_of(entries[parked.start :]))

    def _read(self, message: Message, reply: Reply) -> None:
        _, log, start = message.words
        reply(parts=text_of(self._of(message).logs.get(log, [])[start:]))
        self._drop_idle()

    def _wait(self, message: Message, reply: Reply) -> None:
        record = self._of(message)
        _, log, start, seconds = message.words
        entries = record.logs.get(log, [])
        if start < len(entries):
            reply(parts=text_of(entries[start:]))
        else:
            record.parked.append(_Parked(log, start, time.monotonic() + seconds, reply))

    def _release_the_overdue(self) -> bool:
        now = time.monotonic()
        released = False
        for record in self._records.values():
            for parked in [one for one in record.parked if one.until <= now]:
                record.parked.remove(parked)
                parked.reply()
                released = True
        return released

    def _remove_log(self, message: Message, reply: Reply) -> None:
        self._of(message).logs.pop(message.words[1], None)
        reply()
        self._drop_idle()

    def _head(self, message: Message, reply: Reply) -> None:
        reply(parts=[self._of(message).head])
        self._drop_idle()

    def _put_head(self, message: Message, reply: Reply) -> None:
        self._of(message).head = bytes(message.payload)
        reply()

    # --- blocks -----------------------------------------------------------------------------

    def _announce(self, message: Message, reply: Reply) -> None:
        self._of(message).blocks[message.words[1]] = message.source

    def _where(self, message: Message, reply: Reply) -> None:
        reply(self._of(message).blocks.get(message.words[1]))
        self._drop_idle()

    def _blocks(self, message: Message, reply: Reply) -> None:
        reply(parts=text_of(list(self._of(message).blocks)))
        self._drop_idle()

    def _forget_block(self, message: Message, reply: Reply) -> None:
        name, block = message.words
        place = self._of(message).blocks.pop(block, None)
        if place is not None:
            self._post.tell(place, "drop", self._post.rank, name, block)
        reply()
        self._drop_idle()

    def _forget(self, message: Message, reply: Reply) -> None:
        record = self._of(message)
        record.logs.clear()
        record.head = b""
        reply()
        self._drop_idle()

    # --- signs of life ----------------------------------------------------------------------

    def _live(self, message: Message, reply: Reply) -> None:
        self._of(message).living[message.words[1]] = message.source
        reply()

    def _gone(self, message: Message, reply: Reply) -> None:
        self._of(message).living.pop(message.words[1], None)
        self._drop_idle()

    def _alive(self, message: Message, reply: Reply) -> None:
        living = self._of(message).living
        reply(parts=text_of([who for who in lines_of(message.payload) if who in living]))
        self._drop_idle()


def text_of(lines: list[str]) -> list[bytes]:
    """Lines, none of which holds a line break, as a payload."""
    return ["\n".join(lines).encode()]


def lines_of(payload: bytes) -> list[str]:
    """What :func:`text_of` made."""
    text = bytes(payload).decode()
    return text.split("\n") if text else []
