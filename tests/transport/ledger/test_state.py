"""The state follows from the log alone, whatever it says, and from any snapshot of it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import dovetail as dv
from dovetail.transport.ledger import entries, snapshot
from dovetail.transport.ledger.state import State

WRITERS, READERS = ("w0", "w1"), ("r0", "r1", "r2")
POLICIES = [dv.lockstep(), dv.buffered(1), dv.buffered(3), dv.latest(), dv.work_queue(2)]
small = st.integers(0, 6)
writers, readers = st.sampled_from(WRITERS), st.sampled_from(READERS)
spoken: st.SearchStrategy[Any] = st.one_of(
    st.builds(entries.Opened, writers, st.integers(0, 1), st.integers(1, 2),
              st.sampled_from(POLICIES), st.just(0)),
    st.builds(entries.Ended, writers, small, small, small, small),
    st.builds(entries.Closed, writers, st.booleans()),
    st.builds(entries.Joined, readers, st.integers(0, 1), st.integers(1, 2),
              st.sampled_from(["", "x", "-r0"])),
    st.builds(entries.Picked, readers, small),
    st.builds(entries.Done, readers, small),
    st.builds(entries.Left, readers, st.booleans()),
    st.builds(entries.Stopped, readers),
    st.builds(entries.Dead, st.sampled_from(WRITERS + READERS)),
    st.builds(entries.Expelled, readers, small),
    st.builds(entries.Continued, readers),
    st.builds(entries.Removed, readers, st.booleans()),
)  # fmt: skip
logs = st.lists(spoken, max_size=60)


def state_after(log: list[Any], state: State | None = None) -> State:
    state = State() if state is None else state
    for entry in log:
        state.apply(entry)
    return state


@given(logs, st.integers(0, 60))
@settings(max_examples=300)
def test_a_state_goes_on_from_a_snapshot_as_from_the_log(log: list[Any], cut: int) -> None:
    half = state_after(log[:cut])
    if half.removed:
        return
    kept = json.loads(json.dumps(snapshot.to_json(half)))
    restored = state_after(log[cut:], snapshot.from_json(kept))
    assert snapshot.to_json(restored) == snapshot.to_json(state_after(log))


@given(logs)
@settings(max_examples=300)
def test_whatever_is_said_the_state_is_sound(log: list[Any]) -> None:
    state = State()
    oldest: dict[int, int] = {}
    for entry in log:
        state.apply(entry)
        for epoch in state.epochs.values():
            complete = epoch.complete()
            # What was released stays so; what is held is complete.
            assert epoch.oldest >= oldest.get(epoch.number, 0)
            oldest[epoch.number] = epoch.oldest
            assert 0 <= epoch.steps_held() <= complete
            assert all(step >= epoch.oldest for step in epoch.done)
            dealt = [step for group in epoch.groups.values() for step in group.picks]
            assert all(step < complete for step in dealt)
            # A step has one owner, and no step that is needed has lost its blocks.
            for step in range(complete):
                if epoch.needed(step) and step >= epoch.oldest:
                    assert len(epoch.steps[step]) == epoch.size
            if epoch.number != state.newest:
                assert any(epoch.live_groups())


@given(logs)
def test_a_step_of_a_work_queue_is_in_one_hand(log: list[Any]) -> None:
    begin = entries.Opened("w0", 0, 1, dv.work_queue(2), 0)
    state = state_after([begin, *log])
    for epoch in state.epochs.values():
        if epoch.policy.kind != "work_queue":
            continue
        hands = [
            step
            for group in epoch.live_groups()
            for step in group.picks
            if epoch.owners.get(step) == group.id
        ]
        assert len(hands) == len(set(hands))
