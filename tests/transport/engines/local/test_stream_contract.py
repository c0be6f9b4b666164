"""The local engine keeps the stream contract: in shared memory, in a folder, over a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from dovetail.testing import StreamContract


class TestSharedMemory(StreamContract):
    @pytest.fixture
    def url(self, shm_url: str) -> str:
        return shm_url


class TestFolder(StreamContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"file://{tmp_path}/fields"


class TestOverAStore(StreamContract):
    """As on a file system whose files cannot be shared in memory."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"file://{tmp_path}/fields?over=store&lost_after=5s"


@pytest.mark.soak
class TestOverAPolledStore(StreamContract):
    """As on a network file system."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"file://{tmp_path}/fields?wait=poll&lost_after=5s"
