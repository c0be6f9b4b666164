"""Engines whose every call goes through a client of another language.

``c+shm://name`` is ``shm://name``, reached by libdovetail; ``cpp+shm://name`` the same by a driver
in C++, and ``fortran+shm://name`` by one in Fortran; ``c+redis+unix:///socket`` is a store on a
server. Importing this module registers them, here and in child processes that load it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from typing import Any

from clients import abi
from clients.stores import ClientStore
from clients.streams import ClientReader, ClientWriter, ranks_in, tail

from dovetail import native
from dovetail.transport.contract import (
    Engine,
    EngineStatus,
    GroupDescription,
    Leftover,
    Participant,
    StreamDescription,
)
from dovetail.transport.deadlines import seconds
from dovetail.transport.engines.local import ENGINE as LOCAL
from dovetail.transport.engines.redis import ENGINE as REDIS
from dovetail.transport.policies import Policy
from dovetail.transport.registry import _registered
from dovetail.transport.url import URL

DRIVERS = "DOVETAIL_TEST_CLIENT_{}"
"""The environment variable that names the library of a driver."""


@cache
def client_of(language: str) -> abi.Client:
    """The functions of a language's client."""
    if language == "c":
        return abi.Client(os.fspath(native.library_directory() / native.LIBRARY), "dvt")
    return abi.Client(os.environ[DRIVERS.format(language.upper())], language)


class ClientEngine:
    """What a client reaches: the local engine, and stores on servers of Redis."""

    def __init__(self, language: str) -> None:
        self._language = language
        schemes = (*LOCAL.schemes, *REDIS.schemes)
        self.schemes = tuple(f"{language}+{scheme}" for scheme in schemes)

    def _plain(self, url: URL) -> bytes:
        return str(URL(url.scheme.partition("+")[2], url.location, url.options)).encode()

    def status(self, scheme: str) -> EngineStatus:
        theirs = scheme.partition("+")[2]
        engine: Engine = LOCAL if theirs in LOCAL.schemes else REDIS
        return engine.status(theirs)._replace(scheme=scheme)

    def open_store(self, url: URL, timeout: float | None = None) -> ClientStore:
        client = client_of(self._language)
        handle = client.handle("store_open_within", self._plain(url), seconds(timeout))
        capabilities = self.status(url.scheme).capabilities
        return ClientStore(client, str(url.without("create")), handle, capabilities)

    def open_writer(self, url: URL, policy: Policy, participant: Participant) -> ClientWriter:
        client = client_of(self._language)
        handle = client.handle(
            "writer_open", self._plain(url), abi.POLICIES.index(policy.kind), policy.window,
            ranks_in(participant), seconds(participant.timeout), 0,
        )  # fmt: skip
        return ClientWriter(client, str(url), handle)

    def open_reader(self, url: URL, participant: Participant) -> ClientReader:
        client = client_of(self._language)
        group = None if participant.group is None else participant.group.encode()
        handle = client.handle(
            "reader_open", self._plain(url), ranks_in(participant), group,
            seconds(participant.timeout),
        )  # fmt: skip
        return ClientReader(client, str(url), handle)

    def describe_stream(self, url: URL) -> StreamDescription:
        told = client_of(self._language).get(abi.StreamTold, "stream_describe", self._plain(url))
        groups = tuple(
            GroupDescription(
                group.name.decode(), group.ranks, abi.GROUP_STATES[group.state], group.steps_ended
            )
            for group in told.groups[: told.groups_found]
        )
        return StreamDescription(
            url=str(url),
            policy=Policy(abi.POLICIES[told.policy], told.window),  # type: ignore[arg-type]
            state=abi.STATES[told.state],
            epoch=told.epoch,
            ranks=told.ranks,
            steps_complete=told.steps_complete,
            steps_held=told.steps_held,
            bytes_held=told.bytes_held,
            capacity=told.capacity,
            groups=groups,
        )

    def tail_stream(self, url: URL, timeout: float | None) -> Iterator[Any]:
        return tail(client_of(self._language), self._plain(url), timeout)

    def destroy_stream(self, url: URL) -> None:
        client_of(self._language).call("stream_destroy", self._plain(url))

    def leftovers(self, remove: bool) -> list[Leftover]:
        return []


LANGUAGES = ("c", "cpp", "fortran")
for _language in LANGUAGES:
    _engine = ClientEngine(_language)
    _registered().engines.update(dict.fromkeys(_engine.schemes, _engine))
