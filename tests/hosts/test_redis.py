"""Redis between hosts: stores and streams, alone and as a cluster, slowed and cut."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hosts import roles
from hosts.host import Hosts
from hosts.servers import Alone, Cluster

from dovetail.testing.children import ChildServer

pytestmark = [pytest.mark.requires("hosts"), pytest.mark.requires("redis")]

PATIENT = 100.0
"""Seconds for what happens behind slow and cut links."""
MIB = 1 << 20
_numbers = itertools.count()

On = dict[str, ChildServer]


@pytest.fixture(scope="module", params=[Alone, Cluster], ids=["alone", "cluster"])
def server(
    request: pytest.FixtureRequest,
    hosts: Hosts,
    own_children: On,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Alone | Cluster]:
    server = request.param(hosts, own_children, tmp_path_factory.mktemp("redis"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def own_children(hosts: Hosts) -> Iterator[On]:
    """What starts the servers, which stay from test to test."""
    servers = {host.name: host.children() for host in hosts}
    yield servers
    for children in servers.values():
        children.close()


@pytest.fixture
def url(server: Alone | Cluster) -> str:
    return server.url(f"test{next(_numbers)}")


def test_a_value_is_seen_whole_through_a_slow_link_that_is_cut_and_restored(
    hosts: Hosts, on_hosts: On, url: str
) -> None:
    readers = [on_hosts[name].start(roles.follow_value, url=url, key="u") for name in ("n1", "n3")]
    writer = on_hosts["n2"].start(roles.replace_value, url=url, key="u", count=MIB // 8)
    for child in (*readers, writer):
        assert child.receive() == "ready"
    watch = on_hosts["n1"].start(roles.count_versions, url=url, key="u")
    with hosts.slowed("5ms", "200mbit"):
        assert watch.receive(PATIENT) == "seen"
        for _ in range(3):
            with hosts.cut("n2"):  # in the middle of a value: it writes all the time
                pass
            assert watch.receive(PATIENT) == "seen"
        writer.send("end")
        assert writer.receive(PATIENT) >= 4
        for reader in readers:
            assert reader.receive(PATIENT) >= 0
    for child in (*readers, writer):
        child.join(PATIENT)


def test_nothing_is_appended_twice_though_links_are_cut(
    hosts: Hosts, on_hosts: On, url: str
) -> None:
    writers = [
        on_hosts[name].start(roles.append_numbers, url=url, count=300) for name in ("n2", "n3")
    ]
    for child in writers:
        assert child.receive() == "ready"
    for name in ("n2", "n1", "n3"):
        with hosts.cut(name):
            pass
    for child in writers:
        assert child.receive(PATIENT) == "done"
        child.join(PATIENT)
    looking = on_hosts["n1"].start(roles.list_items, url=url, name="numbers")
    items = looking.receive(PATIENT)
    for name in ("n2", "n3"):
        mine = [item for item in items if item.startswith(name)]
        assert mine == [f"{name}-{number}" for number in range(300)]
    looking.join()


def test_a_cut_link_is_an_error_within_the_deadline_and_work_goes_on_after(
    hosts: Hosts, on_hosts: On, url: str
) -> None:
    with on_hosts["n2"].start(roles.attempt, url=url, timeout=1.5) as child:
        assert child.receive() == "ready"
        child.send("go")
        assert child.receive() == ["value", 7]
        with hosts.cut("n2"):
            child.send("go")
            kind, text = child.receive(30)
            assert kind in ("PeerLostError", "TransportTimeoutError"), text
        child.send("again")
        assert child.receive(PATIENT) == ["value", 7]
        child.send("end")
        child.join()


@pytest.mark.parametrize(
    "policy", [["lockstep", 1], ["buffered", 3], ["latest", 1], ["work_queue", 3]], ids=str
)
def test_steps_go_from_host_to_host_through_slow_links(
    hosts: Hosts, on_hosts: On, url: str, policy: list[Any]
) -> None:
    with hosts.slowed("5ms", "200mbit"):
        readers = [on_hosts[name].start(roles.read_steps, url=url) for name in ("n1", "n3")]
        writer = on_hosts["n2"].start(
            roles.write_steps, url=url, policy=policy, numbers=[0, 10], count=20_000, readers=2
        )
        seen = []
        for reader in readers:
            numbers = []
            while (number := reader.receive(PATIENT)) != "end":
                assert isinstance(number, int), number
                numbers.append(number)
            seen.append(numbers)
            reader.join(PATIENT)
        writer.join(PATIENT)
    if policy[0] == "work_queue":
        assert sorted([*seen[0], *seen[1]]) == list(range(10))
    elif policy[0] == "latest":
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
    for name in ("n2", "n3", "n1"):
        for _ in range(5):
            assert reader.receive(PATIENT) == expected
            expected += 1
        with hosts.cut(name):
            pass
    while (number := reader.receive(PATIENT)) != "end":
        assert number == expected
        expected += 1
    assert expected == 40
    reader.join(PATIENT)
    writer.join(PATIENT)
