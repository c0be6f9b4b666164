"""Timing: repeats, interleaved, with their median and spread."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass

Operation = Callable[[int], float]
"""Does its work so many times; gives the seconds that all of it took."""

LONGEST_BATCH = 200_000
"""The most operations of one batch."""

FEWEST_REPEATS = 3
"""However little time there is, if so many are asked for."""


class OperationFailedError(RuntimeError):
    """An operation could not be done; the message says why."""


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
    operations: Mapping[Label, Operation],
    *,
    repeats: int,
    batch_seconds: float,
    patience: float = math.inf,
    failures: MutableMapping[Label, str] | None = None,
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
        How long a batch should take; 0 makes each a single operation.
    patience
        Seconds after which no further repeat of all begins, once there are three.
    failures
        Operations that raise OperationFailedError are left out, and noted here with the reason.
        Without it the error is raised.
    """
    batches: dict[Label, int] = {}
    samples: dict[Label, list[float]] = {}
    was_enabled = gc.isenabled()
    gc.disable()
    began = time.monotonic()
    try:
        for label, operation in operations.items():
            with _left_out(label, samples, failures):
                batches[label] = _calibrate(operation, batch_seconds)
                samples[label] = []
        for repeat in range(repeats):
            if repeat >= FEWEST_REPEATS and time.monotonic() - began > patience:
                break
            labels = list(samples)
            turn = repeat % len(labels) if labels else 0
            for label in labels[turn:] + labels[:turn]:
                with _left_out(label, samples, failures):
                    count = batches[label]
                    samples[label].append(operations[label](count) / count)
    finally:
        if was_enabled:
            gc.enable()
    return [_summary(label, taken, batches[label]) for label, taken in samples.items()]


@contextmanager
def _left_out(
    label: Label,
    samples: MutableMapping[Label, list[float]],
    failures: MutableMapping[Label, str] | None,
) -> Iterator[None]:
    """Go on without an operation that fails, if failures are noted."""
    try:
        yield
    except OperationFailedError as error:
        if failures is None:
            raise
        failures[label] = str(error)
        samples.pop(label, None)


def _calibrate(operation: Operation, batch_seconds: float) -> int:
    """How many operations a batch needs; warms up on the way."""
    count = 1
    operation(count)
    if not batch_seconds:
        return 1
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
