"""A thread that receives one stream, and hands on what it holds, copied."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Literal, Protocol

from dovetail.errors import (
    InvalidURLError,
    PeerLostError,
    TransportTimeoutError,
)
from dovetail.learn.positions import Position, StepName
from dovetail.learn.samples import Arrays, NamedArrays, Provenance, copied
from dovetail.learn.shares import Share
from dovetail.transport import ReadStep, StreamReader, open_stream
from dovetail.transport.policies import PolicyKind

SLICE = 0.2
"""Seconds after which a wait looks whether it is to end."""

Prepare = Callable[[ReadStep], NamedArrays | Iterable[NamedArrays]]
"""Makes one sample of a step, or several."""

OnLost = Literal["raise", "reopen", "continue"]

_log = logging.getLogger("dovetail.learn")


class Sink(Protocol):
    """Where received samples go. Called from receiving threads."""

    def take(
        self,
        position: Position,
        arrays: Arrays,
        provenance: Provenance,
        given_up: Callable[[], bool],
    ) -> bool:
        """Take a sample, and count it in `position`, as one change; wait for room.

        Returns
        -------
        bool
            False, and nothing is taken, once `given_up` says that the receiver is to end.
        """
        ...

    def end_step(self, position: Position, name: StepName, time: float) -> None:
        """Note that a step, which was written at `time`, is done with."""
        ...

    def end(self, position: Position) -> None:
        """The producer ended its stream."""
        ...

    def lose(self, position: Position, error: BaseException) -> None:
        """The producer was lost, or what it sent could not be taken."""
        ...


class Receiver(threading.Thread):
    """Receives one stream until it ends, or until told to leave.

    Parameters
    ----------
    source
        A name or URL, or a reader that is already open.
    position
        Where to go on from.
    share
        Which steps are taken here.
    group
        Name of the reader group, where several share the stream.
    sink
        Where the samples go.
    prepare
        What makes samples of a step.
    timeout
        Seconds that a producer may be silent, or take to open its stream; ``None`` for ever.
    on_lost
        ``"reopen"`` waits as long for a restarted producer.
    """

    def __init__(
        self,
        source: str | StreamReader,
        position: Position,
        share: Share,
        group: str,
        sink: Sink,
        prepare: Prepare,
        timeout: float | None,
        on_lost: OnLost,
    ) -> None:
        super().__init__(name=f"receives {position.name}", daemon=True)
        self._source = source
        self._position = position
        self._share = share
        self._group = group
        self._sink = sink
        self._prepare = prepare
        self._timeout = timeout
        self._on_lost = on_lost
        self._leaving = threading.Event()
        self._stopping = False
        self._lost_at = 0.0

    def leave(self) -> None:
        """Leave the stream; samples that were received stay where they are."""
        self._leaving.set()

    def stop(self) -> None:
        """Leave, and tell the producer that no more is wanted."""
        self._stopping = True
        self._leaving.set()

    def run(self) -> None:
        """Receive; called in the thread."""
        try:
            ended = self._receive()
        except BaseException as error:
            # Whatever it is, the thread that draws has to learn of it.
            self._sink.lose(self._position, error)
        else:
            if ended:
                self._sink.end(self._position)

    def _receive(self) -> bool:
        """Receive from one writer after another; true at the end of the stream."""
        lost: PeerLostError | None = None
        while True:
            try:
                reader = self._open(lost)
                if reader is None:
                    return False
                try:
                    return self._follow(reader)
                finally:
                    self._leave(reader)
            except PeerLostError as error:
                if self._on_lost != "reopen" or not isinstance(self._source, str):
                    raise
                if lost is None or self._position.state == "open":
                    _log.warning("%s; waiting for it to be started again", error)
                    self._lost_at = time.monotonic()
                lost = error
                self._position.state = "waiting"
                self._pause(lost)

    def _open(self, lost: PeerLostError | None) -> StreamReader | None:
        """A reader, or ``None`` if told to leave."""
        if not isinstance(self._source, str):
            return self._source
        since = time.monotonic() if lost is None else self._lost_at
        group = self._group if self._share.size > 1 else None
        while not self._leaving.is_set():
            try:
                return open_stream(
                    self._source,
                    "r",
                    rank=self._share.rank,
                    size=self._share.size,
                    group=group,
                    timeout=SLICE,
                )
            except TransportTimeoutError:
                if self._is_late(since):
                    if lost is not None:
                        raise lost from None
                    raise TransportTimeoutError(
                        f"no producer has opened the stream {self._source} in {self._timeout} s: "
                        f"start it, check that both use this name, or give a longer timeout"
                    ) from None
        return None

    def _pause(self, lost: PeerLostError) -> None:
        """Wait a little before looking again whether a lost producer has been restarted."""
        if self._is_late(self._lost_at):
            raise lost
        self._leaving.wait(SLICE / 4)

    def _follow(self, reader: StreamReader) -> bool:
        """Receive one writer's steps; true at the end of the stream, false if told to leave."""
        position = self._position
        is_first = True
        heard = time.monotonic()
        while not self._leaving.is_set():
            began = time.monotonic()
            try:
                step = reader.next_step(SLICE)
            except TransportTimeoutError:
                if self._is_late(heard):
                    raise TransportTimeoutError(
                        f"the producer of {position.name} was silent for {self._timeout} s; "
                        f"give a longer timeout if its steps take so long"
                    ) from None
                continue
            finally:
                position.seconds_waited += time.monotonic() - began
            if step is None:
                return True
            if is_first:
                position.meet_writer(step)
                is_first = False
            if not self._take(step, reader.policy.kind):
                return False
            step.end()
            heard = time.monotonic()
        return False

    def _take(self, step: ReadStep, policy: PolicyKind) -> bool:
        """Take what is ours of a step; false if told to leave meanwhile."""
        position, index = self._position, step.index
        # A work queue gives steps out of order, if it gives them again; and leaves gaps.
        if index < position.next_step and policy != "work_queue":
            position.repeated += self._share.takes(index)
            return True
        position.state = "open"
        if policy != "work_queue":
            missed = sum(map(self._share.takes, range(position.next_step, index)))
            position.miss_until(index, missed)
        provenance = Provenance.of(step, position.name)
        name = position.name_of(index, provenance)
        if position.is_repeated(name):
            position.repeated += self._share.takes(index)
            position.skip_step(name, step.time)
            return True
        if self._share.takes(index):
            position.begin_step(name)
            for number, arrays in enumerate(self._samples_of(step)):
                if number < position.samples_of_step:
                    continue
                if not self._sink.take(position, copied(arrays), provenance, self._leaving.is_set):
                    return False
        self._sink.end_step(position, name, step.time)
        return True

    def _samples_of(self, step: ReadStep) -> Iterable[NamedArrays]:
        prepared = self._prepare(step)
        if prepared is None:
            raise TypeError(
                "prepare returned None: return a mapping of names to arrays, or a list of them, "
                "which is empty if nothing is to be learned from the step"
            )
        return [prepared] if hasattr(prepared, "keys") else prepared  # type: ignore[list-item]

    def _leave(self, reader: StreamReader) -> None:
        if self._stopping:
            reader.stop()
        else:
            reader.close()

    def _is_late(self, since: float) -> bool:
        return self._timeout is not None and time.monotonic() - since > self._timeout


def check_source(source: str | StreamReader) -> str:
    """The name of a stream to be received; refuses what is none."""
    if isinstance(source, str):
        return source
    url = getattr(source, "url", None)
    if not isinstance(url, str) or not hasattr(source, "next_step"):
        raise InvalidURLError(f"{source!r} is no stream: give its name, its URL, or an open reader")
    return url
