"""How often a process looks at its mail: as seldom as it can without being late."""

from __future__ import annotations

import ctypes
import os
import threading
import time

SHORTEST, LONGEST = 20e-6, 1e-3
"""Seconds of sleep between two looks, right after something happened and long after."""
_SPIN = 200e-6
"""Seconds right after something happened in which who waits does not sleep at all."""
_FAIR = 32
"""Looks in quick succession after which other threads certainly come in between."""
_SET_TIMER_SLACK = 29


def punctual() -> None:
    """Let this thread sleep as shortly as it says: the kernel would add 50 µs to each time."""
    ctypes.CDLL(None).prctl(_SET_TIMER_SLACK, 1, 0, 0, 0)


class Pace:
    """The sleeps of one thread: a tenth of the time in which nothing has happened."""

    def __init__(self) -> None:
        self._happened = time.monotonic()
        self._looks = 0

    def happened(self) -> None:
        """Something has: look more often again."""
        self._happened = time.monotonic()

    def sleep(self) -> None:
        """Sleep until the next look."""
        time.sleep(self._pause(time.monotonic() - self._happened))

    def wait(self, changed: threading.Condition, most: float, hurry: bool) -> None:
        """Sleep until the next look is due, somebody changes something, or `most` seconds.

        Parameters
        ----------
        changed
            Held; let go of meanwhile.
        hurry
            Do not sleep: something is under way.
        """
        idle = time.monotonic() - self._happened
        if idle > _SPIN and not hurry:
            changed.wait(min(self._pause(idle), most))
            return
        changed.release()
        self._looks += 1
        if self._looks % _FAIR:
            os.sched_yield()
        else:
            time.sleep(0)  # as long as it takes another thread to wake
        changed.acquire()

    @staticmethod
    def _pause(idle: float) -> float:
        return min(LONGEST, max(SHORTEST, idle / 10))
