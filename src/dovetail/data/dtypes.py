"""The element types that a value can hold, and their names in safetensors."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from dovetail.errors import CorruptDataError, UnsupportedDataError

BFLOAT16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
COMPLEX128: np.dtype[Any] = np.dtype(np.complex128)

_DTYPE_OF_CODE: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "I8": np.dtype(np.int8),
    "I16": np.dtype(np.int16),
    "I32": np.dtype(np.int32),
    "I64": np.dtype(np.int64),
    "U8": np.dtype(np.uint8),
    "U16": np.dtype(np.uint16),
    "U32": np.dtype(np.uint32),
    "U64": np.dtype(np.uint64),
    "F16": np.dtype(np.float16),
    "BF16": BFLOAT16,
    "F32": np.dtype(np.float32),
    "F64": np.dtype(np.float64),
    "C64": np.dtype(np.complex64),
}
_CODE_OF_DTYPE = {dtype: code for code, dtype in _DTYPE_OF_CODE.items()}

PLAIN_CODES = {dtype: code for dtype, code in _CODE_OF_DTYPE.items() if dtype != BFLOAT16}
"""The dtypes that NumPy exports as buffers, and their names in safetensors."""

SUPPORTED = (
    "bool, int8 to int64, uint8 to uint64, float16, bfloat16, float32, float64, "
    "complex64 and complex128"
)


def code_of(dtype: np.dtype[Any]) -> str:
    """The safetensors name of a dtype. complex128 has none: it is stored as F64 pairs.

    Raises
    ------
    UnsupportedDataError
    """
    code = _CODE_OF_DTYPE.get(dtype)
    if code is None:
        raise UnsupportedDataError(
            f"arrays of {dtype} cannot be stored; supported are {SUPPORTED}. "
            "Convert the array first"
        )
    return code


def dtype_of(code: str) -> np.dtype[Any]:
    """The dtype behind a safetensors name.

    Raises
    ------
    CorruptDataError
        If NumPy has no such dtype (the float8 and float4 families).
    """
    dtype = _DTYPE_OF_CODE.get(code)
    if dtype is None:
        raise CorruptDataError(f"the value holds an array of type {code}; read are {SUPPORTED}")
    return dtype
