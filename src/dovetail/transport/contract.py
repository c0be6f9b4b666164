"""What every engine promises: the contracts of Store and Stream.

The *core promises* bind every engine and are tested by :mod:`dovetail.testing`:

- a reader sees the old value or the new one, never a mixture;
- a writer killed at any instruction leaves nothing half-visible;
- a value in hand never changes, whatever happens to its key;
- a full store raises :class:`~dovetail.StoreFullError` and loses nothing already stored;
- no wait without a deadline that the caller can set;
- a key is any text but NUL, and never leaves its store (``../`` is just a name);
- bytes that are not a sound value raise :class:`~dovetail.CorruptDataError`;
- leaving ``reserve`` or a step by an exception publishes nothing.

What engines may differ in is declared in :class:`Capabilities`, and tested as declared.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

from numpy.typing import DTypeLike, NDArray

from dovetail.data import Attributes, Dataset, Value, Variable
from dovetail.transport.policies import Policy, PolicyKind
from dovetail.transport.url import URL

Shape = Sequence[int]
Specification = Mapping[str, tuple[Shape, DTypeLike]]
"""Names to (shape, dtype): what ``reserve`` makes room for."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine offers beyond the core promises."""

    store: bool
    """It offers a Store."""
    stream: bool
    """It offers a Stream."""
    zero_copy: bool
    """``get`` and steps give views of the transport's own memory."""
    woken_waits: bool
    """Waits are woken by the event, not by polling."""
    rename: bool
    """``rename`` is offered: it may briefly show both names, never neither."""
    persistent: bool
    """Values outlive a reboot of the machine that holds them."""
    several_nodes: bool
    """Components on different nodes can share it."""
    policies: frozenset[PolicyKind]
    """The flow-control policies that its streams keep."""
    started_apart: bool = True
    """Processes that were started apart can meet on it, and one may die without the others."""


class ValueStat(NamedTuple):
    """What is known of a stored value without reading its arrays."""

    key: str
    """The key that was asked for."""
    version: str
    """Opaque; differs between any two values that the key has held."""
    nbytes: int
    """Bytes of the whole value, header included."""
    time: float
    """When it was published, in seconds since the epoch."""
    variables: tuple[Variable, ...]
    """Its arrays, in the order in which they lie."""


class StoreStatistics(NamedTuple):
    """What this handle did, and what the store holds."""

    puts: int
    """Values published by this handle."""
    gets: int
    """Values read by this handle."""
    bytes_put: int
    """Bytes of arrays published by this handle."""
    bytes_got: int
    """Bytes of arrays read by this handle."""
    seconds_put: float
    """Time this handle spent publishing."""
    seconds_got: float
    """Time this handle spent reading."""
    seconds_waited: float
    """Time this handle spent in ``wait`` and ``wait_items``."""
    blocks_recycled: int
    """Puts that refilled a block of an earlier value instead of allocating one."""
    bytes_held: int
    """Bytes allocated by the whole store, recyclable blocks included."""
    capacity: int
    """The most bytes that the store may allocate."""


@runtime_checkable
class Reservation(Protocol):
    """Room for a value, filled in place, published when its ``with`` block ends.

    The arrays are writable until then and read-only from publication on. Leaving by an
    exception publishes nothing.
    """

    version: str | None
    """The version token, once published."""

    def __getitem__(self, name: str) -> NDArray[Any]: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


