"""From what users hold to host arrays, with no copy that can be avoided."""

from __future__ import annotations

import array
import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from dovetail.data.arrays import attributes_to_json, host_array
from dovetail.errors import UnsupportedDataError


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_contiguous_array_is_taken_as_it_is(order: Any) -> None:
    held = np.zeros((3, 4), order=order)
    assert host_array(held) is held


def test_an_array_that_is_not_contiguous_is_copied_once() -> None:
    held = np.arange(24.0).reshape(4, 6)[::2, ::3]
    made = host_array(held)
    assert made.flags.c_contiguous
    assert np.array_equal(made, held)


@pytest.mark.parametrize("dtype", [">f8", ">i2", ">c16", ">c8", ">u4"])
def test_the_other_byte_order_becomes_this_one(dtype: str) -> None:
    held = np.arange(3).astype(dtype)
    made = host_array(held)
    assert made.dtype.isnative
    assert np.array_equal(made, held)


def test_a_subclass_becomes_a_plain_array_without_a_copy() -> None:
    held = np.arange(3.0).view(np.recarray)
    made = host_array(held)
    assert type(made) is np.ndarray
    assert np.shares_memory(made, held)


@pytest.mark.parametrize(
    "held",
    [array.array("d", [1, 2]), memoryview(b"ab"), bytearray(b"ab"), np.float32(2), 3, 2.5, True],
    ids=repr,
)
def test_buffers_and_numbers_are_arrays(held: Any) -> None:
    assert np.array_equal(host_array(held), np.asarray(held))


def test_a_buffer_is_not_copied() -> None:
    held = array.array("d", [1, 2, 3])
    made = host_array(held)
    held[1] = 9
    assert made[1] == 9


class OnlyDLPack:
    """An array of a foreign library: nothing but DLPack."""

    def __init__(self, held: NDArray[Any]) -> None:
        self.held = held

    def __dlpack__(self, **options: Any) -> Any:
        return self.held.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.held.__dlpack_device__()


def test_dlpack_on_the_host_is_not_copied() -> None:
    held = np.arange(5.0)
    made = host_array(OnlyDLPack(held))
    assert np.shares_memory(made, held)


class OnADevice(OnlyDLPack):
    """As CuPy has it: DLPack on another device, and ``get`` to bring it here."""

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)

    def get(self) -> NDArray[Any]:
        return self.held.copy()


def test_a_device_array_is_brought_to_the_host() -> None:
    assert np.array_equal(host_array(OnADevice(np.arange(5.0))), np.arange(5.0))


class OnlyInterface:
    """An array of a foreign library: nothing but ``__array_interface__``."""

    def __init__(self, held: NDArray[Any]) -> None:
        self.held = held
        self.__array_interface__ = held.__array_interface__


def test_the_array_interface_is_not_copied() -> None:
    held = np.arange(5.0)
    assert np.shares_memory(host_array(OnlyInterface(held)), held)


@pytest.mark.parametrize(
    "held",
    [
        [[1, 2], [3]],
        [np.zeros(2), np.zeros(3)],
        "text",
        b"bytes",
        None,
        object(),
        {1, 2},
        ["a", "b"],
        [1, "a"],
        [object()],
        10**30,
        np.array([object()]),
        np.array(["text"]),
    ],
    ids=lambda held: repr(held)[:30],
)
def test_what_is_no_array_of_numbers_is_refused(held: Any) -> None:
    with pytest.raises(UnsupportedDataError, match=r"supported are|ragged"):
        host_array(held)


def test_a_ragged_list_is_told_what_to_do() -> None:
    with pytest.raises(UnsupportedDataError, match="ragged list has no array form: pad it"):
        host_array([[1, 2], [3]])


class TestTorch:
    @pytest.fixture
    def torch(self) -> Any:
        return pytest.importorskip("torch")

    @pytest.mark.parametrize(
        "name", ["bool", "int8", "int64", "uint8", "float16", "float32", "float64", "complex64",
                 "complex128"]
    )  # fmt: skip
    def test_a_tensor_is_not_copied(self, torch: Any, name: str) -> None:
        tensor = torch.ones((2, 3), dtype=getattr(torch, name))
        made = host_array(tensor)
        assert made.dtype == np.dtype(name)
        assert made.ctypes.data == tensor.data_ptr()

    def test_bfloat16_crosses_as_its_bits_without_a_copy(self, torch: Any) -> None:
        tensor = torch.tensor([1.5, -2.0, math.inf], dtype=torch.bfloat16)
        made = host_array(tensor)
        assert made.dtype == ml_dtypes.bfloat16
        assert made.tolist() == [1.5, -2.0, math.inf]
        assert made.ctypes.data == tensor.data_ptr()

    def test_bfloat16_of_no_dimensions_crosses(self, torch: Any) -> None:
        assert float(host_array(torch.tensor(1.5, dtype=torch.bfloat16))) == 1.5

    def test_gradients_conjugates_and_strides_are_resolved(self, torch: Any) -> None:
        with_gradient = torch.ones(3, requires_grad=True)
        assert np.array_equal(host_array(with_gradient), np.ones(3))
        conjugate = torch.tensor([1 + 2j]).conj()
        assert host_array(conjugate)[0] == 1 - 2j
        transposed = torch.arange(6.0).reshape(2, 3).T
        assert np.array_equal(host_array(transposed), np.arange(6.0).reshape(2, 3).T)

    def test_a_tensor_without_a_form_is_refused(self, torch: Any) -> None:
        sparse = torch.eye(3).to_sparse()
        with pytest.raises(UnsupportedDataError, match="to_dense"):
            host_array(sparse)
        with pytest.raises(UnsupportedDataError, match="supported are"):
            host_array(torch.zeros(2, dtype=torch.float8_e4m3fn))


def test_attributes_are_json_with_numpy_scalars_as_numbers() -> None:
    text = attributes_to_json({"n": np.int32(3), "x": np.float64(0.5), "a": np.arange(3), "s": "ü"})
    assert text == '{"n":3,"x":0.5,"a":[0,1,2],"s":"\\u00fc"}'


@pytest.mark.parametrize(
    "attrs",
    [
        {"x": math.nan},
        {"x": math.inf},
        {"x": object()},
        {"x": {1}},
        {"x": b"bytes"},
        {"x": 1j},
        {(1, 2): 3},
        {"x": np.array([math.nan])},
    ],
    ids=repr,
)
def test_attributes_that_are_not_json_are_refused(attrs: dict[Any, Any]) -> None:
    with pytest.raises(UnsupportedDataError, match="JSON"):
        attributes_to_json(attrs)


def test_attributes_that_refer_to_themselves_are_refused() -> None:
    attrs: dict[str, Any] = {}
    attrs["again"] = attrs
    with pytest.raises(UnsupportedDataError, match="JSON"):
        attributes_to_json(attrs)
