"""Redis servers on hosts: one alone, or a cluster with a shard on each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hosts.host import Hosts

from dovetail.testing.children import Channel, Child, ChildServer, wait_until
from dovetail.transport.engines.redis import server
from dovetail.transport.url import parse

PORT = 6379
_SHARD = """\
bind {address}
protected-mode no
port {port}
cluster-enabled yes
cluster-node-timeout 5000
cluster-require-full-coverage yes
dir "{folder}"
save ""
"""


def serve_alone(channel: Channel, folder: str) -> None:
    """Become a server, as a run has it on a named interface; say its URL."""
    url = parse(f"redis://?interface=hsn0&port={PORT}&capacity=512MiB", "store")
    description = server.describe(url, Path(folder), "test")
    description.prepare()
    channel.send(description.url)
    _become(list(description.command), folder)


def serve_shard(channel: Channel, folder: str, address: str) -> None:
    """Become a shard of a cluster."""
    Path(folder).mkdir()
    settings = Path(folder) / "server.conf"
    settings.write_text(_SHARD.format(address=address, port=PORT, folder=folder))
    program = server.program()
    assert program is not None
    channel.send("ready")
    _become([program, str(settings)], folder)


def _become(command: list[str], folder: str) -> None:
    log = os.open(f"{folder}/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.execv(command[0], command)


class Alone:
    """A server on the first host."""

    def __init__(self, hosts: Hosts, on_hosts: dict[str, ChildServer], folder: Path) -> None:
        first = hosts.names[0]
        self._child = on_hosts[first].start(serve_alone, folder=str(folder))
        self._url = str(self._child.receive())

    def url(self, name: str) -> str:
        return self._url.replace("/test", f"/{name}", 1)

    def close(self) -> None:
        self._child.close()


class Cluster:
    """A server on each host, with a part of the slots."""

    def __init__(self, hosts: Hosts, on_hosts: dict[str, ChildServer], folder: Path) -> None:
        self._shards: list[Child] = []
        self._addresses = [f"{host.address}:{PORT}" for host in hosts]
        for host in hosts:
            place = str(folder / host.name)
            shard = on_hosts[host.name].start(serve_shard, folder=place, address=host.address)
            assert shard.receive() == "ready"
            self._shards.append(shard)
        words = ["redis-cli", "-p", str(PORT), "-h"]

        def answers(address: str, *command: str) -> str:
            done: Any = hosts[hosts.names[0]].run([*words, address, *command])
            return str(done.stdout)

        for host in hosts:
            wait_until(lambda host=host: "PONG" in answers(host.address, "ping"), "a shard")
        hosts.run(
            hosts.names[0],
            ["redis-cli", "--cluster", "create", *self._addresses, "--cluster-yes"],
        )
        for host in hosts:
            wait_until(
                lambda host=host: "cluster_state:ok" in answers(host.address, "cluster", "info"),
                "the cluster",
            )

    def url(self, name: str) -> str:
        return f"redis+cluster://{','.join(self._addresses)}/{name}"

    def close(self) -> None:
        for shard in self._shards:
            shard.close()
