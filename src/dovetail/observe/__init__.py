"""Trace events: what was put, got and waited for, when, for how long, and how many bytes.

Off by default. :func:`start` turns it on for this process, and the environment variable
``DOVETAIL_TRACE=<directory>`` for every process that sees it. Each process writes one file into
the directory; :func:`read` merges them. An event costs well under a microsecond, and whatever
was recorded before a process died can be read, however it died.

A call site tests :data:`recording` and pays nothing more while it is false::

    from dovetail import observe

    if observe.recording:
        observe.record(observe.PUT, key, started, time.time_ns(), nbytes, waited)
"""

from __future__ import annotations

import atexit
import os
import warnings
from pathlib import Path

from dovetail import _native
from dovetail._native import trace_record as record
from dovetail.errors import DovetailError
from dovetail.observe.events import (
    CALL_MODEL,
    FALL_BACK,
    GET,
    KINDS,
    PUBLISH_MODEL,
    PUT,
    READ_STEP,
    REFUSE_MODEL,
    STALL,
    STARVE,
    TAKE_MODEL,
    WAIT,
    WRITE_STEP,
    Event,
)
from dovetail.observe.reading import read

DEFAULT_LIMIT = 1 << 30
"""The most bytes that the recording of one process may take: some 16 million events."""

recording: bool = False
"""Whether this process records. Read it as ``observe.recording``: it changes."""


def start(directory: str | os.PathLike[str], *, limit: int = DEFAULT_LIMIT) -> Path:
    """Record the events of this process, and of its forked children, from now on.

    Parameters
    ----------
    directory
        Where the files go, one a process; made if it is absent. Processes on several nodes may
        share one.
    limit
        The most bytes that one process may write. A process that reaches it, or a full disk,
        stops recording with one :class:`RuntimeWarning`; its work goes on.

    Returns
    -------
    Path
        The file of this process. A recording that was under way is ended.

    Raises
    ------
    DovetailError, OSError
        If no file can be made there.
    """
    global recording
    folder = Path(directory).absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = Path(_native.trace_start(str(folder), limit))
    recording = True
    return path


def stop() -> None:
    """End the recording of this process. Harmless if there is none.

    A file without a single event is removed.
    """
    global recording
    recording = False
    _native.trace_stop()


def _follow_environment() -> None:
    directory = os.environ.get("DOVETAIL_TRACE")
    if not directory:
        return
    try:
        start(directory)
    except (DovetailError, OSError) as error:
        warnings.warn(f"DOVETAIL_TRACE: nothing is recorded: {error}", RuntimeWarning, 2)


_follow_environment()
atexit.register(stop)

__all__ = [
    "CALL_MODEL",
    "DEFAULT_LIMIT",
    "FALL_BACK",
    "GET",
    "KINDS",
    "PUBLISH_MODEL",
    "PUT",
    "READ_STEP",
    "REFUSE_MODEL",
    "STALL",
    "STARVE",
    "TAKE_MODEL",
    "WAIT",
    "WRITE_STEP",
    "Event",
    "read",
    "record",
    "recording",
    "start",
    "stop",
]
