"""The fixture that starts child processes, shared by the contracts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dovetail.testing.children import ChildServer

_SERVER = pytest.StashKey[ChildServer]()
_ROLES = ["dovetail.testing.store_roles", "dovetail.testing.stream_roles"]


class ChildFixtures:
    """Real processes for a suite."""

    @pytest.fixture
    def children(self, request: pytest.FixtureRequest) -> Iterator[ChildServer]:
        """Starts processes; those that still run after the test are killed."""
        server = session_server(request)
        yield server
        server.close_children()


def session_server(request: pytest.FixtureRequest) -> ChildServer:
    """The one server of this test session, started on first use, ended with the session."""
    stash = request.config.stash
    if _SERVER not in stash:
        server = stash[_SERVER] = ChildServer(_ROLES)
        request.session.addfinalizer(server.close)
    return stash[_SERVER]
