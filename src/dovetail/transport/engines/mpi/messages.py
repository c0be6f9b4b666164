"""How a message lies in the bytes that are sent.

A message is a short text (what it is, and some words) and a payload of bytes. Most fit into one
piece of mail. A larger payload follows as *bodies*: messages of their own, which the receiver
takes directly into the memory where they stay.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

MAIL_BYTES = 4096
"""The most bytes of a piece of mail: MPI sends as many without asking the receiver first."""
_LARGEST_BODY = 1 << 30
"""Bytes; MPI counts in 32 bits before its version 4."""
_SMALL_PART = 1 << 16
"""Bytes of parts that are gathered into one body: a copy is cheaper than another message."""
_MOST_BODIES = 256

_PREFIX = struct.Struct("<iiIQ")
"""Who sends, the tag of the bodies (-1: the payload is in the mail), bytes of text and payload."""


class Message(NamedTuple):
    """What one process says to another."""

    source: int
    kind: str
    number: int
    """Of the question that it asks or answers; 0 if it is neither."""
    words: list[Any]
    """JSON values."""
    payload: Any
    """Bytes that nobody changes any more."""


class Announced(NamedTuple):
    """A message whose payload is still to come."""

    message: Message
    tag: int
    sizes: list[int]
    """Bytes of each body."""


def pack(message: Message, sizes: Sequence[int], tag: int) -> bytes | None:
    """The mail of a message; None if it does not fit into one.

    Parameters
    ----------
    sizes
        Of the bodies that follow; none if the payload is in the mail.
    """
    text = json.dumps([message.kind, message.number, list(sizes), message.words]).encode()
    payload = b"" if sizes else bytes(message.payload)
    nbytes = sum(sizes) if sizes else len(payload)
    if _PREFIX.size + len(text) + len(payload) > MAIL_BYTES:
        return None
    return _PREFIX.pack(message.source, tag, len(text), nbytes) + text + payload


def unpack(mail: Any) -> Message | Announced:
    """A message from its mail, copied out of it."""
    source, tag, text_bytes, nbytes = _PREFIX.unpack_from(mail)
    view = memoryview(mail)[_PREFIX.size :]
    kind, number, sizes, words = json.loads(bytes(view[:text_bytes]))
    if tag < 0:
        payload = bytes(view[text_bytes : text_bytes + nbytes])
        return Message(source, kind, number, words, payload)
    return Announced(Message(source, kind, number, words, b""), tag, sizes)


def bodies_of(parts: Sequence[Any]) -> list[memoryview]:
    """The bytes of all parts, in as many messages as it pays to send.

    Large parts stay where they lie; small ones that follow each other are gathered.
    """
    total = sum(memoryview(part).nbytes for part in parts)
    small = max(_SMALL_PART, total // (_MOST_BODIES // 2))
    bodies: list[memoryview] = []
    gathered: list[memoryview] = []
    for part in parts:
        view = memoryview(part).cast("B")
        if view.nbytes < small:
            gathered.append(view)
            continue
        bodies += _joined(gathered)
        gathered = []
        bodies += _cut(view)
    return bodies + list(_joined(gathered))


def _joined(views: Sequence[memoryview]) -> Iterator[memoryview]:
    whole = b"".join(views)
    if whole:
        yield memoryview(whole)


def _cut(view: memoryview) -> Iterator[memoryview]:
    for start in range(0, view.nbytes, _LARGEST_BODY):
        yield view[start : start + _LARGEST_BODY]


def text_of(lines: Sequence[str]) -> list[bytes]:
    """Lines, none of which holds a line break, as a payload."""
    return ["\n".join(lines).encode()] if lines else []


def lines_of(payload: Any) -> list[str]:
    """What :func:`text_of` made."""
    text = bytes(payload).decode()
    return text.split("\n") if text else []
