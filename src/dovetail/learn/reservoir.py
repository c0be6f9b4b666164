"""The reservoir: a bounded memory of samples between producers and a trainer.

Samples of one simulation come in the order of its time, each like the one before; simulations
come in the order of their launch. What is drawn at random from a memory of many is free of both.

::

    put ──> unseen ──draw──> seen ──draw──> seen …      policy "reservoir"
                               └── makes room for a new sample, is used up, or grows stale

    close: no more will come. Each sample that is held is drawn once more; then all is drained.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from dovetail import observe
from dovetail.errors import NonFiniteSampleError, TransportClosedError, TransportTimeoutError
from dovetail.learn import chance, waits
from dovetail.learn.entries import Entry, columns_of, entries_in
from dovetail.learn.policies import empty_memory
from dovetail.learn.samples import (
    Arrays,
    NamedArrays,
    Provenance,
    Sample,
    copied,
    nbytes,
    non_finite,
)
from dovetail.learn.settings import Eviction, NonFinite, PolicyName, Settings, check_choice
from dovetail.learn.statistics import ReservoirStatistics

_UNKNOWN = Provenance()
_log = logging.getLogger("dovetail.learn")


class Reservoir:
    """A bounded memory of samples, to be used by several threads.

    Parameters
    ----------
    capacity
        The most samples held.
    policy
        ``"reservoir"``: draws are uniform over what is held and a sample is drawn again and
        again, until it makes room for a new one. ``"fifo"``: each sample once, in order.
        ``"firo"``: each sample once, at random. See :mod:`dovetail.learn.policies`.
    watermark
        Samples that must be held before one is drawn; lifted by :meth:`close`.
    max_reuse
        The most draws of one sample under ``"reservoir"``; ``None`` sets no limit.
    evict
        Which of the *seen* samples makes room under ``"reservoir"``: one at ``"random"``, the
        ``"oldest"``, or the ``"most_seen"`` (the oldest of these). An unseen one never does:
        the producer waits.
    max_staleness
        Under ``"reservoir"``, a seen sample is let go once so many newer ones have come. An
        unseen one is drawn once all the same.
    non_finite
        What becomes of a sample with NaN or infinity in it: ``"refuse"`` counts it and goes on,
        ``"raise"`` raises NonFiniteSampleError, ``"accept"`` takes it.
    seed
        Of all choices: the same puts and draws give the same sequence.

    Examples
    --------
    >>> import numpy as np
    >>> import dovetail as dv
    >>> reservoir = dv.Reservoir(100, watermark=2, seed=1)
    >>> for number in range(3):
    ...     taken = reservoir.put({"u": np.full(4, float(number))})
    >>> reservoir.draw()["u"].shape
    (4,)
    """

    def __init__(
        self,
        capacity: int,
        *,
        policy: PolicyName = "reservoir",
        watermark: int = 1,
        max_reuse: int | None = None,
        evict: Eviction = "random",
        max_staleness: int | None = None,
        non_finite: NonFinite = "refuse",
        seed: int = 0,
    ) -> None:
        check_choice("non_finite", non_finite, ("refuse", "raise", "accept"))
        self.settings = Settings(capacity, policy, watermark, max_reuse, evict, max_staleness)
        self.capacity = capacity
        self.policy = policy
        self.watermark = watermark
        self.changed = threading.Condition(threading.RLock())
        """Held while anything changes, and notified after it has."""
        self._max_staleness = max_staleness
        self._non_finite = non_finite
        self._chance = random.Random(seed)
        self._memory = empty_memory(self.settings, self._chance)
        self._names: tuple[str, ...] | None = None
        self._closed = False
        self._error: BaseException | None = None
        self._received = self._refused = self._drawn = self._evicted = self._retired = 0
        self._seconds_warming_up = self._seconds_starved = self._seconds_stalled = 0.0
        self.first_drawn: float | None = None
        """When the first sample was drawn here (``time.monotonic``); resuming is no draw."""
        self._named_culprits: set[str] = set()

    def put(
        self,
        arrays: NamedArrays,
        provenance: Provenance = _UNKNOWN,
        timeout: float | None = 60.0,
    ) -> bool:
        """Copy a sample in; wait for room while all that is held is unseen.

        Parameters
        ----------
        arrays
            A mapping of names to arrays (a step of a stream, say); every sample has the same
            names. Nothing of it is kept.
        provenance
            Where it comes from.
        timeout
            Seconds to wait for room; ``None`` waits for ever.

        Returns
        -------
        bool
            False if it was refused for NaN or infinity.

        Raises
        ------
        NonFiniteSampleError, TransportTimeoutError, TransportClosedError, UnsupportedDataError
        """
        kept = copied(arrays)
        if not self.admits(kept, provenance):
            return False
        self.keep(kept, provenance, timeout)
        return True

    def admits(self, arrays: Arrays, provenance: Provenance) -> bool:
        """Whether a sample may come in; one that may not is counted, and said once a simulation.

        Raises
        ------
        NonFiniteSampleError
            If that is what ``non_finite`` asks for.
        """
        culprit = None if self._non_finite == "accept" else non_finite(arrays)
        if culprit is None:
            return True
        said = f"{culprit!r} of {provenance} holds NaN or infinity"
        with self.changed:
            self._refused += 1
            new = provenance.simulation not in self._named_culprits
            self._named_culprits.add(provenance.simulation)
        if self._non_finite == "raise":
            raise NonFiniteSampleError(
                f"{said}: look into the simulation, or pass non_finite='refuse' to go on without"
            )
        if new:
            _log.warning("%s: refused and counted, as more of this simulation will be", said)
        return False

    def keep(self, arrays: Arrays, provenance: Provenance, timeout: float | None) -> float:
        """Hold a sample that is ours already: as :meth:`put`, without copy or check.

        Returns
        -------
        float
            Seconds waited for room.
        """
        names = tuple(arrays)
        with self.changed:
            if self._names is None:
                self._names = names
            elif set(names) != set(self._names):
                raise ValueError(
                    f"{provenance} has the arrays {', '.join(names)}, the samples before it had "
                    f"{', '.join(self._names)}: give every sample the same names"
                )
            waited = self._wait_for_room(provenance, timeout)
            self._memory.add(Entry(self._received, arrays, provenance))
            self._received += 1
            if self._max_staleness is not None:
                self._retired += self._memory.retire(self._received - self._max_staleness)
            self.changed.notify_all()
            return waited

    def has_room(self) -> bool:
        """Whether :meth:`keep` would not wait now."""
        with self.changed:
            return len(self._memory) < self.capacity or len(self._memory) > self._memory.unseen

    def draw(self, timeout: float | None = 60.0) -> Sample | None:
        """A sample, or ``None`` once the reservoir is closed and drained.

        Raises
        ------
        TransportTimeoutError
            If none comes within `timeout` seconds.
        """
        drawn = self.draw_many(1, timeout)
        return drawn[0] if drawn else None

    def draw_many(self, count: int, timeout: float | None = 60.0) -> list[Sample]:
        """`count` samples, each as by :meth:`draw`; fewer once all is drained."""
        deadline = None if timeout is None else time.monotonic() + timeout
        samples: list[Sample] = []
        with self.changed:
            while len(samples) < count and self._wait_for_sample(deadline, len(samples)):
                entry = self._draw()
                self._drawn += 1
                self.first_drawn = self.first_drawn or time.monotonic()
                samples.append(Sample(entry.arrays, entry.provenance, entry.number, entry.seen))
            self.changed.notify_all()
        return samples

    def close(self) -> None:
        """No more samples will come: what is held is drawn once more each, and leaves."""
        with self.changed:
            self._closed = True
            self.changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """As :meth:`close`, but only the unseen samples are drawn; then draws raise `error`."""
        with self.changed:
            self._closed = True
            self._error = self._error or error
            self.changed.notify_all()

    def __len__(self) -> int:
        with self.changed:
            return len(self._memory)

    @property
    def received(self) -> int:
        """Samples taken in so far."""
        return self._received

    @property
    def drawn(self) -> int:
        """Draws so far."""
        return self._drawn

    @property
    def closed(self) -> bool:
        """Whether no more samples will come."""
        return self._closed

    def statistics(self) -> ReservoirStatistics:
        """What happened so far."""
        with self.changed:
            return ReservoirStatistics(
                self._received,
                self._refused,
                self._drawn,
                self._evicted,
                self._retired,
                len(self._memory),
                self._memory.unseen,
                self.capacity,
                sum(nbytes(entry.arrays) for entry in self._memory.entries()),
                self._seconds_warming_up,
                self._seconds_starved,
                self._seconds_stalled,
            )

    def state_dict(self) -> dict[str, Any]:
        """All that decides what is drawn next: samples, counts, and the state of chance.

        The arrays are those that are held, not copies: they never change.
        """
        with self.changed:
            return {
                "settings": asdict(self.settings),
                "closed": self._closed and self._error is None,
                "chance": chance.state_of(self._chance),
                "counts": {
                    "received": self._received,
                    "refused": self._refused,
                    "drawn": self._drawn,
                    "evicted": self._evicted,
                    "retired": self._retired,
                },
                **columns_of(self._memory.entries(), self._names or ()),
            }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on as the reservoir did whose state this is; what this one held is forgotten.

        Raises
        ------
        ValueError
            If that one had other settings.
        """
        self.settings.check_same(state["settings"])
        with self.changed:
            chance.restore(self._chance, state["chance"])
            self._names = tuple(state["names"]) or None
            self._memory.restore(entries_in(state))
            counts = state["counts"]
            self._received, self._refused = counts["received"], counts["refused"]
            self._drawn, self._evicted = counts["drawn"], counts["evicted"]
            self._retired = counts["retired"]
            self._closed, self._error = state["closed"], None
            self.changed.notify_all()

    def _wait_for_room(self, provenance: Provenance, timeout: float | None) -> float:
        deadline = None if timeout is None else time.monotonic() + timeout
        waited_from = 0
        while True:
            if self._closed:
                raise TransportClosedError("the reservoir is closed: it takes no more samples")
            if len(self._memory) < self.capacity:
                break
            if self._memory.evict():
                self._evicted += 1
                break
            waited_from = waited_from or time.time_ns()
            if not self._wait(deadline):
                self._stalled(provenance, waited_from)
                raise TransportTimeoutError(
                    f"no room for {provenance} in {timeout} s: all {self.capacity} samples of the "
                    f"reservoir are unseen. Draw, or make the capacity larger"
                )
        return self._stalled(provenance, waited_from) if waited_from else 0.0

    def _stalled(self, provenance: Provenance, since: int) -> float:
        seconds = waits.ended(observe.STALL, provenance.simulation, since)
        self._seconds_stalled += seconds
        return seconds

    def _wait_for_sample(self, deadline: float | None, in_hand: int) -> bool:
        """Whether there is one to be drawn; false at the end, or where a draw has to end."""
        if self._is_ready():
            return True
        since = time.time_ns()
        if in_hand:
            self.changed.notify_all()  # those who wait for the room that these have left
        try:
            while not self._is_ready():
                if self._closed:
                    if self._error is not None and not in_hand:
                        raise self._error
                    return False
                if not self._wait(deadline):
                    if in_hand:
                        return False
                    raise TransportTimeoutError(
                        f"no sample could be drawn before the deadline: {len(self._memory)} are "
                        f"held, the watermark is {self.watermark}. Is a producer running?"
                    )
            return True
        finally:
            self.starved(since)

    def _is_ready(self) -> bool:
        if self._error is not None:
            return self._memory.unseen > 0
        if self._closed:
            return len(self._memory) > 0
        return len(self._memory) >= self.watermark

    def starved(self, since: int) -> None:
        """Note that a draw waited for samples from `since` (nanoseconds since the epoch) to now."""
        seconds = waits.ended(observe.STARVE, "reservoir", since)
        if self.first_drawn is not None:
            self._seconds_starved += seconds
        else:
            self._seconds_warming_up += seconds

    def _draw(self) -> Entry:
        if self._error is not None:
            return self._memory.draw_unseen()
        return self._memory.draw_for_good() if self._closed else self._memory.draw()

    def _wait(self, deadline: float | None) -> bool:
        if deadline is None:
            return self.changed.wait()
        return self.changed.wait(max(deadline - time.monotonic(), 0.0)) or (
            time.monotonic() < deadline
        )
