"""Blocks on their way in: what a reader of a stream over SST shares with its writers."""

from __future__ import annotations

from typing import Any, NamedTuple

from dovetail.errors import (
    DovetailError,
    KeyNotFoundError,
    PeerLostError,
    TransportClosedError,
    TransportTimeoutError,
)
from dovetail.transport.deadlines import Deadline
from dovetail.transport.engines.adios.sst.blocks import unwrap
from dovetail.transport.engines.adios.sst.contact import Place
from dovetail.transport.engines.adios.sst.line import Line
from dovetail.transport.engines.adios.sst.medium import (
    SstMedium,
    Where,
)
from dovetail.transport.engines.adios.sst.processes import Worker
from dovetail.transport.engines.adios.sst.stores import PassingStore, sweep
from dovetail.transport.ledger.medium import Appended, Block

LOOK = 0.25
"""Seconds after which a wait for a block asks whether its carrier lives."""
MOST_MIRRORS = 5
"""Mirrors of one reader: one may die, but not for ever."""


class _Joined(NamedTuple):
    """That a mirror receives from a carrier."""

    version: str
    """Another one each time that it was let in."""
    number: int
    """Blocks of higher numbers come unasked."""


class ReadingMedium(SstMedium):
    """That of a reader or an onlooker: it has a mirror.

    Parameters
    ----------
    at_once
        Begin to receive what is sent to all before it is needed, as a reader will.
    timeout
        Seconds to wait for a block that was said to be there.
    """

    def __init__(
        self,
        place: Place,
        line: Line,
        parameters: dict[str, str],
        at_once: bool,
        timeout: float | None,
    ) -> None:
        super().__init__(place, line)
        self._parameters = parameters
        self._timeout = timeout
        self._at_once = at_once
        self._got: dict[str, Block] = {}
        self._starts = 0
        sweep()
        self._start()

    def _start(self) -> None:
        """Start a mirror."""
        self._starts += 1
        self._joining: set[str] = set()
        self._joined: dict[str, _Joined] = {}
        self._store = PassingStore(self.label)
        self._mirror = self._store.owner
        self._line.ask("keep", self._store.folder)
        self._worker = Worker(
            "mirror",
            {
                "url": self.label,
                "mirror": self._mirror,
                "store": self._store.folder,
                "parameters": self._parameters,
            },
            self._store.lock,
        )

    def _start_again(self) -> None:
        """Start another mirror in the place of one that has died.

        Raises
        ------
        PeerLostError
            If the home has died, too.
        DovetailError
            If mirrors keep dying.
        """
        self._line.ask("alive")
        if self._starts >= MOST_MIRRORS:
            raise DovetailError(
                f"the process that receives {self.label} from SST died {self._starts} times, the "
                f"last time with {self._worker.ending()}"
            )
        self._worker.let_go()
        self._store.remove()
        self._start()

    def get_block(self, name: str) -> Block | None:
        where = self._blocks.get(name)
        if where is None:
            return None
        key = f"{where.carrier}.{where.number}"
        if key not in self._got:
            block = self._brought(key, where)
            if block is None:
                return None
            self._got[key] = block
        return self._got[key]

    def _join(self, carrier: str) -> None:
        """Let the mirror receive from a carrier."""
        if carrier not in self._joining:
            self._joining.add(carrier)
            try:
                self._worker.tell(carrier)
            except DovetailError:  # it dies, which the next wait for a block sees
                pass

    def _brought(self, key: str, where: Where) -> Block | None:
        """A block, once it has come; None if it was dropped meanwhile."""
        deadline = Deadline(self._timeout)
        while True:
            try:
                return self._received(key, where, deadline)
            except TransportClosedError:  # its store has gone with the mirror
                self._start_again()

    def _received(self, key: str, where: Where, deadline: Deadline) -> Block | None:
        """A block that this mirror receives."""
        expected: _Joined | None = None
        """On the strength of which it is expected to come."""
        while True:
            try:
                memory, header, _ = self._store.values.wait(key, LOOK if expected else 0.0, None)
            except TransportTimeoutError:
                pass
            else:
                if "dovetail.gone" in header[2]:
                    return None
                return Block(*unwrap(memory, header, f"block {key} of {self.label}"))
            if expected is not None:
                self._look_after(where, deadline)
                if self._joined_to(where.carrier, 0.0) == expected:
                    continue
                expected = None  # another carrier has taken the place of the first
            joined = self._joined.get(where.carrier)
            if joined is None:
                joined = self._joined_to(where.carrier, LOOK)
            if joined is None:
                self._look_after(where, deadline)
                continue
            comes = where.unasked and where.number > joined.number
            if comes or self._mail(where, "want", where.number, self._mirror):
                expected = joined

    def _joined_to(self, carrier: str, within: float) -> _Joined | None:
        """That the mirror receives from a carrier; None if it does not yet."""
        self._join(carrier)
        try:
            _, header, version = self._store.values.wait(f"joined.{carrier}", within, None)
        except TransportTimeoutError:
            return None
        joined = _Joined(version, int(header[2]["dovetail.number"]))
        self._joined[carrier] = joined
        return joined

    def _look_after(self, where: Where, deadline: Deadline) -> None:
        """Raise if a block can come no more."""
        if not self._worker.alive():
            raise TransportClosedError(f"the mirror of {self.label} has died")
        self._mail(where, "ping")
        if deadline.passed:
            raise TransportTimeoutError(
                f"a block of {self.label} was announced and did not come within {deadline}: is the "
                f"network between the two ends open, and the interface the right one (?interface=)?"
            )

    def _mail(self, where: Where, *message: Any) -> bool:
        """Tell a carrier something; False if it is not there yet."""
        found = self._line.ask("mail", where.carrier, *message)
        if found == "gone":
            raise PeerLostError(
                f"the process that served the steps of {self.label} has died, and with it those "
                f"that were not read ({self._line.ask('words', where.carrier)})"
            )
        return bool(found == "told")

    def _heard(self, entries: list[str]) -> list[str]:
        said = super()._heard(entries)
        if self._at_once:  # what is sent to all will be read: begin to receive
            for carrier in {where.carrier for where in self._blocks.values() if where.unasked}:
                self._join(carrier)
        return said

    def append(self, log: int, entry: str, start: int) -> Appended:
        if entry.startswith("D."):
            self._forget()
        return super().append(log, entry, start)

    def _forget(self) -> None:
        """Let go of the blocks of the step before."""
        got, self._got = self._got, {}
        for key in got:
            try:
                self._store.values.remove(key)
            except (KeyNotFoundError, TransportClosedError):
                continue

    def close(self) -> None:
        super().close()
        self._worker.let_go()
        self._store.let_go()
