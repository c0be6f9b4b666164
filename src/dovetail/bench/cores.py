"""Where the two processes of a stream run: on a core each, as a solver and a trainer would.

Left to the scheduler, two processes that wake one another end up on one core or on two, from
run to run, and what is measured is that choice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def two_cores() -> tuple[int, int] | None:
    """Two cores that this process may use, of different hardware if possible.

    ``None`` if it may use only one.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        return None
    first = allowed[0]
    siblings = _siblings(first)
    apart = [core for core in allowed[1:] if core not in siblings]
    return first, (apart or allowed[1:])[0]


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """This thread stays on one core while the ``with`` block lasts; ``None`` leaves it free."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _siblings(core: int) -> set[int]:
    listed = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    try:
        text = listed.read_text().strip()
    except OSError:
        return set()
    siblings: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        siblings.update(range(int(first), int(last or first) + 1))
    return siblings
