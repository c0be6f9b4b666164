"""A store on a server of Redis keeps the contract through the client of each language, too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from transport.engines.redis import test_store_contract as in_python

from dovetail.testing import StoreContract
from dovetail.testing.children import ChildServer

pytestmark = [pytest.mark.requires("redis"), pytest.mark.requires("hiredis")]


class ClientChildren:
    @pytest.fixture
    def children(self, client_server: ChildServer) -> Iterator[ChildServer]:
        yield client_server
        client_server.close_children()


class TestFromC(ClientChildren, StoreContract):
    """On a Unix socket."""

    @pytest.fixture
    def plain_url(self, unix_url: str) -> str:
        return unix_url

    @pytest.fixture
    def url(self, plain_url: str) -> str:
        return f"c+{plain_url}"

    @pytest.fixture
    def small_url(self, url: str, plain_url: str) -> Iterator[str]:
        with in_python.limited(plain_url, in_python.ROOM):
            yield url


@pytest.mark.soak
class TestFromCpp(TestFromC):
    """Over TCP."""

    @pytest.fixture
    def plain_url(self, tcp_url: str) -> str:
        return tcp_url

    @pytest.fixture
    def url(self, plain_url: str) -> str:
        return f"cpp+{plain_url}"


@pytest.mark.soak
class TestManyChunksFromC(TestFromC):
    """Almost every value lies in chunks."""

    @pytest.fixture
    def url(self, plain_url: str) -> str:
        return f"c+{plain_url}&chunk=7000"


@pytest.mark.soak
class TestOldestVersionFromC(TestFromC):
    @pytest.fixture
    def plain_url(self, old_url: str) -> str:
        return old_url


@pytest.mark.soak
class TestClusterFromC(ClientChildren, in_python.TestCluster):
    """Three shards."""

    @pytest.fixture
    def url(self, cluster_url: str) -> str:
        return f"c+{cluster_url}"
