"""A stream beside plain lists: any order of writing and reading delivers what the policy says.

One process holds the writer and up to three readers. The machine never lets the producer wait
for longer than an instant, for that is a matter of deadlines and expulsion. Needs Hypothesis::

    def test_a_stream_behaves_as_its_policy_says(url):
        check_stream_against_lists(url, dv.buffered(2))
"""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import dovetail as dv
from dovetail.testing.children import PATIENCE
from dovetail.testing.values import sealed, unsealed
from dovetail.transport.contract import ReadStep, StreamReader

counts = st.sampled_from([0, 1, 500, 2048, 5000])
MOST_READERS = 3


def check_stream_against_lists(
    url: str, policy: dv.Policy, examples: int = 40, steps: int = 40
) -> None:
    """Run the state machine on the stream behind `url`, destroyed after each run."""

    class Machine(StreamModel):
        stream_url = url
        kind = policy

    run_state_machine_as_test(
        Machine, settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None)
    )


class ModelReader:
    """A reader, and what it should have seen."""

    def __init__(self, reader: StreamReader, start: int) -> None:
        self.reader = reader
        self.next = start
        """The first step that it may get (lockstep, buffered, latest)."""
        self.inhand: ReadStep | None = None
        self.number = -1


class StreamModel(RuleBasedStateMachine):
    """A writer and its readers, and the lists that they should amount to."""

    stream_url: ClassVar[str]
    kind: ClassVar[dv.Policy]

    def __init__(self) -> None:
        super().__init__()
        self.out = dv.open_stream(self.stream_url, "w", policy=self.kind, timeout=PATIENCE)
        self.readers: list[ModelReader] = []
        self.written = 0
        self.undealt: list[int] = []
        self.oldest = 0
        self.held: list[tuple[int, Any]] = []
        self.thread = ThreadPoolExecutor(1)

    def teardown(self) -> None:
        self.out.close()
        for model in self.readers:
            self.read_to_the_end(model)
        for model in self.readers:
            model.reader.close()
        self.thread.shutdown()
        with contextlib.suppress(dv.KeyNotFoundError):
            dv.destroy_stream(self.stream_url)
        self.what_is_in_hand_has_not_changed()

    # --- what the policy allows -------------------------------------------------------------

    def outstanding(self) -> int:
        """Steps that some reader has not ended."""
        if self.kind.kind == "work_queue":
            return len(self.undealt) + sum(model.inhand is not None for model in self.readers)
        if self.readers:
            self.oldest = max(self.oldest, min(self.unended(model) for model in self.readers))
        return self.written - self.oldest

    def unended(self, model: ModelReader) -> int:
        """The first step that a reader has not ended."""
        return model.number if model.inhand is not None else model.next

    def can_write(self) -> bool:
        """Whether the producer need not wait."""
        if self.kind.kind == "latest":
            return True
        if self.kind.kind == "lockstep":
            return bool(self.readers)
        return self.outstanding() < self.kind.window

    # --- the producer -----------------------------------------------------------------------

    @precondition(lambda self: self.can_write())
    @rule(count=counts)
    def write(self, count: int) -> None:
        if self.kind.kind == "lockstep":
            self.write_in_lockstep(count)
            return
        self.put(count)

    def put(self, count: int) -> None:
        """One step."""
        number = self.written
        with self.out.step(attrs={"number": number}) as step:
            for name, array in sealed(number, count).items():
                step[name] = array
        self.written += 1
        self.undealt.append(number)

    def write_in_lockstep(self, count: int) -> None:
        """One step, which every reader has to end before the producer goes on."""
        number = self.written
        writing = self.thread.submit(self.put, count)
        for model in self.readers:
            step = model.reader.next_step(PATIENCE)
            self.take(model, step, number)
        assert self.written == number, "lockstep did not wait"
        for model in self.readers:
            assert model.inhand is not None
            self.end(model)
        writing.result(PATIENCE)

    @precondition(lambda self: self.can_write())
    @rule(count=counts)
    def give_a_step_up(self, count: int) -> None:
        with pytest.raises(ZeroDivisionError), self.out.step() as step:
            step["payload"] = sealed(-1, count)["payload"]
            raise ZeroDivisionError

    # --- the consumers ----------------------------------------------------------------------

    @precondition(lambda self: len(self.readers) < MOST_READERS)
    @rule()
    def join(self) -> None:
        self.outstanding()
        start = self.written if self.kind.kind == "lockstep" else self.oldest
        reader = dv.open_stream(self.stream_url, "r", timeout=PATIENCE)
        self.readers.append(ModelReader(reader, start))

    @precondition(lambda self: len(self.readers) > 1)
    @rule(index=st.integers(0, MOST_READERS - 1))
    def leave(self, index: int) -> None:
        model = self.readers[index % len(self.readers)]
        if model.inhand is not None:
            self.end(model)
        model.reader.close()
        self.outstanding()
        self.readers.remove(model)

    @precondition(lambda self: self.readers)
    @rule(index=st.integers(0, MOST_READERS - 1))
    def read(self, index: int) -> None:
        model = self.readers[index % len(self.readers)]
        model.inhand = None  # asking for the next step ends the one before
        expected = self.expected(model)
        if expected is None:
            with pytest.raises(dv.TransportTimeoutError):
                model.reader.next_step(timeout=0)
        else:
            self.take(model, model.reader.next_step(timeout=PATIENCE), expected)

    def expected(self, model: ModelReader) -> int | None:
        """The step that a reader gets now."""
        match self.kind.kind:
            case "work_queue":
                return self.undealt[0] if self.undealt else None
            case "latest":
                return self.written - 1 if self.written > model.next else None
            case _:
                return model.next if model.next < self.written else None

    def take(self, model: ModelReader, step: ReadStep | None, expected: int) -> None:
        """Check a step and take it in hand."""
        assert step is not None
        assert (unsealed(step), step.index, step.attrs["number"]) == (expected,) * 3
        model.inhand, model.number, model.next = step, expected, expected + 1
        self.held = [*self.held[-4:], (expected, step["payload"])]
        if self.kind.kind == "work_queue":
            self.undealt.remove(expected)

    @precondition(lambda self: any(model.inhand is not None for model in self.readers))
    @rule(index=st.integers(0, MOST_READERS - 1))
    def end_early(self, index: int) -> None:
        inhand = [model for model in self.readers if model.inhand is not None]
        self.end(inhand[index % len(inhand)])

    def end(self, model: ModelReader) -> None:
        """Say that the step in hand is done with."""
        assert model.inhand is not None
        model.inhand.end()
        model.inhand = None

    def read_to_the_end(self, model: ModelReader) -> None:
        """All that is left for one reader, then the end."""
        for other in self.readers:
            if other.inhand is not None:
                self.end(other)
        while (expected := self.expected(model)) is not None:
            self.take(model, model.reader.next_step(timeout=PATIENCE), expected)
            self.end(model)
        assert model.reader.next_step(timeout=PATIENCE) is None

    # --- always -----------------------------------------------------------------------------

    @invariant()
    def what_is_in_hand_has_not_changed(self) -> None:
        for number, payload in self.held:
            assert (payload == number).all()

    @invariant()
    def the_stream_is_described_as_it_is(self) -> None:
        description = dv.describe_stream(self.stream_url)
        assert description.state == "open"
        assert description.steps_complete == self.written
        live = [group for group in description.groups if group.state == "live"]
        assert len(live) == len(self.readers)
