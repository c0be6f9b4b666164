"""What ``shm://`` and ``file://`` stand for."""

from __future__ import annotations

import os
from collections.abc import Iterator

from dovetail import _native
from dovetail.errors import (
    EngineUnavailableError,
    KeyNotFoundError,
)
from dovetail.transport import ends, ledger
from dovetail.transport.contract import (
    Capabilities,
    EngineStatus,
    Leftover,
    Participant,
    ReadStep,
    StreamDescription,
)
from dovetail.transport.engines.local import leftovers, places, rings
from dovetail.transport.engines.local.store import LocalStore
from dovetail.transport.policies import Policy, PolicyKind
from dovetail.transport.url import URL

_STREAM_OPTIONS = {"shm": ("capacity",), "file": ("capacity", "lost_after", "over", "wait")}
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

    def open_writer(self, url: URL, policy: Policy, participant: Participant) -> ends.Writer:
        if _over_store(url):
            return ledger.open_writer(url, lambda: _medium(url), policy, participant)
        return rings.open_writer(url, policy, participant)

    def open_reader(self, url: URL, participant: Participant) -> ends.Reader:
        if _over_store(url):
            return ledger.open_reader(url, lambda: _medium(url), participant)
        return rings.open_reader(url, participant)

    def describe_stream(self, url: URL) -> StreamDescription:
        if _over_store(url):
            return ledger.describe_stream(url, lambda: _medium(url, create=False))
        return rings.describe_stream(url)

    def tail_stream(self, url: URL, timeout: float | None) -> Iterator[ReadStep]:
        if _over_store(url):
            return ledger.tail_stream(url, lambda: _medium(url), timeout)
        return rings.tail_stream(url, timeout)

    def destroy_stream(self, url: URL) -> None:
        if _over_store(url):
            ledger.destroy_stream(url, lambda: _medium(url, create=False))
        else:
            rings.destroy_stream(url)

    def leftovers(self, remove: bool) -> list[Leftover]:
        return leftovers.find(places.shared_root(), remove)


def _over_store(url: URL) -> bool:
    """Whether a stream is kept in a store, not in a ring of shared memory."""
    url.only(*_STREAM_OPTIONS[url.scheme])
    if url.scheme == "shm":
        return False
    over = url.choice_option("over", "ring", "store")
    polled = url.choice_option("wait", "wake", "poll") == "poll"
    if over == "store" or polled:
        return True
    return not _native.fills_in_place(os.fspath(places.folder_of(url, "stream")))


def _medium(url: URL, create: bool = True) -> ledger.StoreMedium:
    """The store of a stream's ledger."""
    folder = places.folder_of(url, "ledger")
    if not create and not folder.is_dir():
        raise KeyNotFoundError(
            f"there is no stream {url}: no writer has opened it, or it ended and was read"
        )
    poll = url.options.get("wait") == "poll"
    lost_after = url.seconds_option("lost_after", ledger.LOST_AFTER)
    native = _native.Store(os.fspath(folder), str(url), 0, True, poll, True)
    capabilities = _capabilities(url.scheme, native.zero_copy, native.woken)
    store = LocalStore(str(url), native, folder, capabilities)
    return ledger.StoreMedium(store, str(url), ledger.Heartbeats(store, lost_after))


def _capabilities(scheme: str, zero_copy: bool, woken: bool) -> Capabilities:
    return Capabilities(
        store=True,
        stream=True,
        zero_copy=zero_copy,
        woken_waits=woken,
        rename=True,
        persistent=scheme == "file",
        # What polls and copies takes nothing from the node that a file system of the network lacks.
        several_nodes=scheme == "file" and not woken,
        policies=_POLICIES,
    )


ENGINE = LocalEngine()
