"""What streams over MPI withstand; faults of a kind follow each other in one job."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from faults.tally import Tally

import dovetail as dv

pytestmark = pytest.mark.requires("mpi")

RANKS = Path(__file__).with_name("mpi_ranks.py")
COUNT, JOBS = 10, 4
"""Faults of a kind in an ordinary run; and of those that end a job, each with a job of its own."""
SECONDS, SECONDS_EACH = 60, 0.3
"""In which a job is done: to start, and for each trial."""
every_policy = pytest.mark.parametrize(
    "policy", [dv.lockstep(), dv.buffered(2), dv.latest(), dv.work_queue(2)], ids=str
)


def start(
    ranks: int, role: str, policy: dv.Policy, trials: int, seed: int
) -> subprocess.Popen[str]:
    words = [role, policy.kind, policy.window, trials, seed]
    return subprocess.Popen(
        [Path(sys.executable).with_name("mpiexec"), "-n", str(ranks), sys.executable, RANKS,
         *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONPATH": str(RANKS.parents[1]), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def output_of(job: subprocess.Popen[str], trials: int) -> str:
    """All that a job writes until it ends."""
    deadline = SECONDS + SECONDS_EACH * trials
    with job:
        try:
            return job.communicate(timeout=deadline)[0]
        except subprocess.TimeoutExpired:
            job.terminate()  # mpiexec ends its ranks
            raise AssertionError(f"not done in {deadline} s: {job.communicate()[0]}") from None


def cause(ranks: int, role: str, policy: dv.Policy, chance: random.Random, faults: Tally) -> None:
    """So many faults of a kind in one job."""
    job = start(ranks, role, policy, faults.wanted, chance.randrange(1 << 30))
    output = output_of(job, faults.wanted)
    faults.sound = output.count("sound")
    assert job.returncode == 0, output
    assert faults.sound == faults.wanted


@pytest.fixture
def faults(faults: Tally, request: pytest.FixtureRequest) -> Tally:
    if not request.config.getoption("soak"):
        faults.wanted = min(faults.wanted, COUNT)
    return faults


@every_policy
def test_either_end_first(policy: dv.Policy, chance: random.Random, faults: Tally) -> None:
    """Both ends of a stream opened in any order."""
    cause(2, "either_end_first", policy, chance, faults)


@every_policy
def test_writer_that_fails(policy: dv.Policy, chance: random.Random, faults: Tally) -> None:
    """Writer of a stream left by an exception: no step that it had ended is lost."""
    cause(2, "left_by_an_exception", policy, chance, faults)


@every_policy
def test_slow_reader(policy: dv.Policy, chance: random.Random, faults: Tally) -> None:
    """A reader that is slower than the producer, beside one that is not."""
    cause(3, "slow_reader", policy, chance, faults)


def test_killed_rank(chance: random.Random, faults: Tally, request: pytest.FixtureRequest) -> None:
    """A rank killed at a random moment: MPI ends the job, and nobody sees a clean end."""
    if not request.config.getoption("soak"):
        faults.wanted = min(faults.wanted, JOBS)
    for _ in faults:
        job = start(3, "killed", dv.buffered(2), 1, chance.randrange(1 << 30))
        output = output_of(job, 1)
        assert job.returncode != 0, output
        assert "clean end" not in output
        assert not [one for one in psutil.process_iter(["cmdline"])
                    if str(RANKS) in (one.info["cmdline"] or [])]  # fmt: skip
