"""The blocks of this process's writer ranks, and how readers get them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import psutil

from dovetail.errors import StoreFullError
from dovetail.quantities import in_bytes
from dovetail.transport.engines.mpi.messages import Message
from dovetail.transport.engines.mpi.post import Post, Reply

Key = tuple[int, str, str]
"""The leader of the stream, the stream's name, the block's name."""


class _Kept(NamedTuple):
    """A block."""

    parts: list[Any]
    nbytes: int


class Blocks:
    """Blocks in the memory of this process.

    Attributes
    ----------
    capacity
        The most bytes that they may take: half of what memory the node had left at the beginning.
    """

    def __init__(self, post: Post) -> None:
        self.capacity = int(psutil.virtual_memory().available // 2)
        self._post = post
        self._kept: dict[Key, _Kept] = {}
        self._nbytes = 0
        post.serve("get", self._get)
        post.serve("drop", self._drop)

    def put(self, key: Key, parts: Sequence[Any], nbytes: int, label: str) -> bool:
        """Keep a block in parts that nobody changes any more; whether its name is new.

        Raises
        ------
        StoreFullError
        """
        with self._post.changed:
            before = self._kept.get(key)
            held = self._nbytes - (before.nbytes if before else 0)
            if held + nbytes > self.capacity:
                raise StoreFullError(
                    f"no room for a block of {in_bytes(nbytes)} of {label}: blocks that readers "
                    f"may still need take {in_bytes(held)} of the {in_bytes(self.capacity)} that "
                    f"this process keeps at most, half of the memory that was free. Choose a "
                    f"smaller window, or bound the stream with ?capacity="
                )
            self._kept[key] = _Kept(list(parts), nbytes)
            self._nbytes = held + nbytes
        return before is None

    def whole(self, key: Key) -> Any | None:
        """A block of this process in one piece, for a reader in the same process."""
        with self._post.changed:
            kept = self._kept.get(key)
            if kept is None:
                return None
            if len(kept.parts) > 1:
                kept.parts[:] = [b"".join(kept.parts)]
            return kept.parts[0]

    def _get(self, message: Message, reply: Reply) -> None:
        leader, stream, name = message.words
        kept = self._kept.get((leader, stream, name))
        reply(kept is not None, parts=kept.parts if kept else ())

    def _drop(self, message: Message, reply: Reply) -> None:
        leader, stream, name = message.words
        kept = self._kept.pop((leader, stream, name), None)
        if kept is not None:
            self._nbytes -= kept.nbytes
