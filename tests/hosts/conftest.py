"""Hosts for the tests of this folder, made once a session and gone with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hosts.host import Hosts
from hosts.linked import Linked

from dovetail.testing.children import ChildServer


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Three hosts on a switch: n1, n2, n3."""
    hosts = Hosts(["n1", "n2", "n3"], "10.77.0", tmp_path_factory.mktemp("hosts"))
    yield hosts
    hosts.close()


@pytest.fixture(scope="session")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Linked]:
    """Two systems with a wall between them."""
    linked = Linked(tmp_path_factory.mktemp("linked"))
    yield linked
    linked.close()


@pytest.fixture(scope="session")
def on_hosts(hosts: Hosts) -> Iterator[dict[str, ChildServer]]:
    """What starts processes on each host."""
    servers = {host.name: host.children() for host in hosts}
    yield servers
    for server in servers.values():
        server.close()


@pytest.fixture(autouse=True)
def no_child_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    """Children that still run after a test are killed."""
    yield
    if "on_hosts" in request.fixturenames:
        for server in request.getfixturevalue("on_hosts").values():
            server.close_children()
