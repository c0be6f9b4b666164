"""What is seen of a run while it goes on: a line a component.

On a terminal the lines are kept up to date; elsewhere a line is printed when something changes,
and now and then where nothing does.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dovetail.cli.output import printable
from dovetail.errors import DovetailError
from dovetail.quantities import in_bytes

if TYPE_CHECKING:
    from rich.text import Text

    from dovetail.flow import Run

_REFRESH = 0.25
"""Seconds between two looks."""
_QUIET = 60.0
"""Seconds after which a line is printed although nothing has changed."""
_MARKS = {
    "pending": ("dim", "·"),
    "running": ("cyan", "▶"),
    "restarting": ("yellow", "↻"),
    "done": ("green", "✓"),
    "failed": ("red", "✗"),
    "stopped": ("yellow", "■"),
}


def follow(run: Run) -> None:
    """Show a run until it has ended."""
    print(f"run in {_short(run.directory)}", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        _follow_on_terminal(run)
    else:
        _follow_in_lines(run)


def _follow_on_terminal(run: Run) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    with Live(console=console, auto_refresh=False, redirect_stdout=False) as live:
        for document, steps in _moments(run):
            live.update(_lines(document, steps, run.directory, console.width), refresh=True)


def _follow_in_lines(run: Run) -> None:
    said: dict[str, tuple[str, int]] = {}
    spoke = time.monotonic()
    for document, steps in _moments(run):
        now = document["ended"] or time.time()
        quiet = time.monotonic() - spoke > _QUIET
        for name, component in document["components"].items():
            state = component["status"], component["restarts"]
            if state == said.get(name, ("pending", 0)) and not (
                quiet and component["status"] == "running"
            ):
                continue
            said[name] = state
            spoke = time.monotonic()
            written = _steps(name, document, steps)
            print(
                f"{now - document['started']:8.1f} s  {name}: {_sentence(component, written)}",
                file=sys.stderr,
                flush=True,
            )


def _moments(run: Run) -> Iterator[tuple[dict[str, Any], dict[str, int]]]:
    """What is known of the run and of its streams, again and again, and at last at its end."""
    steps: dict[str, int] = {}
    while not run.ended(_REFRESH):
        document = run.document()
        _count_steps(document, steps)
        yield document, steps
    yield run.document(), steps


def _sentence(component: dict[str, Any], steps: str) -> str:
    ranks = "1 rank" if component["ranks"] == 1 else f"{component['ranks']} ranks"
    text: str = component["status"]
    if text == "running":
        text += f", {ranks}"
        text += f", restart {component['restarts']}" if component["restarts"] else ""
        text += f", {steps}" if steps else ""
    elif component["ended"] and component["started"]:
        text += f" after {component['ended'] - component['started']:.1f} s"
    return printable(f"{text}: {component['reason']}" if component["reason"] else text)


def _lines(document: dict[str, Any], steps: dict[str, int], directory: Path, width: int) -> Text:
    """A line a component, cut to the width of the terminal."""
    from rich.text import Text

    from dovetail.flow import record

    now = document["ended"] or time.time()
    rows = []
    for name, component in document["components"].items():
        lives = component["status"] == "running"
        again = f" ×{component['restarts'] + 1}" if component["restarts"] else ""
        began, ended = component["started"], component["ended"] or now
        last = component["reason"] or "".join(
            record.tail(directory / _log(name, component), lines=1)
        )
        rows.append(
            (
                component["status"],
                (
                    name,
                    component["status"] + again,
                    _clock(ended - began).rjust(7) if began else "",
                    f"{component['cpu_share']:.1f} cores" if lives else "",
                    in_bytes(component["memory"]).rjust(9) if lives else "",
                    _steps(name, document, steps),
                    printable(last),
                ),
            )
        )
    widths = [max((len(cells[place]) for _, cells in rows), default=0) for place in range(6)]
    lines = []
    for status, cells in rows:
        style, mark = _MARKS[status]
        *fixed, last = cells
        head = "  ".join(cell.ljust(size) for cell, size in zip(fixed, widths, strict=True) if size)
        line = Text.assemble((f"{mark} ", style), head, "  ", (last, "dim"))
        line.truncate(width - 1, overflow="ellipsis")
        lines.append(line)
    return Text("\n").join(lines)


def _log(name: str, component: dict[str, Any]) -> str:
    restarts = component["restarts"]
    return f"logs/{name}.0.log{f'.{restarts}' if restarts else ''}"


def _count_steps(document: dict[str, Any], known: dict[str, int]) -> None:
    """Bring up to date how many steps each stream has had; streams go with the run."""
    import dovetail as dv

    for name, url in document["streams"].items():
        with contextlib.suppress(DovetailError, OSError):
            known[name] = dv.describe_stream(url).steps_complete


def _steps(component: str, document: dict[str, Any], known: dict[str, int]) -> str:
    """How far the streams are that a component writes."""
    return ", ".join(
        f"{name} {known[name]}"
        for name, wiring in document["wiring"]["streams"].items()
        if wiring["writer"] == component and name in known
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _short(directory: Path) -> str:
    with contextlib.suppress(ValueError):
        return str(directory.relative_to(Path.cwd()))
    return str(directory)
