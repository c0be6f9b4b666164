"""A stream carried to another stream, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol, runtime_checkable

from dovetail.errors import CoverageError, StreamStoppedError, TransportTimeoutError
from dovetail.transport.assembly import Extents, GlobalArray, parts_of
from dovetail.transport.contract import ReadStep, StreamReader, StreamWriter, WriteStep
from dovetail.transport.deadlines import Deadline
from dovetail.transport.policies import Policy
from dovetail.transport.registry import open_stream

GLANCE = 0.5
"""Seconds after which a relay that waits for a step looks whether one is still wanted."""


class StepsCarried(NamedTuple):
    """What a relay of a stream did."""

    steps: int
    """Steps that the destination accepted."""
    bytes: int
    """Bytes of their arrays."""
    stopped: bool
    """A reader of the destination called ``stop()``; else the source ended."""


def relay_stream(
    source: str, destination: str, *, policy: Policy | None = None, timeout: float | None = 60.0
) -> StepsCarried:
    """Carry a stream to another, of any engine, until it ends.

    Each step arrives with its attributes and its arrays, in order. Blocks of a global array that
    several ranks put arrive as one. A step is ended at the source once the destination has
    accepted it; under ``lockstep``, once its readers have ended it. So between two bounded
    streams nothing is lost, whatever happens to the relay; a step that it had in hand when it was
    killed may come again after it was started again, and its readers know: they got
    :class:`~dovetail.PeerLostError` in between.

    The end of the stream is an end there. If the producer dies or leaves by an exception, or the
    relay does, readers there get PeerLostError. ``stop()`` there is ``stop()`` here.

    Parameters
    ----------
    source, destination
        URLs of streams, or bare names, as for :func:`~dovetail.open_stream`.
    policy
        Of the destination. The default is the policy of the source.
    timeout
        Deadline of every wait, in seconds: for the producer to open the stream and for each step,
        for readers that hold the destination up, for servers that cannot be reached. ``None``
        waits for ever.

    Returns
    -------
    StepsCarried

    Raises
    ------
    PeerLostError
        The producer died, or left by an exception; or the readers of the destination did.
    TransportTimeoutError, StreamBusyError
    CoverageError
        The blocks of a global array do not even tile the smallest box around them.

    Examples
    --------
    >>> import dovetail as dv
    >>> from dovetail.transport.relay import relay_stream
    >>> with dv.open_stream("shm://here", "w") as out:
    ...     with out.step(attrs={"time": 0.5}) as step:
    ...         step["u"] = [1.0, 2.0]
    >>> relay_stream("shm://here", "shm://there")
    StepsCarried(steps=1, bytes=16, stopped=False)
    >>> [(step.attrs["time"], step["u"]) for step in dv.open_stream("shm://there", "r")]
    [(0.5, array([1., 2.]))]
    """
    with open_stream(source, "r", timeout=timeout) as incoming:
        chosen = incoming.policy if policy is None else policy
        with open_stream(destination, "w", policy=chosen, timeout=timeout) as out:
            return _carry(incoming, out, timeout)


def _carry(incoming: StreamReader, out: StreamWriter, timeout: float | None) -> StepsCarried:
    steps = nbytes = 0
    try:
        while (step := _next(incoming, out, timeout)) is not None:
            with out.step(dict(step.attrs)) as onward:
                nbytes += carry_step(step, onward)
            step.end()
            steps += 1
    except StreamStoppedError:
        incoming.stop()
        return StepsCarried(steps, nbytes, True)
    return StepsCarried(steps, nbytes, False)


def _next(incoming: StreamReader, out: StreamWriter, timeout: float | None) -> ReadStep | None:
    """The next step; None at the end. Raises StreamStoppedError if nobody wants it."""
    deadline = Deadline(timeout)
    while True:
        try:
            return incoming.next_step(min(GLANCE, deadline.left()))
        except TransportTimeoutError:
            if out.stopped:
                raise StreamStoppedError(f"a reader of {out.url} called stop()") from None
            if deadline.passed:
                raise


def carry_step(step: ReadStep, onward: WriteStep) -> int:
    """Put all that is in one step into another; the bytes of its arrays.

    Raises
    ------
    CoverageError
    """
    boxes = _boxes(step) if isinstance(step, LaidOut) else {}
    if isinstance(step, Fetching):
        step.fetch(name for name in step if name not in boxes)
    nbytes = 0
    for name in step:
        box = boxes.get(name)
        if box is None:
            array = step[name]
            onward.put(name, array)
        else:
            array = step.read(name, box.start, box.extent)
            onward.put(name, array, shape=box.shape, start=box.start)
        nbytes += array.nbytes
    return nbytes


@runtime_checkable
class LaidOut(Protocol):
    """A step that tells where the blocks of its arrays lie."""

    @property
    def arrays(self) -> Mapping[str, GlobalArray]: ...


@runtime_checkable
class Fetching(Protocol):
    """A step that brings several whole arrays at once."""

    def fetch(self, names: object) -> None: ...


class Box(NamedTuple):
    """The part of a global array that is there."""

    shape: Extents
    start: Extents
    extent: Extents


def _boxes(step: LaidOut) -> dict[str, Box]:
    """The boxes of those arrays that are not there as a whole."""
    found = {}
    for name, array in step.arrays.items():
        box = _box_of(array)
        if box is not None:
            found[name] = box
    return found


def _box_of(array: GlobalArray) -> Box | None:
    """The smallest box around all blocks; None if it is the whole array.

    Raises
    ------
    CoverageError
        If the blocks do not tile it.
    """
    layout = tuple(
        (block.start, block.variable.shape) for block in array.blocks if block.variable.nbytes
    )
    if not layout:
        return None
    axes = range(len(array.shape))
    start = tuple(min(first[axis] for first, _ in layout) for axis in axes)
    end = tuple(max(first[axis] + count[axis] for first, count in layout) for axis in axes)
    extent = tuple(last - first for first, last in zip(start, end, strict=True))
    if extent == array.shape:
        return None
    if len(layout) > 1:
        try:
            parts_of(array.name, layout, start, extent)
        except CoverageError as error:
            raise CoverageError(
                f"{array.name!r} cannot be carried on: its blocks do not tile the box from {start} "
                f"of extent {extent} that they span, and they arrive as one ({error})"
            ) from None
    return Box(array.shape, start, extent)
