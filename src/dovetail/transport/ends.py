"""Both ends of a stream, as their users see them, over a core that moves the blocks.

The native ring is such a core, and so is the ledger of a stream over a store.
"""

from __future__ import annotations

import json
import time
from collections.abc import ItemsView, Iterator, KeysView, Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from numpy.typing import DTypeLike, NDArray

from dovetail import observe
from dovetail.data import Attributes, Dataset, Variable
from dovetail.data.arrays import attributes_to_json
from dovetail.data.layout import (
    Entry,
    Header,
    Room,
    attributes_of,
    decode,
    encode,
    make_room,
    variables_of,
)
from dovetail.errors import CoverageError, KeyNotFoundError, TransportClosedError
from dovetail.transport.assembly import GlobalArray, global_arrays
from dovetail.transport.closing import Closing
from dovetail.transport.contract import Participant, Shape, StreamStatistics
from dovetail.transport.deadlines import seconds
from dovetail.transport.policies import Policy, PolicyKind

TakenStep = tuple[int, float, list[tuple[Any, Header]]]
"""Index, time, and the bytes and header of each writer rank's block, in rank order."""
Counters = tuple[int, int, float, int, int]
"""Steps, bytes, seconds waited, steps dropped, steps redelivered."""


class WriterCore(Protocol):
    """What moves the blocks of one writer rank."""

    @property
    def epoch(self) -> int: ...
    @property
    def policy(self) -> tuple[PolicyKind, int]: ...
    @property
    def stopped(self) -> bool: ...
    def begin(self) -> int:
        """Wait until the policy lets a step begin; its index."""
        ...

    def put(self, name: str, code: str, shape: tuple[int, ...], data: Any) -> None:
        """Copy an array into the step."""
        ...

    def empty(self, name: str, code: str, shape: tuple[int, ...]) -> tuple[Any, int, int]:
        """Room in the step: its memory, the offset in it, and its bytes."""
        ...

    def end(self, metadata: dict[str, str], written_to: bool) -> None:
        """Publish the step; `written_to` says that others can still write to its room."""
        ...

    def abandon(self) -> None:
        """Give the step up."""
        ...

    def close(self, failed: bool) -> None: ...
    def statistics(self) -> Counters: ...


class ReaderCore(Protocol):
    """What brings the blocks to one reader rank."""

    @property
    def epoch(self) -> int: ...
    @property
    def policy(self) -> tuple[PolicyKind, int]: ...
    def next(self, timeout: float) -> TakenStep | None:
        """End the step in hand, and wait for another; None at the end of the stream."""
        ...

    def end(self) -> None: ...
    def stop(self) -> None: ...
    def close(self, failed: bool) -> None: ...
    def statistics(self) -> Counters: ...


class OpenStep:
    """A step under construction."""

    def __init__(self, writer: Writer, index: int, metadata: dict[str, str]) -> None:
        self._writer = writer
        self._index = index
        self._metadata = metadata
        self._room = Room()
        self._nbytes = 0
        self._open = True

    @property
    def index(self) -> int:
        return self._index

    def put(
        self, name: str, array: Any, shape: Shape | None = None, start: Shape | None = None
    ) -> None:
        entered = time.perf_counter_ns()
        native = self._native()
        metadata: dict[str, str] = {}
        piece = encode(name, array, metadata)
        if shape is not None or start is not None:
            count = piece.shape
            if f"dovetail.dtype.{name}" in metadata:
                count = count[:-1]
            if f"dovetail.order.{name}" in metadata:
                count = count[::-1]
            place(name, count, shape, start, metadata)
        native.put(name, piece.code, piece.shape, piece.buffer)
        self._metadata |= metadata
        self._nbytes += piece.buffer.nbytes
        self._writer.in_calls_ns += time.perf_counter_ns() - entered

    def __setitem__(self, name: str, array: Any) -> None:
        self.put(name, array)

    def empty(
        self,
        name: str,
        count: Shape,
        dtype: DTypeLike,
        shape: Shape | None = None,
        start: Shape | None = None,
    ) -> NDArray[Any]:
        entered = time.perf_counter_ns()
        native = self._native()
        metadata: dict[str, str] = {}
        piece = make_room(name, count, dtype, metadata)
        extents = piece.shape[:-1] if f"dovetail.dtype.{name}" in metadata else piece.shape
        place(name, extents, shape, start, metadata)
        memory, offset, nbytes = native.empty(name, piece.code, piece.shape)
        self._metadata |= metadata
        entry = Entry(name, piece.code, piece.shape, offset, nbytes)
        array = self._room.hand_out(decode([entry], metadata)[name], memory)
        self._nbytes += nbytes
        self._writer.in_calls_ns += time.perf_counter_ns() - entered
        return array

    def _native(self) -> WriterCore:
        if not self._open:
            raise TransportClosedError(
                f"step {self._index} of {self._writer.url} has ended: begin another with step()"
            )
        return self._writer.native

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._open:
            return
        self._open = False
        writable = self._room.seal()
        if kind is None:
            self._writer.end_step(self._metadata, writable, self._nbytes)
        else:
            self._writer.native.abandon()


