"""Streams over SST keep the stream contract between ends of ours."""

from __future__ import annotations

import itertools
import os

import pytest

from dovetail.testing import StreamContract

pytestmark = pytest.mark.requires("adios2")
_numbers = itertools.count()


class TestSst(StreamContract):
    @pytest.fixture
    def url(self) -> str:
        return f"sst://test-{os.getpid()}-{next(_numbers)}"


@pytest.mark.soak
class TestEveryBlockBySst(StreamContract):
    """Small blocks, too."""

    @pytest.fixture
    def url(self) -> str:
        return f"sst://test-{os.getpid()}-{next(_numbers)}?eager=1"


@pytest.mark.soak
class TestMostBlocksInTheLedger(StreamContract):
    """As large as they may be there."""

    @pytest.fixture
    def url(self) -> str:
        return f"sst://test-{os.getpid()}-{next(_numbers)}?eager=64KiB"
