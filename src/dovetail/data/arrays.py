"""From what users hold (NumPy, torch, DLPack, buffers, numbers) to host arrays in NumPy."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dovetail.data.dtypes import BFLOAT16, COMPLEX128, SUPPORTED, code_of
from dovetail.errors import UnsupportedDataError

Attributes = Mapping[str, Any]
"""JSON values under text keys."""

Value = Any
"""An array (NumPy, torch, DLPack, buffer), a number, a mapping of names to arrays, a Dataset."""

_DLPACK_CPU = 1


def host_array(value: Any) -> NDArray[Any]:
    """`value` as a NumPy array on the host, of a supported dtype, contiguous in C or F order.

    Copies nothing that is already such an array. Copies once: device arrays, non-contiguous
    and byte-swapped ones, lists and numbers.

    Raises
    ------
    UnsupportedDataError
        For ragged lists, object and text arrays, and dtypes without a safetensors form.
    """
    array = value if type(value) is np.ndarray else _from_foreign(value)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype != COMPLEX128:
        code_of(array.dtype)
    if not (array.flags.c_contiguous or array.flags.f_contiguous):
        array = np.ascontiguousarray(array)
    return array


def _from_foreign(value: Any) -> NDArray[Any]:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _from_torch(torch, value)
    if isinstance(value, np.ndarray):
        return value.view(np.ndarray)
    if hasattr(value, "__dlpack__") and hasattr(value, "__dlpack_device__"):
        return _from_dlpack(value)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise UnsupportedDataError(
            f"a {type(value).__name__} could not be made an array ({error}). A ragged list has "
            f"no array form: pad it, or put its rows under names of their own"
        ) from error
    if array.dtype.kind in "OSUVMm" and array.dtype != BFLOAT16:
        raise UnsupportedDataError(
            f"a {type(value).__name__} becomes an array of {array.dtype}, which cannot be "
            f"stored; supported are {SUPPORTED}. Text and objects belong into attrs, as JSON"
        )
    return array


def torch_tensor(array: NDArray[Any]) -> Any:
    """A torch tensor of the memory of a writable array."""
    import torch

    if array.dtype == BFLOAT16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _from_torch(torch: Any, tensor: Any) -> NDArray[Any]:
    if tensor.layout != torch.strided:
        raise UnsupportedDataError(
            f"a torch tensor of layout {tensor.layout} cannot be stored; call .to_dense() first"
        )
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    if tensor.dtype == torch.bfloat16:
        # bfloat16 has neither a DLPack nor a buffer form in NumPy: it crosses as its bits.
        bits: NDArray[Any] = tensor.view(torch.int16).numpy()
        return bits.view(BFLOAT16)
    try:
        array: NDArray[Any] = tensor.numpy()
    except (TypeError, RuntimeError) as error:
        raise UnsupportedDataError(
            f"a torch tensor of {tensor.dtype} cannot be stored; supported are {SUPPORTED}"
        ) from error
    return array


def _from_dlpack(value: Any) -> NDArray[Any]:
    try:
        if value.__dlpack_device__()[0] == _DLPACK_CPU:
            return np.from_dlpack(value)
        if hasattr(value, "get"):  # CuPy
            return np.asarray(value.get())
        return np.asarray(value)
    except (TypeError, RuntimeError, BufferError, ValueError) as error:
        raise UnsupportedDataError(
            f"a {type(value).__name__} could not be brought to the host ({error}); supported "
            f"are {SUPPORTED}"
        ) from error


def attributes_to_json(attrs: Attributes) -> str:
    """Attributes as JSON text. NumPy scalars become numbers; NaN and infinity are refused."""
    try:
        return json.dumps(dict(attrs), allow_nan=False, default=_scalar, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise UnsupportedDataError(
            f"attrs must be JSON values under text keys ({error})"
        ) from error


def _scalar(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} has no JSON form")
