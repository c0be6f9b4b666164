"""Streams in rings of shared memory, kept by the native core."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from dovetail import _native
from dovetail.errors import CapabilityError
from dovetail.transport import ends
from dovetail.transport.contract import (
    GroupDescription,
    Participant,
    ReadStep,
    StreamDescription,
)
from dovetail.transport.deadlines import seconds
from dovetail.transport.engines.local import places
from dovetail.transport.policies import Policy
from dovetail.transport.ranks import first_on_rank_0
from dovetail.transport.url import URL


def open_writer(url: URL, policy: Policy, participant: Participant) -> ends.Writer:
    """The producing end of a stream."""
    folder = os.fspath(places.folder_of(url, "stream"))
    capacity = url.bytes_option("capacity") or 0
    comm, rank, size = participant.comm, participant.rank, participant.size
    require_one_node(url, comm)

    def open_native(_: int = -1) -> Any:
        return _native.StreamWriter(
            folder,
            str(url),
            policy.kind,
            policy.window,
            capacity,
            rank,
            size,
            seconds(participant.timeout),
        )

    native = first_on_rank_0(comm, rank, url, open_native, lambda native: native.epoch)
    return ends.Writer(str(url), native)


def open_reader(url: URL, participant: Participant) -> ends.Reader:
    """The consuming end of a stream."""
    folder = os.fspath(places.folder_of(url, "stream"))
    comm, rank = participant.comm, participant.rank
    require_one_node(url, comm)

    def open_native(group_entry: int = -1) -> Any:
        return _native.StreamReader(
            folder,
            str(url),
            rank,
            participant.size,
            participant.group or "",
            group_entry,
            seconds(participant.timeout),
        )

    native = first_on_rank_0(comm, rank, url, open_native, lambda native: native.group_entry)
    return ends.Reader(str(url), native, participant)


def describe_stream(url: URL) -> StreamDescription:
    """A stream from outside."""
    found = _native.describe_stream(os.fspath(places.folder_of(url, "stream")), str(url))
    kind, window = found.pop("policy")
    groups = tuple(GroupDescription(*group) for group in found.pop("groups"))
    return StreamDescription(url=str(url), policy=Policy(kind, window), groups=groups, **found)


def tail_stream(url: URL, timeout: float | None) -> Iterator[ReadStep]:
    """Follow the newest steps without taking part."""
    native = _native.StreamTail(os.fspath(places.folder_of(url, "stream")), str(url))
    return ends.tail(native, timeout)


def destroy_stream(url: URL) -> None:
    """Remove a stream."""
    _native.destroy_stream(os.fspath(places.folder_of(url, "stream")), str(url))


def require_one_node(url: URL, comm: Any) -> None:
    """Refuse a communicator whose ranks do not share a node's memory."""
    if comm is None or comm.Get_size() == 1:
        return
    from mpi4py import MPI

    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    ranks_here = node.Get_size()
    node.Free()
    if ranks_here != comm.Get_size():
        raise CapabilityError(
            f"{url} lies in the memory of one node, but the communicator spans several "
            f"({ranks_here} of {comm.Get_size()} ranks are on this one): open a stream a node, "
            f"or use an engine that reaches across nodes"
        )
