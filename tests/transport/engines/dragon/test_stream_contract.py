"""The shipped contract of a Stream, over a store of the distributed dictionary."""

from __future__ import annotations

import pytest

import dovetail as dv
from dovetail.testing import StreamContract, check_stream_against_lists

pytestmark = pytest.mark.requires("dragon")


class TestDragonStream(StreamContract):
    """The log is a list of the keeper's, blocks are values of the dictionary."""

    @pytest.fixture
    def url(self, stream_url: str) -> str:
        return stream_url


@pytest.mark.parametrize("policy", [dv.lockstep(), dv.buffered(3), dv.latest()], ids=str)
def test_a_stream_behaves_as_lists(stream_url: str, policy: dv.Policy) -> None:
    check_stream_against_lists(stream_url, policy, examples=10, steps=20)
