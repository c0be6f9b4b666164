"""Servers: started, shared, agreed on, ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from transport.engines.dragon.servers import Server, folder_of

import dovetail as dv
from dovetail.testing.children import wait_until
from dovetail.testing.values import sealed, unsealed
from dovetail.transport.engines.dragon import client, places, server
from dovetail.transport.registry import engines

pytestmark = pytest.mark.requires("dragon")


@pytest.fixture
def own(folder_of_servers: Path) -> Iterator[str]:
    """The name of a server that is ended after the test, whoever started it."""
    yield "own"
    server.stop(folder_of("own"))


def test_the_engine_is_listed_with_its_version() -> None:
    (status,) = [status for status in engines() if status.scheme == "dragon"]
    assert status.available
    assert status.detail.startswith("dragonhpc 0.")
    assert status.capabilities.several_nodes


def test_without_dragon_the_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.util, "find_spec", lambda name: None)
    (status,) = [status for status in engines() if status.scheme == "dragon"]
    assert not status.available
    assert "pip install 'dovetail[dragon]'" in status.detail
    with pytest.raises(dv.EngineUnavailableError, match="pip install"):
        dv.open_store("dragon://never")


def test_a_client_needs_no_dragon(dragon_url: str) -> None:
    program = (
        "import sys; import dovetail as dv; store = dv.open_store(sys.argv[1]);"
        "store.put('a', 3); assert store.get_array('a') == 3;"
        "assert not any(name.split('.')[0] == 'dragon' for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, dragon_url], check=True, timeout=60)


def test_the_first_who_opens_a_store_starts_the_server(own: str) -> None:
    with dv.open_store(f"dragon://{own}/a?memory=64MiB") as store:
        store.put("a", sealed(1, 100))
        assert store.statistics().capacity == 64 << 20
    with dv.open_store(f"dragon://{own}/a") as store:
        assert unsealed(store.get("a")) == 1
    for option in ("memory=128MiB", "managers=2", "nodes=2", "interface=lo"):
        with pytest.raises(dv.CapabilityError, match="leave the option out"):
            dv.open_store(f"dragon://{own}/a?{option}")
    folder = folder_of(own)
    (guardian,) = _servers_of(folder)
    server.stop(folder)
    wait_until(lambda: not guardian.is_running(), "the server to end")
    assert not (folder / "contact.json").exists()
    assert not (folder / "socket").exists()
    assert not list(folder.glob("ddict*"))


def test_a_server_ends_by_itself_when_nobody_comes(
    own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LINGER", 0.5)
    dv.open_store(f"dragon://{own}?memory=64MiB").close()
    (guardian,) = _servers_of(folder_of(own))
    wait_until(lambda: not _runs(guardian), "the server to end by itself")


def test_many_who_open_at_once_share_one_server(own: str) -> None:
    program = (
        "import sys; import dovetail as dv;"
        "dv.open_store(sys.argv[1], timeout=110).append('list', 'x')"
    )
    url = f"dragon://{own}?memory=64MiB"
    openers = [subprocess.Popen([sys.executable, "-c", program, url]) for _ in range(4)]
    assert [opener.wait(115) for opener in openers] == [0] * 4
    assert len(_servers_of(folder_of(own))) == 1
    with dv.open_store(url) as store:
        assert store.items("list") == ["x"] * 4


def test_a_stale_contact_is_no_hindrance(own: str) -> None:
    folder = folder_of(own)
    places.Contact(
        1, 2, os.uname().nodename, str(folder / "socket"), "", 0, "token", 1, 1, 1, ""
    ).write(folder)  # fmt: skip
    with pytest.raises(dv.KeyNotFoundError, match="no server"):
        dv.open_store(f"dragon://{own}?create=no")
    with dv.open_store(f"dragon://{own}?memory=64MiB") as store:
        assert store.keys() == []


def test_what_is_not_there_is_not_created_to_look_at(dragon_url: str) -> None:
    with pytest.raises(dv.KeyNotFoundError, match="no store"):
        dv.open_store(f"{dragon_url}&create=no")
    with pytest.raises(dv.KeyNotFoundError):
        dv.open_store("dragon://nobody?create=no")


def test_a_server_can_be_waited_for_instead_of_started(own: str) -> None:
    with pytest.raises(dv.TransportTimeoutError, match="not ready within"):
        dv.open_store(f"dragon://{own}?start=no", timeout=0.05)
    assert not _servers_of(folder_of(own))


def test_the_workflow_is_told_which_server_to_run(tmp_path: Path) -> None:
    from dovetail.transport.engines.dragon import ENGINE
    from dovetail.transport.serving import OffersServer
    from dovetail.transport.url import parse

    assert isinstance(ENGINE, OffersServer)
    assert ENGINE.server(parse("dragon://run", "store"), tmp_path, "staging") is None
    url = parse("dragon://?memory=64MiB&capacity=1MiB", "store")
    described = ENGINE.server(url, tmp_path, "staging")
    assert described is not None
    assert described.folder == tmp_path / "staging.dragon"
    described.prepare()
    with subprocess.Popen(
        described.command, cwd=described.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as running:
        with dv.open_store(described.url) as store:
            store.put("a", 1)
            assert store.statistics().capacity == 1 << 20
        running.terminate()
        assert running.stdout is not None
        assert "serving" in running.stdout.read().decode()
    described.clear()
    assert not any(tmp_path.iterdir())


def test_a_server_that_does_not_start_shows_its_last_lines(
    own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOVETAIL_DRAGON_ARGUMENTS", "--no-such-option")
    with pytest.raises(dv.EngineUnavailableError, match="no-such-option"):
        dv.open_store(f"dragon://{own}?memory=64MiB")


def test_opening_ends_at_its_deadline(own: str) -> None:
    with pytest.raises(dv.TransportTimeoutError, match="not ready within"):
        dv.open_store(f"dragon://{own}?memory=64MiB", timeout=0.05)
    wait_until(lambda: server.contact_of(folder_of(own)), "the server, which is late")


@pytest.mark.parametrize(
    "option",
    ["nodes=0", "nodes=two", "managers=-1", "managers=", "memory=lots", "memory=1MiB",
     "checkpoint=relative", "interface=a/b"],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(server: Server, option: str) -> None:
    with pytest.raises(dv.InvalidURLError, match=option.split("=", maxsplit=1)[0]):
        dv.open_store(f"dragon://shared/x?{option}")


def test_a_wrong_token_is_refused_and_nobody_is_told_the_right_one(server: Server) -> None:
    from dataclasses import replace

    from dovetail.transport.deadlines import Deadline

    contact = server.contact
    wrong = replace(contact, token="x" * 64)
    with pytest.raises(dv.AccessDeniedError, match="token") as caught:
        client.reach(wrong, Deadline(5))
    assert contact.token not in str(caught.value)
    assert contact.token not in server.log.read_text()
    for process in psutil.process_iter():
        try:
            assert contact.token not in " ".join(process.cmdline())
        except psutil.Error:
            continue


def test_noise_on_the_socket_harms_nobody(server: Server, dragon_url: str) -> None:
    import socket

    with dv.open_store(dragon_url) as store:
        store.put("a", 1)
        for noise in (b"\0" * 100, b"\xff" * 100, b"GET / HTTP/1.0\r\n\r\n"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
                stranger.connect(server.contact.socket)
                stranger.sendall(noise)
                stranger.settimeout(10)
                assert stranger.recv(1000)
        assert int(store.get_array("a")) == 1


def test_clients_on_other_hosts_come_by_the_interface(
    own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"dragon://{own}/a?memory=64MiB&interface=lo"
    with dv.open_store(url) as here:
        monkeypatch.setattr(client.socket, "gethostname", lambda: "elsewhere")
        with dv.open_store(url) as store, ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(store.wait, "late", 60)
            for number, count in enumerate((10, 20_000, 500_000)):
                store.put(f"k{number}", sealed(number, count))
                assert unsealed(store.get(f"k{number}")) == number
                assert unsealed(here.get(f"k{number}")) == number
            here.put("late", sealed(7, 500_000))
            assert unsealed(waiting.result(60)) == 7
            with pytest.raises(dv.StoreFullError, match="no room"):
                store.put("large", np.zeros(80 << 20, np.uint8))
            assert store.stat("k2").nbytes > 4_000_000
            assert store.append("list", "x") == 0


def test_without_an_interface_other_hosts_are_told_so(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.socket, "gethostname", lambda: "elsewhere")
    with pytest.raises(dv.EngineUnavailableError, match="interface="):
        dv.open_store("dragon://shared/a")


def test_values_spread_over_managers(own: str) -> None:
    with dv.open_store(f"dragon://{own}?memory=96MiB&managers=3") as store:
        for number in range(60):
            store.put(f"k{number}", sealed(number, 20_000))
        assert [unsealed(store.get(f"k{number}")) for number in range(60)] == list(range(60))
        for number in range(60):
            store.rename(f"k{number}", f"moved{number}")
        assert len(store.keys("moved")) == 60
        assert unsealed(store.get("moved7")) == 7
        with pytest.raises(dv.StoreFullError, match="of manager"):
            store.put("large", np.zeros(33 << 20, np.uint8))


def test_sigterm_ends_a_server_in_order(folder_of_servers: Path) -> None:
    with Server("dragon://other?memory=64MiB") as other:
        with dv.open_store("dragon://other") as store:
            store.put("a", 1)
            children = psutil.Process(other.pid).children(recursive=True)
            assert children
            other.signal(signal.SIGTERM)
            assert other.wait() == 0
            with pytest.raises(dv.PeerLostError, match="has ended"):
                store.get("a")
        assert not [child for child in children if _runs(child)]


def _servers_of(folder: Path) -> list[psutil.Process]:
    """The server processes of a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
        except psutil.Error:
            continue
        if command[1:3] == ["-m", "dovetail.transport.engines.dragon"] and command[3] == str(
            folder
        ):
            found.append(process)
    return found


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
