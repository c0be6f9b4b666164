"""``mpi://`` keeps the stream contract: in a job of one process, whose threads are the ranks.

Once more in a job of two, of which the other leads: see test_jobs.py.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

import dovetail as dv
from dovetail.testing import StreamContract

pytestmark = pytest.mark.requires("mpi")

LEADER = os.environ.get("DOVETAIL_TEST_LEADER", "0")
_numbers = itertools.count()


@pytest.fixture(scope="module", autouse=True)
def leader() -> Iterator[None]:
    """The process that leads, if it is another one, reads this stream till the tests are done."""
    if LEADER == "0":
        yield
    else:
        with dv.open_stream(f"mpi://test?leader={LEADER}", "w"):
            yield


class TestStream(StreamContract):
    """As any engine."""

    @pytest.fixture
    def url(self) -> str:
        return f"mpi://contract-{next(_numbers)}?leader={LEADER}"
