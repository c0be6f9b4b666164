"""Plain SST with an ADIOS2 that was built with MPI: M writer ranks and N reader ranks, one stream.

Each side is an MPI program of its own, started by ``mpiexec``.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import requirements

import dovetail as dv
from dovetail.testing.children import wait_until

pytestmark = [
    pytest.mark.soak,
    pytest.mark.requires("adios2"),
    pytest.mark.requires("adios2-with-mpi"),
]

RANKS = Path(__file__).with_name("joint_ranks.py")
DEADLINE = 100


class Program:
    """An MPI program whose ranks play a role of ``joint_ranks.py``."""

    def __init__(self, ranks: int, role: str, url: str, count: int = 5) -> None:
        packages = requirements.adios2_with_mpi()
        self.process = subprocess.Popen(
            [Path(sys.executable).with_name("mpiexec"), "-n", str(ranks), sys.executable, RANKS,
             role, url, str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(packages), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def outcomes(self) -> list[Any]:
        """What each rank says at its end."""
        output, _ = self.process.communicate(timeout=DEADLINE)
        assert output, self.process.returncode
        return list(json.loads(output.splitlines()[-1]))

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()  # mpiexec ends its ranks
        with contextlib.suppress(ValueError):
            self.process.communicate(timeout=DEADLINE)


class Programs:
    def __init__(self) -> None:
        self._started: list[Program] = []

    def start(self, *arguments: Any) -> Program:
        self._started.append(Program(*arguments))
        return self._started[-1]

    def end(self) -> None:
        for program in self._started:
            program.end()


@pytest.fixture
def programs() -> Iterator[Programs]:
    started = Programs()
    yield started
    started.end()


@pytest.fixture(params=["sync"])
def url(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    return f"sst://joint?contact={tmp_path}&recipe={request.param}"


@pytest.mark.parametrize(("writers", "readers"), [(3, 2), (2, 3), (4, 1), (1, 2)])
def test_ranks_of_two_programs_share_one_stream(
    programs: Programs, url: str, writers: int, readers: int
) -> None:
    reader = programs.start(readers, "read", url)
    writer = programs.start(writers, "write", url)
    assert writer.outcomes() == [5] * writers
    assert reader.outcomes() == [list(range(5))] * readers


def test_an_ordinary_program_reads_what_ranks_of_ours_write(programs: Programs, url: str) -> None:
    reader = programs.start(2, "foreign_read", url)
    assert programs.start(3, "write", url).outcomes() == [5, 5, 5]
    assert reader.outcomes() == [list(range(5))] * 2


def test_ranks_of_ours_read_what_an_ordinary_program_writes(programs: Programs, url: str) -> None:
    reader = programs.start(2, "read_foreign", url)
    assert programs.start(3, "foreign_write", url).outcomes() == [5, 5, 5]
    assert reader.outcomes() == [list(range(5))] * 2


def test_one_process_with_the_package_of_pypi_reads_what_ranks_write(
    programs: Programs, url: str
) -> None:
    writer = programs.start(3, "write", url)
    seen = []
    with dv.open_stream(url, "r", timeout=60) as reader:
        for step in reader:
            expected = np.arange(24.0).reshape(6, 4) + 100.0 * step.index
            assert np.array_equal(step["rows"], expected)
            assert np.array_equal(step.read("fortran", (1, 1), (3, 2)), expected[1:4, 1:3])
            assert step["joined"].shape == (6, 2)
            seen.append(step.attrs["number"])
    assert seen == list(range(5))
    assert writer.outcomes() == [5] * 3


def test_a_shared_stream_says_what_moves_it(programs: Programs, url: str) -> None:
    writer = programs.start(2, "write_for_ever", url)
    with dv.open_stream(url, "r", timeout=60) as reader:
        next(reader).end()
        described = dv.describe_stream(url)
    assert described.ranks == 2
    assert "2 ranks write by MPI" in described.transport
    assert "TCP sockets (evpath)" in described.transport
    writer.end()


def test_blocks_that_form_no_array_are_refused_on_all_ranks_and_the_stream_goes_on(
    programs: Programs, url: str
) -> None:
    reader = programs.start(2, "read", url)
    refused = programs.start(3, "write_nonsense", url).outcomes()
    assert all("joined along axis 0" in words for (words,) in refused)
    assert reader.outcomes() == [list(range(5))] * 2


def test_a_writer_that_leaves_by_an_exception_is_lost(
    programs: Programs, url: str, tmp_path: Path
) -> None:
    reader = programs.start(2, "read_on", url)
    writer = programs.start(3, "write_and_fail", url)
    assert writer.outcomes() == [["DovetailError", "on purpose"]] * 3
    for outcome in reader.outcomes():
        assert outcome[-1] == "PeerLostError"
        assert outcome[:-1] == list(range(len(outcome) - 1))
    assert not list(tmp_path.iterdir())


def test_a_killed_writer_is_lost(programs: Programs, url: str) -> None:
    writer = programs.start(2, "write_for_ever", url)
    reader = programs.start(2, "read_on", url)
    assert reader.process.stdout is not None
    assert reader.process.stdout.readline() == "step\n"
    for rank in _ranks_of(writer):
        os.kill(rank, signal.SIGKILL)
    assert [outcome[-1] for outcome in reader.outcomes()] == ["PeerLostError"] * 2


def test_a_silent_writer_is_a_timeout_on_every_rank(programs: Programs, url: str) -> None:
    writer = programs.start(2, "write_one_and_wait", url)
    reader = programs.start(2, "wait_in_vain", url)
    assert reader.outcomes() == [[0, "TransportTimeoutError"]] * 2
    assert writer.process.stdin is not None
    writer.process.stdin.write("\n")
    writer.process.stdin.flush()
    assert writer.outcomes() == [1, 1]


def test_a_writer_whose_reader_never_comes_is_a_timeout_on_every_rank(
    programs: Programs, url: str, tmp_path: Path
) -> None:
    writer = programs.start(2, "write_impatiently", url)
    assert [kind for kind, _ in writer.outcomes()] == ["TransportTimeoutError"] * 2
    assert not list(tmp_path.iterdir())


def test_a_frozen_reader_is_a_timeout_on_every_rank_of_the_writer(
    programs: Programs, url: str
) -> None:
    writer = programs.start(2, "write_impatiently", url)
    reader = programs.start(2, "read_on", url)
    assert reader.process.stdout is not None
    assert reader.process.stdout.readline() == "step\n"
    frozen = [psutil.Process(rank) for rank in _ranks_of(reader)]
    for rank in frozen:
        rank.suspend()
    assert [kind for kind, _ in writer.outcomes()] == ["TransportTimeoutError"] * 2
    for rank in frozen:
        rank.resume()
    assert [outcome[-1] for outcome in reader.outcomes()] == ["PeerLostError"] * 2


def test_a_second_writer_is_refused_on_all_its_ranks(programs: Programs, url: str) -> None:
    first = programs.start(2, "write_for_ever", url)
    with dv.open_stream(url, "r", timeout=60) as reader:
        next(reader).end()
        second = programs.start(2, "write", url)
        assert [kind for kind, _ in second.outcomes()] == ["StreamBusyError"] * 2
    first.end()


def _ranks_of(program: Program) -> list[int]:
    found: list[int] = []

    def look() -> bool:
        found[:] = [
            child.pid
            for child in psutil.Process(program.process.pid).children(recursive=True)
            if str(RANKS) in child.cmdline()
        ]
        return bool(found)

    wait_until(look, "ranks to start")
    return found
