"""Two systems, linked by a gateway over the one port that they share."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hosts import roles
from hosts.host import Hosts, Program
from hosts.linked import PORT, Linked

from dovetail.testing.children import Child, ChildServer, wait_until
from dovetail.transport.gateway import gateway_url

pytestmark = [pytest.mark.requires("hosts"), pytest.mark.requires("redis-tls")]

DOVETAIL = [sys.executable, "-c", "from dovetail.cli import main; main()"]
PATIENT = 100.0
"""Seconds for what happens behind slow and cut links."""


class Systems:
    """The two systems, with a server in each and the gateway between them.

    In the east, the gateway runs on e1. In the west, components share a Redis of their own
    on w1, which the east cannot see.
    """

    def __init__(self, linked: Linked, folder: Path, stack: ExitStack) -> None:
        self.linked = linked
        self._stack = stack
        self.folder = folder
        self._servers: dict[str, ChildServer] = {}
        said = self._serve()
        self._link = Path(said["link"])
        # The west has a copy of the link, and nothing else of the gateway.
        self.link_in_the_west = folder / "west" / "link"
        shutil.copytree(self._link, self.link_in_the_west)
        self._west = self._local(linked.west, "w1")

    def _serve(self) -> dict[str, Any]:
        words = ["gateway", "serve", "--interface", "hsn0", "--port", str(PORT), "--json"]
        self.gateway = self.linked.east.start(
            "e1",
            [*DOVETAIL, *words, "--directory", str(self.folder / "gateway")],
            stdout=subprocess.PIPE,
            text=True,
        )
        self._stack.enter_context(self.gateway)
        return _document(self.gateway)

    def _local(self, hosts: Hosts, name: str) -> str:
        """A gateway's server serves inside of a system as well."""
        folder = self.folder / f"server-{name}"
        words = ["gateway", "serve", "--interface", "hsn0", "--json", "--directory", str(folder)]
        server = hosts.start(name, [*DOVETAIL, *words], stdout=subprocess.PIPE, text=True)
        self._stack.enter_context(server)
        return str(_document(server)["url"])

    def east(self, name: str) -> str:
        """A place on the gateway, as the east reaches it."""
        return gateway_url(self.linked.east.address("e1"), PORT, name, self._link)

    def link(self, name: str) -> str:
        """The same, as the west reaches it."""
        return gateway_url(self.linked.east.address("e1"), PORT, name, self.link_in_the_west)

    def west(self, name: str) -> str:
        """A place that only the west reaches."""
        return self._west.replace("NAME", name)

    def on(self, host: str, role: Any, **arguments: Any) -> Child:
        """A process on a host."""
        if host not in self._servers:
            hosts = self.linked.east if host in self.linked.east.names else self.linked.west
            self._servers[host] = self._stack.enter_context(hosts[host].children())
        return self._servers[host].start(role, **arguments)

    def look(self, url: str) -> dict[str, Any]:
        """A stream of the west, seen from outside."""
        printed = self.linked.west.run("w1", [*DOVETAIL, "stream", "info", url, "--json"])
        return dict(json.loads(printed))

    def carry(self, *words: str, on: str = "w1") -> Program:
        """A carrier on a host."""
        hosts = self.linked.east if on in self.linked.east.names else self.linked.west
        command = [*DOVETAIL, "gateway", "carry", *words, "--json"]
        carrier = hosts.start(on, command, stdout=subprocess.PIPE, text=True)
        return self._stack.enter_context(carrier)


def _document(program: Program) -> dict[str, Any]:
    """What a program says of itself once it is ready."""
    assert program.stdout is not None
    lines = []
    for line in program.stdout:
        lines.append(line)
        if line == "}\n":
            return dict(json.loads("".join(lines)))
    raise AssertionError(f"it ended with status {program.wait(20)}")


@pytest.fixture(scope="module")
def session(linked: Linked, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Systems]:
    with ExitStack() as stack:
        yield Systems(linked, tmp_path_factory.mktemp("systems"), stack)


@pytest.fixture
def systems(session: Systems) -> Systems:
    return session


def said(program: Program) -> dict[str, Any]:
    """What a carrier says at its end."""
    printed, _ = program.communicate(timeout=PATIENT)
    assert program.returncode == 0
    return dict(json.loads(printed))


def numbers_of(reader: Child) -> list[int]:
    """What a reader said, up to the end of the stream."""
    numbers = []
    while (number := reader.receive(PATIENT)) != "end":
        assert isinstance(number, int), number
        numbers.append(number)
    reader.join(PATIENT)
    return numbers


@pytest.mark.soak
def test_a_stream_goes_on_after_a_cut_that_outlasts_every_connection(systems: Systems) -> None:
    here, there = systems.west("long"), systems.link("long")
    reader = systems.on("e2", roles.read_steps, url=systems.east("long"), timeout=None)
    carrier = systems.carry("stream", here, there)
    writer = systems.on(
        "w2", roles.write_steps, url=here, policy=["buffered", 2], numbers=[0, 20], timeout=None
    )
    for number in range(5):
        assert reader.receive(PATIENT) == number
    with systems.linked.wall.cut():
        time.sleep(50)  # keep-alive gives a connection up after half a minute
        assert carrier.poll() is None
    assert numbers_of(reader) == list(range(5, 20))
    assert said(carrier)["steps"] == 20
    writer.join(PATIENT)


