"""A reader rank of a stream over a ledger, and those who look on."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import TypeVar

from dovetail.errors import (
    CorruptDataError,
    KeyNotFoundError,
    PeerLostError,
    ReaderExpelledError,
    StreamBusyError,
    TransportClosedError,
    TransportTimeoutError,
)
from dovetail.transport.contract import GroupDescription, Participant, StreamDescription
from dovetail.transport.deadlines import FOR_EVER, Deadline
from dovetail.transport.ends import Counters, TakenStep
from dovetail.transport.ledger.entries import Done, Joined, Left, Picked, Removed, Stopped, spelled
from dovetail.transport.ledger.medium import Block, Medium
from dovetail.transport.ledger.replica import LOOK, MOST_LOGS, Replica, StreamGoneError
from dovetail.transport.ledger.small import read_spelled
from dovetail.transport.ledger.state import Contribution, Epoch, EpochState, Group
from dovetail.transport.ledger.writer import STEP, block_name, new_id
from dovetail.transport.policies import PolicyKind


class LedgerReader:
    """The core of a stream's reading end: :class:`~dovetail.transport.ends.ReaderCore`.

    Parameters
    ----------
    group
        The id of the group to follow, as rank 0 has told the other ranks; else ``None``, and
        the participant's group name says which it is.
    """

    def __init__(self, medium: Medium, participant: Participant, group: str | None) -> None:
        self._medium = medium
        self._label = medium.label
        self._rank = participant.rank
        self._timeout = participant.timeout
        self._process = os.getpid()
        self._who = new_id()
        self._entry = Joined(
            self._who,
            participant.rank,
            participant.size,
            spelled(participant.group or "") if group is None else f"-{group}",
        )
        self._closed = self._finished = False
        self._taken = 0
        """Deliveries that this rank got."""
        self._last = -1
        """The step that it got last."""
        self._in_step = False
        self._steps = self._bytes = self._dropped = self._redelivered = 0
        self._waited = 0.0
        self._lifeline = medium.lifeline(self._who)
        try:
            self._replica = Replica(medium, self._who)
            self._epoch, self._group = self._join()
        except BaseException:
            self._lifeline.close()
            raise
        if self._epoch.policy.kind == "latest":
            self._last = self._group.start - 1

    # --- joining ----------------------------------------------------------------------------

    def _join(self) -> tuple[Epoch, Group]:
        deadline = Deadline(self._timeout)
        while True:
            try:
                found = self._try_to_join()
                if found is not None:
                    return found
                if deadline.passed:
                    raise self._nobody(deadline)
                self._replica.listen(min(deadline.left(), LOOK))
            except StreamGoneError:  # an earlier stream of this name
                if self._replica.state.removed:
                    self._replica.remove()
                self._replica.load()

    def _try_to_join(self) -> tuple[Epoch, Group] | None:
        replica = self._replica
        if replica.state.removed:
            raise StreamGoneError(self._label)
        epoch = replica.state.epoch
        if epoch is None or not epoch.joinable():
            return None
        replica.bury()
        if self._rank and self._taken_already(epoch):
            raise StreamBusyError(
                f"rank {self._rank} of the reader group of {self._label} is already there"
            )
        replica.say(self._entry)
        found = replica.state.reader(self._who)
        return None if found is None else found[:2]

    def _taken_already(self, epoch: Epoch) -> bool:
        group = epoch.followed(self._entry)
        return group is not None and self._rank in group.ranks

    def _nobody(self, deadline: Deadline) -> TransportTimeoutError:
        who = (
            "rank 0 of this reader group has not joined the stream"
            if self._rank
            else "no writer has opened the stream"
        )
        return TransportTimeoutError(
            f"{who} {self._label} within {deadline}: start it, check that both use this URL, or "
            f"give open_stream() a longer timeout"
        )

    # --- what it is -------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        return self._epoch.number

    @property
    def group_entry(self) -> str:
        """The id of its group, for its other ranks."""
        return self._group.id

    @property
    def policy(self) -> tuple[PolicyKind, int]:
        return self._epoch.policy.kind, self._epoch.policy.window

    def statistics(self) -> Counters:
        return self._steps, self._bytes, self._waited, self._dropped, self._redelivered

    def _require_usable(self) -> None:
        if self._process != os.getpid():
            raise TransportClosedError(
                f"the stream {self._label} was opened before this process was forked: it is its "
                f"parent's. Open streams after the fork"
            )
        if self._closed:
            raise TransportClosedError(f"the stream {self._label} is closed")

    def _now(self) -> tuple[Epoch, Group]:
        """The epoch and the group, as far as the log was read; raises if it is out."""
        found = self._replica.state.reader(self._who)
        if found is None or self._replica.state.removed:
            raise PeerLostError(f"the stream {self._label} was removed while it was read")
        self._epoch, self._group, _ = found
        if self._group.state == "expelled":
            raise ReaderExpelledError(
                f"this reader of {self._label} held the producer up for longer than the "
                f"producer's deadline and was expelled. What it has in hand stays valid; open the "
                f"stream again to go on, or give the producer a longer timeout"
            )
        if self._group.state != "live":
            raise PeerLostError(
                f"another rank of this reader group of {self._label} has left or died"
            )
        return self._epoch, self._group

    # --- steps ------------------------------------------------------------------------------

    def next(self, timeout: float) -> TakenStep | None:
        self._require_usable()
        if self._finished:
            return None
        self.end()
        deadline = Deadline(None if timeout == FOR_EVER else timeout)
        while True:
            step = self._next_step(deadline)
            if step is None:
                self._finished = True
                return None
            taken = self._open_blocks(step)
            if taken is not None:
                return self._deliver(step, taken)
            self._replica.sync()  # it was given up: this reader is out, or the stream is gone
            self._now()
            if self._replica.state.epoch is not self._epoch or deadline.passed:
                raise CorruptDataError(
                    f"step {step} of {self._label} is not in its blocks: was the stream tampered "
                    f"with?"
                )

    def _next_step(self, deadline: Deadline) -> int | None:
        """The step to deliver next; None at the end."""
        self._now()
        started = time.perf_counter()
        try:
            found = self._replica.wait_until(self._look, deadline)
        finally:
            self._waited += time.perf_counter() - started
        if found is None:
            raise TransportTimeoutError(
                f"no new step of {self._label} within {deadline}; its producer is alive. Wait "
                f"again, or give open_stream() a longer timeout"
            )
        return found if found >= 0 else None

    def _look(self) -> int | None:
        """The next step; -1 at the end; None to go on waiting."""
        epoch, group = self._now()
        step = self._choose(epoch, group)
        if step is not None:
            return step
        state = epoch.state()
        # While another group holds a step of a work queue, it may die: the step is dealt again.
        dealing = epoch.policy.kind == "work_queue" and epoch.unfinished(epoch.complete()) > 0
        undecided = self._rank > 0 and self._wanted(epoch, group) is not None
        if state in ("failed", "lost") and not undecided:
            raise self._lost(state)
        if state == "ended" and not dealing and not undecided:
            return -1
        if self._rank and group.ranks[0].gone:
            raise PeerLostError(f"rank 0 of this reader group of {self._label} has left")
        return None

    def _choose(self, epoch: Epoch, group: Group) -> int | None:
        if epoch.policy.kind in ("lockstep", "buffered"):
            step = group.start + self._taken
            return step if step < epoch.complete() else None
        chosen = group.pick(self._taken)
        if chosen is not None or self._rank:
            return chosen
        wanted = self._wanted(epoch, group)
        if wanted is None:
            return None
        self._replica.say(Picked(self._who, wanted))
        _, group = self._now()
        chosen = group.pick(self._taken)
        return self._choose(*self._now()) if chosen is None else chosen

    @staticmethod
    def _wanted(epoch: Epoch, group: Group) -> int | None:
        """The step that rank 0 takes next for its group (latest, work_queue)."""
        if epoch.policy.kind == "latest":
            newest = epoch.complete() - 1
            return newest if newest > group.last_pick() else None
        return epoch.claimable() if epoch.policy.kind == "work_queue" else None

    def _lost(self, state: EpochState) -> PeerLostError:
        how = (
            "died without ending the stream"
            if state == "lost"
            else "left by an exception, or its ranks ended different numbers of steps"
        )
        last = "none" if self._last < 0 else str(self._last)
        return PeerLostError(
            f"the producer of {self._label} {how}; every complete step was delivered (the last "
            f"was {last})"
        )

    def _open_blocks(self, step: int) -> TakenStep | None:
        return open_blocks(self._medium, self._epoch, step)

    def _deliver(self, step: int, taken: TakenStep) -> TakenStep:
        if self._epoch.policy.kind == "latest":
            self._dropped += step - self._last - 1
        if step in self._group.redelivered:
            self._redelivered += 1
        self._last = step
        self._taken += 1
        self._in_step = True
        self._bytes += sum(entry[4] for _, header in taken[2] for entry in header[1])
        return taken

    def end(self) -> None:
        if not self._in_step or self._closed or self._process != os.getpid():
            return
        self._in_step = False
        self._steps += 1
        self._replica.append(Done(self._who, self._taken))

    # --- leaving ----------------------------------------------------------------------------

    def stop(self) -> None:
        self._require_usable()
        self._replica.say(Stopped(self._who))
        self.close(failed=False)

    def close(self, failed: bool) -> None:
        if self._closed:
            return
        self._closed = True
        if self._process != os.getpid():
            return
        try:
            self._replica.say(Left(self._who, failed))
            if self._epoch.number not in self._replica.state.epochs:
                self._replica.remove_old_blocks()
            self._replica.bury()
            self._replica.remove_if_done()
        except (StreamGoneError, FileNotFoundError):
            pass  # it was removed: there is nobody left to be told
        finally:
            self._lifeline.close()
            self._medium.close()


def open_blocks(medium: Medium, epoch: Epoch, step: int) -> TakenStep | None:
    """A step from the blocks of all its writer ranks; None if they hold another one by now."""
    parts = epoch.steps.get(step)
    if parts is None:
        return None
    blocks: list[Block] = []
    for rank in range(epoch.size):
        block = _block_of(medium, epoch, rank, parts[rank])
        if block is None or block.header[2].get(STEP) != f"{epoch.number}.{step}":
            return None
        blocks.append(block)
    newest = max(part.time_us for part in parts.values())
    return step, newest * 1e-6, [(block.memory, block.header) for block in blocks]


def _block_of(medium: Medium, epoch: Epoch, rank: int, part: Contribution) -> Block | None:
    if part.block:
        return read_spelled(part.block, f"a step of {medium.label}")
    return medium.get_block(block_name(epoch.number, rank, part.slot))


class LedgerOnlooker:
    """Sees the newest steps without taking part: takes nothing, says nothing."""

    def __init__(self, medium: Medium) -> None:
        self._medium = medium
        self._replica = Replica(medium, "")
        self._seen = 0

    def next(self, timeout: float) -> TakenStep | None:
        deadline = Deadline(None if timeout == FOR_EVER else timeout)
        while True:
            self._follow()
            epoch = self._replica.state.epoch
            if epoch is not None:
                complete = epoch.complete()
                taken = (
                    open_blocks(self._medium, epoch, complete - 1)
                    if complete > self._seen
                    else None
                )
                if taken is not None:
                    self._seen = complete
                    return taken
                state = _state_of(self._replica)
                if state == "ended" and complete <= self._seen:
                    return None
                if state in ("failed", "lost") and complete <= self._seen:
                    raise PeerLostError(
                        f"the producer of {self._medium.label} died or left by an exception"
                    )
            if deadline.passed:
                raise TransportTimeoutError(
                    f"no new step of {self._medium.label} within {deadline}"
                )
            self._listen(min(deadline.left(), LOOK))

    def _follow(self) -> None:
        try:
            self._replica.sync()
        except StreamGoneError:
            self._replica.load()

    def _listen(self, timeout: float) -> None:
        before = self._replica.state.epoch
        try:
            self._replica.listen(timeout)
        except StreamGoneError:
            if before is not None and before.state() == "ended":
                self._seen = before.complete()
            self._replica.load()


def _state_of(replica: Replica) -> EpochState:
    """How the producer of the newest epoch is, looked for without saying it."""
    dead = replica.dead()
    epoch = replica.state.epoch
    if epoch is None:
        return "lost"
    state = epoch.state()
    if state == "open" and any(
        writer.id in dead for writer in epoch.writers.values() if writer.closing == "open"
    ):
        return "lost"
    return state


T = TypeVar("T")


def _from_outside(medium: Medium, look: Callable[[Replica], T]) -> T:
    """What is seen, or done, by one for whom nobody keeps a log that is over."""
    for _ in range(MOST_LOGS):
        with contextlib.suppress(StreamGoneError):
            return look(Replica(medium, ""))
    return look(Replica(medium, ""))


def describe(medium: Medium, url: str) -> StreamDescription:
    """A stream seen from outside.

    Raises
    ------
    KeyNotFoundError
        If there is none.
    """
    return _from_outside(medium, lambda replica: _described(replica, medium, url))


def _described(replica: Replica, medium: Medium, url: str) -> StreamDescription:
    epoch = replica.state.epoch
    if epoch is None or replica.state.removed:
        raise KeyNotFoundError(
            f"there is no stream {medium.label}: no writer has opened it, or it ended and was read"
        )
    dead = replica.dead()
    groups = tuple(
        GroupDescription(
            group.name or group.id,
            group.size,
            "lost" if any(rank.id in dead for rank in group.ranks.values()) else group.state,
            group.ended(),
        )
        for group in epoch.groups.values()
        if group.state != "failed"
    )
    return StreamDescription(
        url=url,
        policy=epoch.policy,
        state=_state_of(replica),
        epoch=epoch.number,
        ranks=epoch.size,
        steps_complete=epoch.complete(),
        steps_held=epoch.steps_held(),
        bytes_held=epoch.bytes_held(),
        capacity=epoch.capacity or medium.capacity(),
        groups=groups,
    )


def destroy(medium: Medium) -> None:
    """Remove a stream with everything it holds.

    Raises
    ------
    KeyNotFoundError
        If there is none.
    """
    _from_outside(medium, lambda replica: _destroyed(replica, medium))


def _destroyed(replica: Replica, medium: Medium) -> None:
    if replica.state.epoch is None and not replica.state.removed:
        medium.remove()
        raise KeyNotFoundError(f"there is no stream {medium.label}")
    replica.say(Removed("-", forced=True))
    replica.remove()
