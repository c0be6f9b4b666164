"""A dictionary that spans two hosts, with clients on both.

Dragon's transport keeps several cores busy on every host: far too slow for every day here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts.host import Hosts

from dovetail.transport.engines.dragon import places

pytestmark = [
    pytest.mark.requires("dragon", "hosts"),
    pytest.mark.soak,
    pytest.mark.timeout(900),
]

URL = "dragon://spanning?nodes=2&memory=64MiB&interface=hsn0"
SECONDS = 400
"""A runtime takes minutes to come up when all its hosts share two cores."""
CLIENT = """
import socket, sys
import dovetail as dv
from dovetail.testing.values import sealed, unsealed

me = socket.gethostname()
with dv.open_store(f"{sys.argv[1]}&start=no", timeout=float(sys.argv[2])) as store:
    for number, count in enumerate((10, 20_000, 300_000)):
        store.put(f"{me}/{number}", sealed(number, count))
    store.append("hosts", me)
    for host in store.items("hosts"):
        for number in range(3):
            assert unsealed(store.get(f"{host}/{number}")) == number
    print(*store.items("hosts"))
"""
STOP = "from dovetail.transport.engines.dragon import stop_server; stop_server('{}', 200)"


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    """Two hosts, each with shared memory enough for a runtime."""
    hosts = Hosts(["d1", "d2"], "10.79.0", tmp_path)
    mount = ["mount", "-t", "tmpfs", "-o", "mode=1777,size=12g", "tmpfs", "/dev/shm"]
    for host in hosts:
        assert host.run(mount).returncode == 0
    yield hosts
    hosts.close()


def test_clients_on_two_hosts_share_a_dictionary_on_both(hosts: Hosts, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        places.FOLDER_VARIABLE: str(tmp_path / "servers"),
        "DOVETAIL_DRAGON_ARGUMENTS": "-w ssh --hostlist d1,d2 -t tcp",
        # Dragon makes it of an address that the way to the world has; there is none here.
        "DRAGON_RT_UID": "7910",
    }
    serve = [sys.executable, "-m", "dovetail.transport.engines.dragon", URL]
    client = [sys.executable, "-c", CLIENT, URL, str(SECONDS)]
    with (
        open(tmp_path / "log", "w") as log,
        hosts.start(
            "d1", serve, env=environment, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT
        ) as server,
    ):
        try:
            first = hosts.run("d1", client, env=environment, timeout=SECONDS + 100)
            second = hosts.run("d2", client, env=environment, timeout=SECONDS + 100)
            assert first.split() == ["d1"]
            assert second.split() == ["d1", "d2"]
            stop = [sys.executable, "-c", STOP.format(URL)]
            hosts.run("d1", stop, env=environment, timeout=300)
            assert server.wait(60) == 0
        except BaseException:
            print((tmp_path / "log").read_text()[-4000:])
            raise
