"""What dead processes left in shared memory. Only that is removed, never a stored value."""

from __future__ import annotations

import os
from pathlib import Path

from dovetail import _native
from dovetail.errors import DovetailError
from dovetail.transport.contract import Leftover


def find(root: Path, remove: bool) -> list[Leftover]:
    """Look through the folder of one user in shared memory.

    Parameters
    ----------
    root
        Its folder; it need not exist.
    remove
        Remove what is found.
    """
    found: list[Leftover] = []
    if not root.is_dir():
        return found
    for folder in sorted(root.iterdir()):
        try:
            if folder.suffix == ".stream":
                found += _of_stream(folder, remove)
            elif folder.suffix == ".store":
                found += _of_store(folder, remove)
            elif folder.suffix == ".server":
                found += _of_model_server(folder, remove)
        except (OSError, DovetailError):
            continue  # it vanished, or belongs to somebody else
    return found


def _of_stream(folder: Path, remove: bool) -> list[Leftover]:
    nbytes = _native.dead_epochs(os.fspath(folder), remove)
    if nbytes == 0:
        return []
    return [Leftover(folder, "stream", nbytes, "no living process takes part in it")]


def _of_store(folder: Path, remove: bool) -> list[Leftover]:
    nbytes = _native.dead_blocks(os.fspath(folder), remove)
    if nbytes == 0:
        return []
    blocks = folder / ".dovetail" / "blocks"
    return [Leftover(blocks, "blocks", nbytes, "the processes that were filling them died")]


def _of_model_server(folder: Path, remove: bool) -> list[Leftover]:
    nbytes = _native.dead_model_server(os.fspath(folder), remove)
    if nbytes is None:
        return []
    return [Leftover(folder, "model server", nbytes, "it was killed, with all its ranks")]
