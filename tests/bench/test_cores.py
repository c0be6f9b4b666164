"""The two processes of a stream run on a core each, and are let go again."""

from __future__ import annotations

import os

import pytest

from dovetail.bench.cores import pinned, two_cores


def test_two_cores_are_two_that_may_be_used() -> None:
    allowed = os.sched_getaffinity(0)
    cores = two_cores()
    assert (cores is None) == (len(allowed) < 2)
    if cores is not None:
        assert set(cores) <= allowed
        assert cores[0] != cores[1]


def test_pinning_ends_with_its_block() -> None:
    before = os.sched_getaffinity(0)
    core = min(before)
    with pytest.raises(ZeroDivisionError), pinned(core):
        assert os.sched_getaffinity(0) == {core}
        raise ZeroDivisionError
    assert os.sched_getaffinity(0) == before
    with pinned(None):
        assert os.sched_getaffinity(0) == before


def test_who_may_use_one_core_only_has_no_two() -> None:
    with pinned(min(os.sched_getaffinity(0))):
        assert two_cores() is None
