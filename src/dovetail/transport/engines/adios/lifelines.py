"""Signs of life in a folder: a file for each participant, locked while its process lives."""

from __future__ import annotations

import contextlib
import fcntl
import os
import weakref
from collections.abc import Collection
from pathlib import Path


class FileLifeline:
    """A file that its process holds locked. A forked child lets go of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        _held.add(self)

    def close(self) -> None:
        if self._descriptor >= 0:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()
            self.forget()

    def forget(self) -> None:
        """Close what a forked child must not hold."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


_held: weakref.WeakSet[FileLifeline] = weakref.WeakSet()


def _forget_all() -> None:
    for lifeline in list(_held):
        lifeline.forget()


os.register_at_fork(after_in_child=_forget_all)


class FileLifelines:
    """The signs of life in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def lifeline(self, name: str) -> FileLifeline:
        return FileLifeline(self._folder / name)

    def alive(self, names: Collection[str]) -> set[str]:
        return {name for name in names if self._is_held(name)}

    def _is_held(self, name: str) -> bool:
        try:
            descriptor = os.open(self._folder / name, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False