@pytest.mark.parametrize("policy", [["lockstep", 1], ["buffered", 3]], ids=["lockstep", "buffered"])
def test_a_stream_of_the_west_is_read_in_the_east_through_a_slow_link(
    systems: Systems, policy: list[Any]
) -> None:
    here, there = systems.west(f"u-{policy[0]}"), systems.link(f"u-{policy[0]}")
    with systems.linked.west.slowed("20ms", "50mbit"):
        reader = systems.on("e2", roles.read_steps, url=systems.east(f"u-{policy[0]}"))
        carrier = systems.carry("stream", here, there)
        writer = systems.on("w2", roles.write_steps, url=here, policy=policy, numbers=[0, 8])
        assert numbers_of(reader) == list(range(8))
        assert said(carrier)["steps"] == 8
        writer.join(PATIENT)


def test_a_stream_goes_on_after_the_link_was_cut_nothing_lost_and_nothing_doubled(
    systems: Systems,
) -> None:
    here, there = systems.west("cut"), systems.link("cut")
    reader = systems.on("e2", roles.read_steps, url=systems.east("cut"), timeout=PATIENT)
    carrier = systems.carry("stream", here, there)
    writer = systems.on(
        "w2",
        roles.write_steps,
        url=here,
        policy=["buffered", 4],
        numbers=[0, 60],
        count=50_000,
        timeout=PATIENT,
    )
    for number in range(10):
        assert reader.receive(PATIENT) == number
    with systems.linked.wall.cut():
        wait_until(
            lambda: systems.look(here)["steps_held"] == 4, "the policy to hold the writer", PATIENT
        )
        assert carrier.poll() is None
    assert numbers_of(reader) == list(range(10, 60))
    assert said(carrier) == {"steps": 60, "bytes": 60 * 8 * 50_003, "stopped": False}
    writer.join(PATIENT)


def test_components_of_both_sides_know_nothing_of_the_link(systems: Systems) -> None:
    # Shared memory on either side, which no other host has.
    there = systems.carry("stream", "shm://fields", systems.link("fields"))
    here = systems.carry("stream", systems.east("fields"), "shm://fields", on="e1")
    reader = systems.on("e1", roles.read_steps, url="shm://fields")
    writer = systems.on(
        "w1", roles.write_steps, url="shm://fields", policy=["buffered", 4], numbers=[0, 30]
    )
    assert numbers_of(reader) == list(range(30))
    assert said(there)["steps"] == said(here)["steps"] == 30
    writer.join(PATIENT)


def test_a_producer_that_dies_in_the_west_is_a_failure_in_the_east(systems: Systems) -> None:
    here, there = systems.west("dies"), systems.link("dies")
    reader = systems.on("e2", roles.read_steps, url=systems.east("dies"))
    carrier = systems.carry("stream", here, there)
    writer = systems.on(
        "w2", roles.write_steps, url=here, policy=["buffered", 9], numbers=[0, 5_000]
    )
    assert reader.receive(PATIENT) == 0
    writer.kill()
    last = 0
    while isinstance(number := reader.receive(PATIENT), int):
        assert number == last + 1
        last = number
    assert number[0] == "PeerLostError"
    assert carrier.wait(PATIENT) == 1


def test_a_store_arrives_with_its_list_though_link_and_carrier_fail(systems: Systems) -> None:
    here, there = systems.west("cases"), systems.link("cases")
    words = ["store", here, there, "--list", "done", "--only-listed"]
    carrier = systems.carry(*words)
    writer = systems.on(
        "w2", roles.put_and_list, url=here, name="case", numbers=[0, 60], count=20_000
    )
    reader = systems.on("e2", roles.take_listed, url=systems.east("cases"), count=60)
    for tens in (10, 20):
        assert reader.receive(PATIENT) == tens
    with systems.linked.wall.cut():
        for number in ["ready", *range(60)]:
            assert writer.receive(PATIENT) == number
    assert reader.receive(PATIENT) == 30
    carrier.process.send_signal(signal.SIGKILL)
    carrier.wait(PATIENT)
    carrier = systems.carry(*words)
    for said_next in (40, 50, "all"):
        assert reader.receive(PATIENT) == said_next
    carrier.process.send_signal(signal.SIGTERM)
    assert said(carrier)["refused"] == {}
    listed = systems.on("e1", roles.list_items, url=systems.east("cases"))
    assert listed.receive(PATIENT) == [f"case/{number}" for number in range(60)]


def test_a_wrong_token_and_a_wrong_certificate_are_refused_with_a_sentence(
    systems: Systems, tmp_path: Path
) -> None:
    for name, sentence in (("token", "the password is wrong"), ("certificate.pem", "not trusted")):
        link = tmp_path / name
        shutil.copytree(systems.link_in_the_west, link)
        if name == "token":
            (link / name).write_text("0" * 64)
        else:
            shutil.copy(systems.folder / "server-w1" / "link" / name, link / name)
        there = gateway_url(systems.linked.east.address("e1"), PORT, "cases", link)
        words = [*DOVETAIL, "gateway", "carry", "store", "--once", systems.west("cases"), there]
        done = systems.linked.west["w1"].run(words)
        assert done.returncode == 1
        assert sentence in done.stdout
        assert "Traceback" not in done.stdout


def test_nothing_of_the_west_is_reached_from_the_east(systems: Systems) -> None:
    words = [*DOVETAIL, "store", "ls", systems.west("cases")]
    with pytest.raises(AssertionError):
        systems.linked.east.run("e2", ["timeout", "2", *words])
