"""The names of things on a server, and what a manifest says.

Described for clients in any language in ``docs/engines/redis-key-layout.md``.
"""

from __future__ import annotations

import re
from binascii import crc_hqx
from dataclasses import dataclass
from typing import ClassVar, Self

from dovetail.errors import CorruptDataError, InvalidURLError

DEFAULT_NAME = "default"
SLOTS = 16384
"""Hash slots of a cluster."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@-]{0,199}")
_GLOB = re.compile(rb"([*?\[\]\\])")
_KINDS = (b"dv:", b"dv.chunk:", b"dv.list:", b"dv.receipt:")


class Names:
    """What the keys of one store are called."""

    def __init__(self, name: str) -> None:
        self._tag = b"{" + name.encode()

    def value(self, key: str) -> bytes:
        """The string that is a value, or its manifest."""
        return b"dv:" + self._tagged(key)

    def chunks(self, key: str) -> bytes:
        """What the chunks of a value begin with; version, ``:`` and number follow."""
        return b"dv.chunk:" + self._tagged(key) + b":"

    def chunk(self, key: str, version: bytes, number: int) -> bytes:
        return b"%b%b:%d" % (self.chunks(key), version, number)

    def items(self, list_name: str) -> bytes:
        """The stream that is a list."""
        return b"dv.list:" + self._tagged(list_name)

    def receipt(self, list_name: str, sender: bytes) -> bytes:
        """Which append was the last that a sender did."""
        return b"dv.receipt:" + self._tagged(list_name) + b":" + sender

    def news(self, key: str) -> bytes:
        """The channel that says when another value is under a key."""
        return b"dv.news:" + self._tagged(key)

    def lifeline(self, who: str) -> bytes:
        """The channel that somebody is subscribed to while it lives."""
        return b"dv.lifeline:" + self._tag + b"}:" + who.encode()

    @property
    def home(self) -> bytes:
        """Any key of the slot where the lifelines of the store hang."""
        return b"dv.lifeline:" + self._tag + b"}"

    def values_like(self, prefix: str) -> bytes:
        """A pattern for the values whose keys begin with `prefix`."""
        return b"dv:" + _GLOB.sub(rb"\\\1", self._tag + b":" + prefix.encode()) + b"*"

    def key_of(self, name: bytes) -> str | None:
        """The key of a value from its name; None for what has no such name."""
        start = len(b"dv:") + len(self._tag) + 1
        if not name.endswith(b"}"):
            return None
        try:
            return name[start:-1].decode()
        except UnicodeDecodeError:
            return None

    def everything(self) -> list[bytes]:
        """Patterns for all keys of the store but its values."""
        tag = _GLOB.sub(rb"\\\1", self._tag)
        return [kind + tag + b":*" for kind in _KINDS[1:]]

    def _tagged(self, key: str) -> bytes:
        return self._tag + b":" + key.encode() + b"}"


def check_name(name: str) -> str:
    """Refuse what cannot name a store.

    Raises
    ------
    InvalidURLError
    """
    if not _NAME.fullmatch(name):
        raise InvalidURLError(
            f"the store's name {name[:80]!r} is not of letters, digits and _.+@- (at most 200, "
            f"beginning with a letter, a digit or _): write redis://host:port/name"
        )
    return name


def slot_of(name: bytes) -> int:
    """The hash slot in which a cluster keeps a key."""
    first = name.find(b"{")
    if first >= 0:
        last = name.find(b"}", first + 1)
        if last > first + 1:
            name = name[first + 1 : last]
    return crc_hqx(name, 0) % SLOTS


@dataclass(frozen=True, slots=True)
class Manifest:
    """What stands for a value that lies in chunks."""

    version: bytes
    nbytes: int
    chunk_nbytes: int

    MAGIC: ClassVar[bytes] = b"DVCHUNKS"
    NBYTES: ClassVar[int] = 72
    MOST: ClassVar[int] = 65536
    """Chunks of one value."""

    @property
    def count(self) -> int:
        """How many chunks there are."""
        return -(-self.nbytes // self.chunk_nbytes)

    def to_bytes(self) -> bytes:
        return b"%b%b%016x%016x" % (self.MAGIC, self.version, self.nbytes, self.chunk_nbytes)

    @classmethod
    def read(cls, value: bytes | memoryview) -> Self | None:
        """The manifest that a string is; None if it is something else.

        Raises
        ------
        CorruptDataError
            If it begins as a manifest does, and is none.
        """
        if value[:8] != cls.MAGIC:
            return None
        text = bytes(value[: cls.NBYTES])
        try:
            manifest = cls(text[8:40], int(text[40:56], 16), int(text[56:72], 16))
        except ValueError:
            manifest = cls(b"", 0, 0)
        sound = len(value) == cls.NBYTES and manifest.nbytes >= 1
        if not sound or not manifest.chunk_nbytes >= 1 or manifest.count > cls.MOST:
            raise CorruptDataError("a damaged manifest of a value in chunks")
        return manifest
