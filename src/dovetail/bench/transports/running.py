"""One comparison, run: every peer that can, at every size, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import psutil

from dovetail.bench.measure import (
    Label,
    Measurement,
    Operation,
    OperationFailedError,
    measure,
)
from dovetail.bench.transports.comparisons import Case, Comparison, Scope
from dovetail.bench.transports.crew import Crew, crew
from dovetail.bench.transports.peers import Peer
from dovetail.bench.transports.places import Place
from dovetail.bench.transports.seats import Layout
from dovetail.errors import DovetailError

Progress: TypeAlias = Callable[[str], None]

ROUND_TRIPS = ("one way", "handed over")
"""What goes there and back: half of it is what counts."""
_COPIES = 8
"""How many copies of what it moves a peer may have in memory at once."""


@dataclass(frozen=True)
class Outcome:
    """What came of a comparison."""

    comparison: Comparison
    measurements: list[Measurement]
    skipped: dict[str, str]
    """Peers that did not run, wholly or in part, and why."""


def run(
    comparison: Comparison, place: Place, scope: Scope, progress: Progress = lambda _: None
) -> Outcome:
    """Run a comparison."""
    skipped = dict(comparison.skipped)
    peers = []
    for peer in comparison.peers:
        why = peer.missing()
        if why is None:
            peers.append(peer)
        else:
            skipped[peer.name] = why
    measurements: list[Measurement] = []
    for layout in comparison.layouts:
        # Those that would not fit into memory at once go one after another, neighbours together.
        for sizes, together in _shares(peers, layout, comparison.sizes):
            with _crews(together, layout, place, skipped) as crews:
                for nbytes in sizes:
                    progress(f"{comparison.name}, {layout}, {nbytes} bytes")
                    measurements += _side_by_side(
                        comparison, place, scope, layout, nbytes, crews, skipped
                    )
    return Outcome(comparison, measurements, skipped)


def _shares(
    peers: Sequence[Peer], layout: Layout, sizes: Sequence[int]
) -> Iterator[tuple[list[int], list[Peer]]]:
    """Sizes, and those peers that are measured side by side at them."""
    memory = psutil.virtual_memory().available // 2
    by_number: dict[int, list[int]] = {}
    for nbytes in sizes:
        each = _COPIES * nbytes * layout.processes
        by_number.setdefault(max(2, min(len(peers), memory // each)), []).append(nbytes)
    for number, fitting in sorted(by_number.items(), reverse=True):
        for begin in range(0, len(peers), number):
            yield fitting, list(peers[begin : begin + number])


@contextmanager
def _crews(
    peers: Sequence[Peer], layout: Layout, place: Place, skipped: dict[str, str]
) -> Iterator[dict[Peer, Crew]]:
    """A crew for each peer that can have one."""
    crews: dict[Peer, Crew] = {}
    with ExitStack() as stack:
        for peer in peers:
            try:
                crews[peer] = stack.enter_context(crew(peer.launcher, layout, place.hosts))
            except (OperationFailedError, OSError) as error:
                skipped.setdefault(peer.name, f"{layout}: {error}")
        yield crews


def _side_by_side(
    comparison: Comparison,
    place: Place,
    scope: Scope,
    layout: Layout,
    nbytes: int,
    crews: Mapping[Peer, Crew],
    skipped: dict[str, str],
) -> list[Measurement]:
    """Measure all peers at one size."""
    failures: dict[Label, str] = {}
    with ExitStack() as stack:
        operations: dict[Label, Operation] = {}
        scenes: dict[Peer, ExitStack] = {}
        loading = comparison.name == "loading"
        files = {"folder": str(stack.enter_context(_files(place, scope)))} if loading else {}
        for peer, members in crews.items():
            scene = stack.enter_context(ExitStack())
            try:
                offered = scene.enter_context(_scene(peer, members, place, layout, nbytes, files))
            except OperationFailedError as error:
                skipped.setdefault(peer.name, f"{layout}, {nbytes} bytes: {error}")
                continue
            scenes[peer] = scene
            for name in comparison.operations:
                if name in offered:
                    case = Case(peer.name, name, nbytes, *layout)
                    play = offered[name]
                    operations[case] = _halved(play) if name in ROUND_TRIPS else play
        measured = measure(
            operations,
            repeats=scope.loads if loading else scope.repeats,
            batch_seconds=0 if loading else scope.batch_seconds,
            patience=scope.patience,
            failures=failures,
        )
        for peer, scene in scenes.items():
            try:
                scene.close()  # what was received is looked at in the end
            except (OperationFailedError, DovetailError, OSError) as error:
                failures.setdefault(Case(peer.name, "the end", nbytes, *layout), str(error))
                measured = [m for m in measured if m.label.peer != peer.name]
    for label, why in failures.items():
        skipped.setdefault(label.peer, f"{layout}, {nbytes} bytes, {label.operation}: {why}")
    return measured


@contextmanager
def _scene(
    peer: Peer, members: Crew, place: Place, layout: Layout, nbytes: int, more: Mapping[str, Any]
) -> Iterator[Mapping[str, Operation]]:
    """A scene of one peer."""
    with ExitStack() as stack:
        try:
            arguments = stack.enter_context(peer.prepare(place, layout, nbytes))
            given = {"nbytes": nbytes, **arguments, **more}
            offered = stack.enter_context(members.scene(peer.part, given))
        except (DovetailError, OSError) as error:
            raise OperationFailedError(str(error)) from None
        yield offered


def _halved(operation: Operation) -> Operation:
    return lambda count: operation(count) / 2


@contextmanager
def _files(place: Place, scope: Scope) -> Iterator[Path]:
    """As many files as are to be loaded."""
    folder = place.disk / place.name()
    folder.mkdir()
    content = np.random.default_rng(0).integers(0, 256, scope.file_nbytes, np.uint8)
    for number in range(scope.file_count):
        content[:8] = np.frombuffer(number.to_bytes(8, "little"), np.uint8)
        content.tofile(folder / f"sample-{number:06}.bin")
    yield folder
