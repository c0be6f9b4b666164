"""What can be stored, under which name; and what cannot, with an error that says what can."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from dovetail.data.arrays import host_array
from dovetail.data.dtypes import BFLOAT16, SUPPORTED, code_of, dtype_of
from dovetail.errors import CorruptDataError, UnsupportedDataError

CODES = {
    "BOOL": "?", "I8": "i1", "I16": "i2", "I32": "i4", "I64": "i8", "U8": "u1", "U16": "u2",
    "U32": "u4", "U64": "u8", "F16": "f2", "F32": "f4", "F64": "f8", "C64": "c8",
}  # fmt: skip


@pytest.mark.parametrize(("code", "name"), CODES.items())
def test_each_dtype_has_one_name_in_the_format(code: str, name: str) -> None:
    assert code_of(np.dtype(name)) == code
    assert dtype_of(code) == np.dtype(name)


def test_bfloat16_comes_from_ml_dtypes() -> None:
    assert code_of(np.dtype(ml_dtypes.bfloat16)) == "BF16"
    assert dtype_of("BF16") == BFLOAT16


@pytest.mark.parametrize(
    "dtype",
    ["O", "U3", "S3", "V4", "M8[s]", "m8[s]", "g", "G", "f4,f8", ml_dtypes.float8_e5m2,
     ml_dtypes.int4],
    ids=str,
)  # fmt: skip
def test_a_dtype_without_a_form_is_refused_and_told_what_is_supported(dtype: object) -> None:
    array = np.zeros(2, np.dtype(dtype))  # type: ignore[call-overload]
    with pytest.raises(UnsupportedDataError, match="supported are bool") as caught:
        host_array(array)
    assert SUPPORTED in str(caught.value)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("code", ["F8_E4M3", "F8_E5M2", "F4", "F6_E2M3", "F65", "", "f32"])
def test_a_name_that_numpy_has_no_dtype_for_is_corrupt(code: str) -> None:
    with pytest.raises(CorruptDataError, match="read are"):
        dtype_of(code)
