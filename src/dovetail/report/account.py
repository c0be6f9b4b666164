"""All that is known of one run, from its directory."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dovetail.errors import DovetailError
from dovetail.observe.columns import Columns, columns_of
from dovetail.report.activity import Activity, Clock, Lane, Owner
from dovetail.report.directory import Attempt, Run, read_run
from dovetail.report.learning import Learning, Stall, Starvation
from dovetail.report.models import Followed, Guarded, Mark, Models, Published
from dovetail.report.traffic import StoreUse, StreamSide, Traffic, bytes_published

OTHERS = "other processes"
"""Who recorded what no rank of the workflow did: children that a component started."""
_SLACK = 1.0
"""Seconds by which clocks may differ."""


@dataclass(frozen=True)
class Account:
    """A run, and what its recordings come to."""

    run: Run
    clock: Clock
    lanes: tuple[Lane, ...]
    streams: tuple[StreamSide, ...]
    stores: tuple[StoreUse, ...]
    starvation: tuple[Starvation, ...]
    stalls: tuple[Stall, ...]
    published: tuple[Published, ...]
    followed: tuple[Followed, ...]
    guarded: tuple[Guarded, ...]
    marks: tuple[Mark, ...]
    events: int
    troubles: tuple[str, ...]
    """What could not be read."""

    @cached_property
    def nbytes(self) -> int:
        """Bytes that were written into streams and stores."""
        return bytes_published(self.streams, self.stores)

    def document(self) -> dict[str, Any]:
        """The account as a JSON document; what happened in each part of the run is left out."""
        run = self.run
        return {
            "directory": str(run.directory),
            "name": run.name,
            "status": run.status,
            "reason": run.reason,
            "started": run.started,
            "seconds": run.seconds,
            "host": run.host,
            "dovetail": run.dovetail,
            "events": self.events,
            "components": [_component(component, self.lanes) for component in run.components],
            "streams": [_plain(one) for one in self.streams],
            "stores": [_plain(one) for one in self.stores],
            "starvation": [_plain(one) for one in self.starvation],
            "stalls": [_plain(one) for one in self.stalls],
            "published": [_plain(one) for one in self.published],
            "followed": [_plain(one) for one in self.followed],
            "guarded": [_plain(one) | {"share": one.share} for one in self.guarded],
            "exhibits": [one.title for one in run.exhibits],
            "warnings": list(run.warnings),
            "troubles": list(self.troubles),
        }


def account_of(directory: str | os.PathLike[str]) -> Account:
    """Read a run's directory.

    Raises
    ------
    FileNotFoundError
        If this is no directory of a run.
    CorruptDataError
        If ``run.json`` is damaged.
    """
    run = read_run(directory)
    clock = Clock(run.started, max(run.seconds, 1e-3))
    activity, traffic = Activity(run, clock), Traffic(run)
    learning, models = Learning(run), Models(clock)
    events, troubles = _each(
        run,
        lambda owner, columns: [
            part.add(owner, columns) for part in (activity, traffic, learning, models)
        ],
    )
    return Account(
        run,
        clock,
        activity.lanes(),
        traffic.streams(),
        traffic.stores(),
        learning.starvation(),
        learning.stalls(),
        models.published(),
        models.followed(),
        models.guarded(),
        models.marks(),
        events,
        (*run.troubles, *troubles),
    )


def _each(run: Run, add: Callable[[Owner, Columns], Any]) -> tuple[int, list[str]]:
    """Pass on the recordings, one after the other: how many events, and what could not be read."""
    count, troubles = 0, []
    for path in sorted((run.directory / "trace").glob("*.trace")):
        try:
            columns = columns_of(path)
        except (DovetailError, OSError) as error:
            troubles.append(f"the recording {path.name}: {error}")
            continue
        if columns is not None:
            count += len(columns.kind)
            add(_owner(run, columns), columns)
    return count, troubles


def _owner(run: Run, events: Columns) -> Owner:
    """The rank that made a recording. A process's number may have been given twice."""
    moment = int(events.start_ns.min()) * 1e-9

    def lived_then(attempt: Attempt) -> bool:
        return attempt.started - _SLACK <= moment <= attempt.ended + _SLACK

    for component in run.components:
        for attempt in component.attempts:
            if attempt.pid == events.pid and lived_then(attempt):
                return Owner(component.name, attempt.rank, attempt.attempt)
    return Owner(OTHERS, events.pid, 0)


def _component(component: Any, lanes: tuple[Lane, ...]) -> dict[str, Any]:
    own = [lane for lane in lanes if lane.component == component.name]
    return {
        "name": component.name,
        "status": component.status,
        "reason": component.reason,
        "ranks": component.ranks,
        "restarts": component.restarts,
        "cpu_seconds": component.cpu_seconds,
        "memory_peak": component.memory_peak,
        "seconds": sum(lane.seconds for lane in own),
        "moving_seconds": sum(lane.moving_seconds for lane in own),
        "waiting_seconds": sum(lane.waiting_seconds for lane in own),
        "nbytes": sum(lane.nbytes for lane in own),
    }


def _plain(one: Any) -> dict[str, Any]:
    """A frozen dataclass as JSON, without its series."""
    return {
        name: dict(value) if name in ("reasons", "refused") else value
        for name in one.__slots__
        if not hasattr(value := getattr(one, name), "dtype")
    }
