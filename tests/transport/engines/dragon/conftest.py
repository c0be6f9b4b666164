"""A server for the tests of a session: a Dragon runtime in namespaces of its own."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from transport.engines.dragon.servers import Server

import dovetail as dv
from dovetail.transport.engines.dragon import places

_numbers = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def folder_of_servers() -> Path:
    """Where the servers of these tests have their folders: see the habits of all tests."""
    return Path(os.environ[places.FOLDER_VARIABLE])


@pytest.fixture(scope="session")
def server(folder_of_servers: Path) -> Iterator[Server]:
    """A server that all tests of the session share."""
    with Server("dragon://shared?memory=1GiB") as server:
        yield server


@pytest.fixture
def dragon_url(server: Server) -> Iterator[str]:
    """The URL of a store that no other test has."""
    url = f"dragon://shared/store{next(_numbers)}?start=no"
    yield url
    dv.open_store(url).destroy()


@pytest.fixture
def stream_url(server: Server) -> str:
    """The URL of a stream that no other test has."""
    return f"dragon://shared/stream{next(_numbers)}?start=no"
