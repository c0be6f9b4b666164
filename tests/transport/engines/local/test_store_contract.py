"""The local engine keeps the store contract, in shared memory and in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from dovetail.testing import StoreContract


class TestSharedMemory(StoreContract):
    @pytest.fixture
    def url(self, shm_url: str) -> str:
        return shm_url


class TestFolder(StoreContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"file://{tmp_path}/folder"


class TestPolledFolder(StoreContract):
    """As on a network file system: no shared mapping, no locks relied upon."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"file://{tmp_path}/folder?wait=poll"


class TestWithoutRecycling(StoreContract):
    @pytest.fixture
    def url(self, shm_url: str) -> str:
        return f"{shm_url}?recycle=no"
