"""From streams into a reservoir, in the background.

::

    stream ─> Receiver ─┬─> Reservoir ──────────────┬─> draws        as they come
    stream ─> Receiver ─┤   or Staging ─> Reservoir ┘                at a fixed replay ratio
                        └─> HeldOutMemory                            never learned from
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dovetail.errors import PeerLostError, TransportClosedError, TransportTimeoutError
from dovetail.learn.held_out import HeldOutMemory, Selection
from dovetail.learn.positions import Position, StepName
from dovetail.learn.receiving import SLICE, OnLost, Prepare, Receiver
from dovetail.learn.reservoir import Reservoir
from dovetail.learn.samples import Arrays, Provenance, Sample, nbytes
from dovetail.learn.shares import Share
from dovetail.learn.staging import Staged, Staging
from dovetail.learn.statistics import LearnStatistics
from dovetail.transport import StreamReader

SECONDS_TO_LEAVE = 10.0
"""How long :meth:`Intake.close` waits for a receiving thread that is in the middle of a step."""

_log = logging.getLogger("dovetail.learn")


@dataclass(frozen=True, slots=True)
class Manner:
    """How streams are received."""

    prepare: Prepare
    timeout: float | None
    on_lost: OnLost
    group: str
    replay_ratio: float | None
    """Draws for each sample that enters the reservoir; ``None``: they enter as they come."""


class Intake:
    """All that receives in one process.

    Parameters
    ----------
    sources
        Names or URLs of streams, or open readers, by name.
    learned_from, held_out_whole
        What this process takes of them.
    reservoir, held_out
        Where the samples go.
    selection
        Which samples are held out.
    manner
        How they are received.
    """

    def __init__(
        self,
        sources: Mapping[str, str | StreamReader],
        learned_from: Sequence[Share],
        held_out_whole: Sequence[Share],
        reservoir: Reservoir,
        held_out: HeldOutMemory,
        selection: Selection,
        manner: Manner,
    ) -> None:
        self.reservoir = reservoir
        self.held_out = held_out
        self._selection = selection
        self._manner = manner
        self._changed = reservoir.changed
        self._learned_from = [share.stream for share in learned_from]
        self._held_out_whole = [share.stream for share in held_out_whole]
        of_stream = {share.stream: share for share in (*learned_from, *held_out_whole)}
        self._of_stream = {name: [share.rank, share.size] for name, share in of_stream.items()}
        taken = [name for name in sources if name in of_stream]
        self._positions = {name: Position(name) for name in taken}
        self._receivers = {name: self._receiver(sources[name], of_stream[name]) for name in taken}
        self._staging = (
            None if manner.replay_ratio is None else Staging(self._learned_from, self._changed)
        )
        self._began: float | None = None
        self._left: float | None = None
        self._closed = False

    def _receiver(self, source: str | StreamReader, share: Share) -> Receiver:
        manner = self._manner
        return Receiver(
            source,
            self._positions[share.stream],
            share,
            manner.group,
            self,
            manner.prepare,
            manner.timeout,
            manner.on_lost,
        )

    def start(self) -> None:
        """Begin to receive everything, unless that has begun."""
        self.start_held_out()
        self._start(self._learned_from)

    def start_held_out(self) -> None:
        """Begin to receive the streams that are held out whole, unless that has begun or ended."""
        if not self._closed:
            self._start(self._held_out_whole)

    def _start(self, names: Sequence[str]) -> None:
        if self._closed:
            raise TransportClosedError("the dataset is closed: make another to go on")
        self._began = self._began or time.monotonic()
        for name in names:
            receiver = self._receivers[name]
            if self._positions[name].state == "ended":
                self.end(self._positions[name])
            elif receiver.ident is None:
                receiver.start()

    def draw_many(self, count: int) -> list[Sample]:
        """`count` samples; fewer at the end of the streams.

        Raises
        ------
        PeerLostError, ReaderExpelledError, TransportTimeoutError
            After all that was received has been drawn once.
        """
        if self._staging is None:
            return self.reservoir.draw_many(count, None)
        drawn: list[Sample] = []
        while len(drawn) < count:
            self._admit(self._staging, self._manner.replay_ratio or 1.0)
            one = self.reservoir.draw_many(1, None)
            if not one:
                break
            drawn += one
        return drawn

    def _admit(self, staging: Staging, ratio: float) -> None:
        """Let so many samples in as the draws so far have earned."""
        reservoir = self.reservoir
        while not reservoir.closed and reservoir.has_room():
            wanted = reservoir.watermark + int(reservoir.drawn / ratio)
            if reservoir.received >= wanted and len(reservoir) >= reservoir.watermark:
                return
            since = time.time_ns() if staging.is_waiting() else 0
            try:
                staged = staging.next()
            except Exception as error:
                reservoir.fail(error)
                return
            finally:
                if since:
                    reservoir.starved(since)
            if staged is None:
                reservoir.close()
            else:
                with contextlib.suppress(TransportClosedError):  # by another thread, just now
                    reservoir.keep(staged.arrays, staged.provenance, 0.0)

    def take(
        self,
        position: Position,
        arrays: Arrays,
        provenance: Provenance,
        given_up: Callable[[], bool],
    ) -> bool:
        if not self.reservoir.admits(arrays, provenance):
            with self._changed:
                self._pass_turn(position.name)
                position.refused += 1
                position.samples_of_step += 1
            return True
        if self._selection.holds_out(position.name, provenance):
            with self._changed:
                self._pass_turn(position.name)
                self.held_out.keep(arrays, provenance)
                position.held_out += 1
                position.samples_of_step += 1
            return True
        while not given_up():
            began = time.monotonic()
            try:
                # A checkpoint between the two would lose the sample, or take it twice.
                with self._changed:
                    waited = self._keep(position.name, arrays, provenance)
                    position.seconds_stalled += waited
                    position.samples += 1
                    position.nbytes += nbytes(arrays)
                    position.samples_of_step += 1
                return True
            except TransportTimeoutError:
                position.seconds_stalled += time.monotonic() - began
            except TransportClosedError:
                return False
        return False

    def _keep(self, name: str, arrays: Arrays, provenance: Provenance) -> float:
        if self._staging is None:
            return self.reservoir.keep(arrays, provenance, SLICE)
        return self._staging.keep(name, Staged(arrays, provenance), SLICE)

    def _pass_turn(self, name: str) -> None:
        if self._staging is not None and name in self._learned_from:
            self._staging.pass_turn(name)

    def end_step(self, position: Position, name: StepName, time: float) -> None:
        with self._changed:
            position.end_step(name, time)

    def end(self, position: Position) -> None:
        with self._changed:
            position.state = "ended"
            self._one_less(position.name)

    def lose(self, position: Position, error: BaseException) -> None:
        with self._changed:
            position.state = "lost"
            if not isinstance(error, PeerLostError) or self._manner.on_lost != "continue":
                self._fail(error)
                return
            _log.warning("%s; learning goes on without", error)
            # A crash of all never looks like an end.
            if all(self._positions[name].state == "lost" for name in self._learned_from):
                self._fail(error)
            else:
                self._one_less(position.name)

    def _one_less(self, name: str) -> None:
        """A producer is through: perhaps it was the last."""
        if self._staging is not None and name in self._learned_from:
            self._staging.end(name)
        if self._are_through(self._learned_from):
            if self._staging is None:
                self.reservoir.close()
            if self._are_through(self._held_out_whole):
                self.held_out.end()
                self._say_what_never_came()
        elif self._are_through(self._held_out_whole) and not self._selection.needs_a_look:
            self.held_out.end()

    def _are_through(self, names: Sequence[str]) -> bool:
        return all(self._positions[name].state in ("ended", "lost") for name in names)

    def _fail(self, error: BaseException) -> None:
        for receiver in self._receivers.values():
            receiver.leave()
        self.held_out.end()
        if self._staging is None:
            self.reservoir.fail(error)
        else:
            self._staging.fail(error)

    def _say_what_never_came(self) -> None:
        if self._selection.needs_a_look and not self.held_out.received:
            names = ", ".join(sorted(self._selection.names)) or "what the predicate looks for"
            _log.warning("hold_out: no sample of %s came; all was learned from", names)

    def close(self) -> None:
        """Leave all streams, and wait until that is done."""
        self._end_receivers(Receiver.leave)

    def stop(self) -> None:
        """As :meth:`close`, and tell the producers that no more is wanted."""
        self._end_receivers(Receiver.stop)

    def _end_receivers(self, how: Callable[[Receiver], None]) -> None:
        with self._changed:
            was_closed, self._closed = self._closed, True
        if was_closed:
            return
        self._left = time.monotonic()
        for receiver in self._receivers.values():
            how(receiver)
        self.held_out.end()
        closed = TransportClosedError("the dataset is closed: make another to go on")
        if not self.reservoir.closed:
            self.reservoir.fail(closed)
        if self._staging is not None:
            self._staging.fail(closed)
        deadline = time.monotonic() + SECONDS_TO_LEAVE
        for receiver in self._running():
            receiver.join(max(deadline - time.monotonic(), 0.0))

    def _running(self) -> Iterator[Receiver]:
        for receiver in self._receivers.values():
            if receiver.is_alive() and receiver is not threading.current_thread():
                yield receiver

    def statistics(self) -> LearnStatistics:
        """What happened so far in this process."""
        with self._changed:
            now = self._left or time.monotonic()
            reservoir = self.reservoir.statistics()
            since_first = now - (self.reservoir.first_drawn or now)
            return LearnStatistics(
                now - (self._began or now),
                reservoir.seconds_warming_up,
                reservoir.seconds_starved,
                reservoir.seconds_starved / since_first if since_first > 0 else 0.0,
                reservoir,
                tuple(replace(position) for position in self._positions.values()),
                self.held_out.received,
            )

    def state_dict(self) -> dict[str, Any]:
        """Samples, chance, and how far each producer is, all of one moment."""
        with self._changed:
            return {
                "reservoir": self.reservoir.state_dict(),
                "held_out": self.held_out.state_dict(),
                "staging": None if self._staging is None else self._staging.state_dict(),
                "replay_ratio": self._manner.replay_ratio,
                "shares": self._of_stream,
                "positions": {name: p.to_json() for name, p in self._positions.items()},
            }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there. Before :meth:`start`.

        Raises
        ------
        ValueError
            If the state is of other streams, or of other settings.
        """
        saved = state["positions"]
        if set(saved) != set(self._positions):
            raise ValueError(
                f"the state is of the streams {', '.join(saved)}; this process receives "
                f"{', '.join(self._positions)}: resume with the same streams, ranks and workers"
            )
        for name, (rank, size) in self._of_stream.items():
            if list(state["shares"][name]) != [rank, size]:
                saved_rank, saved_size = state["shares"][name]
                raise ValueError(
                    f"the state is of reader {saved_rank} of the {saved_size} that share the "
                    f"stream {name}, and this is {rank} of {size}: give each rank a checkpoint of "
                    f"its own, and resume with as many ranks and workers"
                )
        if state["replay_ratio"] != self._manner.replay_ratio:
            raise ValueError(
                f"the state is of replay_ratio={state['replay_ratio']}, not "
                f"{self._manner.replay_ratio}: resume with the same"
            )
        with self._changed:
            self.reservoir.load_state_dict(state["reservoir"])
            self.held_out.load_state_dict(state["held_out"])
            if self._staging is not None:
                self._staging.load_state_dict(state["staging"])
            for name, position in self._positions.items():
                position.restore(saved[name])
