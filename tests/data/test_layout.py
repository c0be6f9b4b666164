"""How arrays lie in safetensors, and what the string metadata adds."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from dovetail.data.dataset import pieces_of
from dovetail.data.layout import Entry, Variable, attributes_of, decode, encode, make_room
from dovetail.errors import CorruptDataError, UnsupportedDataError


def there_and_back(array: NDArray[Any]) -> tuple[Variable, NDArray[Any]]:
    metadata: dict[str, str] = {"dovetail.version": "0" * 16}
    piece = encode("a", array, metadata)
    data = b"" if array.size == 0 else np.asarray(piece.buffer).tobytes(order="A")
    entry = Entry("a", piece.code, tuple(piece.shape), 8, len(data))
    variable = decode([entry], metadata)["a"]
    return variable, variable.view(b"\0" * 8 + data)


floats = st.sampled_from(["?", "i1", "u2", "i4", "u8", "f2", "f4", "f8", "c8", "c16"])


@given(
    hnp.arrays(
        dtype=floats.map(np.dtype),
        shape=hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4),
    ),
    st.sampled_from("CF"),
)
def test_any_array_in_any_order_comes_back(array: NDArray[Any], order: Any) -> None:
    array = np.array(array, order=order)
    variable, back = there_and_back(array)
    assert back.dtype == array.dtype
    assert back.shape == array.shape == variable.shape
    assert back.tobytes() == array.tobytes()
    assert back.flags.c_contiguous or not array.flags.c_contiguous
    assert back.flags.f_contiguous or not array.flags.f_contiguous


def test_fortran_order_is_kept_under_the_reversed_shape() -> None:
    metadata: dict[str, str] = {}
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    piece = encode("a", array, metadata)
    assert piece.shape == (3, 2)
    assert metadata == {"dovetail.order.a": "F"}
    assert np.shares_memory(piece.buffer, array)


def test_complex128_is_kept_as_pairs_of_doubles() -> None:
    metadata: dict[str, str] = {}
    piece = encode("a", np.zeros((2, 3), "c16"), metadata)
    assert (piece.code, piece.shape) == ("F64", (2, 3, 2))
    assert metadata == {"dovetail.dtype.a": "complex128"}


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 4), (2, 3, 4)])
def test_fortran_and_complex128_go_together(shape: tuple[int, ...], order: Any) -> None:
    array = np.array(np.arange(np.prod(shape)).reshape(shape) * (1 + 2j), order=order)
    variable, back = there_and_back(array)
    assert variable.dtype == np.complex128
    assert np.array_equal(back, array)
    assert back.shape == shape


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (0, 2)])
def test_bfloat16_comes_back(shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(ml_dtypes.bfloat16)
    _, back = there_and_back(array)
    assert back.dtype == ml_dtypes.bfloat16
    assert np.array_equal(back, array)


def test_what_lies_without_metadata_is_in_c_order() -> None:
    (variable,) = decode([Entry("a", "F32", (2, 3), 0, 24)], {}).values()
    assert (variable.order, variable.shape) == ("C", (2, 3))


@pytest.mark.parametrize(
    "metadata",
    [
        {"dovetail.dtype.a": "complex128"},
        {"dovetail.shape.a": "no json"},
        {"dovetail.shape.a": "[1]"},
        {"dovetail.shape.a": "[1, -2]"},
        {"dovetail.shape.a": "[1, 2.0]"},
        {"dovetail.shape.a": "[true, true]"},
        {"dovetail.start.a": "{}"},
        {"dovetail.start.a": "[" * 100_000},
        {"dovetail.shape.a": "[3, 4]"},
        {"dovetail.start.a": "[3, 4]"},
        {"dovetail.shape.a": "[2, 3]", "dovetail.start.a": "[1, 0]"},
        {"dovetail.order.a": "G"},
        {"dovetail.dtype.a": "float128"},
    ],
    ids=lambda metadata: str(metadata)[:60],
)
def test_metadata_that_contradicts_the_header_is_corrupt(metadata: dict[str, str]) -> None:
    with pytest.raises(CorruptDataError, match="a"):
        decode([Entry("a", "F32", (2, 3), 0, 24)], {"x": "", "y": "", **metadata})


@pytest.mark.parametrize(
    "shape",
    [(0, 2**64 - 1), (0, 2**63), (1,) * 65, (0,) * 65, (2**62, 0, 2**62)],
    ids=lambda shape: str(shape)[:40],
)
def test_a_shape_that_numpy_cannot_have_is_corrupt(shape: tuple[int, ...]) -> None:
    with pytest.raises(CorruptDataError, match="a"):
        nbytes = 0 if 0 in shape else 4
        decode([Entry("a", "F32", shape, 0, nbytes)], {})["a"].view(b"\0" * nbytes)


@pytest.mark.parametrize("ours", ["[]", "3", "no json", "{", "[" * 100_000])
def test_attributes_that_are_no_object_are_corrupt(ours: str) -> None:
    with pytest.raises(CorruptDataError):
        attributes_of({"dovetail.attrs": ours})


def test_foreign_metadata_are_attributes() -> None:
    metadata = {"who": "they", "dovetail.version": "0", "dovetail.attrs": '{"t":1}'}
    assert attributes_of(metadata) == {"who": "they", "t": 1}


@pytest.mark.parametrize("name", ["__metadata__", "dovetail.x", "dovetail.", 3, None, b"a"])
def test_names_that_are_kept_for_the_format_are_refused(name: Any) -> None:
    with pytest.raises(UnsupportedDataError, match="name"):
        encode(name, np.zeros(2), {})


def test_a_name_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(UnsupportedDataError, match="name"):
        encode("\ud800", np.zeros(2), {})


@pytest.mark.parametrize("shape", [(-1,), (2, -3)])
def test_room_of_a_negative_extent_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedDataError, match="negative"):
        make_room("a", shape, "f8", {})


def test_room_for_complex128_is_room_for_pairs() -> None:
    metadata: dict[str, str] = {}
    assert make_room("a", (3,), "c16", metadata).shape == (3, 2)
    assert metadata == {"dovetail.dtype.a": "complex128"}


def test_attributes_that_hold_names_of_ours_do_not_shadow_them() -> None:
    pieces, metadata = pieces_of(np.zeros(2), {"dovetail.order.value": "F"})
    assert "dovetail.order.value" not in metadata
    assert attributes_of(metadata) == {"dovetail.order.value": "F"}
    assert pieces[0].shape == (2,)
