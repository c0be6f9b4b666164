"""``mpi://`` between real programs of one MPI job: M writer ranks, N reader ranks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RANKS = Path(__file__).with_name("ranks.py")
CONTRACT = Path(__file__).with_name("test_stream_contract.py")
DEADLINE = 100
URL = "mpi://test"

pytestmark = pytest.mark.requires("mpi")


def job(*programs: tuple[int, str], url: str = URL, status: int = 0) -> str:
    """Run programs, each of so many ranks and a role with its arguments, as one job."""
    command = [str(Path(sys.executable).with_name("mpiexec"))]
    for number, (ranks, role) in enumerate(programs):
        name, *arguments = role.split()
        command += [":"] if number else []
        command += ["-n", str(ranks), sys.executable, str(RANKS), name, url, *arguments]
    return run(command, status)


def run(command: list[str], status: int = 0, **environment: str) -> str:
    """What a command writes, and how it ended."""
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    ) as process:
        try:
            output, _ = process.communicate(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            process.terminate()  # mpiexec ends its ranks
            raise AssertionError(f"not done in {DEADLINE} s: {process.communicate()[0]}") from None
    assert process.returncode == status, output
    return output


@pytest.mark.parametrize(("writers", "readers"), [(1, 1), (3, 2), (2, 3)])
def test_ranks_of_a_reader_see_the_steps_of_the_ranks_of_a_writer_under_every_policy(
    writers: int, readers: int
) -> None:
    output = job((writers, "write_blocks"), (readers, "read_blocks"))
    assert output.count("read") == 5, output


def test_a_work_queue_is_dealt_to_the_programs_of_a_job() -> None:
    assert "dealt to 2" in job((1, "deal"), (2, "work"))


def test_both_directions_at_once() -> None:
    assert job((2, "simulate"), (1, "train")).count("answered") == 2


def test_a_program_that_reads_is_told_when_the_one_that_writes_has_failed() -> None:
    output = job((1, "write_and_fail"), (1, "read_until_lost"), status=1)
    assert "lost after [0, 1]" in output
    assert "the solver has diverged" in output


def test_a_program_that_ends_without_closing_its_stream_is_a_lost_peer() -> None:
    assert "lost after [0]" in job((1, "write_and_leave_open"), (1, "read_until_lost"))


def test_a_killed_process_takes_the_job_with_it() -> None:
    output = job((1, "write_and_die"), (1, "read_until_lost"), status=9)
    assert "looked like the end" not in output


def test_a_program_that_writes_is_told_when_the_one_that_reads_has_failed() -> None:
    output = job((1, "write_until_lost"), (1, "read_and_fail"))
    assert "died or left by an exception" in output


def test_large_steps() -> None:
    assert "read 6" in job((1, "write_sealed 6 8000000"), (1, "read_sealed 6"))


def test_many_small_steps() -> None:
    assert "read 1000" in job((1, "write_sealed 1000 10 8"), (1, "read_sealed 1000"))


@pytest.mark.parametrize("leader", [0, 1])
def test_logs_are_continued_in_others(leader: int) -> None:
    output = job((1, "write_long 500"), (1, "read_sealed 500"), url=f"{URL}?leader={leader}")
    assert "read 500" in output


def test_steps_are_filled_in_place_and_held_as_long_as_somebody_wants() -> None:
    assert "held 6" in job((1, "fill_in_place"), (1, "read_filled"))


@pytest.mark.parametrize("ending", ["write_and_end", "write_and_finalize"])
def test_steps_are_read_after_the_leader_and_writer_came_to_its_end(ending: str) -> None:
    output = job((1, ending), (1, "read_late"))
    assert "read late" in output
    assert "opened after" not in output


def test_steps_are_fetched_while_the_writer_waits_in_a_call_of_mpi() -> None:
    # It holds all steps, and is in a receive that only the last of them ends.
    assert "read 4" in job((1, "write_sealed 4 100000 4"), (1, "read_sealed 4"))


def test_a_process_that_never_opens_a_stream_hinders_nobody() -> None:
    output = job((1, "nothing"), (1, "write_beside"), (1, "read_beside"), url=f"{URL}?leader=1")
    assert "read [0, 1, 2, 3, 4]" in output


def test_a_leader_that_never_comes_is_named() -> None:
    output = job((1, "nothing"), (1, "open_in_vain"))
    assert output.count("in vain: rank 0 of MPI_COMM_WORLD") == 2, output
    assert "leader=" in output


def test_a_private_communicator_keeps_apart_from_receives_of_anything() -> None:
    output = job(
        (1, "write_among_wildcards"), (1, "read_among_wildcards"), url=f"{URL}?context=private"
    )
    assert "unharmed" in output


def test_a_private_communicator_takes_all_processes() -> None:
    output = job((1, "nothing"), (1, "open_in_vain"), url=f"{URL}?context=private")
    assert "all 2 must" in output


def test_an_mpi_that_serves_one_thread_only_is_refused() -> None:
    output = job((1, "serialized"))
    assert "unfit: mpi:// needs MPI_THREAD_MULTIPLE" in output
    assert "MPI_THREAD_SERIALIZED" in output


def test_another_process_of_the_job_looks_on_and_stops_the_stream() -> None:
    assert "looked on" in job((1, "describe"), (1, "look_on"))


def test_the_contract_is_kept_while_another_process_leads() -> None:
    mpiexec = str(Path(sys.executable).with_name("mpiexec"))
    pytest_here = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(CONTRACT)]
    leader = [sys.executable, str(RANKS), "lead", f"{URL}?leader=1"]
    output = run(
        [mpiexec, "-n", "1", *pytest_here, ":", "-n", "1", *leader],
        DOVETAIL_TEST_LEADER="1",
    )
    assert "passed" in output
