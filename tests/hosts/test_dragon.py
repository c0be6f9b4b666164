"""A DragonHPC dictionary that spans two hosts, with clients on three; slowed and cut.

Dragon over TCP takes tens of seconds to start here, and a second for a value that lies on the other
host. So few values are moved.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts import roles
from hosts.host import Hosts

from dovetail.testing.children import ChildServer, wait_until

pytestmark = [
    pytest.mark.requires("hosts"),
    pytest.mark.requires("dragon"),
    pytest.mark.timeout(300),
    pytest.mark.soak,  # its transport between nodes keeps every core busy
]

PATIENT = 200.0
_numbers = itertools.count()

On = dict[str, ChildServer]


@pytest.fixture(scope="module")
def folder(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a server on n1 whose runtime has n2 as well."""
    folder = tmp_path_factory.mktemp("dragon")
    settings = {
        "DOVETAIL_DRAGON_FOLDER": str(folder),
        "DOVETAIL_DRAGON_ARGUMENTS": "-w ssh --hostlist n1,n2 -t tcp",
        # How Dragon names what it makes in /tmp, which these hosts share with all others.
        "DRAGON_RT_UID": str(os.getpid()),
    }
    url = "dragon://across?nodes=2&memory=128MiB&interface=hsn0"
    log = folder / "log"
    with (
        open(log, "wb") as output,
        hosts.start(
            "n1",
            [
                *("env", *(f"{name}={text}" for name, text in settings.items())),
                *(sys.executable, "-m", "dovetail.transport.engines.dragon", url),
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as server,
    ):
        contact = folder / "across" / "contact.json"
        wait_until(
            lambda: contact.exists() or server.poll() is not None, "Dragon to start", PATIENT
        )
        assert contact.exists(), log.read_text(errors="replace")[-3000:]
        yield folder / "across"
        server.process.terminate()
        assert server.wait(PATIENT) == 0, log.read_text(errors="replace")[-3000:]


@pytest.fixture
def url(folder: Path) -> str:
    """A store on it that no other test has."""
    return f"dragon://{folder}?store=store{next(_numbers)}&start=no"


def test_what_one_host_puts_the_others_read_though_links_are_slow_and_cut(
    hosts: Hosts, on_hosts: On, url: str
) -> None:
    names = sorted(on_hosts)
    with hosts.slowed("1ms", "200mbit"):
        writers = [
            on_hosts[name].start(
                roles.put_and_list,
                url=url,
                name=name,
                numbers=[number, number + 1],
                count=20_000,
                timeout=PATIENT,
            )
            for number, name in enumerate(names)
        ]
        for name in ("n2", "n3"):
            with hosts.cut(name):
                pass
        for number, writer in enumerate(writers):
            for said in ("ready", number, "done"):
                assert writer.receive(PATIENT) == said
            writer.join(PATIENT)
    readers = [
        on_hosts[name].start(roles.read_listed, url=url, count=3, timeout=PATIENT) for name in names
    ]
    for reader in readers:
        assert sorted(reader.receive(PATIENT)) == [0, 1, 2]
        reader.join(PATIENT)
