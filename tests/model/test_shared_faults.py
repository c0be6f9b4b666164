"""Of the ranks that share a model and of their server, any may be killed at any moment."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from model.networks import Closure, inputs_of
from model.shared_ranks import PATIENCE, Rank, Server

import dovetail as dv
from dovetail import _native
from dovetail.model import CompiledModel
from dovetail.transport import registry
from dovetail.transport.contract import Store

pytestmark = [pytest.mark.requires("compiler"), pytest.mark.timeout(300)]

UNTIL_ALL = 60


def test_a_server_that_is_killed_fails_the_calls_under_way(
    ranks: Callable[..., list[Rank]],
) -> None:
    calling, also_calling, idle = ranks(3, gather=UNTIL_ALL)
    server = Server(idle)
    for rank in (calling, also_calling):
        rank.ask("run", 2, 0)  # which wait for the third
    server.kill()
    for rank in (calling, also_calling):
        assert rank.error().startswith("PeerLostError: the model server of this node (process")
    idle.ask("run", 2, 0)
    assert idle.error().startswith("PeerLostError: ")
    assert not server.place.exists()
    (next_one,) = ranks(1, gather=UNTIL_ALL)
    assert next_one.does("run", 2, 0)
    server.close()


def test_or_they_are_computed_in_process_from_then_on(
    ranks: Callable[..., list[Rank]], store: Store, one_thread: CompiledModel
) -> None:
    calling, idle = ranks(2, gather=UNTIL_ALL, fallback="in_process")
    dv.publish_model(store, "closure", Closure(1))
    for rank in (calling, idle):
        assert rank.does("follow", store.url) == 1
    own = dv.FollowedModel(store, "closure", one_thread)
    own.refresh()
    server = Server(idle)
    calling.ask("run", 2, 0)
    server.kill()
    told = calling.told()
    assert [one.split(":")[0] for one in told["warnings"]] == [
        "the model server of this node is gone"
    ]
    expected = own(*inputs_of(2, 0))[0].tobytes().hex()
    assert told["answer"][0] == expected
    assert calling.does("run", 2, 0)[0] == expected  # and no warning again
    dv.publish_model(store, "closure", Closure(2))
    own.refresh()
    assert calling.does("refresh") == 2
    assert calling.does("run", 2, 0)[0] == own(*inputs_of(2, 0))[0].tobytes().hex()
    server.close()


def test_a_rank_that_is_killed_holds_nobody_up(
    ranks: Callable[..., list[Rank]], one_thread: CompiledModel
) -> None:
    one, other, victim = ranks(3, gather=UNTIL_ALL)
    for rank in (one, other):
        rank.ask("run", 2, 0)
    victim.kill()
    expected = one_thread(*inputs_of(2, 0))[0]
    for rank in (one, other):
        np.testing.assert_allclose(rank.output(), expected, rtol=1e-4, atol=1e-5)
    assert one.does("statistics")["ranks"] == 2


def test_a_rank_that_is_killed_in_its_call_harms_nobody(
    ranks: Callable[..., list[Rank]], one_thread: CompiledModel
) -> None:
    one, other, victim = ranks(3, gather=UNTIL_ALL)
    victim.ask("run", 2, 0)
    one.ask("run", 2, 0)
    victim.kill()
    other.ask("run", 2, 0)
    expected = one_thread(*inputs_of(2, 0))[0]
    for rank in (one, other):
        np.testing.assert_allclose(rank.output(), expected, rtol=1e-4, atol=1e-5)


def test_the_server_ends_when_all_its_ranks_are_killed(
    ranks: Callable[..., list[Rank]],
) -> None:
    several = ranks(2, gather=UNTIL_ALL)
    server = Server(several[0])
    several[0].ask("run", 2, 0)
    for rank in several:
        rank.kill()
    assert server.ends()
    assert not server.place.exists()
    server.close()


def test_what_is_left_when_all_are_killed_is_cleaned_up(ranks: Callable[..., list[Rank]]) -> None:
    (rank,) = ranks(1)
    server = Server(rank)
    assert server.place not in {left.path for left in registry.leftovers()}
    assert _native.dead_model_server(str(server.place), True) is None
    server.signal(signal.SIGSTOP)
    rank.kill()
    server.kill()
    assert server.place in {left.path for left in registry.leftovers()}
    # This one alone: others may be at work beside this test.
    assert _native.dead_model_server(str(server.place), True) is not None
    assert not server.place.exists()
    server.close()


def test_the_server_ends_if_the_rank_that_starts_it_is_killed(
    exported: Path, one_thread: CompiledModel, ranks: Callable[..., list[Rank]]
) -> None:
    """At some moment of the start; the next rank begins as if nothing had been."""
    for _ in range(3):
        victim = Rank(exported, gather=UNTIL_ALL)
        victim.kill()
        victim.end()
    (rank,) = ranks(1, gather=UNTIL_ALL)
    assert rank.does("run", 2, 0)


def test_a_server_that_does_not_answer_is_not_waited_for_without_end(
    ranks: Callable[..., list[Rank]], one_thread: CompiledModel
) -> None:
    (rank,) = ranks(1, gather=None)
    server = Server(rank)
    (hasty,) = ranks(1, gather=None, timeout=PATIENCE / 50)
    server.signal(signal.SIGSTOP)
    hasty.ask("run", 2, 0)
    assert "gave no answer within 2 s" in hasty.error()
    server.signal(signal.SIGCONT)
    # The answer that comes late is for the call that was given up.
    assert hasty.does("run", 3, 1)[0] == one_thread(*inputs_of(3, 1))[0].tobytes().hex()
    server.close()


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_whatever_is_killed_whenever_nobody_hangs_and_nothing_is_left(
    exported: Path, one_thread: CompiledModel
) -> None:
    random = np.random.default_rng()
    for _ in range(30):
        several = [Rank(exported, gather=0.01) for _ in range(3)]
        for rank in several:
            rank.answer()
        server = Server(several[0])
        for step in range(int(random.integers(1, 20))):
            for rank in several:
                rank.ask("run", 50, step)
            for rank in several:
                rank.answer()
        for rank in several:
            rank.ask("run", 50, 0)
        if random.integers(2):
            server.kill()
            for rank in several:
                told = rank.told()
                assert "answer" in told or told["error"].startswith("PeerLostError"), told
        else:
            several[0].kill()
            for rank in several[1:]:
                rank.answer()
        for rank in several:
            rank.end()
        assert server.ends()
        server.close()
