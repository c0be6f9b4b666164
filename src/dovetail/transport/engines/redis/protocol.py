"""RESP3, the protocol of Redis and Valkey: commands out, replies in, large values without copies.

What is sent lies where it lay; a large reply is received into memory of its own.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple, Protocol

from dovetail.transport.engines.redis.rooms import Rooms

Word = bytes | str | int

LARGE = 16 << 10
"""Bytes from which on a string is received into memory of its own."""
_ROOM = 16 << 10
_DEEPEST = 16
_MOST_ELEMENTS = 1 << 28
_LONGEST_STRING = 1 << 30


class Refusal(NamedTuple):
    """An error that the server answered with."""

    code: str
    """Its first word, such as ``OOM`` or ``MOVED``."""
    text: str
    """All of it."""


class ProtocolError(Exception):
    """What came is no RESP. The argument is how it begins."""


class Socket(Protocol):
    """What replies are read from."""

    def receive_into(self, room: memoryview) -> int:
        """Wait for bytes; how many came. 0 at the end. Raises OSError."""
        ...

    def fill(self, room: memoryview, rest: memoryview) -> int:
        """Wait until `room` is full; how many bytes more came, into `rest`. Raises OSError."""
        ...


def packed(*words: Word) -> bytes:
    """A command as it is sent."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        if isinstance(word, str):
            word = word.encode()
        elif isinstance(word, int):
            word = b"%d" % word
        parts.append(b"$%d\r\n%b\r\n" % (len(word), word))
    return b"".join(parts)


def opened(nbytes: int, *words: bytes) -> bytes:
    """The beginning of a command whose last word has `nbytes`; the word and a line end follow."""
    return b"*%d\r\n%b$%d\r\n" % (len(words) + 1, packed(*words).partition(b"\r\n")[2], nbytes)


class Replies:
    """The replies on one connection, in order; what was pushed in between is kept apart."""

    def __init__(self, source: Socket, rooms: Rooms) -> None:
        self._source = source
        self._rooms = rooms
        self._room = bytearray(_ROOM)
        self._view = memoryview(self._room)
        self._at = 0
        self._end = 0
        self.pushed: deque[list[Any]] = deque(maxlen=1024)
        """Messages that were no replies, oldest first; only the newest are kept."""
        self.room: memoryview | None = None
        """Where the next large string goes, if it has this size."""

    @property
    def waiting(self) -> bool:
        """Whether bytes are here that nobody has read."""
        return self._at < self._end

    def next(self) -> Any:
        """The next reply.

        Returns
        -------
        object
            None, bool, int, float, bytes, a memoryview (a large string), a list, a dict, or a
            :class:`Refusal`.

        Raises
        ------
        ProtocolError, OSError
        """
        while True:
            kind, value = self._any(0)
            if kind != b">":
                return value
            self.pushed.append(value)

    def next_push(self) -> list[Any] | Refusal:
        """The next message that was pushed, or refusal; other replies are passed over."""
        while not self.pushed:
            kind, value = self._any(0)
            if kind == b">":
                self.pushed.append(value)
            elif type(value) is Refusal:
                return value
        return self.pushed.popleft()

    def _any(self, depth: int) -> tuple[bytes, Any]:
        line = self._line()
        kind, rest = line[:1], line[1:]
        try:
            if kind == b"$" or kind == b"=":
                return kind, self._string(int(rest))
            if kind == b"+":
                return kind, rest
            if kind == b":":
                return kind, int(rest)
            if kind == b"-":
                return kind, _refusal(rest)
            if kind == b"!":
                return kind, _refusal(bytes(self._string(int(rest)) or b""))
            if kind == b"_":
                return kind, None
            if kind == b"#":
                return kind, rest == b"t"
            if kind == b",":
                return kind, float(rest)
            if kind == b"(":
                return kind, int(rest)
            if kind in (b"*", b"~", b">", b"%", b"|"):
                return self._many(kind, int(rest), depth)
        except (ValueError, TypeError):  # no number; or a map whose key is a list
            pass
        raise ProtocolError(line[:80])

    def _many(self, kind: bytes, count: int, depth: int) -> tuple[bytes, Any]:
        if count > _MOST_ELEMENTS or depth >= _DEEPEST:
            raise ValueError
        if count < 0:
            return kind, None
        if kind in (b"*", b"~", b">"):
            return kind, [self._any(depth + 1)[1] for _ in range(count)]
        pairs = {}
        for _ in range(count):
            key = self._any(depth + 1)[1]
            pairs[bytes(key) if isinstance(key, memoryview) else key] = self._any(depth + 1)[1]
        return self._any(depth + 1) if kind == b"|" else (kind, pairs)  # "|": about what follows

    def _line(self) -> bytes:
        while True:
            stop = self._room.find(b"\r\n", self._at, self._end)
            if stop >= 0:
                line = bytes(self._view[self._at : stop])
                self._at = stop + 2
                return line
            # Another kind of server may never end its line.
            if self._at < self._end and self._room[self._at] not in b"$+:-!_#,(*~>%|=":
                raise ProtocolError(bytes(self._view[self._at : min(self._end, self._at + 80)]))
            self._more()

    def _string(self, nbytes: int) -> bytes | memoryview | None:
        if nbytes < 0:
            return None
        if nbytes > _LONGEST_STRING:
            raise ValueError
        if nbytes >= LARGE:
            return self._large(nbytes)
        while self._end - self._at < nbytes + 2:
            self._more()
        value = bytes(self._view[self._at : self._at + nbytes])
        self._at += nbytes + 2
        return value

    def _large(self, nbytes: int) -> memoryview:
        value, self.room = self.room, None
        if value is None or value.nbytes != nbytes:
            value = self._rooms.take(nbytes)
        here = min(self._end - self._at, nbytes)
        value[:here] = self._view[self._at : self._at + here]
        self._at += here
        if here < nbytes:
            self._at, self._end = 0, self._source.fill(value[here:], self._view)
        while self._end - self._at < 2:
            self._more()
        self._at += 2
        return value

    def _more(self) -> None:
        if self._at == self._end:
            self._at = self._end = 0
        elif self._end == _ROOM:
            if self._at == 0:
                raise ProtocolError(bytes(self._view[:80]))
            held = self._end - self._at
            self._view[:held] = bytes(self._view[self._at : self._end])
            self._at, self._end = 0, held
        got = self._source.receive_into(self._view[self._end :])
        if got == 0:
            raise ConnectionResetError("the server closed the connection")
        self._end += got


def _refusal(line: bytes) -> Refusal:
    text = line.decode(errors="replace")
    return Refusal(text.partition(" ")[0], text)
