"""BP5 files keep the stream contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from dovetail.testing import StreamContract

pytestmark = pytest.mark.requires("adios2")


class TestFiles(StreamContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"bp5://{tmp_path}/fields.bp"
