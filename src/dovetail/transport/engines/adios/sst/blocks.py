"""A block of a stream of ours inside an SST step: its number, and its bytes as they lie.

Each of these SST streams has one reader, a mirror of ours: so a block crosses as the bytes that it
has in shared memory, and ADIOS2 handles one array a step whatever the block holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dovetail.data.layout import Header, Piece
from dovetail.transport.engines.adios.library import Opened
from dovetail.transport.values import read_header

_NUMBER, _BYTES = "dovetail/number", "dovetail/bytes"
_GONE = "gone"
"""Stands after the number of a block that nobody can have any more."""
WRAPPED = "block"
"""What the bytes of a block are called in the store of a mirror."""


class BlockWriter:
    """Writes blocks to one ADIOS2 engine, each as a step."""

    def __init__(self, opened: Opened) -> None:
        self._adios, self._io, self._engine, self._library = opened
        self._number = self._io.DefineVariable(_NUMBER)
        self._bytes: Any = None
        self._nbytes = -1

    def write(self, number: int, memory: Any) -> None:
        """A block, which is read before this returns. Raises RuntimeError as ADIOS2 does."""
        bits = np.frombuffer(memory, np.uint8)
        self._engine.BeginStep()
        self._engine.Put(self._number, str(number))
        # By address, since arrays that cannot be written to are refused.
        address = bits.__array_interface__["data"][0]
        self._engine.Put(self._sized(bits.nbytes), address, self._library.Mode.Deferred)
        self._engine.EndStep()

    def write_gone(self, number: int) -> None:
        """Word that there is no such block any more."""
        self._engine.BeginStep()
        self._engine.Put(self._number, f"{number} {_GONE}")
        self._engine.EndStep()

    def _sized(self, nbytes: int) -> Any:
        if self._bytes is None:
            like = np.empty(0, np.uint8)
            self._bytes = self._io.DefineVariable(_BYTES, like, [nbytes], [0], [nbytes])
        elif nbytes != self._nbytes:
            self._bytes.SetShape([nbytes])
            self._bytes.SetSelection([[0], [nbytes]])
        self._nbytes = nbytes
        return self._bytes


class Arrived(NamedTuple):
    """What a step brings."""

    number: int
    nbytes: int
    """Of the block; negative if it is gone."""


class BlockReader:
    """Reads the step at which one ADIOS2 engine stands."""

    def __init__(self, opened: Opened) -> None:
        self._adios, self._io, self._engine, self._library = opened

    def look(self) -> Arrived:
        """What the step brings."""
        number = self._io.InquireVariable(_NUMBER)
        word, *gone = str(self._engine.Get(number, self._library.Mode.Sync)).split()
        if gone:
            return Arrived(int(word), -1)
        return Arrived(int(word), self._io.InquireVariable(_BYTES).Shape()[0])

    def fetch(self, room: Any) -> None:
        """Bring the block into memory of its size."""
        variable = self._io.InquireVariable(_BYTES)
        bits = np.frombuffer(room, np.uint8)
        variable.SetSelection([[0], [bits.nbytes]])
        self._engine.Get(variable, bits, self._library.Mode.Deferred)
        self._engine.PerformGets()


def keep(store: Any, key: str, nbytes: int, fetch: Callable[[Any], None]) -> None:
    """Make a value of a store out of a block that is fetched into it."""
    room = store.reserve(key, [Piece(WRAPPED, "U8", (nbytes,), None)], {})
    ((offset, _),) = room.extents
    fetch(memoryview(room.memory)[offset : offset + nbytes])
    room.commit(False)


def unwrap(memory: Any, header: Header, what: str) -> tuple[memoryview, Header]:
    """The bytes of a block that :func:`keep` has kept, and its header."""
    ((_, _, _, offset, nbytes),) = header[1]
    block = memoryview(memory)[offset : offset + nbytes].toreadonly()
    return block, read_header(block, nbytes, what)[0]
