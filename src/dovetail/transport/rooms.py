"""Memory that is used again once nobody holds it: memory fresh from the system is slow to touch."""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

_SMALL = 1 << 18
"""Bytes up to which the allocator keeps memory by itself."""
_FREE = 2
"""References to a room that nobody holds: this list's, and that of who counts."""
_MOST_SPARE = 2
"""Rooms kept beyond those in use."""


class Rooms:
    """Blocks of memory, each of which is somebody's as long as any view of it lives.

    Not safe for use from several threads at once.
    """

    def __init__(self) -> None:
        self._rooms: list[NDArray[np.uint8]] = []

    def take(self, nbytes: int) -> NDArray[np.uint8]:
        """So many bytes, of any content, that nobody else holds."""
        if nbytes <= _SMALL:
            return np.empty(nbytes, np.uint8)
        free = [
            place
            for place in range(len(self._rooms))
            if sys.getrefcount(self._rooms[place]) <= _FREE
        ]
        fitting = [place for place in free if nbytes <= self._rooms[place].nbytes <= 2 * nbytes]
        if fitting:
            best = min(fitting, key=lambda place: self._rooms[place].nbytes)
            return self._rooms[best][:nbytes]
        for place in reversed(free[_MOST_SPARE:]):
            del self._rooms[place]
        self._rooms.append(np.empty(nbytes, np.uint8))
        return self._rooms[-1][:nbytes]
