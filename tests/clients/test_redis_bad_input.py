"""Whatever a URL names and whatever lies there, a store in C gets a status and a sentence."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from ctypes import byref, c_void_p
from pathlib import Path

import numpy as np
import pytest
from clients import abi, building
from clients.engine import client_of
from transport.engines.redis import strangers
from transport.engines.redis.running import LOOPBACK, BareServer, RunningServer

import dovetail as dv
from dovetail import native
from dovetail.transport.engines.redis.keys import Manifest, Names

pytestmark = [pytest.mark.requires("redis"), pytest.mark.requires("hiredis")]

INVALID_URL, CAPABILITY, UNAVAILABLE, ACCESS, TIMEOUT = -2, -6, -7, -8, -13


@pytest.fixture
def client() -> abi.Client:
    return client_of("c")


def refused(client: abi.Client, url: str, expected: int, *words: str, timeout: float = 0.5) -> str:
    """A status and a sentence, within the deadline; never the password."""
    handle = c_void_p()
    began = time.monotonic()
    status = client.status("store_open_within", url.encode(), timeout, byref(handle))
    assert time.monotonic() - began < timeout + 20
    said = client.last_error()
    assert status == expected, (status, said)
    assert "s3cret" not in said
    for word in words:
        assert word in said, said
    return said


def test_whoever_is_not_let_in_is_told_why(client: abi.Client, tmp_path: Path) -> None:
    with BareServer(tmp_path / "server", "requirepass s3cretly") as server:
        place = f"{LOOPBACK}:{server.port}"
        refused(client, f"redis://{place}", ACCESS, "wants a password", "password_file")
        refused(client, f"redis://:s3cret@{place}", ACCESS, "password is wrong")
        refused(client, f"redis://me:s3cret@{place}", ACCESS, "password is wrong")
        file = tmp_path / "password"
        file.write_text("s3cretly\n")
        store = client.handle("store_open", f"redis://{place}?password_file={file}".encode())
        client.call("store_close", store)
        store = client.handle("store_open", f"redis://:s3cret%6Cy@{place}/n".encode())
        status = client.status("store_delete", store, b"nothing")
        assert status < 0
        assert "s3cret" not in client.last_error()
        server.stop()
        client.call("store_close", store)
        status = client.status("store_delete", store, b"nothing")
        assert status < 0
        assert "s3cret" not in client.last_error()


@pytest.mark.parametrize(
    ("serve", "expected", "word"),
    [
        (strangers.http, UNAVAILABLE, "HTTP/1.1"),
        (strangers.ssh, UNAVAILABLE, "SSH-2.0"),
        (strangers.silent, TIMEOUT, "silent"),
        (strangers.closes, TIMEOUT, "closed the connection"),
        (strangers.never_ends_its_line, UNAVAILABLE, "no Redis or Valkey"),
        (strangers.boasts, TIMEOUT, ""),
        (strangers.nests, UNAVAILABLE, "no Redis or Valkey"),
    ],
)
def test_what_is_no_redis_is_said_to_be_none(
    client: abi.Client, serve: Callable[..., None], expected: int, word: str
) -> None:
    with strangers.stranger(serve) as port:
        refused(client, f"redis://{LOOPBACK}:{port}", expected, word)


def test_who_cannot_be_reached_is_named(client: abi.Client, tmp_path: Path) -> None:
    with strangers.stranger(strangers.silent) as port:
        pass
    refused(client, f"redis://{LOOPBACK}:{port}", TIMEOUT, f"{LOOPBACK}:{port}", "Start it")
    refused(client, f"redis+unix://{tmp_path}/none", TIMEOUT, "Start it, or correct the URL")
    refused(client, f"redis+cluster://{LOOPBACK}:{port},{LOOPBACK}:{port}/n", TIMEOUT, "cluster")
    refused(client, "redis://no.such.host.invalid", UNAVAILABLE, "no.such.host.invalid")


def test_servers_that_cannot_keep_the_promises_are_refused(
    client: abi.Client, tcp_server: RunningServer, unix_url: str, tmp_path: Path
) -> None:
    settings = ("maxmemory 50mb", "maxmemory-policy allkeys-lru")
    with BareServer(tmp_path / "cache", *settings) as cache:
        refused(client, f"redis://{LOOPBACK}:{cache.port}", CAPABILITY, "noeviction")
    alone = tcp_server.url.replace("redis://", "redis+cluster://")
    refused(client, alone, UNAVAILABLE, "no part of a cluster")
    refused(client, f"{unix_url}&capacity=1MiB", CAPABILITY, "its own maxmemory")
    refused(client, "rediss://:s3cret@host", UNAVAILABLE, "TLS", "Python")
    refused(client, "redis+cluster://host?tls=yes", UNAVAILABLE, "TLS", "Python")


URLS = [
    "redis://", "redis:///0/name", "redis://host:port/name", "redis://host:0/name",
    "redis://host:70000/name", "redis://a b/name", "redis://host/0/name/more", "redis://host/a:b",
    "redis://host/{tag}", "redis://host?db=1", "redis://host?pasword_file=x",
    "redis://host?password_file=/no/such/file", "redis://host?password_env=NO_SUCH_VARIABLE",
    "redis://a:b@host?password_env=PATH", "redis://a@host?user=b", "redis://host?chunk=1GiB",
    "redis://host?ca=x", "redis+unix://relative/socket", "redis+unix:///a?db=-1",
    "redis+unix:///a?name=", f"redis+unix:///{'x' * 120}", "redis+cluster://host:1,:2",
    "redis+cluster://host/0/name", "redis+cluster://host?tls=maybe", "redis://[::1/name",
    "redis://host:1:2/n", "redis://host:/n", "redis://[]:1/n",
]  # fmt: skip


@pytest.mark.parametrize("url", URLS)
def test_a_url_that_cannot_be_is_refused_as_python_does(client: abi.Client, url: str) -> None:
    with pytest.raises(dv.InvalidURLError):
        dv.open_store(url, timeout=0.01)
    refused(client, url, INVALID_URL)


@pytest.mark.parametrize(
    "command",
    [
        ("SET", "hello"),
        ("SET", ""),
        ("SET", b"\xff" * 100),
        ("SET", b"\x10\0\0\0\0\0\0\0{"),
        ("SET", b"DVCHUNKS"),
        ("SET", b"DVCHUNKS" + b"x" * 64),
        ("SET", Manifest(b"0" * 32, 100, 0).to_bytes()),
        ("SET", Manifest(b"0" * 32, 1 << 50, 1).to_bytes()),
        ("SET", Manifest(b"0" * 32, 1 << 40, 1 << 30).to_bytes()),
        ("RPUSH", "item"),
    ],
    ids=["text", "nothing", "noise", "cut", "magic", "manifest", "no-size", "many", "none", "list"],
)
def test_what_something_else_wrote_is_corrupt_and_left_alone(
    unix_url: str, unix_server: RunningServer, command: tuple[str, bytes]
) -> None:
    key = Names(unix_url.partition("name=")[2].partition("&")[0]).value("theirs")
    with dv.open_store(f"c+{unix_url}") as store:
        unix_server.call(command[0], key, command[1])
        for operation in (store.get, store.stat, lambda key: store.wait(key, timeout=0)):
            with pytest.raises(dv.CorruptDataError, match="theirs"):
                operation("theirs")
        assert store.exists("theirs")
        assert store.keys() == ["theirs"]
        store.put("theirs", 7)
        assert store.get_array("theirs") == 7
        store.destroy()
    assert unix_server.call("EXISTS", key) == 0


@pytest.mark.parametrize("chunk", [5, 50, 500])
def test_a_value_whose_header_is_longer_than_a_chunk_is_described(
    unix_url: str, chunk: int
) -> None:
    with dv.open_store(f"c+{unix_url}&chunk={chunk}") as store:
        version = store.put("a", {f"array {number}": np.zeros(3) for number in range(9)})
        assert store.stat("a").version == version
        assert len(store.stat("a").variables) == len(store.get("a")) == 9
        store.destroy()


def test_without_hiredis_the_library_says_what_to_install(tmp_path: Path) -> None:
    shutil.copy(native.library_directory() / native.LIBRARY, tmp_path / "libalone.so")
    alone = abi.Client(os.fspath(tmp_path / "libalone.so"), "dvt")
    refused(alone, "redis://host", UNAVAILABLE, "hiredis", "libhiredis-dev", "build dovetail again")
    (tmp_path / "libdovetail_redis.so").write_bytes(b"rubbish")
    refused(alone, "redis://host", UNAVAILABLE, "libdovetail_redis.so", "hiredis")


def test_nothing_of_hiredis_is_needed_to_load_the_library() -> None:
    said = building.run("readelf", "-d", native.library_directory() / native.LIBRARY)
    needed = [line for line in said.splitlines() if "NEEDED" in line]
    assert needed
    assert not any("redis" in line for line in needed)
