"""SST between hosts, slowed and cut."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import pytest
from hosts import mpi, roles
from hosts.host import Hosts

from dovetail.testing.children import Child, ChildServer

pytestmark = [pytest.mark.requires("hosts"), pytest.mark.requires("adios2")]

PATIENT = 100.0
"""Seconds for what happens behind slow and cut links."""
_numbers = itertools.count()

On = dict[str, ChildServer]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A stream whose contact file lies where all hosts see it."""
    return f"sst://across{next(_numbers)}?interface=hsn0&contact={tmp_path}"


def numbers_of(reader: Child) -> list[int]:
    numbers = []
    while (number := reader.receive(PATIENT)) != "end":
        assert isinstance(number, int), number
        numbers.append(number)
    reader.join(PATIENT)
    return numbers


@pytest.mark.parametrize("policy", [["lockstep", 1], ["buffered", 3], ["latest", 1]], ids=str)
def test_steps_go_from_host_to_host_through_slow_links(
    hosts: Hosts, on_hosts: On, url: str, policy: list[Any]
) -> None:
    with hosts.slowed("5ms", "200mbit"):
        readers = [on_hosts[name].start(roles.read_steps, url=url) for name in ("n1", "n3")]
        writer = on_hosts["n2"].start(
            roles.write_steps, url=url, policy=policy, numbers=[0, 10], count=20_000, readers=2
        )
        seen = [numbers_of(reader) for reader in readers]
        writer.join(PATIENT)
    if policy[0] == "latest":
        assert all(numbers[-1] == 9 and numbers == sorted(set(numbers)) for numbers in seen)
    else:
        assert seen == [list(range(10))] * 2


def test_a_stream_goes_on_after_links_were_cut(hosts: Hosts, on_hosts: On, url: str) -> None:
    reader = on_hosts["n3"].start(roles.read_steps, url=url, timeout=PATIENT)
    writer = on_hosts["n2"].start(
        roles.write_steps,
        url=url,
        policy=["buffered", 2],
        numbers=[0, 40],
        count=20_000,
        timeout=PATIENT,
    )
    expected = 0
    for name in ("n2", "n3"):
        for _ in range(5):
            assert reader.receive(PATIENT) == expected
            expected += 1
        with hosts.cut(name):
            pass
    assert numbers_of(reader) == list(range(expected, 40))
    writer.join(PATIENT)


def test_a_reader_behind_a_link_that_stays_cut_learns_it_at_its_own_deadline(
    hosts: Hosts, on_hosts: On, url: str
) -> None:
    reader = on_hosts["n3"].start(roles.read_steps, url=url, timeout=3)
    writer = on_hosts["n2"].start(roles.write_for_ever, url=url, policy=["latest", 1])
    assert isinstance(reader.receive(), int)
    with hosts.cut("n3"):
        since = time.monotonic()
        while isinstance(said := reader.receive(PATIENT), int):
            pass
        assert said[0] in ("TransportTimeoutError", "PeerLostError")
        assert time.monotonic() - since < 30  # a minute, if nobody had asked for less
    writer.close()


@pytest.mark.requires("mpi")
def test_ranks_on_several_hosts_share_a_stream(hosts: Hosts, url: str) -> None:
    mpi.couple(hosts, url)
