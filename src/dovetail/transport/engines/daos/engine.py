"""What ``daos://`` stands for: files on a mount, whose changes other nodes see by looking."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from dovetail import _native
from dovetail.errors import KeyNotFoundError
from dovetail.transport import ends, ledger
from dovetail.transport.contract import (
    Capabilities,
    EngineStatus,
    Leftover,
    Participant,
    ReadStep,
    StreamDescription,
)
from dovetail.transport.engines.daos.mounts import mounted
from dovetail.transport.engines.daos.places import folder_of
from dovetail.transport.engines.local.store import LocalStore
from dovetail.transport.policies import Policy
from dovetail.transport.url import URL

_STORE_OPTIONS = ("capacity", "create", "mount")
_STREAM_OPTIONS = ("capacity", "lost_after", "mount")


class DAOSEngine:
    """Stores and streams in DAOS containers."""

    schemes: tuple[str, ...] = ("daos",)

    def status(self, scheme: str) -> EngineStatus:
        points = mounted()
        detail = (
            f"mounted here: {', '.join(map(str, points))}"
            if points
            else "no DAOS container is mounted on this node: launch-dfuse.sh pool:container"
        )
        return EngineStatus(
            scheme, bool(points), detail, "files on the mount of a container", _CAPABILITIES
        )

    def open_store(self, url: URL, timeout: float | None) -> LocalStore:
        url.only(*_STORE_OPTIONS)
        folder = folder_of(url, "store")
        if url.choice_option("create", "yes", "no") == "no" and not folder.is_dir():
            raise KeyNotFoundError(f"there is no store {url.without('create')}")
        capacity = url.bytes_option("capacity") or 0
        return _store_in(folder, url.without("create"), capacity, ours=False)

    def open_writer(self, url: URL, policy: Policy, participant: Participant) -> ends.Writer:
        return ledger.open_writer(url, _medium_of(url), policy, participant)

    def open_reader(self, url: URL, participant: Participant) -> ends.Reader:
        return ledger.open_reader(url, _medium_of(url), participant)

    def describe_stream(self, url: URL) -> StreamDescription:
        return ledger.describe_stream(url, _medium_of_existing(url))

    def tail_stream(self, url: URL, timeout: float | None) -> Iterator[ReadStep]:
        return ledger.tail_stream(url, _medium_of(url), timeout)

    def destroy_stream(self, url: URL) -> None:
        ledger.destroy_stream(url, _medium_of_existing(url))

    def leftovers(self, remove: bool) -> list[Leftover]:
        return []


def _store_in(folder: Path, url: URL, capacity: int, ours: bool) -> LocalStore:
    """Plain files, looked at again and again; `ours` is a folder that goes with the store."""
    native = _native.Store(os.fspath(folder), str(url), capacity, False, True, ours)
    return LocalStore(str(url), native, folder, _CAPABILITIES)


def _medium_of(url: URL) -> Callable[[], ledger.StoreMedium]:
    """Makes what the participants of a stream share."""
    url.only(*_STREAM_OPTIONS)
    folder = folder_of(url, "ledger")
    lost_after = url.seconds_option("lost_after", ledger.LOST_AFTER)

    def open_medium() -> ledger.StoreMedium:
        store = _store_in(folder, url, 0, ours=True)
        return ledger.StoreMedium(store, str(url), ledger.Heartbeats(store, lost_after))

    return open_medium


def _medium_of_existing(url: URL) -> Callable[[], ledger.StoreMedium]:
    """As :func:`_medium_of`, for a stream that must be there."""
    open_medium = _medium_of(url)
    if not folder_of(url, "ledger").is_dir():
        raise KeyNotFoundError(
            f"there is no stream {url}: no writer has opened it, or it ended and was read"
        )
    return open_medium


_CAPABILITIES = Capabilities(
    store=True,
    stream=True,
    zero_copy=False,
    woken_waits=False,
    rename=True,
    persistent=True,
    several_nodes=True,
    policies=frozenset({"lockstep", "buffered", "latest", "work_queue"}),
)

ENGINE = DAOSEngine()
