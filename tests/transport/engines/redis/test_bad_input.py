"""What is wrong is said within its deadline, with what to do, and without any secret."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from transport.engines.redis import strangers
from transport.engines.redis.certificates import Certificates
from transport.engines.redis.conftest import tls_settings
from transport.engines.redis.running import (
    LOOPBACK,
    BareServer,
    RunningCluster,
    RunningServer,
    connection_to,
    free_port,
)

import dovetail as dv
from dovetail import observe
from dovetail.testing.values import sealed, unsealed
from dovetail.transport.engines.redis.keys import Manifest, Names
from dovetail.transport.url import parse

pytestmark = pytest.mark.requires("redis")
SECRET = "sesame-open-thyself"
TIMEOUT = 2.0
SLACK = 20.0
"""Seconds that a busy machine may add to a deadline."""


@contextmanager
def within_its_deadline(timeout: float = TIMEOUT) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < timeout + SLACK


def value_of(url: str, key: str) -> bytes:
    """The name on the server of a value."""
    parsed = parse(url, "store")
    name = parsed.options.get("name") or parsed.location.rpartition("/")[2]
    return Names(name).value(key)


# --- who is let in ---------------------------------------------------------------------------


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[BareServer]:
    """A server with a password, and a user who may not write."""
    with BareServer(
        tmp_path / "guarded",
        f"requirepass {SECRET}",
        f"user reader on >{SECRET} ~* +@read +hello +info +ping +client|setname",
    ) as server:
        yield server


@pytest.mark.parametrize("account", ["", ":wrong@", "nobody:wrong@", f"nobody:{SECRET}@"])
def test_a_wrong_password_is_refused_at_once(guarded: BareServer, account: str) -> None:
    url = f"redis://{account}{LOOPBACK}:{guarded.port}"
    with within_its_deadline(0), pytest.raises(dv.AccessDeniedError, match="password") as caught:
        dv.open_store(url, timeout=30)
    assert isinstance(caught.value, PermissionError)
    assert SECRET not in str(caught.value)
    assert "wrong@" not in str(caught.value)


def test_the_right_password_opens(
    guarded: BareServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "password").write_text(SECRET + "\n")
    monkeypatch.setenv("THE_PASSWORD", SECRET)
    monkeypatch.chdir(tmp_path)
    place = f"{LOOPBACK}:{guarded.port}/a"
    for url in (
        f"redis://:{SECRET}@{place}",
        f"redis://default:{SECRET}@{place}",
        f"redis://{place}?password_file=password",
        f"redis://{place}?password_env=THE_PASSWORD&user=default",
    ):
        with dv.open_store(url) as store:
            store.put("a", 1)
            assert SECRET not in repr(store)
            with dv.open_store(store.url) as again:
                assert again.exists("a")
                assert (SECRET in again.url) == (SECRET in url)


def test_a_user_without_permission_is_told_so(guarded: BareServer) -> None:
    with dv.open_store(f"redis://reader:{SECRET}@{LOOPBACK}:{guarded.port}") as store:
        with pytest.raises(dv.AccessDeniedError, match="permission"):
            store.put("a", 1)
        with pytest.raises(dv.KeyNotFoundError):
            store.get("a")
        with pytest.raises(dv.AccessDeniedError, match="permission"):
            store.wait("a", 30)
    with pytest.raises(dv.AccessDeniedError, match="permission"):
        dv.open_stream(f"redis://reader:{SECRET}@{LOOPBACK}:{guarded.port}", "w")


def test_no_password_is_in_an_error_a_trace_or_a_description(
    guarded: BareServer, tmp_path: Path
) -> None:
    place = f"{LOOPBACK}:{guarded.port}/a"
    url = f"redis://:{SECRET}@{place}"
    observe.start(str(tmp_path / "trace"))
    try:
        store = dv.open_store(url)
        with dv.open_stream(url, "w", policy=dv.buffered(2)) as out:
            with out.step() as step:
                step["u"] = np.arange(3)
            shown = [str(dv.describe_stream(url))]
        with dv.open_stream(url, "r") as steps:
            assert len(list(steps)) == 1
        shown += [repr(store), repr(out), repr(steps), out.url]
        for operation in (
            lambda: store.get("missing"),
            lambda: store.wait("missing", 0.01),
            lambda: store.wait_items("list", 1, 0.01),
            lambda: dv.describe_stream(url),
            lambda: dv.open_store(f"{url}?capasity=1"),
            lambda: dv.open_store(f"{url}?capacity=1MiB"),
            lambda: dv.open_store(f"{url}/b/c"),
            lambda: dv.open_store(f"{url}?a=1&a=2"),
            lambda: dv.open_store(f"{url}?nonsense"),
            lambda: dv.open_store(url.replace("redis://", "rediss://"), timeout=0.2),
            lambda: dv.open_store(url.replace("redis://", "redis+cluster://"), timeout=0.2),
            lambda: dv.open_store(url.replace(str(guarded.port), "99999")),
            lambda: dv.open_store(url.replace(str(guarded.port), str(free_port())), timeout=0.1),
            lambda: dv.open_store(url.replace("redis://", "reddis://")),
            lambda: store.close() or store.get("a"),
        ):
            with pytest.raises(dv.DovetailError) as caught:
                operation()
            shown += [str(caught.value), repr(caught.value)]
    finally:
        observe.stop()
    assert not any(SECRET in text for text in shown)
    for file in (tmp_path / "trace").iterdir():
        assert SECRET.encode() not in file.read_bytes()
    assert SECRET not in repr(parse(url, "store"))


# --- who is there ----------------------------------------------------------------------------


def test_nobody_at_the_port_is_said_at_the_deadline() -> None:
    port = free_port()
    with within_its_deadline(0.3), pytest.raises(dv.TransportTimeoutError) as caught:
        dv.open_store(f"redis://{LOOPBACK}:{port}", timeout=0.3)
    assert f"{LOOPBACK}:{port} within 0.3 s: connection refused" in str(caught.value)
    assert "Start it" in str(caught.value)


def test_no_socket_is_said_at_the_deadline(tmp_path: Path) -> None:
    with within_its_deadline(0.3), pytest.raises(dv.TransportTimeoutError, match="no such file"):
        dv.open_store(f"redis+unix://{tmp_path}/none", timeout=0.3)


def test_no_cluster_is_said_at_the_deadline() -> None:
    url = f"redis+cluster://{LOOPBACK}:{free_port()},{LOOPBACK}:{free_port()}"
    with within_its_deadline(0.3), pytest.raises(dv.TransportTimeoutError, match="refused"):
        dv.open_store(url, timeout=0.3)


def test_a_host_that_nobody_knows_is_said_at_once() -> None:
    with within_its_deadline(20):  # the system may ask other machines first
        with pytest.raises((dv.EngineUnavailableError, dv.TransportTimeoutError), match="host"):
            dv.open_store("redis://no-such-host.invalid", timeout=5)


def test_a_server_that_starts_within_the_deadline_is_found(tmp_path: Path) -> None:
    server = BareServer(tmp_path / "late")
    try:
        began = time.monotonic()
        server.begin()
        with dv.open_store(f"redis://{LOOPBACK}:{server.port}", timeout=20) as store:
            store.put("a", 1)
        assert time.monotonic() - began < 20
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (strangers.http, "HTTP/1.1 400"),
        (strangers.ssh, "SSH-2.0"),
        (strangers.never_ends_its_line, "xxx"),
        (strangers.boasts, "9999"),
        (strangers.nests, "no Redis"),
        (strangers.ancient, "6.2 or newer"),
    ],
)
@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
def test_another_kind_of_server_is_said_at_once(
    kind: Callable[[socket.socket], None], said: str, scheme: str
) -> None:
    with strangers.stranger(kind) as port, within_its_deadline(0):
        with pytest.raises(dv.EngineUnavailableError, match=said) as caught:
            dv.open_store(f"{scheme}://:{SECRET}@{LOOPBACK}:{port}", timeout=30)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (strangers.silent, "silent|timed out|did not answer"),
        (strangers.closes, "closed the connection"),
    ],
)
@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+cluster"])
def test_a_server_that_says_nothing_is_said_at_the_deadline(
    kind: Callable[[socket.socket], None], said: str, scheme: str
) -> None:
    with strangers.stranger(kind) as port, within_its_deadline(0.5):
        with pytest.raises(dv.DovetailError, match=said) as caught:
            dv.open_store(f"{scheme}://{LOOPBACK}:{port}", timeout=0.5)
    assert str(port) in str(caught.value)


@pytest.mark.requires("redis-tls")
def test_tls_where_there_is_none_and_none_where_there_is(
    tcp_server: RunningServer, tls_server: BareServer
) -> None:
    port = parse(tcp_server.url, "store").location.partition("/")[0].rpartition(":")[2]
    with within_its_deadline(), pytest.raises(dv.DovetailError, match="speak TLS"):
        dv.open_store(f"rediss://{LOOPBACK}:{port}", timeout=TIMEOUT)
    with within_its_deadline(), pytest.raises(dv.DovetailError, match="TLS"):
        dv.open_store(f"redis://{LOOPBACK}:{tls_server.port}", timeout=TIMEOUT)


@pytest.mark.requires("redis-tls")
def test_a_certificate_that_is_not_trusted_is_refused_at_once(
    tls_server: BareServer, certificates: Certificates
) -> None:
    place = f"{LOOPBACK}:{tls_server.port}"
    with (
        within_its_deadline(0),
        pytest.raises(dv.AccessDeniedError, match="give its authority|ca="),
    ):
        dv.open_store(f"rediss://{place}", timeout=30)
    with within_its_deadline(0), pytest.raises(dv.AccessDeniedError, match="server_name="):
        dv.open_store(f"rediss://{place}?ca={certificates.ca}&server_name=other", timeout=30)
    name = "fields.example"
    dv.open_store(f"rediss://{place}?ca={certificates.ca}&server_name={name}").close()


@pytest.mark.requires("redis-tls")
def test_a_server_that_asks_for_a_certificate_is_given_one(
    tmp_path: Path, certificates: Certificates
) -> None:
    port = free_port()
    settings = tls_settings(certificates, port, clients="yes")
    with BareServer(tmp_path / "strict", *settings, port=port):
        url = f"rediss://{LOOPBACK}:{port}?ca={certificates.ca}"
        with within_its_deadline(), pytest.raises(dv.DovetailError, match=r"cert(=|ificate)"):
            dv.open_store(url, timeout=TIMEOUT)
        mine = f"cert={certificates.cert('client')}&key={certificates.key('client')}"
        with dv.open_store(f"{url}&{mine}") as store:
            store.put("a", np.arange(100_000))
            assert store.get_array("a")[-1] == 99_999


# --- what the server is ----------------------------------------------------------------------


def test_a_cluster_that_lacks_slots_is_said_at_the_deadline(tmp_path: Path) -> None:
    settings = ("cluster-enabled yes", f"cluster-port {free_port()}")
    with BareServer(tmp_path / "part", *settings) as server:
        connection = connection_to(f"redis://{LOOPBACK}:{server.port}")
        connection.call("CLUSTER", "ADDSLOTSRANGE", 0, 5460, 10923, 16383)
        connection.close()
        with (
            within_its_deadline(0.5),
            pytest.raises(
                dv.EngineUnavailableError,
                match=r"no server has the slots 5461-10922.*--cluster fix",
            ),
        ):
            dv.open_store(f"redis+cluster://{LOOPBACK}:{server.port}", timeout=0.5)


def test_a_cluster_that_loses_slots_says_so(cluster: RunningCluster) -> None:
    url = cluster.url("losing")
    with dv.open_store(url, timeout=0.5) as store:
        store.put("a", 1)
        connections = cluster.connections()
        try:
            for connection in connections:
                connection.call("CLUSTER", "DELSLOTS", *range(0, 16384, 2), *range(1, 16384, 2))
            with within_its_deadline(0.5), pytest.raises(dv.DovetailError, match=r"slot|hash"):
                store.get("a")
        finally:
            cluster.deal_slots(connections)
            for connection in connections:
                connection.close()
    with dv.open_store(url) as store:
        store.destroy()


def test_a_cluster_and_a_single_server_are_told_apart(
    cluster: RunningCluster, tcp_server: RunningServer
) -> None:
    with pytest.raises(dv.EngineUnavailableError, match=r"redis\+cluster://"):
        dv.open_store(f"redis://{LOOPBACK}:{cluster.servers[0].port}")
    with pytest.raises(dv.EngineUnavailableError, match="no part of a cluster"):
        dv.open_store(tcp_server.url.replace("redis://", "redis+cluster://"))


def test_a_replica_is_refused(tcp_server: RunningServer, tmp_path: Path) -> None:
    with BareServer(tmp_path / "replica", f"replicaof {LOOPBACK} {free_port()}") as server:
        with pytest.raises(dv.CapabilityError, match="address of its primary"):
            dv.open_store(f"redis://{LOOPBACK}:{server.port}")


def test_a_server_that_throws_values_away_is_refused(tmp_path: Path) -> None:
    settings = ("maxmemory 50mb", "maxmemory-policy allkeys-lru")
    with BareServer(tmp_path / "cache", *settings) as server:
        with pytest.raises(dv.CapabilityError, match="maxmemory-policy noeviction"):
            dv.open_store(f"redis://{LOOPBACK}:{server.port}")


def test_a_running_server_keeps_to_its_own_capacity(unix_url: str) -> None:
    with pytest.raises(dv.CapabilityError, match="its own maxmemory"):
        dv.open_store(f"{unix_url}&capacity=1MiB")
    dv.open_store(f"{unix_url}&capacity=2GiB").close()


# --- what is stored --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ("SET", "", b"hello"),
        ("SET", "", b""),
        ("SET", "", b"\xff" * 100),
        ("SET", "", b"\x10\0\0\0\0\0\0\0{"),
        ("SET", "", b"DVCHUNKS"),
        ("SET", "", b"DVCHUNKS" + b"x" * 64),
        ("SET", "", Manifest(b"0" * 32, 100, 0).to_bytes()),
        ("SET", "", Manifest(b"0" * 32, 1 << 50, 1).to_bytes()),
        ("RPUSH", "", b"item"),
        ("HSET", "", b"field", b"value"),
    ],
    ids=[
        "text",
        "nothing",
        "noise",
        "cut",
        "magic",
        "manifest",
        "no-chunks",
        "many-chunks",
        "list",
        "hash",
    ],
)
def test_what_something_else_wrote_is_corrupt_and_left_alone(
    unix_url: str, unix_server: RunningServer, command: tuple[str, str, bytes]
) -> None:
    name = value_of(unix_url, "theirs")
    connection = unix_server.connection()
    with dv.open_store(unix_url) as store:
        connection.call(command[0], name, *command[2:])
        for operation in (store.get, store.get_array, store.stat):
            with pytest.raises(dv.CorruptDataError, match="theirs"):
                operation("theirs")
        with pytest.raises(dv.CorruptDataError, match="theirs"):
            store.wait("theirs", timeout=0)
        with pytest.raises(dv.CorruptDataError, match="theirs"):
            store.get_many(["theirs"])
        assert store.exists("theirs")
        assert store.keys() == ["theirs"]
        store.put("ours", sealed(1, 10))
        assert connection.call("EXISTS", name) == 1
    with dv.open_store(unix_url) as store:
        store.destroy()
    assert connection.call("EXISTS", name) == 1
    with dv.open_store(unix_url) as store:
        store.put("theirs", 7)
        assert store.get_array("theirs") == 7
        connection.call("UNLINK", name)
    connection.close()


def test_a_manifest_of_chunks_that_are_not_there_is_corrupt(
    unix_url: str, unix_server: RunningServer
) -> None:
    manifest = Manifest(b"0" * 32, 1 << 40, 1 << 30).to_bytes()
    connection = unix_server.connection()
    with dv.open_store(unix_url) as store:
        connection.call("SET", value_of(unix_url, "a"), manifest)
        for operation in (store.get, store.stat):
            with pytest.raises(dv.CorruptDataError, match="chunk 0 of 1024 has 0 bytes"):
                operation("a")
        store.put("a", sealed(1, 10))
        assert unsealed(store.get("a")) == 1
        store.destroy()
    connection.close()


def test_a_sound_value_of_others_is_a_value_and_stays(
    unix_url: str, unix_server: RunningServer
) -> None:
    stock = pytest.importorskip("safetensors.numpy")
    name = value_of(unix_url, "theirs")
    connection = unix_server.connection()
    connection.call("SET", name, stock.save(sealed(6, 100), {"who": "they"}))
    with dv.open_store(unix_url) as store:
        assert store.keys() == ["theirs"]
        assert store.get("theirs").attrs == {"who": "they"}
        assert store.wait("theirs", 0, newer_than="x").version == store.stat("theirs").version
        store.rename("theirs", "kept")
        store.rename("kept", "theirs")
        store.put("ours", 1)
        store.destroy()
    assert connection.call("EXISTS", name) == 1
    connection.call("UNLINK", name)
    connection.close()


def test_the_stock_reader_opens_what_lies_on_the_server(
    unix_url: str, unix_server: RunningServer
) -> None:
    stock = pytest.importorskip("safetensors.numpy")
    connection = unix_server.connection()
    with dv.open_store(unix_url) as store:
        store.put("a", sealed(4, 5000), {"t": 1})
        raw = bytes(connection.call("GET", value_of(unix_url, "a")))
        assert np.array_equal(stock.load(raw)["payload"], np.full(5000, 4))
        assert raw[45:77].decode() == store.stat("a").version
        store.destroy()
    connection.close()


def test_a_value_that_lacks_a_chunk_is_corrupt(unix_url: str, unix_server: RunningServer) -> None:
    connection = unix_server.connection()
    with dv.open_store(f"{unix_url}&chunk=1000") as store:
        store.put("a", np.zeros(1000))
        (chunk,) = [
            name for name in connection.call("KEYS", "dv.chunk:*") if bytes(name).endswith(b":2")
        ]
        connection.call("SETRANGE", chunk, 0, "!")
        connection.call("APPEND", chunk, "longer")
        with pytest.raises(dv.CorruptDataError, match="chunk 2 of"):
            store.get("a")
        connection.call("UNLINK", chunk)
        with pytest.raises(dv.CorruptDataError, match="chunk 2 of 9 has 0 bytes"):
            store.get("a")
        store.destroy()
    connection.close()


def test_a_list_that_something_else_wrote_is_corrupt(
    unix_url: str, unix_server: RunningServer
) -> None:
    name = value_of(unix_url, "theirs").replace(b"dv:", b"dv.list:")
    connection = unix_server.connection()
    connection.call("SET", name, "text")
    with dv.open_store(unix_url) as store:
        for operation in (
            lambda: store.items("theirs"),
            lambda: store.append("theirs", "a"),
            lambda: store.wait_items("theirs", 1, 0.1),
        ):
            with pytest.raises(dv.CorruptDataError, match="theirs"):
                operation()
        store.destroy()
    connection.close()


# --- URLs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://", "needs a host"),
        ("redis:///0/name", "needs a host"),
        ("redis://host:port/name", "no host and port"),
        ("redis://host:0/name", "no host and port"),
        ("redis://host:70000/name", "no host and port"),
        ("redis://a b/name", "no host and port"),
        ("redis://host/0/name/more", "where one name is expected"),
        ("redis://host/a:b", "letters, digits"),
        ("redis://host/{tag}", "letters, digits"),
        ("redis://host?db=1", "no option 'db'"),
        ("redis://host?pasword_file=x", "did you mean 'password_file'"),
        ("redis://host?password_file=/no/such/file", "No such file"),
        ("redis://host?password_env=NO_SUCH_VARIABLE", "no such variable"),
        ("redis://a:b@host?password_env=PATH", "the password once"),
        ("redis://a@host?user=b", "the user once"),
        ("redis://host?chunk=1GiB", "at most 512MiB"),
        ("redis://host?ca=x", "no option 'ca'"),
        ("rediss://host?ca=/no/such/file", "ca=/no/such/file cannot be used"),
        ("rediss://host?cert=/x", "cert and key belong together"),
        ("redis+unix://relative/socket", "absolute path"),
        ("redis+unix:///a?db=-1", "no number of a database"),
        ("redis+unix:///a?name=", "letters, digits"),
        (f"redis+unix:///{'x' * 120}", "system takes 107"),
        ("redis+cluster://host:1,:2", "no host and port"),
        ("redis+cluster://host/0/name", "where one name is expected"),
        ("redis+cluster://host?tls=maybe", "tls='maybe'"),
    ],
)
def test_a_url_that_cannot_be_is_refused(url: str, said: str) -> None:
    with pytest.raises(dv.InvalidURLError, match=said):
        dv.open_store(url, timeout=0.01)


def test_a_database_that_the_server_lacks_is_refused(tcp_server: RunningServer) -> None:
    with pytest.raises(dv.EngineUnavailableError, match="no database 99"):
        dv.open_store(tcp_server.url.replace("/test", "/99/test"), timeout=TIMEOUT)


def test_databases_and_names_are_stores_of_their_own(tcp_server: RunningServer) -> None:
    urls = [tcp_server.url.replace("/test", place) for place in ("/1/a", "/2/a", "/1/b", "/1")]
    stores = [dv.open_store(url) for url in urls]
    for number, store in enumerate(stores):
        store.put("u", number)
        store.append("list", str(number))
    assert [int(store.get_array("u")) for store in stores] == [0, 1, 2, 3]
    assert [store.items("list") for store in stores] == [["0"], ["1"], ["2"], ["3"]]
    stores[0].destroy()
    assert [store.keys() for store in stores[1:]] == [["u"]] * 3
    for store in stores[1:]:
        store.destroy()
