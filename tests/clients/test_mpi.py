"""MPI programs in C open a stream by their communicator; the library is linked with no MPI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from clients import building

import dovetail as dv
from dovetail import native

DEADLINE = 90
COMPILERS = ["mpicc", "mpicc_abi"]
"""MPICH's own binary interface, whose handles are numbers, and the standard one of MPI 5."""

pytestmark = pytest.mark.requires("mpi")


@pytest.fixture(scope="module", params=COMPILERS)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = Path(sys.executable).with_name(request.param)
    if not compiler.exists():
        pytest.skip(f"needs {request.param}")
    target = tmp_path_factory.mktemp(request.param) / "mpi_ranks"
    library = Path(sys.executable).parents[1] / "lib"
    building.run(
        compiler, "-std=c99", "-O1", "-o", target, building.HERE / "mpi_ranks.c",
        *building.flags(), f"-Wl,-rpath,{library}",
    )  # fmt: skip
    return target


def start(
    program: Path, role: str, url: str, ranks: int, kind: str = "c", **environment: str
) -> subprocess.Popen[str]:
    mpiexec = Path(sys.executable).with_name("mpiexec")
    return subprocess.Popen(
        [str(mpiexec), "-n", str(ranks), str(program), role, url, kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
    )


def finish(program: subprocess.Popen[str]) -> str:
    try:
        output, _ = program.communicate(timeout=DEADLINE)
    finally:
        program.kill()
    assert program.returncode == 0, output
    return output


def test_the_library_itself_is_linked_with_no_mpi() -> None:
    library = native.library_directory() / native.LIBRARY
    assert "mpi" not in building.run(building.tool("ldd"), library).lower()


@pytest.mark.parametrize("kind", ["c", "fortran"])
def test_ranks_of_a_writer_and_of_a_reader_share_a_stream(
    program: Path, shm_url: str, kind: str
) -> None:
    reading = start(program, "read", shm_url, 2, kind)
    writing = start(program, "write", shm_url, 3, kind)
    finish(writing)
    assert finish(reading).count("steps 20") == 2


def test_python_reads_what_ranks_in_c_write(program: Path, shm_url: str) -> None:
    writing = start(program, "write", shm_url, 2)
    with dv.open_stream(shm_url, "r") as reader:
        shapes = [step["u"].shape for step in reader]
    finish(writing)
    assert shapes == [(6, 4)] * 20


def test_a_communicator_that_spans_nodes_is_refused(program: Path, shm_url: str) -> None:
    # Without shared memory of its own, MPICH takes each rank for a node.
    output = finish(start(program, "refuse", shm_url, 2, MPIR_CVAR_NOLOCAL="1"))
    assert output.count("capability: ") == 2, output
    assert "memory of one node" in output


def test_what_rank_0_cannot_open_is_an_error_on_every_rank(program: Path, shm_url: str) -> None:
    with dv.open_stream(shm_url, "w"):
        output = finish(start(program, "refuse", shm_url, 2))
    assert output.count("busy: ") == 2, output
    assert "rank 0 could not open" in output
