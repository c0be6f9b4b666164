"""Waits of SST in this process that end at a deadline: with a :mod:`.sentry` beside it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from contextlib import contextmanager

from dovetail.errors import DovetailError
from dovetail.transport.deadlines import Deadline
from dovetail.transport.engines.adios.sst.network import connections_to, listening_ports
from dovetail.transport.engines.adios.sst.processes import Worker
from dovetail.transport.engines.adios.sst.sentry import MOST_DESCRIPTORS

_ports: set[int] = set()
"""Those on which SST listens in this process, for all its streams."""


class Watched:
    """The waits of one stream.

    Parameters
    ----------
    timeout
        Seconds that each may last.
    """

    def __init__(self, parameters: dict[str, str], timeout: float | None) -> None:
        self._timeout = timeout
        self._known: set[str] = set()
        self._acted = False
        self._worker = None
        if timeout is not None and timeout < math.inf:
            self._worker = Worker("sentry", {"parameters": parameters})

    @contextmanager
    def opening(self, address: str) -> Iterator[None]:
        """SST is opened, and waits for its first reader."""
        before = listening_ports()
        with self._wait(address):
            yield
        _ports.update(listening_ports() - before)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A step is written, and SST may wait until steps before were taken."""
        with self._wait(None):
            yield

    def look_for_connections(self) -> None:
        """To be called when a reader may have connected."""
        if self._worker is None:
            return
        found = connections_to(_ports)
        new = [found[name] for name in found.keys() - self._known]
        self._known |= found.keys()
        with contextlib.suppress(DovetailError):  # without it there is no deadline
            for first in range(0, len(new), MOST_DESCRIPTORS):
                self._worker.hand(["connections"], new[first : first + MOST_DESCRIPTORS])

    @property
    def ended(self) -> bool:
        """Whether a wait has been ended at its deadline."""
        if self._worker is not None and not self._acted:
            with contextlib.suppress(DovetailError):
                self._acted = self._worker.hear(Deadline(0.0)) == ["acted"]
        return self._acted

    @contextmanager
    def _wait(self, address: str | None) -> Iterator[None]:
        self._tell("until", self._timeout, address)
        try:
            yield
        finally:
            self._tell("over")

    def _tell(self, *message: object) -> None:
        if self._worker is not None:
            with contextlib.suppress(DovetailError):
                self._worker.tell(message)

    def close(self) -> None:
        if self._worker is not None:
            self._worker.let_go()
