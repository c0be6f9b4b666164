"""MPI programs that span hosts, coupled by a stream."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from hosts.host import Hosts
from hosts.mpi import couple, finish, start
from hosts.servers import Alone
from transport.engines.local import mpi_ranks
from transport.engines.mpi import ranks

pytestmark = [pytest.mark.requires("hosts"), pytest.mark.requires("mpi")]


@pytest.fixture(scope="module")
def server(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    with hosts["n1"].children() as children:
        server = Alone(hosts, {"n1": children}, tmp_path_factory.mktemp("redis"))
        yield server
        server.close()


@pytest.mark.requires("redis")
def test_ranks_on_several_hosts_share_a_stream(hosts: Hosts, server: Alone) -> None:
    couple(hosts, server.url("ranks"))


@pytest.mark.requires("redis")
def test_they_do_so_through_slow_links_that_are_cut_meanwhile(hosts: Hosts, server: Alone) -> None:
    with hosts.slowed("2ms", "200mbit"):
        couple(hosts, server.url("slow-ranks"), "n2", "n3", "n1")


@pytest.mark.parametrize("slow", [False, True], ids=["fast", "slow"])
def test_programs_of_one_job_share_a_stream_over_mpi_itself(hosts: Hosts, slow: bool) -> None:
    script = ranks.__file__
    programs = (
        ["2", script, "write_blocks", "mpi://across"],
        ["1", script, "read_blocks", "mpi://across"],
    )
    slowed = hosts.slowed("1ms", "200mbit") if slow else contextlib.nullcontext()
    with slowed, start(hosts, ["n1", "n2", "n3"], *programs) as job:
        assert finish(job).count("read") == 5


def test_shared_memory_across_hosts_is_refused(hosts: Hosts) -> None:
    words = ["2", mpi_ranks.__file__, "refuse", "shm://spans-hosts"]
    with start(hosts, ["n1", "n2"], words) as program:
        said = finish(program)
    assert said.count("refused") == 2
    assert "memory of one node" in said
