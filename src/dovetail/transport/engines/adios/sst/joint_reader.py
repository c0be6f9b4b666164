"""The consuming end of plain SST that all ranks of a communicator read as one.

ADIOS2 runs in the ranks, since no other process shares their communicator, and brings each the
parts of arrays that it asks for from whichever writer ranks have them.
"""

from __future__ import annotations

import time
from typing import Any, Self

from dovetail import observe
from dovetail.errors import PeerLostError, TransportClosedError, TransportTimeoutError
from dovetail.transport.closing import Closing
from dovetail.transport.contract import Participant, StreamStatistics
from dovetail.transport.deadlines import Deadline, seconds
from dovetail.transport.engines.adios.library import Opened, open_engine, reason_of
from dovetail.transport.engines.adios.reading import AdiosReadStep, VariableReader
from dovetail.transport.engines.adios.sst.contact import Place
from dovetail.transport.engines.adios.sst.network import send_at_once
from dovetail.transport.engines.adios.sst.plain import POLICIES, contact_of
from dovetail.transport.policies import Policy

SOON, LATER = 0.001, 0.1
"""Seconds in which steps come in a busy stream, and in a slow one."""
PAUSES = (0.00001, 0.0005, 0.005)
"""Seconds between two questions whether there is a step: at first, then, and in the end."""
NEW_WRITERS_IN = 2
"""Steps until every connection has been made."""


class JointReader(Closing):
    """One rank of the consuming end."""

    def __init__(
        self, url: str, place: Place, parameters: dict[str, str], participant: Participant
    ) -> None:
        self._url = url
        self._comm = participant.comm
        self._timeout = participant.timeout
        self._steps = self._nbytes = self._in_calls_ns = self._waited_ns = 0
        self._current: AdiosReadStep | None = None
        self._finished = False
        try:
            self._opened: Opened | None = open_engine(
                "SST", str(place.folder / place.name), "Read", parameters, self._comm
            )
        except RuntimeError as error:
            raise PeerLostError(
                f"the writer of {url} cannot be reached ({reason_of(error)}): if it is not running "
                f"any more, remove its contact file {contact_of(place)}"
            ) from None
        send_at_once()

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
        """The next step. All ranks have to ask for it, and wait for one another."""
        if self._finished:
            return None
        opened = self._check()
        entered = time.perf_counter_ns()
        began = time.time_ns() if observe.recording else 0
        self._end_current()
        wait = seconds(self._timeout if timeout is None else timeout)
        status = self._begin(opened, Deadline(None if wait < 0 else wait))
        took = time.perf_counter_ns() - entered
        self._waited_ns += took
        statuses = opened.bindings.StepStatus
        if status == statuses.OK:
            step = self._take(opened)
            self._in_calls_ns += time.perf_counter_ns() - entered
            if began:
                ended = time.time_ns()
                observe.record(observe.READ_STEP, self._url, began, ended, step.nbytes, took)
            return step
        self._in_calls_ns += took
        if status == statuses.EndOfStream:
            self._finished = True
            self.close()
            return None
        if status == statuses.OtherError:
            raise PeerLostError(
                f"the producer of {self._url} died or left by an exception; SST may have lost the "
                f"steps that it had not handed over (the last that came was number "
                f"{self._steps - 1})"
            )
        raise TransportTimeoutError(
            f"no step of {self._url} within {wait:g} s: its producer is silent"
        )

    def _begin(self, opened: Opened, deadline: Deadline) -> Any:
        """How the wait for a step ended; rank 0 says when it is over, so that it is for all."""
        statuses = opened.bindings.StepStatus
        started = time.monotonic()
        while True:
            status = opened.engine.BeginStep(opened.bindings.StepMode.Read, 0.0)
            if status != statuses.NotReady:
                return status
            if self._comm.bcast(deadline.passed, root=0):
                return status
            quiet = time.monotonic() - started
            time.sleep(PAUSES[(quiet > SOON) + (quiet > LATER)])

    def _take(self, opened: Opened) -> AdiosReadStep:
        if self._steps < NEW_WRITERS_IN:
            send_at_once()
        reader = VariableReader(opened)
        stream = reader.describe()
        step = AdiosReadStep(stream.index, [stream], lambda: [self._standing(step, reader)])
        step._end = self._end_current
        self._current = step
        self._steps += 1
        self._nbytes += step.nbytes
        return step

    def _standing(self, step: AdiosReadStep, reader: VariableReader) -> VariableReader:
        """What reads the arrays of a step while it is in hand."""
        if step is not self._current:
            raise TransportClosedError(
                f"this step of {self._url} has ended, and SST has given its arrays up: read them "
                f"while the step is in hand"
            )
        return reader

    def _end_current(self) -> None:
        if self._current is not None and self._opened is not None:
            self._current = None
            self._opened.engine.EndStep()

    def statistics(self) -> StreamStatistics:
        return StreamStatistics(
            self._steps, self._nbytes, self._waited_ns * 1e-9, self._in_calls_ns * 1e-9, 0, 0
        )

    def stop(self) -> None:
        """Leave; SST has no way to tell the producer."""
        self.close()

    def close(self) -> None:
        """Leave. All ranks have to."""
        opened = self._opened
        if opened is not None:
            self._end_current()
            self._opened = None
            opened.engine.Close()

    def _check(self) -> Opened:
        if self._opened is None:
            raise TransportClosedError(f"the stream {self._url} is closed; open it again")
        return self._opened

    def __repr__(self) -> str:
        return f"<StreamReader {self._url}{' (closed)' if self._opened is None else ''}>"
