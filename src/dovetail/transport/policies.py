"""Flow control: what a producer does when its readers are slower than itself.

A policy is chosen by the writer; readers learn it from the stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PolicyKind = Literal["lockstep", "buffered", "latest", "work_queue"]

LARGEST_WINDOW = 4096
"""The most steps that a policy may hold back."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A flow-control policy. Make one with the functions of this module.

    Attributes
    ----------
    kind
        Which of the four.
    window
        The most steps held for readers before the producer waits (``latest`` never waits).
    """

    kind: PolicyKind
    window: int

    def __str__(self) -> str:
        counted = self.kind in ("buffered", "work_queue")
        return f"{self.kind}({self.window})" if counted else f"{self.kind}()"


def lockstep() -> Policy:
    """Time division: ending a step waits until every reader has ended it too.

    A producer without any reader waits, up to its deadline, for one to come.
    """
    return Policy("lockstep", 1)


def buffered(steps: int) -> Policy:
    """Hold up to `steps` steps that some reader has not ended; then the producer waits.

    Parameters
    ----------
    steps
        At least 1. With ``buffered(1)`` the producer computes while the readers work on its
        last step, and begins the next when they have ended it.
    """
    return Policy("buffered", _checked(steps, "buffered"))


def latest() -> Policy:
    """Never wait: drop the *oldest* step that is not delivered yet.

    A reader always gets the newest complete step, and the final step always arrives.
    """
    return Policy("latest", 1)


def work_queue(steps: int) -> Policy:
    """Deal each step to exactly one reader group; hold up to `steps` unfinished ones.

    A step that was dealt to a group which then dies is dealt again.
    """
    return Policy("work_queue", _checked(steps, "work_queue"))


def _checked(steps: int, name: str) -> int:
    if isinstance(steps, bool) or not isinstance(steps, int):
        raise TypeError(f"{name}(n) takes a whole number of steps, not {steps!r}")
    if not 1 <= steps <= LARGEST_WINDOW:
        raise ValueError(f"{name}({steps}): the number of steps must be 1 to {LARGEST_WINDOW}")
    return steps
