"""Streams over SST say what moves them, and leave nothing behind, whoever dies."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

import dovetail as dv
from dovetail.testing.child_fixtures import ChildFixtures
from dovetail.testing.children import Channel, ChildServer, wait_until
from dovetail.testing.stream_fixtures import write
from dovetail.transport.engines.adios.sst import network, stores

pytestmark = pytest.mark.requires("adios2")
_numbers = itertools.count()


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A stream whose folder of contact files is empty in the end."""
    yield f"sst://upkeep-{os.getpid()}-{next(_numbers)}?contact={tmp_path}&linger=0.1"
    wait_until(lambda: not list(tmp_path.iterdir()), f"{list(tmp_path.iterdir())} to go")


# --- what moves it ---------------------------------------------------------------------------


def test_a_stream_says_which_data_plane_was_found_in_use(url: str) -> None:
    with dv.open_stream(url, "w", policy=dv.buffered(2)) as out:
        write(out, 0, 100_000)
        assert "moved nothing so far" in dv.describe_stream(url).transport
        with dv.open_stream(url, "r") as reader:
            next(reader)
            assert dv.describe_stream(url).transport == "ADIOS2 SST over TCP sockets (evpath)"


def test_plain_sst_says_so_too(url: str) -> None:
    with dv.open_stream(f"{url}&recipe=async", "w") as out:
        with out.step() as step:
            step["u"] = np.arange(3)
        found = dv.describe_stream(url)
        assert found.transport == "plain ADIOS2 SST over TCP sockets (evpath)"
        assert (found.ranks, found.steps_complete, found.state) == (1, 1, "open")
    with pytest.raises(dv.KeyNotFoundError):
        dv.describe_stream(url)


def test_a_recording_says_so_too(tmp_path: Path) -> None:
    url = f"bp5://{tmp_path}/a.bp"
    with dv.open_stream(f"{url}?record=yes", "w") as out:
        write(out, 0)
    assert dv.describe_stream(url).transport == "ADIOS2 BP5 files"


@pytest.mark.parametrize("transport", ["rdma", "ucx", "mpi"])
@pytest.mark.parametrize("end", ["w", "r"])
def test_no_other_data_plane_is_taken_than_was_asked_for(
    url: str, transport: str, end: str
) -> None:
    if transport in os.environ.get("DOVETAIL_TEST_TRANSPORTS", ""):
        pytest.skip("the engine has this transport here")
    with pytest.raises(dv.EngineUnavailableError, match=transport):
        dv.open_stream(f"{url}&transport={transport}", end, timeout=5)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ('Warning:  Preferred DataPlane "ucx" not found.\nSelecting DataPlane "evpath"', "UCX"),
        ('Warning:  Preferred DataPlane "mpi" is not available.\n', "MPI"),
        ('Selecting DataPlane "rdma", priority 10 for use', "WAN"),
        ("", "WAN"),
    ],
)
def test_whatever_sst_prints_of_a_fallback_is_noticed(said: str, asked: str) -> None:
    with pytest.raises(network.UnaskedFallbackError):
        network.plane_said(said, asked)


# --- what is left ----------------------------------------------------------------------------


def write_and_wait(channel: Channel, url: str, readers: int) -> None:
    with dv.open_stream(url, "w", policy=dv.buffered(2), readers=readers) as out:
        write(out, 0, 100_000)
        channel.send("written")
        channel.receive()


def read_and_wait(channel: Channel, url: str) -> None:
    with dv.open_stream(url, "r") as reader:
        next(reader)
        channel.send("read")
        channel.receive()


def write_until_it_fails(channel: Channel, url: str) -> None:
    with contextlib.suppress(dv.DovetailError), dv.open_stream(url, "w") as out:
        while True:
            with out.step() as step:
                step["u"] = np.arange(10)


