"""Whether a trainer starved, and which producers it held up."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dovetail import observe
from dovetail.observe.columns import Columns
from dovetail.report.activity import Owner
from dovetail.report.directory import Run


@dataclass(frozen=True, slots=True)
class Starvation:
    """How long a trainer waited for samples. Seconds are summed over its ranks."""

    component: str
    first_wait: float
    """The first wait of each rank for each thing it waits for: as a rule, for enough samples to
    begin with, and for held-out ones to test on."""
    waits: int
    """Those after it."""
    seconds: float
    """Of those."""
    share: float
    """The same, as a share of the time from the end of the first waits to the trainer's."""


@dataclass(frozen=True, slots=True)
class Stall:
    """How long the samples of a producer waited for room in a reservoir."""

    producer: str
    component: str
    """Whose reservoir it was."""
    waits: int
    seconds: float
    longest: float


@dataclass(slots=True)
class _Waits:
    first: float = 0.0
    waits: int = 0
    seconds: float = 0.0
    life: float = 0.0


@dataclass(slots=True)
class _Stalls:
    waits: int = 0
    seconds: float = 0.0
    longest: float = field(default=0.0)


class Learning:
    """Collects the waits of trainers and producers."""

    def __init__(self, run: Run) -> None:
        self._ends = {
            (component.name, attempt.rank, attempt.attempt): attempt.ended
            for component in run.components
            for attempt in component.attempts
        }
        self._waits: dict[str, _Waits] = {}
        self._stalls: dict[tuple[str, str], _Stalls] = {}

    def add(self, owner: Owner, events: Columns) -> None:
        """Take a recording into account."""
        self._add_starvation(owner, events)
        stalls = events.kind == observe.STALL
        for code in np.unique(events.name[stalls]):
            seconds = events.duration_ns[stalls & (events.name == code)] * 1e-9
            sums = self._stalls.setdefault((events.names[code], owner.component), _Stalls())
            sums.waits += len(seconds)
            sums.seconds += float(seconds.sum())
            sums.longest = max(sums.longest, float(seconds.max()))

    def _add_starvation(self, owner: Owner, events: Columns) -> None:
        starving = events.kind == observe.STARVE
        if not starving.any() and not _learns_beside_its_reading(events):
            return
        sums = self._waits.setdefault(owner.component, _Waits())
        began = int(events.start_ns.min())
        for code in np.unique(events.name[starving]):
            of_name = starving & (events.name == code)
            start, duration = events.start_ns[of_name], events.duration_ns[of_name]
            first = int(np.argmin(start))
            began = max(began, int(start[first] + duration[first]))
            sums.first += float(duration[first]) * 1e-9
            sums.waits += len(duration) - 1
            sums.seconds += float(duration.sum() - duration[first]) * 1e-9
        last = int((events.start_ns + events.duration_ns).max()) * 1e-9
        sums.life += max(self._ends.get(owner, last) - began * 1e-9, 0.0)

    def starvation(self) -> tuple[Starvation, ...]:
        """Of each trainer: who waited for samples, or publishes what it learns from a reservoir."""
        return tuple(
            Starvation(
                component,
                sums.first,
                sums.waits,
                sums.seconds,
                min(sums.seconds / sums.life, 1.0) if sums.life else 0.0,
            )
            for component, sums in self._waits.items()
        )

    def stalls(self) -> tuple[Stall, ...]:
        """Of each producer that was held up, the longest first."""
        return tuple(
            sorted(
                (
                    Stall(producer, component, sums.waits, sums.seconds, sums.longest)
                    for (producer, component), sums in self._stalls.items()
                ),
                key=lambda one: -one.seconds,
            )
        )


def _learns_beside_its_reading(events: Columns) -> bool:
    """Whether a process that publishes a model receives data in the background."""
    reading = events.kind == observe.READ_STEP
    return bool(
        (reading & ~events.on_main_thread).any() and (events.kind == observe.PUBLISH_MODEL).any()
    )
