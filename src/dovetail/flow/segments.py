"""Shared memory that libraries made in components that were killed before they removed it.

MPI keeps the name of its segment until ``MPI_Finalize``, and ``multiprocessing`` those of its
semaphores until its tracker ends: a killed component leaves them, and with them memory that
nobody uses. They are removed here if no process uses them and there is proof that they are of
the run: one of its processes was seen to have them mapped; or they are an MPI's, are the user's,
and were made while the run had an MPI component.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

_SHARED = Path("/dev/shm")
_OF_MPI = ("mpich_shm_", "sm_segment.", "vader_segment.")
_OF_OTHERS = ("sem.mp-", "psm_", "torch_", "nccl-")


class Segments:
    """What libraries keep in shared memory for one run.

    Parameters
    ----------
    since
        When the run began, in seconds since the epoch.
    mpi
        Whether it has an MPI component.
    """

    def __init__(self, since: float, mpi: bool) -> None:
        self._since = since
        self._mpi = mpi
        self._seen: set[str] = set()

    def look(self, pids: Iterable[int]) -> None:
        """Take note of what these processes of the run have mapped."""
        unknown = self._candidates() - self._seen
        for pid in pids if unknown else ():
            self._seen |= unknown & {*_mapped(pid)}

    def remove(self) -> list[str]:
        """Remove what is left and used by nobody; return what could not be removed."""
        left = {
            name
            for name in self._candidates()
            if name in self._seen or (self._mpi and name.startswith(_OF_MPI))
        }
        if left:
            left -= _used()
        problems = []
        for name in left:
            try:
                (_SHARED / name).unlink(missing_ok=True)
            except OSError as error:
                problems.append(f"{_SHARED / name} could not be removed: {error}")
        return problems

    def _candidates(self) -> set[str]:
        found = set()
        try:
            with os.scandir(_SHARED) as entries:
                for entry in entries:
                    if entry.name.startswith((*_OF_MPI, *_OF_OTHERS)) and self._may_be_ours(entry):
                        found.add(entry.name)
        except OSError:
            return set()
        return found

    def _may_be_ours(self, entry: os.DirEntry[str]) -> bool:
        try:
            about = entry.stat(follow_symlinks=False)
        except OSError:
            return False
        return about.st_uid == os.geteuid() and about.st_ctime >= self._since


def _used() -> set[str]:
    """What any process has open or mapped; in this order, in which no segment slips through."""
    used: set[str] = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            used.update(_open(int(folder.name)))
            used.update(_mapped(int(folder.name)))
    return used


def _open(pid: int) -> Iterator[str]:
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return
    for descriptor in descriptors:
        try:
            yield from _name(str(descriptor.readlink()))
        except OSError:
            continue


def _mapped(pid: int) -> Iterator[str]:
    try:
        with Path(f"/proc/{pid}/maps").open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                yield from _name(line.rstrip("\n").split(" ", 5)[-1].strip())
    except OSError:
        return


def _name(path: str) -> Iterator[str]:
    folder, _, name = path.rpartition("/")
    if folder == str(_SHARED):
        yield name
