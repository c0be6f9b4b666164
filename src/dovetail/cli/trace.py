"""``dovetail trace``: what was recorded with ``DOVETAIL_TRACE`` or :func:`dovetail.observe.start`.

JSON documents (``--json``): ``{directory, summary: [{kind, name, events, nbytes, seconds,
median_seconds, longest_seconds, wait_seconds}]}``; with ``--events`` instead ``{directory,
events: [{start_ns, duration_ns, kind, name, nbytes, wait_ns, host, pid, thread}]}``.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dovetail.cli.output import AsJson, print_json, print_table
from dovetail.quantities import in_bytes, in_seconds

if TYPE_CHECKING:
    from dovetail.observe import Event


def trace(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where it was recorded.")],
    events: Annotated[bool, typer.Option("--events", help="List every event.")] = False,
    by_name: Annotated[
        bool, typer.Option("--by-name", help="Summarize each key and stream apart.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Summarize the trace events of a run, or list them."""
    from dovetail import observe

    recorded = observe.read(directory)
    if events:
        _list(directory, recorded, as_json)
        return
    summary = _summary(recorded, by_name)
    if as_json:
        print_json({"directory": str(directory), "summary": summary})
        return
    print_table(
        ["KIND", "NAME", "EVENTS>", "BYTES>", "TOTAL>", "MEDIAN>", "LONGEST>", "WAITED>"],
        [
            (
                row["kind"],
                row["name"] or "(all)",
                row["events"],
                in_bytes(row["nbytes"]),
                *(
                    in_seconds(row[key])
                    for key in ("seconds", "median_seconds", "longest_seconds", "wait_seconds")
                ),
            )
            for row in summary
        ],
    )


def _list(directory: Path, recorded: list[Event], as_json: bool) -> None:
    if as_json:
        print_json({"directory": str(directory), "events": [event._asdict() for event in recorded]})
        return
    first = recorded[0].start_ns if recorded else 0
    print_table(
        ["SINCE START>", "TOOK>", "WAITED>", "BYTES>", "KIND", "NAME", "PROCESS"],
        [
            (
                f"{(event.start_ns - first) * 1e-9:.6f}",
                in_seconds(event.duration_ns * 1e-9),
                in_seconds(event.wait_ns * 1e-9),
                in_bytes(event.nbytes),
                event.kind,
                event.name,
                f"{event.host}:{event.pid}",
            )
            for event in recorded
        ],
    )


def _summary(recorded: list[Event], by_name: bool) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str | None], list[Event]] = defaultdict(list)
    for event in recorded:
        groups[event.kind, event.name if by_name else None].append(event)
    return [
        {
            "kind": kind,
            "name": name,
            "events": len(group),
            "nbytes": sum(event.nbytes for event in group),
            "seconds": sum(event.duration_ns for event in group) * 1e-9,
            "median_seconds": statistics.median(event.duration_ns for event in group) * 1e-9,
            "longest_seconds": max(event.duration_ns for event in group) * 1e-9,
            "wait_seconds": sum(event.wait_ns for event in group) * 1e-9,
        }
        for (kind, name), group in sorted(groups.items(), key=lambda item: str(item[0]))
    ]
