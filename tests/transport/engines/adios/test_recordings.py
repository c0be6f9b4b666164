"""Recordings: written without a reader, replayed at will, read live, never written over."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dovetail as dv
from dovetail.testing import stream_roles as roles
from dovetail.testing.child_fixtures import ChildFixtures
from dovetail.testing.children import PATIENCE, Channel, ChildServer
from dovetail.testing.store_values import DTYPES, SHAPES, arbitrary, identical
from dovetail.testing.stream_fixtures import SOON, open_and_read_all, read_all, write
from dovetail.testing.values import unsealed
from dovetail.transport.contract import StreamWriter
from dovetail.transport.engines.adios.library import bindings

pytestmark = pytest.mark.requires("adios2")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"bp5://{tmp_path}/run.bp"


def record(url: str, **options: Any) -> StreamWriter:
    return dv.open_stream(f"{url}?record=yes", "w", **options)


def test_a_recording_waits_for_no_reader_and_is_replayed_as_often_as_wanted(url: str) -> None:
    with record(url) as out:
        for number in range(50):
            write(out, number)
    for _ in range(2):
        assert open_and_read_all(url) == list(range(50))
    assert dv.describe_stream(url).steps_held == 50


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_and_shape_comes_back_bit_by_bit(url: str, dtype: np.dtype[Any]) -> None:
    arrays = {f"a{n}": arbitrary(shape, dtype) for n, shape in enumerate(SHAPES)}
    arrays["fortran"] = np.asfortranarray(arbitrary((4, 3, 2), dtype))
    with record(url) as out, out.step() as step:
        for name, array in arrays.items():
            step[name] = array
    (got,) = dv.open_stream(url, "r")
    assert set(got) == set(arrays)
    for name, array in arrays.items():
        assert identical(got[name], array), name
    assert got["fortran"].flags.f_contiguous


def test_a_step_holds_what_an_array_of_that_name_never_was_before(url: str) -> None:
    values = [np.arange(3), np.arange(4.0).reshape(2, 2), np.float32(1), np.empty((0, 2))]
    with record(url) as out:
        for value in values:
            with out.step() as step:
                step["u"] = value
                step["dovetail/step"] = np.arange(2)
                step["another @2 / ü"] = value
    for step, value in zip(dv.open_stream(url, "r"), values, strict=True):
        assert identical(step["u"], np.asarray(value))
        assert identical(step["another @2 / ü"], np.asarray(value))
        assert identical(step["dovetail/step"], np.arange(2))


def test_what_is_changed_after_a_put_is_not_changed_in_the_step(url: str) -> None:
    array = np.zeros(1000)
    with record(url) as out:
        for number in range(3):
            with out.step() as step:
                array[:] = number
                step["u"] = array
                array[:] = -1
    for number, step in enumerate(dv.open_stream(url, "r")):
        assert (step["u"] == number).all()


def test_a_recording_is_read_while_it_is_written(url: str) -> None:
    with record(url) as out, dv.open_stream(url, "r") as reader:
        for number in range(20):
            with pytest.raises(dv.TransportTimeoutError):
                reader.next_step(timeout=0)
            write(out, number)
            assert unsealed(next(reader)) == number
        out.close()
        assert reader.next_step() is None


def test_a_reader_may_come_first(url: str) -> None:
    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(open_and_read_all, url)
        with record(url) as out:
            write(out, 0)
        assert reading.result(PATIENCE) == [0]


def test_a_step_that_was_passed_can_still_be_read(url: str) -> None:
    with record(url) as out:
        for number in range(4):
            write(out, number)
    with dv.open_stream(url, "r") as reader:
        steps = list(reader)
    assert [unsealed(step) for step in reversed(steps)] == [3, 2, 1, 0]
    assert steps[2].read("payload", (10,), (5,)).tolist() == [2] * 5


def test_a_selection_reads_only_what_it_asks_for(url: str) -> None:
    field = np.arange(600.0).reshape(20, 30)
    with record(url) as out, out.step() as step:
        step["u"] = field
        step["f"] = np.asfortranarray(field)
    (got,) = dv.open_stream(url, "r")
    for name in ("u", "f"):
        assert np.array_equal(got.read(name, (3, 4), (5, 6)), field[3:8, 4:10])
    with pytest.raises(dv.CoverageError):
        got.read("u", (19, 0), (2, 1))


def test_writer_ranks_record_side_by_side(url: str) -> None:
    field = np.arange(120.0).reshape(12, 10)

    def produce(rank: int) -> None:
        with record(url, rank=rank, size=3) as out:
            for number in range(3):
                with out.step(attrs={"rank": rank}) as step:
                    part = field[4 * rank : 4 * rank + 4] + number
                    step.put("u", part, shape=field.shape, start=(4 * rank, 0))
                    step["joined"] = np.full((rank, 2), rank)

    with ThreadPoolExecutor(3) as thread:
        for future in [thread.submit(produce, rank) for rank in range(3)]:
            future.result(PATIENCE)
    assert dv.describe_stream(url).ranks == 3
    for number, step in enumerate(dv.open_stream(url, "r")):
        assert np.array_equal(step["u"], field + number)
        assert np.array_equal(step.read("u", (2, 1), (5, 3)), (field + number)[2:7, 1:4])
        assert step["joined"].tolist() == [[1, 1], [2, 2], [2, 2]]
        assert step.attrs["rank"] == 0


def test_a_recording_is_never_written_over(url: str, tmp_path: Path) -> None:
    with record(url) as out:
        write(out, 7)
        with pytest.raises(dv.StreamBusyError):
            record(url)
    with pytest.raises(dv.StreamBusyError, match="destroy_stream"):
        record(url)
    assert open_and_read_all(url) == [7]
    dv.destroy_stream(url)
    assert not (tmp_path / "run.bp").exists()
    with pytest.raises(dv.KeyNotFoundError):
        dv.describe_stream(url)


def test_files_of_others_are_never_written_over(url: str, tmp_path: Path) -> None:
    (tmp_path / "run.bp").mkdir()
    (tmp_path / "run.bp" / "thesis.tex").write_text("…")
    with pytest.raises(dv.StreamBusyError, match=r"thesis\.tex"):
        record(url)
    assert [entry.name for entry in (tmp_path / "run.bp").iterdir()] == ["thesis.tex"]


def test_a_recording_can_be_moved(url: str, tmp_path: Path) -> None:
    with record(url) as out:
        write(out, 1)
    shutil.copytree(tmp_path / "run.bp", tmp_path / "copy.bp")
    dv.destroy_stream(url)
    assert open_and_read_all(f"bp5://{tmp_path}/copy.bp") == [1]


def test_a_recording_left_by_an_exception_is_a_lost_peer(url: str) -> None:
    with pytest.raises(ZeroDivisionError), record(url) as out:
        write(out, 0)
        raise ZeroDivisionError
    with dv.open_stream(url, "r") as reader:
        assert unsealed(next(reader)) == 0
        with pytest.raises(dv.PeerLostError):
            next(reader)
    assert dv.describe_stream(url).state == "failed"


def test_a_step_left_by_an_exception_is_not_recorded(url: str) -> None:
    with record(url) as out:
        write(out, 0)
        with pytest.raises(ZeroDivisionError), out.step() as step:
            step["payload"] = np.zeros(3)
            raise ZeroDivisionError
        write(out, 1)
    assert open_and_read_all(url) == [0, 1]


def test_a_full_recording_says_so_and_keeps_what_it_has(url: str) -> None:
    with dv.open_stream(f"{url}?record=yes&capacity=1MiB", "w") as out:
        write(out, 0)
        with pytest.raises(dv.StoreFullError):
            write(out, 1, 1 << 20)
        write(out, 2)
    assert open_and_read_all(url) == [0, 2]


def test_a_reader_can_stop_a_recording(url: str) -> None:
    with record(url) as out, dv.open_stream(url, "r") as reader:
        write(out, 0)
        next(reader)
        assert not out.stopped
        reader.stop()
        assert out.stopped
        with pytest.raises(dv.StreamStoppedError):
            write(out, 1)


def test_a_damaged_recording_is_corrupt(url: str, tmp_path: Path) -> None:
    with record(url) as out:
        for number in range(3):
            write(out, number)
    index = tmp_path / "run.bp" / "md.idx"
    os.truncate(index, 100)
    with pytest.raises(dv.CorruptDataError), dv.open_stream(url, "r", timeout=1) as reader:
        read_all(reader)


@pytest.mark.parametrize("location", ["relative/run.bp", "", "/a\0b"])
def test_a_path_that_is_none_is_refused(location: str) -> None:
    with pytest.raises(dv.InvalidURLError):
        dv.open_stream(f"bp5://{location}", "w", timeout=SOON)


def test_options_are_checked(url: str) -> None:
    with pytest.raises(dv.InvalidURLError, match="record"):
        dv.open_stream(f"{url}?rekord=yes", "w")
    with pytest.raises(dv.InvalidURLError, match="record"):
        dv.open_stream(f"{url}?record=jes", "w")
    with pytest.raises(dv.CapabilityError, match="store"):
        dv.open_store(url)


def test_what_went_through_a_stream_is_replayed_later(url: str) -> None:
    for _ in range(2):
        with ThreadPoolExecutor(1) as thread:
            reading = thread.submit(open_and_read_all, url)
            with dv.open_stream(url, "w", policy=dv.lockstep()) as out:
                for number in range(5):
                    write(out, number)
            assert reading.result(PATIENCE) == list(range(5))
    assert open_and_read_all(f"{url}?replay=yes") == list(range(5))
    dv.destroy_stream(url)
    with pytest.raises(dv.KeyNotFoundError):
        dv.open_stream(f"{url}?replay=yes", "r", timeout=SOON)


class TestCrashes(ChildFixtures):
    def test_a_killed_recorder_is_a_lost_peer(
        self, url: str, children: ChildServer, tmp_path: Path
    ) -> None:
        child = children.start(
            roles.produce,
            url=f"{url}?record=yes",
            policy=["buffered", 2],
            ledger=str(tmp_path / "ledger"),
            sizes=[1000, 10],
        )
        assert child.receive() == "ready"
        with dv.open_stream(url, "r") as reader:
            seen = [unsealed(next(reader)) for _ in range(5)]
            child.kill()
            with pytest.raises(dv.PeerLostError):
                seen += read_all(reader)
                raise AssertionError("a crash looked like a clean end")
        assert seen[:5] == list(range(5))
        assert dv.describe_stream(url).state == "lost"
        ended = int(roles.Ledger(str(tmp_path / "ledger"), 8).slots[roles.PRODUCER])
        assert dv.describe_stream(url).steps_complete in (ended, ended + 1)

    def test_a_forked_child_of_a_dead_recorder_does_not_make_it_live(
        self, url: str, children: ChildServer, tmp_path: Path
    ) -> None:
        os.mkfifo(tmp_path / "go")
        child = children.start(fork_and_stay, url=f"{url}?record=yes", fifo=str(tmp_path / "go"))
        assert child.receive() == "forked"
        child.kill()
        with dv.open_stream(url, "r") as reader:
            assert unsealed(next(reader)) == 0
            with pytest.raises(dv.PeerLostError):
                next(reader)
        (tmp_path / "go").write_text("now the forked child may end")


def fork_and_stay(channel: Channel, url: str, fifo: str) -> None:
    """Fork while recording; the forked child lives on until somebody writes to the fifo."""
    with dv.open_stream(url, "w") as out:
        write(out, 0)
        if os.fork() == 0:
            Path(fifo).read_text()
            os._exit(0)
        channel.send("forked")
        channel.receive()


def test_minimum_and_maximum_are_kept_if_asked_for(url: str) -> None:
    with dv.open_stream(f"{url}?record=yes&statistics=yes", "w") as out, out.step() as step:
        step["u"] = np.array([3.0, -1.5, 8.0])
    library = bindings()
    adios = library.ADIOS()  # what it declares lives no longer than it
    io = adios.DeclareIO("reader")
    io.SetEngine("BP5")
    opened = io.Open(url.removeprefix("bp5://"), library.Mode.ReadRandomAccess)
    found = io.AvailableVariables()["u"]
    opened.Close()
    assert (float(found["Min"]), float(found["Max"])) == (-1.5, 8.0)
    with pytest.raises(dv.InvalidURLError, match="choose no or yes"):
        dv.open_stream(f"{url}2?statistics=maybe", "w")
