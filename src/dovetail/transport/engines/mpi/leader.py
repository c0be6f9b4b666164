"""What the leader of a stream keeps for all who take part in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from dovetail.transport.engines.mpi.messages import Message, lines_of, text_of
from dovetail.transport.engines.mpi.post import Post, Reply


class _Unanswered(NamedTuple):
    """Somebody who has appended an entry."""

    process: int
    position: int
    reply: Reply


@dataclass(slots=True)
class _Log:
    """One log, and who has a copy of it."""

    entries: list[str] = field(default_factory=list)
    life: int = 0
    """How many logs had this number before."""
    followers: set[int] = field(default_factory=set)
    told: int = 0
    """How many entries the followers know."""
    unanswered: list[_Unanswered] = field(default_factory=list)


@dataclass(slots=True)
class _Record:
    """What is kept of one stream."""

    logs: dict[int, _Log] = field(default_factory=dict)
    head: bytes = b""
    """The head of the logs as JSON; empty while the first log is the present one."""
    blocks: dict[str, int] = field(default_factory=dict)
    """Which process holds a block, by its name."""
    living: dict[str, int] = field(default_factory=dict)
    """Which process a participant belongs to, by its id."""

    def has_entries(self) -> bool:
        """Whether it is not ended, or not read to the end."""
        return any(log.entries for log in self.logs.values())

    def is_idle(self) -> bool:
        """Whether nothing of it is left, and nobody waits."""
        followed = any(log.followers for log in self.logs.values())
        return not (self.has_entries() or followed or self.head or self.blocks or self.living)


class Leader:
    """Logs, signs of life and the places of blocks, of all streams that this process leads.

    Every kind of message carries the stream's name as its first word.
    """

    def __init__(self, post: Post) -> None:
        self._post = post
        self._records: dict[str, _Record] = {}
        self._news: dict[tuple[str, int], _Log] = {}
        """Logs that have entries which their followers have not been told of."""
        for kind in (
            "append", "follow", "unfollow", "remove_log", "head", "put_head", "announce", "where",
            "blocks", "forget_block", "forget", "live", "gone", "alive",
        ):  # fmt: skip
            post.serve(kind, getattr(self, f"_{kind}"))
        post.chore(self._tell_the_news)

    def has_streams(self) -> bool:
        """Whether some stream is not ended, or not read to the end."""
        return any(record.has_entries() for record in self._records.values())

    def bury(self, process: int) -> None:
        """A process has left: none of its participants lives on."""
        for record in self._records.values():
            for who in [who for who, at in record.living.items() if at == process]:
                del record.living[who]
            for log in record.logs.values():
                log.followers.discard(process)
        self._drop_idle()

    def _of(self, message: Message) -> _Record:
        return self._records.setdefault(message.words[0], _Record())

    def _drop_idle(self) -> None:
        for name in [name for name, record in self._records.items() if record.is_idle()]:
            del self._records[name]

    # --- logs -------------------------------------------------------------------------------

    def _append(self, message: Message, reply: Reply) -> None:
        name, number = message.words
        entry = bytes(message.payload).decode()
        log = self._of(message).logs.setdefault(number, _Log())
        log.unanswered.append(_Unanswered(message.source, len(log.entries), reply))
        log.entries.append(entry)
        self._news[name, number] = log

    def _tell_the_news(self) -> bool:
        """Tell followers of all that was appended since, before anybody has an answer.

        Who waits for an answer gets the news with it.
        """
        if not self._news:
            return False
        for (name, number), log in self._news.items():
            start, text = log.told, text_of(log.entries[log.told :])
            log.told = len(log.entries)
            answered = {one.process for one in log.unanswered}
            for process in log.followers - answered:
                self._post.tell(process, "entries", name, number, log.life, start, parts=text)
            for process, position, reply in log.unanswered:
                news = text if process in log.followers and process in answered else []
                answered.discard(process)
                reply(position, log.life, start, parts=news)
            log.unanswered = []
        self._news = {}
        return True

    def _follow(self, message: Message, reply: Reply) -> None:
        self._tell_the_news()
        log = self._of(message).logs.setdefault(message.words[1], _Log())
        log.followers.add(message.source)
        reply(log.life, parts=text_of(log.entries))

    def _unfollow(self, message: Message, reply: Reply) -> None:
        log = self._of(message).logs.get(message.words[1])
        if log is not None:
            log.followers.discard(message.source)
        self._drop_idle()

    def _remove_log(self, message: Message, reply: Reply) -> None:
        self._clear(self._of(message), *message.words)
        reply()
        self._drop_idle()

    def _forget(self, message: Message, reply: Reply) -> None:
        record = self._of(message)
        for number in record.logs:
            self._clear(record, message.words[0], number)
        record.head = b""
        reply()
        self._drop_idle()

    def _clear(self, record: _Record, name: str, number: int) -> None:
        """Remove all entries of a log; what is appended later begins at position 0."""
        self._tell_the_news()
        log = record.logs.get(number)
        if log is None:
            return
        log.entries, log.told = [], 0
        log.life += 1
        for process in log.followers:
            self._post.tell(process, "cleared", name, number, log.life)

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
