"""Memory for values that are received: used again once nobody holds what was in it.

Fresh memory is slower than the transport: the system has to clear every page of it.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST = 257 << 20
"""Bytes; larger values get memory of their own, so that none is kept for long."""
MOST = 514 << 20
"""Bytes that are kept in all."""
_GRAIN = 64 << 10
_NOBODY = 2
"""References to an array that nobody but its list has: the list's, and that of the question."""


class Rooms:
    """Blocks of memory of one handle, shared by its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: list[NDArray[Any]] = []
        self._nbytes = 0

    def take(self, nbytes: int) -> memoryview:
        """Memory for `nbytes`. It is free again when no view of it is left."""
        if nbytes > LARGEST:
            return np.empty(nbytes, np.uint8).data
        with self._lock:
            kept = self._kept
            for index in range(len(kept)):
                if nbytes <= kept[index].size <= 2 * nbytes + _GRAIN and (
                    sys.getrefcount(kept[index]) == _NOBODY
                ):
                    return kept[index][:nbytes].data
            fresh = np.empty(-(-nbytes // _GRAIN) * _GRAIN, np.uint8)
            self._make_place(fresh.size)
            if self._nbytes + fresh.size <= MOST:
                kept.append(fresh)
                self._nbytes += fresh.size
        return fresh[:nbytes].data

    def clear(self) -> None:
        """Keep nothing any more. What somebody holds stays."""
        with self._lock:
            self._kept, self._nbytes = [], 0

    def _make_place(self, nbytes: int) -> None:
        """Let go of what nobody holds, the oldest first, until so much more can be kept."""
        index = 0
        while index < len(self._kept) and self._nbytes + nbytes > MOST:
            if sys.getrefcount(self._kept[index]) == _NOBODY:
                self._nbytes -= self._kept.pop(index).size
            else:
                index += 1
        while index == len(self._kept) and self._kept and self._nbytes + nbytes > MOST:
            self._nbytes -= self._kept.pop(0).size  # whoever holds it keeps it
