"""Samples that were received, and wait for their turn to enter the reservoir.

Between receiving threads, which run as the machine lets them, and a reservoir whose sequence must
be a function of its seed alone, stands a short queue for each producer, and the rule that they
take turns.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dovetail.errors import TransportTimeoutError
from dovetail.learn.samples import Arrays, Provenance, copied

DEPTH = 4
"""Samples of one producer that may wait."""


class Staged(NamedTuple):
    """A sample that waits."""

    arrays: Arrays
    provenance: Provenance


class Staging:
    """A queue for each producer, emptied in turn.

    Parameters
    ----------
    names
        The producers, in the order of their turns.
    changed
        The condition that guards it.
    """

    def __init__(self, names: Sequence[str], changed: threading.Condition) -> None:
        self._changed = changed
        # A number stands for so many turns that the producer passes.
        self._queues: dict[str, deque[Staged | int]] = {name: deque() for name in names}
        self._order = list(names)
        self._ended: set[str] = set()
        self._turn = 0
        self._error: BaseException | None = None

    def keep(self, name: str, staged: Staged, timeout: float) -> float:
        """Add to the queue of a producer; wait while it is full. Returns the seconds waited.

        Raises
        ------
        TransportTimeoutError
        """
        began = time.monotonic()
        with self._changed:
            queue = self._queues[name]
            while sum(isinstance(waiting, Staged) for waiting in queue) >= DEPTH:
                left = began + timeout - time.monotonic()
                if left <= 0:
                    raise TransportTimeoutError(f"{DEPTH} samples of {name} wait to be taken")
                self._changed.wait(left)
            queue.append(staged)
            self._changed.notify_all()
            return time.monotonic() - began

    def pass_turn(self, name: str) -> None:
        """The producer gave a sample that is not learned from: others need not wait for one."""
        with self._changed:
            queue = self._queues[name]
            if queue and isinstance(last := queue[-1], int):
                queue[-1] = last + 1
            else:
                queue.append(1)
            self._changed.notify_all()

    def end(self, name: str) -> None:
        """No more will come of this producer."""
        with self._changed:
            self._ended.add(name)
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Once what waits was taken, raise `error`."""
        with self._changed:
            self._error = self._error or error
            self._ended.update(self._order)
            self._changed.notify_all()

    def is_waiting(self) -> bool:
        """Whether :meth:`next` would have to wait."""
        with self._changed:
            name = self._whose_turn()
            return name is not None and not self._queues[name]

    def next(self) -> Staged | None:
        """The sample whose turn it is, once it is there; ``None`` when all producers ended.

        Raises
        ------
        BaseException
            What :meth:`fail` was called with.
        """
        with self._changed:
            while True:
                name = self._whose_turn()
                if name is None:
                    if self._error is not None:
                        raise self._error
                    return None
                queue = self._queues[name]
                if queue and isinstance(staged := queue[0], Staged):
                    queue.popleft()
                    self._turn_after(name)
                    self._changed.notify_all()
                    return staged
                self._changed.wait()

    def _whose_turn(self) -> str | None:
        """The first that has a sample, or may yet have one, once those that pass have passed."""
        while True:
            name = self._next_in_turn()
            if name is None:
                return None
            queue = self._queues[name]
            if not queue or not isinstance(passes := queue[0], int):
                return name
            if passes > 1:
                queue[0] = passes - 1
            else:
                queue.popleft()
            self._turn_after(name)

    def _next_in_turn(self) -> str | None:
        for name in self._order[self._turn :] + self._order[: self._turn]:
            if self._queues[name] or name not in self._ended:
                return name
        return None

    def _turn_after(self, name: str) -> None:
        self._turn = (self._order.index(name) + 1) % len(self._order)

    def state_dict(self) -> dict[str, Any]:
        with self._changed:
            return {
                "turn": self._turn,
                "queues": {
                    name: [
                        waiting
                        if isinstance(waiting, int)
                        else {
                            "arrays": waiting.arrays,
                            "provenance": waiting.provenance.to_json(),
                        }
                        for waiting in queue
                    ]
                    for name, queue in self._queues.items()
                },
            }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        with self._changed:
            self._turn = state["turn"]
            for name, queue in state["queues"].items():
                self._queues[name] = deque(
                    item
                    if isinstance(item, int)
                    else Staged(copied(item["arrays"]), Provenance(**item["provenance"]))
                    for item in queue
                )
