"""Which cores the ranks of each component are bound to."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dovetail.flow.schema import Component

Blocks = tuple[tuple[int, ...], ...]
"""The cores of each rank of a component."""


def available() -> list[int]:
    """The cores that this process may use, in order."""
    return sorted(os.sched_getaffinity(0))


def assign(
    components: Iterable[Component], cores: Sequence[int]
) -> tuple[dict[str, Blocks], list[str]]:
    """Deal cores to ranks.

    Parameters
    ----------
    components
        Those that name `cores` get these; those with `cpus_per_process` get the lowest that
        nobody named; the others are not bound.
    cores
        What there is.

    Returns
    -------
    tuple
        The cores of each rank by component, for those that are bound; and what is wrong.
    """
    blocks: dict[str, Blocks] = {}
    problems: list[str] = []
    owners: dict[int, str] = {}
    components = list(components)
    for component in components:
        if component.cores is None:
            continue
        wrong = _problems_of_named(component, cores, owners)
        problems += wrong
        if not wrong:
            each = len(component.cores) // component.process_count
            blocks[component.name] = _dealt(component.cores, each)
        for core in component.cores:
            owners.setdefault(core, component.name)
    free = [core for core in cores if core not in owners]
    for component in components:
        if component.cores is not None or component.cpus_per_process is None:
            continue
        needed = component.process_count * component.cpus_per_process
        if needed > len(free):
            problems.append(
                f"component {component.name!r}: {component.process_count} ranks × "
                f"{component.cpus_per_process} cores = {needed}, but {len(free)} of the "
                f"{len(cores)} cores here ({ranges(cores)}) are free: ask for less, or leave "
                f"out cpus_per_process to run unbound"
            )
            continue
        blocks[component.name] = _dealt(free[:needed], component.cpus_per_process)
        free = free[needed:]
    return blocks, problems


def _problems_of_named(
    component: Component, cores: Sequence[int], owners: dict[int, str]
) -> list[str]:
    assert component.cores is not None
    who, named, ranks = f"component {component.name!r}", component.cores, component.process_count
    problems = []
    absent = sorted(set(named) - set(cores))
    if absent:
        problems.append(
            f"{who}: this machine has no core {ranges(absent)} for it: there are {ranges(cores)}"
        )
    twice = sorted({core for core in named if named.count(core) > 1})
    if twice:
        problems.append(f"{who}: core {ranges(twice)} is listed twice: name each once")
    taken: dict[str, list[int]] = {}
    for core in sorted(set(named)):
        if core in owners:
            taken.setdefault(owners[core], []).append(core)
    problems += [
        f"components {other!r} and {component.name!r} are both on core {ranges(shared)}: give "
        f"each cores of its own, or leave out 'cores' to let them share"
        for other, shared in taken.items()
    ]
    if component.cpus_per_process is not None:
        needed = ranks * component.cpus_per_process
        if needed != len(named):
            problems.append(
                f"{who}: {ranks} ranks × {component.cpus_per_process} cores = {needed}, but "
                f"{len(named)} are listed: list {needed}, or leave out cpus_per_process"
            )
    elif len(named) % ranks:
        problems.append(
            f"{who}: {len(named)} cores cannot be dealt evenly to {ranks} ranks: list a "
            f"multiple of {ranks}, or leave out 'cores'"
        )
    return problems


def _dealt(cores: Sequence[int], each: int) -> Blocks:
    return tuple(tuple(cores[at : at + each]) for at in range(0, len(cores), each))


def ranges(cores: Iterable[int]) -> str:
    """Core numbers as people write them: ``0-3,8``."""
    runs: list[list[int]] = []
    for core in sorted(set(cores)):
        if runs and core == runs[-1][-1] + 1:
            runs[-1].append(core)
        else:
            runs.append([core])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
