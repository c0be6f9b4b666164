"""The engines in their places: what fault tests of every engine run on.

Servers are started when the first test asks for them, and stay for the session.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requirements

_numbers = itertools.count()


@dataclass
class Engines:
    """The engines of a session, each started once."""

    folder: Path
    stack: ExitStack
    _started: dict[str, Callable[[str], str]] = field(default_factory=dict)

    def url(self, engine: str, purpose: str) -> str:
        """The URL of a ``store`` or a ``stream`` on an engine that no other test has."""
        start, needed = ENGINES[engine]
        why = requirements.missing(needed) if needed else None
        if why is not None:
            pytest.skip(f"needs {needed}: {why}")
        if engine not in self._started:
            self._started[engine] = start(self)
        return self._started[engine](f"{purpose}-{os.getpid()}-{next(_numbers)}")


def _shm(engines: Engines) -> Callable[[str], str]:
    return lambda name: f"shm://test-{name}"


def _file(engines: Engines) -> Callable[[str], str]:
    return lambda name: f"file://{engines.folder}/{name}"


def _file_over_store(engines: Engines) -> Callable[[str], str]:
    return lambda name: f"file://{engines.folder}/{name}?over=store&lost_after=3s"


def _daos(engines: Engines) -> Callable[[str], str]:
    """A mount like that of a container, of which DAOS itself needs hardware."""
    from transport.engines.local.served import Served

    from dovetail.transport.engines.daos.mounts import USUAL

    pool = USUAL / f"dovetail-faults-{os.getpid()}"
    engines.stack.callback(shutil.rmtree, pool, ignore_errors=True)
    engines.stack.enter_context(Served("dfuse", engines.folder / "daos", pool / "results"))

    def url(name: str) -> str:
        options = "?lost_after=3s" if name.startswith("stream") else ""
        return f"daos://{pool.name}/results/{name}{options}"

    return url


def _redis(engines: Engines) -> Callable[[str], str]:
    from transport.engines.redis.running import on_a_socket

    server = engines.stack.enter_context(on_a_socket(engines.folder / "redis", "capacity=1GiB"))
    return lambda name: server.url.replace("name=test", f"name={name}")


def _redis_cluster(engines: Engines) -> Callable[[str], str]:
    from transport.engines.redis.running import RunningCluster

    cluster = engines.stack.enter_context(RunningCluster(engines.folder / "cluster"))
    return cluster.url


def _dragon(engines: Engines) -> Callable[[str], str]:
    from transport.engines.dragon.servers import Server

    engines.stack.enter_context(Server("dragon://engines?memory=1GiB"))
    return lambda name: f"dragon://engines/{name}"


def _sst(engines: Engines) -> Callable[[str], str]:
    return lambda name: f"sst://{name}?contact={engines.folder}/contacts"


def _bp5(engines: Engines) -> Callable[[str], str]:
    return lambda name: f"bp5://{engines.folder}/{name}.bp"


ENGINES: dict[str, tuple[Callable[[Engines], Callable[[str], str]], str | None]] = {
    "shm": (_shm, None),
    "file": (_file, None),
    "file over a store": (_file_over_store, None),
    "daos": (_daos, "bindfs"),
    "redis": (_redis, "redis"),
    "redis+cluster": (_redis_cluster, "redis"),
    "dragon": (_dragon, "dragon"),
    "sst": (_sst, "adios2"),
    "bp5": (_bp5, "adios2"),
}
"""How each is started, and what it needs."""

STREAMS = ["shm", "file over a store", "daos", "redis", "redis+cluster", "dragon", "sst", "bp5"]
STORES = ["shm", "file", "daos", "redis", "redis+cluster", "dragon"]
FEWER = 50
"""By how much fewer faults are caused on engines that take their time."""


def each_of(names: list[str], *every_day: str) -> list[Any]:
    """Parameters of tests on these engines, of which some run every day."""
    return [
        name if name in every_day else pytest.param(name, marks=pytest.mark.soak) for name in names
    ]


def count_for(engine: str, wanted: int) -> int:
    """How many faults of a kind one run causes on an engine."""
    return wanted if engine in ("shm", "file") else max(2, wanted // FEWER)


def engine_of(item: pytest.Item) -> str | None:
    """The engine that a test is of, by its parameter or its module."""
    callspec = getattr(item, "callspec", None)
    if callspec is not None and "engine" in callspec.params:
        return str(callspec.params["engine"])
    for engine, module in (("redis", "test_redis"), ("dragon", "test_dragon"), ("sst", "test_sst"),
                           ("bp5", "test_bp5"), ("mpi", "test_mpi")):  # fmt: skip
        if item.path.stem.startswith(module):
            return engine
    return None
