"""What ``shm://`` and ``file://`` stand for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from dovetail import _native, errors
from dovetail.errors import (
    CapabilityError,
    EngineUnavailableError,
    KeyNotFoundError,
)
from dovetail.transport.contract import (
    Capabilities,
    EngineStatus,
    GroupDescription,
    Leftover,
    Participant,
    ReadStep,
    StreamDescription,
)
from dovetail.transport.engines.local import leftovers, places, stream
from dovetail.transport.engines.local.deadlines import seconds
from dovetail.transport.engines.local.store import LocalStore
from dovetail.transport.policies import Policy, PolicyKind
from dovetail.transport.url import URL

_STREAM_OPTIONS = ("capacity",)
_STORE_OPTIONS = ("capacity", "create", "recycle", "wait")
_POLICIES: frozenset[PolicyKind] = frozenset({"lockstep", "buffered", "latest", "work_queue"})


class LocalEngine:
    """Stores and streams in shared memory and in folders."""

    schemes: tuple[str, ...] = ("shm", "file")

    def status(self, scheme: str) -> EngineStatus:
        available, detail = True, f"native core {_native.__version__}"
        if scheme == "shm":
            try:
                places.require_shared_memory()
            except EngineUnavailableError as error:
                available, detail = False, str(error)
        made_of = "files in /dev/shm" if scheme == "shm" else "files in a folder"
        return EngineStatus(scheme, available, detail, made_of, _capabilities(scheme, True, True))

    def open_store(self, url: URL, timeout: float | None = None) -> LocalStore:
        url.only(*_STORE_OPTIONS)
        recycle = url.choice_option("recycle", "yes", "no") == "yes"
        poll = url.choice_option("wait", "wake", "poll") == "poll"
        folder = places.folder_of(url, "store")
        if url.choice_option("create", "yes", "no") == "no" and not folder.is_dir():
            raise KeyNotFoundError(f"there is no store {url.without('create')}")
        url = url.without("create")
        native = _native.Store(
            os.fspath(folder),
            str(url),
            url.bytes_option("capacity") or 0,
            recycle,
            poll,
            url.scheme == "shm",
        )
        capabilities = _capabilities(url.scheme, native.zero_copy, native.woken)
        return LocalStore(str(url), native, folder, capabilities)

    def open_writer(self, url: URL, policy: Policy, participant: Participant) -> stream.LocalWriter:
        url.only(*_STREAM_OPTIONS)
        folder = os.fspath(places.folder_of(url, "stream"))
        capacity = url.bytes_option("capacity") or 0
        comm, rank, size = participant.comm, participant.rank, participant.size
        _require_one_node(url, comm)

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

        native = _first_on_rank_0(comm, rank, url, open_native, lambda native: native.epoch)
        return stream.LocalWriter(str(url), native)

    def open_reader(self, url: URL, participant: Participant) -> stream.LocalReader:
        url.only(*_STREAM_OPTIONS)
        folder = os.fspath(places.folder_of(url, "stream"))
        comm, rank = participant.comm, participant.rank
        _require_one_node(url, comm)

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

        native = _first_on_rank_0(comm, rank, url, open_native, lambda native: native.group_entry)
        return stream.LocalReader(str(url), native, participant)

    def describe_stream(self, url: URL) -> StreamDescription:
        url.only(*_STREAM_OPTIONS)
        found = _native.describe_stream(os.fspath(places.folder_of(url, "stream")), str(url))
        kind, window = found.pop("policy")
        groups = tuple(GroupDescription(*group) for group in found.pop("groups"))
        return StreamDescription(url=str(url), policy=Policy(kind, window), groups=groups, **found)

    def tail_stream(self, url: URL, timeout: float | None) -> Iterator[ReadStep]:
        url.only(*_STREAM_OPTIONS)
        return stream.tail(os.fspath(places.folder_of(url, "stream")), str(url), timeout)

    def destroy_stream(self, url: URL) -> None:
        url.only(*_STREAM_OPTIONS)
        _native.destroy_stream(os.fspath(places.folder_of(url, "stream")), str(url))

    def leftovers(self, remove: bool) -> list[Leftover]:
        return leftovers.find(places.shared_root(), remove)


def _require_one_node(url: URL, comm: Any) -> None:
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


def _first_on_rank_0(
    comm: Any, rank: int, url: URL, open_native: Callable[..., Any], tell: Callable[[Any], int]
) -> Any:
    """Open on rank 0, tell the other ranks how it went, and then open there.

    Without a communicator each rank finds the others through the stream. An error of rank 0
    is raised on all.
    """
    if comm is None or comm.Get_size() == 1:
        return open_native()
    if rank == 0:
        try:
            native = open_native()
        except BaseException as error:
            comm.bcast((type(error).__name__, str(error)), root=0)
            raise
        comm.bcast(tell(native), root=0)
        return native
    answer = comm.bcast(None, root=0)
    if isinstance(answer, tuple):
        name, text = answer
        kind = getattr(errors, name, errors.PeerLostError)
        raise kind(f"rank 0 could not open {url}: {text}")
    return open_native(answer)


def _capabilities(scheme: str, zero_copy: bool, woken: bool) -> Capabilities:
    return Capabilities(
        store=True,
        stream=True,
        zero_copy=zero_copy,
        woken_waits=woken,
        rename=True,
        persistent=scheme == "file",
        several_nodes=False,
        policies=_POLICIES,
    )


ENGINE = LocalEngine()
