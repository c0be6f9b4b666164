"""What stands beside the files of a recording: who wrote it, how far it is, and how it ended.

In the folder ``dovetail`` inside the recording:

=====================  ====================================================================
``recording.json``     the version of this layout, and how many writer ranks there are
``rank-N``             16 bytes, little-endian: how many steps rank N has ended, and how it is
                       (0 writing, 1 ended, 2 left by an exception; 3 writing where files cannot
                       be locked); locked while N lives
``stopped``            a reader wants no more
=====================  ====================================================================
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import struct
import weakref
from pathlib import Path
from typing import Literal, NamedTuple

from dovetail.errors import CorruptDataError, FormatVersionError

FOLDER = "dovetail"
VERSION = 1

RankState = Literal["open", "ended", "failed", "lost"]
_WRITING, _ENDED, _FAILED, _UNLOCKED = range(4)
_STATES: dict[int, RankState] = {
    _WRITING: "open",
    _ENDED: "ended",
    _FAILED: "failed",
    _UNLOCKED: "open",
}
_MARK = struct.Struct("<QQ")


class Progress(NamedTuple):
    """How far a writer rank is."""

    steps: int
    state: RankState


class RankMark:
    """The mark of a living writer rank. It is released when its process dies."""

    def __init__(self, recording: Path, rank: int) -> None:
        path = recording / FOLDER / f"rank-{rank}"
        self._steps = 0
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._writing = _WRITING
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except OSError:  # a parallel file system without locks: nobody can see a death there
            self._writing = _UNLOCKED
        self._write(self._writing)
        _marks.add(self)

    def advance(self) -> None:
        """One more step has been ended."""
        self._steps += 1
        self._write(self._writing)

    def close(self, failed: bool) -> None:
        self._write(_FAILED if failed else _ENDED)
        self.forget()

    def forget(self) -> None:
        """Close what a forked child must not hold."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _write(self, state: int) -> None:
        os.pwrite(self._descriptor, _MARK.pack(self._steps, state), 0)


_marks: weakref.WeakSet[RankMark] = weakref.WeakSet()


def _forget_all() -> None:
    for mark in list(_marks):
        mark.forget()


os.register_at_fork(after_in_child=_forget_all)


class RankWatch:
    """Looks at the mark of a writer rank."""

    def __init__(self, recording: Path, rank: int) -> None:
        self._path = recording / FOLDER / f"rank-{rank}"
        self._descriptor = -1

    def look(self) -> Progress:
        """How far the rank is; as open, without steps, while it is not there yet."""
        if self._descriptor < 0:
            try:
                self._descriptor = os.open(self._path, os.O_RDONLY)
            except FileNotFoundError:
                return Progress(0, "open")
        steps, state = self._read()
        if state == _WRITING and self._released():
            steps, state = self._read()  # it may have ended between the two looks
            if state == _WRITING:
                return Progress(steps, "lost")
        return Progress(steps, _STATES[state])

    def _read(self) -> tuple[int, int]:
        data = os.pread(self._descriptor, _MARK.size, 0)
        if not data:  # made a moment ago, and not locked yet
            return 0, _UNLOCKED
        try:
            steps, state = _MARK.unpack(data)
        except struct.error:
            state = -1
        if state not in _STATES:
            raise CorruptDataError(f"{self._path} is no mark of a writer rank")
        return steps, state

    def _released(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return True

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


def write_manifest(recording: Path, ranks: int) -> None:
    """Say how many writer ranks there are: the recording is there from now on."""
    path = recording / FOLDER / "recording.json"
    fresh = path.with_suffix(f".{secrets.token_hex(8)}")
    fresh.write_text(json.dumps({"version": VERSION, "ranks": ranks}), encoding="utf-8")
    fresh.rename(path)


def read_manifest(recording: Path) -> int | None:
    """How many writer ranks there are; None if there is no recording of ours.

    Raises
    ------
    FormatVersionError, CorruptDataError
    """
    path = recording / FOLDER / "recording.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        version, ranks = int(found["version"]), int(found["ranks"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptDataError(f"{path} cannot be understood: {error!r}") from error
    if version != VERSION:
        raise FormatVersionError(
            f"{recording} was recorded by another version of Dovetail (layout {version}; this one "
            f"reads {VERSION})"
        )
    return ranks


def say_stopped(recording: Path) -> None:
    """A reader wants no more."""
    with contextlib.suppress(FileNotFoundError):
        (recording / FOLDER / "stopped").touch()


def stopped(recording: Path) -> bool:
    """Whether a reader wants no more."""
    return (recording / FOLDER / "stopped").exists()