def place(
    name: str,
    count: tuple[int, ...],
    shape: Shape | None,
    start: Shape | None,
    metadata: dict[str, str],
) -> None:
    """Note where a block of shape `count` lies in its global array.

    Raises
    ------
    CoverageError
        If it does not lie inside.
    """
    if shape is None and start is None:
        return
    if shape is None or start is None:
        raise CoverageError(f"{name!r}: give both shape= and start=, or neither")
    whole, first = [int(extent) for extent in shape], [int(extent) for extent in start]
    inside = len(whole) == len(first) == len(count) and all(
        begin >= 0 and begin + size <= extent
        for begin, size, extent in zip(first, count, whole, strict=True)
    )
    if not inside:
        raise CoverageError(
            f"a block of shape {count} at start={tuple(first)} does not lie inside {name!r} of "
            f"global shape {tuple(whole)}"
        )
    metadata[f"dovetail.shape.{name}"] = json.dumps(whole)
    metadata[f"dovetail.start.{name}"] = json.dumps(first)


class Writer(Closing):
    """The producing end of a stream."""

    def __init__(self, url: str, native: WriterCore) -> None:
        self._url = url
        self._handle: WriterCore | None = native
        self._ended: WriterCore = native
        kind, window = native.policy
        self._policy = Policy(kind, window)
        self._step: OpenStep | None = None
        self._step_started = 0
        self._waited_before = 0.0
        self.in_calls_ns = 0
        """Nanoseconds spent inside calls."""

    @property
    def url(self) -> str:
        return self._url

    @property
    def policy(self) -> Policy:
        return self._policy

    @property
    def epoch(self) -> int:
        """How many writers have opened this stream so far, this one included."""
        return self._ended.epoch

    @property
    def native(self) -> WriterCore:
        """The native writer, while it is open."""
        if self._handle is None:
            raise TransportClosedError(f"the stream {self._url} is closed; open it again")
        return self._handle

    @property
    def stopped(self) -> bool:
        return self.native.stopped

    def step(self, attrs: Attributes | None = None) -> OpenStep:
        entered = time.perf_counter_ns()
        self._step_started = time.time_ns() if observe.recording else 0
        native = self.native
        if self._step_started:
            self._waited_before = native.statistics()[2]
        metadata = {"dovetail.attrs": attributes_to_json(attrs)} if attrs else {}
        try:
            self._step = OpenStep(self, native.begin(), metadata)
        finally:
            self.in_calls_ns += time.perf_counter_ns() - entered
        return self._step

    def end_step(self, metadata: dict[str, str], writable: bool, nbytes: int) -> None:
        """Publish the step under construction; called as its ``with`` block ends."""
        entered = time.perf_counter_ns()
        try:
            self.native.end(metadata, writable)
        finally:
            self.in_calls_ns += time.perf_counter_ns() - entered
        if self._step_started:
            waited_ns = int((self.native.statistics()[2] - self._waited_before) * 1e9)
            ended = time.time_ns()
            observe.record(
                observe.WRITE_STEP, self._url, self._step_started, ended, nbytes, waited_ns
            )

    def statistics(self) -> StreamStatistics:
        return _statistics(self._ended, self.in_calls_ns)

    def close(self) -> None:
        self._leave(failed=False)

    def _leave(self, failed: bool) -> None:
        native, self._handle = self._handle, None
        if native is not None:
            native.close(failed)

    def __repr__(self) -> str:
        state = " (closed)" if self._handle is None else ""
        return f"<StreamWriter {self._url} {self._policy}{state}>"


