"""Streams between real MPI programs: M writer ranks, N reader ranks, started apart."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RANKS = Path(__file__).with_name("mpi_ranks.py")
DEADLINE = 90

pytestmark = pytest.mark.requires("mpi")


def start(role: str, url: str, ranks: int, **environment: str) -> subprocess.Popen[str]:
    mpiexec = Path(sys.executable).with_name("mpiexec")
    return subprocess.Popen(
        [str(mpiexec), "-n", str(ranks), sys.executable, str(RANKS), role, url],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def finish(program: subprocess.Popen[str]) -> str:
    try:
        output, _ = program.communicate(timeout=DEADLINE)
    finally:
        program.kill()
    assert program.returncode == 0, output
    return output


@pytest.mark.parametrize(("writers", "readers"), [(1, 2), (3, 1), (2, 3), (4, 2)])
def test_ranks_of_a_reader_see_every_step_of_the_ranks_of_a_writer(
    shm_url: str, writers: int, readers: int
) -> None:
    reading = start("read", shm_url, readers)
    writing = start("write", shm_url, writers)
    finish(writing)
    assert "steps 40" in finish(reading)


def test_a_communicator_that_spans_nodes_is_refused(shm_url: str) -> None:
    # Without shared memory of its own, MPICH takes each rank for a node.
    output = finish(start("refuse", shm_url, 2, MPIR_CVAR_NOLOCAL="1"))
    assert output.count("refused") == 2, output
    assert "memory of one node" in output
