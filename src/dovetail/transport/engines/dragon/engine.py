"""What ``dragon://`` stands for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dovetail.errors import CapabilityError, InvalidURLError, KeyNotFoundError
from dovetail.transport import ledger
from dovetail.transport.contract import (
    Capabilities,
    EngineStatus,
    Leftover,
    Participant,
    ReadStep,
    StreamDescription,
    StreamReader,
    StreamWriter,
)
from dovetail.transport.engines.dragon import places, server
from dovetail.transport.engines.dragon.client import Keeper
from dovetail.transport.engines.dragon.store import DragonStore
from dovetail.transport.policies import Policy, PolicyKind
from dovetail.transport.serving import ServerDescription
from dovetail.transport.url import URL, parse

_PLACE_OPTIONS = ("store", "start", *server.OPTIONS)
_STORE_OPTIONS = ("capacity", "checkpoint", "create", *_PLACE_OPTIONS)
_STREAM_OPTIONS = ("capacity", *_PLACE_OPTIONS)
_POLICIES: frozenset[PolicyKind] = frozenset({"lockstep", "buffered", "latest", "work_queue"})
_SECONDS_TO_LOOK = 30.0
"""Deadline of every question of an onlooker."""
_CAPABILITIES = Capabilities(
    store=True,
    stream=True,
    zero_copy=False,
    woken_waits=True,
    rename=True,
    persistent=False,
    several_nodes=True,
    policies=_POLICIES,
)


class DragonEngine:
    """Stores in the distributed dictionary of a Dragon runtime."""

    schemes: tuple[str, ...] = ("dragon",)

    def status(self, scheme: str) -> EngineStatus:
        version = server.version()
        detail = f"dragonhpc {version}" if version else server.INSTALL
        made_of = "DragonHPC's distributed dictionary"
        return EngineStatus(scheme, version is not None, detail, made_of, _CAPABILITIES)

    def open_store(self, url: URL, timeout: float | None) -> DragonStore:
        url.only(*_STORE_OPTIONS)
        create = url.choice_option("create", "yes", "no") == "yes"
        capacity = url.bytes_option("capacity")
        name = places.place_of(url).store
        return _store(url.without("create"), name, timeout, create, capacity, _checkpoint(url))

    def open_writer(self, url: URL, policy: Policy, participant: Participant) -> StreamWriter:
        url.only(*_STREAM_OPTIONS)
        return ledger.open_writer(url, _medium(url, participant.timeout), policy, participant)

    def open_reader(self, url: URL, participant: Participant) -> StreamReader:
        url.only(*_STREAM_OPTIONS)
        return ledger.open_reader(url, _medium(url, participant.timeout), participant)

    def describe_stream(self, url: URL) -> StreamDescription:
        url.only(*_STREAM_OPTIONS)
        return ledger.describe_stream(url, _medium(url, _SECONDS_TO_LOOK, create=False))

    def tail_stream(self, url: URL, timeout: float | None) -> Iterator[ReadStep]:
        url.only(*_STREAM_OPTIONS)
        return ledger.tail_stream(url, _medium(url, _SECONDS_TO_LOOK, create=False), timeout)

    def destroy_stream(self, url: URL) -> None:
        url.only(*_STREAM_OPTIONS)
        ledger.destroy_stream(url, _medium(url, _SECONDS_TO_LOOK, create=False))

    def server(self, url: URL, directory: Path, name: str) -> ServerDescription | None:
        """The server for a URL without a location; see :mod:`dovetail.transport.serving`."""
        if url.location:
            return None
        url.only(*{*_STORE_OPTIONS, *_STREAM_OPTIONS})
        return server.described(url, directory / f"{name}.dragon")

    def leftovers(self, remove: bool) -> list[Leftover]:
        return []


def stop_server(url: str, timeout: float = server.SECONDS_TO_STOP) -> None:
    """End the server that a URL names, and all that its stores hold; harmless if none runs.

    Raises
    ------
    TransportTimeoutError
        If it has not ended after `timeout` seconds.
    """
    server.stop(places.place_of(parse(url, "store")).folder, timeout)


def _store(
    url: URL,
    name: str,
    timeout: float | None,
    create: bool = True,
    capacity: int | None = None,
    checkpoint: Path | None = None,
) -> DragonStore:
    """A store under a name of the keeper's, on the server that a URL names."""
    if create:
        contact = server.running(url, timeout)
    else:
        known = server.contact_of(places.place_of(url).folder)
        if known is None:
            raise KeyNotFoundError(f"there is no {url}: no server of that name runs")
        contact = known
    _agree(url, contact)
    keeper = Keeper(contact, str(url), timeout)
    try:
        keeper.ask(
            {
                "do": "open",
                "store": name,
                "capacity": capacity,
                "create": create,
                "restore": str(checkpoint) if checkpoint else None,
            }
        )
    except BaseException:
        keeper.close()
        raise
    return DragonStore(str(url), name, keeper, _CAPABILITIES, checkpoint)


def _medium(url: URL, timeout: float | None, create: bool = True) -> ledger.OpenMedium:
    """Where the participants of a stream meet: a store of its own, whose name no other can have."""
    name = places.place_of(url).store

    def open_medium() -> ledger.Medium:
        store = _store(url, f"{name}/stream", timeout, create)
        return ledger.StoreMedium(store, str(url), store)

    return open_medium


def _checkpoint(url: URL) -> Path | None:
    text = url.options.get("checkpoint")
    if text is None:
        return None
    if not text.startswith("/") or "\0" in text:
        raise InvalidURLError(f"checkpoint={text!r} must be the absolute path of a folder")
    return Path(text)


def _agree(url: URL, contact: places.Contact) -> None:
    """Refuse a URL that asks for another server than the one that runs."""
    asked = server.settings_of(url, 0.0)
    for name, wanted, running in (
        ("nodes", asked.nodes, contact.nodes),
        ("managers", asked.managers, contact.managers),
        ("memory", asked.memory, contact.memory),
        ("interface", bool(asked.interface), bool(contact.address)),
    ):
        if name in url.options and wanted != running:
            raise CapabilityError(
                f"{url} asks for {name}={url.options[name]}, but its server runs with "
                f"{'none' if running is False else running}: leave the option out, or stop the "
                f"server first"
            )


ENGINE = DragonEngine()