class CompleteStep(Mapping[str, NDArray[Any]]):
    """A complete step."""

    def __init__(self, taken: TakenStep, end: Any) -> None:
        self._index, self._time, blocks = taken
        self._blocks = blocks
        self._end = end
        self._ranks: list[tuple[Any, dict[str, Variable]]] = [
            (memory, variables_of(header)) for memory, header in blocks
        ]
        self._arrays: dict[str, GlobalArray] | None = None
        self._attrs: dict[str, Any] | None = None

    @property
    def index(self) -> int:
        return self._index

    @property
    def time(self) -> float:
        return self._time

    @property
    def attrs(self) -> dict[str, Any]:
        if self._attrs is None:
            self._attrs = {}
            for _, (_, _, metadata) in reversed(self._blocks):
                self._attrs |= attributes_of(metadata)
        return self._attrs

    @property
    def arrays(self) -> dict[str, GlobalArray]:
        """The global arrays, and the blocks that they lie in."""
        if self._arrays is None:
            self._arrays = global_arrays(self._ranks)
        return self._arrays

    @property
    def nbytes(self) -> int:
        """Bytes of all blocks."""
        return sum(v.nbytes for _, variables in self._ranks for v in variables.values())

    def _array(self, name: str) -> GlobalArray:
        array = self.arrays.get(name)
        if array is None:
            raise KeyNotFoundError(
                f"step {self._index} has no array {name!r}; there are {', '.join(self) or 'none'}"
            )
        return array

    def __getitem__(self, name: str) -> NDArray[Any]:
        if len(self._ranks) == 1:
            memory, variables = self._ranks[0]
            variable = variables.get(name)
            if variable is not None and variable.start is None:
                return variable.view(memory)
        array = self._array(name)
        return array.read((0,) * len(array.shape), array.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    def __contains__(self, name: object) -> bool:
        return name in self.arrays

    def keys(self) -> KeysView[str]:
        return KeysView(self)

    def items(self) -> ItemsView[str, NDArray[Any]]:
        return ItemsView(self)

    def read(self, name: str, start: Shape, count: Shape) -> NDArray[Any]:
        return self._array(name).read(start, count)

    def dataset(self) -> Dataset:
        if len(self._blocks) == 1:
            return Dataset.from_block(*self._blocks[0])
        return Dataset(dict(self.items()), self.attrs)

    def torch(self, name: str) -> Any:
        return self.dataset().torch(name)

    def end(self) -> None:
        end, self._end = self._end, None
        if end is not None:
            end()

    def __repr__(self) -> str:
        arrays = ", ".join(
            f"{name}: {array.dtype}{list(array.shape)}" for name, array in self.arrays.items()
        )
        return f"<step {self._index} {{{arrays}}} attrs={self.attrs!r}>"


class Reader(Closing):
    """The consuming end of a stream."""

    def __init__(self, url: str, native: ReaderCore, participant: Participant) -> None:
        self._url = url
        self._native = native
        self._timeout = participant.timeout
        kind, window = native.policy
        self._policy = Policy(kind, window)
        self._current: CompleteStep | None = None
        self._in_calls_ns = 0
        self._finished = False
        self._closed = False

    @property
    def url(self) -> str:
        return self._url

    @property
    def policy(self) -> Policy:
        return self._policy

    @property
    def epoch(self) -> int:
        """Which of the stream's writers, counted from 1, this reader reads."""
        return self._native.epoch

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> CompleteStep:
        step = self.next_step()
        if step is None:
            raise StopIteration
        return step

    def next_step(self, timeout: float | None = None) -> CompleteStep | None:
        if self._finished:
            return None
        if self._closed:
            raise TransportClosedError(f"the stream {self._url} is closed; open it again")
        entered = time.perf_counter_ns()
        started = time.time_ns() if observe.recording else 0
        waited = self._native.statistics()[2] if started else 0.0
        step = None
        try:
            taken = self._native.next(seconds(self._timeout if timeout is None else timeout))
            if taken is not None:
                step = CompleteStep(taken, self._native.end)
        finally:
            self._in_calls_ns += time.perf_counter_ns() - entered
            if started:
                waited_ns = int((self._native.statistics()[2] - waited) * 1e9)
                nbytes = 0 if step is None else step.nbytes
                observe.record(
                    observe.READ_STEP, self._url, started, time.time_ns(), nbytes, waited_ns
                )
        if step is None:
            self._finished = True
            self.close()
            return None
        if self._current is not None:
            self._current._end = None
        self._current = step
        return step

    def statistics(self) -> StreamStatistics:
        return _statistics(self._native, self._in_calls_ns)

    def stop(self) -> None:
        if not self._closed:
            self._closed = True
            self._native.stop()

    def close(self) -> None:
        self._leave(failed=False)

    def _leave(self, failed: bool) -> None:
        if not self._closed:
            self._closed = True
            self._native.close(failed)

    def __repr__(self) -> str:
        state = " (closed)" if self._closed else ""
        return f"<StreamReader {self._url} {self._policy}{state}>"


def _statistics(native: WriterCore | ReaderCore, in_calls_ns: int) -> StreamStatistics:
    steps, nbytes, waited, dropped, redelivered = native.statistics()
    return StreamStatistics(steps, nbytes, waited, in_calls_ns * 1e-9, dropped, redelivered)


class Onlooker(Protocol):
    """What sees the newest steps from outside."""

    def next(self, timeout: float) -> TakenStep | None: ...


def tail(core: Onlooker, timeout: float | None) -> Iterator[CompleteStep]:
    """Follow a stream's newest steps from outside."""
    while (taken := core.next(seconds(timeout))) is not None:
        yield CompleteStep(taken, None)
