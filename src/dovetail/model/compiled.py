"""An exported model, compiled for this machine and called in this process by the native core."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from dovetail import _native
from dovetail.data.dtypes import BFLOAT16, COMPLEX128, code_of, dtype_of
from dovetail.errors import TransportClosedError
from dovetail.model.installed import torch_folder
from dovetail.model.specification import DESCRIPTION


class ArraySpec(NamedTuple):
    """An array that a model takes or gives."""

    dtype: np.dtype[Any]
    shape: tuple[int | str | None, ...]
    """Extents as numbers, or as names where they vary: the same name is the same number in all
    arrays of a call. ``None`` is known only after it."""


class CompiledModel:
    """A model in this process. :func:`~dovetail.load_model` makes them.

    Calls copy no input, and give the GIL up; calls from several threads take turns.
    """

    def __init__(self, native: Any, folder: Path) -> None:
        self._native: Any = native
        self._folder = folder
        self.inputs: Mapping[str, ArraySpec] = _specs(native.inputs)
        """What it takes, by name, in order."""
        self.outputs: Mapping[str, ArraySpec] = _specs(native.outputs)
        """What it gives."""
        self.weights: Mapping[str, ArraySpec] = _specs(native.weights)
        """What can be replaced by a published version, as :class:`~dovetail.FollowedModel` does."""
        self.device: str = native.device
        """``cpu``, ``cuda`` or ``xpu``."""

    @classmethod
    def load(cls, folder: Path, *, device_index: int, most_threads: int) -> Self:
        """The model in a folder that holds a compiled one."""
        return cls(_native.Model(str(folder), torch_folder(), device_index, most_threads), folder)

    def __call__(self, *inputs: Any) -> Any:
        """What :meth:`run` gives without `out`."""
        return self.run(*inputs)

    def run(self, *inputs: Any, out: Any = None) -> Any:
        """Call the model.

        Parameters
        ----------
        *inputs
            NumPy arrays or torch tensors of the dtypes and shapes that :attr:`inputs` says, in
            row-major order without gaps. None is copied, unless it lies on another device.
        out
            An array to answer into, or a tuple of them, one for each output. One copy is made.

        Returns
        -------
        array, or tuple of arrays
            `out`; or arrays of their own: NumPy arrays, or torch tensors if an input is one.

        Raises
        ------
        ValueError
            If an input or `out` has a wrong number, dtype, shape or order; the message names it.
        ModelFailedError
            If the computation itself fails; the message ends with torch's reason.
        """
        native = self._open()
        if out is None:
            results = native.run(inputs)
            if results is None:
                results = self._run_others(inputs)
            return results[0] if len(results) == 1 else results
        room = out if isinstance(out, tuple) else (out,)
        if not native.run_into(inputs, room) and not native.run_into(
            tuple(map(_as_buffer, inputs)), tuple(map(_as_buffer, room))
        ):
            raise _foreign((*inputs, *room))
        return out

    def replace_weights(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Replace all weights; each is copied. Not while another thread calls the model.

        Raises
        ------
        ValueError
            If one is missing, unknown, or of another shape or dtype.
        CapabilityError
            If the compiled code holds a weight that cannot be replaced.
        """
        self._open().replace_weights([_weight(name, array) for name, array in weights.items()])

    def another(self) -> CompiledModel:
        """Another instance, which shares the code and has weights of its own: those exported."""
        return CompiledModel(self._open().another(), self._folder)

    @property
    def boundless(self) -> frozenset[str]:
        """Weights that were not finite when the model was exported, as the masks of attention."""
        described = json.loads((self._folder / DESCRIPTION).read_text())
        return frozenset(
            weight["name"] for weight in described["weights"] if not weight.get("finite", True)
        )

    @property
    def calls(self) -> int:
        """How often it was called."""
        return int(self._open().calls)

    def close(self) -> None:
        """Give the weights' memory back. The code stays loaded."""
        self._native = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        takes = ", ".join(f"{name}: {_in_words(spec)}" for name, spec in self.inputs.items())
        gives = ", ".join(_in_words(spec) for spec in self.outputs.values())
        return f"<CompiledModel ({takes}) → {gives} on {self.device}>"

    def _open(self) -> Any:
        if self._native is None:
            raise TransportClosedError("the model was closed: load it again")
        return self._native

    def _run_others(self, inputs: tuple[Any, ...]) -> Any:
        results = self._open().run(tuple(map(_as_buffer, inputs)))
        if results is None:
            raise _foreign(inputs)
        named = [
            array.view(spec.dtype) if spec.dtype == BFLOAT16 else array
            for array, spec in zip(results, self.outputs.values(), strict=True)
        ]
        torch = sys.modules.get("torch")
        if torch is None or not any(isinstance(one, torch.Tensor) for one in inputs):
            return tuple(named)
        return tuple(
            torch.from_numpy(array).view(torch.bfloat16)
            if spec.dtype == BFLOAT16
            else torch.from_numpy(array)
            for array, spec in zip(results, self.outputs.values(), strict=True)
        )


def _as_buffer(array: Any) -> Any:
    """What the native core takes in place of an array that exports no buffer."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        tensor = array.detach()
        code = code_of_torch(tensor.dtype)
        if tensor.device.type != "cpu":
            if not tensor.is_contiguous():
                raise ValueError("a tensor has gaps, or another order: pass .contiguous() of it")
            return tensor.data_ptr(), code, list(tensor.shape)
        if code == "BF16":
            return tensor.view(torch.uint16).numpy(), code
        return tensor.numpy()
    if isinstance(array, np.ndarray) and array.dtype == BFLOAT16:
        return array.view(np.uint16), "BF16"
    return array


def code_of_torch(dtype: Any) -> str:
    """The name of a torch dtype in safetensors."""
    name = str(dtype).removeprefix("torch.")
    if name == "bfloat16":
        return "BF16"
    return "C128" if name == "complex128" else code_of(np.dtype(name))


def _foreign(arrays: Sequence[Any]) -> TypeError:
    kinds = ", ".join(type(array).__name__ for array in arrays)
    return TypeError(
        f"a model is called with NumPy arrays or torch tensors, and answers into writable ones; "
        f"not with {kinds}"
    )


def _weight(name: str, array: Any) -> tuple[str, str, list[int], Any]:
    shape = list(array.shape)
    dense = np.ascontiguousarray(array)
    if dense.dtype == COMPLEX128:
        return name, "C128", shape, dense
    code = code_of(dense.dtype)
    return name, code, shape, dense.view(np.uint16) if code == "BF16" else dense


def _specs(entries: list[tuple[str, str, tuple[Any, ...]]]) -> dict[str, ArraySpec]:
    return {
        name: ArraySpec(COMPLEX128 if code == "C128" else dtype_of(code), shape)
        for name, code, shape in entries
    }


def _in_words(spec: ArraySpec) -> str:
    extents = ", ".join("?" if extent is None else str(extent) for extent in spec.shape)
    return f"{spec.dtype}[{extents}]"
