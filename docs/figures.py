"""Draws the page of what each engine costs, from what ``dovetail bench transports`` wrote.

::

    dovetail bench transports --output runs/bench-transports
    python docs/figures.py runs/bench-transports docs/engines

``make figures`` does both. On a machine with nothing else to do, please.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dovetail.bench.table import in_duration, in_size

HEAD = """# What each engine costs

This page is made by `make figures` from one run of [`dovetail bench
transports`](../how-to/measure-transports.md); nothing in it is written by hand. It shows what
Dovetail costs over the same engine driven by hand, as well as its own experts would, on one small
machine: ratios carry over to yours, times do not.
"""

ENGINES = """\
*By hand* is the fastest way we know to drive the engine without Dovetail: it has one reader, one
array, and no answer to who dies, joins late or is slow. *One way* is half of a round trip of two
steps; *delivered* is the time of a step in a long row; *handed over* is a put, and the get of one
who waits for it. Medians; the quartiles are in the pictures. Bold: beyond the target of 10 %
(from 1 MB on) or 50 µs (below).

What the difference is made of:

- A `put` copies, so that the caller may change its array at once; by hand the array itself is
  sent, and must not change until it has gone. `step.empty()` gives memory to fill in place,
  without this copy.
- A step is said in a log that all participants read, and its end is acknowledged there, so that
  each of them may come late, be slow or die. That is Python at both ends, 0.1 to 0.35 ms a step
  together.
- Over SST a block passes through a helper process at either end, so that neither a waiting
  trainer nor a computing solver holds up the other.
"""

ALONE = """\
Nothing lies beneath it but the kernel: there is no engine to drive by hand. `dovetail bench
store` and `dovetail bench stream` measure it beside memcpy and a Unix socket.
"""

PICTURES = {
    "overheads": "Dovetail beside the same engine driven by hand",
    "streaming-latency": "One step, one way",
    "streaming-throughput": "Steps in a row",
    "staging-colocated": "Staging on one host",
    "staging-clustered": "Staging between two hosts",
    "gathering": "Many producers, one consumer",
    "scaling": "Weak scaling",
    "loading": "Loading many small files",
}


def page(report: dict[str, Any], pictures: Iterable[str]) -> str:
    """The whole page."""
    parts = [HEAD, *_machine(report), *_targets(report), *_engines(report), *_pictures(pictures)]
    return "\n".join(parts)


def _machine(report: dict[str, Any]) -> Iterator[str]:
    facts = report["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    yield (
        f"Measured on {report['started'][:10]}: {facts['cpu']}, {facts['cores_usable']} cores, "
        f"Linux {facts['kernel'].split('-')[0]}, load {facts['load_average'][0]:.1f} at the start; "
        f"{report['settings']['repeats']} repeats. {versions}.\n"
    )


def _targets(report: dict[str, Any]) -> Iterator[str]:
    yield "## Against our own targets\n"
    yield _row("target", "measured", "holds")
    yield _row("---", "---", "---")
    for target in report["targets"]:
        holds = {True: "yes", False: "**no**", None: "–"}[target["holds"]]
        yield _row(target["target"], target["measured"], holds)
    yield ""


def _engines(report: dict[str, Any]) -> Iterator[str]:
    yield "## Beside the engine driven by hand\n"
    yield ENGINES
    medians = {
        _case(comparison["name"], one): one["seconds"]["median"]
        for comparison in report["comparisons"]
        for one in comparison["measurements"]
    }
    overheads = [over for over in report["overheads"] if over["producers"] == 1]
    for engine in dict.fromkeys(over["engine"] for over in overheads):
        yield f"### {engine}\n"
        yield _row("comparison", "operation", "bytes", "Dovetail", "by hand", "ratio")
        yield _row(*["---"] * 6)
        for over in overheads:
            if over["engine"] != engine:
                continue
            large = over["nbytes"] >= 1 << 20
            within = over["ratio"] <= 1.1 if large else over["seconds"] <= 50e-6
            ratio = f"{over['ratio']:.2f}" if over["ratio"] < 10 else f"{over['ratio']:.0f}"
            ours = medians[_case(over["comparison"], over)]
            yield _row(
                over["comparison"],
                over["operation"],
                in_size(over["nbytes"]),
                in_duration(ours),
                in_duration(ours - over["seconds"]),
                ratio if within else f"**{ratio}**",
            )
        yield ""
    yield from _alone("shm", report)


def _alone(peer: str, report: dict[str, Any]) -> Iterator[str]:
    """The figures of an engine that has no other beneath it."""
    yield f"### {peer}\n"
    yield ALONE
    yield _row("comparison", "operation", "bytes", "Dovetail")
    yield _row(*["---"] * 4)
    for comparison in report["comparisons"]:
        for one in comparison["measurements"]:
            if one["peer"] == peer and one["producers"] == 1:
                median = in_duration(one["seconds"]["median"])
                yield _row(comparison["name"], one["operation"], in_size(one["nbytes"]), median)
    yield ""


def _case(comparison: str, one: dict[str, Any]) -> tuple[Any, ...]:
    names = ("peer", "operation", "nbytes", "producers", "consumers")
    return comparison, *(one[name] for name in names)


def _pictures(names: Iterable[str]) -> Iterator[str]:
    yield "## Pictures\n"
    for name in names:
        yield f"![{PICTURES[name]}](figures/{name}.svg)\n"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def main(run: Path, pages: Path) -> None:
    """Write the page, and put its pictures beside it."""
    report = json.loads((run / "transports.json").read_text(encoding="utf-8"))
    (pages / "figures").mkdir(exist_ok=True)
    there = [name for name in PICTURES if (run / f"{name}.svg").exists()]
    for name in there:
        shutil.copyfile(run / f"{name}.svg", pages / "figures" / f"{name}.svg")
    (pages / "figures.md").write_text(page(report, there), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
