"""Deadlines: as callers give them, as the native core takes them, and while they run down."""

from __future__ import annotations

import math
import time

FOR_EVER = -1.0
LONGEST = 1e9
"""Seconds; a longer deadline is none."""


def seconds(timeout: float | None) -> float:
    """Seconds to wait: ``None`` means for ever, and a moment that has passed means not at all.

    Raises
    ------
    ValueError
        If `timeout` is not a number.
    """
    if timeout is None:
        return FOR_EVER
    if math.isnan(timeout):
        raise ValueError("a deadline is a number of seconds, or None; it is nan")
    return max(0.0, float(timeout)) if timeout < LONGEST else FOR_EVER


class Deadline:
    """A deadline that began to run when this was made."""

    def __init__(self, timeout: float | None) -> None:
        self._seconds = seconds(timeout)
        self._started = time.monotonic()

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return self.left() <= 0

    def left(self) -> float:
        """Seconds until it is over; infinite for one that never is."""
        if self._seconds == FOR_EVER:
            return math.inf
        return max(0.0, self._started + self._seconds - time.monotonic())

    def __str__(self) -> str:
        return "no deadline" if self._seconds == FOR_EVER else f"{self._seconds:g} s"
