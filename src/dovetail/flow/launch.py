"""The command lines that start the ranks of a component: plain processes, or ``mpiexec``.

A launch line starts one or several ranks and ends when they have ended. What watches and ends
them (:mod:`dovetail.flow.supervise`) knows no more of it than that.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

RANK_VARIABLES = ("PMI_RANK", "PALS_RANKID", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID")
"""In which the launchers of MPI jobs tell a process its rank."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A command line, and the ranks that it starts."""

    argv: tuple[str, ...]
    ranks: tuple[int, ...]
    log: str
    """Where its own output goes, relative to the run's directory."""


def plain(directory: str, component: str, process_count: int) -> tuple[Launch, ...]:
    """One process a rank."""
    return tuple(
        Launch(
            (*runner(directory, component), "--rank", str(rank)),
            (rank,),
            f"logs/{component}.{rank}.log",
        )
        for rank in range(process_count)
    )


def mpi(directory: str, component: str, process_count: int) -> tuple[Launch, ...]:
    """All ranks as one MPI job."""
    program = mpiexec() or "mpiexec"
    argv = (
        program,
        "-n",
        str(process_count),
        *_options(program),
        *runner(directory, component),
    )
    return (Launch(argv, tuple(range(process_count)), f"logs/{component}.mpiexec.log"),)


def runner(directory: str, component: str) -> tuple[str, ...]:
    """The words that make a process a rank of a component."""
    # -P: no module of the flow's folder may stand in for one that the runner needs.
    return (sys.executable, "-P", "-m", "dovetail.flow.rank", directory, component)


@cache
def mpiexec() -> str | None:
    """The ``mpiexec`` that belongs to this Python, else the first on the PATH."""
    beside = Path(sys.executable).with_name("mpiexec")
    return str(beside) if os.access(beside, os.X_OK) else shutil.which("mpiexec")


@cache
def _options(program: str) -> tuple[str, ...]:
    """What this MPI needs to leave cores and their number to us."""
    try:
        answer = subprocess.run(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            text=True,
            timeout=30,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    if "Open MPI" in answer or "PRRTE" in answer:
        root = ("--allow-run-as-root",) if os.geteuid() == 0 else ()
        return ("--bind-to", "none", "--oversubscribe", *root)
    return ()
