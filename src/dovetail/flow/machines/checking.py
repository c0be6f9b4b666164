"""Whether a profile fits the machine that we are on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dovetail.flow.machines import here, hwloc
from dovetail.flow.machines.profile import Machine
from dovetail.flow.numbers import ranges

PROGRAMS = {"hydra": "mpiexec", "openmpi": "mpiexec", "pals": "mpiexec", "srun": "srun"}
"""The program of each kind of launcher, where the profile names none."""
_SUBMIT = {"slurm": "sbatch", "pbs": "qsub"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    outcome: Literal["ok", "differs", "unknown"]
    detail: str


def check(machine: Machine) -> list[Finding]:
    """Compare a profile with the machine that this process runs on.

    On a login node its compute nodes are not there to be looked at: what differs need not be
    wrong.
    """
    return [
        *_cores(machine),
        *_gpus(machine),
        *_launcher(machine),
        *_scheduler(machine),
        *_paths(machine),
        *_hwloc(),
    ]


def _cores(machine: Machine) -> Iterator[Finding]:
    there, said = here.node(), machine.node
    needed = {*said.usable}
    missing = needed - {*there.cores}
    if missing:
        yield Finding(
            "cores",
            "differs",
            f"the profile puts processes on {ranges(needed)}; this process may use "
            f"{ranges(there.cores)}, without {ranges(missing)}",
        )
    else:
        yield Finding("cores", "ok", f"{ranges(needed)} can all be used from here")
    if there.quota is not None and there.quota < len(needed):
        yield Finding(
            "quota",
            "differs",
            f"the cgroup grants the time of {there.quota:g} cores, and the profile puts "
            f"processes on {len(needed)}",
        )


def _gpus(machine: Machine) -> Iterator[Finding]:
    there, said = len(here.node().devices), len(machine.node.devices)
    if there or said:
        outcome: Literal["ok", "differs"] = "ok" if there == said else "differs"
        yield Finding("GPUs", outcome, f"the profile has {said}, this machine {there}")


def _launcher(machine: Machine) -> Iterator[Finding]:
    program = machine.launcher.program or PROGRAMS.get(machine.launcher.kind)
    if program is None:
        yield Finding("launcher", "ok", "processes are started directly")
        return
    found = shutil.which(program)
    if found is None:
        yield Finding("launcher", "differs", f"there is no {program} on the PATH: load its module")
    else:
        yield Finding("launcher", "ok", f"{machine.launcher.kind}: {found}")


def _scheduler(machine: Machine) -> Iterator[Finding]:
    program = _SUBMIT.get(machine.scheduler.kind)
    if program is None:
        return
    found = shutil.which(program)
    if found is None:
        yield Finding("scheduler", "differs", f"there is no {program} on the PATH")
    else:
        yield Finding("scheduler", "ok", f"{machine.scheduler.kind}: {found}")


def _paths(machine: Machine) -> Iterator[Finding]:
    paths = machine.paths
    for what, path in (("memory", paths.memory), ("disk", paths.disk), ("scratch", paths.scratch)):
        if path is None:
            continue
        if os.access(Path(path), os.W_OK | os.X_OK):
            yield Finding(f"{what} path", "ok", f"{path} can be written to")
        else:
            yield Finding(f"{what} path", "differs", f"{path} is not there, or cannot be written")


def _hwloc() -> Iterator[Finding]:
    found = hwloc.topology()
    if found is None:
        yield Finding("hwloc", "unknown", "there is no lstopo: the kernel alone was asked")
        return
    seen = {thread for core in found.cores for thread in core}
    missing = {*here.node().cores} - seen
    if missing:
        yield Finding("hwloc", "differs", f"lstopo does not see core {ranges(missing)}")
    else:
        yield Finding(
            "hwloc",
            "ok",
            f"lstopo sees {len(found.cores)} cores, {len(seen)} hardware threads and "
            f"{len(found.numa)} NUMA domains, as the kernel does",
        )
