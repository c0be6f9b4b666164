"""The producing end of plain SST that all ranks of a communicator write as one stream.

SST itself brings the blocks of M writer ranks to N reader ranks. ADIOS2 runs in the ranks, since
no other process shares their communicator.
"""

from __future__ import annotations

import os
import time
from typing import Any

from dovetail import observe
from dovetail.data import Attributes
from dovetail.data.arrays import attributes_to_json
from dovetail.errors import PeerLostError, TransportClosedError, TransportTimeoutError
from dovetail.transport.closing import Closing
from dovetail.transport.contract import Participant, StreamStatistics
from dovetail.transport.deadlines import Deadline
from dovetail.transport.engines.adios.layout import read_attributes
from dovetail.transport.engines.adios.library import open_engine, reason_of
from dovetail.transport.engines.adios.sst.contact import Place
from dovetail.transport.engines.adios.sst.network import send_at_once
from dovetail.transport.engines.adios.sst.plain import (
    POLICIES,
    RECIPES,
    contact_of,
    lock_for_writing,
    lock_of,
    say,
    transport_in_words,
)
from dovetail.transport.engines.adios.sst.watched import Watched
from dovetail.transport.engines.adios.writing import Copies, GatheredStep, Placed, VariableWriter
from dovetail.transport.policies import Policy

NEW_READERS_IN = 16
"""Steps between two looks for new connections."""


class JointWriter(Closing):
    """One rank of the producing end.

    Parameters
    ----------
    plane
        The data plane that SST uses here.
    """

    def __init__(
        self,
        url: str,
        place: Place,
        recipe: str,
        plane: str,
        parameters: dict[str, str],
        participant: Participant,
    ) -> None:
        self._url = url
        self._place = place
        self._recipe = recipe
        self._comm = participant.comm
        self._timeout = participant.timeout
        self._number = self._nbytes = self._in_calls_ns = self._waited_ns = 0
        self._began = 0
        self._copies = Copies()
        self._transport = transport_in_words(plane, participant.size)
        self._lock = -1
        self._become_the_writer()
        # The other ranks wait for rank 0, and go on with it.
        patience = participant.timeout if participant.rank == 0 else None
        self._watched = Watched(parameters, patience)
        self._writer: VariableWriter | None = None
        try:
            self._writer = self._opened({**parameters, **RECIPES[recipe]})
            self._raise_at_the_deadline("no reader has come")
        except BaseException:
            self._leave(failed=True)
            raise
        self._say()

    def _opened(self, parameters: dict[str, str]) -> VariableWriter:
        address = str(self._place.folder / self._place.name)
        try:
            with self._watched.opening(address):
                return VariableWriter(open_engine("SST", address, "Write", parameters, self._comm))
        except RuntimeError as error:
            raise PeerLostError(f"SST could not open {self._url}: {reason_of(error)}") from None

    def _raise_at_the_deadline(self, why: str) -> None:
        """Tell all ranks if the wait that has just ended had to be ended."""
        if self._comm.bcast(self._watched.ended, root=0):
            raise TransportTimeoutError(f"{self._url}: {why} within {Deadline(self._timeout)}")

    def _become_the_writer(self) -> None:
        """Let rank 0 take the name of the stream; all learn how that went."""
        error: Exception | None = None
        if self._comm.Get_rank() == 0:
            try:
                self._place.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._lock = lock_for_writing(self._place, self._url)
                contact_of(self._place).unlink(missing_ok=True)  # of one that died
            except Exception as refused:
                error = refused
        error = self._comm.bcast(error, root=0)
        if error is not None:
            raise error

    def _give_up_the_name(self) -> None:
        if self._lock >= 0:
            contact_of(self._place).unlink(missing_ok=True)
            lock_of(self._place).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = -1

    def _say(self) -> None:
        """Tell those who ask what this does."""
        if self._lock >= 0:
            say(self._lock, self._recipe, self._comm.Get_size(), self._number, self._transport)

    @property
    def url(self) -> str:
        return self._url

    @property
    def policy(self) -> Policy:
        return POLICIES[self._recipe]

    @property
    def stopped(self) -> bool:
        self._check()
        return False

    def step(self, attrs: Attributes | None = None) -> GatheredStep:
        self._check()
        self._began = time.time_ns() if observe.recording else 0
        attributes = read_attributes(attributes_to_json(attrs)) if attrs else {}
        return GatheredStep(
            self._number,
            self._url,
            self._copies,
            lambda placed: None if placed is None else self._write(attributes, placed),
        )

    def _write(self, attributes: dict[str, Any], placed: list[Placed]) -> None:
        writer = self._check()
        entered = time.perf_counter_ns()
        if self._number < NEW_READERS_IN or self._number % NEW_READERS_IN == 0:
            send_at_once()
            self._watched.look_for_connections()
        try:
            with self._watched.writing():
                writer.write_jointly(self._comm, self._number, attributes, placed)
        except RuntimeError as error:
            raise PeerLostError(f"SST could not write {self._url}: {reason_of(error)}") from None
        took = time.perf_counter_ns() - entered
        self._raise_at_the_deadline("its readers have not taken the steps before")
        self._number += 1
        nbytes = sum(array.nbytes for _, array in placed)
        self._nbytes += nbytes
        self._in_calls_ns += took
        self._waited_ns += took
        self._say()
        if self._began:
            ended = time.time_ns()
            observe.record(observe.WRITE_STEP, self._url, self._began, ended, nbytes, took)

    def statistics(self) -> StreamStatistics:
        return StreamStatistics(
            self._number, self._nbytes, self._waited_ns * 1e-9, self._in_calls_ns * 1e-9, 0, 0
        )

    def close(self) -> None:
        self._leave(failed=False)

    def _leave(self, failed: bool) -> None:
        writer, self._writer = self._writer, None
        try:
            if writer is not None and not failed:
                with self._watched.writing():
                    writer.close()
            # Else it goes without a word, and readers see that it is lost.
        finally:
            del writer
            self._watched.close()
            self._give_up_the_name()

    def _check(self) -> VariableWriter:
        if self._writer is None:
            raise TransportClosedError(f"the stream {self._url} is closed; open it again")
        return self._writer

    def __repr__(self) -> str:
        return f"<StreamWriter {self._url}{' (closed)' if self._writer is None else ''}>"
