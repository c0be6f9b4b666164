"""Recordings as columns of numbers, for those who look at millions of events at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dovetail.observe.reading import (
    CONTINUATION,
    CONTINUED_NAME,
    INLINE_NAME,
    SLOT,
    name_at,
    slots_of,
)

_INLINE_WORDS, _CONTINUED_WORDS = INLINE_NAME // 8, CONTINUED_NAME // 8
_MOST = np.iinfo(np.int64).max
_MIXING = np.uint64(0x9E3779B97F4A7C15)


class Columns(NamedTuple):
    """The events of one process, in the order of their recording: arrays of equal length."""

    host: str
    pid: int
    kind: NDArray[np.uint8]
    """As in :mod:`dovetail.observe.events`."""
    thread: NDArray[np.uint32]
    start_ns: NDArray[np.int64]
    duration_ns: NDArray[np.int64]
    """At least 0, also where the clock was set back meanwhile."""
    nbytes: NDArray[np.int64]
    wait_ns: NDArray[np.int64]
    """At most the duration."""
    name: NDArray[np.intp]
    """Indices into `names`."""
    names: list[str]

    @property
    def on_main_thread(self) -> NDArray[np.bool_]:
        """Which of them the main thread recorded."""
        main: NDArray[np.bool_] = self.thread == self.pid & 0xFFFFFFFF
        return main


def columns_of(path: str | os.PathLike[str]) -> Columns | None:
    """The events in one ``.trace`` file; ``None`` if there are none.

    Raises
    ------
    CorruptDataError, FormatVersionError
        As :func:`dovetail.observe.read` does.
    """
    content = Path(path).read_bytes()
    recording = slots_of(Path(path), content)
    if recording is None:
        return None
    host, pid, slots, at = recording
    names, codes = _names(content, slots["name_bytes"][at], at)
    whole = codes >= 0
    if not whole.any():
        return None
    events = slots[at[whole]]
    duration = np.maximum(events["duration_ns"], 0)
    return Columns(
        host,
        pid,
        events["kind"],
        events["thread"],
        events["start_ns"],
        duration,
        np.minimum(events["nbytes"], np.uint64(_MOST)).astype(np.int64),
        np.minimum(events["wait_ns"], duration.astype(np.uint64)).astype(np.int64),
        codes[whole],
        names,
    )


def _names(
    content: bytes, sizes: NDArray[Any], at: NDArray[Any]
) -> tuple[list[str], NDArray[np.intp]]:
    """The different names, and for each event which one it has; -1 if its name is cut short."""
    known: dict[str, int] = {}
    codes = np.full(len(at), -1, np.intp)
    for alike in _alike(content, sizes, at):
        first = alike[0]
        name = name_at(content, int(at[first]) + 1, int(sizes[first]))
        if name is not None:
            codes[alike] = known.setdefault(name, len(known))
    return list(known), codes


def _alike(content: bytes, sizes: NDArray[Any], at: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Groups of events whose names are the same. Long names make groups of one."""
    words = np.frombuffer(content, np.uint64, len(content) // SLOT * 8).reshape(-1, SLOT // 8)
    kinds = np.frombuffer(content, np.uint8, len(content) // SLOT * SLOT)[::SLOT]
    place = at + 1
    following = np.minimum(place + 1, len(words) - 1)
    continued = sizes > INLINE_NAME
    broken = continued & ((place + 1 >= len(words)) | (kinds[following] != CONTINUATION))
    long = (sizes > INLINE_NAME + CONTINUED_NAME) | broken
    key = sizes.astype(np.uint64)
    with np.errstate(over="ignore"):
        for word in range(_INLINE_WORDS):
            key = (key ^ words[place, 8 - _INLINE_WORDS + word]) * _MIXING
            key ^= key >> np.uint64(29)
        for word in range(_CONTINUED_WORDS):
            more = words[following, 8 - _CONTINUED_WORDS + word]
            key = np.where(continued, (key ^ more) * _MIXING, key)
            key ^= np.where(continued, key >> np.uint64(29), np.uint64(0))
    short = np.flatnonzero(~long)
    order = short[np.argsort(key[short], kind="stable")]
    ends = np.flatnonzero(np.diff(key[order])) + 1
    yield from (group for group in np.split(order, ends) if len(group))
    for event in np.flatnonzero(long):
        yield np.array([event])