@runtime_checkable
class Store(Protocol):
    """Staging: keyed values that can be read again.

    A context manager; usable from many threads and processes. Get one with
    :func:`dovetail.open_store`.
    """

    @property
    def url(self) -> str:
        """The URL that opens this store again, options included."""
        ...

    @property
    def path(self) -> Path | None:
        """The folder that holds the values, for engines that have one."""
        ...

    @property
    def capabilities(self) -> Capabilities: ...

    def put(self, key: str, value: Value, attrs: Attributes | None = None) -> str:
        """Publish `value` under `key` atomically, replacing what was there.

        Parameters
        ----------
        key
            Any text but NUL.
        value
            An array (NumPy, torch, anything with DLPack or the buffer protocol), a number, a
            mapping of names to arrays, or a :class:`~dovetail.Dataset`. A bare array is
            stored under the name ``value``. Contiguous arrays, in C or Fortran order, are
            copied once, into the store; others are made contiguous first.
        attrs
            JSON values kept beside the arrays; they replace those of a Dataset.

        Returns
        -------
        str
            The version token of the new value, as in :attr:`ValueStat.version`.

        Raises
        ------
        StoreFullError, InvalidKeyError, UnsupportedDataError
        """
        ...

    def reserve(
        self, key: str, specification: Specification, attrs: Attributes | None = None
    ) -> Reservation:
        """Make room for a value, to be filled in place and published without any copy."""
        ...

    def get(self, key: str) -> Dataset:
        """The value under `key`: read-only views where the engine can, else one copy.

        Raises
        ------
        KeyNotFoundError, CorruptDataError
        """
        ...

    def get_array(self, key: str, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """The array of a value that holds one, copied into `out` if that is given."""
        ...

    def wait(self, key: str, timeout: float | None, newer_than: str | None = None) -> Dataset:
        """Block until `key` exists, or holds another version than `newer_than`; return it.

        Parameters
        ----------
        timeout
            Seconds; ``None`` waits for ever.

        Raises
        ------
        TransportTimeoutError
        """
        ...

    def exists(self, key: str) -> bool: ...

    def delete(self, key: str) -> None:
        """Remove a value. Raises KeyNotFoundError if there is none."""
        ...

    def rename(self, key: str, new_key: str) -> None:
        """Move a value, replacing what is under `new_key`."""
        ...

    def keys(self, prefix: str = "") -> list[str]:
        """The keys that start with `prefix`, sorted.

        Files of others count, damaged ones too: reading these raises CorruptDataError.
        """
        ...

    def stat(self, key: str) -> ValueStat: ...

    def put_many(self, values: Mapping[str, Value]) -> None:
        """Publish several values, each atomically, in order."""
        ...

    def get_many(self, keys: Iterable[str]) -> dict[str, Dataset]:
        """Read several values. Raises KeyNotFoundError for the first that is absent."""
        ...

    def append(self, list_name: str, key: str) -> int:
        """Add `key` to an aggregation list; return its position (0-based).

        Many producers may append at once: each item is kept once, in order of arrival.
        """
        ...

    def items(self, list_name: str, start: int = 0) -> list[str]:
        """The items of a list from position `start` on."""
        ...

    def wait_items(
        self, list_name: str, count: int, timeout: float | None, start: int = 0
    ) -> list[str]:
        """Block until the list holds `count` items from `start` on; return those it has."""
        ...

    def remove_list(self, list_name: str) -> None:
        """Forget a list with all its items; harmless if there is none.

        What is appended later begins a new list, at position 0.
        """
        ...

    def scope(self, prefix: str) -> Store:
        """A view of this store in which every key and list name begins with `prefix`.

        The items of a list are kept as they are given.
        """
        ...

    def statistics(self) -> StoreStatistics: ...

    def flush(self) -> None:
        """Make what was put outlive a crash of the machine, where the engine can."""
        ...

    def close(self) -> None:
        """Give back what this handle holds. Values in hand stay valid."""
        ...

    def destroy(self) -> None:
        """Remove everything in the store that is *ours*, and close. Foreign files stay.

        A scope cannot be destroyed by itself (CapabilityError).
        """
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class StreamStatistics(NamedTuple):
    """What this end of a stream did."""

    steps: int
    """Steps ended by this end."""
    bytes: int
    """Bytes of arrays put or delivered by this end."""
    seconds_waited: float
    """Time this end waited for the other side."""
    seconds_in_calls: float
    """Time this end spent in ``step``, ``put``, ``empty`` and the end of a step, or in
    ``next_step``, waiting included. Opening, and joining several blocks, do not count."""
    steps_dropped: int
    """Steps that ``latest`` dropped before this end saw them."""
    steps_redelivered: int
    """Steps that this end received after another group had died with them."""


class WriteStep(Protocol):
    """A step under construction: complete when its ``with`` block ends.

    Under ``lockstep`` that end waits for the readers, and raises as :meth:`StreamWriter.step`
    does. Leaving by an exception publishes nothing of this rank; an exception that leaves the
    block of the stream, too, makes the readers see PeerLostError.
    """

    @property
    def index(self) -> int:
        """0-based; the same on every writer rank."""
        ...

    def put(
        self, name: str, array: Any, shape: Shape | None = None, start: Shape | None = None
    ) -> None:
        """Copy an array into the step.

        Parameters
        ----------
        array
            As for :meth:`Store.put`.
        shape, start
            Given together, `array` is the block of a global array of `shape` that begins at
            `start` (0-based, logical order). Without them, the arrays that several ranks put
            under one name are joined along axis 0 in rank order.

        Raises
        ------
        StoreFullError, UnsupportedDataError, CoverageError, StreamStoppedError
        """
        ...

    def __setitem__(self, name: str, array: Any) -> None: ...

    def empty(
        self,
        name: str,
        count: Shape,
        dtype: DTypeLike,
        shape: Shape | None = None,
        start: Shape | None = None,
    ) -> NDArray[Any]:
        """An array inside the step, to be filled in place; read-only once the step ends."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class ReadStep(Protocol):
    """A complete step: a mapping of names to whole global arrays, read-only.

    Views stay valid while they live. A step is *ended* when the reader asks for the next one,
    or calls :meth:`end`.
    """

    @property
    def index(self) -> int:
        """0-based; gaps are steps that the policy dropped or gave to another group."""
        ...

    @property
    def attrs(self) -> Mapping[str, Any]:
        """The attributes of the step; of several ranks' the lowest rank's wins."""
        ...

    @property
    def time(self) -> float:
        """When the last writer rank ended it, in seconds since the epoch."""
        ...

    def __getitem__(self, name: str) -> NDArray[Any]: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...
    def __contains__(self, name: object) -> bool: ...
    def keys(self) -> KeysView[str]: ...
    def items(self) -> ItemsView[str, NDArray[Any]]: ...

    def read(self, name: str, start: Shape, count: Shape) -> NDArray[Any]:
        """A selection of a global array: zero-copy if it lies in one block."""
        ...

    def dataset(self) -> Dataset:
        """The whole step as a Dataset."""
        ...

    def torch(self, name: str) -> Any:
        """An array as a torch tensor, as by :meth:`~dovetail.Dataset.torch`."""
        ...

    def end(self) -> None:
        """Say that the step is done with. Views in hand stay valid."""
        ...


class StreamWriter(Protocol):
    """The producing end of a stream.

    ::

        open → step → step → … → close        (an exception in the with block: readers see
                                               PeerLostError after the complete steps)
    """

    @property
    def url(self) -> str: ...
    @property
    def policy(self) -> Policy: ...
    @property
    def stopped(self) -> bool:
        """True once a reader called ``stop()``: time to end the work."""
        ...

    def step(self, attrs: Attributes | None = None) -> WriteStep:
        """Begin a step; waits while the policy holds the producer back.

        Raises
        ------
        TransportTimeoutError, PeerLostError, StreamStoppedError, TransportClosedError
        """
        ...

    def statistics(self) -> StreamStatistics: ...
    def close(self) -> None:
        """End the stream. Steps that the policy holds can still be read."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class StreamReader(Protocol):
    """The consuming end of a stream: an iterator over complete steps.

    The loop ends at the end of the stream; :class:`~dovetail.PeerLostError` says that the
    producer died, :class:`~dovetail.TransportTimeoutError` that it kept silent too long.
    """

    @property
    def url(self) -> str: ...
    @property
    def policy(self) -> Policy: ...

    def __iter__(self) -> Iterator[ReadStep]: ...
    def __next__(self) -> ReadStep: ...

    def next_step(self, timeout: float | None = None) -> ReadStep | None:
        """The next step, or ``None`` at the end of the stream.

        Ends the step before. A timeout leaves the stream as it was: call again.

        Parameters
        ----------
        timeout
            Seconds; ``None`` is the deadline that the stream was opened with.
        """
        ...

    def statistics(self) -> StreamStatistics: ...
    def stop(self) -> None:
        """Leave with the whole reading side: the producer is told that no more is wanted."""
        ...

    def close(self) -> None:
        """Leave the stream. What this reader had not ended is released."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class GroupDescription(NamedTuple):
    """A reader group of a stream, seen from outside."""

    name: str
    ranks: int
    state: str
    """``live``, ``left``, ``expelled`` or ``lost``."""
    steps_ended: int
    """Steps that every rank of the group has ended."""


class StreamDescription(NamedTuple):
    """A stream, seen from outside without taking part in it."""

    url: str
    policy: Policy
    state: str
    """``open``, ``ended``, ``failed`` (left by an exception) or ``lost`` (died)."""
    epoch: int
    """How many writers have opened the stream so far."""
    ranks: int
    """Writer ranks."""
    steps_complete: int
    """Steps that every writer rank has ended."""
    steps_held: int
    """Complete steps that some reader may still get."""
    bytes_held: int
    """Bytes allocated for blocks."""
    capacity: int
    """The most bytes that may be allocated for blocks."""
    groups: tuple[GroupDescription, ...]
    transport: str = ""
    """What moves its blocks, where an engine has several ways, as it was found in use."""


class Leftover(NamedTuple):
    """Something in shared memory that belongs to no living process."""

    path: Path
    kind: str
    """``stream``, or ``blocks`` of a store whose writers died."""
    nbytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class Participant:
    """Which part of a component one end of a stream is."""

    rank: int = 0
    size: int = 1
    comm: Any = None
    """An MPI communicator (mpi4py), if the ranks share one."""
    group: str | None = None
    """Names a reader group whose ranks share no communicator."""
    timeout: float | None = 60.0
    """Deadline of every wait for the other side, in seconds; ``None`` waits for ever."""


class EngineStatus(NamedTuple):
    """Whether an engine can run here, and what it offers."""

    scheme: str
    available: bool
    """It can run here, now."""
    detail: str
    """Its version, or what to install or start."""
    made_of: str
    """What moves the data."""
    capabilities: Capabilities


class Engine(Protocol):
    """What a URL scheme stands for. Third parties register one under ``dovetail.engines``."""

    schemes: tuple[str, ...]
    """The URL schemes that it answers to."""

    def status(self, scheme: str) -> EngineStatus:
        """Whether it can run here. Never raises."""
        ...

    def open_store(self, url: URL, timeout: float | None) -> Store:
        """Open a store, reaching its server within `timeout` seconds, if it has one.

        Refuses unknown options with :meth:`URL.only`.
        """
        ...

    def open_writer(self, url: URL, policy: Policy, participant: Participant) -> StreamWriter:
        """Open the producing end of a stream. Raises CapabilityError for what it cannot keep."""
        ...

    def open_reader(self, url: URL, participant: Participant) -> StreamReader:
        """Open the consuming end of a stream."""
        ...

    def describe_stream(self, url: URL) -> StreamDescription:
        """A stream from outside. Raises KeyNotFoundError if there is none."""
        ...

    def tail_stream(self, url: URL, timeout: float | None) -> Iterator[ReadStep]:
        """Follow the newest steps without taking part."""
        ...

    def destroy_stream(self, url: URL) -> None:
        """Remove a stream. Raises KeyNotFoundError if there is none."""
        ...

    def leftovers(self, remove: bool) -> list[Leftover]:
        """What dead processes left in shared memory; removed too if so asked."""
        ...
