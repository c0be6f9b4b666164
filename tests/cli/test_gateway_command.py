"""``dovetail gateway``: a server with TLS and a token, and what carries to and from it."""

from __future__ import annotations

import contextlib
import json
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Dovetail
from transport.engines.redis.running import free_port

import dovetail as dv
from dovetail.testing.stream_fixtures import write

pytestmark = pytest.mark.requires("redis-tls")


@contextlib.contextmanager
def serving(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A gateway, and what it says of itself."""
    words = ["gateway", "serve", "--directory", str(folder), "--json", *options]
    process = subprocess.Popen(
        [*Dovetail.command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        lines = []
        while (line := process.stdout.readline()) not in ("}\n", ""):
            lines.append(line)
        if not line:
            raise AssertionError(process.communicate(timeout=20)[1])
        yield process, json.loads("".join([*lines, line]))
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("edge") / "gateway"
    with serving(folder, "--port", str(free_port()), "--capacity", "64MiB") as (_, said):
        yield said


def test_only_this_user_may_read_what_opens_it(gateway: dict[str, Any]) -> None:
    folder = Path(gateway["folder"])
    for path in [folder, *folder.rglob("*")]:
        if path.name not in ("server.log", "certificate.pem"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    token = (Path(gateway["link"]) / "token").read_text().strip()
    assert len(token) == 64
    assert token not in json.dumps(gateway)
    assert token not in (folder / "server" / "server.conf").read_text()
    command = Path(f"/proc/{gateway['pid']}/cmdline").read_text()
    assert token not in command


def test_the_token_opens_values_and_nothing_of_the_server(gateway: dict[str, Any]) -> None:
    from transport.engines.redis.running import connection_to

    connection = connection_to(gateway["url"])
    try:
        for command in (
            "CONFIG GET dir",
            "SHUTDOWN",
            "SAVE",
            "MIGRATE h 1 k 0 9",
            "ACL LIST",
            "FLUSHALL",
        ):
            refusal = connection.call(*command.split())
            assert "NOPERM" in str(refusal), (command, refusal)
    finally:
        connection.close()


def test_a_wrong_token_is_refused_with_a_sentence(
    gateway: dict[str, Any], dovetail: Dovetail, tmp_path: Path
) -> None:
    wrong = tmp_path / "token"
    wrong.write_text("0" * 64)
    url = gateway["url"].replace(f"{gateway['link']}/token", str(wrong))
    said = dovetail.error("gateway", "carry", "store", "--once", "shm://nobody", url)
    assert "the password is wrong" in said
    assert "0" * 64 not in said


def test_an_impostor_is_not_trusted(
    gateway: dict[str, Any], dovetail: Dovetail, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    with serving(other, "--port", str(free_port())) as (_, said):
        url = said["url"].replace(said["link"], gateway["link"])
        assert "is not trusted" in dovetail.error("store", "ls", url)


def test_it_is_reached_at_another_address_under_its_own_name(
    gateway: dict[str, Any], dovetail: Dovetail
) -> None:
    url = gateway["url_there"].replace("HOST", "localhost").replace("=link", f"={gateway['link']}")
    assert dovetail.json("store", "ls", url)["values"] == []


def test_started_again_it_keeps_its_certificate_its_token_and_if_asked_its_values(
    tmp_path: Path, dovetail: Dovetail
) -> None:
    folder = tmp_path / "gateway"
    options = ["--port", str(free_port()), "--persistent"]
    with serving(folder, *options) as (_, said):
        link = {path.name: path.read_bytes() for path in Path(said["link"]).iterdir()}
        with dv.open_store(said["url"]) as store:
            store.put("u", 1.5)
    with serving(folder, *options) as (_, said):
        assert {path.name: path.read_bytes() for path in Path(said["link"]).iterdir()} == link
        with dv.open_store(said["url"]) as store:
            assert store.get_array("u") == 1.5


def test_interrupted_it_ends_in_order(tmp_path: Path) -> None:
    with serving(tmp_path / "gateway", "--port", str(free_port())) as (process, said):
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert not Path(f"/proc/{said['pid']}").exists()


def test_a_server_that_ends_ends_it_with_the_reason(tmp_path: Path) -> None:
    with serving(tmp_path / "gateway", "--port", str(free_port())) as (process, said):
        subprocess.run(["kill", str(said["pid"])], check=True)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 1
        assert "the server of the gateway ended" in errors


def test_a_taken_port_and_an_unknown_interface_are_named(
    gateway: dict[str, Any], dovetail: Dovetail, tmp_path: Path
) -> None:
    words = ["gateway", "serve", "--directory", tmp_path / "other"]
    said = dovetail.error(*words, "--port", str(gateway["port"]))
    assert "Address already in use" in said
    assert "has none of that name" in dovetail.error(*words, "--interface", "nosuch0")


def test_a_stream_goes_through_it(
    gateway: dict[str, Any], dovetail: Dovetail, shm_url: str
) -> None:
    middle = gateway["url"].replace("NAME", "fields")
    carry = [*Dovetail.command, "gateway", "carry", "stream", "--json"]
    with (
        subprocess.Popen([*carry, shm_url, middle], stdout=subprocess.PIPE) as there,
        subprocess.Popen([*carry, middle, f"{shm_url}-2"], stdout=subprocess.PIPE) as here,
    ):
        with dv.open_stream(shm_url, "w", policy=dv.buffered(3)) as out:
            for number in range(8):  # fewer than the three windows hold
                write(out, number)
        with dv.open_stream(f"{shm_url}-2", "r", timeout=30) as reader:
            assert reader.policy == dv.buffered(3)
            assert [step.attrs["number"] for step in reader] == list(range(8))
        for process in (there, here):
            said, _ = process.communicate(timeout=60)
            assert json.loads(said) == {"steps": 8, "bytes": 64192, "stopped": False}


def test_a_terminated_carrier_is_a_failure_for_its_readers(shm_url: str) -> None:
    carry = [*Dovetail.command, "gateway", "carry", "stream", shm_url, f"{shm_url}-2"]
    with dv.open_stream(shm_url, "w") as out, subprocess.Popen(carry) as process:
        write(out, 0)
        with dv.open_stream(f"{shm_url}-2", "r", timeout=30) as reader:
            next(reader)
            process.terminate()
            assert process.wait(20) == 128 + signal.SIGTERM
            with pytest.raises(dv.PeerLostError):
                next(reader)


def test_a_store_goes_through_it_until_interrupted(
    gateway: dict[str, Any], dovetail: Dovetail, shm_url: str
) -> None:
    middle = gateway["url"].replace("NAME", "cases")
    carry = [*Dovetail.command, "gateway", "carry", "store", shm_url, middle]
    words = ["--list", "done", "--prefix", "case/", "--json"]
    with dv.open_store(shm_url) as here, dv.open_store(middle) as there:
        with subprocess.Popen([*carry, *words], stdout=subprocess.PIPE) as process:
            here.put("other", 0.5)
            for number in range(5):
                here.put(f"case/{number}", float(number))
                here.append("done", f"case/{number}")
            assert there.wait_items("done", 5, 60) == [f"case/{number}" for number in range(5)]
            there.wait("case/4", 60)
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=20)
            assert process.returncode == 0
            assert json.loads(said) == {"values": 5, "items": 5, "bytes": 40, "refused": {}}
        assert there.keys() == [f"case/{number}" for number in range(5)]
        there.destroy()


@pytest.mark.parametrize("policy", ["buffered", "buffered:0", "fast", "latest:2"])
def test_what_is_no_policy_is_wrong_usage(dovetail: Dovetail, policy: str) -> None:
    words = ["gateway", "carry", "stream", "shm://a", "shm://b", "--policy", policy]
    assert "--policy" in dovetail.error(*words, status=2)
