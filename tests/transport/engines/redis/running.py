"""Servers for tests: started as the engine describes them, or with settings of the test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Self

import dovetail as dv
from dovetail.testing.children import wait_until
from dovetail.transport.engines.redis import server
from dovetail.transport.engines.redis.connection import Connection
from dovetail.transport.engines.redis.places import place_of
from dovetail.transport.engines.redis.rooms import Rooms
from dovetail.transport.serving import ServerDescription, remove
from dovetail.transport.url import parse

LOOPBACK = "127.0.0.1"


class RunningServer:
    """A server process, from its description. Its log is ``log`` in its folder's parent."""

    def __init__(self, description: ServerDescription) -> None:
        self.description = description
        self.url = description.url
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until a store can be opened on it."""
        self.begin()
        with dv.open_store(self.url, timeout=20):
            pass

    def begin(self) -> None:
        """Start it."""
        self.description.prepare()
        with open(f"{self.description.folder}.log", "ab") as log:
            self._process = subprocess.Popen(
                self.description.command,
                env={**os.environ, **self.description.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """``kill -9``, and wait until it is gone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(20)

    def stop(self) -> None:
        """End it as a run does, and remove what it leaves."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)
        remove(self.description.leaves)

    def connection(self) -> Connection:
        """A connection of the test's own."""
        return connection_to(self.url)

    def call(self, *words: bytes | str | int) -> object:
        """One command on a connection of its own."""
        connection = self.connection()
        try:
            return connection.call(*words)
        finally:
            connection.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def connection_to(url: str) -> Connection:
    """A connection of the test's own to the first server of a URL."""
    place = place_of(parse(url, "store"))
    return Connection(place.addresses[0], place.access, place.db, 20, 20, Rooms())


def on_a_socket(folder: Path, options: str = "", program: str | None = None) -> RunningServer:
    """A server as a run has it, on a Unix socket; of another program if one is given."""
    url = parse(f"redis://?{options}" if options else "redis://", "store")
    described = server.describe(url, folder, "test")
    if program is not None:
        described = replace(described, command=(program, *described.command[1:]))
    return RunningServer(described)


def on_the_loopback(folder: Path, options: str = "") -> RunningServer:
    """A server as a run has it, on a TCP port."""
    return on_a_socket(folder, f"interface=lo&port={free_port()}{'&' if options else ''}{options}")


def free_port() -> int:
    """A TCP port of the loopback that nobody uses."""
    with socket.socket() as attempt:
        attempt.bind((LOOPBACK, 0))
        port: int = attempt.getsockname()[1]
        return port


class BareServer:
    """A server on the loopback with the settings of the test."""

    def __init__(self, folder: Path, *settings: str, port: int | None = None) -> None:
        self.folder = folder
        self.port = free_port() if port is None else port
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        program = server.program()
        assert program is not None
        self.folder.mkdir(exist_ok=True)
        settings = [
            *([] if any(line.startswith("port ") for line in self._settings)
              else [f"port {self.port}"]),
            f"bind {LOOPBACK}", f'dir "{self.folder}"', 'save ""', "daemonize no",
            *self._settings,
        ]  # fmt: skip
        file = self.folder / "server.conf"
        file.write_text("\n".join(settings) + "\n")
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [program, str(file)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def await_port(self) -> None:
        """Wait until somebody listens."""
        wait_until(self._listens, f"a server at port {self.port}", 20)

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
        with socket.socket() as attempt:
            return attempt.connect_ex((LOOPBACK, self.port)) == 0

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(20)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def __enter__(self) -> Self:
        self.begin()
        self.await_port()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class RunningCluster:
    """A cluster of servers on the loopback, each with a third (…) of the slots."""

    def __init__(self, folder: Path, shards: int = 3, *settings: str) -> None:
        folder.mkdir(exist_ok=True)
        self.servers = [
            BareServer(
                folder / f"shard{number}",
                "cluster-enabled yes",
                "cluster-node-timeout 5000",
                "cluster-config-file nodes.conf",
                f"cluster-port {free_port()}",
                *settings,
            )
            for number in range(shards)
        ]

    @property
    def hosts(self) -> str:
        return ",".join(f"{LOOPBACK}:{server.port}" for server in self.servers)

    def url(self, name: str = "test", options: str = "") -> str:
        return f"redis+cluster://{self.hosts}/{name}{'?' if options else ''}{options}"

    def connections(self) -> list[Connection]:
        return [connection_to(f"redis://{LOOPBACK}:{server.port}") for server in self.servers]

    def __enter__(self) -> Self:
        for shard in self.servers:
            shard.begin()
        for shard in self.servers:
            shard.await_port()
        connections = self.connections()
        try:
            self._join(connections)
        finally:
            for connection in connections:
                connection.close()
        return self

    def deal_slots(self, connections: list[Connection]) -> None:
        """Give each shard its part of the slots, and wait until all know."""
        shards = len(self.servers)
        bounds = [16384 * number // shards for number in range(shards + 1)]
        for number, connection in enumerate(connections):
            slots = range(bounds[number], bounds[number + 1])
            answer = connection.call("CLUSTER", "ADDSLOTS", *slots)
            assert answer == b"OK", answer

        def complete() -> bool:
            for connection in connections:
                said = bytes(connection.call("CLUSTER", "INFO")).decode()
                if "cluster_state:ok" not in said or f"cluster_size:{shards}" not in said:
                    return False
            return True

        wait_until(complete, "the cluster", 30)

    def _join(self, connections: list[Connection]) -> None:
        shards = len(self.servers)
        for number, connection in enumerate(connections):
            # Else two that have the same would quarrel about slots that move.
            assert connection.call("CLUSTER", "SET-CONFIG-EPOCH", number + 1) == b"OK"
        for number, connection in enumerate(connections):
            other = self.servers[(number + 1) % shards]
            bus = next(line.split()[1] for line in other._settings if "cluster-port" in line)
            meet = connection.call("CLUSTER", "MEET", LOOPBACK, other.port, bus)
            assert meet == b"OK", meet
        self.deal_slots(connections)

    def __exit__(self, *_: object) -> None:
        for shard in self.servers:
            shard.stop()


def seconds_since(began: float) -> float:
    """Seconds on the monotonic clock."""
    return time.monotonic() - began
