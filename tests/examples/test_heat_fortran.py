"""The parallel solver in Fortran: a trainer sees one plate, and the ranks use what it learns."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dovetail import native

HERE = Path(__file__).parents[2] / "examples" / "heat_fortran"
SECONDS = 150

pytestmark = [
    pytest.mark.requires("gfortran", "mpifort", "torch"),
    pytest.mark.timeout(600),
]


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


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the trainer begins with, compiled for the solver."""
    path = tmp_path_factory.mktemp("network") / "plate.pt2"
    program = Path(sys.executable).with_name("dovetail")
    for command in (
        [sys.executable, HERE / "trainer.py", "export", path],
        [program, "model", "compile", path, "--device", "cpu", "--threads", "1"],
    ):
        done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=400)
        assert done.returncode == 0, done.stdout + done.stderr
    return path


def run(heat: Path, ranks: int, url: str, *arguments: object) -> tuple[str, str]:
    """What the solver and the trainer say, side by side."""
    environment = os.environ | {
        "DOVETAIL_STREAM_FIELDS": url,
        "DOVETAIL_STORE_MODELS": url,
        "DOVETAIL_PYTHON": sys.executable,
    }
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
                [launcher, "-n", str(ranks), heat, *map(str, arguments)],
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
    assert trainer.returncode == 0, learned
    return solver.stdout, learned


def heat_after(steps: int) -> float:
    """The heat of the plate, computed once more."""
    u = np.zeros((66, 50))
    u[21, 24] = u[59, 4] = 1
    for n in range(steps):
        if n == steps // 2 + 5:
            u[32, 24] = 3
        around = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:]
        u[1:-1, 1:-1] += 0.1 * (around - 4 * u[1:-1, 1:-1])
    return float(u.sum())


def numbers(said: str, pattern: str) -> list[float]:
    found = re.search(pattern, said)
    assert found is not None, said
    return [float(number) for number in found.groups()]


WEIGHTS = r"a neighbour weighs (-?\d\.\d+), the cell itself (-?\d\.\d+)"


def test_a_trainer_learns_from_the_physics(heat: Path, shm_url: str) -> None:
    said, learned = run(heat, 1, shm_url, 40)
    assert numbers(said, r"heat: 40 steps, heat (\S+), ") == pytest.approx([heat_after(40)])
    assert "the network" not in said
    assert "plate (64, 48)" in learned
    assert numbers(learned, WEIGHTS) == pytest.approx([0.1, -0.4], abs=0.005), learned


@pytest.mark.requires("compiler")
def test_the_network_takes_the_place_of_the_physics_while_it_learns(
    heat: Path, network: Path, shm_url: str
) -> None:
    ranks = 3
    said, learned = run(heat, ranks, shm_url, 100, network)
    # It learned from a few steps, and from every tenth, and was as good as the physics.
    assert numbers(said, r"heat: 100 steps, heat (\S+), ") == pytest.approx(
        [heat_after(100)], rel=1e-3
    )
    answers, fallbacks = numbers(
        said, r"the network answered (\d+) times, and (\d+) times the guard left it to the physics"
    )
    assert answers >= 60 * ranks
    assert 1 <= fallbacks <= 20 * ranks, "a cell was hotter than any before, for a while"
    assert numbers(learned, WEIGHTS) == pytest.approx([0.1, -0.4], abs=0.005), learned
