"""The cores of a rank: it takes those of the plan, and says so if it has others.

What a rank has in the end is the kernel's word: a container, the scheduler or the launcher may
have left it less than the plan gives it, and then the run goes on, slower than it should be.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dovetail.flow import files
from dovetail.flow.numbers import ranges

FOLDER = "ranks"
_SUFFIX = ".affinity.json"


@dataclass(frozen=True, slots=True)
class Difference:
    """A rank that has other cores than the plan gives it."""

    component: str
    rank: int
    attempt: int
    planned: tuple[int, ...]
    real: tuple[int, ...]


def bind(
    cores: Sequence[int] | None, directory: Path, component: str, rank: int, attempt: int
) -> None:
    """Bind this process to cores, and leave a note for the report if it has others afterwards.

    Parameters
    ----------
    cores
        Of the plan; ``None`` leaves the process where it may run.
    directory
        Of the run.
    """
    if cores is None:
        return
    try:
        os.sched_setaffinity(0, cores)
    except OSError:
        pass  # none of them can be had: what there is instead is said below
    real = os.sched_getaffinity(0)
    if real == {*cores}:
        return
    note = {"planned": sorted(cores), "real": sorted(real)}
    files.replace(directory / FOLDER / f"{component}.{rank}.{attempt}{_SUFFIX}", note)
    print(
        f"dovetail: warning: the plan gives this rank core {ranges(cores)}, and it has "
        f"{ranges(real)}",
        flush=True,
    )


def differences(directory: Path) -> list[Difference]:
    """All ranks of a run that have, or had, other cores than planned.

    Raises
    ------
    ValueError, KeyError, TypeError
        If a note is damaged.
    """
    found = []
    for path in sorted((directory / FOLDER).glob(f"*{_SUFFIX}")):
        component, rank, attempt = path.name.removesuffix(_SUFFIX).rsplit(".", 2)
        note = json.loads(path.read_bytes())
        planned, real = (tuple(map(int, note[key])) for key in ("planned", "real"))
        found.append(Difference(component, int(rank), int(attempt), planned, real))
    return sorted(found, key=lambda one: (one.component, one.rank, one.attempt))


def warnings(directory: Path) -> list[str]:
    """What the differences come to, a sentence for each component."""
    by_component: dict[str, list[Difference]] = {}
    for one in differences(directory):
        by_component.setdefault(one.component, []).append(one)
    said = []
    for component, those in by_component.items():
        first, ranks = those[0], {one.rank for one in those}
        said.append(
            f"{component}: {len(ranks)} rank{'s have' if len(ranks) > 1 else ' has'} other cores "
            f"than planned: rank {first.rank} was to have {ranges(first.planned)}, and has "
            f"{ranges(first.real)}. A container, the scheduler or the launcher may have left it "
            f"no others"
        )
    return said
