"""A file system filled to the last byte: an error and not a signal, and nothing is lost."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import full_roles as roles
from faults.namespaces import OWN_MOUNTS
from faults.tally import Tally

from dovetail.testing.children import ChildServer

pytestmark = pytest.mark.requires("tmpfs")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[tuple[ChildServer, Path]]:
    """Children that see a file system of 3 MiB in a folder."""
    folder = tmp_path / "small"
    folder.mkdir()
    with ChildServer(prefix=OWN_MOUNTS) as server:
        server.start(roles.mount_small, folder=str(folder), size="3m").join()
        yield server, folder


@pytest.fixture
def small_shared_memory(tmp_path: Path) -> Iterator[ChildServer]:
    """Children that see a /dev/shm of 3 MiB."""
    with ChildServer(prefix=OWN_MOUNTS) as server:
        server.start(roles.mount_small, folder="/dev/shm", size="3m").join()
        yield server


def test_folder(small: tuple[ChildServer, Path], chance: random.Random, faults: Tally) -> None:
    """File system filled to the last byte [file]."""
    server, folder = small
    url = f"file://{folder}/store?capacity=1GiB"
    fill(server, url, folder, chance, faults)


def test_shared_memory(
    small_shared_memory: ChildServer, chance: random.Random, faults: Tally
) -> None:
    """File system filled to the last byte [shm]."""
    fill(small_shared_memory, "shm://full?capacity=1GiB", Path("/dev/shm"), chance, faults)


def fill(server: ChildServer, url: str, folder: Path, chance: random.Random, faults: Tally) -> None:
    """One child goes through all trials: a signal would end it."""
    child = server.start(
        roles.fill_again_and_again,
        url=url,
        folder=str(folder),
        trials=faults.wanted,
        seed=chance.randrange(2**32),
    )
    for trial in faults:
        assert child.receive() == trial
    child.join()


def test_a_store_is_opened_on_a_full_file_system(small: tuple[ChildServer, Path]) -> None:
    server, folder = small
    child = server.start(
        roles.open_on_a_full_file_system,
        url=f"file://{folder}/store?capacity=1GiB",
        folder=str(folder),
    )
    assert child.receive() == "sound"
    child.join()


def test_the_error_says_how_much_is_free_and_who_holds_it(
    small_shared_memory: ChildServer,
) -> None:
    child = small_shared_memory.start(roles.name_the_holder, folder="/dev/shm")
    message = child.receive()
    assert "free" in message
    assert "glutton" in message
    assert "hungry" in message
    assert child.receive() == "sound"
    child.join()


def test_a_stream_on_a_full_file_system(small_shared_memory: ChildServer) -> None:
    child = small_shared_memory.start(
        roles.fill_a_stream, url="shm://full?capacity=1GiB", folder="/dev/shm"
    )
    assert child.receive() == "sound"
    child.join()
