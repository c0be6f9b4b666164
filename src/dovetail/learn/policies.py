"""Which sample is drawn next, and which one makes room for another.

======================  =============================  ====================================
policy                  a draw                         a new sample, when all is full
======================  =============================  ====================================
``fifo``                the oldest; it leaves          waits
``firo``                one at random; it leaves       waits
``reservoir``           one at random; it stays        takes the place of a *seen* one, or waits
======================  =============================  ====================================

A sample that was never drawn (*unseen*) is never dropped, under any policy: the producer waits.

Meyer et al., "High throughput training of deep surrogates from large ensemble runs", SC 2023
(arXiv 2309.16743).
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from dovetail.learn.entries import Entry
from dovetail.learn.settings import Eviction, Settings


class Memory(Protocol):
    """The samples held, and the order in which they come and go."""

    def __len__(self) -> int: ...

    @property
    def unseen(self) -> int:
        """How many were never drawn."""
        ...

    def add(self, entry: Entry) -> None:
        """Hold one more."""
        ...

    def draw(self) -> Entry:
        """One of those held, which stays if the policy lets it."""
        ...

    def draw_for_good(self) -> Entry:
        """One of those held, which leaves."""
        ...

    def draw_unseen(self) -> Entry:
        """One of the unseen, which leaves."""
        ...

    def evict(self) -> bool:
        """Let a seen one go; false if there is none."""
        ...

    def retire(self, number: int) -> int:
        """Let the seen ones that came before `number` go; how many that were."""
        ...

    def entries(self) -> list[Entry]:
        """All that are held, in an order from which :meth:`restore` makes the same memory."""
        ...

    def restore(self, entries: Iterable[Entry]) -> None:
        """Hold these, as they were when they were listed."""
        ...


def empty_memory(settings: Settings, chance: random.Random) -> Memory:
    """The memory that the settings ask for; what it chooses, it chooses with `chance`."""
    if settings.policy == "fifo":
        return Fifo()
    if settings.policy == "firo":
        return Firo(chance)
    return Replay(chance, settings.max_reuse, settings.evict)


class _Once:
    """Each sample is drawn once: whatever is held is unseen."""

    def __len__(self) -> int:
        raise NotImplementedError

    def draw(self) -> Entry:
        """The next one, which leaves."""
        raise NotImplementedError

    @property
    def unseen(self) -> int:
        return len(self)

    def draw_for_good(self) -> Entry:
        return self.draw()

    def draw_unseen(self) -> Entry:
        return self.draw()

    def evict(self) -> bool:
        return False

    def retire(self, number: int) -> int:
        return 0


class Fifo(_Once):
    """First in, first out, each once."""

    def __init__(self) -> None:
        self._queue: deque[Entry] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, entry: Entry) -> None:
        self._queue.append(entry)

    def draw(self) -> Entry:
        entry = self._queue.popleft()
        entry.seen += 1
        return entry

    def entries(self) -> list[Entry]:
        return list(self._queue)

    def restore(self, entries: Iterable[Entry]) -> None:
        self._queue = deque(entries)


class Firo(_Once):
    """First in, random out, each once."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._held: list[Entry] = []

    def __len__(self) -> int:
        return len(self._held)

    def add(self, entry: Entry) -> None:
        _append(self._held, entry)

    def draw(self) -> Entry:
        entry = self._held[self._chance.randrange(len(self._held))]
        _remove(self._held, entry)
        entry.seen += 1
        return entry

    def entries(self) -> list[Entry]:
        return list(self._held)

    def restore(self, entries: Iterable[Entry]) -> None:
        self._held = []
        for entry in entries:
            _append(self._held, entry)


