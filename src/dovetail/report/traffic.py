"""What went through the streams and stores: how much, how fast, and who waited for it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from dovetail import observe
from dovetail.observe.columns import Columns
from dovetail.report.activity import Owner
from dovetail.report.directory import Run

_MOST_ROWS = 40
OTHER_KEYS = "…"

Side = Literal["writes", "reads"]


@dataclass(frozen=True, slots=True)
class StreamSide:
    """What one component did with one stream. Seconds are summed over its ranks and threads."""

    stream: str
    """Its name in the workflow; its URL if it has none."""
    url: str
    side: Side
    component: str
    ranks: int
    """That took part."""
    steps: int
    """Pieces of steps that were written, or that brought data."""
    nbytes: int
    seconds: float
    """From the first call to the end of the last, summed over ranks."""
    calling_seconds: float
    """Within calls, waiting included."""
    waiting_seconds: float
    longest_wait: float
    background: bool
    """Whether it all happened in threads beside the main one."""


@dataclass(frozen=True, slots=True)
class StoreUse:
    """What one component did with the values of one kind in its stores."""

    component: str
    stores: tuple[str, ...]
    """Those that it may be: a recording names the key, not the store."""
    keys: str
    """Numbers in the keys are written ``*``; ``…`` are the many others that moved less."""
    puts: int
    put_bytes: int
    gets: int
    got_bytes: int
    calling_seconds: float
    waiting_seconds: float


@dataclass(slots=True)
class _Calls:
    ranks: set[int] = field(default_factory=set)
    steps: int = 0
    nbytes: int = 0
    seconds: float = 0.0
    calling: float = 0.0
    waiting: float = 0.0
    longest: float = 0.0
    background: bool = True


@dataclass(slots=True)
class _Values:
    puts: int = 0
    put_bytes: int = 0
    gets: int = 0
    got_bytes: int = 0
    calling: float = 0.0
    waiting: float = 0.0

    def add(
        self,
        puts: float,
        put_bytes: float,
        gets: float,
        got_bytes: float,
        calling: float,
        waiting: float,
    ) -> None:
        self.puts += int(puts)
        self.put_bytes += int(put_bytes)
        self.gets += int(gets)
        self.got_bytes += int(got_bytes)
        self.calling += calling
        self.waiting += waiting


class Traffic:
    """Collects the use of a run's streams and stores."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._names = {_place(stream.url): name for name, stream in run.streams.items()}
        self._streams: dict[tuple[str, Side, str], _Calls] = {}
        self._values: dict[tuple[str, str], _Values] = {}

    def add(self, owner: Owner, events: Columns) -> None:
        """Take a recording into account."""
        for side, kind in (("writes", observe.WRITE_STEP), ("reads", observe.READ_STEP)):
            of_kind = events.kind == kind
            for code in np.unique(events.name[of_kind]):
                key = events.names[code], side, owner.component
                calls = self._streams.setdefault(key, _Calls())  # type: ignore[arg-type]
                self._add_calls(calls, owner, events, of_kind & (events.name == code))
        self._add_values(owner, events)

    @staticmethod
    def _add_calls(calls: _Calls, owner: Owner, events: Columns, chosen: np.ndarray) -> None:
        start, duration = events.start_ns[chosen], events.duration_ns[chosen]
        calls.ranks.add(owner.rank)
        brought = events.nbytes[chosen] > 0
        written = events.kind[chosen] == observe.WRITE_STEP
        calls.steps += int(np.count_nonzero(brought | written))
        calls.nbytes += int(events.nbytes[chosen].sum())
        calls.seconds += float((start + duration).max() - start.min()) * 1e-9
        calls.calling += float(duration.sum()) * 1e-9
        calls.waiting += float(events.wait_ns[chosen].sum()) * 1e-9
        calls.longest = max(calls.longest, float(events.wait_ns[chosen].max()) * 1e-9)
        main = events.on_main_thread[chosen]
        calls.background = calls.background and not bool(main.any())

    def _add_values(self, owner: Owner, events: Columns) -> None:
        chosen = np.isin(events.kind, (observe.PUT, observe.GET, observe.WAIT))
        if not chosen.any():
            return
        # Keys may be as many as events: they are counted by their kind, all at once.
        kinds: dict[str, int] = {}
        of_name = np.array([kinds.setdefault(_kind_of(n), len(kinds)) for n in events.names])
        code, nbytes = of_name[events.name[chosen]], events.nbytes[chosen]
        put = events.kind[chosen] == observe.PUT
        got = ~put & (nbytes > 0)

        def summed(amount: np.ndarray) -> list[float]:
            sums: list[float] = np.bincount(code, amount, len(kinds)).tolist()
            return sums

        columns = [
            summed(column)
            for column in (
                np.ones(len(code)),
                put,
                put * nbytes,
                got,
                got * nbytes,
                events.duration_ns[chosen] * 1e-9,
                events.wait_ns[chosen] * 1e-9,
            )
        ]
        for keys, (events_of_kind, *sums) in zip(kinds, zip(*columns, strict=True), strict=True):
            if events_of_kind:
                self._values.setdefault((owner.component, keys), _Values()).add(*sums)

    def streams(self) -> tuple[StreamSide, ...]:
        """Both sides of each stream, in the order of the workflow, writers first."""
        sides = [
            StreamSide(
                self._names.get(_place(url), url),
                url,
                side,
                component,
                len(calls.ranks),
                calls.steps,
                calls.nbytes,
                calls.seconds,
                calls.calling,
                min(calls.waiting, calls.calling),
                calls.longest,
                calls.background,
            )
            for (url, side, component), calls in self._streams.items()
        ]
        order = {name: place for place, name in enumerate(self._run.streams)}
        components = self._order_of_components()
        return tuple(
            sorted(
                sides,
                key=lambda one: (
                    order.get(one.stream, len(order)),
                    one.stream,
                    one.url,
                    one.side != "writes",
                    components.get(one.component, len(components)),
                ),
            )
        )

    def stores(self) -> tuple[StoreUse, ...]:
        """What each component put and got, in the order of the workflow, the most bytes first."""
        components = self._order_of_components()
        uses = [
            StoreUse(
                component,
                tuple(n for n, store in self._run.stores.items() if component in store.users),
                keys,
                values.puts,
                values.put_bytes,
                values.gets,
                values.got_bytes,
                values.calling,
                min(values.waiting, values.calling),
            )
            for (component, keys), values in self._most_used().items()
        ]
        return tuple(sorted(uses, key=lambda one: components.get(one.component, len(components))))

    def _most_used(self) -> dict[tuple[str, str], _Values]:
        """The kinds of keys with the most bytes; a component's others are one kind at the end."""
        rows = sorted(self._values.items(), key=lambda row: -row[1].put_bytes - row[1].got_bytes)
        most = dict(rows[:_MOST_ROWS])
        for (component, _), values in rows[_MOST_ROWS:]:
            others = most.setdefault((component, OTHER_KEYS), _Values())
            others.add(
                values.puts,
                values.put_bytes,
                values.gets,
                values.got_bytes,
                values.calling,
                values.waiting,
            )
        return most

    def _order_of_components(self) -> dict[str, int]:
        return {one.name: place for place, one in enumerate(self._run.components)}


def bytes_published(streams: Iterable[StreamSide], stores: Iterable[StoreUse]) -> int:
    """Bytes that were written into streams and stores."""
    written = sum(one.nbytes for one in streams if one.side == "writes")
    return written + sum(one.put_bytes for one in stores)


def _kind_of(key: str) -> str:
    return re.sub(r"\d+", "*", key)


def _place(url: str) -> str:
    """A URL without its options, but for those that name a stream or store on a server."""
    location, _, query = url.partition("?")
    named = [word for word in query.split("&") if word.startswith(_NAMING)]
    return "?".join([location.rstrip("/"), *named])


_NAMING = ("name=", "store=")
