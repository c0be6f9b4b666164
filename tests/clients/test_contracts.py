"""The client of each language keeps the contracts of Store and Stream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from clients.engine import LANGUAGES

from dovetail.testing import StoreContract, StreamContract
from dovetail.testing.children import ChildServer

every_language = pytest.mark.parametrize("language", LANGUAGES)


class ClientChildren:
    @pytest.fixture
    def children(self, client_server: ChildServer) -> Iterator[ChildServer]:
        yield client_server
        client_server.close_children()


@every_language
class TestStoreInSharedMemory(ClientChildren, StoreContract):
    @pytest.fixture
    def url(self, language: str, shm_url: str) -> str:
        return f"{language}+{shm_url}"


@every_language
class TestStreamInSharedMemory(ClientChildren, StreamContract):
    @pytest.fixture
    def url(self, language: str, shm_url: str) -> str:
        return f"{language}+{shm_url}"


@pytest.mark.soak
@every_language
class TestStoreInAFolder(ClientChildren, StoreContract):
    @pytest.fixture
    def url(self, language: str, tmp_path: Path) -> str:
        return f"{language}+file://{tmp_path}/folder"


@pytest.mark.soak
@every_language
class TestStreamInAFolder(ClientChildren, StreamContract):
    @pytest.fixture
    def url(self, language: str, tmp_path: Path) -> str:
        return f"{language}+file://{tmp_path}/fields"
