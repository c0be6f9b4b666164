"""TorchScript and ONNX files behind the same handle."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import dovetail as dv

pytestmark = pytest.mark.requires("torch")


@pytest.fixture
def script(tmp_path: Path) -> Path:
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is deprecated
        torch.jit.trace(net, torch.zeros(1, 3)).save(str(tmp_path / "net.pt"))
    x = np.ones((4, 3), np.float32)
    np.save(tmp_path / "wanted.npy", net(torch.from_numpy(x)).detach().numpy())
    return tmp_path / "net.pt"


@pytest.fixture
def onnx_file(tmp_path: Path) -> Path:
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "x"], ["y"])],
        "square",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "square.onnx")
    return tmp_path / "square.onnx"


def test_a_torchscript_file_is_run_by_torch(script: Path) -> None:
    import torch

    model = dv.load_model(script, device="cpu", threads=1)
    x = np.ones((4, 3), np.float32)
    wanted = np.load(script.parent / "wanted.npy")
    np.testing.assert_allclose(model(x), wanted, rtol=1e-6)
    out = np.zeros((4, 2), np.float32)
    assert model.run(x, out=out) is out
    np.testing.assert_array_equal(out, model(x))
    assert isinstance(model(torch.from_numpy(x)), torch.Tensor)


def test_torchscript_that_fails_says_why(script: Path) -> None:
    model = dv.load_model(script, device="cpu", threads=1)
    with pytest.raises(dv.ModelFailedError, match="mat1 and mat2 shapes cannot be multiplied"):
        model(np.ones((4, 5), np.float32))


@pytest.mark.requires("onnx")
def test_an_onnx_file_is_run_by_onnx_runtime(onnx_file: Path) -> None:
    model = dv.load_model(onnx_file, device="cpu", threads=1)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(model(x), x * x)
    out = np.zeros_like(x)
    model.run(x, out=out)
    np.testing.assert_array_equal(out, x * x)
    with pytest.raises(ValueError, match="takes 1 inputs and was given 2: it takes x"):
        model(x, x)
    with pytest.raises(ValueError, match="refused its inputs"):
        model(np.zeros((2, 4), np.float32))
    with pytest.raises(ValueError, match=r"array given for it is float64 \(2, 3\)"):
        model.run(x, out=np.zeros((2, 3)))


@pytest.mark.requires("onnx")
def test_a_damaged_onnx_file_is_said(onnx_file: Path) -> None:
    onnx_file.write_bytes(onnx_file.read_bytes()[:40])
    with pytest.raises(dv.CorruptDataError, match="cannot be read as ONNX"):
        dv.load_model(onnx_file)
