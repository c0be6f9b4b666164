"""Ranks of one component that open one end of a stream together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from dovetail import errors
from dovetail.transport.url import URL

T = TypeVar("T")


def first_on_rank_0(
    comm: Any, rank: int, url: URL, open_core: Callable[..., T], tell: Callable[[T], Any]
) -> T:
    """Open on rank 0, tell the other ranks how it went, and then open there.

    Without a communicator each rank finds the others through the stream. An error of rank 0
    is raised on all.
    """
    if comm is None or comm.Get_size() == 1:
        return open_core()
    if rank == 0:
        try:
            core = open_core()
        except BaseException as error:
            comm.bcast((type(error).__name__, str(error)), root=0)
            raise
        comm.bcast(tell(core), root=0)
        return core
    answer = comm.bcast(None, root=0)
    if isinstance(answer, tuple):
        name, text = answer
        kind = getattr(errors, name, errors.PeerLostError)
        raise kind(f"rank 0 could not open {url}: {text}")
    return open_core(answer)
