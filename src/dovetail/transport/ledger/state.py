"""The state of a stream, as everybody computes it who reads its log.

Nothing here knows of time, of stores or of processes: the same entries in the same order make the
same state everywhere. An entry that has become void meanwhile (a step that another group took, a
second writer) changes nothing; who wrote it sees that in the state.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from dovetail.transport.ledger.entries import (
    Closed,
    Continued,
    Dead,
    Done,
    Ended,
    Entry,
    Expelled,
    Joined,
    Left,
    Opened,
    Picked,
    Removed,
    Stopped,
    read_name,
)
from dovetail.transport.policies import Policy

Closing = Literal["open", "cleanly", "failed", "lost"]
GroupState = Literal["live", "left", "failed", "expelled", "lost"]
EpochState = Literal["open", "ended", "failed", "lost"]
MOST_REFUSALS = 64


@dataclass(slots=True)
class Contribution:
    """What one writer rank put into one step."""

    slot: int
    nbytes: int
    time_us: int
    block: str = ""
    """The block itself, if it came with its entry; then there is none in the slot."""


@dataclass(slots=True)
class WriterRank:
    """One rank of the producer."""

    id: str
    ended: int = 0
    """Steps that it has ended."""
    closing: Closing = "open"


@dataclass(slots=True)
class ReaderRank:
    """One rank of a reader group."""

    id: str
    ended: int = 0
    """Deliveries that it has ended."""
    gone: bool = False


@dataclass(slots=True)
class Group:
    """A reader group."""

    id: str
    name: str
    size: int
    start: int
    """The first step that it gets (lockstep, buffered); none before counts as dropped (latest)."""
    state: GroupState = "live"
    ranks: dict[int, ReaderRank] = field(default_factory=dict)
    picks: list[int] = field(default_factory=list)
    """Steps that it took, the oldest forgotten (latest, work_queue)."""
    forgotten: int = 0
    """How many picks were forgotten."""
    redelivered: set[int] = field(default_factory=set)
    """Those of its steps that another group had before."""

    @property
    def taken(self) -> int:
        """Steps that it ever took (latest, work_queue)."""
        return self.forgotten + len(self.picks)

    def ended(self) -> int:
        """Deliveries that every rank of those still there has ended."""
        least: int | None = None
        for number in range(self.size):
            rank = self.ranks.get(number)
            if rank is None:
                return 0
            if not rank.gone:
                least = rank.ended if least is None else min(least, rank.ended)
        return self.taken if least is None else least

    @property
    def progress(self) -> int:
        """Grows whenever the group takes or ends a step."""
        return self.taken + sum(rank.ended for rank in self.ranks.values())

    def pick(self, delivery: int) -> int | None:
        """The step of a delivery, if it was chosen yet."""
        place = delivery - self.forgotten
        return self.picks[place] if 0 <= place < len(self.picks) else None

    def last_pick(self) -> int:
        """The step that it took last; before the first, the one before its start."""
        return self.picks[-1] if self.picks else self.start - 1

    def forget(self) -> None:
        """Drop picks that every rank has ended, all but the last."""
        spare = min(self.ended() - self.forgotten, len(self.picks) - 1)
        if spare > 0:
            del self.picks[:spare]
            self.forgotten += spare


class Epoch:
    """One session of a producer, and those who read it."""

    def __init__(self, number: int, policy: Policy, size: int, capacity: int) -> None:
        self.number = number
        self.policy = policy
        self.size = size
        self.capacity = capacity
        """Bytes of blocks held; 0: as many as fit."""
        self.writers: dict[int, WriterRank] = {}
        self.groups: dict[str, Group] = {}
        self.steps: dict[int, dict[int, Contribution]] = {}
        """What lies in slots, by step and rank, while it may be needed."""
        self.oldest = 0
        """No new reader starts before this step."""
        self.owners: dict[int, str] = {}
        """Which group has a step in hand (work_queue)."""
        self.done: set[int] = set()
        """Steps from `oldest` on that are done with (work_queue)."""
        self.stop = False
        self.heard = False
        """Some reader has been here and left."""

    # --- what it looks like -----------------------------------------------------------------

    def complete(self) -> int:
        """Steps that every writer rank has ended."""
        if len(self.writers) < self.size:
            return 0
        return min(writer.ended for writer in self.writers.values())

    def state(self) -> EpochState:
        """How the producer is, as far as it was said."""
        closings = {writer.closing for writer in self.writers.values()}
        if "failed" in closings:
            return "failed"
        if "lost" in closings:
            return "lost"
        if "open" in closings or len(self.writers) < self.size:
            return "open"
        even = len({writer.ended for writer in self.writers.values()}) == 1
        return "ended" if even else "failed"

    def live_groups(self) -> Iterator[Group]:
        """Groups that take part."""
        return (group for group in self.groups.values() if group.state == "live")

    def cursor(self, group: Group) -> int:
        """The first step that a group has not ended (not under work_queue)."""
        ended = group.ended()
        if self.policy.kind != "latest":
            return group.start + ended
        step = group.pick(ended - 1) if ended else None
        return group.start if step is None else step + 1

    def floor(self) -> int:
        """No live reader has yet to end a step before this one (not under work_queue)."""
        lowest = min((self.cursor(group) for group in self.live_groups()), default=None)
        return self.oldest if lowest is None else max(self.oldest, lowest)

    def needed(self, step: int) -> bool:
        """Whether some reader may still take this step."""
        if self.policy.kind == "work_queue":
            return step >= self.oldest and step not in self.done
        if self.policy.kind == "latest":
            return step + 1 >= self.complete() or any(
                step in group.picks[max(0, group.ended() - group.forgotten) :]
                for group in self.live_groups()
            )
        return step >= self.oldest

    def steps_held(self) -> int:
        """Complete steps that some reader may still get."""
        complete = self.complete()
        if self.policy.kind == "work_queue":
            return self.unfinished(complete)
        if self.policy.kind == "latest":
            return int(complete > self.oldest)
        return max(0, complete - self.oldest)

    def bytes_held(self) -> int:
        """Bytes of the blocks of steps that may still be needed."""
        return sum(part.nbytes for parts in self.steps.values() for part in parts.values())

    def holds_for_readers(self) -> bool:
        """Whether steps are held that somebody may still want."""
        return not self.stop and self.steps_held() > 0

    def joinable(self) -> bool:
        """Whether a reader can still learn something: its end is held, too, until one has."""
        state = self.state()
        if state == "open" or not self.heard:
            return True
        return state == "ended" and self.holds_for_readers()

    def followed(self, entry: Joined) -> Group | None:
        """The group that another rank than the first would join."""
        for group in self.live_groups():
            if group.size != entry.size:
                continue
            if entry.group == f"-{group.id}" or read_name(entry.group) == group.name:
                return group
        return None

    # --- work_queue -------------------------------------------------------------------------

    def unfinished(self, before: int) -> int:
        """Steps before this one that are not done with."""
        return max(0, before - self.oldest - sum(step < before for step in self.done))

    def claimable(self) -> int | None:
        """The first complete step that no live group has in hand."""
        for step in range(self.oldest, self.complete()):
            if step not in self.done and not self._owned(step):
                return step
        return None

    def _owned(self, step: int) -> bool:
        owner = self.groups.get(self.owners.get(step, ""))
        return owner is not None and owner.state == "live"

    # --- what becomes of it -----------------------------------------------------------------

    def settle(self) -> None:
        """Release what nobody needs any more."""
        if self.policy.kind == "work_queue":
            while self.oldest in self.done:
                self.done.remove(self.oldest)
                self.oldest += 1
        else:
            self.oldest = self.floor()
        for step in [step for step in self.steps if not self.needed(step)]:
            del self.steps[step]

    def end(self, rank: int, entry: Ended) -> None:
        """A writer rank has ended a step."""
        writer = self.writers[rank]
        if writer.closing != "open" or entry.step != writer.ended:
            return
        writer.ended += 1
        parts = self.steps.setdefault(entry.step, {})
        parts[rank] = Contribution(entry.slot, entry.nbytes, entry.time_us, entry.block)

    def pick(self, group: Group, step: int) -> None:
        """A group takes a step, if it still can."""
        if group.state != "live":
            return
        if self.policy.kind == "latest":
            if step != self.complete() - 1 or step <= group.last_pick():
                return
        elif step != self.claimable():
            return
        else:
            if step in self.owners:
                group.redelivered.add(step)
            self.owners[step] = group.id
        group.picks.append(step)

    def finish(self, group: Group, rank: int, count: int) -> None:
        """A reader rank has ended so many deliveries."""
        before = group.ended()
        reader = group.ranks[rank]
        reader.ended = max(reader.ended, count)
        if self.policy.kind != "work_queue":
            return
        for delivery in range(before, group.ended()):
            step = group.pick(delivery)
            if step is not None and self.owners.get(step) == group.id:
                self.done.add(step)
                del self.owners[step]
                group.redelivered.discard(step)

    def leave(self, group: Group, rank: int, failed: bool) -> None:
        """A reader rank has left."""
        self.heard = True
        group.ranks[rank].gone = True
        last = all(reader.gone for reader in group.ranks.values())
        if (failed or last) and group.state in ("live", "expelled"):
            group.state = "failed" if failed else "left"


class State:
    """All that was said so far."""

    def __init__(self) -> None:
        self.epochs: dict[int, Epoch] = {}
        """The newest, and older ones that somebody still reads."""
        self.newest = 0
        self.refusals: dict[str, str] = {}
        """Why a writer could not open: ``busy`` or ``unread``."""
        self.continued: set[str] = set()
        """Who has gone on to the present log."""
        self.removed = False

    @property
    def epoch(self) -> Epoch | None:
        """The newest epoch."""
        return self.epochs.get(self.newest)

    def writer(self, who: str) -> tuple[Epoch, int] | None:
        """The epoch and the rank of a writer."""
        for epoch in reversed(self.epochs.values()):
            for rank, writer in epoch.writers.items():
                if writer.id == who:
                    return epoch, rank
        return None

    def reader(self, who: str) -> tuple[Epoch, Group, int] | None:
        """The epoch, the group and the rank of a reader."""
        for epoch in reversed(self.epochs.values()):
            for group in epoch.groups.values():
                for rank, reader in group.ranks.items():
                    if reader.id == who:
                        return epoch, group, rank
        return None

    def participants(self) -> set[str]:
        """Those who have not left, and are not known to be dead."""
        found = set()
        for epoch in self.epochs.values():
            found |= {writer.id for writer in epoch.writers.values() if writer.closing == "open"}
            for group in epoch.groups.values():
                if group.state in ("live", "expelled"):
                    found |= {rank.id for rank in group.ranks.values() if not rank.gone}
        return found

    def removable(self) -> bool:
        """Whether nobody can need the stream any more."""
        newest = self.epoch
        if newest is not None and newest.joinable():
            return False
        return not any(
            group.state == "live"
            for epoch in self.epochs.values()
            for group in epoch.groups.values()
        )

    def apply(self, entry: Entry) -> None:
        """Go on by one entry. What ends a log (Sealed) is the reader's business."""
        if self.removed:
            return
        match entry:
            case Opened():
                self._open(entry)
            case Joined():
                self._join(entry)
            case Dead():
                self._bury(entry.who)
            case Expelled():
                self._expel(entry)
            case Continued():
                self.continued.add(entry.who)
            case Removed():
                self.removed = entry.forced or self.removable()
            case Ended() | Closed():
                self._of_writer(entry)
            case Picked() | Done() | Left() | Stopped():
                self._of_reader(entry)
        for number in [
            number
            for number, epoch in self.epochs.items()
            if number != self.newest and not any(epoch.live_groups())
        ]:
            del self.epochs[number]

    def _open(self, entry: Opened) -> None:
        if self.writer(entry.who) is not None:
            return
        newest = self.epoch
        if entry.rank == 0:
            refusal = _why_not(newest)
            if refusal is not None:
                self.refusals[entry.who] = refusal
                while len(self.refusals) > MOST_REFUSALS:
                    del self.refusals[next(iter(self.refusals))]
                return
            self.newest += 1
            newest = Epoch(self.newest, entry.policy, entry.size, entry.capacity)
            self.epochs[self.newest] = newest
        elif (
            newest is None
            or newest.state() != "open"
            or newest.size != entry.size
            or entry.rank in newest.writers
        ):
            return
        newest.writers[entry.rank] = WriterRank(entry.who)
        self.continued.add(entry.who)

    def _join(self, entry: Joined) -> None:
        newest = self.epoch
        if newest is None or self.reader(entry.who) is not None or not newest.joinable():
            return
        if entry.rank == 0:
            group = Group(entry.who, read_name(entry.group), entry.size, newest.oldest)
            newest.groups[group.id] = group
            if newest.policy.kind == "latest":  # what was dropped before it came does not count
                group.start = max(newest.oldest, newest.complete() - 1)
        else:
            followed = newest.followed(entry)
            if followed is None or entry.rank in followed.ranks:
                return
            group = followed
        group.ranks[entry.rank] = ReaderRank(entry.who)
        self.continued.add(entry.who)

    def _of_writer(self, entry: Ended | Closed) -> None:
        found = self.writer(entry.who)
        if found is None:
            return
        epoch, rank = found
        if isinstance(entry, Ended):
            epoch.end(rank, entry)
        elif epoch.writers[rank].closing == "open":
            epoch.writers[rank].closing = "failed" if entry.failed else "cleanly"
        epoch.settle()

    def _of_reader(self, entry: Picked | Done | Left | Stopped) -> None:
        found = self.reader(entry.who)
        if found is None:
            return
        epoch, group, rank = found
        match entry:
            case Picked():
                epoch.pick(group, entry.step)
            case Done():
                epoch.finish(group, rank, entry.count)
            case Stopped():
                epoch.stop = True
            case Left():
                epoch.leave(group, rank, entry.failed)
        epoch.settle()
        group.forget()

    def _bury(self, who: str) -> None:
        writing, reading = self.writer(who), self.reader(who)
        if writing is not None:
            epoch, rank = writing
            if epoch.writers[rank].closing == "open":
                epoch.writers[rank].closing = "lost"
            epoch.settle()
        if reading is not None:
            epoch, group, rank = reading
            if not group.ranks[rank].gone and group.state in ("live", "expelled"):
                group.state = "lost"
            epoch.settle()

    def _expel(self, entry: Expelled) -> None:
        for epoch in self.epochs.values():
            group = epoch.groups.get(entry.who)
            if group is None or group.state != "live" or group.progress != entry.progress:
                continue
            group.state = "expelled"
            epoch.settle()


def _why_not(newest: Epoch | None) -> str | None:
    """What speaks against a new epoch."""
    if newest is None:
        return None
    state = newest.state()
    if state == "open":
        return "busy"
    if state != "ended" or newest.policy.kind == "latest":
        return None
    waiting = newest.holds_for_readers() and not any(newest.live_groups())
    return "unread" if waiting else None
