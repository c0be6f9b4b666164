"""Which versions of a model were published, taken and refused, and what the guards decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dovetail import observe
from dovetail.observe.columns import Columns
from dovetail.report.activity import BINS, Clock, Owner, Series


class Mark(NamedTuple):
    """A moment in the life of a model."""

    seconds: float
    """Since the epoch."""
    what: str
    """``published``, ``taken`` or ``refused``."""
    model: str
    version: str
    """A number; ``?`` if it could not be read."""
    reason: str
    """Why it was refused."""
    component: str
    rank: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Published:
    """What was published of one model."""

    model: str
    component: str
    versions: int
    nbytes: int
    """Of a version, on average."""
    interval: float
    """Mean seconds between two versions; 0 if there was one."""


@dataclass(frozen=True, slots=True)
class Followed:
    """What one component took of one model; counted over its ranks."""

    model: str
    component: str
    taken: int
    last: str
    """The version that was taken last."""
    delay: float | None
    """Median seconds from publication to being in force, of the versions that were published in
    this run."""
    refused: tuple[tuple[str, int], ...]
    """How many, by reason."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """What one guard of a component decided; counted over its ranks."""

    guard: str
    component: str
    calls: int
    fallbacks: int
    """Calls in which the physics stood in, in part or altogether."""
    reasons: tuple[tuple[str, int], ...]
    """How many, by reason; a call may have several."""
    seconds: float
    """In all calls together."""
    calling: Series
    """Calls in each part of the run."""
    falling: Series
    """Those in which the physics stood in."""

    @property
    def share(self) -> float:
        """The share of the calls in which the physics stood in."""
        return self.fallbacks / self.calls if self.calls else 0.0


class _Decisions:
    def __init__(self) -> None:
        self.calls = self.fallbacks = 0
        self.seconds = 0.0
        self.reasons: Counter[str] = Counter()
        self.calling, self.falling = np.zeros(BINS), np.zeros(BINS)


_KINDS = {
    observe.PUBLISH_MODEL: "published",
    observe.TAKE_MODEL: "taken",
    observe.REFUSE_MODEL: "refused",
}


class Models:
    """Collects what happened to the models of a run."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._marks: list[Mark] = []
        self._decisions: dict[tuple[str, str], _Decisions] = {}

    def add(self, owner: Owner, events: Columns) -> None:
        """Take a recording into account."""
        for kind, what in _KINDS.items():
            for place in np.flatnonzero(events.kind == kind):
                model, _, rest = events.names[events.name[place]].rpartition("@")
                version, _, reason = rest.partition(": ")
                ended = int(events.start_ns[place] + events.duration_ns[place]) * 1e-9
                nbytes = int(events.nbytes[place])
                self._marks.append(
                    Mark(ended, what, model, version, reason, owner.component, owner.rank, nbytes)
                )
        for name, chosen in _by_name(events, observe.CALL_MODEL):
            decisions = self._decisions.setdefault((name, owner.component), _Decisions())
            decisions.calls += len(chosen)
            decisions.seconds += float(events.duration_ns[chosen].sum()) * 1e-9
            decisions.calling += self._per_part(events, chosen)
        fallen: dict[str, list[np.ndarray]] = {}
        for name, chosen in _by_name(events, observe.FALL_BACK):
            guard, _, reason = name.rpartition(": ")
            decisions = self._decisions.setdefault((guard, owner.component), _Decisions())
            decisions.reasons[reason] += len(chosen)
            fallen.setdefault(guard, []).append(chosen)
        for guard, parts in fallen.items():
            self._add_fallen(guard, owner, events, np.concatenate(parts))

    def _add_fallen(self, guard: str, owner: Owner, events: Columns, places: np.ndarray) -> None:
        # The reasons of one call share its beginning.
        moments = np.stack([events.thread[places].astype(np.int64), events.start_ns[places]])
        _, once = np.unique(moments, axis=1, return_index=True)
        decisions = self._decisions[guard, owner.component]
        decisions.fallbacks += len(once)
        decisions.falling += self._per_part(events, places[once])

    def _per_part(self, events: Columns, places: np.ndarray) -> Series:
        return self._clock.spread(
            events.start_ns[places], np.zeros(len(places)), np.ones(len(places))
        )

    def marks(self) -> tuple[Mark, ...]:
        """All moments, in the order of time."""
        return tuple(sorted(self._marks))

    def published(self) -> tuple[Published, ...]:
        """What was published, a line a model and publisher."""
        return tuple(
            Published(
                model,
                component,
                len(marks),
                round(sum(mark.nbytes for mark in marks) / len(marks)),
                (marks[-1].seconds - marks[0].seconds) / max(len(marks) - 1, 1),
            )
            for (model, component), marks in self._grouped(lambda one: one.what == "published")
        )

    def followed(self) -> tuple[Followed, ...]:
        """What was taken and refused, a line a model and follower."""
        published = {
            (mark.model, mark.version): mark.seconds
            for mark in self._marks
            if mark.what == "published"
        }
        return tuple(
            _followed(model, component, marks, published)
            for (model, component), marks in self._grouped(lambda one: one.what != "published")
        )

    def guarded(self) -> tuple[Guarded, ...]:
        """What the guards decided, a line a guard and component."""
        return tuple(
            Guarded(
                guard,
                component,
                one.calls,
                one.fallbacks,
                tuple(one.reasons.most_common()),
                one.seconds,
                one.calling,
                one.falling,
            )
            for (guard, component), one in self._decisions.items()
        )

    def _grouped(
        self, wanted: Callable[[Mark], bool]
    ) -> Iterator[tuple[tuple[str, str], list[Mark]]]:
        groups: dict[tuple[str, str], list[Mark]] = {}
        for mark in filter(wanted, self.marks()):
            groups.setdefault((mark.model, mark.component), []).append(mark)
        yield from groups.items()


def _followed(
    model: str, component: str, marks: list[Mark], published: dict[tuple[str, str], float]
) -> Followed:
    taken = [mark for mark in marks if mark.what == "taken"]
    delays = [
        mark.seconds - published[model, mark.version]
        for mark in taken
        if (model, mark.version) in published
    ]
    return Followed(
        model,
        component,
        len(taken),
        taken[-1].version if taken else "",
        max(float(np.median(delays)), 0.0) if delays else None,
        tuple(Counter(mark.reason for mark in marks if mark.what == "refused").most_common()),
    )


def _by_name(events: Columns, kind: int) -> Iterator[tuple[str, np.ndarray]]:
    """The places of the events of a kind, by their name."""
    places = np.flatnonzero(events.kind == kind)
    for code in np.unique(events.name[places]):
        yield events.names[code], places[events.name[places] == code]
