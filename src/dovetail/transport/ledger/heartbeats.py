"""Signs of life for engines that cannot tell who is connected: values renewed by a thread.

A participant counts as dead when its value was not renewed for some time (``lost_after`` in the
URL) by the observer's own clock, or is gone. A process whose interpreter is held for longer than
that by one call (a library that never lets other threads run) would be taken for dead: engines
that can tell better offer ``lifeline`` and ``alive`` themselves.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Collection
from typing import NamedTuple

from dovetail.errors import DovetailError, KeyNotFoundError
from dovetail.transport.contract import Store
from dovetail.transport.values import time_of_version

BEAT = 0.5
"""Seconds between two signs of life."""
LOST_AFTER = 20.0
"""Seconds without one after which a participant counts as dead, unless a URL says otherwise."""


class _Seen(NamedTuple):
    version: str
    since: float


class Heartbeats:
    """The signs of life of a stream's participants, kept in its store."""

    def __init__(self, store: Store, lost_after: float = LOST_AFTER) -> None:
        self._store = store
        self._lost_after = lost_after
        self._seen: dict[str, _Seen] = {}

    def lifeline(self, name: str) -> Heartbeat:
        return Heartbeat(self._store, f"alive/{name}")

    def alive(self, names: Collection[str]) -> set[str]:
        living = {name for name in names if self._renewed(name)}
        suspects = {name for name in living if self._age(name) > self._lost_after}
        if suspects:
            # Who has just come to look does not trust the clock of another machine alone.
            time.sleep(4 * BEAT)
            now = time.monotonic()
            living -= {
                name
                for name in suspects
                if not self._renewed(name) or now - self._seen[name].since > 2 * BEAT
            }
        return living

    def _renewed(self, name: str) -> bool:
        """Whether the value is there, and was renewed lately by this observer's clock."""
        try:
            version = self._store.stat(f"alive/{name}").version
        except KeyNotFoundError:
            self._seen.pop(name, None)
            return False
        seen = self._seen.get(name)
        if seen is None or seen.version != version:
            self._seen[name] = _Seen(version, time.monotonic())
            return True
        return time.monotonic() - seen.since < self._lost_after

    def _age(self, name: str) -> float:
        """Seconds since the last sign of life, by the clock of who gave it."""
        return time.time() - time_of_version(self._seen[name].version)


class Heartbeat:
    """A value that is renewed until it is closed."""

    def __init__(self, store: Store, key: str) -> None:
        self._store = store
        self._key = key
        self._closed = threading.Event()
        self._process = os.getpid()
        store.put(key, {})
        self._thread = threading.Thread(target=self._beat, name="dovetail heartbeat", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while not self._closed.wait(BEAT):
            # What prevents one (a full store, a cut link) may be over by the next.
            with contextlib.suppress(DovetailError, OSError):
                self._store.put(self._key, {})

    def close(self) -> None:
        if self._closed.is_set() or self._process != os.getpid():
            return
        self._closed.set()
        self._thread.join()
        with contextlib.suppress(DovetailError, OSError):
            self._store.delete(self._key)
