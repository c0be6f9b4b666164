"""What is known of a run while it goes on and after: ``run.json`` in its directory.

The file is replaced as a whole, so that whoever reads it sees one moment or the next.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from dovetail.flow import files

FILE = "run.json"
LAST_LINES = 20
"""How many of a component's last lines are kept."""
LONGEST_LINE = 500
"""Characters of a line that are kept."""
_LONGEST_TAIL = 64 << 10

RunStatus = Literal["running", "succeeded", "failed", "interrupted"]
ComponentStatus = Literal["pending", "running", "restarting", "done", "failed", "stopped"]


@dataclass(slots=True)
class RankRecord:
    """One rank in one attempt."""

    attempt: int
    rank: int
    pid: int | None
    started: float
    """Seconds since the epoch, as all times here."""
    ended: float | None = None
    exit: int | None = None
    """Exit status; negative: the signal that killed it; ``None``: it runs, or nobody knows."""


@dataclass(slots=True)
class ComponentRecord:
    """A component over all its attempts."""

    service: bool
    ranks: int
    status: ComponentStatus = "pending"
    reason: str | None = None
    """Why it failed, or what else is to be said of how it ended."""
    started: float | None = None
    ended: float | None = None
    exit: int | None = None
    """Of the rank that failed; else 0 once it has ended by itself."""
    restarts: int = 0
    pids: list[int] = field(default_factory=list)
    """Of every rank in every attempt."""
    attempts: list[RankRecord] = field(default_factory=list)
    log: str | None = None
    """The log of the rank that failed, relative to the directory of the run."""
    last_lines: list[str] = field(default_factory=list)
    """The end of that log."""
    cpu_seconds: float = 0.0
    """Processor time of its processes, as last seen."""
    cpu_share: float = 0.0
    """Cores in use, as last seen."""
    memory: int = 0
    """Bytes resident, as last seen."""
    memory_peak: int = 0


@dataclass(slots=True)
class RunRecord:
    """A run."""

    name: str
    status: RunStatus
    reason: str | None
    """Why it did not succeed."""
    started: float
    ended: float | None
    dovetail: str
    """The version."""
    host: str
    supervisor: int
    """The process that looks after the run."""
    components: dict[str, ComponentRecord]
    streams: dict[str, str]
    stores: dict[str, str]
    wiring: dict[str, Any]

    def write(self, directory: Path) -> None:
        """Replace ``run.json``."""
        replace(directory, asdict(self))


def replace(directory: Path, document: dict[str, Any]) -> None:
    """Replace ``run.json`` as a whole."""
    files.replace(directory / FILE, document)


def read(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """``run.json`` of a directory.

    Raises
    ------
    FileNotFoundError
        If the run has not begun, or this is no directory of a run.
    """
    document: dict[str, Any] = json.loads(Path(directory, FILE).read_bytes())
    return document


def tail(log: Path, lines: int = LAST_LINES) -> list[str]:
    """The last lines of a log, however long it is; none if it is not there."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LONGEST_TAIL))
            text = file.read(_LONGEST_TAIL).decode(errors="replace")
    except OSError:
        return []
    return [
        line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…"
        for line in text.splitlines()[-lines:]
    ]


def write_flow(directory: Path, document: dict[str, Any]) -> None:
    """Write ``flow.json``: the workflow as it was given."""
    files.write(directory / "flow.json", document)
