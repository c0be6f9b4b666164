"""Samples of whole simulations that are never learned from."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dovetail import observe
from dovetail.errors import TransportTimeoutError
from dovetail.learn import chance, waits
from dovetail.learn.samples import Arrays, Provenance, Sample, copied

HoldOut = Iterable[str] | Callable[[Provenance], bool]
"""Names of simulations or streams; or what says of a sample whether it is held out."""


class Selection:
    """Which samples are held out.

    Parameters
    ----------
    hold_out
        Names, or a predicate.
    streams
        The names of all streams: one that is held out is so as a whole.
    """

    def __init__(self, hold_out: HoldOut, streams: Iterable[str]) -> None:
        if isinstance(hold_out, str):
            hold_out = (hold_out,)
        self._predicate = hold_out if callable(hold_out) else None
        self.names = frozenset() if callable(hold_out) else frozenset(hold_out)
        self.streams = frozenset(name for name in streams if name in self.names)
        """Streams that are held out whole."""
        self.needs_a_look = self._predicate is not None or bool(self.names - self.streams)
        """Whether a stream that is learned from may bring samples that are held out."""

    def holds_out(self, stream: str, provenance: Provenance) -> bool:
        """Whether a sample that came through `stream` is held out."""
        if self._predicate is not None:
            return bool(self._predicate(provenance))
        return stream in self.streams or provenance.simulation in self.names


class HeldOutMemory:
    """Held-out samples; if there are too many, an even choice over all that came.

    Parameters
    ----------
    capacity
        The most that are kept. Beyond that each sample that came is kept with the same
        probability (Vitter's algorithm R), so that the whole of a simulation stays represented.
    seed
        Of that choice.
    changed
        The condition that guards it.
    """

    def __init__(self, capacity: int, seed: int, changed: threading.Condition) -> None:
        self.capacity = capacity
        self._chance = random.Random(seed)
        self._changed = changed
        self._samples: list[Sample] = []
        self.received = 0
        self.ended = False
        """No more will come."""

    def keep(self, arrays: Arrays, provenance: Provenance) -> None:
        """Keep a sample that is ours already, or let it go by."""
        with self._changed:
            sample = Sample(arrays, provenance, self.received, 0)
            self.received += 1
            if len(self._samples) < self.capacity:
                self._samples.append(sample)
            else:
                place = self._chance.randrange(self.received)
                if place < self.capacity:
                    self._samples[place] = sample
            self._changed.notify_all()

    def end(self) -> None:
        """No more will come."""
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def wait_for(self, count: int, timeout: float | None) -> list[Sample]:
        """What is kept, in order of arrival, once `count` have come or no more will.

        Raises
        ------
        TransportTimeoutError
        """
        if count > self.capacity:
            raise ValueError(
                f"{count} held-out samples were asked for, but no more than "
                f"hold_out_capacity={self.capacity} are kept"
            )
        since = time.time_ns()
        with self._changed:
            try:
                self._await(count, timeout)
            finally:
                waits.ended(observe.STARVE, "held-out samples", since)
            return sorted(self._samples, key=lambda sample: sample.number)

    def _await(self, count: int, timeout: float | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.received < count and not self.ended:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise TransportTimeoutError(
                    f"{self.received} of {count} held-out samples came in {timeout} s: "
                    f"do the held-out simulations run, and are they named as hold_out says?"
                )
            self._changed.wait(left)

    def state_dict(self) -> dict[str, Any]:
        with self._changed:
            return {
                "received": self.received,
                "chance": chance.state_of(self._chance),
                "number": [sample.number for sample in self._samples],
                "provenance": [sample.provenance.to_json() for sample in self._samples],
                "arrays": [dict(sample) for sample in self._samples],
            }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        with self._changed:
            self.received = state["received"]
            chance.restore(self._chance, state["chance"])
            self._samples = [
                Sample(copied(arrays), Provenance(**provenance), number, 0)
                for arrays, provenance, number in zip(
                    state["arrays"], state["provenance"], state["number"], strict=True
                )
            ]
