"""One run: every way to call each network, side by side, at every batch size."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from dovetail.bench import machine
from dovetail.bench.measure import Label, Measurement, measure
from dovetail.bench.models import callers
from dovetail.bench.models.networks import NETWORKS
from dovetail.bench.peers.redis import RedisPeer
from dovetail.bench.targets import Verdict
from dovetail.model.compiled import CompiledModel
from dovetail.model.compiling import compiled_folder
from dovetail.model.exporting import export_model

BATCHES = (1, 16, 256, 4096)
RANKS = (1, 2, 4, 8)
WAYS = ("eager", "torchscript", "bare C", "ours, C", "ours, Python", "Redis + eager")
CROWDS = {"processes": "ours", "shared": "shared"}
"""Ranks that all call at once: each computes, or one process does for all."""
FORMAT = 1


@dataclass(frozen=True)
class ModelReport:
    """What a run measured. In labels, the peer is the way, and the number is that of samples.

    The ways ``processes × 4`` and ``shared × 4`` are those of so many ranks that call at once: the
    time is that in which each of them has called once.
    """

    started: str
    """ISO 8601, UTC."""
    machine: dict[str, Any]
    settings: dict[str, Any]
    measurements: list[Measurement]
    verdicts: list[Verdict]

    def document(self) -> dict[str, Any]:
        """The report as a JSON document.

        Its keys: ``format``, ``benchmark``, ``started``, ``machine``, ``settings``;
        ``measurements``, each ``{way, network, batch, seconds: {median, lower_quartile,
        upper_quartile, fastest}, repeats}``; ``targets``, each ``{target, measured, holds}``.
        """
        return {
            "format": FORMAT,
            "benchmark": "model",
            "started": self.started,
            "machine": self.machine,
            "settings": self.settings,
            "measurements": [
                {
                    "way": one.label.peer,
                    "network": one.label.operation,
                    "batch": one.label.nbytes,
                    "seconds": {
                        "median": one.median,
                        "lower_quartile": one.lower_quartile,
                        "upper_quartile": one.upper_quartile,
                        "fastest": one.fastest,
                    },
                    "repeats": one.repeats,
                }
                for one in self.measurements
            ],
            "targets": [asdict(verdict) for verdict in self.verdicts],
        }

    def lines(self) -> list[str]:
        """The report as a table in text: microseconds a call, medians."""
        found = {one.label: one.median for one in self.measurements}
        lines = [f"Microseconds a call, medians, one thread. {self.machine['cpu']}", ""]
        for network in self.settings["networks"]:
            lines.append(f"{network:<6}{'batch':>6}" + "".join(f"{way:>14}" for way in WAYS))
            for batch in self.settings["batches"]:
                times = [found.get(Label(way, network, batch)) for way in WAYS]
                cells = [f"{'':>14}" if one is None else f"{one * 1e6:14.2f}" for one in times]
                lines.append(f"{'':6}{batch:>6}" + "".join(cells))
            lines.append("")
        lines += self._crowds(found)
        for verdict in self.verdicts:
            state = {True: "holds", False: "MISSED", None: ""}[verdict.holds]
            lines.append(f"{verdict.target}: {verdict.measured}  {state}")
        return lines

    def _crowds(self, found: dict[Label, float]) -> list[str]:
        ranks = self.settings["ranks"]
        columns = [f"{way} × {count}" for count in ranks for way in CROWDS]
        lines = ["Microseconds in which each of N ranks has called once", ""]
        for network in self.settings["networks"]:
            lines.append(f"{network:<6}{'batch':>6}" + "".join(f"{one:>15}" for one in columns))
            for batch in self.settings["batches"]:
                times = [found.get(Label(way, network, batch)) for way in columns]
                cells = [f"{'':>15}" if one is None else f"{one * 1e6:15.2f}" for one in times]
                lines.append(f"{'':6}{batch:>6}" + "".join(cells))
            lines.append("")
        return lines


def bench_models(
    *,
    batches: Sequence[int] = BATCHES,
    networks: Sequence[str] = tuple(NETWORKS),
    ranks: Sequence[int] = RANKS,
    repeats: int = 15,
    batch_seconds: float = 0.02,
    progress: Callable[[str], None] = lambda _: None,
) -> ModelReport:
    """Measure calls of small networks, all with one thread.

    Parameters
    ----------
    batches
        Samples of a call.
    networks
        Names, of ``mlp`` and ``cnn``.
    ranks
        How many processes call at once, each by itself, or through one that they share; none, to
        leave that out.
    repeats
        Batches of calls; the median and the quartiles are taken over them.
    batch_seconds
        How long a batch of calls should take.
    progress
        Called with what is being measured.
    """
    import torch

    started = datetime.now(UTC).isoformat(timespec="seconds")
    measurements: list[Measurement] = []
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory(prefix="dovetail-bench-") as scratch:
            program = callers.built(Path(scratch))
            for network in networks:
                module, sample = NETWORKS[network]()
                progress(f"the compiler, with {network}")
                path = export_model(
                    module, torch.zeros(2, *sample), Path(scratch) / f"{network}.pt2"
                )
                folder = compiled_folder(path, device="cpu", threads="one")
                for batch in batches:
                    progress(f"{network}, {batch} samples a call")
                    measurements += _side_by_side(
                        network, module, folder, program, (batch, *sample), repeats, batch_seconds
                    )
                    measurements += _at_once(
                        network, folder, program, (batch, *sample), ranks, repeats, batch_seconds
                    )
    finally:
        torch.set_num_threads(before)
    settings = {
        "batches": list(batches),
        "networks": list(networks),
        "ranks": list(ranks),
        "repeats": repeats,
        "batch_seconds": batch_seconds,
        "threads": 1,
        "torch": str(torch.__version__),
    }
    return ModelReport(started, machine.facts(), settings, measurements, _judged(measurements))


def _side_by_side(
    network: str,
    module: Any,
    folder: Path,
    program: Path,
    shape: tuple[int, ...],
    repeats: int,
    batch_seconds: float,
) -> list[Measurement]:
    inputs = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    with (
        ExitStack() as stack,
        CompiledModel.load(folder, device_index=0, most_threads=1) as model,
    ):
        operations = {
            "eager": callers.eager(module, inputs),
            "torchscript": callers.script(module, inputs),
            "ours, Python": callers.python(model, inputs),
        }
        for name, way in (("bare C", "bare"), ("ours, C", "ours")):
            caller = stack.enter_context(callers.Caller(program, way, folder, shape))
            operations[name] = callers.at_once([caller])
        if RedisPeer("client").missing() is None:
            operations["Redis + eager"] = stack.enter_context(callers.through_redis(module, inputs))
        return measure(
            {Label(way, network, shape[0]): one for way, one in operations.items()},
            repeats=repeats,
            batch_seconds=batch_seconds,
        )


def _at_once(
    network: str,
    folder: Path,
    program: Path,
    shape: tuple[int, ...],
    ranks: Sequence[int],
    repeats: int,
    batch_seconds: float,
) -> list[Measurement]:
    if not ranks:
        return []
    with ExitStack() as stack:
        operations = {}
        for name, way in CROWDS.items():
            crowd = [
                stack.enter_context(callers.Caller(program, way, folder, shape))
                for _ in range(max(ranks))
            ]
            for count in ranks:
                operations[Label(f"{name} × {count}", network, shape[0])] = callers.at_once(
                    crowd[:count]
                )
        return measure(operations, repeats=repeats, batch_seconds=batch_seconds)


def _judged(measurements: Sequence[Measurement]) -> list[Verdict]:
    """On the smallest calls there are, in which what the call itself costs can be seen."""
    found = {one.label: one.median for one in measurements}
    fastest = min((label for label in found if label.peer == "bare C"), key=found.__getitem__)
    verdicts = []
    for way, limit in (("ours, C", 2.0), ("ours, Python", 10.0)):
        label = Label(way, fastest.operation, fastest.nbytes)
        over = 1e6 * (found[label] - found[fastest])
        verdicts.append(
            Verdict(
                f"{way}: at most {limit:g} µs a call over bare C",
                f"{over:.2f} µs ({fastest.operation}, batch {fastest.nbytes})",
                over <= limit,
            )
        )
    return verdicts + _crowds_judged(found)


def _crowds_judged(found: dict[Label, float]) -> list[Verdict]:
    """On the largest calls, at each number of ranks from 4."""
    verdicts = []
    largest: dict[tuple[str, str], Label] = {}
    for label in found:
        way, _, count = label.peer.partition(" × ")
        if way == "shared" and int(count) >= 4:
            key = label.operation, count
            largest[key] = max(largest.get(key, label), label, key=lambda one: one.nbytes)
    for (network, count), label in largest.items():
        apart = Label(f"processes × {count}", network, label.nbytes)
        ratio = found[apart] / found[label]
        verdicts.append(
            Verdict(
                f"shared by {count} ranks: faster than {count} processes, with a large {network}",
                f"{ratio:.2f} times as fast (batch {label.nbytes})",
                ratio > 1,
            )
        )
    return verdicts
