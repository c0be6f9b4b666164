"""TorchScript files in solvers: the same options, statuses, statistics, and bits as in Python."""

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clients import building
from model.networks import Closure, inputs_of, tensors_of
from model.solver import Solver, bytes_of
from numpy.typing import NDArray

import dovetail as dv
from dovetail import native
from dovetail.model.compiling import compiled_folder
from dovetail.transport.contract import Store

pytestmark = [pytest.mark.requires("compiler"), pytest.mark.timeout(600)]


class Counting(torch.nn.Module):
    """Takes what is no tensor."""

    def forward(self, x: torch.Tensor, count: int) -> torch.Tensor:
        return x * count


def traced(module: Any, inputs: tuple[Any, ...], path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is deprecated
        torch.jit.trace(module.eval(), inputs).save(str(path))
    return path


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("script") / "closure.pt"
    return traced(Closure(0), tensors_of(inputs_of(2)), path)


@pytest.fixture
def solver(started: Callable[..., Solver], script: Path) -> Solver:
    solver = started()
    assert solver(f"load {script} 1 cpu") == "ok:"
    return solver


def in_python(script: Path, inputs: tuple[NDArray[Any], ...]) -> bytes:
    answers = dv.load_model(script, device="cpu", threads=1)(*tensors_of(inputs))
    return bytes_of(tuple(one.contiguous().view(torch.uint8).numpy() for one in answers))


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_c_and_python_give_the_same_bits(batch: int, solver: Solver, script: Path) -> None:
    inputs = inputs_of(batch)
    assert solver.run(inputs) == ("ok:", in_python(script, inputs))
    assert solver.run(inputs, column_major=True) == ("ok:", in_python(script, inputs))


def test_what_it_takes_is_known_by_name_alone(solver: Solver) -> None:
    assert solver("describe") == "3 2 x:none scale:none shift:none"


def test_wrong_arrays_get_a_status_and_a_sentence(solver: Solver) -> None:
    inputs = inputs_of(4)
    assert solver.run(inputs, count=2)[0].startswith("argument: the model takes 3 inputs and was")
    said, made = solver.run(inputs, rows=5)
    assert said.startswith("argument: the output output0 is float32 (4, 4), and the array given")
    assert not any(made)
    assert solver.run(inputs)[0] == "ok:"


def test_a_damaged_file_gets_a_status_and_a_sentence(
    started: Callable[..., Solver], script: Path, tmp_path: Path
) -> None:
    solver = started()
    (tmp_path / "cut.pt").write_bytes(script.read_bytes()[:1000])
    assert solver(f"load {tmp_path}/cut.pt 1 cpu").startswith("corrupt: ")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is deprecated
        counting = torch.jit.script(Counting())
    counting.save(str(tmp_path / "counting.pt"))
    said = solver(f"load {tmp_path}/counting.pt 1 cpu")
    assert said.startswith("unsupported: ")
    assert "what is no tensor" in said
    (tmp_path / "net.onnx").write_bytes(b"whatever")
    assert solver(f"load {tmp_path}/net.onnx 1 cpu").startswith("unavailable: ")


def test_guards_count_and_weights_stay(solver: Solver, store: Store) -> None:
    inputs = inputs_of(4)
    assert solver("guard -9 9 8") == "ok:"
    inputs[0][2, 3] = 50
    assert solver.run(inputs)[0] == "fall back"
    assert "calls 1 fallbacks 1 range 1" in solver("statistics")
    assert solver(f"follow {store.url} closure") == "ok:"
    dv.publish_model(store, "closure", Closure(1))
    assert "is TorchScript, whose weights cannot be replaced" in solver("refresh")
    assert solver("refresh") == "taken 0"


def test_a_folder_made_beforehand_needs_no_python(
    started: Callable[..., Solver], script: Path
) -> None:
    folder = compiled_folder(script, device="cpu", threads="one")
    solver = started(DOVETAIL_PYTHON="/nowhere", DOVETAIL_LIBTORCH=str(Path(torch.__file__).parent))
    assert solver(f"load {folder} 1 cpu") == "ok:"
    inputs = inputs_of(2)
    assert solver.run(inputs) == ("ok:", in_python(script, inputs))


@pytest.mark.requires("gfortran")
def test_fortran_and_python_give_the_same_bits(script: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 4))
    path = traced(net, (torch.zeros(1, 8),), tmp_path / "net.pt")
    (tmp_path / "cut.pt").write_bytes(path.read_bytes()[:1000])
    source = Path(__file__).parents[1] / "fortran" / "scripts.f90"
    sources = building.run(
        building.tool("pkg-config"), "--variable=fortran", "dovetail",
        PKG_CONFIG_PATH=os.fspath(native.pkgconfig_directory()),
    ).split()  # fmt: skip
    building.run(
        "gfortran", "-O1", "-g", "-J", tmp_path, "-o", tmp_path / "scripts", *sources, source,
        *building.flags(),
    )  # fmt: skip
    x = np.random.default_rng(0).standard_normal((5, 8), dtype=np.float32)
    x.tofile(tmp_path / "inputs")
    said = building.run(
        tmp_path / "scripts", tmp_path, 5, timeout=500, DOVETAIL_PYTHON=sys.executable
    )
    assert said == "done\n"
    wanted = dv.load_model(path, device="cpu", threads=1)(x)
    assert (tmp_path / "outputs").read_bytes() == wanted.tobytes()


def test_a_script_is_not_shared(started: Callable[..., Solver], script: Path) -> None:
    said = started()(f"share {script} 1 -1 100")
    assert said.startswith("capability: ")
    assert "cannot be shared by the ranks of a node" in said
