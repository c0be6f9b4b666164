"""What the ends of a stream over SST share: the ledger at its home, and blocks on their way."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dovetail.data.layout import Piece
from dovetail.errors import (
    DovetailError,
    PeerLostError,
)
from dovetail.transport.deadlines import Deadline
from dovetail.transport.engines.adios.sst.contact import Place
from dovetail.transport.engines.adios.sst.line import Line
from dovetail.transport.engines.adios.sst.network import spoken
from dovetail.transport.engines.local import places
from dovetail.transport.ledger.medium import Appended, Block, Head

EAGER = 4096
"""Bytes up to which a block travels with its announcement, if nothing else was said."""


class Where(NamedTuple):
    """Where a block is to be had."""

    carrier: str
    number: int
    unasked: bool
    """It is sent to all readers, without being asked for."""


class SstMedium:
    """The ledger of a stream, at its home. Without blocks, it serves to describe and to remove."""

    small_block = EAGER

    def __init__(self, place: Place, line: Line) -> None:
        self.label = place.label
        self._place = place
        self._line = line
        self._blocks = {name: Where(*where) for name, where in line.ask("blocks").items()}
        self._followed = -1
        self._told: dict[int, str] = {}
        """Entries of the log that is followed, by position."""

    # --- the log ----------------------------------------------------------------------------

    def append(self, log: int, entry: str, start: int) -> Appended:
        return self._append(log, entry, start)

    def _append(self, log: int, entry: str, start: int, block: list[Any] | None = None) -> Appended:
        position, entries = self._line.ask("append", log, entry, start, block)
        if entries is not None:
            return Appended(position, self._heard(entries))
        self._told[position] = entry
        told = self._told_from(start)
        return Appended(position, told if len(told) == position + 1 - start else None)

    def read(self, log: int, start: int) -> list[str]:
        if start == 0:  # it may be the log of another stream of this name
            self._followed = -1
        return self._heard(self._line.ask("read", log, start))

    def wait(self, log: int, start: int, timeout: float) -> list[str]:
        if self._followed != log:
            self._followed = log
            self._told.clear()
            entries = self._heard(self._line.ask("follow", log, start))
            if entries or timeout <= 0:
                return entries
        deadline = Deadline(timeout)
        while True:
            entries = self._told_from(start)
            if entries or deadline.passed:
                return entries
            self._listen(deadline.left())

    def _listen(self, timeout: float) -> None:
        """Take in what was told of the log that is followed, or comes within `timeout` seconds."""
        for log, position, entry in self._line.entries(timeout):
            (said,) = self._heard([entry])
            if log == self._followed:
                self._told[position] = said

    def _told_from(self, start: int) -> list[str]:
        """Entries that were told from a position on; those long before are forgotten."""
        self._listen(0.0)
        # The last one that is known is asked for again: it shows whether the log is the same.
        for position in [position for position in self._told if position < start - 1]:
            del self._told[position]
        found: list[str] = []
        while start + len(found) in self._told:
            found.append(self._told[start + len(found)])
        return found

    def _heard(self, entries: list[str]) -> list[str]:
        """Entries as they were said; which block lies where is noted."""
        said = []
        for entry in entries:
            text, *where = entry.split("~")
            if where:
                name, carrier, number, unasked = where
                self._blocks[name] = Where(carrier, int(number), unasked == "1")
            said.append(text)
        return said

    def remove_log(self, log: int) -> None:
        self._line.ask("remove_log", log)

    def head(self) -> Head | None:
        found = self._line.ask("head")
        return None if found is None else Head(**found)

    def put_head(self, head: Head) -> None:
        self._line.ask("put_head", head._asdict())

    def moved_by(self) -> str:
        """What moves the blocks, as far as it was seen."""
        planes = " and ".join(map(spoken, self._line.ask("moved_by")))
        if not planes:
            return "ADIOS2 SST, which has moved nothing so far; small blocks go through the home"
        return f"ADIOS2 SST over {planes}"

    # --- blocks -----------------------------------------------------------------------------

    def publish(
        self,
        name: str,
        pieces: Sequence[Piece],
        metadata: dict[str, str],
        log: int,
        entry: str,
        start: int,
    ) -> Appended:
        raise DovetailError(f"this end of {self.label} does not write")

    def get_block(self, name: str) -> Block | None:
        raise DovetailError(f"this end of {self.label} does not read")

    def blocks(self) -> list[str]:
        return list(self._line.ask("blocks"))

    def remove_block(self, name: str) -> None:
        self._line.ask("remove_block", name)

    def remove(self) -> None:
        self._line.ask("remove")

    def capacity(self) -> int:
        status = os.statvfs(places.SHARED_MEMORY)
        return status.f_bavail * status.f_frsize

    # --- signs of life ----------------------------------------------------------------------

    def lifeline(self, name: str) -> Presence:
        return Presence(self._line, name)

    def alive(self, names: Collection[str]) -> set[str]:
        return set(names) & set(self._line.ask("alive"))

    def close(self) -> None:
        self._line.close()


class Presence:
    """A sign of life: a connection to the home."""

    def __init__(self, line: Line, name: str) -> None:
        self._line = line
        self._name = name
        line.ask("live", name)

    def close(self) -> None:
        try:
            self._line.ask("die", self._name)
        except (PeerLostError, OSError):
            pass


def address_of(place: Place, carrier: str) -> Path:
    """Under which name the SST stream of a carrier is found. No two streams ever have the same."""
    return place.folder / f"{place.name}.{carrier}"
