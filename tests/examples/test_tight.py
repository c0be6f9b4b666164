"""Ranks of a solver in Fortran train one network together, in Python, inside the solver."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from clients import building

from dovetail import native

HERE = Path(__file__).parents[2] / "examples" / "tight"

pytestmark = [
    pytest.mark.requires("gfortran", "mpifort", "mpi", "torch"),
    pytest.mark.timeout(400),
]


def test_the_ranks_of_a_solver_train_one_network(tmp_path: Path) -> None:
    mpifort = shutil.which("mpifort")
    assert mpifort is not None
    cmake = building.tool("cmake")
    building.run(cmake, "-S", HERE, "-B", tmp_path, f"-Ddovetail_DIR={native.cmake_directory()}",
                 f"-DMPI_Fortran_COMPILER={mpifort}")  # fmt: skip
    building.run(cmake, "--build", tmp_path)
    launcher = Path(mpifort).resolve().parent / "mpiexec"
    done = subprocess.run(
        [launcher, "-n", "2", tmp_path / "rod", "100"],
        capture_output=True,
        check=False,
        cwd=HERE,
        env=os.environ
        | {
            "DOVETAIL_PYTHON": sys.executable,
            "LD_LIBRARY_PATH": os.fspath(mpi_by_its_common_name(tmp_path / "rod")),
        },
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = re.findall(r"^rank (\d), step (\d+): (.*)$", done.stdout, re.MULTILINE)
    answers = {(int(rank), int(step)): json.loads(answer) for rank, step, answer in said}
    assert sorted(answers) == [(0, 1), (0, 100), (1, 1), (1, 100)]
    assert answers[0, 100] == answers[1, 100], "the ranks hold different networks"
    assert answers[0, 100]["ranks"] == 2
    assert answers[0, 100]["loss"] < answers[0, 1]["loss"] / 10


def mpi_by_its_common_name(program: Path) -> Path:
    """A folder in which the MPI of a program has the name that mpi4py looks for."""
    folder = program.with_name("lib")
    folder.mkdir()
    loaded = re.search(r"libmpi(?:ch)?\.so\.12 => (\S+)", building.run("ldd", program))
    assert loaded is not None
    (folder / "libmpi.so.12").symlink_to(loaded[1])
    return folder
