"""Reading recordings back. The layout of their files is drawn in ``native/src/trace.hpp``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dovetail.errors import CorruptDataError, FormatVersionError
from dovetail.observe.events import KINDS, Event

MAGIC = b"DVTLTRCE"
VERSION = 1
SLOT = 64
CONTINUATION = 255

_HEADER = np.dtype(
    [
        ("magic", "V8"),
        ("version", "<u4"),
        ("slot", "<u4"),
        ("pid", "<u8"),
        ("started_ns", "<i8"),
        ("host", "V32"),
    ]
)
_SLOT = np.dtype(
    [
        ("kind", "u1"),
        ("zero", "u1"),
        ("name_bytes", "<u2"),
        ("thread", "<u4"),
        ("start_ns", "<i8"),
        ("duration_ns", "<i8"),
        ("nbytes", "<u8"),
        ("wait_ns", "<u8"),
        ("name", "V24"),
    ]
)
_FIELDS = ("kind", "name_bytes", "thread", "start_ns", "duration_ns", "nbytes", "wait_ns")
INLINE_NAME = 24
CONTINUED_NAME = 56


def read(directory: str | os.PathLike[str]) -> list[Event]:
    """All events that were recorded in a directory, merged and sorted by their start.

    Processes may be recording there meanwhile: what is complete is read. A file that was cut
    short gives the events that it still holds.

    Raises
    ------
    FileNotFoundError
        If there is no such directory.
    CorruptDataError
        If a ``.trace`` file is not a recording, or is damaged.
    FormatVersionError
        If it was written by a version that this one cannot read.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no directory {folder}: nothing was recorded there")
    return sorted(event for path in sorted(folder.glob("*.trace")) for event in _events_of(path))


def _events_of(path: Path) -> Iterator[Event]:
    content = path.read_bytes()
    recording = slots_of(path, content)
    if recording is None:
        return
    host, pid, slots, at = recording
    columns = [at + 1, *(slots[field][at] for field in _FIELDS)]
    for index, kind, size, thread, start, duration, nbytes, wait in zip(
        *(column.tolist() for column in columns), strict=True
    ):
        name = name_at(content, index, size)
        if name is not None:
            known = KINDS.get(kind, str(kind))
            yield Event(start, duration, known, name, nbytes, wait, host, pid, thread)


class Slots(NamedTuple):
    """The recording of one process, as it lies in its file."""

    host: str
    pid: int
    slots: NDArray[Any]
    """All slots after the header: events, continuations of their names, and empty ones."""
    at: NDArray[Any]
    """Which of them begin an event."""


def slots_of(path: Path, content: bytes) -> Slots | None:
    """The slots in the content of a file; ``None`` if its process ended before it had a header.

    Raises
    ------
    CorruptDataError, FormatVersionError
    """
    if len(content) < SLOT:
        if content.strip(b"\0") and not content.startswith(MAGIC[: len(content)]):
            raise CorruptDataError(f"{path} is not a recording of trace events")
        return None
    header = np.frombuffer(content, _HEADER, 1)[0]
    if header["magic"].tobytes() != MAGIC:
        raise CorruptDataError(f"{path} is not a recording of trace events")
    if header["version"] != VERSION or header["slot"] != SLOT:
        raise FormatVersionError(
            f"{path} was recorded in version {header['version']} of the format; "
            f"this Dovetail reads version {VERSION}"
        )
    host = header["host"].tobytes().split(b"\0")[0].decode(errors="replace")
    slots = np.frombuffer(content, _SLOT, len(content) // SLOT - 1, SLOT)
    kinds = slots["kind"]
    bad = np.flatnonzero(((kinds > 127) & (kinds != CONTINUATION)) | (slots["zero"] != 0))
    if bad.size:
        raise CorruptDataError(f"{path} is damaged at byte {(int(bad[0]) + 1) * SLOT}")
    at = np.flatnonzero((kinds > 0) & (kinds != CONTINUATION))
    return Slots(host, int(header["pid"]), slots, at)


def name_at(content: bytes, index: int, size: int) -> str | None:
    """The name of the event in slot `index` of the file, its header being slot 0.

    ``None`` if the name is not there to its end.
    """
    begin = index * SLOT + 40
    text = content[begin : begin + min(size, INLINE_NAME)]
    while len(text) < size:
        index += 1
        head = content[index * SLOT : index * SLOT + SLOT]
        if len(head) < SLOT or head[0] != CONTINUATION:
            return None
        text += head[8 : 8 + min(size - len(text), CONTINUED_NAME)]
    return text.decode(errors="replace")
