"""The hosts of these tests are what they claim to be."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hosts.host import Hosts
from hosts.linked import PORT, Linked

pytestmark = pytest.mark.requires("hosts")

PING = """
import socket, sys, time
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20) as peer:
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    started = time.monotonic()
    peer.sendall(b"x")
    peer.recv(1)
    print(time.monotonic() - started)
"""
ECHO = """
import socket, sys
with socket.create_server((sys.argv[1], int(sys.argv[2]))) as server:
    print("ready", flush=True)
    while True:
        peer = server.accept()[0]
        with peer:
            while data := peer.recv(1 << 16):
                peer.sendall(data)
"""
POUR = """
import socket, sys, time
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=60) as peer:
    nbytes, back = 2_000_000, 0
    started = time.monotonic()
    peer.sendall(bytes(nbytes // 4))
    while back < nbytes // 4:
        back += len(peer.recv(1 << 16))
    print(time.monotonic() - started)
"""


def test_each_has_an_identity_of_its_own(hosts: Hosts) -> None:
    for command in (["hostname"], ["cat", "/proc/sys/kernel/random/boot_id"]):
        said = {hosts.run(name, command).strip() for name in hosts.names}
        assert len(said) == len(hosts.names)
        assert socket.gethostname() not in said
    assert set(hosts.run("n1", ["ls", "/sys/class/net"]).split()) == {"lo", "hsn0"}
    hosts.run("n1", ["touch", "/dev/shm/here"])
    assert "here" not in hosts.run("n2", ["ls", "/dev/shm"]).split()
    assert not Path("/dev/shm/here").exists()


def test_each_lets_the_others_in(hosts: Hosts) -> None:
    for name in hosts.names:
        for other in hosts.names:
            assert hosts.run(name, ["ssh", other, "hostname"]).strip() == other


def test_nothing_of_them_is_seen_from_outside(hosts: Hosts) -> None:
    assert not {"bridge", *hosts.names} & set(os.listdir("/sys/class/net"))
    known = {address.address for found in psutil.net_if_addrs().values() for address in found}
    assert not {host.address for host in hosts} & known
    assert "10.77.0" not in Path("/proc/mounts").read_text() + Path("/etc/hosts").read_text()


@contextlib.contextmanager
def answering(hosts: Hosts, name: str, port: int = 5000) -> Iterator[str]:
    """The address of a host while something there sends back what it gets."""
    address = hosts.address(name)
    words = [sys.executable, "-c", ECHO, address, str(port)]
    with hosts.start(name, words, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        yield address


def seconds(hosts: Hosts, name: str, script: str, address: str) -> float:
    return float(hosts.run(name, [sys.executable, "-c", script, address, "5000"]))


def test_a_slowed_link_is_slow_and_fast_again_afterwards(hosts: Hosts) -> None:
    with answering(hosts, "n1") as address:
        with hosts.slowed("30ms", "10mbit"):
            assert seconds(hosts, "n2", PING, address) >= 0.06
            assert seconds(hosts, "n3", POUR, address) >= 0.4
        assert min(seconds(hosts, "n2", PING, address) for _ in range(3)) < 0.06


def test_a_cut_link_carries_nothing_until_it_is_restored(hosts: Hosts) -> None:
    with answering(hosts, "n1") as address:
        ping = [sys.executable, "-c", PING, address, "5000"]
        with hosts.cut("n2"):
            patient = hosts.start("n2", ping, stdout=subprocess.PIPE, text=True)
            assert seconds(hosts, "n3", PING, address) < 20
            assert patient.poll() is None
        with patient:
            assert float(patient.communicate(timeout=30)[0]) < 20


def test_linked_systems_share_one_port(linked: Linked) -> None:
    def reached(hosts: Hosts, name: str, address: str, port: int) -> bool:
        words = [sys.executable, "-c", PING.replace("20", "1"), address, str(port)]
        return hosts[name].run(words).returncode == 0

    east, west = linked.east, linked.west
    for port in (PORT, PORT + 1):
        with answering(east, "e1", port) as address:
            assert reached(east, "e2", address, port)
            assert reached(west, "w1", address, port) == (port == PORT)
    with answering(west, "w1") as address:
        assert reached(west, "w2", address, 5000)
        assert not reached(east, "e1", address, 5000)
