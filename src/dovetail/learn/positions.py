"""How far each producer's stream has been received, and what came of it.

A stream numbers its steps from 0, for each of its writers. A simulation that was killed and
started again is another writer: it may begin from the start, or go on from its own checkpoint.
Which of its steps have been taken already is told by the attribute ``step``, if it gives one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

from dovetail.learn.samples import Provenance
from dovetail.transport import ReadStep

ReceivingState = Literal["waiting", "open", "ended", "lost"]


class StepName(NamedTuple):
    """What a step is known by."""

    writer: int
    """Which of the stream's writers wrote it, counted from 1."""
    place: int
    """Its index among the steps of that writer."""
    simulation: str
    number: int | None
    """What the simulation calls it: the attribute ``step``."""

    def is_that(self, other: StepName) -> bool:
        """Whether both are one step, though perhaps computed twice."""
        if self.writer == other.writer:
            return self.place == other.place
        return self.number is not None and (self.simulation, self.number) == (
            other.simulation,
            other.number,
        )


NO_STEP = StepName(0, -1, "", None)


@dataclass(slots=True)
class Position:
    """How far one stream has been received; part of every checkpoint."""

    name: str
    """The stream's."""
    state: ReceivingState = "waiting"
    """``waiting`` for its producer, ``open``, ``ended`` by it, or ``lost`` (it died)."""
    writer: int = 0
    """Which of the stream's writers is followed, counted from 1."""
    next_step: int = 0
    """The index of the step that is expected of that writer."""
    last_time: float = 0.0
    """When the last step was written, in seconds since the epoch."""
    samples_of_step: int = 0
    """Samples already taken of the step under way."""
    under_way: StepName = NO_STEP
    """The step that these samples are of."""
    last_numbers: dict[str, int] = field(default_factory=dict)
    """The attribute ``step`` of each simulation's last step."""
    to_be_repeated: dict[str, int] = field(default_factory=dict)
    """The same, as it was when the present writer began: so far it may repeat."""
    steps: int = 0
    """Steps taken to their end."""
    samples: int = 0
    """Samples that went to the reservoir."""
    nbytes: int = 0
    """Bytes of these."""
    held_out: int = 0
    """Samples that were held out."""
    refused: int = 0
    """Samples that held NaN or infinity."""
    missed: int = 0
    """Steps that went by before they could be received."""
    repeated: int = 0
    """Steps that came again, and were not taken again."""
    seconds_waited: float = 0.0
    """Time that its receiver waited for the producer."""
    seconds_stalled: float = 0.0
    """Time that its samples waited for room: the producer was held up, once its stream was full."""

    def meet_writer(self, first: ReadStep) -> None:
        """Follow the writer whose step this is: the one before, or another.

        One that is older than what has been received is the same writer's.
        """
        is_another = first.index < self.next_step and first.time > self.last_time
        if self.writer == 0 or is_another:
            # In this order: a checkpoint may be saved between any two lines.
            self.to_be_repeated = dict(self.last_numbers)
            self.writer += 1
            self.next_step = 0

    def miss_until(self, index: int, count: int) -> None:
        """The steps before `index` went by, and `count` of them were to be taken."""
        self.missed += count
        self.next_step = index

    def name_of(self, index: int, provenance: Provenance) -> StepName:
        """What a step of the present writer is known by."""
        number = provenance.step if "step" in provenance.attrs else None
        return StepName(self.writer, index, provenance.simulation, number)

    def begin_step(self, name: StepName) -> None:
        """A step is under way; samples of it that were taken before are remembered."""
        if not name.is_that(self.under_way):
            self.samples_of_step = 0
        self.under_way = name

    def is_repeated(self, name: StepName) -> bool:
        """Whether a writer before gave this step."""
        last = self.to_be_repeated.get(name.simulation)
        if last is None or name.number is None:
            return False
        if name.number <= last:
            return True
        # Another dictionary: a checkpoint may be looking at this one.
        left = dict(self.to_be_repeated)
        del left[name.simulation]
        self.to_be_repeated = left
        return False

    def skip_step(self, name: StepName, time: float) -> None:
        """A step, which was written at `time`, is not to be taken."""
        self.next_step = max(name.place + 1, self.next_step)
        self.last_time = max(self.last_time, time)

    def end_step(self, name: StepName, time: float) -> None:
        """A step, which was written at `time`, is done with; perhaps others took it."""
        self.skip_step(name, time)
        if name.number is not None:
            self.last_numbers[name.simulation] = name.number
        if name == self.under_way:
            self.steps += 1
            self.samples_of_step = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what was saved; a stream that had not ended is waited for again."""
        for name, value in state.items():
            setattr(self, name, dict(value) if isinstance(value, dict) else value)
        self.under_way = StepName(*state["under_way"])
        if self.state != "ended":
            self.state = "waiting"
