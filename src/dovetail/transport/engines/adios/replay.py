"""The consuming end of recordings, of other programs' BP5 files too, live ones as well."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from dovetail import observe
from dovetail.errors import (
    CorruptDataError,
    KeyNotFoundError,
    PeerLostError,
    TransportClosedError,
    TransportTimeoutError,
)
from dovetail.transport.closing import Closing
from dovetail.transport.contract import Participant, StreamDescription, StreamStatistics
from dovetail.transport.deadlines import Deadline
from dovetail.transport.engines.adios import files, notes
from dovetail.transport.engines.adios.library import open_engine, reason_of
from dovetail.transport.engines.adios.reading import AdiosReadStep, VariableReader
from dovetail.transport.engines.adios.recording import EVERY_STEP
from dovetail.transport.policies import Policy

_PARAMETERS = {"BeginStepPollingFrequencySecs": "0.001", "OpenTimeoutSecs": "0"}
_MOST_LOOKS = 200
"""Looks without a pause before a live recording is looked at less often."""


class Outcome(NamedTuple):
    """How a recording is."""

    steps: int
    """Steps that every rank has ended."""
    state: notes.RankState


class Cursor:
    """Goes through the steps of all files of a recording, side by side, from the first on."""

    def __init__(self, paths: Sequence[Path]) -> None:
        try:
            self._opened = [open_engine("BP5", str(path), "Read", _PARAMETERS) for path in paths]
        except RuntimeError as error:
            raise CorruptDataError(
                f"{paths[0]} cannot be opened as a BP5 file: {reason_of(error)}"
            ) from error
        self.readers = [VariableReader(one, place) for place, one in enumerate(self._opened)]
        self.at = -1
        """The step at which it stands."""
        self._inside: list[bool] = [False] * len(self._opened)

    def forward(self) -> str:
        """To the next step: ``ok``, ``later``, ``end`` or ``error``; harmless to call again."""
        status = self._opened[0].bindings.StepStatus
        for place, (_, _, engine, library) in enumerate(self._opened):
            if self._inside[place]:
                continue
            found = engine.BeginStep(library.StepMode.Read, 0.0)
            if found == status.OK:
                self._inside[place] = True
            else:
                return {status.NotReady: "later", status.EndOfStream: "end"}.get(found, "error")
        self.at += 1
        return "ok"

    def stands_at(self, step: int) -> bool:
        """Whether it is inside this step."""
        return self.at == step and all(self._inside)

    def leave(self) -> None:
        """Leave the step at which it stands."""
        for place, (_, _, engine, _) in enumerate(self._opened):
            if self._inside[place]:
                self._inside[place] = False
                engine.EndStep()

    def close(self) -> None:
        opened, self._opened = self._opened, []
        for one in opened:
            one.engine.Close()


class Replay(Closing):
    """The consuming end of a recording. It starts at the first step, and takes nothing."""

    def __init__(self, url: str, path: Path, participant: Participant) -> None:
        self._url = url
        self._path = path
        self._timeout = participant.timeout
        self._ranks = _wait_for(path, Deadline(participant.timeout), url)
        size = self._ranks or 1
        self._paths = [files.stream_of(path, size, rank) for rank in range(size)]
        self._watches = [notes.RankWatch(path, rank) for rank in range(size)] if self._ranks else []
        self._cursor: Cursor | None = None
        self._again: Cursor | None = None
        self._steps = 0
        self._delivered = 0
        self._nbytes = 0
        self._in_calls_ns = 0
        self._waited_ns = 0
        self._finished = False
        self._closed = False

    @property
    def url(self) -> str:
        return self._url

    @property
    def policy(self) -> Policy:
        return EVERY_STEP

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
        if self._closed:
            raise TransportClosedError(f"the stream {self._url} is closed; open it again")
        entered = time.perf_counter_ns()
        began = time.time_ns() if observe.recording else 0
        waited = self._waited_ns
        step = None
        try:
            step = self._next(Deadline(self._timeout if timeout is None else timeout))
        finally:
            self._in_calls_ns += time.perf_counter_ns() - entered
            if began:
                nbytes = 0 if step is None else step.nbytes
                waited = self._waited_ns - waited
                observe.record(observe.READ_STEP, self._url, began, time.time_ns(), nbytes, waited)
        if step is None:
            self._finished = True
            self.close()
            return None
        self._delivered += 1
        self._nbytes += step.nbytes
        return step

    def _next(self, deadline: Deadline) -> AdiosReadStep | None:
        if self._cursor is not None:
            self._cursor.leave()
        if not self._wait_for_step(deadline):
            return None
        place = self._steps
        streams = [reader.describe() for reader in self._readers(place)]
        self._steps += 1
        return AdiosReadStep(streams[0].index, streams, lambda: self._readers(place))

    def _wait_for_step(self, deadline: Deadline) -> bool:
        """Whether there is a next step: the cursor stands at it then."""
        looks, started = 0, time.perf_counter_ns()
        try:
            while True:
                if self._look():
                    return True
                if self._over():
                    return False
                if deadline.passed:
                    raise TransportTimeoutError(
                        f"no step {self._steps} in {self._url} within {deadline}: its producer is "
                        f"silent"
                        + (
                            ""
                            if self._ranks
                            else ", or has died, which a BP5 file of another program does not tell"
                        )
                    )
                looks += 1
                time.sleep(min(files.LOOK_AGAIN if looks > _MOST_LOOKS else 1e-4, deadline.left()))
        finally:
            if looks:
                self._waited_ns += time.perf_counter_ns() - started

    def _look(self) -> bool:
        if self._ranks and self._outcome().steps <= self._steps:
            return False
        if self._cursor is None:
            if not all(files.is_bp5(path) for path in self._paths):
                return False
            self._cursor = Cursor(self._paths)
        found = self._cursor.forward()
        if found == "end" and not self._ranks:
            self._ended = True
        elif found == "error" or (found == "end" and self._ranks):
            raise CorruptDataError(
                f"{self._path} holds fewer steps than were ended in it: it is damaged, or was not "
                f"copied whole"
            )
        return found == "ok"

    _ended = False
    """A file of another program has ended."""

    def _over(self) -> bool:
        """Whether the recording has ended.

        Raises
        ------
        PeerLostError
        """
        if not self._path.exists():
            raise PeerLostError(f"{self._url} was removed while it was read")
        if not self._ranks:
            return self._ended
        outcome = self._outcome()
        if outcome.state == "open" or outcome.steps > self._steps:
            return False
        if outcome.state == "ended":
            return True
        how = "died" if outcome.state == "lost" else "left by an exception"
        raise PeerLostError(
            f"the producer of {self._url} {how} after {outcome.steps} complete steps"
        )

    def _outcome(self) -> Outcome:
        return outcome_of(self._watches)

    def _readers(self, step: int) -> Sequence[VariableReader]:
        """Readers that stand at a step, also at one that was passed."""
        if self._cursor is not None and self._cursor.stands_at(step):
            return self._cursor.readers
        if self._again is None or self._again.at > step:
            if self._again is not None:
                self._again.close()
            try:
                self._again = Cursor(self._paths)
            except CorruptDataError as error:
                raise KeyNotFoundError(
                    f"step {step} of {self._url} cannot be read any more: {error}"
                ) from error
        while self._again.at < step:
            self._again.leave()
            if self._again.forward() != "ok":
                raise KeyNotFoundError(f"step {step} of {self._url} cannot be found again")
        return self._again.readers

    def behind(self) -> bool:
        """Whether a recording of ours holds a step beyond the last one delivered."""
        return bool(self._ranks) and not self._closed and self._outcome().steps > self._steps

    def statistics(self) -> StreamStatistics:
        return StreamStatistics(
            self._delivered,
            self._nbytes,
            self._waited_ns * 1e-9,
            self._in_calls_ns * 1e-9,
            0,
            0,
        )

    def stop(self) -> None:
        if not self._closed:
            notes.say_stopped(self._path)
            self.close()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            cursor.close()
        for watch in self._watches:
            watch.close()

    def __repr__(self) -> str:
        return f"<StreamReader {self._url}{' (closed)' if self._closed else ''}>"


def outcome_of(watches: Sequence[notes.RankWatch]) -> Outcome:
    """How a recording of ours is, from the marks of its ranks."""
    looks = [watch.look() for watch in watches]
    steps = min(look.steps for look in looks)
    states = {look.state for look in looks}
    for state in ("failed", "lost", "open"):
        if state in states:
            return Outcome(steps, state)
    even = all(look.steps == steps for look in looks)
    return Outcome(steps, "ended" if even else "failed")


def describe(url: str, path: Path) -> StreamDescription:
    """A recording, seen from outside.

    Raises
    ------
    KeyNotFoundError
    """
    ranks = notes.read_manifest(path)
    if ranks is None and not files.is_bp5(path):
        raise KeyNotFoundError(f"there is no recording {path}")
    if ranks is None:
        outcome = _foreign_outcome(path)
    else:
        outcome = outcome_of([notes.RankWatch(path, rank) for rank in range(ranks)])
    held = files.bytes_in(path)
    return StreamDescription(
        url=url,
        policy=EVERY_STEP,
        state=outcome.state,
        epoch=1,
        ranks=ranks or 1,
        steps_complete=outcome.steps,
        steps_held=outcome.steps,
        bytes_held=held,
        capacity=held + files.free_bytes(path),
        groups=(),
    )


def _foreign_outcome(path: Path) -> Outcome:
    cursor = Cursor([path])
    try:
        while (found := cursor.forward()) == "ok":
            cursor.leave()
        return Outcome(cursor.at + 1, {"end": "ended", "later": "open"}.get(found, "failed"))  # type: ignore[arg-type]
    finally:
        cursor.close()


def tail(url: str, path: Path, timeout: float | None) -> Iterator[AdiosReadStep]:
    """Follow the newest steps of a recording from outside."""
    with Replay(url, path, Participant(timeout=timeout)) as replay:
        while True:
            step = replay.next_step()
            if step is None:
                return
            while replay.behind():
                newer = replay.next_step()
                if newer is None:
                    break
                step = newer
            yield step


def _wait_for(path: Path, deadline: Deadline, url: str) -> int | None:
    """The writer ranks of a recording of ours; None for a file of another program."""
    while True:
        ranks = notes.read_manifest(path)
        if ranks is not None:
            return ranks
        if files.is_bp5(path) and not (path / notes.FOLDER).exists():
            return None
        if deadline.passed:
            raise TransportTimeoutError(
                f"there is no recording {url} after {deadline}: is its producer running, and does "
                f"it write to this path?"
            )
        time.sleep(min(files.LOOK_AGAIN, deadline.left()))
