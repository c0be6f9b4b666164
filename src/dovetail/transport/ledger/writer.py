"""A writer rank of a stream over a ledger."""

from __future__ import annotations

import math
import os
import secrets
import time
from collections.abc import Callable
from typing import Any, Literal

from dovetail.data.dtypes import dtype_of
from dovetail.data.layout import Piece
from dovetail.errors import (
    DovetailError,
    PeerLostError,
    StoreFullError,
    StreamBusyError,
    StreamStoppedError,
    TransportClosedError,
    TransportTimeoutError,
    UnsupportedDataError,
)
from dovetail.quantities import in_bytes
from dovetail.transport.contract import Participant
from dovetail.transport.deadlines import Deadline
from dovetail.transport.ends import Counters
from dovetail.transport.ledger.entries import Closed, Ended, Expelled, Opened
from dovetail.transport.ledger.medium import Medium
from dovetail.transport.ledger.replica import LOOK, Replica, StreamGoneError
from dovetail.transport.ledger.small import spelled
from dovetail.transport.ledger.state import Epoch, Group
from dovetail.transport.policies import Policy, PolicyKind
from dovetail.transport.rooms import Rooms

STEP = "dovetail.step"
"""Metadata of a block: which step of which epoch it was filled for."""


def new_id() -> str:
    """A participant's id."""
    return secrets.token_hex(6)


