"""The parallel solver in Fortran shows a trainer one plate, however many ranks compute it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dovetail import native

HERE = Path(__file__).parents[2] / "examples" / "heat_fortran"
SECONDS = 60

pytestmark = pytest.mark.requires("gfortran", "mpifort")


@pytest.fixture(scope="module")
def heat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The solver, built with CMake as its page says."""
    cmake = shutil.which("cmake", path=str(Path(sys.executable).parent)) or shutil.which("cmake")
    if cmake is None:
        pytest.skip("needs cmake")
    folder = tmp_path_factory.mktemp("heat")
    configure = [cmake, "-S", HERE, "-B", folder, f"-Ddovetail_DIR={native.cmake_directory()}",
                 f"-DMPI_Fortran_COMPILER={shutil.which('mpifort')}"]  # fmt: skip
    for command in (configure, [cmake, "--build", folder]):
        done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=100)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "heat"


@pytest.mark.parametrize("ranks", [1, 4])
def test_a_trainer_learns_from_ranks(ranks: int, heat: Path, shm_url: str) -> None:
    environment = {**os.environ, "DOVETAIL_STREAM_FIELDS": shm_url}
    mpifort = shutil.which("mpifort")
    assert mpifort is not None
    launcher = Path(mpifort).resolve().parent / "mpiexec"
    with subprocess.Popen(
        [sys.executable, HERE / "trainer.py"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as trainer:
        try:
            solver = subprocess.run(
                [launcher, "-n", str(ranks), heat, "40"],
                capture_output=True,
                check=False,
                env=environment,
                text=True,
                timeout=SECONDS,
            )
            learned, _ = trainer.communicate(timeout=SECONDS)
        finally:
            trainer.kill()
    assert solver.returncode == 0, solver.stdout + solver.stderr
    assert solver.stdout.startswith("heat: 40 steps")
    assert trainer.returncode == 0, learned
    assert "plate (64, 48)" in learned
    weights = [float(number) for number in re.findall(r"-?\d\.\d{3}", learned.splitlines()[-1])]
    assert weights == pytest.approx([0.1, -0.4], abs=0.005), learned
