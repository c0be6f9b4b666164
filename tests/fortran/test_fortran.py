"""The module for Fortran: arrays of all kinds and ranks, streams, failures, MPI ranks.

The programs beside this file check what they are given themselves, and end with "done".
"""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from clients import building
from transport.engines.redis.running import on_a_socket

import dovetail as dv

HERE = Path(__file__).parent
pytestmark = [pytest.mark.requires("gfortran")]

KINDS = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16",
    "bfloat16", "float32", "float64", "complex64", "complex128",
)  # fmt: skip
RANK7 = (2, 3, 1, 2, 2, 1, 2)


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module, compiled; with every warning an error, and every check at run time."""
    folder = tmp_path_factory.mktemp("fortran")
    building.compile_fortran_module(folder)
    return folder


def program(objects: Path, name: str, compiler: str = "gfortran") -> Path:
    target = objects / name
    building.run(
        compiler, *building.FORTRAN, "-J", objects, "-o", target, HERE / f"{name}.f90",
        *sorted(objects.glob("*.o")), *building.flags(),
    )  # fmt: skip
    return target


@pytest.fixture(scope="session")
def stores(objects: Path) -> Path:
    return program(objects, "stores")


@pytest.fixture(scope="session")
def streams(objects: Path) -> Path:
    return program(objects, "streams")


@pytest.fixture(params=["shm", "file"])
def url(request: pytest.FixtureRequest, shm_url: str, tmp_path: Path) -> str:
    return shm_url if request.param == "shm" else f"file://{tmp_path}/fields"


@pytest.mark.requires("redis")
@pytest.mark.requires("hiredis")
def test_a_store_on_a_server_is_one_of_fortran_too(stores: Path, tmp_path: Path) -> None:
    with on_a_socket(tmp_path / "server", "capacity=64MiB") as server:
        run(stores, "write", server.url)
        run(stores, "refuse", server.url)
        with dv.open_store(server.url) as store:
            for kind in KINDS:
                assert store.get_array(kind).dtype.name == kind
            assert store.get("many").attrs == {"time": 0.5}
            np.testing.assert_array_equal(store.get("room")["u"], numbers("float64"))
            store.destroy()


def numbers(kind: str) -> np.ndarray:
    """What the Fortran program writes and expects: 1 to 12, in the order of its arrays."""
    n = np.arange(1, 13).reshape((3, 4), order="F")
    if kind.startswith("complex"):
        return (n - 1j * n).astype(kind)
    return n % 2 == 1 if kind == "bool" else n.astype(kind)


def run(*command: object) -> None:
    assert building.run(*command).endswith("done\n")


def test_what_fortran_puts_python_gets_as_it_lies(stores: Path, url: str) -> None:
    run(stores, "write", url)
    with dv.open_store(url) as store:
        for kind in KINDS:
            got = store.get_array(kind)
            assert got.dtype.name == kind
            assert got.flags.f_contiguous
            if kind in ("float16", "bfloat16"):
                got = got.view("i2").astype(kind)
            np.testing.assert_array_equal(got, numbers(kind))
        for rank in range(8):
            shape = RANK7[:rank]
            expected = np.arange(1.0, np.prod(shape) + 1).reshape(shape, order="F")
            np.testing.assert_array_equal(store.get_array(f"rank{rank}"), expected)
        assert store.get_array("none").shape == (0, 5)


def test_sections_and_negative_strides_arrive_as_they_are_numbered(
    stores: Path, shm_url: str
) -> None:
    run(stores, "write", shm_url)
    a = np.arange(1.0, 49).reshape((6, 8), order="F")
    with dv.open_store(shm_url) as store:
        np.testing.assert_array_equal(store.get_array("section"), a[1::2, 2:])
        np.testing.assert_array_equal(store.get_array("backwards"), a[::-1, ::-2])
        np.testing.assert_array_equal(store.get_array("row"), a[1])
        np.testing.assert_array_equal(store.get_array("bounded"), a)


def test_trailing_blanks_of_names_do_not_count(stores: Path, shm_url: str) -> None:
    run(stores, "write", shm_url)
    with dv.open_store(shm_url) as store:
        many = store.get("many")
        assert set(many) == {"u", "v", "  w"}
        assert many.attrs == {"time": 0.5}
        assert store.exists("int8")


def test_room_is_filled_in_place(stores: Path, url: str) -> None:
    run(stores, "write", url)
    with dv.open_store(url) as store:
        room = store.get("room")
        np.testing.assert_array_equal(room["u"], numbers("float64"))
        assert room["u"].flags.f_contiguous
        assert room["a longer name"] == 7
        assert room.attrs == {"filled": "in place"}


def test_what_python_puts_fortran_reads_and_views_in_any_order(stores: Path, url: str) -> None:
    with dv.open_store(url) as store:
        for kind in KINDS:
            array = numbers(kind)
            store.put(f"{kind}-F", np.asfortranarray(array))
            store.put(f"{kind}-C", np.ascontiguousarray(array))
        store.put("rank0", np.float64(1))
        seven = np.arange(1.0, 49).reshape(RANK7, order="F")
        store.put("rank7", seven, attrs={"seven": 7})
        run(stores, "read", url)


def test_what_is_refused_comes_back_as_a_status_and_a_sentence(stores: Path, url: str) -> None:
    run(stores, "refuse", url)


def test_without_stat_a_failure_ends_the_program_with_its_sentence(
    stores: Path, shm_url: str
) -> None:
    ended = subprocess.run(
        [stores, "stop", shm_url], capture_output=True, check=False, text=True, timeout=60
    )
    assert ended.returncode != 0
    assert "ERROR STOP dovetail: " in ended.stderr
    assert "no such key" in ended.stderr
    assert "went on" not in ended.stdout


def test_a_stream_from_fortran_to_python(streams: Path, url: str) -> None:
    with subprocess.Popen([streams, "produce", url, "5"], stdout=subprocess.PIPE) as producer:
        count = 0
        u = np.arange(1.0, 13).reshape((4, 3), order="F")
        with dv.open_stream(url, "r", timeout=30) as steps:
            for step in steps:
                count += 1
                assert step.attrs == {"step": count}
                np.testing.assert_array_equal(step["u"], u + count)
                np.testing.assert_array_equal(step["down"], u[::-1, 0])
                np.testing.assert_array_equal(step["v"], np.full((2, 5), count))
                assert step["time"] == 0.5 * count
        assert count == 5
        assert producer.communicate(timeout=30)[0] == b"done\n"


def test_a_stream_from_python_to_fortran(streams: Path, url: str) -> None:
    u = np.arange(1.0, 13).reshape((4, 3), order="F")
    with subprocess.Popen([streams, "consume", url, "3"], stdout=subprocess.PIPE) as consumer:
        with dv.open_stream(url, "w", policy=dv.buffered(2), timeout=30) as out:
            for number in range(1, 4):
                with out.step(attrs={"step": number}) as step:
                    step["u"] = np.ascontiguousarray(u + number)
                    step["time"] = np.float64(0.5 * number)
        assert consumer.communicate(timeout=30)[0] == b"done\n"


def test_a_stream_from_fortran_to_fortran(streams: Path, url: str) -> None:
    with subprocess.Popen([streams, "produce", url, "4"], stdout=subprocess.PIPE) as producer:
        run(streams, "consume", url, "4")
        assert producer.communicate(timeout=30)[0] == b"done\n"


def test_what_a_stream_refuses_comes_back_as_a_status_and_a_sentence(
    streams: Path, url: str
) -> None:
    run(streams, "refuse", url)


def test_a_writer_that_fails_is_lost_to_its_readers(streams: Path, shm_url: str) -> None:
    producer = subprocess.Popen([streams, "fail", shm_url], stderr=subprocess.PIPE)
    with dv.open_stream(shm_url, "r", timeout=30) as steps:
        assert int(next(steps)["n"]) == 1
        with pytest.raises(dv.PeerLostError):
            next(steps)
    said = producer.communicate(timeout=30)[1].decode()
    assert "shape has 1 numbers" in said
    assert producer.returncode != 0


def test_a_fortran_writer_killed_in_a_step_leaves_the_complete_ones(
    streams: Path, url: str
) -> None:
    with subprocess.Popen(
        [streams, "hang", url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as producer:
        assert producer.stdout is not None
        assert producer.stdout.readline().strip() == b"in a step"
        with dv.open_stream(url, "r", timeout=30) as steps:
            assert int(next(steps)["n"]) == 1
            producer.send_signal(signal.SIGKILL)
            with pytest.raises(dv.PeerLostError):
                next(steps)


def test_a_fortran_reader_survives_its_producer(streams: Path, url: str) -> None:
    with (
        subprocess.Popen(
            [streams, "hang", url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as producer,
        subprocess.Popen([streams, "survive", url], stdout=subprocess.PIPE) as reader,
    ):
        assert reader.stdout is not None
        assert reader.stdout.readline().strip() == b"step"
        producer.send_signal(signal.SIGKILL)
        assert reader.communicate(timeout=30)[0] == b"done\n"


def job(program: Path, ranks: int, url: str) -> subprocess.Popen[bytes]:
    """Ranks of the MPI that the compiler's wrapper belongs to."""
    launcher = Path(building.tool("mpifort")).resolve().parent / "mpiexec"
    return subprocess.Popen(
        [launcher, "-n", str(ranks), program, url], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@pytest.mark.requires("mpifort")
def test_communicators_of_mpi_and_of_mpi_f08_say_who_takes_part(
    objects: Path, shm_url: str
) -> None:
    write = program(objects, "ranks_mpi", "mpifort")
    read = program(objects, "ranks_mpi_f08", "mpifort")
    with job(write, 3, shm_url) as writers, job(read, 2, shm_url) as readers:
        try:
            said = readers.communicate(timeout=60)[0], writers.communicate(timeout=60)[0]
        finally:
            readers.kill()
            writers.kill()
    assert said == (b"done\n", b"done\n")
    assert (readers.returncode, writers.returncode) == (0, 0)


def test_programs_are_built_with_one_line_of_pkg_config(shm_url: str, tmp_path: Path) -> None:
    building.run(
        "gfortran", "-J", tmp_path, "-o", tmp_path / "stores",
        *building.variable("fortran").split(), HERE / "stores.f90", *building.flags(),
    )  # fmt: skip
    run(tmp_path / "stores", "write", shm_url)


def test_no_array_is_copied_on_its_way_to_the_library(stores: Path, shm_url: str) -> None:
    """The programs are compiled so that the compiler's temporary arrays are told at run time."""
    ended = subprocess.run(
        [stores, "write", shm_url], capture_output=True, check=True, text=True, timeout=60
    )
    assert "array temporary" not in ended.stderr
