"""A checkpoint of a store that goes on meanwhile: all of it is of one moment all the same.

What is about to be changed is written first; everything else when there is time.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dovetail.transport.engines.dragon import snapshot
from dovetail.transport.engines.dragon.index import StoreIndex

_AT_ONCE = 16
"""Values that are read before clients get their turn."""


class Saving:
    """One checkpoint under way.

    Parameters
    ----------
    read
        Gives a value of the store, by its key.
    """

    def __init__(self, store: StoreIndex, folder: Path, read: Callable[[str], Any]) -> None:
        self.store = store
        self.folder = folder
        self._read = read
        self._writer = snapshot.Writer(folder, store.lists)
        self._pending = {key: record.version for key, record in store.records.items()}
        self._failure: Exception | None = None
        self._told = False

    @property
    def over(self) -> bool:
        """Whether it is on disk, or is not going to be."""
        return self._writer.written

    def before_change(self, key: str) -> None:
        """Keep a value that is about to be replaced or removed."""
        if key in self._pending:
            self._write(key)

    def step(self) -> None:
        """Write what the disk keeps up with."""
        for _ in range(_AT_ONCE):
            if not self._pending or self._writer.busy:
                break
            self._write(next(iter(self._pending)))
        if not self._pending and not self._told:
            self._told = True
            if self._failure is None:
                self._writer.finish()
            else:
                self._writer.abandon(self._failure)

    def check(self) -> None:
        """Once it is over: raise what went wrong."""
        self._writer.check()

    def _write(self, key: str) -> None:
        version = self._pending.pop(key)
        try:
            self._writer.add(key, version, self._read(key))
        except Exception as error:  # is told to who asked, when it is over
            self._failure = error
            self._pending.clear()
