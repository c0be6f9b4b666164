"""How an engine is chosen: by the scheme of a URL.

Engines of others are found through the entry-point group ``dovetail.engines``: each entry names
an object that keeps the :class:`~dovetail.transport.contract.Engine` contract.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any, Literal, NamedTuple, overload

from dovetail.errors import EngineUnavailableError, InvalidURLError, TransportTimeoutError
from dovetail.transport.contract import (
    Capabilities,
    Engine,
    EngineStatus,
    Leftover,
    Participant,
    ReadStep,
    Store,
    StreamDescription,
    StreamReader,
    StreamWriter,
)
from dovetail.transport.deadlines import Deadline
from dovetail.transport.policies import Policy, buffered
from dovetail.transport.tee import TeeWriter, open_recording
from dovetail.transport.url import URL, near_match, parse

_GROUP = "dovetail.engines"
_GLANCE = 0.005
"""Seconds between two looks at who has joined."""
_OWN = (
    "dovetail.transport.engines.local",
    "dovetail.transport.engines.redis",
    "dovetail.transport.engines.adios",
    "dovetail.transport.engines.dragon",
    "dovetail.transport.engines.mpi",
    "dovetail.transport.engines.daos",
)
"""The engines of this package. None imports what it is made of before it is used."""


class _Registered(NamedTuple):
    engines: dict[str, Engine]
    """By scheme. The first to claim a scheme keeps it."""
    broken: dict[str, str]
    """Why the engine of an entry point could not be loaded, by the name of the entry."""


@cache
def _registered() -> _Registered:
    from importlib import import_module
    from importlib.metadata import entry_points

    engines: dict[str, Engine] = {}
    for module in _OWN:
        engine = import_module(module).ENGINE
        engines |= dict.fromkeys(engine.schemes, engine)
    broken: dict[str, str] = {}
    for entry in entry_points(group=_GROUP):
        if entry.module in _OWN:
            continue
        try:
            engine = entry.load()
            schemes = tuple(engine.schemes)
        except Exception as error:  # whatever another package's import may raise
            broken[entry.name] = (
                f"the engine {entry.name!r} ({entry.value}) could not be loaded: {error!r}. "
                f"Repair or uninstall the package that registers it"
            )
            continue
        for scheme in schemes:
            engines.setdefault(scheme, engine)
    return _Registered(engines, broken)


def engine_of(url: URL) -> Engine:
    """The engine for a URL.

    Raises
    ------
    InvalidURLError
        If no installed engine has this scheme; the near match is named.
    EngineUnavailableError
        If an engine is installed that might have it, but cannot be loaded.
    """
    if url.scheme in ("shm", "file"):  # without a search through installed packages
        from dovetail.transport.engines.local import ENGINE

        return ENGINE
    engines, broken = _registered()
    engine = engines.get(url.scheme)
    if engine is None:
        if broken:
            raise EngineUnavailableError(
                f"no engine for {url.scheme}://; {'; '.join(broken.values())}"
            )
        known = sorted(engines)
        raise InvalidURLError(
            f"no engine for {url.scheme}://{near_match(url.scheme, known)}; installed are "
            f"{', '.join(scheme + '://' for scheme in known)}"
        )
    return engine


def engines() -> list[EngineStatus]:
    """What each installed engine offers, and whether it can run here."""
    engines, broken = _registered()
    nothing = Capabilities(
        store=False,
        stream=False,
        zero_copy=False,
        woken_waits=False,
        rename=False,
        persistent=False,
        several_nodes=False,
        policies=frozenset(),
    )
    return [
        *(engine.status(scheme) for scheme, engine in sorted(engines.items())),
        *(
            EngineStatus(name, False, why, "an entry point", nothing)
            for name, why in sorted(broken.items())
        ),
    ]


def leftovers(remove: bool = False) -> list[Leftover]:
    """What dead processes left in shared memory; removed too if so asked."""
    found: list[Leftover] = []
    for engine in dict.fromkeys(_registered().engines.values()):
        found += engine.leftovers(remove)
    return found


def open_store(url: str, *, timeout: float | None = 60.0) -> Store:
    """Open a store: keyed values that can be read again.

    Parameters
    ----------
    url
        ``shm://name``, ``file:///folder``, … with options as in ``?capacity=2GiB``; or a bare
        name, which the environment translates (``DOVETAIL_STORE_<NAME>``).
    timeout
        Deadline for reaching the store, in seconds, for engines that have a server.

    Returns
    -------
    Store
        A context manager, usable from many threads.

    Raises
    ------
    InvalidURLError, EngineUnavailableError, FormatVersionError

    Examples
    --------
    >>> import numpy as np
    >>> import dovetail as dv
    >>> with dv.open_store("shm://example") as store:
    ...     version = store.put("u", np.arange(3.0), attrs={"time": 0.5})
    ...     store.get("u")["value"]
    ...     store.destroy()
    array([0., 1., 2.])
    """
    parsed = parse(url, "store")
    return engine_of(parsed).open_store(parsed, timeout)


@overload
def open_stream(
    url: str,
    mode: Literal["w"],
    *,
    policy: Policy | None = ...,
    comm: Any = ...,
    rank: int = ...,
    size: int = ...,
    timeout: float | None = ...,
    readers: int = ...,
    tee: str | None = ...,
) -> StreamWriter: ...
@overload
def open_stream(
    url: str,
    mode: Literal["r"],
    *,
    comm: Any = ...,
    rank: int = ...,
    size: int = ...,
    group: str | None = ...,
    timeout: float | None = ...,
) -> StreamReader: ...
def open_stream(
    url: str,
    mode: Literal["w", "r"],
    *,
    policy: Policy | None = None,
    comm: Any = None,
    rank: int = 0,
    size: int = 1,
    group: str | None = None,
    timeout: float | None = 60.0,
    readers: int = 0,
    tee: str | None = None,
) -> StreamWriter | StreamReader:
    """Open one end of a stream of steps.

    Parameters
    ----------
    url
        ``shm://name``, …; or a bare name, which the environment translates
        (``DOVETAIL_STREAM_<NAME>``).
    mode
        ``"w"`` for the producer, ``"r"`` for a consumer. Either may come first.
    policy
        Flow control, chosen by the writer: :func:`~dovetail.lockstep`,
        :func:`~dovetail.buffered`, :func:`~dovetail.latest`, :func:`~dovetail.work_queue`.
        The default is ``buffered(2)``.
    comm
        An MPI communicator: all its ranks take part in this end. Instead, `rank` and `size`
        may say so without MPI.
    rank, size
        This process's part of the component.
    group
        Names a reader group of several ranks that share no communicator.
    timeout
        Deadline of every wait for the other side, in seconds; ``None`` waits for ever. A
        reader that holds the producer up for longer than the producer's deadline is expelled.
    readers
        For a writer: how many reader groups must have joined before this returns. Without it a
        producer begins at once, and a reader that comes late gets what the policy still holds.
    tee
        For a writer: a recording of the stream, such as ``bp5:///folder/run.bp``. Each step that
        the stream accepts goes into it as well; it waits for no reader, and is opened as a stream
        later. What it cannot take raises at the end of the step.

    Returns
    -------
    StreamWriter or StreamReader

    Raises
    ------
    InvalidURLError, EngineUnavailableError, CapabilityError, StreamBusyError
    TransportTimeoutError
        A reader waits until a writer has opened the stream; a writer waits for `readers` only.
    PeerLostError, FormatVersionError, StoreFullError

    Notes
    -----
    Of several writer ranks, the policy and the ``?capacity=`` of rank 0 count.
    """
    parsed = parse(url, "stream")
    if comm is not None:
        rank, size = comm.Get_rank(), comm.Get_size()
    if size < 1 or not 0 <= rank < size:
        raise ValueError(f"rank={rank}, size={size}: the rank must be 0 to size - 1")
    participant = Participant(rank, size, comm, group, timeout)
    engine = engine_of(parsed)
    if mode == "w":
        if group is not None:
            raise ValueError("only readers form groups; open with mode 'r' to name one")
        if policy is not None and not isinstance(policy, Policy):
            raise TypeError(
                f"policy={policy!r} is no policy; call dv.lockstep(), dv.buffered(n), "
                f"dv.latest() or dv.work_queue(n)"
            )
        if readers < 0:
            raise ValueError(f"readers={readers}: the number of reader groups cannot be negative")
        if tee is None:
            writer = engine.open_writer(parsed, policy or buffered(2), participant)
        else:
            writer = _recorded(tee, engine, parsed, policy or buffered(2), participant)
        return _with_readers(writer, engine, parsed, readers, timeout)
    if readers:
        raise ValueError("only a writer waits for readers: pass readers= with mode 'w'")
    if tee is not None:
        raise ValueError("only a writer's stream can be recorded: pass tee= with mode 'w'")
    if mode == "r":
        if policy is not None:
            raise ValueError("the policy is the writer's choice; a reader learns it")
        if size > 1 and comm is None and group is None:
            raise ValueError(
                f"{size} reader ranks without a communicator must say which group they form: "
                f"pass group='name'"
            )
        return engine.open_reader(parsed, participant)
    raise ValueError(f"mode={mode!r}: open a stream with 'w' or 'r'")


def _with_readers(
    writer: StreamWriter, engine: Engine, url: URL, readers: int, timeout: float | None
) -> StreamWriter:
    """The writer, once so many reader groups have joined."""
    if not readers:
        return writer
    deadline = Deadline(timeout)
    with ExitStack() as unless_joined:
        unless_joined.push(writer)
        while True:
            groups = engine.describe_stream(url).groups
            live = sum(group.state == "live" for group in groups)
            if live >= readers:
                unless_joined.pop_all()
                return writer
            if deadline.passed:
                raise TransportTimeoutError(
                    f"{live} of {readers} reader groups have joined {writer.url} within "
                    f"{deadline}: start the others, or ask for fewer (readers=)"
                )
            time.sleep(_GLANCE)


def _recorded(
    tee: str, engine: Engine, url: URL, policy: Policy, participant: Participant
) -> StreamWriter:
    """A writer of a stream and of its recording."""
    place = parse(tee, "stream")
    recording = open_recording(engine_of(place), place, participant)
    try:
        return TeeWriter(engine.open_writer(url, policy, participant), recording)
    except BaseException:
        recording.close()
        if participant.rank == 0:
            engine_of(place).destroy_stream(place)
        raise


def describe_stream(url: str) -> StreamDescription:
    """A stream seen from outside; nobody is blocked and nothing is taken.

    Raises
    ------
    KeyNotFoundError
        If there is no such stream.
    """
    parsed = parse(url, "stream")
    return engine_of(parsed).describe_stream(parsed)


def tail_stream(url: str, timeout: float | None = None) -> Iterator[ReadStep]:
    """Follow a stream's newest steps without taking part; steps may be skipped.

    Nobody is blocked and nothing is taken. Ends with the stream.

    Raises
    ------
    TransportTimeoutError
        If no new step comes within `timeout` seconds; without one it waits for ever.
    PeerLostError
        If the producer died, or left by an exception.
    """
    parsed = parse(url, "stream")
    return engine_of(parsed).tail_stream(parsed, timeout)


def destroy_stream(url: str) -> None:
    """Remove a stream with everything it holds.

    Readers see PeerLostError. A writer learns of it when it next waits or needs a new block,
    and until then writes for nobody.
    """
    parsed = parse(url, "stream")
    engine_of(parsed).destroy_stream(parsed)
