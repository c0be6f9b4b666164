"""How a store and the keeper of its dictionary talk: JSON messages, some with bytes behind them.

::

    4 bytes   length of the message, little-endian
    8 bytes   length of the bytes behind it
    message   JSON
    bytes     a value in its frame, or the beginning of one

A client proves that it knows the server's token without sending it: the keeper begins with a
number used once, and the client answers with its HMAC.

A value is kept in the dictionary in a *frame*: 64 bytes that say how long it is and what its
64-bit words add up to, since an overfull dictionary has been seen to cut values short.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from typing import Any, NamedTuple

import numpy as np

from dovetail.errors import CorruptDataError

PROTOCOL = 2
"""Raised when keeper and clients would no longer understand each other."""
INLINE = 128 << 10
"""Bytes up to which a value travels behind its message; larger ones through shared memory."""
LONGEST_MESSAGE = 64 << 20
"""Bytes; nothing honest is longer (a list of a million keys is not)."""

Message = dict[str, Any]

_LENGTHS = struct.Struct("<IQ")
LENGTHS = _LENGTHS.size


class Lengths(NamedTuple):
    """What the first bytes of a message say."""

    message: int
    behind: int


def lengths_of(prefix: Any) -> Lengths:
    """The lengths at the beginning of a message."""
    return Lengths(*_LENGTHS.unpack_from(prefix))


def packed(message: Message, behind: int = 0) -> bytes:
    """A message, ready to be sent before the bytes behind it."""
    text = json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()
    return _LENGTHS.pack(len(text), behind) + text


def proof(token: str, nonce: str) -> str:
    """What only somebody who knows the token can answer."""
    return hmac.new(token.encode(), nonce.encode(), hashlib.sha256).hexdigest()


# --- frames ----------------------------------------------------------------------------------

_FRAME = struct.Struct("<8sQQ32s8x")
_MAGIC = b"DOVETAIL"
FRAME = _FRAME.size


def frame(value: Any, version: str) -> bytes:
    """The frame of a value that lies in one piece."""
    return _FRAME.pack(_MAGIC, len(value), checksum(value), version.encode())


def unframed(framed: Any, what: str) -> memoryview:
    """The value inside a frame, checked; no copy.

    Raises
    ------
    CorruptDataError
        If bytes are missing, or others than were put.
    """
    view = memoryview(framed)
    if len(view) < FRAME:
        raise CorruptDataError(
            f"{what} was cut down to {len(view)} bytes by the dictionary: put it again"
        )
    magic, nbytes, sum_of_words, _ = _FRAME.unpack_from(view)
    if magic != _MAGIC:
        raise CorruptDataError(f"{what} is not framed as Dovetail does: something else wrote it")
    value = view[FRAME:]
    if len(value) != nbytes or checksum(value) != sum_of_words:
        raise CorruptDataError(
            f"{what} came back from the dictionary as {len(value)} of {nbytes} bytes, or with "
            f"others than were put: put it again"
        )
    return value


def version_in(framed: Any) -> str:
    """The version token in the frame of a value; nothing if that is no frame of ours."""
    if len(framed) < FRAME:
        return ""
    magic, _, _, version = _FRAME.unpack_from(framed)
    return str(version, "ascii", "replace") if magic == _MAGIC else ""


def checksum(value: Any) -> int:
    """The sum of the 64-bit words of a buffer, and of the bytes that are left over."""
    whole = len(value) // 8
    words = np.frombuffer(value, "<u8", whole)
    rest = bytes(memoryview(value)[whole * 8 :])
    return (int(np.add.reduce(words)) + int.from_bytes(rest, "little")) % 2**64
