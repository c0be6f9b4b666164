"""All comparisons in one run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from dovetail.bench import machine
from dovetail.bench.transports import hosts
from dovetail.bench.transports.comparisons import Comparison, Scope, comparisons
from dovetail.bench.transports.places import Place, disk_folder, file_system_of
from dovetail.bench.transports.report import TransportsReport, overheads
from dovetail.bench.transports.running import Outcome, Progress, run
from dovetail.bench.transports.verdicts import judge
from dovetail.errors import InvalidURLError


def bench_transports(
    scope: Scope | None = None,
    *,
    only: Sequence[str] | None = None,
    peers: Sequence[str] | None = None,
    disk: Path | None = None,
    two_hosts: bool = True,
    progress: Progress = lambda _: None,
) -> TransportsReport:
    """Measure every transport, and each engine driven by hand beside it.

    Producers stay on one half of the cores, consumers on the other.

    Parameters
    ----------
    scope
        Sizes, numbers of ranks and repeats; by default those of a full run.
    only
        Names of comparisons; all if it is not given.
    peers
        Names of peers; all that can run here if it is not given.
    disk
        A folder on a disk; by default the folder for temporary files.
    two_hosts
        Make two hosts of network namespaces, for staging between hosts, where that is possible.
    progress
        Called with what is being measured.

    Raises
    ------
    InvalidURLError
        If there is no comparison, peer or folder of such a name.
    """
    scope = scope or Scope()
    started, began = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    facts = machine.facts()
    chosen = [_of_peers(comparison, peers) for comparison in _chosen(only, peers, scope)]
    folder = disk_folder(disk)
    if disk is not None and folder is None:
        raise InvalidURLError(f"{disk} is no folder on a disk that can be written to")
    outcomes = [_run(comparison, folder, scope, two_hosts, progress) for comparison in chosen]
    costs = overheads(outcomes)
    settings = {
        **asdict(scope),
        "comparisons": [comparison.name for comparison in chosen],
        "disk": None if folder is None else file_system_of(folder),
    }
    return TransportsReport(
        started,
        facts,
        settings,
        outcomes,
        costs,
        judge(outcomes, costs, facts["cores_usable"]),
        time.monotonic() - began,
    )


def _chosen(
    only: Sequence[str] | None, peers: Sequence[str] | None, scope: Scope
) -> list[Comparison]:
    known = {comparison.name: comparison for comparison in comparisons(scope)}
    for name in only or ():
        if name not in known:
            raise InvalidURLError(f"no comparison {name!r}; there are {', '.join(known)}")
    names = dict.fromkeys(peer.name for comparison in known.values() for peer in comparison.peers)
    for name in peers or ():
        if name not in names:
            raise InvalidURLError(f"no peer {name!r}; there are {', '.join(names)}")
    return [comparison for name, comparison in known.items() if only is None or name in only]


def _of_peers(comparison: Comparison, names: Sequence[str] | None) -> Comparison:
    if names is None:
        return comparison
    kept = [peer for peer in comparison.peers if peer.name in names]
    skipped = {name: why for name, why in comparison.skipped.items() if name in names}
    return replace(comparison, peers=kept, skipped=skipped)


def _run(
    comparison: Comparison, disk: Path | None, scope: Scope, two_hosts: bool, progress: Progress
) -> Outcome:
    if not comparison.between_hosts:
        with Place(disk) as place:
            return run(comparison, place, scope, progress)
    why = hosts.missing() if two_hosts else "measuring between hosts was not asked for"
    if why is not None:
        skipped = {peer.name: why for peer in comparison.peers}
        return Outcome(comparison, [], {**comparison.skipped, **skipped})
    with hosts.two_hosts() if comparison.peers else nullcontext(()) as both:
        with Place(disk, both) as place:
            return run(comparison, place, scope, progress)
