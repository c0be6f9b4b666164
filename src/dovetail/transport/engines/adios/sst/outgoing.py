"""Blocks on their way out: what a writer rank of a stream over SST shares with its readers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import Any

from dovetail.data.layout import Piece
from dovetail.errors import (
    DovetailError,
)
from dovetail.transport.engines.adios.sst.contact import Place
from dovetail.transport.engines.adios.sst.line import Line
from dovetail.transport.engines.adios.sst.medium import (
    SstMedium,
    address_of,
)
from dovetail.transport.engines.adios.sst.processes import Worker
from dovetail.transport.engines.adios.sst.stores import PassingStore, sweep
from dovetail.transport.ledger.medium import Appended

MOST_STARTS = 50
"""Carriers of one writer rank: one may die, but not for ever."""


class WritingMedium(SstMedium):
    """That of a writer rank: it has a carrier, and starts another should that die."""

    def __init__(self, place: Place, line: Line, parameters: dict[str, str], eager: int) -> None:
        super().__init__(place, line)
        self._parameters = parameters
        self.small_block = eager
        self._everyone = True
        self._number = 0
        self._pending: list[Any] | None = None
        self._numbers: dict[str, int] = {}
        """The blocks that may be needed, by name."""
        sweep()
        self._store = PassingStore(place.label)
        self._carrier = self._store.owner
        line.ask("own", self._carrier, self._store.folder)
        self._starts = 0
        self._closed = False
        self._lock = threading.RLock()
        self._worker = self._start()

    def _start(self) -> Worker:
        self._starts += 1
        if self._starts > MOST_STARTS:
            raise DovetailError(
                f"the process that serves {self.label} over SST died {MOST_STARTS} times, the last "
                f"time with {self._worker.ending()}"
            )
        return Worker(
            "carrier",
            {
                "url": self.label,
                "carrier": self._carrier,
                "store": self._store.folder,
                "address": str(address_of(self._place, f"{self._carrier}-{self._starts}")),
                "parameters": self._parameters,
                "held": list(self._numbers.values()),
                "last": self._number - 1,
            },
            self._store.lock,
            self._tend_at_once,
        )

    def _tend(self) -> None:
        """Start another carrier if the first has died."""
        with self._lock:
            if not self._closed and not self._worker.alive():
                died, self._worker = self._worker, self._start()
                died.let_go()

    def _tend_at_once(self) -> None:
        """A carrier has ended: readers wait for its blocks, whatever the producer does."""
        with contextlib.suppress(DovetailError):  # which the producer hears at its next step
            self._tend()

    def wait(self, log: int, start: int, timeout: float) -> list[str]:
        self._tend()
        return super().wait(log, start, timeout)

    def append(self, log: int, entry: str, start: int) -> Appended:
        if not entry.startswith("E."):
            return super().append(log, entry, start)
        pending, self._pending = self._pending, None
        return self._append(log, entry, start, pending)

    def _heard(self, entries: list[str]) -> list[str]:
        for entry in entries:
            if entry.startswith("W."):
                # Under these policies every reader takes every step: it is sent before it is asked.
                _, _, rank, _, policy, *_ = entry.split(".")
                if rank == "0":
                    self._everyone = policy[0] in "lb"
        return super()._heard(entries)

    def publish(
        self,
        name: str,
        pieces: Sequence[Piece],
        metadata: dict[str, str],
        log: int,
        entry: str,
        start: int,
    ) -> Appended:
        self._send(name, pieces, metadata)
        return self.append(log, entry, start)

    def _send(self, name: str, pieces: Sequence[Piece], metadata: dict[str, str]) -> None:
        if self._pending is not None:
            self._tell("drop", self._pending[2])
        self._tend()
        with self._lock:
            number = self._number
            self._store.values.put(str(number), pieces, metadata)
            self._number += 1
            self._pending = [name, self._carrier, number, int(self._everyone)]
            self._numbers[name] = number
            nbytes = sum(piece.buffer.nbytes for piece in pieces)
            self._tell("send", number, self._everyone, nbytes)

    def _tell(self, *message: Any) -> None:
        try:
            self._worker.tell(message)
        except DovetailError:  # it dies now: the next one will find all in the store
            pass

    def close(self) -> None:
        with self._lock:
            self._closed = True
        super().close()
        self._worker.let_go()
        self._store.let_go()
