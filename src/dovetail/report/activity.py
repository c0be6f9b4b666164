"""Who computed, moved data or waited, and when.

The main thread of a process says what the process did: it *waited* while a call of its own waited
for another process, *moved data* for the rest of that call, and *computed* otherwise. Threads in
the background wait at no cost to the program, and count only with the bytes that they moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dovetail import observe
from dovetail.observe.columns import Columns
from dovetail.report.directory import Attempt, Component, Run

BINS = 400
"""Into how many parts a run is cut. What is shown of it does not grow with its events."""
_CALLS = (
    observe.PUT,
    observe.GET,
    observe.WAIT,
    observe.WRITE_STEP,
    observe.READ_STEP,
    observe.STARVE,
    observe.STALL,
)
"""The kinds of event that a process is in, rather than computing."""

Series = NDArray[np.float64]


class Owner(NamedTuple):
    """Whose recording it is."""

    component: str
    rank: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Clock:
    """A run, cut into parts of equal length."""

    started: float
    """Seconds since the epoch."""
    seconds: float

    @property
    def width(self) -> float:
        """Seconds of a part."""
        return self.seconds / BINS

    def spread(self, start_ns: Any, duration_ns: Any, amount: Any) -> Series:
        """Amounts, each spread evenly over its event, summed for each part of the run."""
        first = (np.asarray(start_ns) - round(self.started * 1e9)) * 1e-9 / self.width
        last = first + np.asarray(duration_ns) * 1e-9 / self.width
        amount = np.asarray(amount, np.float64)
        low = np.clip(first.astype(np.intp), 0, BINS - 1)
        high = np.clip(last.astype(np.intp), 0, BINS - 1)
        within = low == high
        sums = np.zeros(BINS)
        sums += np.bincount(low[within], amount[within], BINS)
        # Few do: no two events of a thread cross the same border.
        for crossing in np.flatnonzero(~within):
            a, b = first[crossing], last[crossing]
            borders = np.arange(low[crossing], high[crossing] + 2, dtype=np.float64)
            borders[0], borders[-1] = a, b
            share = np.diff(borders) / (b - a)
            sums[low[crossing] : high[crossing] + 1] += share * amount[crossing]
        return sums

    def covered(self, attempts: Iterable[Attempt]) -> Series:
        """Seconds of each part of the run in which one of the attempts lived."""
        sums = np.zeros(BINS)
        for one in attempts:
            start_ns, length = round(one.started * 1e9), one.ended - one.started
            sums += self.spread([start_ns], [round(length * 1e9)], [length])
        return np.minimum(sums, self.width)


@dataclass(frozen=True, slots=True)
class Lane:
    """What one rank did over the run."""

    component: str
    rank: int
    ranks: int
    """Of its component; a lane may stand for all of them, with `rank` -1."""
    attempts: tuple[Attempt, ...]
    events: int
    seconds: float
    """How long it lived."""
    moving_seconds: float
    waiting_seconds: float
    nbytes: int
    """Bytes that it moved, in all its threads."""
    computing: Series
    """For each part of the run, the share of it that the rank computed."""
    moving: Series
    waiting: Series
    flow: Series
    """Bytes a second, for each part of the run."""

    @property
    def name(self) -> str:
        """The component, and the rank if there are several."""
        return (
            self.component if self.ranks == 1 or self.rank < 0 else f"{self.component}.{self.rank}"
        )

    @property
    def shares(self) -> tuple[float, float, float]:
        """The shares of its life that it computed, moved data and waited."""
        if not self.seconds:
            return 0.0, 0.0, 0.0
        waiting = min(self.waiting_seconds / self.seconds, 1.0)
        moving = min(self.moving_seconds / self.seconds, 1.0 - waiting)
        return 1.0 - waiting - moving, moving, waiting


@dataclass(slots=True)
class _Sums:
    events: int = 0
    nbytes: int = 0
    moving: Series = field(default_factory=lambda: np.zeros(BINS))
    waiting: Series = field(default_factory=lambda: np.zeros(BINS))
    bytes_moved: Series = field(default_factory=lambda: np.zeros(BINS))


class Activity:
    """Collects the lanes of a run."""

    def __init__(self, run: Run, clock: Clock) -> None:
        self._run = run
        self._clock = clock
        self._sums: dict[tuple[str, int], _Sums] = {}

    def add(self, owner: Owner, events: Columns) -> None:
        """Take a recording into account."""
        sums = self._sums.setdefault((owner.component, owner.rank), _Sums())
        sums.events += len(events.kind)
        calls = np.isin(events.kind, _CALLS)
        start, duration, nbytes = (
            column[calls] for column in (events.start_ns, events.duration_ns, events.nbytes)
        )
        sums.nbytes += int(nbytes.sum())
        sums.bytes_moved += self._clock.spread(start, duration, nbytes)
        main = calls & events.on_main_thread
        start, duration, wait = (
            column[main] for column in (events.start_ns, events.duration_ns, events.wait_ns)
        )
        wait = np.minimum(wait, duration)
        sums.waiting += self._clock.spread(start, duration, wait * 1e-9)
        sums.moving += self._clock.spread(start, duration, (duration - wait) * 1e-9)

    def lanes(self) -> tuple[Lane, ...]:
        """A lane for each rank, in the order of the workflow."""
        return tuple(
            self._lane(component, rank)
            for component in self._run.components
            for rank in range(component.ranks)
        )

    def _lane(self, component: Component, rank: int) -> Lane:
        sums = self._sums.get((component.name, rank), _Sums())
        attempts = tuple(one for one in component.attempts if one.rank == rank)
        alive = self._clock.covered(attempts)
        waiting = np.minimum(sums.waiting, alive)
        moving = np.minimum(sums.moving, alive - waiting)
        # A part in which it lived less than half is not shown, and the others as if it did all.
        enough = alive >= min(self._clock.width / 2, float(alive.max()))
        visible = np.where(enough & (alive > 0), alive, np.inf)
        return Lane(
            component.name,
            rank,
            component.ranks,
            attempts,
            sums.events,
            float(sum(one.ended - one.started for one in attempts)),
            float(moving.sum()),
            float(waiting.sum()),
            sums.nbytes,
            np.clip((alive - waiting - moving) / visible, 0, 1),
            moving / visible,
            waiting / visible,
            sums.bytes_moved / self._clock.width,
        )


def together(lanes: Sequence[Lane]) -> Lane:
    """The lanes of one component as one: means of what they did, sums of what they moved."""
    first = lanes[0]
    return Lane(
        first.component,
        -1,
        first.ranks,
        tuple(attempt for lane in lanes for attempt in lane.attempts),
        sum(lane.events for lane in lanes),
        sum(lane.seconds for lane in lanes),
        sum(lane.moving_seconds for lane in lanes),
        sum(lane.waiting_seconds for lane in lanes),
        sum(lane.nbytes for lane in lanes),
        np.mean([lane.computing for lane in lanes], axis=0),
        np.mean([lane.moving for lane in lanes], axis=0),
        np.mean([lane.waiting for lane in lanes], axis=0),
        np.sum([lane.flow for lane in lanes], axis=0),
    )
