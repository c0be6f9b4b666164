"""The consuming end of plain SST."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, Self

from numpy.typing import NDArray

from dovetail import observe
from dovetail.data.layout import variables_of
from dovetail.errors import (
    PeerLostError,
    TransportClosedError,
    TransportTimeoutError,
)
from dovetail.transport.assembly import Block
from dovetail.transport.closing import Closing
from dovetail.transport.contract import Participant, StreamStatistics
from dovetail.transport.deadlines import Deadline, seconds
from dovetail.transport.engines.adios.layout import Extents
from dovetail.transport.engines.adios.reading import AdiosReadStep
from dovetail.transport.engines.adios.sst import receiver
from dovetail.transport.engines.adios.sst.contact import Place
from dovetail.transport.engines.adios.sst.plain import POLICIES, contact_of
from dovetail.transport.engines.adios.sst.processes import Worker
from dovetail.transport.engines.adios.sst.stores import PassingStore, sweep
from dovetail.transport.policies import Policy

_LONGEST = 1e8


class PlainReader(Closing):
    """The consuming end of plain SST."""

    def __init__(
        self,
        url: str,
        place: Place,
        parameters: dict[str, str],
        participant: Participant,
    ) -> None:
        self._url = url
        self._timeout = participant.timeout
        self._steps = self._nbytes = self._in_calls_ns = self._waited_ns = 0
        self._current = -1
        self._closed = self._finished = False
        sweep()
        self._store = PassingStore(url)
        self._worker = Worker(
            "receiver",
            {
                "store": self._store.folder,
                "address": str(place.folder / place.name),
                "parameters": parameters,
            },
            self._store.lock,
            self._store.remove,
        )
        deadline = Deadline(participant.timeout)
        found = self._worker.hear(deadline)
        if found == ["opened"]:
            return
        self._worker.kill()
        self._worker.let_go()
        if found is None:
            raise TransportTimeoutError(
                f"the writer of {url} did not let this reader in within {deadline}: SST admits "
                f"readers only as a step is written"
            )
        raise PeerLostError(
            f"the writer of {url} cannot be reached ({' '.join(map(str, found[1:]))}): if it is "
            f"not running any more, remove its contact file {contact_of(place)}"
        )

    @property
    def url(self) -> str:
        return self._url

    @property
    def policy(self) -> Policy:
        """Not known: SST does not tell its readers. This is what they may count on."""
        return POLICIES["async"]

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> AdiosReadStep:
        step = self.next_step()
        if step is None:
            raise StopIteration
        return step

    def next_step(self, timeout: float | None = None) -> AdiosReadStep | None:
        if self._finished:
            return None
        self._check()
        entered = time.perf_counter_ns()
        began = time.time_ns() if observe.recording else 0
        wait = seconds(self._timeout if timeout is None else timeout)
        step = None
        try:
            self._current += 1
            kind, *rest = self._ask(["next", _LONGEST if wait < 0 else wait], wait)
            took = time.perf_counter_ns() - entered
            self._waited_ns += took
            if kind == "step":
                step = self._step(rest[0])
        finally:
            self._in_calls_ns += time.perf_counter_ns() - entered
            if began:
                nbytes = 0 if step is None else step.nbytes
                ended = time.time_ns()
                observe.record(observe.READ_STEP, self._url, began, ended, nbytes, ended - began)
        if step is not None:
            self._steps += 1
            self._nbytes += step.nbytes
            return step
        if kind == "end":
            self._finished = True
            self.close()
            return None
        if kind == "lost":
            raise PeerLostError(
                f"the producer of {self._url} died without ending the stream; SST may have lost "
                f"the steps that it had not handed over (the last that came was number "
                f"{self._steps - 1})"
            )
        raise TransportTimeoutError(
            f"no step of {self._url} within {wait:g} s: its producer is silent"
        )

    def _step(self, described: list[Any]) -> AdiosReadStep:
        stream = receiver.read_step(described)
        number = self._current
        return AdiosReadStep(
            stream.index, [stream], lambda: [_Fetching(self, number, described[3])], self._end_step
        )

    def fetch(self, number: int, wanted: list[Any]) -> Any:
        """Parts of blocks, as the arrays of a value."""
        if number != self._current or self._closed:
            raise TransportClosedError(
                f"this step of {self._url} has ended, and SST has given its arrays up: read them "
                f"while the step is in hand"
            )
        key = self._ask(["fetch", wanted], math.inf)
        memory, header, _ = self._store.values.get(key)
        self._store.values.remove(key)
        variables = variables_of(header)
        return [variables[str(number)].view(memory) for number in range(len(wanted))]

    def _end_step(self) -> None:
        if not self._closed:
            self._current += 1
            self._ask(["end"], 60.0)

    def _ask(self, question: list[Any], within: float) -> Any:
        self._worker.tell(question)
        found = self._worker.hear(
            Deadline(None if within < 0 or within == math.inf else within + 60)
        )
        if found is None:
            self._worker.kill()
            raise PeerLostError(
                f"the process that reads {self._url} hangs ({self._worker.ending()}): its producer "
                f"may be frozen"
            )
        return found

    def statistics(self) -> StreamStatistics:
        return StreamStatistics(
            self._steps, self._nbytes, self._waited_ns * 1e-9, self._in_calls_ns * 1e-9, 0, 0
        )

    def stop(self) -> None:
        """Leave; SST has no way to tell the producer."""
        self.close()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._worker.let_go()

    def _check(self) -> None:
        if self._closed:
            raise TransportClosedError(f"the stream {self._url} is closed; open it again")

    def __repr__(self) -> str:
        return f"<StreamReader {self._url}{' (closed)' if self._closed else ''}>"


class _Fetching:
    """Stands for the reader of ADIOS2 variables in the other process."""

    def __init__(self, reader: PlainReader, number: int, described: dict[str, Any]) -> None:
        self._reader = reader
        self._number = number
        self._described = described
        self._wanted: list[Any] = []
        self._rooms: list[NDArray[Any]] = []

    def fetch(self, block: Block, first: Extents, out: NDArray[Any]) -> None:
        if out.size == 0:
            return
        name = block.variable.name
        found = next(
            about
            for about in self._described[name]
            if about[6] == block.memory.number and _extents(about[4]) == block.variable.start
        )
        self._wanted.append([name, found, first, out.shape])
        self._rooms.append(out)

    def perform(self) -> None:
        wanted, self._wanted = self._wanted, []
        rooms, self._rooms = self._rooms, []
        if wanted:
            arrays: Sequence[NDArray[Any]] = self._reader.fetch(self._number, wanted)
            for room, array in zip(rooms, arrays, strict=True):
                room[...] = array


def _extents(numbers: Any) -> Extents | None:
    return None if numbers is None else tuple(numbers)
