"""What a run left in its directory, apart from its recordings."""

from __future__ import annotations

import json
import math
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from dovetail.errors import CorruptDataError
from dovetail.flow import affinity, record

MEDIA_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}
_LAST_LINES = 12
_SLACK = 60.0
"""Seconds by which clocks may have been set meanwhile."""
_DAMAGE = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""What a document that is not as it should be gives rise to."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One rank from one start to its end. Times are seconds since the epoch."""

    attempt: int
    rank: int
    pid: int | None
    started: float
    ended: float
    """Now, while it runs."""
    exit: int | None


@dataclass(frozen=True, slots=True)
class Component:
    """A component, over all its attempts."""

    name: str
    service: bool
    status: str
    reason: str | None
    ranks: int
    restarts: int
    started: float | None
    ended: float | None
    attempts: tuple[Attempt, ...]
    cpu_seconds: float
    memory_peak: int
    logs: tuple[str, ...]
    """Files, relative to the directory of the run."""
    log: str | None
    """The one that `last_lines` are of."""
    last_lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """An image, whole."""

    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Exhibit:
    """Something that a component wanted to show."""

    title: str
    text: str
    picture: Picture | None
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    order: float


class StreamOfRun(NamedTuple):
    """A stream, by the name that the workflow gives it."""

    url: str
    writer: str | None
    readers: tuple[str, ...]


