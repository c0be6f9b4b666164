"""The local engine keeps the stream contract, in shared memory and in a folder."""

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