class TestNothingIsLeft(ChildFixtures):
    def test_the_memory_of_a_reader_that_dies_with_its_mirror_goes(
        self, url: str, children: ChildServer
    ) -> None:
        with dv.open_stream(url, "w", policy=dv.buffered(2)) as out:
            reader = children.start(read_and_wait, url=url)
            write(out, 0, 100_000)
            assert reader.receive() == "read"
            mirror = _worker_of(reader.pid, "mirror")
            (store,) = _stores_of(mirror)
            mirror.kill()
            reader.kill()
            wait_until(lambda: not store.exists(), "the memory of the reader to go")

    def test_the_memory_of_a_writer_that_dies_with_its_carrier_goes(
        self, url: str, children: ChildServer
    ) -> None:
        writer = children.start(write_and_wait, url=url, readers=0)
        assert writer.receive() == "written"
        carrier = _worker_of(writer.pid, "carrier")
        (store,) = _stores_of(carrier)
        writer.suspend()  # or it would start another
        carrier.kill()
        writer.kill()
        wait_until(lambda: not store.exists(), "the memory of the writer to go")

    def test_what_died_altogether_is_swept_by_whoever_opens_a_stream_next(
        self, url: str, children: ChildServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        reader = children.start(read_and_wait, url=url)
        writer = children.start(write_and_wait, url=url, readers=1)
        assert writer.receive() == "written"
        assert reader.receive() == "read"
        workers = [_worker_of(reader.pid, "mirror"), _worker_of(writer.pid, "carrier")]
        left = {store for worker in workers for store in _stores_of(worker)}
        assert len(left) == 2
        everyone = [*workers, *_homes(tmp_path)]
        everyone += [sender for one in everyone for sender in one.children()]
        writer.suspend()
        reader.suspend()
        for process in everyone:
            process.suspend()
        for process in everyone:
            process.kill()
        writer.kill()
        reader.kill()
        wait_until(lambda: not any(map(psutil.Process.is_running, everyone)), "all to die")
        assert all(store.exists() for store in left)
        monkeypatch.setattr(stores, "JUST_MADE", 0.0)
        with dv.open_stream(url, "w", policy=dv.buffered(2)):
            assert not any(store.exists() for store in left)
        for contact in tmp_path.glob("*.sst"):  # SST's own, of the sender that was killed
            contact.unlink()

    @pytest.mark.parametrize("victim", ["receiver", "sender"])
    def test_the_memory_of_plain_sst_goes_with_the_process_that_served_it(
        self, url: str, victim: str, children: ChildServer
    ) -> None:
        writer = children.start(write_until_it_fails, url=f"{url}&recipe=async")
        with dv.open_stream(url, "r") as reader:
            next(reader)
            process = _worker_of(os.getpid() if victim == "receiver" else writer.pid, victim)
            found = _stores_of(process)
            assert found
            process.kill()
            with pytest.raises(dv.DovetailError):
                while True:
                    reader.next_step()
        if victim == "sender":
            writer.join()
        writer.close()
        wait_until(lambda: not any(store.exists() for store in found), "the memory to go")


def _stores_of(process: psutil.Process) -> set[Path]:
    """The folders of blocks that a process holds."""
    descriptors = Path(f"/proc/{process.pid}/fd")
    return {
        target
        for descriptor in descriptors.iterdir()
        for target in [Path(os.readlink(descriptor))]
        if target.suffix == ".store" and target.name.startswith("sst-")
    }


def _worker_of(pid: int, module: str) -> psutil.Process:
    """The process of this kind that serves the one stream of a process."""

    def found() -> list[psutil.Process]:
        return [
            child
            for child in psutil.Process(pid).children()
            if f"sst.{module} import" in " ".join(child.cmdline())
        ]

    wait_until(lambda: len(found()) == 1, f"one {module}")
    return found()[0]


def _homes(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if any(part.endswith("sst/home.py") for part in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return [
        process
        for process in found
        if any(str(folder) in opened.path for opened in process.open_files())
    ]
