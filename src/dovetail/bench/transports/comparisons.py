"""The comparisons that this field publishes: who takes part, with what, in which numbers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from dovetail.bench.measure import Label
from dovetail.bench.transports.parts import files
from dovetail.bench.transports.peers import Peer, reading_peer, store_peers, stream_peers
from dovetail.bench.transports.seats import Layout

KiB, MiB = 1 << 10, 1 << 20


@dataclass(frozen=True, slots=True)
class Case(Label):
    """What was measured, and between how many."""

    producers: int
    consumers: int


@dataclass(frozen=True)
class Comparison:
    """Peers side by side, over sizes and numbers of processes."""

    name: str
    title: str
    peers: Sequence[Peer]
    layouts: Sequence[Layout]
    sizes: Sequence[int]
    """Bytes of what one rank moves at once."""
    operations: Sequence[str]
    skipped: dict[str, str] = field(default_factory=dict)
    """Peers that take no part here by their nature, and why."""
    between_hosts: bool = False


@dataclass(frozen=True)
class Scope:
    """How much of each comparison is to be run."""

    sizes: tuple[int, ...] = (KiB, 64 * KiB, MiB, 8 * MiB, 32 * MiB, 64 * MiB)
    ranks: tuple[int, ...] = (1, 2, 4)
    file_count: int = 10_000
    file_nbytes: int = 4 * KiB
    pool: int = field(default_factory=lambda: min(8, len(os.sched_getaffinity(0))))
    """Processes that load files."""
    repeats: int = 7
    batch_seconds: float = 0.05
    patience: float = 10.0
    """Seconds after which a comparison at one size begins no further repeat."""
    loads: int = 3
    """How often the files are loaded into each store."""


QUICK = Scope(
    sizes=(KiB, MiB),
    ranks=(1, 2),
    file_count=500,
    repeats=3,
    batch_seconds=0.01,
    patience=2.0,
    loads=2,
)
FIXED_NBYTES = MiB
"""Bytes of a rank where its number is what varies."""


def comparisons(scope: Scope) -> list[Comparison]:
    """Every comparison, in the order in which they are run."""
    pairs = [Layout(ranks, ranks) for ranks in scope.ranks]
    return [
        Comparison(
            "streaming",
            "Streaming, M producer ranks to M consumer ranks",
            stream_peers(),
            pairs,
            scope.sizes,
            ("one way", "delivered"),
        ),
        Comparison(
            "staging-colocated",
            "Staging on one host, one producer and one consumer",
            store_peers("staging"),
            [Layout(1, 1)],
            scope.sizes,
            ("put", "get", "handed over"),
        ),
        _clustered(scope),
        Comparison(
            "gathering",
            "N producers to one consumer",
            [*store_peers("gathering"), *stream_peers()],
            [Layout(ranks, 1) for ranks in scope.ranks],
            (FIXED_NBYTES,),
            ("gathered", "delivered"),
        ),
        Comparison(
            "scaling",
            "Weak scaling: N producers to N consumers",
            [*store_peers("staging"), *stream_peers()],
            pairs,
            (FIXED_NBYTES,),
            ("put", "get", "delivered"),
        ),
        Comparison(
            "loading",
            "Loading many small files with a pool of processes",
            [*store_peers("loading"), reading_peer(f"{files.__name__}:reading")],
            [Layout(scope.pool, 0)],
            (scope.file_nbytes,),
            ("loaded",),
        ),
    ]


def _clustered(scope: Scope) -> Comparison:
    """Staging between two hosts, by what can join them."""
    apart = "joins processes of one host"
    runtime = "a dictionary over several hosts needs a Dragon runtime on all of them"
    without = {
        "shm": apart,
        "file in memory": apart,
        "file in memory by hand": apart,
        "dragon": runtime,
        "dragon by hand": runtime,
    }
    return Comparison(
        "staging-clustered",
        "Staging between two hosts, one producer and one consumer",
        [
            replace(peer, name=peer.name.replace("on disk", "shared"))
            for peer in store_peers("staging")
            if peer.name not in without
        ],
        [Layout(1, 1)],
        scope.sizes,
        ("put", "get", "handed over"),
        without,
        between_hosts=True,
    )
