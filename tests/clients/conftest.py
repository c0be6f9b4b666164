"""The clients of other languages, as engines that the contracts run over."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from clients import building, engine
from transport.engines.redis.conftest import (  # noqa: F401  (their servers)
    cluster,
    cluster_url,
    old_server,
    old_url,
    tcp_server,
    tcp_url,
    unix_server,
    unix_url,
)

from dovetail.testing.children import ChildServer


@pytest.fixture(scope="session", autouse=True)
def drivers(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Build the driver of each language that has no functions of C itself."""
    library = tmp_path_factory.mktemp("drivers") / "libdriver_cpp.so"
    building.compile_cpp(building.HERE / "driver.cpp", library, "-shared", "-fPIC")
    os.environ[engine.DRIVERS.format("CPP")] = str(library)
    if shutil.which("gfortran"):
        library = building.compile_fortran_driver(tmp_path_factory.mktemp("fortran"))
        os.environ[engine.DRIVERS.format("FORTRAN")] = str(library)


@pytest.fixture(scope="session")
def client_server(drivers: None) -> Iterator[ChildServer]:
    """Starts processes that know the schemes of the clients."""
    server = ChildServer(
        ["dovetail.testing.store_roles", "dovetail.testing.stream_roles", "clients.engine"]
    )
    with server:
        yield server


@pytest.fixture
def children(client_server: ChildServer) -> Iterator[ChildServer]:
    yield client_server
    client_server.close_children()
