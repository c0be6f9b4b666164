"""The same solver in each language teaches the same trainer the same stencil."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dovetail import native

HERE = Path(__file__).parents[2] / "examples" / "solverdummies"
SECONDS = 60


def run(*command: object) -> None:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, check=False, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The solvers in C and C++, built with CMake as their page says."""
    cmake = shutil.which("cmake", path=str(Path(sys.executable).parent)) or shutil.which("cmake")
    if cmake is None:
        pytest.skip("needs cmake")
    folder = tmp_path_factory.mktemp("solverdummies")
    run(cmake, "-S", HERE, "-B", folder, f"-Ddovetail_DIR={native.cmake_directory()}")
    run(cmake, "--build", folder)
    return folder


def solver_of(language: str, built: Path) -> list[str]:
    if language == "python":
        return [sys.executable, str(HERE / "python" / "solver.py")]
    return [str(built / f"solver_{language}")]


FORTRAN = pytest.param("fortran", marks=pytest.mark.requires("gfortran"))


@pytest.mark.parametrize("language", ["c", "cpp", FORTRAN, "python"])
def test_the_trainer_learns_from_a_solver_in(language: str, built: Path, shm_url: str) -> None:
    environment = {**os.environ, "DOVETAIL_STREAM_FIELDS": shm_url}
    with subprocess.Popen(
        [sys.executable, str(HERE / "trainer.py")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as trainer:
        try:
            solver = subprocess.run(
                solver_of(language, built),
                capture_output=True,
                check=False,
                env=environment,
                text=True,
                timeout=SECONDS,
            )
            learned, _ = trainer.communicate(timeout=SECONDS)
        finally:
            trainer.kill()
    assert (solver.returncode, solver.stdout) == (0, "solver: 50 steps\n"), solver.stderr
    assert trainer.returncode == 0, learned
    last = learned.splitlines()[-1]
    weights = [float(number) for number in re.findall(r"-?\d\.\d{3}", last)]
    assert weights == pytest.approx([0.1, -0.4], abs=0.005), learned


@pytest.mark.parametrize("language", ["c", "cpp", FORTRAN])
def test_a_solver_that_finds_no_stream_says_what_to_set(language: str, built: Path) -> None:
    environment = {name: text for name, text in os.environ.items() if "DOVETAIL" not in name}
    done = subprocess.run(
        [built / f"solver_{language}"],
        capture_output=True,
        check=False,
        env=environment,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 1
    assert "set DOVETAIL_STREAM_FIELDS" in done.stderr
