"""Deadlines as the native core takes them."""

from __future__ import annotations

import math

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
