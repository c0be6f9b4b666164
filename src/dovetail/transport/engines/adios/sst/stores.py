"""Shared memory in which blocks lie on their way, and who removes it.

Whoever works with such a store holds a lock on its folder: the participant that made it, and the
process that serves it, which inherits the lock as it starts. A folder that nobody holds was left
by processes that died together.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import time
import weakref
from pathlib import Path

from dovetail import _native
from dovetail.errors import DovetailError
from dovetail.transport.engines.local import places

JUST_MADE = 5.0
"""Seconds between the making of a folder and its lock, on a very busy machine."""
_PATTERN = "sst-*.store"


class PassingStore:
    """A store of blocks on their way, held by this participant.

    Parameters
    ----------
    label
        How messages name the stream.
    """

    def __init__(self, label: str) -> None:
        places.require_shared_memory()
        self.owner = secrets.token_hex(6)
        """Another one for each store."""
        self.folder = str(places.shared_root() / f"sst-{self.owner}.store")
        self.values = _native.Store(self.folder, label, 0, True, False, True)
        self.lock = hold(self.folder)
        """The descriptor that a process which serves the store inherits."""
        _held.add(self)

    def let_go(self) -> None:
        """Leave it to the process that serves it."""
        lock, self.lock = self.lock, -1
        if lock >= 0:
            os.close(lock)

    def remove(self) -> None:
        """Remove it: nobody serves it any more."""
        remove_store(self.folder)
        self.let_go()


def hold(folder: str) -> int:
    """Say that this process works with the store in a folder, until it ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def left_behind() -> list[Path]:
    """The folders of stores that nobody works with."""
    found = []
    for folder in places.shared_root().glob(_PATTERN):
        with contextlib.suppress(OSError):
            if not _is_held(folder):
                found.append(folder)
    return found


def sweep() -> None:
    """Remove what processes that died together have left."""
    for folder in left_behind():
        shutil.rmtree(folder, ignore_errors=True)


def remove_store(folder: str) -> None:
    """Remove the store of a process that served a stream, if anything of it is left."""
    with contextlib.suppress(DovetailError, OSError):
        if Path(folder).is_dir():
            _native.Store(folder, folder, 0, True, False, True).destroy()
    shutil.rmtree(folder, ignore_errors=True)


def _is_held(folder: Path) -> bool:
    if time.time() - folder.stat().st_ctime < JUST_MADE:
        return True
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


_held: weakref.WeakSet[PassingStore] = weakref.WeakSet()


def _let_go_of_all() -> None:
    # Or a forked child would hold what its parent works with.
    for store in list(_held):
        store.let_go()


os.register_at_fork(after_in_child=_let_go_of_all)
