"""The producing end of plain SST."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from dovetail import observe
from dovetail.data import Attributes
from dovetail.data.arrays import attributes_to_json
from dovetail.data.layout import Piece, piece_of
from dovetail.errors import (
    DovetailError,
    TransportClosedError,
    TransportTimeoutError,
)
from dovetail.transport.closing import Closing
from dovetail.transport.contract import Participant, StreamStatistics
from dovetail.transport.deadlines import Deadline
from dovetail.transport.engines.adios.sst.contact import Place
from dovetail.transport.engines.adios.sst.plain import (
    POLICIES,
    RECIPES,
    contact_of,
    lock_for_writing,
    lock_of,
    say,
    transport_in_words,
)
from dovetail.transport.engines.adios.sst.processes import Worker
from dovetail.transport.engines.adios.sst.stores import PassingStore, sweep
from dovetail.transport.engines.adios.writing import Copies, GatheredStep, Placed
from dovetail.transport.policies import Policy


class PlainWriter(Closing):
    """The producing end of plain SST."""

    def __init__(
        self,
        url: str,
        place: Place,
        recipe: str,
        parameters: dict[str, str],
        participant: Participant,
    ) -> None:
        self._url = url
        self._place = place
        self._recipe = recipe
        self._policy = POLICIES[recipe]
        self._timeout = participant.timeout
        self._number = self._nbytes = self._in_calls_ns = self._waited_ns = 0
        self._sent = -1
        self._began = 0
        self._copies = Copies()
        self._closed = False
        place.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = lock_for_writing(place, url)
        contact_of(place).unlink(missing_ok=True)  # of one that died
        sweep()
        self._store = PassingStore(url)
        self._worker = Worker(
            "sender",
            {
                "store": self._store.folder,
                "owns_store": True,
                "address": str(place.folder / place.name),
                "parameters": {**parameters, **RECIPES[recipe]},
            },
            self._store.lock,
            self._store.remove,
        )
        try:
            (plane,) = self._hear("opened", Deadline(participant.timeout), "no reader has come")
        except BaseException:
            self._end(kill=True)
            raise
        self._transport = transport_in_words(plane, 1)
        self._say()

    def _say(self) -> None:
        """Tell those who ask what this does."""
        say(self._lock, self._recipe, 1, self._number, self._transport)

    @property
    def url(self) -> str:
        return self._url

    @property
    def policy(self) -> Policy:
        return self._policy

    @property
    def stopped(self) -> bool:
        self._check()
        return False

    def step(self, attrs: Attributes | None = None) -> GatheredStep:
        self._check()
        entered = time.perf_counter_ns()
        self._began = time.time_ns() if observe.recording else 0
        self._await_sent()
        metadata = {"dovetail.attrs": attributes_to_json(attrs)} if attrs else {}
        step = GatheredStep(
            self._number,
            self._url,
            self._copies,
            lambda placed: None if placed is None else self._write(metadata, placed),
        )
        self._in_calls_ns += time.perf_counter_ns() - entered
        return step

    def _write(self, metadata: dict[str, str], placed: list[Placed]) -> None:
        self._check()
        entered = time.perf_counter_ns()
        pieces: list[Piece] = []
        for variable, array in placed:
            pieces.append(piece_of(variable.name, array, metadata))
            if variable.start is not None:
                metadata[f"dovetail.shape.{variable.name}"] = json.dumps(variable.global_shape)
                metadata[f"dovetail.start.{variable.name}"] = json.dumps(variable.start)
        self._store.values.put(str(self._number), pieces, metadata)
        self._worker.tell(["send", self._number])
        self._number += 1
        nbytes = sum(array.nbytes for _, array in placed)
        self._nbytes += nbytes
        waited = self._waited_ns
        self._await_sent()
        self._say()
        self._in_calls_ns += time.perf_counter_ns() - entered
        if self._began:
            waited = self._waited_ns - waited
            observe.record(
                observe.WRITE_STEP, self._url, self._began, time.time_ns(), nbytes, waited
            )

    def _await_sent(self) -> None:
        """Until SST has taken every step so far."""
        started = time.perf_counter_ns()
        while self._sent < self._number - 1:
            self._sent = self._hear(
                "sent", Deadline(self._timeout), "its readers have not taken the steps before"
            )[0]
        self._waited_ns += time.perf_counter_ns() - started

    def _hear(self, wanted: str, deadline: Deadline, why: str) -> list[Any]:
        """What the sender says."""
        found = self._worker.hear(deadline)
        if found is None:
            raise TransportTimeoutError(f"{self._url}: {why} within {deadline}")
        kind, *rest = list(found)
        if kind == wanted:
            return rest
        raise DovetailError(f"SST has refused {self._url}: {' '.join(map(str, rest))}")

    def statistics(self) -> StreamStatistics:
        return StreamStatistics(
            self._number, self._nbytes, self._waited_ns * 1e-9, self._in_calls_ns * 1e-9, 0, 0
        )

    def close(self) -> None:
        self._leave(failed=False)

    def _leave(self, failed: bool) -> None:
        if self._closed:
            return
        self._closed = True
        if failed:  # readers must not take this for an end
            self._end(kill=True)
            return
        died = True
        try:
            self._worker.tell(["close", max(self._place.linger, 0.001)])
            while self._worker.hear(Deadline(self._timeout)) not in (None, ["closed"]):
                continue
            died = False
        except DovetailError:
            pass  # readers have not taken the last steps while it lingered
        finally:
            self._end(kill=died)

    def _end(self, kill: bool) -> None:
        self._closed = True
        if kill:
            self._worker.kill()
            contact_of(self._place).unlink(missing_ok=True)
        self._worker.let_go()
        if self._lock >= 0:
            lock_of(self._place).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = -1

    def _check(self) -> None:
        if self._closed:
            raise TransportClosedError(f"the stream {self._url} is closed; open it again")

    def __repr__(self) -> str:
        return f"<StreamWriter {self._url}{' (closed)' if self._closed else ''}>"
