"""Waits, measured and recorded."""

from __future__ import annotations

import time

from dovetail import observe

SHORTEST_RECORDED = 1e-4
"""Seconds; briefer waits are counted, but are no events of a trace."""


def ended(kind: int, name: str, since: int) -> float:
    """Record a wait from `since` (nanoseconds since the epoch) to now; return its seconds."""
    now = time.time_ns()
    if observe.recording and now - since > SHORTEST_RECORDED * 1e9:
        observe.record(kind, name, since, now, 0, now - since)
    return (now - since) * 1e-9
