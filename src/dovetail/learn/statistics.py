"""What happened so far: who got what, who waited, and who was held up by it."""

from __future__ import annotations

from typing import NamedTuple

from dovetail.learn.positions import Position


class ReservoirStatistics(NamedTuple):
    """What a reservoir took, gave and holds."""

    received: int
    """Samples taken in."""
    refused: int
    """Samples that held NaN or infinity, and were not taken."""
    drawn: int
    """Draws."""
    evicted: int
    """Samples that made room for others; each had been drawn."""
    retired: int
    """Samples that left because they were stale; each had been drawn."""
    held: int
    """Samples held now."""
    unseen: int
    """Samples held now that were never drawn."""
    capacity: int
    """The most samples that it holds."""
    nbytes: int
    """Bytes of arrays held now."""
    seconds_warming_up: float
    """Time that draws waited before the first sample was drawn."""
    seconds_starved: float
    """Time that draws waited for samples, after the first."""
    seconds_stalled: float
    """Time that puts waited for room, all producers together."""


class LearnStatistics(NamedTuple):
    """What a trainer got, what it waited for, and who was held up by it."""

    seconds: float
    """Time from when receiving began until now, or until the dataset was closed."""
    seconds_warming_up: float
    """Time that the trainer waited for its first sample."""
    seconds_starved: float
    """Time that the trainer waited for samples after that."""
    starvation: float
    """``seconds_starved`` as a share of the time from when the first sample was drawn."""
    reservoir: ReservoirStatistics
    """What the reservoir took, gave and holds."""
    producers: tuple[Position, ...]
    """Each producer: how far it is, and ``seconds_stalled``, for which its samples waited."""
    held_out: int
    """Held-out samples received."""
