"""Draws the table of what each engine withstands, from the counts that fault tests wrote.

::

    pytest tests/faults --tallies counts.json
    python docs/guarantees.py counts.json > docs/engines/guarantees.md

``make guarantees`` does both.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dovetail import __version__
from dovetail.transport.registry import engines

HEAD = """# What each engine withstands

This page is made from the results of the tests (`make guarantees`); nothing in it is written by
hand.
"""

COUNTS = """Each line is a fault that was caused on purpose, as often as the cell says, and so often
all was sound afterwards: nothing lost that the policy keeps, nothing half, nobody waiting beyond a
deadline. Engines that start servers or processes get fewer trials; `make soak` causes more.
"""

DELIVERY = {
    "lockstep": "each reader, each step, exactly once",
    "buffered": "each reader, each step that is held when it joins or comes later, exactly once",
    "latest": "each reader, the newest step, at most once; the final one always",
    "work_queue": "one reader, each step, exactly once; again, if that reader dies with it in hand",
}
"""What a policy promises, whoever is killed."""

PROMISES = [
    ("zero_copy", "reads are views of the transport's memory"),
    ("woken_waits", "waits are woken, not polled"),
    ("rename", "values can be renamed"),
    ("persistent", "values outlive a reboot"),
    ("several_nodes", "reaches across nodes"),
]


def page(tallies: list[dict[str, Any]]) -> str:
    """The whole page."""
    of_engines = [tally for tally in tallies if tally["engine"]]
    return "\n".join([HEAD, *_capabilities(), *_delivery(of_engines), *_faults(of_engines), ""])


def _capabilities() -> Iterable[str]:
    known = [
        status for status in engines() if status.capabilities.store or status.capabilities.stream
    ]
    yield "## What they declare\n"
    yield _row("engine", "store", "stream", *(text for _, text in PROMISES), "policies")
    yield _row(*["---"] * (len(PROMISES) + 4))
    for status in known:
        offered = status.capabilities
        yield _row(
            f"`{status.scheme}://`",
            _sign(offered.store),
            _sign(offered.stream),
            *(_sign(getattr(offered, name)) for name, _ in PROMISES),
            "all four" if len(offered.policies) == 4 else ", ".join(sorted(offered.policies)),
        )
    yield ""


def _delivery(tallies: list[dict[str, Any]]) -> Iterable[str]:
    of_streams = [tally for tally in tallies if tally["policy"]]
    columns = list(dict.fromkeys(tally["engine"] for tally in of_streams))
    yield "## What a policy delivers\n"
    yield "● stands where every trial of that policy on that engine was sound.\n"
    yield _row("policy", "delivers", *columns)
    yield _row(*["---"] * (len(columns) + 2))
    for kind, promise in DELIVERY.items():
        cells = []
        for engine in columns:
            trials = [
                tally
                for tally in of_streams
                if tally["engine"] == engine and tally["policy"].startswith(kind)
            ]
            sound = all(one["sound"] == one["wanted"] for one in trials)
            cells.append(_sign(sound) if trials else "")
        yield _row(f"`{kind}`", promise, *cells)
    yield ""


def _faults(tallies: list[dict[str, Any]]) -> Iterable[str]:
    columns = list(dict.fromkeys(tally["engine"] for tally in tallies))
    titles = list(dict.fromkeys(tally["title"] for tally in tallies))
    yield f"## What they withstood (Dovetail {__version__})\n"
    yield COUNTS
    yield _row("fault", "policy", *columns)
    yield _row(*["---"] * (len(columns) + 2))
    for title in titles:
        of_title = [tally for tally in tallies if tally["title"] == title]
        for policy in dict.fromkeys(tally["policy"] for tally in of_title):
            cells = {
                engine: [
                    tally
                    for tally in of_title
                    if tally["policy"] == policy and tally["engine"] == engine
                ]
                for engine in columns
            }
            yield _row(title, f"`{policy}`" if policy else "", *map(_cell, cells.values()))


def _cell(tallies: list[dict[str, Any]]) -> str:
    if not tallies:
        return "–"
    sound, wanted = (sum(tally[name] for tally in tallies) for name in ("sound", "wanted"))
    text = f"{sound} of {wanted}"
    return text if sound == wanted else f"**{text}**"


def _sign(holds: bool) -> str:
    return "●" if holds else "–"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(page([tally for file in sys.argv[1:] for tally in json.loads(Path(file).read_text())]))
