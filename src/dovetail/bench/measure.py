"""Timing: repeats, interleaved, with their median and spread."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Operation = Callable[[int], float]
"""Does its work so many times; gives the seconds that all of it took."""

LONGEST_BATCH = 200_000
"""The most operations of one batch."""


@dataclass(frozen=True, slots=True)
class Label:
    """What was measured."""

    peer: str
    """What moved the data: ``shm``, ``memcpy``, ``unix socket``, …"""
    operation: str
    """What it did: ``put``, ``get``, ``one way``, …"""
    nbytes: int
    """Bytes of each value or step."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """The time of one operation, over several repeats of a batch each."""

    label: Label
    median: float
    """Seconds an operation; the median over the repeats."""
    lower_quartile: float
    upper_quartile: float
    fastest: float
    repeats: int
    batch: int
    """Operations of one repeat."""

    @property
    def bytes_per_second(self) -> float:
        """Of the median."""
        return self.label.nbytes / self.median


def measure(
    operations: Mapping[Label, Operation], *, repeats: int, batch_seconds: float
) -> list[Measurement]:
    """Measure operations side by side.

    Each is warmed up and calibrated first. Then every repeat runs one batch of each, in an
    order that rotates from repeat to repeat, so that what disturbs the machine disturbs all
    alike.

    Parameters
    ----------
    operations
        What to measure.
    repeats
        Batches of each; at least 1.
    batch_seconds
        How long a batch should take.
    """
    labels = list(operations)
    batches = {label: _calibrate(operations[label], batch_seconds) for label in labels}
    samples: dict[Label, list[float]] = {label: [] for label in labels}
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for repeat in range(repeats):
            turn = repeat % len(labels) if labels else 0
            for label in labels[turn:] + labels[:turn]:
                count = batches[label]
                samples[label].append(operations[label](count) / count)
    finally:
        if was_enabled:
            gc.enable()
    return [_summary(label, samples[label], batches[label]) for label in labels]


def _calibrate(operation: Operation, batch_seconds: float) -> int:
    """How many operations a batch needs; warms up on the way."""
    count = 1
    operation(count)
    while True:
        seconds = operation(count)
        if seconds >= batch_seconds / 2 or count >= LONGEST_BATCH:
            wanted = count * batch_seconds / max(seconds, 1e-9)
            return max(1, min(LONGEST_BATCH, round(wanted)))
        count = min(LONGEST_BATCH, count * 4)


def _summary(label: Label, samples: list[float], batch: int) -> Measurement:
    lower, median, upper = (
        statistics.quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else samples * 3
    )
    return Measurement(label, median, lower, upper, min(samples), len(samples), batch)
