"""Any sequence of puts, draws and restarts, against a plain count of what was drawn how often."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import dovetail as dv
from dovetail.learn import Provenance


class Machine(RuleBasedStateMachine):
    """What was put must be drawn, as often as it may, before it is gone."""

    @initialize(
        capacity=st.integers(1, 8),
        policy=st.sampled_from(["fifo", "firo", "reservoir"]),
        evict=st.sampled_from(["random", "oldest", "most_seen"]),
        max_reuse=st.none() | st.integers(1, 4),
        max_staleness=st.none() | st.integers(1, 12),
        seed=st.integers(0, 3),
    )
    def begin(
        self,
        capacity: int,
        policy: Any,
        evict: Any,
        max_reuse: int | None,
        max_staleness: int | None,
        seed: int,
    ) -> None:
        self.arguments = {"capacity": capacity, "policy": policy, "evict": evict, "seed": seed}
        if policy == "reservoir":
            self.arguments |= {"max_reuse": max_reuse, "max_staleness": max_staleness}
        self.once = policy != "reservoir"
        self.most = 1 if self.once else max_reuse or 10**9
        self.staleness = max_staleness if policy == "reservoir" else None
        self.reservoir = dv.Reservoir(**self.arguments)
        self.seen: Counter[int] = Counter()
        self.count = 0
        self.closed = False

    @precondition(lambda self: not self.closed)
    @rule()
    def put(self) -> None:
        if self.reservoir.has_room():
            self.reservoir.put({"u": np.float64(self.count)}, Provenance("run", self.count), 0)
            self.count += 1
        else:
            assert self.reservoir.statistics().unseen == self.arguments["capacity"]
            with pytest.raises(dv.TransportTimeoutError):
                self.reservoir.put({"u": np.zeros(())}, Provenance(), 0)

    @rule()
    def draw(self) -> None:
        if self.closed:
            sample = self.reservoir.draw(0)
            if sample is None:
                assert len(self.reservoir) == 0
                return
        elif len(self.reservoir) == 0:
            with pytest.raises(dv.TransportTimeoutError):
                self.reservoir.draw(0)
            return
        else:
            sample = self.reservoir.draw(0)
        assert sample is not None
        assert sample["u"] == sample.number == sample.provenance.step
        if self.staleness is not None and self.seen[sample.number]:
            assert self.count - sample.number <= self.staleness
        if self.once:
            expected = [number for number in range(self.count) if not self.seen[number]]
            assert sample.number in expected
            assert self.arguments["policy"] == "firo" or sample.number == expected[0]
        self.seen[sample.number] += 1
        assert sample.seen == self.seen[sample.number] <= self.most

    @rule()
    def begin_again(self) -> None:
        other = dv.Reservoir(**self.arguments)
        other.load_state_dict(self.reservoir.state_dict())
        self.reservoir = other

    @precondition(lambda self: not self.closed and self.count > 10)
    @rule()
    def close(self) -> None:
        self.reservoir.close()
        self.closed = True

    @invariant()
    def nothing_is_dropped_unseen(self) -> None:
        statistics = self.reservoir.statistics()
        assert statistics.unseen == sum(not self.seen[number] for number in range(self.count))
        assert statistics.held <= self.arguments["capacity"]
        assert statistics.received == self.count
        assert statistics.drawn == sum(self.seen.values())


TestMachine = Machine.TestCase
TestMachine.settings = settings(deadline=None, max_examples=60, stateful_step_count=50)