class Replay:
    """Drawn at random and kept, until a new sample takes the place of a seen one.

    Parameters
    ----------
    chance
        What the choices are made with.
    max_reuse
        A sample leaves once it was drawn so often; ``None`` sets no limit.
    evict
        Which of the seen ones goes first.
    """

    def __init__(self, chance: random.Random, max_reuse: int | None, evict: Eviction) -> None:
        self._chance = chance
        self._max_reuse = max_reuse
        self._rank = {"random": None, "oldest": _by_age, "most_seen": _by_use}[evict]
        self._unseen: list[Entry] = []
        self._seen: list[Entry] = []
        self._first_to_go: list[tuple[tuple[int, int], Entry]] = []
        self._by_arrival: deque[Entry] = deque()

    def __len__(self) -> int:
        return len(self._unseen) + len(self._seen)

    @property
    def unseen(self) -> int:
        return len(self._unseen)

    def add(self, entry: Entry) -> None:
        _append(self._unseen, entry)
        self._by_arrival.append(entry)
        self._forget_the_gone()

    def draw(self) -> Entry:
        entry = self._any()
        was_unseen = entry.seen == 0
        entry.seen += 1
        leaves = entry.stale or (self._max_reuse is not None and entry.seen >= self._max_reuse)
        if was_unseen:
            _remove(self._unseen, entry)
            if not leaves:
                _append(self._seen, entry)
        elif leaves:
            _remove(self._seen, entry)
        # An age never changes; how often it was drawn just did.
        if self._rank is not None and not leaves and (was_unseen or self._rank is _by_use):
            heapq.heappush(self._first_to_go, (self._rank(entry), entry))
        return entry

    def draw_for_good(self) -> Entry:
        entry = self._any()
        _remove(self._seen if entry.seen else self._unseen, entry)
        entry.seen += 1
        return entry

    def draw_unseen(self) -> Entry:
        entry = self._unseen[self._chance.randrange(len(self._unseen))]
        _remove(self._unseen, entry)
        entry.seen += 1
        return entry

    def evict(self) -> bool:
        if not self._seen:
            return False
        _remove(self._seen, self._next_to_go())
        return True

    def retire(self, number: int) -> int:
        retired = 0
        while self._by_arrival and self._by_arrival[0].number < number:
            entry = self._by_arrival.popleft()
            if entry.place >= 0 and entry.seen:
                _remove(self._seen, entry)
                retired += 1
            entry.stale = True
        return retired

    def entries(self) -> list[Entry]:
        return [*self._unseen, *self._seen]

    def restore(self, entries: Iterable[Entry]) -> None:
        self._unseen, self._seen, self._first_to_go = [], [], []
        for entry in entries:
            _append(self._seen if entry.seen else self._unseen, entry)
            if entry.seen and self._rank is not None:
                heapq.heappush(self._first_to_go, (self._rank(entry), entry))
        held = sorted(self.entries(), key=lambda entry: entry.number)
        self._by_arrival = deque(entry for entry in held if not entry.stale)

    def _any(self) -> Entry:
        place = self._chance.randrange(len(self))
        if place < len(self._unseen):
            return self._unseen[place]
        return self._seen[place - len(self._unseen)]

    def _next_to_go(self) -> Entry:
        if self._rank is None:
            return self._seen[self._chance.randrange(len(self._seen))]
        while True:
            rank, entry = heapq.heappop(self._first_to_go)
            # A sample that was drawn again since has a newer place in the heap.
            if entry.place >= 0 and rank == self._rank(entry):
                return entry

    def _forget_the_gone(self) -> None:
        while self._by_arrival and self._by_arrival[0].place < 0:
            self._by_arrival.popleft()
        if len(self._by_arrival) > 2 * len(self) + 64:
            self._by_arrival = deque(entry for entry in self._by_arrival if entry.place >= 0)
        if len(self._first_to_go) > 2 * len(self) + 64:
            self.restore(self.entries())


def _by_age(entry: Entry) -> tuple[int, int]:
    return entry.number, 0


def _by_use(entry: Entry) -> tuple[int, int]:
    return -entry.seen, entry.number


def _append(held: list[Entry], entry: Entry) -> None:
    entry.place = len(held)
    held.append(entry)


def _remove(held: list[Entry], entry: Entry) -> None:
    """Take an entry out in constant time: the last one moves into its place."""
    last = held.pop()
    if last is not entry:
        held[entry.place] = last
        last.place = entry.place
    entry.place = -1