class StoreOfRun(NamedTuple):
    """A store, by the name that the workflow gives it."""

    url: str
    users: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """A run. Times are seconds since the epoch."""

    directory: Path
    name: str
    status: str
    reason: str | None
    started: float
    ended: float
    """Now, while it goes on."""
    dovetail: str
    host: str
    components: tuple[Component, ...]
    streams: Mapping[str, StreamOfRun]
    stores: Mapping[str, StoreOfRun]
    exhibits: tuple[Exhibit, ...]
    warnings: tuple[str, ...]
    """Where the run was not as it was planned: cores that a rank did not get."""
    troubles: tuple[str, ...]
    """What could not be read."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.started


def read_run(directory: str | os.PathLike[str]) -> Run:
    """What a run left in its directory.

    Raises
    ------
    FileNotFoundError
        If this is no directory of a run.
    CorruptDataError
        If ``run.json`` is damaged.
    """
    folder = Path(directory).absolute()
    try:
        return _run(folder, _document(folder))
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(_no_run(folder)) from None
    except _DAMAGE as error:
        raise CorruptDataError(
            f"{folder / record.FILE} is damaged: {type(error).__name__}: {error}"
        ) from error


def _document(folder: Path) -> dict[str, Any]:
    """``run.json``; of a run that was killed with its supervisor, as it would have been ended."""
    document = record.read(folder)
    if not _is_lost(document):
        return document
    document = record.read(folder)  # it may just have ended
    if document["ended"] is None:
        seen = (folder / record.FILE).stat().st_mtime  # written anew all the time
        document |= {
            "status": "failed",
            "reason": "the supervisor of the run was killed, or its machine went down",
            "ended": seen,
        }
        for component in document["components"].values():
            if component["ended"] is None:
                component |= {"status": "stopped", "ended": seen}
    return document


def _is_lost(document: Mapping[str, Any]) -> bool:
    """Whether a run neither ended nor goes on; ``False`` where that cannot be seen from here."""
    if document["ended"] is not None or document["host"] != socket.gethostname():
        return False
    try:
        supervisor = psutil.Process(document["supervisor"])
        # A process that is younger has been given the number anew.
        return bool(supervisor.create_time() > document["started"] + _SLACK)
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def _no_run(folder: Path) -> str:
    inside = sorted(folder.glob(f"*/{record.FILE}"), key=lambda path: path.stat().st_mtime)
    if inside:
        return (
            f"{folder} is not the directory of a run, but holds {len(inside)}: the last one is "
            f"{inside[-1].parent}"
        )
    return (
        f"{folder} is not the directory of a run: it holds no {record.FILE}. "
        f"Give a directory that `dovetail run` made"
    )


def _run(folder: Path, document: Mapping[str, Any]) -> Run:
    now = _moment(document["ended"] or time.time())
    exhibits, troubles = _exhibits(folder / "exhibits")
    try:
        warnings = tuple(affinity.warnings(folder))
    except (OSError, *_DAMAGE) as error:
        warnings = ()
        troubles += (f"the notes in {affinity.FOLDER}/: {type(error).__name__}: {error}",)
    wiring = document.get("wiring") or {}
    between, among = wiring.get("streams") or {}, wiring.get("stores") or {}
    return Run(
        folder,
        str(document["name"]),
        str(document["status"]),
        _said(document.get("reason")),
        _moment(document["started"]),
        now,
        str(document["dovetail"]),
        str(document["host"]),
        tuple(
            _component(folder, name, entry, now) for name, entry in document["components"].items()
        ),
        {
            name: StreamOfRun(
                str(url),
                between.get(name, {}).get("writer"),
                tuple(between.get(name, {}).get("readers") or ()),
            )
            for name, url in document["streams"].items()
        },
        {
            name: StoreOfRun(str(url), tuple(among.get(name) or ()))
            for name, url in document["stores"].items()
        },
        exhibits,
        warnings,
        troubles,
    )


def _component(folder: Path, name: str, entry: Mapping[str, Any], now: float) -> Component:
    logs = sorted(
        (
            path
            for path in (folder / "logs").glob("*.log*")
            if _is_of(path.name, name) and path.is_file()
        ),
        key=lambda path: [
            int(part) for part in path.name[len(name) + 1 :].split(".") if part != "log"
        ],
    )
    log, last_lines = entry.get("log"), entry.get("last_lines") or ()
    if not last_lines and logs:
        shown = max(logs, key=_modified)
        log, last_lines = f"logs/{shown.name}", record.tail(shown, _LAST_LINES)
    return Component(
        name,
        bool(entry.get("service")),
        str(entry["status"]),
        _said(entry.get("reason")),
        _ranks(entry["ranks"]),
        int(entry["restarts"]),
        None if entry["started"] is None else _moment(entry["started"]),
        None if entry["ended"] is None else _moment(entry["ended"]),
        tuple(
            Attempt(
                one["attempt"],
                one["rank"],
                one["pid"],
                _moment(one["started"]),
                _moment(one["ended"] or now),
                one["exit"],
            )
            for one in entry["attempts"]
        ),
        float(entry.get("cpu_seconds") or 0.0),
        int(entry.get("memory_peak") or 0),
        tuple(f"logs/{path.name}" for path in logs),
        log,
        tuple(map(str, last_lines)),
    )


def _is_of(log: str, component: str) -> bool:
    """Whether this is ``<component>.<rank>.log`` or ``<component>.<rank>.log.<restart>``."""
    if not log.startswith(f"{component}."):
        return False
    rank, kind, *restart = log[len(component) + 1 :].split(".")
    return rank.isdecimal() and kind == "log" and all(one.isdecimal() for one in restart)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # a run that goes on may have renamed it
        return 0.0


def _moment(seconds: Any) -> float:
    moment = float(seconds)
    if not math.isfinite(moment):
        raise ValueError(f"{moment} is no time")
    return moment


def _ranks(number: Any) -> int:
    ranks = int(number)
    if ranks < 1:
        raise ValueError(f"{ranks} is no number of ranks")
    return ranks


def _said(reason: Any) -> str | None:
    return None if reason is None else str(reason)


def _exhibits(folder: Path) -> tuple[tuple[Exhibit, ...], tuple[str, ...]]:
    found, troubles = [], []
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            found.append(_exhibit(path))
        except (OSError, *_DAMAGE) as error:
            troubles.append(f"the exhibit {path.name}: {type(error).__name__}: {error}")
    return tuple(sorted(found, key=lambda one: one.order)), tuple(troubles)


def _exhibit(path: Path) -> Exhibit:
    document = json.loads(path.read_bytes())
    picture, table = document.get("picture"), document.get("table") or {}
    columns = tuple(map(str, table.get("columns") or ()))
    rows = tuple(map(tuple, table.get("rows") or ()))
    if any(len(row) != len(columns) for row in rows):
        raise ValueError(f"a row of its table is not as long as its {len(columns)} columns")
    return Exhibit(
        str(document["title"]),
        str(document.get("text") or ""),
        None if picture is None else _picture(path.parent / Path(picture).name),
        columns,
        rows,
        float(document.get("order") or 0),
    )


def _picture(path: Path) -> Picture:
    if path.suffix not in MEDIA_TYPES:
        raise ValueError(f"{path.name} is neither PNG nor SVG")
    return Picture(MEDIA_TYPES[path.suffix], path.read_bytes())
