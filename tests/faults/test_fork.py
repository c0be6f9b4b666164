"""A fork in the middle of everything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from faults import fork_roles as roles
from faults.tally import Tally

from dovetail.testing.children import ChildServer


@pytest.mark.parametrize(
    "role",
    [
        roles.store_in_use,
        roles.reservation_open,
        roles.child_closes_everything,
        roles.threads_at_work,
        roles.stream_in_use,
        roles.orphan_keeps_nothing_alive,
    ],
    ids=lambda role: role.__name__.replace("_", " "),
)
def test_fork(shm_url: str, children: ChildServer, faults: Tally, role: Callable[..., Any]) -> None:
    """Fork, after which parent and child both go on."""
    child = children.start(role, url=shm_url, trials=faults.wanted)
    for trial in faults:
        assert child.receive() == trial
    child.join()


@pytest.mark.parametrize(
    "role",
    [roles.reservation_published_by_the_child, roles.lifelines_of_the_parent],
    ids=lambda role: role.__name__.replace("_", " "),
)
def test_a_child_cannot_act_for_its_parent(
    shm_url: str, children: ChildServer, role: Callable[..., Any]
) -> None:
    child = children.start(role, url=shm_url)
    assert child.receive() == "sound"
    child.join()
