"""The account of a run in lines for a terminal."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from dovetail.quantities import counted, in_bytes, in_percent, in_rate, in_seconds
from dovetail.report import passages
from dovetail.report.account import Account
from dovetail.report.activity import Lane, together
from dovetail.report.cells import in_cell, is_number
from dovetail.report.directory import Exhibit

WIDTH = 100
_BAR = 20
_UNIT = re.compile(r"(?<=\d) (?=%|[kMGT]?i?B\b|[mµn]?s\b|min\b|h\b)")


def text(account: Account) -> str:
    """The lines, at most 100 characters each where the names in it allow."""
    blocks = (list(block) for block in _blocks(account))
    return "\n\n".join("\n".join(map(_printable, block)) for block in blocks if block)


def _blocks(account: Account) -> Iterator[Iterable[str]]:
    run = account.run
    yield [
        *_wrapped(f"{run.name}: {run.status} after {in_seconds(run.seconds)}"),
        *_wrapped(run.reason or ""),
        *_wrapped(", ".join(" ".join(one) for one in passages.figures(account)[1:])),
    ]
    for warning in run.warnings:
        yield _wrapped(f"warning: {warning}")
    if run.exhibits:
        yield _exhibit(run.exhibits[0])
    if run.exhibits[1:]:
        titles = ", ".join(exhibit.title for exhibit in run.exhibits[1:])
        yield _wrapped(f"In the report also: {titles}")
    yield _components(account)
    yield _streams(account)
    yield _learning(account)
    yield [f"could not be read: {trouble}" for trouble in account.troubles]


def _exhibit(exhibit: Exhibit) -> Iterator[str]:
    yield exhibit.title
    for block in exhibit.text.split("\n\n"):
        yield from _wrapped(block)
    if exhibit.columns:
        yield ""
        yield from _table(exhibit.columns, exhibit.rows)


def _components(account: Account) -> Iterable[str]:
    rows = []
    for component in account.run.components:
        lanes = [lane for lane in account.lanes if lane.component == component.name]
        lane = together(lanes)
        rows.append(
            (
                component.name,
                component.status,
                in_seconds(lane.seconds / len(lanes)),
                *(map(in_percent, lane.shares) if lane.events else ("", "", "")),
                _bar(lane),
            )
        )
    return _table(("COMPONENT", "STATUS", "TIME", "COMPUTED", "MOVED DATA", "WAITED", ""), rows)


def _bar(lane: Lane) -> str:
    """Computed, moved data, waited: as lengths of one bar."""
    if not lane.events:
        return ""
    computed, moved, _ = lane.shares
    first = round(computed * _BAR)
    second = max(round((computed + moved) * _BAR), first)
    return "█" * first + "▒" * (second - first) + "·" * (_BAR - second)


def _streams(account: Account) -> Iterable[str]:
    rows = [
        (
            one.stream,
            f"{one.component} {one.side}",
            one.steps,
            in_bytes(one.nbytes),
            in_rate(one.nbytes * one.ranks, one.seconds),
            in_seconds(one.waiting_seconds),
        )
        for one in account.streams
    ]
    return _table(("STREAM", "", "STEPS", "DATA", "RATE", "WAITED"), rows) if rows else []


def _learning(account: Account) -> Iterator[str]:
    for one in account.starvation:
        if not one.first_wait:
            yield f"{one.component} never waited for samples"
            continue
        yield (
            f"{one.component} starved for {in_seconds(one.seconds)}, {in_percent(one.share)} of "
            f"its time; its first wait took {in_seconds(one.first_wait)}"
        )
    for stall in account.stalls:
        yield f"{stall.producer} waited {in_seconds(stall.seconds)} for room at {stall.component}"
    for published in account.published:
        every = f", one every {in_seconds(published.interval)}" if published.versions > 1 else ""
        yield (
            f"{published.component} published {counted(published.versions, 'version')} of "
            f"{published.model}{every}"
        )
    for followed in account.followed:
        refused = passages.by_reason(followed.refused) or "none"
        yield f"{followed.component} took {followed.taken} of {followed.model}; refused: {refused}"
    for guard in account.guarded:
        reasons = passages.by_reason(guard.reasons)
        yield (
            f"{guard.component}: the physics stood in for {guard.guard} in {guard.fallbacks} of "
            f"{counted(guard.calls, 'call')}{f' ({reasons})' if reasons else ''}"
        )


def _wrapped(sentence: str) -> list[str]:
    """Lines that do not begin with a unit."""
    bound = _UNIT.sub("\N{NO-BREAK SPACE}", sentence)
    lines = textwrap.wrap(bound, WIDTH, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    cells = [[_printable(in_cell(value)) for value in row] for row in rows]
    lines = [list(columns), *cells]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    right = [
        all(is_number(row[place]) or not row[place] for row in cells)
        and any(row[place] for row in cells)
        for place in range(len(columns))
    ]
    return [
        "  ".join(
            cell.rjust(width) if flush else cell.ljust(width)
            for cell, width, flush in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    ]


def _printable(line: str) -> str:
    """A line without characters that would move the cursor."""
    if line.isprintable():
        return line
    return "".join(
        one if one.isprintable() or one == "\N{NARROW NO-BREAK SPACE}" else f"\\x{ord(one):02x}"
        for one in line
    )