class LedgerWriter:
    """The core of a stream's writing end: :class:`~dovetail.transport.ends.WriterCore`."""

    def __init__(
        self, medium: Medium, policy: Policy, capacity: int, participant: Participant
    ) -> None:
        self._medium = medium
        self._label = medium.label
        self._rank, self._size = participant.rank, participant.size
        self._timeout = participant.timeout
        self._process = os.getpid()
        self._who = new_id()
        self._lifeline = medium.lifeline(self._who)
        self._closed = False
        self._next = 0
        self._pieces: dict[str, Piece] | None = None
        self._rooms = Rooms()
        self._slots: dict[int, int] = {}
        """Slots of steps of ours that the log has not confirmed yet."""
        self._steps = self._bytes = 0
        self._waited = 0.0
        try:
            self._replica = Replica(medium, self._who)
            self._epoch = self._open(Opened(
                self._who, self._rank, self._size, policy, capacity
            ))  # fmt: skip
        except BaseException:
            self._lifeline.close()
            raise
        if self._rank == 0:
            self._replica.remove_old_blocks()

    # --- opening ----------------------------------------------------------------------------

    def _open(self, entry: Opened) -> Epoch:
        deadline = Deadline(self._timeout)
        while True:
            try:
                epoch = self._try_to_open(entry)
                if epoch is not None:
                    return epoch
                if deadline.passed:
                    raise TransportTimeoutError(
                        f"rank 0 has not opened the stream {self._label} for writing within "
                        f"{deadline}"
                    )
                self._replica.listen(min(deadline.left(), LOOK))
            except StreamGoneError:  # an earlier stream of this name: begin with a new one
                if self._replica.state.removed:
                    self._replica.remove()
                self._replica.load()

    def _try_to_open(self, entry: Opened) -> Epoch | None:
        replica = self._replica
        if replica.state.removed:
            raise StreamGoneError(self._label)
        replica.bury()
        if self._rank and not self._can_follow(entry):
            return None
        replica.say(entry)
        found = replica.state.writer(self._who)
        if found is not None:
            return found[0]
        if self._rank == 0:
            if replica.state.removed:
                raise StreamGoneError(self._label)
            raise self._refused(replica.state.refusals.get(self._who, "busy"))
        return None

    def _can_follow(self, entry: Opened) -> bool:
        """Whether rank 0 has opened an epoch that waits for this rank."""
        epoch = self._replica.state.epoch
        if epoch is None:
            return False
        if epoch.state() != "open":
            leader = epoch.writers.get(0)
            if leader is not None and leader.closing == "open":
                raise PeerLostError(
                    f"another rank of the writer of {self._label} has failed before this one had "
                    f"opened the stream"
                )
            return False
        if epoch.size != entry.size:
            raise StreamBusyError(
                f"the stream {self._label} was opened for {epoch.size} writer ranks; rank "
                f"{entry.rank} says there are {entry.size}"
            )
        if entry.rank in epoch.writers:
            raise StreamBusyError(f"rank {entry.rank} of the stream {self._label} is already open")
        return True

    def _refused(self, reason: str) -> DovetailError:
        if reason == "busy":
            return StreamBusyError(
                f"the stream {self._label} already has a writer: close it first, or give each "
                f"writer a stream of its own, or open as ranks of one (rank=, size=)"
            )
        return StreamBusyError(
            f"the stream {self._label} still holds steps of an earlier writer that no reader has "
            f"taken: read them, or remove them (dovetail stream rm {self._label})"
        )

    # --- what it is -------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        return self._epoch.number

    @property
    def policy(self) -> tuple[PolicyKind, int]:
        return self._epoch.policy.kind, self._epoch.policy.window

    @property
    def stopped(self) -> bool:
        self._require_usable()
        self._replica.sync()
        return self._now().stop

    def statistics(self) -> Counters:
        return self._steps, self._bytes, self._waited, 0, 0

    def _now(self) -> Epoch:
        """The epoch, as far as its log was read."""
        epoch = self._replica.state.epochs.get(self._epoch.number)
        if epoch is None or self._replica.state.removed:
            raise PeerLostError(f"the stream {self._label} was removed while it was written")
        self._epoch = epoch
        return epoch

    def _require_usable(self) -> None:
        if self._process != os.getpid():
            raise TransportClosedError(
                f"the stream {self._label} was opened before this process was forked: it is its "
                f"parent's. Open streams after the fork"
            )
        if self._closed:
            raise TransportClosedError(f"the stream {self._label} is closed")

    # --- a step -----------------------------------------------------------------------------

    def begin(self) -> int:
        self._require_usable()
        if self._pieces is not None:
            raise TransportClosedError(
                "the step before is not ended: end it before the next begins"
            )
        self._replica.keep_up()
        step = self._next
        window = self._now().policy.window
        self._wait_for_readers(
            "begin", step, max(0, step + 1 - window), lambda epoch: self._admits(epoch, step)
        )
        self._refuse_if_stopped()
        if self._rank == 0:
            self._replica.seal_if_long()
        self._pieces = {}
        return step

    @staticmethod
    def _admits(epoch: Epoch, step: int) -> bool:
        if epoch.policy.kind == "latest":
            return True
        if epoch.policy.kind == "work_queue":
            return epoch.unfinished(step) < epoch.policy.window
        return step < epoch.oldest + epoch.policy.window

    def _refuse_if_stopped(self) -> None:
        if self._now().stop:
            raise StreamStoppedError(
                f"a reader of {self._label} called stop(): end the work (test `stopped` to end it "
                f"without this error)"
            )

    def put(self, name: str, code: str, shape: tuple[int, ...], data: Any) -> None:
        copy = self._rooms.take(data.nbytes).view(data.dtype).reshape(data.shape)
        copy[...] = data
        self._add(Piece(name, code, shape, copy))

    def empty(self, name: str, code: str, shape: tuple[int, ...]) -> tuple[Any, int, int]:
        dtype = dtype_of(code)
        room = self._rooms.take(math.prod(shape) * dtype.itemsize)
        self._add(Piece(name, code, shape, room))
        return room, 0, room.nbytes

    def _add(self, piece: Piece) -> None:
        self._require_usable()
        if self._pieces is None:
            raise TransportClosedError(
                f"this step of {self._label} has ended: begin another one with step()"
            )
        if piece.name in self._pieces:
            raise UnsupportedDataError(
                f"{piece.name!r} is already in this step: put each name once a rank, or give the "
                f"second another name"
            )
        capacity = self._epoch.capacity
        nbytes = piece.buffer.nbytes + sum(one.buffer.nbytes for one in self._pieces.values())
        if capacity and nbytes > capacity:
            raise StoreFullError(
                f"the stream {self._label} has no room for a block of {in_bytes(nbytes)}: its "
                f"capacity is {in_bytes(capacity)}. Open it with another ?capacity="
            )
        self._pieces[piece.name] = piece

    def end(self, metadata: dict[str, str], written_to: bool) -> None:
        self._require_usable()
        if self._pieces is None:
            raise TransportClosedError(
                f"this step of {self._label} has ended: begin another one with step()"
            )
        pieces, self._pieces = list(self._pieces.values()), None
        if written_to:
            pieces = [piece._replace(buffer=piece.buffer.copy(order="A")) for piece in pieces]
        step = self._next
        nbytes = sum(piece.buffer.nbytes for piece in pieces)
        self._wait_for_room(nbytes)
        metadata = {**metadata, STEP: f"{self._epoch.number}.{step}"}
        if nbytes <= self._medium.small_block:
            self._publish_small(step, nbytes, pieces, metadata)
        else:
            self._publish(step, nbytes, pieces, metadata)
        self._next = step + 1
        self._steps += 1
        self._bytes += nbytes
        if self._epoch.policy.kind == "lockstep":
            self._wait_for_readers("end", step, step + 1, lambda epoch: epoch.oldest > step)

    def _publish(
        self, step: int, nbytes: int, pieces: list[Piece], metadata: dict[str, str]
    ) -> None:
        slot = self._free_slot()
        name = block_name(self._epoch.number, self._rank, slot)
        self._replica.publish(name, pieces, metadata, self._ended(step, slot, nbytes))
        self._slots[step] = slot

    def _publish_small(
        self, step: int, nbytes: int, pieces: list[Piece], metadata: dict[str, str]
    ) -> None:
        self._replica.append(self._ended(step, 0, nbytes, spelled(pieces, metadata)))

    def _ended(self, step: int, slot: int, nbytes: int, block: str = "") -> Ended:
        return Ended(self._who, step, slot, nbytes, time.time_ns() // 1000, block)

    def abandon(self) -> None:
        self._pieces = None

    def _free_slot(self) -> int:
        """The first slot of this rank that holds no step that may be needed."""
        epoch = self._now()
        confirmed = epoch.writers[self._rank].ended
        self._slots = {step: slot for step, slot in self._slots.items() if step >= confirmed}
        taken = set(self._slots.values())
        held = [parts[self._rank] for parts in epoch.steps.values() if self._rank in parts]
        taken |= {part.slot for part in held if not part.block}
        slot = 0
        while slot in taken:
            slot += 1
        return slot

    def _wait_for_room(self, nbytes: int) -> None:
        """Until blocks that readers still need leave room for another."""
        capacity = self._epoch.capacity
        if not capacity:
            return
        started = time.perf_counter()
        found = self._replica.wait_until(
            lambda: self._now().bytes_held() + nbytes <= capacity or None, Deadline(self._timeout)
        )
        self._waited += time.perf_counter() - started
        if found is None:
            raise StoreFullError(
                f"the stream {self._label} has no room for a block of {in_bytes(nbytes)}: "
                f"{in_bytes(self._now().bytes_held())} of its capacity of "
                f"{in_bytes(capacity)} wait for readers. Open it with another ?capacity="
            )

    # --- waiting for readers ----------------------------------------------------------------

    def _wait_for_readers(
        self, purpose: str, step: int, needed: int, ready: Callable[[Epoch], bool]
    ) -> None:
        if ready(self._now()):
            return
        started = time.perf_counter()
        try:
            outcome = _Patience(self._replica, self._timeout, needed).wait(
                lambda: self._may_go_on(ready)
            )
        finally:
            self._waited += time.perf_counter() - started
        if outcome is None:
            return
        text = (
            f"could not {purpose} step {step} of {self._label} within "
            f"{Deadline(self._timeout)}: {outcome[1]}"
        )
        raise PeerLostError(text) if outcome[0] == "lost" else TransportTimeoutError(text)

    def _may_go_on(self, ready: Callable[[Epoch], bool]) -> Epoch | None:
        """The epoch while the wait goes on; None when it is over."""
        epoch = self._now()
        if ready(epoch) or epoch.stop:
            return None
        leader = epoch.writers.get(0)
        led = leader is None or leader.closing == "open"
        if self._size > 1 and (not led or epoch.state() != "open"):
            raise PeerLostError(f"another rank of the writer of {self._label} has left or died")
        return epoch

    # --- leaving ----------------------------------------------------------------------------

    def close(self, failed: bool) -> None:
        if self._closed:
            return
        self._closed = True
        self._pieces = None
        if self._process != os.getpid():
            return
        try:
            self._replica.say(Closed(self._who, failed))
            self._replica.bury()
            self._replica.remove_if_done()
        except (StreamGoneError, FileNotFoundError):
            pass  # it was removed: there is nobody left to be told
        finally:
            self._lifeline.close()
            self._medium.close()


def block_name(epoch: int, rank: int, slot: int) -> str:
    """The name of a block."""
    return f"{epoch}/{rank}/{slot}"


Outcome = tuple[Literal["lost", "timeout"], str]


class _Patience:
    """A writer's wait for readers: who holds it up for longer than its deadline is expelled."""

    def __init__(self, replica: Replica, timeout: float | None, needed: int) -> None:
        self._replica = replica
        self._timeout = math.inf if timeout is None else timeout
        self._needed = needed
        self._seen: dict[str, tuple[int, float]] = {}
        """Where each group was, and since when."""

    def wait(self, look: Callable[[], Epoch | None]) -> Outcome | None:
        """None once the wait is over; else why it is in vain."""
        stalled_since = time.monotonic()
        complete = -1
        while (epoch := look()) is not None:
            now = time.monotonic()
            if self._waited_for(epoch, now) or epoch.complete() != complete:
                stalled_since = now
            complete = epoch.complete()
            left = self._timeout - (now - stalled_since)
            if left <= 0:
                if look() is None:
                    return None
                return self._in_vain(epoch)
            self._replica.listen(min(left, self._next_deadline(now), LOOK))
            self._replica.look_around()
        return None

    def _waited_for(self, epoch: Epoch, now: float) -> bool:
        """Whether some group owes something; those that have owed it too long are expelled."""
        waited_for = False
        for group in list(epoch.live_groups()):
            owes = self._owes(epoch, group)
            waited_for = waited_for or owes
            progress, since = self._seen.get(group.id, (-1, now))
            if progress != group.progress or not owes:
                self._seen[group.id] = (group.progress, now)
            elif now - since >= self._timeout:
                self._replica.say(Expelled(group.id, group.progress))
        return waited_for

    def _owes(self, epoch: Epoch, group: Group) -> bool:
        if epoch.policy.kind == "work_queue":
            return group.ended() < group.taken or epoch.claimable() is not None
        return epoch.cursor(group) < min(self._needed, epoch.complete())

    def _next_deadline(self, now: float) -> float:
        """Seconds until somebody may have to be expelled."""
        waits = [self._timeout - (now - since) for _, since in self._seen.values()]
        return max(0.001, min(waits, default=math.inf))

    @staticmethod
    def _in_vain(epoch: Epoch) -> Outcome:
        if any(epoch.live_groups()):
            return "timeout", "the other writer ranks have not ended the step before"
        if any(group.state in ("lost", "failed") for group in epoch.groups.values()):
            return "lost", "its reader died or left by an exception, and no other came"
        return (
            "timeout",
            "no reader was there, and the policy holds the producer until one has read",
        )
