"""What lies between hosts: switches with ports, slow and cut links, and a wall with one door."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from hosts import wire

INTERFACE = "hsn0"
"""What a host calls its interface: as on an HPC fabric, which is what Dragon looks for."""
_WIRE = Path(wire.__file__)


class Namespace:
    """A network namespace that lasts as long as this object, and never longer than this process."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE)
        self.process = self._holder.pid
        ours = Path("/proc/self/ns/net").readlink()
        while Path(f"/proc/{self.process}/ns/net").readlink() == ours:
            assert self._holder.poll() is None, "unshare failed"

    def command(self, *words: str) -> list[str]:
        """A command line that runs in here."""
        return ["nsenter", "--target", str(self.process), "--net", *words]

    def do(self, *words: str, given: str | None = None) -> str:
        """Run a command in here; its output.

        Parameters
        ----------
        given
            Its input.
        """
        done = subprocess.run(
            self.command(*words), input=given, capture_output=True, text=True, timeout=30,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
        return done.stdout

    def ip(self, *lines: str) -> None:
        """Do several ``ip`` commands."""
        self.do("ip", "-batch", "-", given="\n".join(lines))

    def close(self) -> None:
        assert self._holder.stdin is not None
        self._holder.stdin.close()
        self._holder.wait(30)


class Switch:
    """A switch: what is plugged in can talk to each other."""

    def __init__(self) -> None:
        self._space = Namespace()
        self._space.ip("link add bridge type bridge forward_delay 0", "link set bridge up")
        self._ports: list[str] = []

    def plug(self, process: int, interface: str, port: str, address: str) -> None:
        """Connect a namespace.

        Parameters
        ----------
        process
            One in that namespace.
        interface
            What it is called in there.
        port
            What it is called here.
        address
            With the length of its network, as in ``10.77.0.1/24``.
        """
        self._space.ip(
            f"link add {port} type veth peer name {interface} netns {process}",
            f"link set {port} master bridge up",
        )
        inside = ["nsenter", "--target", str(process), "--net", "ip", "-batch", "-"]
        lines = f"addr add {address} dev {interface}\nlink set {interface} up\nlink set lo up\n"
        subprocess.run(inside, input=lines, text=True, check=True, timeout=30)
        if not has_netem():
            wire.whole_frames(process, interface)
        self._ports.append(port)

    @contextlib.contextmanager
    def slowed(self, delay: str, rate: str) -> Iterator[None]:
        """Delay all frames, and limit how many bits a second a port passes on.

        By ``tc netem``, or by a wire of our own where the kernel has none.

        Parameters
        ----------
        delay
            One way, as in ``20ms``.
        rate
            As in ``100mbit``.
        """
        with self._by_netem(delay, rate) if has_netem() else self._by_wire(delay, rate):
            yield

    @contextlib.contextmanager
    def _by_netem(self, delay: str, rate: str) -> Iterator[None]:
        for port in self._ports:
            self._space.do(
                "tc", "qdisc", "add", "dev", port, "root", "netem", "delay", delay, "rate", rate
            )
        try:
            yield
        finally:
            for port in self._ports:
                self._space.do("tc", "qdisc", "del", "dev", port, "root")

    @contextlib.contextmanager
    def _by_wire(self, delay: str, rate: str) -> Iterator[None]:
        numbers = [str(_quantity(delay)), str(_quantity(rate))]
        self._space.ip(*(f"link set {port} nomaster" for port in self._ports))
        wire_between = subprocess.Popen(
            self._space.command(sys.executable, "-I", str(_WIRE), *numbers, *self._ports),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert wire_between.stdin is not None
        assert wire_between.stdout is not None
        try:
            assert wire_between.stdout.readline() == "ready\n"
            yield
        finally:
            wire_between.stdin.close()
            wire_between.stdout.close()
            ended = wire_between.wait(30)
            self._space.ip(*(f"link set {port} master bridge" for port in self._ports))
            assert ended == 0, "the wire between the hosts failed"

    @contextlib.contextmanager
    def cut(self, port: str) -> Iterator[None]:
        """The cable of one port is pulled out, and plugged in again at the end."""
        self._space.ip(f"link set {port} down")
        try:
            yield
        finally:
            self._space.ip(f"link set {port} up")

    def close(self) -> None:
        self._space.close()


class Wall:
    """A router between two switches with one door: a port of one host."""

    def __init__(self, left: Switch, right: Switch, left_leg: str, right_leg: str) -> None:
        self._space = Namespace()
        self._left, self._right = left, right
        left.plug(self._space.process, "left", "wall", left_leg)
        right.plug(self._space.process, "right", "wall", right_leg)
        self._space.do("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")

    def open(self, host: str, port: int) -> None:
        """Let nothing through but connections from the right to one port of a host on the left."""
        self._space.do(
            "nft",
            "-f",
            "-",
            given=f"""
                table inet wall {{
                    chain through {{
                        type filter hook forward priority 0; policy drop;
                        ct state established,related accept
                        iifname "right" ip daddr {host} tcp dport {port} accept
                    }}
                    chain to {{ type filter hook input priority 0; policy drop; }}
                }}
            """,
        )

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """Nothing passes at all."""
        with self._left.cut("wall"):
            yield

    def close(self) -> None:
        self._space.close()


@cache
def has_netem() -> bool:
    """Whether the kernel can delay frames by itself."""
    namespace = Namespace()
    try:
        namespace.do("tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
    except AssertionError:
        return False
    finally:
        namespace.close()
    return True


def _quantity(text: str) -> float:
    """Seconds, or bits a second, as ``tc`` writes them."""
    match = re.fullmatch(r"(\d+)(us|ms|s|kbit|mbit|gbit)", text)
    assert match is not None, f"{text!r} is neither a time nor a rate that tc knows"
    factors = {"us": 1e-6, "ms": 1e-3, "s": 1, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
    return int(match[1]) * factors[match[2]]
