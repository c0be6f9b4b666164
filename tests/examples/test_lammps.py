"""LAMMPS shows its atoms while it runs: positions and forces that belong together, of all ranks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dovetail as dv

HERE = Path(__file__).parents[2] / "examples" / "lammps"
SECONDS = 100

pytestmark = pytest.mark.requires("lammps")


def simulation(url: str, ranks: int, steps: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [Path(sys.executable).with_name("mpiexec"), "-n", str(ranks), sys.executable,
         HERE / "simulate.py", str(steps)],
        env=os.environ | {"DOVETAIL_STREAM_ATOMS": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


def test_positions_and_forces_are_those_of_lammps(shm_url: str) -> None:
    with simulation(shm_url, 2, 30) as running:
        try:
            with dv.open_stream(shm_url, "r", timeout=SECONDS) as reader:
                seen = [
                    (step.attrs["time_step"], *(np.array(step[name]) for name in ("id", "x", "f")))
                    for step in reader
                ]
            said, _ = running.communicate(timeout=SECONDS)
        finally:
            running.kill()
    assert running.returncode == 0, said
    assert [time_step for time_step, *_ in seen] == [0, 10, 20, 30]
    side = (4 / 0.8442) ** (1 / 3)  # of a cell of the crystal, which has four atoms
    for time_step, tags, x, f in seen:
        assert sorted(tags) == list(range(1, 501))
        np.testing.assert_allclose(f, forces(x, 5 * side), atol=1e-7 * abs(f).max() + 1e-9)
        if time_step == 0:
            corners = x / side * 2
            np.testing.assert_allclose(corners, corners.round(), atol=1e-9)


def forces(x: np.ndarray, box: float) -> np.ndarray:
    """Of Lennard-Jones, cut at 2.5, computed once more: all pairs in a periodic box."""
    apart = x[:, None] - x[None]
    apart -= box * np.round(apart / box)
    square = (apart**2).sum(axis=-1)
    np.fill_diagonal(square, np.inf)
    square[square >= 2.5**2] = np.inf
    sixth = square**-3
    pull = (48 * sixth**2 - 24 * sixth) / square
    return (pull[..., None] * apart).sum(axis=1)


def test_a_reader_sees_the_atoms_of_all_ranks(shm_url: str) -> None:
    with simulation(shm_url, 2, 20) as running:
        try:
            watched = subprocess.run(
                [sys.executable, HERE / "watch.py"],
                capture_output=True,
                check=False,
                env=os.environ | {"DOVETAIL_STREAM_ATOMS": shm_url},
                text=True,
                timeout=SECONDS,
            )
            said, _ = running.communicate(timeout=SECONDS)
        finally:
            running.kill()
    assert running.returncode == 0, said
    assert watched.returncode == 0, watched.stderr
    lines = watched.stdout.splitlines()
    assert len(lines) == 3
    assert lines[-1].startswith("time step 20: 500 atoms, net force ")


def test_a_simulation_that_nobody_wants_ends_and_says_so(shm_url: str) -> None:
    with simulation(shm_url, 2, 1_000_000) as running:
        try:
            with dv.open_stream(shm_url, "r", timeout=SECONDS) as reader:
                next(iter(reader))
                reader.stop()
            said, _ = running.communicate(timeout=SECONDS)
        finally:
            running.kill()
    assert running.returncode != 0
    assert "StreamStoppedError" in said
