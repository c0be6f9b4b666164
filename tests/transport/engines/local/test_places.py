"""Where the local engine keeps things belongs to one user, and to nobody else."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from faults.full_roles import mount_small
from faults.namespaces import OWN_MOUNTS

import dovetail as dv
from dovetail.testing.children import Channel, ChildServer


@pytest.fixture
def own_shared_memory() -> Iterator[ChildServer]:
    """Children that see a /dev/shm of their own."""
    with ChildServer(prefix=OWN_MOUNTS) as server:
        server.start(mount_small, folder="/dev/shm", size="3m").join()
        yield server


def test_folders_are_private(shm_url: str) -> None:
    with dv.open_store(shm_url) as store:
        store.put("a", np.arange(3))
        assert store.path is not None
        for folder in (store.path, store.path.parent, store.path / ".dovetail"):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for file in store.path.glob("*.safetensors"):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600


def open_in_a_trap(channel: Channel, trap: str) -> None:
    """Try to open a store where another user got first."""
    root = Path(f"/dev/shm/dovetail-{os.getuid()}")
    match trap:
        case "link":
            target = Path("/dev/shm/elsewhere")
            target.mkdir(mode=0o700)
            root.symlink_to(target)
        case "open to all":
            root.mkdir()
            root.chmod(0o777)
        case "file":
            root.write_text("")
    try:
        with dv.open_store("shm://x") as store:
            store.put("a", np.arange(3))
        channel.send("opened" if stat.S_IMODE(root.stat().st_mode) != 0o700 else "made private")
    except dv.DovetailError as error:
        channel.send(f"{type(error).__name__}: {error}")


@pytest.mark.requires("tmpfs")
@pytest.mark.parametrize("trap", ["link", "open to all", "file"])
def test_a_folder_that_another_user_could_have_laid_is_not_used(
    own_shared_memory: ChildServer, trap: str
) -> None:
    child = own_shared_memory.start(open_in_a_trap, trap=trap)
    answer = child.receive()
    child.join()
    if trap == "open to all" and answer == "made private":
        return
    assert answer.startswith("EngineUnavailableError")
    assert "dovetail-" in answer


def fill_while_somebody_looks(channel: Channel, url: str) -> None:
    """Fill a value again and again, in memory that another program tries to open meanwhile."""
    with dv.open_store(url) as store:
        for number in range(6):
            with store.reserve("a", {"value": ((1000,), "i8")}) as room:
                room["value"][:] = number
                channel.send("filling")
                assert channel.receive() == "go on"
        channel.send(int(store.get_array("a")[0]))


def test_who_opens_a_file_that_is_being_filled_ends_nobody(shm_url: str) -> None:
    """The kernel tells the holder of a lease by a signal, which ends a process by default."""
    refused = 0
    with ChildServer() as children, dv.open_store(shm_url) as store:
        assert store.path is not None
        child = children.start(fill_while_somebody_looks, url=shm_url)
        while (said := child.receive()) == "filling":
            for file in (store.path / ".dovetail/blocks").iterdir():
                try:
                    os.close(os.open(file, os.O_RDONLY | os.O_NONBLOCK))
                except BlockingIOError:
                    refused += 1
            child.send("go on")
        child.join()
    assert said == 5
    assert refused >= 2, "no memory was used again"
