"""Files of other exporters behind the same handle: TorchScript (legacy) and ONNX."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dovetail.data.arrays import host_array
from dovetail.errors import CorruptDataError, EngineUnavailableError, ModelFailedError


class TorchScriptModel:
    """A TorchScript file, run by torch. PyTorch deprecates it: export the module anew if you can.

    It is called as a :class:`CompiledModel` is; its inputs are checked by torch alone.
    """

    def __init__(self, path: Path, *, device: str, most_threads: int) -> None:
        try:
            import torch
        except ImportError as error:
            raise EngineUnavailableError(
                f"{path} is TorchScript, and torch is not installed: pip install torch"
            ) from error
        self._torch: Any = torch
        self._threads = most_threads
        self.device = device
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is deprecated
            try:
                module = torch.jit.load(str(path), map_location=device)
                module.eval()
                self._module: Any = torch.jit.freeze(module)
            except RuntimeError as error:
                raise CorruptDataError(
                    f"{path} cannot be read as TorchScript: {_first_line(error)}"
                ) from error

    def __call__(self, *inputs: Any) -> Any:
        return self.run(*inputs)

    def run(self, *inputs: Any, out: Any = None) -> Any:
        """Call the model, as :meth:`CompiledModel.run`."""
        torch = self._torch
        tensors = [torch.as_tensor(one).detach().to(self.device) for one in inputs]
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            with torch.no_grad():
                answer = self._module(*tensors)
        except RuntimeError as error:
            raise ModelFailedError(f"the TorchScript model failed: {_last_line(error)}") from error
        finally:
            torch.set_num_threads(before)
        answers = answer if isinstance(answer, tuple | list) else (answer,)
        as_tensors = any(isinstance(one, torch.Tensor) for one in inputs)
        return _given(answers if as_tensors else tuple(map(host_array, answers)), out)


class OnnxModel:
    """An ONNX file, run by ONNX Runtime: for sites without torch."""

    def __init__(self, path: Path, *, device: str, most_threads: int) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise EngineUnavailableError(
                f"{path} is run by ONNX Runtime, which is not installed: pip install onnxruntime"
            ) from error
        kind = device.partition(":")[0]
        provider = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}
        known = onnxruntime.get_available_providers()
        if kind == "auto":
            kind = "cuda" if provider["cuda"] in known else "cpu"
        if provider.get(kind) not in known:
            raise EngineUnavailableError(
                f"this ONNX Runtime cannot compute on {device}: it has {', '.join(known)}. Load "
                f"the model with device='cpu'"
            )
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = most_threads
        settings.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(path), settings, providers=[provider[kind]]
            )
        except Exception as error:
            raise CorruptDataError(f"{path} cannot be read as ONNX: {error}") from error
        self._names = [one.name for one in self._session.get_inputs()]
        self.device = kind

    def __call__(self, *inputs: Any) -> Any:
        return self.run(*inputs)

    def run(self, *inputs: Any, out: Any = None) -> Any:
        """Call the model, as :meth:`CompiledModel.run`; it gives NumPy arrays."""
        if len(inputs) != len(self._names):
            raise ValueError(
                f"the model takes {len(self._names)} inputs and was given {len(inputs)}: it takes "
                f"{', '.join(self._names)}"
            )
        arrays: Mapping[str, Any] = {
            name: host_array(one) for name, one in zip(self._names, inputs, strict=True)
        }
        try:
            answers = self._session.run(None, arrays)
        except Exception as error:
            raise ValueError(f"the ONNX model refused its inputs: {error}") from error
        return _given(tuple(answers), out)


def _given(answers: Any, out: Any) -> Any:
    """The answers, or `out` with them copied into it."""
    if out is None:
        return answers[0] if len(answers) == 1 else tuple(answers)
    room = out if isinstance(out, tuple) else (out,)
    if len(room) != len(answers):
        raise ValueError(
            f"the model gives {len(answers)} outputs, and there is room for {len(room)}"
        )
    for place, answer in zip(room, answers, strict=True):
        if tuple(place.shape) != tuple(answer.shape) or str(place.dtype) != str(answer.dtype):
            raise ValueError(
                f"an output is {answer.dtype} {tuple(answer.shape)}, and the array given for it is "
                f"{place.dtype} {tuple(place.shape)}: give one like the output"
            )
    for place, answer in zip(room, answers, strict=True):
        place[...] = answer if isinstance(place, np.ndarray) else answer.clone()
    return out


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
