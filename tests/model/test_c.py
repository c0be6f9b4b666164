"""A solver in C calls the same models: the same bits, the same refusals, the same swap."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from model.networks import Closure, eager, inputs_of
from model.solver import Solver, bytes_of

import dovetail as dv
from dovetail import native
from dovetail.model import CompiledModel, InputRange, SharedModel
from dovetail.model.compiling import compiled_folder
from dovetail.transport.contract import Store

pytestmark = [pytest.mark.requires("compiler"), pytest.mark.timeout(300)]


@pytest.fixture
def solver(started: Callable[..., Solver], exported: Path, one_thread: CompiledModel) -> Solver:
    """It, with the model loaded."""
    solver = started()
    assert solver(f"load {exported} 1 cpu") == "ok:"
    return solver


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_c_and_python_give_the_same_bits(
    batch: int, solver: Solver, one_thread: CompiledModel
) -> None:
    inputs = inputs_of(batch)
    assert solver.run(inputs) == ("ok:", bytes_of(one_thread(*inputs)))


def test_a_column_major_array_is_taken_with_its_axes_reversed(
    solver: Solver, one_thread: CompiledModel
) -> None:
    inputs = inputs_of(5)
    assert solver.run(inputs, column_major=True) == ("ok:", bytes_of(one_thread(*inputs)))


def test_it_says_what_it_takes(solver: Solver) -> None:
    assert solver("describe") == "3 2 x:float32,-1,8 scale:bfloat16,-1,1 shift:int64,-1"


def test_wrong_arrays_get_a_status_and_a_sentence(solver: Solver) -> None:
    inputs = inputs_of(4)
    said, made = solver.run(inputs, count=2)
    assert said.startswith("argument: the model takes 3 inputs and was given 2: it takes x: float")
    said, made = solver.run(inputs, rows=5)
    assert said.startswith("argument: the array for the output output0 is float32 (5, 4), and")
    assert not any(made)
    assert solver.run(inputs)[0] == "ok:"


def test_a_model_that_cannot_be_loaded_gets_a_status_and_a_sentence(
    started: Callable[..., Solver], exported: Path, one_thread: CompiledModel, tmp_path: Path
) -> None:
    solver = started()
    assert solver("load /nowhere.pt2 1 cpu").startswith("system: cannot load the model")
    (tmp_path / "cut.pt2").write_bytes(exported.read_bytes()[:1000])
    assert solver(f"load {tmp_path}/cut.pt2 1 cpu").startswith("corrupt: ")
    assert "there is no device cuda:7" in solver(f"load {exported} 1 cuda:7")
    assert solver(f"load {exported} 1 abacus").startswith("argument: device='abacus'")
    assert solver("close").startswith("argument: ")
    assert solver(f"load {exported} 1 cpu") == "ok:"
    assert solver("close") == "ok:"
    assert solver("close").startswith("closed: the model is closed")


def test_without_a_python_or_a_torch_it_says_what_to_do(
    started: Callable[..., Solver], exported: Path, one_thread: CompiledModel
) -> None:
    solver = started(DOVETAIL_PYTHON="/nowhere/python")
    assert "cannot be run: No such file" in solver(f"load {exported} 1 cpu")
    folder = compiled_folder(exported, device="cpu", threads="one")
    assert solver(f"load {folder} 1 cpu").startswith("unavailable: the program /nowhere/python")
    misled = started(DOVETAIL_LIBTORCH="/nowhere")
    assert "no libtorch_cpu.so in DOVETAIL_LIBTORCH=/nowhere" in misled(f"load {folder} 1 cpu")


def test_a_compiled_folder_needs_no_python(
    started: Callable[..., Solver], exported: Path, one_thread: CompiledModel
) -> None:
    import torch

    solver = started(DOVETAIL_PYTHON="/nowhere", DOVETAIL_LIBTORCH=str(Path(torch.__file__).parent))
    folder = compiled_folder(exported, device="cpu", threads="one")
    assert solver(f"load {folder} 1 cpu") == "ok:"
    inputs = inputs_of(2)
    assert solver.run(inputs) == ("ok:", bytes_of(one_thread(*inputs)))


def test_the_solvers_openmp_keeps_its_threads(
    started: Callable[..., Solver], exported: Path, two_threads: CompiledModel
) -> None:
    solver = started()
    assert solver("openmp 3") == "3 3"
    assert solver(f"load {exported} 2 cpu") == "ok:"
    for batch in (1, 3000):
        assert solver.run(inputs_of(batch))[0] == "ok:"
        assert solver("openmp 0") == "3 3"


def test_a_published_version_is_taken_between_steps(
    solver: Solver, store: Store, one_thread: CompiledModel
) -> None:
    inputs = inputs_of(9)
    assert solver("refresh").startswith("argument: the model") is True
    assert solver(f"follow {store.url} closure") == "ok:"
    assert solver("refresh") == "taken 0"
    for seed in (1, 2, 3, 4):
        dv.publish_model(store, "closure", Closure(seed))
        assert solver("refresh") == "taken 1"
        assert solver("refresh") == "taken 0"
        said, made = solver.run(inputs)
        assert said == "ok:"
        first = np.frombuffer(made[: 9 * 16], np.float32).reshape(9, 4)
        np.testing.assert_allclose(first, eager(Closure(seed), inputs)[0], rtol=1e-5, atol=1e-5)
        python = dv.FollowedModel(store, "closure", one_thread)
        python.refresh()
        assert made == bytes_of(python(*inputs))
    assert "version 4 taken 4 refused 0" in solver("statistics")


def test_a_version_that_does_not_fit_is_refused_once(solver: Solver, store: Store) -> None:
    import torch

    inputs = inputs_of(2)
    assert solver(f"follow {store.url} closure") == "ok:"
    dv.publish_model(store, "closure", Closure(1))
    assert solver("refresh") == "taken 1"
    before = solver.run(inputs)
    dv.publish_model(store, "closure", torch.nn.Linear(3, 3))
    assert "version of the model 'closure' is not taken: the weight" in solver("refresh")
    assert solver("refresh") == "taken 0"
    broken = Closure(2)
    broken.layers[4].bias.data[1] = float("nan")
    dv.publish_model(store, "closure", broken)
    assert "layers.4.bias holds values that are not finite; version 1" in solver("refresh")
    store.put("models/closure", np.zeros(3))
    assert solver("refresh").startswith("corrupt: a version of the model")
    assert solver.run(inputs) == before
    assert "version 1 taken 1 refused 3" in solver("statistics")


def test_the_guard_leaves_it_to_the_physics(solver: Solver, store: Store) -> None:
    inputs = inputs_of(4)
    assert solver("guard -9 9 8") == "ok:"
    assert solver.run(inputs)[0] == "ok:"
    inputs[0][2, 3] = 50
    said, made = solver.run(inputs)
    assert said == "fall back"
    assert not any(made)
    inputs[0][2, 3] = np.nan
    assert solver.run(inputs)[0] == "fall back"
    assert solver("guard 0 0 0") == "ok:"  # outputs alone
    said, made = solver.run(inputs)
    assert said == "fall back"
    assert not any(made)
    assert "calls 4 fallbacks 3 range 2 finite 1" in solver("statistics")
    assert solver("guard 9 -9 8").startswith("argument: the bounds of channel 0")
    assert solver("guard -9 9 7") == "ok:"
    assert solver.run(inputs_of(1))[0].startswith("argument: the guard bounds 7 channels")
    # What was published with a version goes before.
    bounds = InputRange(np.full(8, -1e-9), np.full(8, 1e-9))
    dv.publish_model(store, "closure", Closure(1), input_range=bounds)
    assert solver(f"follow {store.url} closure") == "ok:"
    assert solver("refresh") == "taken 1"
    assert solver.run(inputs_of(1))[0] == "fall back"


def test_the_program_needs_no_torch_to_be_built(program: Path) -> None:
    assert shutil.which("readelf")
    for one in (program, native.library_directory() / native.LIBRARY):
        needed = subprocess.run(
            ["readelf", "-d", one], capture_output=True, text=True, check=True, timeout=30
        ).stdout
        assert "libtorch" not in needed
        assert "libpython" not in needed


def test_solvers_share_the_process_that_computes(
    started: Callable[..., Solver], exported: Path, one_thread: CompiledModel, store: Store
) -> None:
    inputs = inputs_of(4)
    first, second = started(), started()
    for solver in (first, second):
        assert solver(f"share {exported} 1 -1 100") == "ok:"
        assert solver.run(inputs) == ("ok:", bytes_of(one_thread(*inputs)))
    # What one refreshes is another's only when that one does.
    assert first(f"follow {store.url} closure") == "ok:"
    dv.publish_model(store, "closure", Closure(1))
    assert first("refresh") == "taken 1"
    python = dv.FollowedModel(store, "closure", one_thread)
    python.refresh()
    assert first.run(inputs) == ("ok:", bytes_of(python(*inputs)))
    assert second.run(inputs) == ("ok:", bytes_of(one_thread(*inputs)))
    # The guard is each one's own.
    assert second("guard -9 9 8") == "ok:"
    inputs[0][2, 3] = 50
    assert second.run(inputs)[0] == "fall back"
    assert first.run(inputs)[0] == "ok:"
    said, _ = first.run(inputs, rows=5)
    assert said.startswith("argument: the array for the output output0 is float32 (5, 4), and")
    assert first("close") == "ok:"
    assert second.run(inputs_of(2))[0] == "ok:"


def test_a_server_that_is_killed_is_a_status_or_computed_in_process(
    started: Callable[..., Solver], exported: Path, one_thread: CompiledModel, tmp_path: Path
) -> None:
    inputs = inputs_of(4)
    failing, going_on = started(), started()
    assert failing(f"share {exported} 1 0 100") == "ok:"
    assert going_on(f"share {exported} 2 0 100") == "ok:"
    with dv.load_model(exported, device="cpu", threads=1, shared=True) as model:
        assert isinstance(model, SharedModel)
        assert model.statistics().ranks == 3
        os.kill(model.statistics().process, signal.SIGKILL)
    assert failing.run(inputs)[0].startswith("lost: the model server of this node (process")
    assert going_on.run(inputs) == ("ok:", bytes_of(one_thread(*inputs)))
    assert going_on.run(inputs) == ("ok:", bytes_of(one_thread(*inputs)))
    said = (tmp_path / "stderr").read_text().splitlines()
    assert [line for line in said if "is computed in this process from now on" in line] == said
    assert len(said) == 1
    assert failing(f"share {exported} 3 0 100").startswith("argument: shared is 3: it is 0, ")
    assert failing(f"share {exported} 1 99 100").startswith("argument: gather is at most 60")
