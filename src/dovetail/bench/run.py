"""One run of a benchmark: every peer at every size, side by side, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from dovetail.bench import machine
from dovetail.bench.cores import pinned, two_cores
from dovetail.bench.measure import Label, Measurement, Operation, measure
from dovetail.bench.peers import all_peers
from dovetail.bench.peers.contract import Scene
from dovetail.bench.peers.learning import learning_peers
from dovetail.bench.peers.recorder import recorder
from dovetail.bench.targets import Verdict, judge
from dovetail.errors import InvalidURLError

SIZES = tuple(8 << shift for shift in (0, 7, 13, 17, 20, 22, 23))
"""8 B, 1 KiB, 64 KiB, 1 MiB, 8 MiB, 32 MiB, 64 MiB."""

SAMPLE_SIZES = (1 << 12, 1 << 15, 1 << 18, 1 << 20)
"""4 KiB, 32 KiB, 256 KiB, 1 MiB."""

FORMAT = 1


@dataclass(frozen=True)
class Report:
    """What a run measured."""

    benchmark: str
    """``store``, ``stream`` or ``learn``."""
    started: str
    """ISO 8601, UTC."""
    machine: dict[str, Any]
    settings: dict[str, Any]
    measurements: list[Measurement]
    verdicts: list[Verdict]
    skipped: dict[str, str]
    """Peers that did not run, and why."""

    def document(self) -> dict[str, Any]:
        """The report as a JSON document.

        Its keys: ``format``, ``benchmark``, ``started``, ``machine``, ``settings``;
        ``measurements``, each ``{peer, operation, nbytes, seconds: {median, lower_quartile,
        upper_quartile, fastest}, bytes_per_second, repeats, batch}``; ``ratios``, each ``{nbytes,
        operation, peer, of, ratio}``, the time of the peer's operation over that of ``of``;
        ``targets``, each ``{target, measured, holds}``; ``skipped``, names of peers with reasons.
        """
        return {
            "format": FORMAT,
            "benchmark": self.benchmark,
            "started": self.started,
            "machine": self.machine,
            "settings": self.settings,
            "measurements": [
                {
                    **asdict(measurement.label),
                    "seconds": {
                        "median": measurement.median,
                        "lower_quartile": measurement.lower_quartile,
                        "upper_quartile": measurement.upper_quartile,
                        "fastest": measurement.fastest,
                    },
                    "bytes_per_second": measurement.bytes_per_second,
                    "repeats": measurement.repeats,
                    "batch": measurement.batch,
                }
                for measurement in self.measurements
            ],
            "ratios": self.ratios(),
            "targets": [asdict(verdict) for verdict in self.verdicts],
            "skipped": self.skipped,
        }

    def ratios(self) -> list[dict[str, Any]]:
        """How many times as long as the first engine each other peer takes for the same work."""
        engine = self.settings["engine"]
        results = {measurement.label: measurement for measurement in self.measurements}
        ratios = []
        for label, measurement in results.items():
            ours = results.get(Label(engine, label.operation, label.nbytes))
            if label.peer != engine and ours is not None:
                ratios.append(
                    {
                        "nbytes": label.nbytes,
                        "operation": label.operation,
                        "peer": label.peer,
                        "of": engine,
                        "ratio": measurement.median / ours.median,
                    }
                )
        return ratios


class Named(Protocol):
    """What every peer has, whatever it is compared in."""

    name: str

    def missing(self) -> str | None: ...


P = TypeVar("P", bound=Named)
Progress = Callable[[str], None]


def bench_store(
    *,
    sizes: Sequence[int] = SIZES,
    repeats: int = 15,
    batch_seconds: float = 0.02,
    peers: Sequence[str] | None = None,
    progress: Progress = lambda _: None,
) -> Report:
    """Measure puts and gets beside memcpy, a Unix socket and Redis.

    Parameters
    ----------
    sizes
        Bytes of each value.
    repeats
        Batches of each operation; the median and the quartiles are taken over them.
    batch_seconds
        How long a batch should take.
    peers
        Names of those to run; all that can run here if it is not given.
    progress
        Called with what is being measured.
    """
    return _run(
        "store",
        all_peers(),
        lambda peer, size: peer.store(size),
        sizes,
        repeats,
        batch_seconds,
        peers,
        progress,
    )


def bench_stream(
    *,
    sizes: Sequence[int] = SIZES,
    repeats: int = 15,
    batch_seconds: float = 0.05,
    peers: Sequence[str] | None = None,
    progress: Progress = lambda _: None,
) -> Report:
    """Measure steps between two processes beside memcpy, a Unix socket and Redis.

    The two processes stay on a core each, where there are two; a Redis server goes where the
    scheduler puts it.

    Parameters are those of :func:`bench_store`.
    """
    cores = two_cores() or (None, None)
    return _run(
        "stream",
        all_peers(),
        lambda peer, size: peer.stream(size, cores[1]),
        sizes,
        repeats,
        batch_seconds,
        peers,
        progress,
        cores,
    )


def bench_learn(
    *,
    sizes: Sequence[int] = SAMPLE_SIZES,
    repeats: int = 15,
    batch_seconds: float = 0.1,
    peers: Sequence[str] | None = None,
    progress: Progress = lambda _: None,
) -> Report:
    """Measure samples, from the stream of a simulation to a trainer's batches.

    Beside them: a loader of torch over samples that are all in memory. The simulation stays on
    one core, and what trains on another, where there are two.

    Parameters are those of :func:`bench_store`; `sizes` are bytes of a sample.
    """
    cores = two_cores() or (None, None)
    return _run(
        "learn",
        learning_peers(),
        lambda peer, size: peer.learn(size, cores[1]),
        sizes,
        repeats,
        batch_seconds,
        peers,
        progress,
        cores,
    )


def _run(
    benchmark: str,
    known: Sequence[P],
    scene: Callable[[P, int], Scene],
    sizes: Sequence[int],
    repeats: int,
    batch_seconds: float,
    names: Sequence[str] | None,
    progress: Progress,
    cores: tuple[int | None, int | None] = (None, None),
) -> Report:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    facts = machine.facts()
    peers, skipped = _chosen(names, known)
    measurements: list[Measurement] = []
    for size in sizes:
        progress(f"{benchmark}, {size} bytes")
        with ExitStack() as stack:
            operations: dict[Label, Operation] = {}
            for peer in peers:
                offered: Mapping[str, Operation] = stack.enter_context(scene(peer, size))
                operations |= {Label(peer.name, name, size): run for name, run in offered.items()}
            with pinned(cores[0]):
                measurements += measure(operations, repeats=repeats, batch_seconds=batch_seconds)
    if benchmark == "store":
        with recorder() as offered:
            labelled = {Label("observe", name, 0): run for name, run in offered.items()}
            measurements += measure(labelled, repeats=repeats, batch_seconds=batch_seconds)
    settings = {
        "engine": "shm",
        "sizes": list(sizes),
        "repeats": repeats,
        "batch_seconds": batch_seconds,
        "peers": [peer.name for peer in peers],
        "cores": list(cores),
    }
    return Report(
        benchmark, started, facts, settings, measurements, judge(benchmark, measurements), skipped
    )


def _chosen(names: Sequence[str] | None, known: Sequence[P]) -> tuple[list[P], dict[str, str]]:
    by_name = {peer.name: peer for peer in known}
    for name in names or ():
        if name not in by_name:
            raise InvalidURLError(f"no peer {name!r}; there are {', '.join(by_name)}")
    wanted = list(known) if names is None else [by_name[name] for name in names]
    skipped = {peer.name: why for peer in wanted if (why := peer.missing()) is not None}
    return [peer for peer in wanted if peer.name not in skipped], skipped
