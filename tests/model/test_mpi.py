"""The ranks of one MPI program follow a model together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.requires("mpi")


@pytest.mark.parametrize("ranks", [1, 3])
def test_all_ranks_are_in_the_same_version_after_every_refresh(shm_url: str, ranks: int) -> None:
    mpiexec = Path(sys.executable).with_name("mpiexec")
    program = Path(__file__).with_name("mpi_ranks.py")
    done = subprocess.run(
        [str(mpiexec), "-n", str(ranks), sys.executable, str(program), shm_url],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "version 60" in done.stdout
