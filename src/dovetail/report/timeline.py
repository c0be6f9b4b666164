"""The run along its time: what each rank did, and what happened to the models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise

import numpy as np

from dovetail.quantities import counted, in_bytes, in_percent, in_seconds
from dovetail.report.account import Account
from dovetail.report.activity import BINS, Lane, Series, together
from dovetail.report.markup import Markup, element, joined
from dovetail.report.models import Guarded, Mark
from dovetail.report.passages import CHANGES

MOST_LANES = 24
"""Beyond so many ranks a component has one lane."""
_MOST_MARKS = 120
"""Of one kind in one lane."""
_HEIGHT = 100
_FLOW_PARTS = 4
"""Parts of the run over which a rate is a mean."""
_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300)
_LONG_STEPS = (600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
_KINDS = ("computed", "moved", "waited")


def timeline(account: Account) -> Markup:
    """Who computed, moved data or waited."""
    lanes = shown(account.lanes)
    return element(
        "div",
        joined(_lane(lane, account) for lane in lanes),
        _axis(account),
        class_="timeline",
    )


def guard_lanes(account: Account) -> Markup:
    """When the physics stood in for a model."""
    return element(
        "div",
        joined(_guard(one, account) for one in account.guarded),
        _axis(account),
        class_="timeline",
    )


def shown(lanes: Sequence[Lane]) -> list[Lane]:
    """The lanes that there is room for."""
    if len(lanes) <= MOST_LANES:
        return list(lanes)
    return [together(list(of)) for _, of in groupby(lanes, key=lambda lane: lane.component)]


def _lane(lane: Lane, account: Account) -> Markup:
    shares = lane.shares
    said = ", ".join(
        f"{kind} {in_percent(share)}"
        for kind, share in zip(("computed", "moved data", "waited"), shares, strict=True)
    )
    name = f"{lane.component} ({counted(lane.ranks, 'rank')})" if lane.rank < 0 else lane.name
    parts = (lane.computing, lane.moving, lane.waiting)
    return element(
        "div",
        element("div", element("b", name), _shares(lane), class_="who"),
        element(
            "div",
            _stack(parts, _KINDS, f"{name}: {said if lane.events else 'recorded nothing'}"),
            _flow(lane),
            joined(_marks(lane, account)),
            class_="band" if lane.events else "band silent",
        ),
        class_="lane",
    )


def _shares(lane: Lane) -> Markup:
    if not lane.events:
        return element("span", "recorded nothing", class_="quiet")
    return element(
        "span",
        *(
            element("span", in_percent(share), class_=f"share {kind}", title=kind)
            for kind, share in zip(_KINDS, lane.shares, strict=True)
        ),
        class_="shares",
    )


def _guard(guarded: Guarded, account: Account) -> Markup:
    with np.errstate(invalid="ignore"):
        falling = np.where(guarded.calling > 0, guarded.falling / guarded.calling, 0.0)
    calling = np.where(guarded.calling > 0, 1.0, 0.0)
    name = f"{guarded.component}: {guarded.guard}"
    said = f"{name}: the physics stood in for {in_percent(guarded.share)} of the calls"
    return element(
        "div",
        element("div", element("b", name), class_="who"),
        element(
            "div",
            _stack((calling - falling, falling), ("model", "physics"), said),
            class_="band",
        ),
        class_="lane",
    )


def _stack(parts: Sequence[Series], kinds: Sequence[str], said: str) -> Markup:
    """Shares of each part of the run, one upon the other."""
    base = np.zeros(BINS, np.intp)
    total = np.zeros(BINS)
    paths = []
    for part, kind in zip(parts, kinds, strict=True):
        total = total + part
        top = np.rint(np.clip(total, 0, 1) * _HEIGHT).astype(np.intp)
        if (top > base).any():
            paths.append(element("path", class_=kind, d=_between(base, top)))
        base = top
    return _drawing(_HEIGHT, "states", said, *paths)


def _flow(lane: Lane) -> Markup | None:
    flow = lane.flow.reshape(-1, _FLOW_PARTS).mean(axis=1).repeat(_FLOW_PARTS)
    most = float(flow.max())
    if not most:
        return None
    top = np.ceil(flow / most * _HEIGHT).astype(np.intp)
    said = f"data moved by {lane.name}: {in_bytes(lane.nbytes)}, at most {in_bytes(most)}/s"
    path = element("path", class_="flow", d=_between(np.zeros(BINS, np.intp), top))
    return _drawing(_HEIGHT, "flows", said, path)


def _drawing(height: int, class_: str, said: str, *paths: Markup) -> Markup:
    return element(
        "svg",
        element("title", said),
        *paths,
        viewBox=f"0 0 {BINS} {height}",
        preserveAspectRatio="none",
        class_=class_,
        role="img",
        aria_label=said,
    )


def _between(base: np.ndarray, top: np.ndarray) -> str:
    """The outline of columns, from one height to another; neighbours of equal size are one."""
    changes = np.flatnonzero((np.diff(base) != 0) | (np.diff(top) != 0)) + 1
    edges = [0, *changes.tolist(), BINS]
    return "".join(
        f"M{a} {_HEIGHT - low}H{b}V{_HEIGHT - high}H{a}Z"
        for a, b in pairwise(edges)
        if (high := int(top[a])) > (low := int(base[a]))
    )


def _marks(lane: Lane, account: Account) -> Iterable[Markup]:
    own = [
        mark
        for mark in account.marks
        if mark.component == lane.component and lane.rank in (-1, mark.rank)
    ]
    for what in CHANGES:
        of_kind = [mark for mark in own if mark.what == what]
        for mark in of_kind[:: len(of_kind) // _MOST_MARKS + 1]:
            yield _mark(mark, account)
    for attempt in lane.attempts:
        if attempt.attempt and lane.rank in (-1, attempt.rank):
            said = f"restart {attempt.attempt}"
            yield _pin(attempt.started, "restart", said, account)


def _mark(mark: Mark, account: Account) -> Markup:
    said = f"{mark.model} {mark.version} {mark.what}"
    said += f" ({mark.reason})" if mark.reason else ""
    return _pin(mark.seconds, mark.what, said, account)


def _pin(moment: float, class_: str, said: str, account: Account) -> Markup:
    since = moment - account.clock.started
    place = min(max(since / account.clock.seconds, 0.0), 1.0)
    return element(
        "i", class_=f"pin {class_}", style=f"left:{place:.3%}", title=f"{said}, at {_at(since)}"
    )


def _axis(account: Account) -> Markup:
    seconds = account.clock.seconds
    step = next((one for one in _STEPS + _LONG_STEPS if seconds / one <= 7), seconds)
    ticks = np.arange(0, seconds * (1 - 1e-9), step).tolist()
    return element(
        "div",
        element("div", class_="who"),
        element(
            "div",
            *(
                element("span", _at(tick), style=f"left:{tick / seconds:.3%}")
                for tick in ticks
                if tick / seconds < 0.97
            ),
            class_="axis",
        ),
        class_="lane",
    )


def _at(seconds: float) -> str:
    """A moment of the run: ``12 s``, ``4:30``, ``2:05:00``."""
    if seconds < 100:
        return in_seconds(round(seconds, 3)) if seconds else "0"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
