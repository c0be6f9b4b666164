"""Values as strings on the servers: whole, or in chunks that a manifest stands for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dovetail.errors import CorruptDataError, StoreFullError
from dovetail.transport.engines.redis import scripts
from dovetail.transport.engines.redis.keys import Manifest, slot_of
from dovetail.transport.engines.redis.protocol import Refusal, opened, packed
from dovetail.transport.engines.redis.questions import Questions
from dovetail.transport.engines.redis.refusals import first_refusal
from dovetail.transport.engines.redis.routes import Replied
from dovetail.transport.remote import Head
from dovetail.transport.values import (
    VERSION_AT,
    VERSION_DIGITS,
    Encoded,
    bytes_of_header,
    new_version,
)

CHUNK_SECONDS = 300
"""How long a chunk lives that is not published."""
_HEAD_NBYTES = 4096
_LENGTH_NBYTES = 8
_OPENING = b'{"__metadata__":{"dovetail.version":"'
_VALUES_AT_ONCE = 64
_NBYTES_AT_ONCE = 32 << 20
_BEGIN, _END = packed("MULTI"), packed("EXEC")
_FORGET_AND_SET = (
    b"*5\r\n$4\r\nEVAL\r\n$%d\r\n%b\r\n$1\r\n1\r\n" % (len(scripts.FORGET), scripts.FORGET)
).replace(b"%", b"%%") + b"$%d\r\n%b\r\n$%d\r\n%b\r\n*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n"
"""Two commands; the bytes of the value follow."""

Pair = tuple[str, Encoded]


class Strings:
    """The values of one store.

    Parameters
    ----------
    chunk
        Bytes; a longer value is cut into pieces of this size.
    """

    def __init__(self, questions: Questions, chunk: int) -> None:
        self._questions = questions
        self._names = questions.names
        self._chunk = chunk
        self._publish = b"SPUBLISH" if questions.route.sharded_news else b"PUBLISH"
        # Written out: this is on the way of every value.
        self._news = b"\r\n*3\r\n$%d\r\n%b\r\n$%%d\r\n%%b\r\n$32\r\n%%b\r\n" % (
            len(self._publish), self._publish,
        )  # fmt: skip

    def write(self, key: str, value: Encoded) -> None:
        """Publish a value: one transaction, or many chunks and then a manifest."""
        if self.fits_in_one(value):
            self._write_whole(key, value)
        else:
            self._write_in_chunks(key, value)

    def fits_in_one(self, value: Encoded) -> bool:
        """Whether a value is one string."""
        return value.nbytes <= self._chunk

    def write_with(self, key: str, value: Encoded, command: bytes) -> Any:
        """Publish a value that is one string, and do something else that the same server can.

        Either both are done or, if the server is full, neither. The reply to the command.
        """
        return self._write_whole(key, value, command)[-1][-1]

    def _write_whole(self, key: str, value: Encoded, *commands: bytes) -> Replied:
        begin, parts, end = self._transaction(key, value)
        request = [_BEGIN + begin, *parts, b"".join((end, *commands, _END))]
        count = 5 + len(commands)
        name = self._names.value(key)
        return self._questions.ask(key, name, request, count, nbytes=value.nbytes)

    def write_many(self, values: Sequence[Pair]) -> None:
        """Publish values in order: on one server a handful at once, else one by one."""
        for window in _windows(values, self._chunk):
            if len(window) == 1 or self._questions.route.split or not self._write_at_once(window):
                for key, value in window:
                    self.write(key, value)

    def read(self, key: str) -> Any | None:
        """The bytes of a value; None if there is none."""
        name = self._names.value(key)
        return self._whole(key, self._questions.one(key, name, "GET", name))

    def read_many(self, keys: Sequence[str]) -> list[Any | None]:
        """Several values, asked for together."""
        names = [self._names.value(key) for key in keys]
        route = self._questions.route
        found: list[Any | None] = [None] * len(keys)
        for server, indices in route.by_server(names).items():
            for first in range(0, len(indices), _VALUES_AT_ONCE):
                window = indices[first : first + _VALUES_AT_ONCE]
                request = b"".join(packed("GET", names[index]) for index in window)
                replies = route.ask_server(server, [request], len(window))
                for index, reply in zip(window, replies, strict=True):
                    if isinstance(reply, Refusal):  # it has moved, or is worth an error
                        found[index] = self.read(keys[index])
                    else:
                        found[index] = self._whole(keys[index], reply)
        return found

    def read_head(self, key: str) -> Head | None:
        """The beginning of a value, its whole header at least; None if there is none."""
        while True:
            head = self._head(key, self._names.value(key))
            manifest = None if head is None else self._manifest(key, head.prefix)
            if manifest is None:
                return head
            chunk = self._head(key, self._names.chunk(key, manifest.version, 0), manifest.nbytes)
            if chunk is None:
                self._all_there(key, manifest)
            elif self._missing(key, chunk) == 0:
                return chunk
            else:  # the header does not end in the first chunk
                whole = self.read(key)
                return None if whole is None else Head(whole, len(whole))

    def exists(self, key: str) -> bool:
        """Whether there is a value."""
        name = self._names.value(key)
        return bool(self._questions.one(key, name, "EXISTS", name))

    def remove(self, key: str) -> bool:
        """Remove a value; whether there was one."""
        name = self._names.value(key)
        command = packed("EVAL", scripts.REMOVE, 1, name, self._names.chunks(key))
        replies = self._questions.ask(key, name, [command], 1)
        return bool(replies[0]) or replies.again

    def move(self, key: str, new_key: str) -> bool:
        """Rename a value; whether there was one."""
        name, new_name = self._names.value(key), self._names.value(new_key)
        if self._questions.route.split and slot_of(name) != slot_of(new_name):
            return self._move_across(key, new_key)
        command = packed(
            "EVAL", scripts.MOVE, 2, name, new_name, self._names.chunks(key),
            self._names.chunks(new_key), self._publish, self._names.news(new_key),
        )  # fmt: skip
        replies = self._questions.ask(key, name, [command], 1)
        return bool(replies[0]) or (replies.again and self.exists(new_key))

    def _transaction(self, key: str, value: Encoded) -> tuple[bytes, Sequence[Any], bytes]:
        """What publishes a value between MULTI and EXEC: three commands."""
        names = self._names
        name, chunks, news = names.value(key), names.chunks(key), names.news(key)
        begin = _FORGET_AND_SET % (
            len(name),
            name,
            len(chunks),
            chunks,
            len(name),
            name,
            value.nbytes,
        )
        end = self._news % (len(news), news, value.version.encode())
        return begin, value.parts, end

    def _write_at_once(self, window: Sequence[Pair]) -> bool:
        """Publish values in one transaction; False if nothing of it was done."""
        buffers: list[Any] = [_BEGIN]
        for key, value in window:
            begin, parts, end = self._transaction(key, value)
            buffers += [begin, *parts, end]
        name = self._names.value(window[0][0])
        replies = self._questions.route.ask(name, [*buffers, _END], 3 * len(window) + 2)
        return first_refusal(replies) is None

    def _write_in_chunks(self, key: str, value: Encoded) -> None:
        name, nbytes = self._names.value(key), value.nbytes
        manifest = Manifest(value.version.encode(), nbytes, self._chunk)
        chunks: list[bytes] = []
        try:
            for parts in _cut(value.parts, self._chunk):
                # The time of those before is extended: a large value may take long.
                extend = [packed("EXPIRE", chunk, CHUNK_SECONDS) for chunk in chunks]
                chunks.append(self._names.chunk(key, manifest.version, len(chunks)))
                held = sum(memoryview(part).nbytes for part in parts)
                begin = b"".join(extend) + opened(held, b"SETEX", chunks[-1], b"%d" % CHUNK_SECONDS)
                request = [begin, *parts, b"\r\n"]
                self._questions.ask(key, name, request, len(chunks), nbytes=nbytes)
            publish = packed(
                "EVAL", scripts.PUBLISH, 1 + len(chunks), name, *chunks, self._names.chunks(key),
                manifest.to_bytes(), self._publish, self._names.news(key), manifest.version,
            )  # fmt: skip
            self._questions.ask(key, name, [publish], 1, nbytes=nbytes)
        except StoreFullError:
            self._questions.one(key, name, "UNLINK", *chunks)
            raise

    def _whole(self, key: str, value: Any) -> Any | None:
        """A value from the string under its key."""
        name = self._names.value(key)
        while value is not None:
            manifest = self._manifest(key, value)
            if manifest is None:
                return value
            whole = self._from_chunks(key, manifest)
            if whole is not None:
                return whole
            value = self._questions.one(key, name, "GET", name)
        return None

    def _from_chunks(self, key: str, manifest: Manifest) -> memoryview | None:
        """The value that lies in chunks; None if it is being replaced."""
        if not self._all_there(key, manifest):
            return None
        whole = np.empty(manifest.nbytes, np.uint8).data
        for number in range(manifest.count):
            room = whole[number * manifest.chunk_nbytes :][: manifest.chunk_nbytes]
            name = self._names.chunk(key, manifest.version, number)
            (chunk,) = self._questions.ask(key, name, [packed("GET", name)], 1, room)
            if chunk is None or len(chunk) != len(room):
                return None
            if chunk is not room:
                room[:] = chunk
        return whole

    def _all_there(self, key: str, manifest: Manifest) -> bool:
        """Whether all chunks are there and have their sizes; False if they are being replaced."""
        names = [
            self._names.chunk(key, manifest.version, number) for number in range(manifest.count)
        ]
        request = b"".join(packed("STRLEN", name) for name in names)
        lengths = self._questions.ask(key, names[0], [request], len(names))
        whole = [manifest.chunk_nbytes] * (manifest.count - 1)
        whole.append(manifest.nbytes - manifest.chunk_nbytes * len(whole))
        if lengths == whole:
            return True
        if self._still(key, manifest):
            wrong = next(n for n in range(len(whole)) if lengths[n] != whole[n])
            raise CorruptDataError(
                f"the value of {key[:200]!r} in {self._questions.label} was damaged by something "
                f"else: its chunk {wrong} of {manifest.count} has {lengths[wrong]} bytes instead "
                f"of {whole[wrong]}. Put it again"
            )
        return False

    def _still(self, key: str, manifest: Manifest) -> bool:
        """Whether the value is still the one that the manifest stands for."""
        name = self._names.value(key)
        now = self._questions.one(key, name, "GETRANGE", name, 0, Manifest.NBYTES - 1)
        return bool(now == manifest.to_bytes())

    def _manifest(self, key: str, value: bytes | memoryview) -> Manifest | None:
        try:
            return Manifest.read(value)
        except CorruptDataError as error:
            raise CorruptDataError(
                f"the value of {key[:200]!r} in {self._questions.label} is {error}"
            ) from None

    def _head(self, key: str, name: bytes, nbytes: int | None = None) -> Head | None:
        """The beginning of a string, as far as the header of the value in it goes."""
        wanted = _HEAD_NBYTES
        while True:
            reply = self._questions.one(key, name, "EVAL", scripts.HEAD, 1, name, wanted)
            if reply is None:
                return None
            prefix, length = reply
            head = Head(prefix, length if nbytes is None else nbytes)
            if prefix[:8] == Manifest.MAGIC or len(prefix) == length:
                return head
            missing = self._missing(key, head)
            if missing == 0:
                return head
            wanted = len(prefix) + missing

    def _missing(self, key: str, head: Head) -> int:
        """Bytes of the header that the beginning of a value lacks."""
        held = len(head.prefix)
        if held < min(_LENGTH_NBYTES, head.nbytes):
            return _LENGTH_NBYTES - held
        what = f"the value of {key[:200]!r} in {self._questions.label}"
        return max(0, bytes_of_header(head.prefix, head.nbytes, what) - held)

    def _move_across(self, key: str, new_key: str) -> bool:
        """Put the same bytes under the new key; remove the old one if it is still the same."""
        name = self._names.value(key)
        while True:
            string = self._questions.one(key, name, "GET", name)
            whole = self._whole(key, string)
            if whole is None:
                return False
            self.write(new_key, Encoded(new_version(), len(whole), len(whole), [whole]))
            beginning = bytes(string[: VERSION_AT + VERSION_DIGITS])
            if self._questions.one(
                key, name, "EVAL", scripts.REMOVE_IF, 1, name, self._names.chunks(key),
                len(string), beginning,
            ):  # fmt: skip
                return True


def is_ours(beginning: Any) -> bool:
    """Whether a string that begins so, with its first 72 bytes, was written here."""
    if isinstance(beginning, Refusal):  # of another type
        return False
    if beginning[8 : 8 + len(_OPENING)] == _OPENING:
        return True
    try:
        return Manifest.read(beginning) is not None
    except CorruptDataError:
        return False


def _windows(values: Sequence[Pair], chunk: int) -> Iterator[list[Pair]]:
    """Values in order, a handful at a time; one that is cut into chunks comes alone."""
    window: list[Pair] = []
    held = 0
    for pair in values:
        nbytes = pair[1].nbytes
        alone = nbytes > chunk
        if window and (alone or len(window) == _VALUES_AT_ONCE or held + nbytes > _NBYTES_AT_ONCE):
            yield window
            window, held = [], 0
        if alone:
            yield [pair]
        else:
            window.append(pair)
            held += nbytes
    if window:
        yield window


def _cut(parts: Sequence[Any], nbytes: int) -> Iterator[list[Any]]:
    """The same bytes in pieces of `nbytes`, without a copy."""
    piece: list[Any] = []
    room = nbytes
    for part in parts:
        view = memoryview(part).cast("B")
        while len(view):
            taken, view = view[:room], view[room:]
            piece.append(taken)
            room -= len(taken)
            if room == 0:
                yield piece
                piece, room = [], nbytes
    if piece:
        yield piece
