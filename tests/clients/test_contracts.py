"""The client of each language keeps the contracts of Store and Stream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from clients.languages import every_language

from dovetail.testing import StoreContract, StreamContract, store_keys
from dovetail.testing.children import ChildServer


class ClientChildren:
    @pytest.fixture(autouse=True)
    def blanks(
        self, request: pytest.FixtureRequest, language: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In Fortran trailing blanks of names do not count: no key is one."""
        if language == "fortran":
            monkeypatch.delitem(store_keys.HOSTILE, "space")
            if request.node.callspec.params.get("key") == " ":
                pytest.skip("the engine speaks Fortran: trailing blanks do not count")

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
