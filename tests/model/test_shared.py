"""The ranks of a node share the process that computes a model: answers, versions, refusals."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Barrier, Thread

import numpy as np
import pytest
from model.networks import Closure, inputs_of
from model.shared_ranks import PATIENCE, Rank, Server

import dovetail as dv
from dovetail import _native
from dovetail.model import CompiledModel, SharedModel
from dovetail.model.compiling import compiled_folder
from dovetail.transport.contract import Store

pytestmark = [pytest.mark.requires("compiler"), pytest.mark.timeout(300)]

UNTIL_ALL = 60
"""Seconds of `gather` after which a test has failed: each call waits for all ranks."""


@pytest.fixture
def shared(exported: Path, one_thread: CompiledModel) -> Iterator[SharedModel]:
    model = dv.load_model(exported, device="cpu", threads=1, shared=True, timeout=PATIENCE)
    assert isinstance(model, SharedModel)
    with model:
        yield model


def close_to(model: CompiledModel, batch: int, seed: int) -> Callable[[object], bool]:
    expected = model(*inputs_of(batch, seed))[0]
    return lambda found: np.allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 3, 20000])
def test_a_call_by_itself_gives_the_bits_of_this_process(
    batch: int, shared: SharedModel, one_thread: CompiledModel
) -> None:
    inputs = inputs_of(batch)
    expected = one_thread(*inputs)
    assert [one.tobytes() for one in shared(*inputs)] == [one.tobytes() for one in expected]
    room = np.empty_like(expected[0]), np.empty_like(expected[1])
    assert shared.run(*inputs, out=room) is room
    assert room[0].tobytes() == expected[0].tobytes()
    assert shared.statistics()[:3] == (2, 0, 1)


def test_wrong_arrays_are_refused_as_in_this_process(
    shared: SharedModel, one_thread: CompiledModel
) -> None:
    x, scale, shift = inputs_of(4)
    wrong = [(x,), (x[:, :2], scale, shift), (x.astype(float), scale, shift), (x[:3], scale, shift)]
    for inputs in wrong:
        with pytest.raises(ValueError, match=r"the (model|input)") as here:
            one_thread(*inputs)
        with pytest.raises(ValueError, match=r"the (model|input)") as there:
            shared(*inputs)
        assert str(there.value) == str(here.value)
    with pytest.raises(ValueError, match="the array for the output output0 is"):
        shared.run(x, scale, shift, out=(np.empty((5, 4), "f4"), np.empty(5, "f4")))
    assert shared(x, scale, shift)[0].shape == (4, 4)


def test_ranks_that_start_together_share_one_process(
    ranks: Callable[..., list[Rank]],
) -> None:
    several = ranks(4)
    numbers = {rank.does("statistics")["process"] for rank in several}
    assert len(numbers) == 1
    assert several[0].does("statistics")["ranks"] == 4
    server = Server(several[0])
    for rank in several[:-1]:
        rank.does("close")
    assert several[-1].does("run", 2, 0)
    several[-1].does("close")
    assert server.ends()
    assert not server.place.exists()
    server.close()


def test_calls_of_several_ranks_are_one_run_of_the_model(
    ranks: Callable[..., list[Rank]], one_thread: CompiledModel
) -> None:
    several = ranks(3, gather=UNTIL_ALL)
    for step in range(5):
        for number, rank in enumerate(several):
            rank.ask("run", number + 1, step)
        for number, rank in enumerate(several):
            assert close_to(one_thread, number + 1, step)(rank.output())
    for rank in several:
        statistics = rank.does("statistics")
        assert (statistics["calls"], statistics["joined"], statistics["runs"]) == (5, 5, 5)


def test_a_rank_that_calls_no_more_is_waited_for_once(
    ranks: Callable[..., list[Rank]], one_thread: CompiledModel
) -> None:
    busy, _ = ranks(2, gather=0.2)
    for step in range(3):
        busy.ask("run", 2, step)
        assert close_to(one_thread, 2, step)(busy.output())
    assert busy.does("statistics")["joined"] == 0


def test_without_gathering_each_call_is_computed_by_itself(
    ranks: Callable[..., list[Rank]], one_thread: CompiledModel
) -> None:
    several = ranks(3, gather=None)
    for rank in several:
        rank.ask("run", 7, 1)
    expected = one_thread(*inputs_of(7, 1))[0]
    for rank in several:
        assert rank.output().tobytes() == expected.tobytes()
    assert several[0].does("statistics")["joined"] == 0
    assert several[0].does("statistics")["runs"] == 3


def test_each_rank_is_in_its_own_version_until_it_refreshes(
    ranks: Callable[..., list[Rank]], store: Store, one_thread: CompiledModel
) -> None:
    early, late = ranks(2, gather=UNTIL_ALL)
    dv.publish_model(store, "closure", Closure(1))
    assert early.does("follow", store.url) == late.does("follow", store.url) == 1
    dv.publish_model(store, "closure", Closure(2))
    assert early.does("refresh") == 2
    own = dv.FollowedModel(store, "closure", one_thread)
    own.refresh()
    second = own(*inputs_of(4))[0]
    for rank in (early, late):  # together, and yet each in its version
        rank.ask("run", 4, 0)
    assert early.output().tobytes() == second.tobytes()
    assert late.output().tobytes() != second.tobytes()
    assert early.does("statistics")["joined"] == 0
    assert late.does("refresh") == 2
    for rank in (early, late):
        rank.ask("run", 4, 0)
    for rank in (early, late):
        np.testing.assert_allclose(rank.output(), second, rtol=1e-4, atol=1e-5)
        assert rank.does("statistics")["joined"] == 1


def test_weights_that_do_not_fit_are_refused(shared: SharedModel) -> None:
    before = shared(*inputs_of(2))[0]
    with pytest.raises(ValueError, match="the weight layers.0.weight is missing"):
        shared.replace_weights({"other": np.zeros(3)})
    assert shared(*inputs_of(2))[0].tobytes() == before.tobytes()


@pytest.mark.soak
def test_a_model_whose_samples_depend_on_each_other_is_never_joined(tmp_path: Path) -> None:
    import torch

    class Centred(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x - x.mean(0)

    path = dv.export_model(Centred(), torch.zeros(2, 3), tmp_path / "centred.pt2")
    models = [
        dv.load_model(path, device="cpu", threads=1, shared=True, gather=UNTIL_ALL)
        for _ in range(2)
    ]
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    begin, results = Barrier(2), {}

    def call(number: int) -> None:
        begin.wait(PATIENCE)
        results[number] = models[number](x + 100 * number)

    threads = [Thread(target=call, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    for number in range(2):
        np.testing.assert_allclose(results[number], x - x.mean(0), atol=1e-4)
        model = models[number]
        assert isinstance(model, SharedModel)
        assert model.statistics().joined == 0
        model.close()


def test_what_cannot_be_shared_is_refused(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"")
    with pytest.raises(dv.CapabilityError, match="cannot be shared by the ranks"):
        dv.load_model(tmp_path / "net.onnx", shared=True)
    with pytest.raises(ValueError, match="gather=-1"):
        dv.load_model(exported, shared=True, gather=-1)
    with pytest.raises(ValueError, match="fallback='physics'"):
        dv.load_model(exported, shared=True, fallback="physics")  # type: ignore[arg-type]


def test_a_server_that_cannot_start_says_why(
    exported: Path, one_thread: CompiledModel, tmp_path: Path
) -> None:
    rank = Rank(exported, environment={"DOVETAIL_LIBTORCH": "/nowhere"})
    assert "cannot be started: there is no libtorch_cpu.so" in rank.error()
    rank.end()
    folder = compiled_folder(exported, device="cpu", threads="one")
    damaged = Path(shutil.copytree(folder, tmp_path / "damaged"))
    (damaged / "model.so").write_bytes(b"cut")
    with pytest.raises(dv.CorruptDataError, match=r"cannot be started: .*model\.so has 3 bytes"):
        dv.load_model(damaged, threads=1, shared=True, timeout=PATIENCE)
    with pytest.raises(dv.TransportTimeoutError, match="was not ready within 0"):
        dv.load_model(exported, device="cpu", threads=1, shared=True, gather=1e-3, timeout=0)


def test_a_forked_child_is_told_to_load_its_own(ranks: Callable[..., list[Rank]]) -> None:
    (rank,) = ranks(1)
    assert "TransportClosedError: a model that is shared does not survive" in rank.does("fork")
    assert rank.does("run", 1, 0)


def test_rubbish_on_its_socket_harms_no_rank(
    ranks: Callable[..., list[Rank]], one_thread: CompiledModel
) -> None:
    (rank,) = ranks(1)
    server = Server(rank)
    for rubbish in (b"", b"x", b"\0" * 100, b"\xff" * 1176, b"\xff" * 100_000):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as intruder:
            intruder.settimeout(PATIENCE)
            intruder.connect(str(server.place / "socket"))
            # It may have been shown the door already.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                if rubbish:
                    intruder.send(rubbish)
                with (server.place / "log").open() as file:  # no memory of ours
                    memory = b"\1\0\0\0\1\0\0\0" + bytes(1168)
                    socket.send_fds(intruder, [memory], [file.fileno()])
    rank.ask("run", 3, 0)
    assert close_to(one_thread, 3, 0)(rank.output())
    assert rank.does("statistics")["process"] == server.number
    server.close()


def test_neighbours_share_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def devices(ranks: int, count: int) -> list[int]:
        monkeypatch.setenv("MPI_LOCALNRANKS", str(ranks))
        found = []
        for rank in range(ranks):
            monkeypatch.setenv("MPI_LOCALRANKID", str(rank))
            found.append(_native.device_of_rank(count))
        return found

    assert devices(8, 4) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert devices(3, 2) == [0, 0, 1]
    assert devices(2, 4) == [0, 1]
    assert devices(5, 1) == [0] * 5


@pytest.mark.hardware
def test_ranks_share_a_gpu(exported: Path) -> None:
    with (
        dv.load_model(exported, device="cuda") as own,
        dv.load_model(exported, device="cuda", shared=True, gather=None) as shared,
    ):
        inputs = inputs_of(64)
        for here, there in zip(own(*inputs), shared(*inputs), strict=True):
            np.testing.assert_allclose(
                np.asarray(there, float), np.asarray(here, float), rtol=1e-4, atol=1e-5
            )


@pytest.mark.requires("mpi")
@pytest.mark.parametrize("count", [1, 3])
def test_the_ranks_of_an_mpi_program_share_it(
    count: int, exported: Path, one_thread: CompiledModel
) -> None:
    mpiexec = Path(sys.executable).with_name("mpiexec")
    program = Path(__file__).with_name("shared_mpi.py")
    done = subprocess.run(
        [str(mpiexec), "-n", str(count), sys.executable, str(program), str(exported)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"ranks {count} runs 20" in done.stdout
